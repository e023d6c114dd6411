package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"hotsync/connectors/kafka/kafkatest"
)

// owners fails the test when two members hold one index, or a record is worked on
// by two at once.
type owners struct {
	mu   sync.Mutex
	by   map[int]string
	work map[string]bool
	bad  []string
}

func (o *owners) take(index int, who string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if have := o.by[index]; have != "" {
		o.bad = append(o.bad, fmt.Sprintf("partition %d is with %s and %s", index, have, who))
	}
	o.by[index] = who
}

func (o *owners) leave(index int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.by[index] = ""
}

func (o *owners) step(r Record, begin bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
	if begin && o.work[at] {
		o.bad = append(o.bad, "two work on "+at)
	}
	o.work[at] = begin
}

// Three members join and leave while records flow: partition i of both topics is
// always with one member, no two work on a partition at once, nothing is lost and
// offsets never go back (hazards 1, 2, 3, 6).
func TestMembersJoinAndLeave(t *testing.T) {
	addr := kafkatest.Broker(t)
	admin := newClient(t, quick(addr))
	const partitions = 6
	live, bulk := makeTopic(t, admin, Topic{Name: "live", Partitions: partitions}), makeTopic(t, admin, Topic{Name: "bulk", Partitions: partitions})
	group := kafkatest.Name("g")
	who, seen := &owners{by: map[int]string{}, work: map[string]bool{}}, newLedger(t)
	member := func(name string) *consumerRun {
		return consume(t, newClient(t, quick(addr)), ConsumerConfig{Group: group, Topics: []string{live, bulk}, CommitInterval: 20 * time.Millisecond},
			handlerFunc(func(ctx context.Context, gen *Generation, part *Assignment) error {
				if !slices.Equal(part.Topics(), []string{live, bulk}) {
					return fmt.Errorf("partition %d came with topics %v", part.Index(), part.Topics())
				}
				who.take(part.Index(), name)
				defer who.leave(part.Index())
				for {
					rec, err := part.Next(ctx)
					if err != nil {
						return err
					}
					if err := gen.Check(ctx); err != nil {
						return err
					}
					who.step(rec, true)
					seen.note(rec)
					who.step(rec, false)
					part.Done(rec)
				}
			}))
	}
	ctx, stopWriting := context.WithCancel(t.Context())
	written, wrote := 0, make(chan struct{})
	w := newWriter(t, admin, WriterConfig{})
	go func() {
		defer close(wrote)
		for ctx.Err() == nil {
			records := append(numbered(live, 10), numbered(bulk, 10)...)
			if err := w.Write(context.Background(), records...); err != nil {
				t.Error(err)
				return
			}
			written += len(records)
			sleep(ctx, 5*time.Millisecond)
		}
	}()
	settled := func(members ...*consumerRun) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d members share %d partitions", len(members), partitions), func() bool {
			total, gen := 0, int32(0)
			for _, m := range members {
				s := m.Stats()
				if len(s.Indexes) < partitions/len(members) || (gen != 0 && s.Generation != gen) {
					return false
				}
				gen = s.Generation
				total += len(s.Indexes)
			}
			return total == partitions
		})
	}
	a := member("a")
	settled(a)
	b := member("b")
	settled(a, b)
	before := slices.Concat(a.Stats().Indexes, b.Stats().Indexes)
	c := member("c")
	settled(a, b, c)
	after := slices.Concat(a.Stats().Indexes, b.Stats().Indexes)
	for _, i := range after {
		if !slices.Contains(before, i) {
			t.Errorf("partition %d moved although nobody left", i)
		}
	}
	kept := a.Stats().Indexes
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	settled(a, c)
	for _, i := range kept {
		if !slices.Contains(a.Stats().Indexes, i) {
			t.Errorf("a lost partition %d when b left", i)
		}
	}
	d := member("d")
	settled(a, c, d)
	stopWriting()
	<-wrote
	eventually(t, "all records", func() bool { return seen.count() == written })
	for _, m := range []*consumerRun{a, c, d} {
		if err := m.stop(); err != nil {
			t.Error(err)
		}
	}
	if len(who.bad) > 0 {
		t.Error(who.bad)
	}
	again := 0
	for _, n := range seen.seen {
		again += n - 1
	}
	t.Logf("%d records, %d of them twice, over %d rejoins of a", written, again, a.Stats().Rejoins())
	if again > 0 {
		t.Errorf("%d records came twice although every hand-over was orderly", again)
	}
	for _, topic := range []string{live, bulk} {
		high, err := admin.HighWatermarks(limited(t), topic)
		if err != nil {
			t.Fatal(err)
		}
		for p, at := range committedOffsets(t, admin, group, topic) {
			if at != high[p] {
				t.Errorf("%s/%d: committed %d of %d", topic, p, at, high[p])
			}
		}
	}
}

