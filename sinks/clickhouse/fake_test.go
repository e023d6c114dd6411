package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"hotsync/event"
)

// fakePartition is a partition in memory, or with its commits in a file so that
// they survive the process.
type fakePartition struct {
	mu        sync.Mutex
	messages  []event.Message // offsets from base, without gaps
	total     int             // with make: how many there are
	make      func(i int) event.Message
	position  int
	portion   int
	committed commitment
	history   []commitment
	file      string
	arrived   chan struct{}
	failNext  error // once the messages are used up
	onCommit  func(commitment) error
}

type commitment struct {
	Next     int64  `json:"next"`
	Metadata string `json:"metadata"`
}

func newFakePartition(messages ...event.Message) *fakePartition {
	return &fakePartition{messages: messages, portion: 300, committed: commitment{Next: -1}, arrived: make(chan struct{}, 1)}
}

// reopen is what an owner after a crash gets: from the committed offset on.
func (p *fakePartition) reopen() *fakePartition {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := newFakePartition(p.messages...)
	q.committed, q.portion, q.file, q.history = p.committed, p.portion, p.file, p.history
	q.seek()
	return q
}

func (p *fakePartition) seek() {
	for p.position < len(p.messages) && p.messages[p.position].Offset < p.committed.Next {
		p.position++
	}
}

func (p *fakePartition) produce(messages ...event.Message) {
	p.mu.Lock()
	p.messages = append(p.messages, messages...)
	p.mu.Unlock()
	select {
	case p.arrived <- struct{}{}:
	default:
	}
}

func (p *fakePartition) Next(ctx context.Context) ([]event.Message, error) {
	for {
		p.mu.Lock()
		from, to := p.position, min(p.position+p.portion, max(len(p.messages), p.total))
		fail, all := p.failNext, p.messages
		p.position = max(from, to)
		p.mu.Unlock()
		if from < to && p.make != nil {
			var out []event.Message
			for i := from; i < to; i++ {
				out = append(out, p.make(i))
			}
			return out, nil
		}
		if from < to {
			return all[from:to:to], nil
		}
		if fail != nil {
			return nil, fail
		}
		select {
		case <-p.arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *fakePartition) Commit(_ context.Context, next int64, metadata string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := commitment{next, metadata}
	if len(metadata) > 200 {
		return errors.New("metadata is too long")
	}
	if p.onCommit != nil {
		if err := p.onCommit(c); err != nil {
			return err
		}
	}
	if p.file != "" {
		b, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if err := os.WriteFile(p.file+".new", b, 0o600); err != nil {
			return err
		}
		if err := os.Rename(p.file+".new", p.file); err != nil {
			return err
		}
	}
	p.committed = c
	p.history = append(p.history, c)
	return nil
}

func (p *fakePartition) Committed() (int64, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.committed.Next, p.committed.Metadata
}

// messages makes n event messages of one partition from offset on.
func messages(tb testing.TB, offset, n int) []event.Message {
	tb.Helper()
	out := make([]event.Message, n)
	for i := range out {
		out[i] = message(tb, sample(offset+i), int64(offset+i))
	}
	return out
}

func message(tb testing.TB, e event.Event, offset int64) event.Message {
	tb.Helper()
	b, err := e.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return event.Message{
		Coordinates: event.Coordinates{Topic: "hotsync.events", Partition: 0, Offset: offset},
		Key:         []byte(e.Key.String()), Value: b, Time: e.At,
	}
}

// eventually waits for a condition.
func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatalf("waited in vain until %s", what)
		}
	}
}

// graveyard keeps dead letters.
type graveyard struct {
	mu   sync.Mutex
	dead []event.DeadLetter
}

func (g *graveyard) reject(_ context.Context, d event.DeadLetter) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = append(g.dead, d)
	return nil
}

func (g *graveyard) letters() []event.DeadLetter {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]event.DeadLetter(nil), g.dead...)
}

// start runs l over p until the test ends or stop is called, which returns
// Run's error.
func start(tb testing.TB, l *Loader, p Partition) (stop func() error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, "hotsync.events", 0, p) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	tb.Cleanup(func() { _ = stop() })
	return stop
}

func newLoader(tb testing.TB, st *Store, change ...func(*LoaderConfig)) (*Loader, *graveyard) {
	tb.Helper()
	g := &graveyard{}
	cfg := LoaderConfig{Store: st, Into: Events, Group: "loader", Reject: g.reject, Flush: 50 * time.Millisecond, MinBackoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond}
	for _, f := range change {
		f(&cfg)
	}
	l, err := NewLoader(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return l, g
}

// count runs a query for one number.
func count(tb testing.TB, st *Store, query string, args ...any) int64 {
	tb.Helper()
	var n int64
	if err := session(tb, st).QueryRow(context.Background(), "SELECT toInt64(x) FROM ("+query+")", args...).Scan(&n); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return n
}

func encode(tb testing.TB, v any) []byte {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
