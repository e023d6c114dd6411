package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hotsync/connectors/kafka/kafkatest"
)

// Every test stops what it starts: hazard 8 (Close that hangs) would show here.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 60 * time.Second

// quick is a configuration whose rebalances are noticed at once.
func quick(addr string) Config {
	return Config{
		Brokers: []string{addr}, SessionTimeout: 8 * time.Second, RebalanceTimeout: 8 * time.Second,
		HeartbeatInterval: 100 * time.Millisecond, MetadataTTL: 500 * time.Millisecond,
	}
}

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// client returns a client of a broker that is real or fake, for this test.
func testClient(t *testing.T) *Client {
	t.Helper()
	return newClient(t, quick(kafkatest.Broker(t)))
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func makeTopic(t *testing.T, c *Client, topic Topic) string {
	t.Helper()
	topic.Name = kafkatest.Name(topic.Name)
	if err := c.EnsureTopics(limited(t), []Topic{topic}); err != nil {
		t.Fatal(err)
	}
	return topic.Name
}

func newWriter(t *testing.T, c *Client, cfg WriterConfig) *Writer {
	t.Helper()
	w := NewWriter(c, cfg)
	t.Cleanup(w.Close)
	return w
}

func write(t *testing.T, w *Writer, records ...Record) {
	t.Helper()
	if err := w.Write(limited(t), records...); err != nil {
		t.Fatal(err)
	}
}

// numbered returns n records with keys and values k0, v0 and so on.
func numbered(topic string, n int) []Record {
	out := make([]Record, n)
	for i := range out {
		out[i] = Record{Topic: topic, Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i)}
	}
	return out
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(limit) {
			t.Fatalf("never happened: %s", what)
		}
		<-tick.C
	}
}

// handlerFunc makes a function a Handler.
type handlerFunc func(ctx context.Context, gen *Generation, part *Assignment) error

func (f handlerFunc) Assigned(ctx context.Context, gen *Generation, part *Assignment) error {
	return f(ctx, gen, part)
}

// forEach is a handler that calls fn for every record and then Done.
func forEach(fn func(*Generation, *Assignment, Record)) handlerFunc {
	return func(ctx context.Context, gen *Generation, part *Assignment) error {
		for {
			rec, err := part.Next(ctx)
			if err != nil {
				return err
			}
			fn(gen, part, rec)
			part.Done(rec)
		}
	}
}

// consumerRun is a consumer that runs until the test ends or stop is called.
type consumerRun struct {
	*Consumer
	cancel  context.CancelFunc
	done    chan struct{}
	err     error
	notices *notices
}

func (r *consumerRun) stop() error {
	r.cancel()
	<-r.done
	return r.err
}

func consume(t *testing.T, c *Client, cfg ConsumerConfig, h Handler) *consumerRun {
	t.Helper()
	seen := &notices{}
	notify := cfg.Notify
	cfg.Notify = func(n Notice) {
		seen.add(n)
		if notify != nil {
			notify(n)
		}
	}
	setDefault(&cfg.JoinBackoff, 100*time.Millisecond)
	setDefault(&cfg.MaxWait, 100*time.Millisecond)
	consumer, err := NewConsumer(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &consumerRun{Consumer: consumer, cancel: cancel, done: make(chan struct{}), notices: seen}
	go func() {
		defer close(r.done)
		r.err = consumer.Run(ctx, h)
	}()
	t.Cleanup(func() {
		_ = r.stop()
		if t.Failed() {
			t.Logf("notices of group %s: %v", cfg.Group, seen.all())
		}
	})
	return r
}

type notices struct {
	mu   sync.Mutex
	list []Notice
}

func (n *notices) add(x Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, x)
}

func (n *notices) all() []Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.list)
}

func (n *notices) find(kind NoticeKind) (Notice, bool) {
	for _, x := range n.all() {
		if x.Kind == kind {
			return x, true
		}
	}
	return Notice{}, false
}

// committedOffsets returns the group's offsets by partition.
func committedOffsets(t *testing.T, c *Client, group, topic string) map[int]int64 {
	t.Helper()
	have, err := c.Committed(limited(t), group, topic)
	if err != nil {
		t.Fatal(err)
	}
	out := map[int]int64{}
	for p, commit := range have {
		out[p] = commit.Offset
	}
	return out
}