// Hazards 3 and 4: a rebalance waits for the step in hand, and its commit counts.
func TestHandOverWaitsForTheStep(t *testing.T) {
	addr := kafkatest.Broker(t)
	admin := newClient(t, quick(addr))
	topic, group := makeTopic(t, admin, Topic{Name: "t", Partitions: 1}), kafkatest.Name("g")
	write(t, newWriter(t, admin, WriterConfig{}), numbered(topic, 3)...)
	began := make(chan struct{})
	first := consume(t, newClient(t, quick(addr)), ConsumerConfig{Group: group, Topics: []string{topic}}, handlerFunc(func(ctx context.Context, gen *Generation, part *Assignment) error {
		rec, err := part.Next(ctx)
		if err != nil {
			return err
		}
		close(began)
		<-gen.Ending()
		if !sleep(ctx, time.Second) { // the rest of the step
			return errors.New("cut off in the middle of a step")
		}
		if err := gen.Check(ctx); err != nil {
			return fmt.Errorf("still ours, but: %w", err)
		}
		part.Done(rec)
		_, err = part.Next(ctx) // queued records stay where they are (hazard 2)
		return err
	}))
	<-began
	first.cancel()
	var got []int64
	seen := make(chan struct{})
	consume(t, newClient(t, quick(addr)), ConsumerConfig{Group: group, Topics: []string{topic}}, forEach(func(_ *Generation, _ *Assignment, r Record) {
		if got = append(got, r.Offset); len(got) == 2 {
			close(seen)
		}
	}))
	<-seen
	if err := first.stop(); err != nil {
		t.Error(err)
	}
	if !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("the next owner got %v, want 1 and 2: 0 was done in the hand-over", got)
	}
}

// A newcomer makes the group wait: what the old owner does until it lets go is
// confirmed by the coordinator and committed, and the newcomer starts after it.
func TestRebalanceWaitsForTheStep(t *testing.T) {
	addr := kafkatest.Broker(t)
	admin := newClient(t, quick(addr))
	topic, group := makeTopic(t, admin, Topic{Name: "t", Partitions: 2}), kafkatest.Name("g")
	write(t, newWriter(t, admin, WriterConfig{}), numbered(topic, 20)...)
	began, steps := make(chan struct{}, 2), make(chan error, 2)
	var let sync.Map // partition -> when the old owner let go
	consume(t, newClient(t, quick(addr)), ConsumerConfig{Group: group, Topics: []string{topic}, CheckAge: time.Millisecond},
		handlerFunc(func(ctx context.Context, gen *Generation, part *Assignment) error {
			if _, second := let.Load(part.Index()); second {
				<-gen.Ending()
				return nil
			}
			rec, err := part.Next(ctx)
			if err != nil {
				return err
			}
			began <- struct{}{}
			<-gen.Ending()
			sleep(ctx, 400*time.Millisecond)
			steps <- gen.Check(ctx)
			part.Done(rec)
			let.Store(part.Index(), time.Now())
			return nil
		}))
	<-began
	<-began
	type start struct {
		at    time.Time
		index int
		from  int64
	}
	started := make(chan start, 2)
	consume(t, newClient(t, quick(addr)), ConsumerConfig{Group: group, Topics: []string{topic}}, handlerFunc(func(_ context.Context, gen *Generation, part *Assignment) error {
		from, _ := part.Committed(topic)
		started <- start{time.Now(), part.Index(), from}
		<-gen.Ending()
		return nil
	}))
	for range 2 {
		if err := <-steps; err != nil {
			t.Errorf("a step in the hand-over: %v", err)
		}
	}
	got := <-started
	if at, ok := let.Load(got.index); !ok || got.at.Before(at.(time.Time)) || got.from != 1 {
		t.Errorf("partition %d was started at offset %d, want 1 and after the old owner let go", got.index, got.from)
	}
}

// The bound of hazard 4: a handler that does not stop has its context cut, and is
// left behind when even that does not help.
func TestDrainIsBounded(t *testing.T) {
	c := testClient(t)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	cut := make(chan time.Duration, 1)
	began := make(chan struct{}, 1)
	run := consume(t, c, ConsumerConfig{Group: kafkatest.Name("g"), Topics: []string{topic}, DrainTimeout: 400 * time.Millisecond},
		handlerFunc(func(ctx context.Context, gen *Generation, _ *Assignment) error {
			began <- struct{}{}
			<-gen.Ending()
			at := time.Now()
			<-ctx.Done()
			cut <- time.Since(at)
			return ctx.Err()
		}))
	<-began
	if err := run.stop(); err != nil {
		t.Errorf("a handler that obeyed its context: %v", err)
	}
	if d := <-cut; d < 350*time.Millisecond || d > 3*time.Second {
		t.Errorf("the context ended after %s, want about 400ms", d)
	}

	release := make(chan struct{})
	defer close(release)
	stubborn := consume(t, c, ConsumerConfig{Group: kafkatest.Name("g"), Topics: []string{topic}, DrainTimeout: 200 * time.Millisecond},
		handlerFunc(func(context.Context, *Generation, *Assignment) error {
			began <- struct{}{}
			<-release
			return nil
		}))
	<-began
	at := time.Now()
	err := stubborn.stop()
	var drain *DrainError
	if !errors.As(err, &drain) || !slices.Equal(drain.Indexes, []int{0}) {
		t.Errorf("%v, want a DrainError of partition 0", err)
	}
	if d := time.Since(at); d > 5*time.Second {
		t.Errorf("it took %s", d)
	}
	if _, ok := stubborn.notices.find(NoticeOverrun); !ok {
		t.Error("nobody was told")
	}
}
