package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"hotsync/connectors/kafka/kafkatest"
)

// emptyFetches makes the broker answer fetches with nothing, as long as on says so.
func emptyFetches(cluster *kfake.Cluster, on *atomic.Bool) {
	cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !on.Load() {
			return nil, nil, false
		}
		in := req.(*kmsg.FetchRequest)
		out := in.ResponseKind().(*kmsg.FetchResponse)
		for _, t := range in.Topics {
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewFetchResponseTopicPartition()
				rp.Partition, rp.HighWatermark = p.Partition, 10
				rt.Partitions = append(rt.Partitions, rp)
			}
			out.Topics = append(out.Topics, rt)
		}
		return out, nil, true
	})
}

// Hazard 9: a reader that is behind and gets nothing is rebuilt, and counted.
func TestStalledReaderIsRebuilt(t *testing.T) {
	cluster := kafkatest.Fake(t)
	c := newClient(t, quick(cluster.ListenAddrs()[0]))
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	write(t, newWriter(t, c, WriterConfig{}), numbered(topic, 10)...)
	var stuck atomic.Bool
	stuck.Store(true)
	emptyFetches(cluster, &stuck)
	seen := newLedger(t)
	run := consume(t, c, ConsumerConfig{Group: "g", Topics: []string{topic}, StallAfter: 200 * time.Millisecond},
		forEach(func(_ *Generation, _ *Assignment, r Record) { seen.note(r) }))
	eventually(t, "two rebuilds", func() bool { return run.Stats().Rebuilds >= 2 })
	if n, ok := run.notices.find(NoticeRebuilt); !ok || n.Topic != topic || n.Offset != 0 || n.Err == nil {
		t.Errorf("%+v", n)
	}
	if s := run.Stats().Partitions; s[0].Rebuilds < 2 || s[0].Lag != 10 {
		t.Errorf("%+v", s)
	}
	stuck.Store(false)
	eventually(t, "the records", func() bool { return seen.count() == 10 })
}

// An idle partition and a slow handler are not stalls.
func TestQuietIsNotAStall(t *testing.T) {
	c := testClient(t)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	w := newWriter(t, c, WriterConfig{})
	records := numbered(topic, 3)
	for i := range records {
		records[i].Value = make([]byte, 60<<10)
	}
	write(t, w, records...)
	done := make(chan struct{})
	run := consume(t, c, ConsumerConfig{Group: kafkatest.Name("g"), Topics: []string{topic}, StallAfter: 50 * time.Millisecond, MaxBytes: 64 << 10},
		handlerFunc(func(ctx context.Context, gen *Generation, part *Assignment) error {
			for range 3 {
				rec, err := part.Next(ctx)
				if err != nil {
					return err
				}
				sleep(ctx, 150*time.Millisecond)
				part.Done(rec)
			}
			sleep(ctx, 200*time.Millisecond)
			close(done)
			<-gen.Ending()
			return nil
		}))
	<-done
	if n := run.Stats().Rebuilds; n != 0 {
		t.Errorf("%d rebuilds: %v", n, run.notices.all())
	}
}

// proxy passes connections on until it is told to swallow them: a dead network.
type proxy struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
	dead  atomic.Bool
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			all.Go(func() { p.pump(out, in) })
			all.Go(func() { p.pump(in, out) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		all.Wait()
	})
	return p
}

