package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"hotsync/connectors/kafka/kafkatest"
)

// ledger notes who works on what and fails the test when two do at once.
type ledger struct {
	t    *testing.T
	mu   sync.Mutex
	seen map[string]int
}

func newLedger(t *testing.T) *ledger { return &ledger{t: t, seen: map[string]int{}} }

func (l *ledger) note(r Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)]++
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen)
}

func TestConsumerCommitsWhatIsDone(t *testing.T) {
	c := testClient(t)
	topic, group := makeTopic(t, c, Topic{Name: "t", Partitions: 3}), kafkatest.Name("g")
	write(t, newWriter(t, c, WriterConfig{}), numbered(topic, 300)...)
	seen := newLedger(t)
	run := consume(t, c, ConsumerConfig{Group: group, Topics: []string{topic}}, forEach(func(_ *Generation, _ *Assignment, r Record) { seen.note(r) }))
	high, err := c.HighWatermarks(limited(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all records", func() bool { return seen.count() == 300 })
	eventually(t, "commits in the background", func() bool {
		for p, at := range committedOffsets(t, c, group, topic) {
			if at != high[p] {
				return false
			}
		}
		return true
	})
	s := run.Stats()
	if s.Lag() != 0 || len(s.Partitions) != 3 || !slices.Equal(s.Indexes, []int{0, 1, 2}) || s.Total != 3 || s.Joins != 1 || s.Generation == 0 || s.Member == "" {
		t.Errorf("%+v", s)
	}
	if err := run.stop(); err != nil {
		t.Error(err)
	}
	// The next one goes on there: nothing comes again.
	again := newLedger(t)
	next := consume(t, c, ConsumerConfig{Group: group, Topics: []string{topic}}, forEach(func(_ *Generation, _ *Assignment, r Record) { again.note(r) }))
	write(t, newWriter(t, c, WriterConfig{}), Record{Topic: topic, Key: []byte("one more")})
	eventually(t, "the new record", func() bool { return again.count() > 0 })
	if again.count() != 1 {
		t.Errorf("%d records came, want the new one: %v", again.count(), again.seen)
	}
	if err := next.stop(); err != nil {
		t.Error(err)
	}
}

// Hazard 7 through the broker, and hazard 5: no asynchronous commit.
func TestOpenWorkHoldsTheCommitBack(t *testing.T) {
	c := testClient(t)
	topic, group := makeTopic(t, c, Topic{Name: "t", Partitions: 1}), kafkatest.Name("g")
	write(t, newWriter(t, c, WriterConfig{}), numbered(topic, 10)...)
	committed := make(chan error, 1)
	run := consume(t, c, ConsumerConfig{Group: group, Topics: []string{topic}}, handlerFunc(func(ctx context.Context, gen *Generation, part *Assignment) error {
		for range 10 {
			rec, err := part.Next(ctx)
			if err != nil {
				return err
			}
			if rec.Offset != 4 { // never finished
				part.Done(rec)
			}
		}
		committed <- part.Commit(ctx)
		<-gen.Ending()
		return nil
	}))
	if err := <-committed; err != nil {
		t.Fatal(err)
	}
	if got := committedOffsets(t, c, group, topic)[0]; got != 4 {
		t.Errorf("committed %d, want 4: that one is in work", got)
	}
	if s := run.Stats().Partitions[0]; s.Lag != 6 || s.Open != 6 || s.Low != 4 {
		t.Errorf("%+v", s)
	}
	if err := run.stop(); err != nil {
		t.Error(err)
	}
	if got := committedOffsets(t, c, group, topic)[0]; got != 4 {
		t.Errorf("after the hand-over committed %d, want 4", got)
	}
}

func TestMetadataRoundTrip(t *testing.T) {
	c := testClient(t)
	topic, group := makeTopic(t, c, Topic{Name: "t", Partitions: 1}), kafkatest.Name("g")
	write(t, newWriter(t, c, WriterConfig{}), numbered(topic, 10)...)
	const note = "pending 0-9 sha256:0123abcd"
	run := func(h handlerFunc) {
		t.Helper()
		failed := make(chan error, 1)
		r := consume(t, c, ConsumerConfig{Group: group, Topics: []string{topic}}, handlerFunc(func(ctx context.Context, gen *Generation, part *Assignment) error {
			failed <- h(ctx, gen, part)
			<-gen.Ending()
			return nil
		}))
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
	run(func(ctx context.Context, _ *Generation, part *Assignment) error {
		if at, meta := part.Committed(topic); at != -1 || meta != "" {
			return fmt.Errorf("a new group has %d %q", at, meta)
		}
		for range 10 { // done, but the caller commits by itself from now on
			rec, err := part.Next(ctx)
			if err != nil {
				return err
			}
			part.Done(rec)
		}
		return part.CommitWithMetadata(ctx, topic, 0, note)
	})
	run(func(ctx context.Context, _ *Generation, part *Assignment) error {
		if at, meta := part.Committed(topic); at != 0 || meta != note {
			return fmt.Errorf("found %d %q, want 0 %q", at, meta, note)
		}
		if err := part.CommitWithMetadata(ctx, topic, 10, ""); err != nil {
			return err
		}
		if err := part.CommitWithMetadata(ctx, topic, 9, ""); !errors.Is(err, ErrRewind) {
			return fmt.Errorf("going back: %w, want ErrRewind", err)
		}
		return nil
	})
	have, err := c.Committed(limited(t), group, topic)
	if err != nil || have[0] != (Commit{Offset: 10}) {
		t.Errorf("%+v, %v", have, err)
	}
}

// Hazard 1: kafka-go's Reader commits through whatever generation is current and
// rewinds the group. A commit of ours from an ended generation is refused here,
// and one that goes out all the same is refused by the broker.
func TestStaleCommitIsRefused(t *testing.T) {
	c := testClient(t)
	topic, group := makeTopic(t, c, Topic{Name: "t", Partitions: 2}), kafkatest.Name("g")
	write(t, newWriter(t, c, WriterConfig{}), numbered(topic, 100)...)
	type term struct {
		gen  *Generation
		part *Assignment
		rec  Record
	}
	terms := make(chan term, 10)
	cfg := ConsumerConfig{Group: group, Topics: []string{topic}}
	first := consume(t, c, cfg, handlerFunc(func(ctx context.Context, gen *Generation, part *Assignment) error {
		rec, err := part.Next(ctx)
		if err != nil {
			return err
		}
		terms <- term{gen, part, rec}
		<-gen.Ending()
		return nil
	}))
	old := <-terms
	if err := old.gen.Check(limited(t)); err != nil {
		t.Fatalf("while it goes on: %v", err)
	}
	seen := newLedger(t)
	consume(t, c, cfg, forEach(func(_ *Generation, _ *Assignment, r Record) { seen.note(r) }))
	eventually(t, "the newcomer has its share", func() bool { return seen.count() > 0 })
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	high, err := c.HighWatermarks(limited(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	all := func() bool {
		at := committedOffsets(t, c, group, topic)
		return at[0] == high[0] && at[1] == high[1]
	}
	eventually(t, "the newcomer has committed everything", all)

	old.part.Done(old.rec) // ignored
	for name, err := range map[string]error{
		"Commit":             old.part.Commit(limited(t)),
		"CommitWithMetadata": old.part.CommitWithMetadata(limited(t), topic, high[old.part.Index()]+5, "stale"),
		"Check":              old.gen.Check(limited(t)),
	} {
		if name != "Commit" && !errors.Is(err, ErrGenerationEnded) {
			t.Errorf("%s of the old generation: %v, want ErrGenerationEnded", name, err)
		}
	}
	// Past our own guard: the frozen process, whose memory says that all is well.
	old.gen.over.Store(false)
	old.part.lanes[0].committed = 0
	old.gen.confirmed.Store(nil)
	if err := old.part.CommitWithMetadata(limited(t), topic, 1, "stale"); !errors.Is(err, ErrStale) {
		t.Errorf("the broker took a stale commit: %v", err)
	}
	if err := old.gen.Check(limited(t)); !errors.Is(err, ErrStale) {
		t.Errorf("the broker confirmed a stale generation: %v", err)
	}
	if !all() {
		t.Errorf("the group went back to %v", committedOffsets(t, c, group, topic))
	}
}

// A generation that is alive but not the latest of its own member: the id alone
// makes the difference.
func TestOlderGenerationOfAMemberIsIllegal(t *testing.T) {
	c := testClient(t)
	topic, group := makeTopic(t, c, Topic{Name: "t", Partitions: 1}), kafkatest.Name("g")
	gens := make(chan *Assignment, 10)
	consume(t, c, ConsumerConfig{Group: group, Topics: []string{topic}}, handlerFunc(func(_ context.Context, gen *Generation, part *Assignment) error {
		gens <- part
		<-gen.Ending()
		return nil
	}))
	part := <-gens
	part.gen.id--
	err := part.CommitWithMetadata(limited(t), topic, 5, "stale")
	if !errors.Is(err, ErrStale) || !errors.Is(err, kafkago.IllegalGeneration) {
		t.Errorf("%v, want ILLEGAL_GENERATION", err)
	}
	// Being fenced ends the generation, and the member comes back by itself.
	next := <-gens
	if err := next.gen.Check(limited(t)); err != nil {
		t.Error(err)
	}
}

// Topics are served in the order of the subscription: bulk never delays live.
func TestEarlierTopicsComeFirst(t *testing.T) {
	c := testClient(t)
	live, bulk := makeTopic(t, c, Topic{Name: "live", Partitions: 1}), makeTopic(t, c, Topic{Name: "bulk", Partitions: 1})
	w := newWriter(t, c, WriterConfig{})
	write(t, w, numbered(bulk, 50)...)
	write(t, w, numbered(live, 50)...)
	order := make(chan string, 100)
	consume(t, c, ConsumerConfig{Group: kafkatest.Name("g"), Topics: []string{live, bulk}}, handlerFunc(func(ctx context.Context, gen *Generation, part *Assignment) error {
		if !slices.Equal(part.Topics(), []string{live, bulk}) {
			return fmt.Errorf("topics %v", part.Topics())
		}
		for part.gen.consumer.Stats().Partitions[0].Queued < 50 || part.gen.consumer.Stats().Partitions[1].Queued < 50 {
			select {
			case <-part.Ready():
			case <-time.After(10 * time.Millisecond):
			}
		}
		if rec, ok := part.TryNext(bulk); !ok || rec.Topic != bulk {
			return fmt.Errorf("asked for bulk, got %v %v", rec.Topic, ok)
		}
		for range 99 {
			rec, err := part.Next(ctx)
			if err != nil {
				return err
			}
			order <- rec.Topic
		}
		close(order)
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		if _, err := part.Next(short); !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("empty: %w", err)
		}
		<-gen.Ending()
		if _, ok := part.TryNext(); ok {
			return errors.New("a record after the end")
		}
		return nil
	}))
	n := 0
	for topic := range order {
		if (n < 50) != (topic == live) {
			t.Fatalf("record %d is of %s", n, topic)
		}
		n++
	}
}

func TestLatestStartsOnceAndStays(t *testing.T) {
	c := testClient(t)
	topic, group := makeTopic(t, c, Topic{Name: "t", Partitions: 1}), kafkatest.Name("g")
	w := newWriter(t, c, WriterConfig{})
	write(t, w, numbered(topic, 5)...)
	assigned := make(chan struct{})
	first := consume(t, c, ConsumerConfig{Group: group, Topics: []string{topic}, StartAt: Latest}, handlerFunc(func(_ context.Context, gen *Generation, _ *Assignment) error {
		close(assigned)
		<-gen.Ending()
		return nil
	}))
	<-assigned
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	write(t, w, Record{Topic: topic, Value: []byte("between")})
	got := make(chan Record, 10)
	consume(t, c, ConsumerConfig{Group: group, Topics: []string{topic}, StartAt: Latest}, forEach(func(_ *Generation, _ *Assignment, r Record) { got <- r }))
	select {
	case r := <-got:
		if string(r.Value) != "between" {
			t.Errorf("got %q", r.Value)
		}
	case <-limited(t).Done():
		t.Error("the record that came between two generations is lost")
	}
}

func TestHandlerErrorEndsRun(t *testing.T) {
	c := testClient(t)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 2})
	broken := errors.New("broken")
	var others atomic.Int32
	for name, h := range map[string]handlerFunc{
		"error": func(_ context.Context, gen *Generation, part *Assignment) error {
			if part.Index() == 0 {
				return broken
			}
			<-gen.Ending()
			others.Add(1)
			return nil
		},
		"early return": func(_ context.Context, gen *Generation, part *Assignment) error {
			if part.Index() == 0 {
				return nil
			}
			<-gen.Ending()
			others.Add(1)
			return nil
		},
	} {
		run := consume(t, c, ConsumerConfig{Group: kafkatest.Name("g"), Topics: []string{topic}}, h)
		<-run.done
		if run.err == nil || (name == "error" && !errors.Is(run.err, broken)) {
			t.Errorf("%s: %v", name, run.err)
		}
	}
	if others.Load() != 2 {
		t.Error("the other handlers were not asked to stop")
	}
}
