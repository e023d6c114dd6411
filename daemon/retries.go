package daemon

import (
	"container/heap"
	"context"
	"time"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/event"
)

// retries hands deferred triggers back to the workers when they are due. What
// is not due yet is held in memory and uncommitted, so it survives a restart.
type retries struct {
	out     *outbox
	topics  topics
	now     func() time.Time
	log     zerolog.Logger
	metrics *metrics
}

// held bounds how many deferred triggers of one topic a partition holds in
// memory. Beyond it, reading that topic goes on only when the earliest ones are
// due. Each topic has its own bound: what is due in an hour never stands in the
// way of what is due in five minutes.
const held = 10_000

// Assigned implements kafka.Handler.
func (rt *retries) Assigned(ctx context.Context, gen *kafka.Generation, part *kafka.Assignment) error {
	var waiting schedule
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer func() { rt.metrics.deferred.Sub(float64(len(waiting))) }()
	for {
		err := rt.read(ctx, part, &waiting)
		if err == nil {
			err = rt.release(ctx, part, &waiting)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if len(waiting) > 0 {
			timer.Reset(max(0, waiting[0].trigger.NotBefore.Sub(rt.now())))
		} else {
			timer.Stop()
		}
		select {
		case <-gen.Ending():
			return nil
		case <-ctx.Done():
			return nil
		case <-part.Ready(): // once for what came, whether or not there is room for it
		case <-timer.C:
		}
	}
}

// read takes what was fetched, of each topic as far as there is room.
func (rt *retries) read(ctx context.Context, part *kafka.Assignment, waiting *schedule) error {
	n := map[string]int{}
	for _, it := range *waiting {
		n[it.record.Topic]++
	}
	for _, topic := range part.Topics() {
		for n[topic] < held {
			r, ok := part.TryNext(topic)
			if !ok {
				break
			}
			t, err := event.DecodeTrigger(r.Value)
			if err != nil {
				bad := &event.BadInput{Reason: event.ReasonUndecodable, Err: err}
				if err := fileBad(ctx, rt.out, message(r), "trigger", bad, rt.now()); err != nil {
					return err
				}
				part.Done(r)
				continue
			}
			heap.Push(waiting, item{trigger: t, record: r})
			rt.metrics.deferred.Inc()
			n[topic]++
		}
	}
	return nil
}

// release makes what is due durable as a trigger, then lets go of it.
func (rt *retries) release(ctx context.Context, part *kafka.Assignment, waiting *schedule) error {
	now := rt.now()
	var due []item
	var records []kafka.Record
	for len(*waiting) > 0 && !(*waiting)[0].trigger.NotBefore.After(now) {
		it := heap.Pop(waiting).(item)
		rt.metrics.deferred.Dec()
		r, err := rt.out.trigger(it.trigger)
		if err != nil {
			return err
		}
		due, records = append(due, it), append(records, r)
	}
	if err := rt.out.write(ctx, records...); err != nil {
		return err
	}
	for _, it := range due {
		part.Done(it.record)
	}
	return nil
}

// schedule is a heap of triggers by the time before which they must wait.
type schedule []item

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].trigger.NotBefore.Before(s[j].trigger.NotBefore) }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// Push implements heap.Interface.
func (s *schedule) Push(x any) { *s = append(*s, x.(item)) }

// Pop implements heap.Interface.
func (s *schedule) Pop() any {
	old := *s
	last := old[len(old)-1]
	*s = old[:len(old)-1]
	return last
}