func (p *proxy) pump(to, from net.Conn) {
	defer func() { _ = to.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if p.dead.Load() {
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Hazard 8: kafka-go's Reader.Close hangs for minutes on a dead network. Run
// returns within its bounds although the broker answers nothing any more.
func TestRunEndsOnADeadNetwork(t *testing.T) {
	var p *proxy
	// The broker says that it is at the proxy's address.
	var behind net.Listener
	cluster := kafkatest.Fake(t, kfake.ListenFn(func(network, _ string) (net.Listener, error) {
		var err error
		if behind, err = net.Listen(network, "127.0.0.1:0"); err != nil {
			return nil, err
		}
		p = newProxy(t, behind.Addr().String())
		return advertised{behind, p.Addr()}, nil
	}))
	cfg := quick(cluster.ListenAddrs()[0])
	if cfg.Brokers[0] != p.Addr().String() {
		t.Fatalf("the broker is at %s, not behind the proxy %s", cfg.Brokers[0], p.Addr())
	}
	cfg.RequestTimeout, cfg.DialTimeout = time.Second, time.Second
	c := newClient(t, cfg)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 2})
	write(t, newWriter(t, c, WriterConfig{}), numbered(topic, 10)...)
	seen := newLedger(t)
	run := consume(t, c, ConsumerConfig{Group: "g", Topics: []string{topic}}, forEach(func(_ *Generation, _ *Assignment, r Record) { seen.note(r) }))
	eventually(t, "records", func() bool { return seen.count() == 10 })
	p.dead.Store(true)
	at := time.Now()
	if err := run.stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(at); d > 10*time.Second {
		t.Errorf("it took %s", d)
	}
}

type advertised struct {
	net.Listener
	at net.Addr
}

func (a advertised) Addr() net.Addr { return a.at }

// Hazard 10: UNKNOWN_MEMBER_ID loops. The member pauses and joins as a new one,
// and both are counted. Error 15 of a new cluster is the same wait.
func TestJoinErrorsAreWaitedOut(t *testing.T) {
	cluster := kafkatest.Fake(t)
	c := newClient(t, quick(cluster.ListenAddrs()[0]))
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	write(t, newWriter(t, c, WriterConfig{}), numbered(topic, 5)...)
	cluster.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Group: "g", Err: kerr.UnknownMemberID, Count: 2},
		kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Group: "g", Err: kerr.CoordinatorNotAvailable, Count: 2},
	)
	seen := newLedger(t)
	began := time.Now()
	run := consume(t, c, ConsumerConfig{Group: "g", Topics: []string{topic}, JoinBackoff: 150 * time.Millisecond},
		forEach(func(_ *Generation, _ *Assignment, r Record) { seen.note(r) }))
	eventually(t, "records", func() bool { return seen.count() == 5 })
	if s := run.Stats(); s.JoinErrors < 3 || s.Joins < 1 || time.Since(began) < 300*time.Millisecond {
		t.Errorf("%+v after %s: want pauses between failed joins", s, time.Since(began))
	}
	// A member that is dropped while it works comes back.
	joins := run.Stats().Joins
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: "g", Err: kerr.UnknownMemberID})
	eventually(t, "the next generation", func() bool { return run.Stats().Joins > joins })
	write(t, newWriter(t, c, WriterConfig{}), Record{Topic: topic, Value: []byte("later")})
	eventually(t, "the later record", func() bool { return seen.count() == 6 })
}

func TestRefusedJoinEndsRun(t *testing.T) {
	cluster := kafkatest.Fake(t)
	c := newClient(t, quick(cluster.ListenAddrs()[0]))
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.GroupAuthorizationFailed, Count: -1})
	run := consume(t, c, ConsumerConfig{Group: "g", Topics: []string{topic}}, forEach(func(*Generation, *Assignment, Record) {}))
	<-run.done
	if !errors.Is(run.err, kafkago.GroupAuthorizationFailed) {
		t.Errorf("%v, want the refusal", run.err)
	}
}

