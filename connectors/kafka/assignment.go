package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Assignment is partition Index of every topic of the subscription that has so
// many, for one generation. Its methods may be called from many goroutines; the
// records of a topic come in offset order.
type Assignment struct {
	gen   *Generation
	index int
	lanes []*lane // in the order of the subscription
	ready chan struct{}

	mu sync.Mutex // guards what is in the lanes
}

// lane is one topic of an assignment.
type lane struct {
	topic string
	start Commit // as of the assignment; offset -1 when there was none

	queue  []queued
	bytes  int
	space  chan struct{} // a token when there is room
	track  tracker
	high   int64
	manual bool // committed by CommitWithMetadata only

	committed int64 // by this generation or found at its start; -1: never
	metadata  string
	unsure    bool // the last commit failed, and may have arrived all the same
	rebuilds  int
	fetched   time.Time // the last answer to a fetch
}

type queued struct {
	rec  Record
	next int64
}

func newAssignment(gen *Generation, index int) *Assignment {
	return &Assignment{gen: gen, index: index, ready: make(chan struct{}, 1)}
}

// Index is the partition that this assignment has of each of its topics.
func (a *Assignment) Index() int { return a.index }

// Topics are the topics that have this partition, in the order of the subscription.
func (a *Assignment) Topics() []string {
	out := make([]string, len(a.lanes))
	for i, l := range a.lanes {
		out[i] = l.topic
	}
	return out
}

// Next waits for a record of the given topics, or of all. While earlier topics of
// the subscription have something, later ones wait. It returns
// ErrGenerationEnded from the moment the hand-over begins, whatever is still
// queued (hazard 2), and ctx's error when the caller's patience ends first.
func (a *Assignment) Next(ctx context.Context, topics ...string) (Record, error) {
	for {
		if a.gen.isEnding() {
			return Record{}, ErrGenerationEnded
		}
		if rec, ok := a.TryNext(topics...); ok {
			return rec, nil
		}
		select {
		case <-a.gen.ending:
		case <-ctx.Done():
			return Record{}, ctx.Err()
		case <-a.ready:
		}
	}
}

// TryNext is Next without waiting.
func (a *Assignment) TryNext(topics ...string) (Record, bool) {
	if a.gen.isEnding() {
		return Record{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.lanes {
		if len(l.queue) == 0 || (len(topics) > 0 && !slices.Contains(topics, l.topic)) {
			continue
		}
		q := l.queue[0]
		l.queue[0] = queued{}
		l.queue = l.queue[1:]
		l.bytes -= q.rec.size()
		l.track.deliver(q.rec.Offset, q.next)
		if l.bytes <= a.gen.consumer.cfg.MaxBytes/2 {
			signal(l.space)
		}
		if slices.ContainsFunc(a.lanes, func(l *lane) bool { return len(l.queue) > 0 }) {
			signal(a.ready)
		}
		return q.rec, true
	}
	return Record{}, false
}

// Ready holds a token when records may have come since TryNext last said false.
// It is for select statements: receive, then call TryNext until it says false. A
// caller that begins to ask for a topic it has left out calls TryNext first.
func (a *Assignment) Ready() <-chan struct{} { return a.ready }

// Done says that the work of a record is durable: the low-water mark may pass it
// as soon as all records before it are done too, and the next commit takes it
// along. A record that this assignment did not deliver, or that is done already,
// is ignored, and so is one that comes after the generation is over: its commit
// would be refused, and the next generation gets the record again.
func (a *Assignment) Done(rec Record) {
	if rec.Partition != a.index {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.lane(rec.Topic); l != nil {
		l.track.done(rec.Offset)
	}
}

// Committed returns what the group had committed for a topic when this
// generation began: the next offset and the metadata. The offset is -1 when
// nothing was ever committed.
func (a *Assignment) Committed(topic string) (offset int64, metadata string) {
	l := a.lane(topic)
	if l == nil {
		return -1, ""
	}
	return l.start.Offset, l.start.Metadata
}

// Pending is how many delivered records of a topic are not done.
func (a *Assignment) Pending(topic string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	if l := a.lane(topic); l != nil {
		for _, m := range l.track.open {
			if !m.done {
				n++
			}
		}
	}
	return n
}

// Lag is how many offsets of a topic lie between what is done and the end of the
// partition as of the last fetch.
func (a *Assignment) Lag(topic string) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.lane(topic); l != nil {
		return l.lag()
	}
	return 0
}

// Commit commits at once what is done, for all topics of this assignment that
// are not committed by CommitWithMetadata.
func (a *Assignment) Commit(ctx context.Context) error {
	return a.gen.commit(ctx, a.due())
}

// CommitWithMetadata commits an offset of a topic and a text of at most 4 KiB
// beside it, which the next owner finds in Committed. From then on that topic
// is committed by such calls only; Done still counts lag. The broker refuses it
// when this generation is not the current one (ErrStale), which makes it a
// fenced place for a write-ahead note. An offset below the committed one is an
// ErrRewind; the same one again is fine. An answer is waited for even when ctx
// ends, no longer than a request takes: a request that is on its way might
// otherwise overtake the next one.
func (a *Assignment) CommitWithMetadata(ctx context.Context, topic string, offset int64, metadata string) error {
	a.mu.Lock()
	l := a.lane(topic)
	if l == nil {
		a.mu.Unlock()
		return fmt.Errorf("commit topic %s partition %d: not part of this assignment", topic, a.index)
	}
	l.manual = true
	a.mu.Unlock()
	return a.gen.commit(ctx, []commitItem{{part: a, lane: l, Commit: Commit{Offset: offset, Metadata: metadata}, explicit: true}})
}

func (a *Assignment) lane(topic string) *lane {
	for _, l := range a.lanes {
		if l.topic == topic {
			return l
		}
	}
	return nil
}

// due lists what may be committed and is not yet.
func (a *Assignment) due() (items []commitItem) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.lanes {
		if !l.manual && l.track.low > l.committed {
			items = append(items, commitItem{part: a, lane: l, Commit: Commit{Offset: l.track.low}})
		}
	}
	return items
}

// put queues what a fetch brought and waits for room for the next one, so that
// about one and a half times MaxBytes are held, and decompression.
func (a *Assignment) put(ctx context.Context, l *lane, got chunk) error {
	a.mu.Lock()
	l.high, l.fetched = got.high, time.Now()
	if got.reset {
		l.queue, l.bytes = nil, 0
		l.track.reset(got.next)
		l.committed = -1
	}
	for i, rec := range got.records {
		next := got.next
		if i+1 < len(got.records) {
			next = rec.Offset + 1
		}
		l.queue = append(l.queue, queued{rec, next})
		l.bytes += rec.size()
	}
	if len(got.records) == 0 {
		if n := len(l.queue); n > 0 {
			l.queue[n-1].next = max(l.queue[n-1].next, got.next)
		} else {
			l.track.skip(got.next)
		}
	}
	if len(l.queue) > 0 {
		signal(a.ready)
	}
	full := l.bytes > a.gen.consumer.cfg.MaxBytes/2
	if full {
		select { // a token from before does not count
		case <-l.space:
		default:
		}
	}
	a.mu.Unlock()
	if full {
		select {
		case <-l.space:
		case <-ctx.Done():
		}
	}
	return nil
}

func (l *lane) lag() int64 { return max(0, l.high-l.track.low) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