func TestMissingTopicIsWaitedFor(t *testing.T) {
	c := testClient(t)
	topic := kafkatest.Name("late")
	seen := newLedger(t)
	run := consume(t, c, ConsumerConfig{Group: kafkatest.Name("g"), Topics: []string{topic}}, forEach(func(_ *Generation, _ *Assignment, r Record) { seen.note(r) }))
	eventually(t, "a notice", func() bool { _, ok := run.notices.find(NoticeWaitingForTopic); return ok })
	if err := c.EnsureTopics(limited(t), []Topic{{Name: topic, Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	write(t, newWriter(t, c, WriterConfig{}), Record{Topic: topic, Value: []byte("v")})
	eventually(t, "the record", func() bool { return seen.count() == 1 })
}

// Hazard 13: partitions that are added later are seen.
func TestNewPartitionsAreSeen(t *testing.T) {
	c := testClient(t)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	seen := newLedger(t)
	run := consume(t, c, ConsumerConfig{Group: kafkatest.Name("g"), Topics: []string{topic}, PartitionWatch: 100 * time.Millisecond},
		forEach(func(_ *Generation, _ *Assignment, r Record) { seen.note(r) }))
	eventually(t, "partition 0", func() bool { return len(run.Stats().Indexes) == 1 })
	res, err := c.control().CreatePartitions(limited(t), &kafkago.CreatePartitionsRequest{Topics: []kafkago.TopicPartitionsConfig{{Name: topic, Count: 3}}})
	if err != nil || res.Errors[topic] != nil {
		t.Fatal(err, res)
	}
	eventually(t, "partitions 0 to 2", func() bool { s := run.Stats(); return len(s.Indexes) == 3 && s.Total == 3 })
	w := newWriter(t, c, WriterConfig{})
	eventually(t, "the writer knows them", func() bool {
		n, err := w.partitions(t.Context(), topic)
		return err == nil && n == 3
	})
	write(t, w, numbered(topic, 30)...)
	eventually(t, "records of all", func() bool { return seen.count() == 30 })
}

// Hazard 12: what is held is bounded, however far behind the reader is.
func TestQueueIsBounded(t *testing.T) {
	c := testClient(t)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	w := newWriter(t, c, WriterConfig{MaxBytes: 20_000})
	for range 20 {
		var batch []Record
		for range 20 {
			batch = append(batch, Record{Topic: topic, Value: make([]byte, 5_000)})
		}
		write(t, w, batch...)
	}
	held := func(s Stats) int { return s.Partitions[0].Queued * 5_000 }
	run := consume(t, c, ConsumerConfig{Group: kafkatest.Name("g"), Topics: []string{topic}, MaxBytes: 100_000},
		handlerFunc(func(ctx context.Context, gen *Generation, part *Assignment) error {
			for range 400 {
				if n := held(gen.consumer.Stats()); n > 200_000 {
					return fmt.Errorf("%d bytes are held, over twice MaxBytes", n)
				}
				rec, err := part.Next(ctx)
				if err != nil {
					return err
				}
				part.Done(rec)
			}
			<-gen.Ending()
			return nil
		}))
	eventually(t, "all records", func() bool {
		select {
		case <-run.done:
			t.Fatal(run.err)
		default:
		}
		s := run.Stats()
		return len(s.Partitions) == 1 && s.Partitions[0].Low == 400
	})
}

// Records that retention took before they were read are told of; a topic that was
// made anew is read from its start.
func TestOffsetsThatAreGone(t *testing.T) {
	cluster := kafkatest.Fake(t)
	c := newClient(t, quick(cluster.ListenAddrs()[0]))
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	w := newWriter(t, c, WriterConfig{})
	write(t, w, numbered(topic, 20)...)
	var mu sync.Mutex
	var got []int64
	handler := forEach(func(_ *Generation, _ *Assignment, r Record) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Offset)
	})
	offsets := func() []int64 { mu.Lock(); defer mu.Unlock(); return slices.Clone(got) }
	first := consume(t, c, ConsumerConfig{Group: "g", Topics: []string{topic}}, handler)
	eventually(t, "20 records", func() bool { return len(offsets()) == 20 })
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	write(t, w, numbered(topic, 20)...)
	if err := cluster.DeleteRecords(topic, 0, 30); err != nil {
		t.Fatal(err)
	}
	second := consume(t, c, ConsumerConfig{Group: "g", Topics: []string{topic}}, handler)
	eventually(t, "the 10 that are left", func() bool { return len(offsets()) == 30 })
	if n, ok := second.notices.find(NoticeSkipped); !ok || n.Offset != 20 || n.To != 30 {
		t.Errorf("%+v, want 20 to 30", n)
	}
	eventually(t, "their commit", func() bool { return committedOffsets(t, c, "g", topic)[0] == 40 })

	mu.Lock()
	got = nil
	mu.Unlock()
	c.transport.CloseIdleConnections()
	if err := cluster.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	if err := cluster.CreateTopic(topic, 1, nil); err != nil {
		t.Fatal(err)
	}
	write(t, w, numbered(topic, 5)...)
	eventually(t, "a notice", func() bool { n, ok := second.notices.find(NoticeReset); return ok && n.Offset == 40 && n.To == 0 })
	eventually(t, "the new topic from its start", func() bool { return slices.Contains(offsets(), 4) })
	eventually(t, "commits go on below the old ones", func() bool { return committedOffsets(t, c, "g", topic)[0] == 5 })
}

// What a transaction leaves in the log, its markers, is not handed out and does
// not look like lag.
func TestTransactionMarkersArePassed(t *testing.T) {
	c := testClient(t)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	produceInTransactions(t, c, topic, 3)
	seen := newLedger(t)
	group := kafkatest.Name("g")
	run := consume(t, c, ConsumerConfig{Group: group, Topics: []string{topic}}, forEach(func(_ *Generation, _ *Assignment, r Record) { seen.note(r) }))
	eventually(t, "3 records", func() bool { return seen.count() == 3 })
	eventually(t, "no lag", func() bool {
		s := run.Stats()
		return len(s.Partitions) == 1 && s.Partitions[0].High == 6 && s.Lag() == 0
	})
	eventually(t, "the commit", func() bool { return committedOffsets(t, c, group, topic)[0] == 6 })
	if seen.count() != 3 {
		t.Errorf("%d records, want 3", seen.count())
	}
	var got int
	err := c.ReadAll(limited(t), topic, 0, 5, -1, func(context.Context, Record) error { got++; return nil })
	if err != nil || got != 0 {
		t.Errorf("reading the last marker: %d records, %v", got, err)
	}
}
