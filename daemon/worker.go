package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/daemon/budget"
	"hotsync/daemon/config"
	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/reconcile"
	"hotsync/record"
)

// engine does one job.
type engine interface {
	Handle(ctx context.Context, j reconcile.Job) (reconcile.Verdict, error)
}

// workers turn triggers into events. One of them owns a partition of the
// trigger topics at a time, fleet-wide.
type workers struct {
	planning *planning // nil: nobody plans sweeps here
	engine   engine
	memory   *memories
	out      *outbox
	policy   retryPolicy
	cfg      config.Workers
	topics   topics
	now      func() time.Time
	log      zerolog.Logger
	metrics  *metrics
	away     func(system string) time.Duration // how long work on its keys will find a system away; 0: it will not. Nil: never
	systems  []string                          // the billing systems that are followed
	slots    *slots
}

func newWorkers(w workers) *workers {
	w.slots = newSlots(w.cfg.Concurrency, w.systems)
	return &w
}

// Assigned implements kafka.Handler: it works on partition i of the live and
// bulk topics until they are handed over.
func (w *workers) Assigned(ctx context.Context, gen *kafka.Generation, part *kafka.Assignment) error {
	if err := w.memory.caughtUp(ctx, part.Index()); err != nil {
		return fmt.Errorf("take over partition %d: %w", part.Index(), err)
	}
	if part.Index() == 0 && w.planning != nil {
		over := make(chan struct{})
		go func() {
			defer close(over)
			w.planning.run(ctx, gen)
		}()
		defer func() { <-over }()
	}
	p := &partition{workers: w, gen: gen, part: part, lanes: newLanes(w.now, w.wait), results: make(chan result)}
	return p.run(ctx)
}

// wait is how long a trigger waits for its siblings. A webhook is one of a
// burst; a login is a person in front of a screen.
func (w *workers) wait(t event.Trigger) time.Duration {
	if t.Cause == event.CauseStripe && t.Key.Kind == "subscription" {
		return w.cfg.Coalesce
	}
	return 0
}

// partition is one assigned partition at work.
type partition struct {
	*workers
	gen     *kafka.Generation
	part    *kafka.Assignment
	lanes   *lanes
	results chan result
}

// result is how a batch ended. err means that nothing was made durable.
type result struct {
	lane  *lane
	batch []item
	again time.Duration // with retry: when to try again
	retry bool
	past  tried
	rest  time.Duration // how long the key is left alone, whatever comes for it
	err   error
}

func (p *partition) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	always := make(chan struct{})
	close(always)
	for {
		if err := p.fill(ctx); err != nil {
			return p.drain(ctx, err)
		}
		ready := p.part.Ready()
		if p.lanes.inHand >= p.cfg.InHand {
			ready = nil
		}
		freed := p.slots.change()
		next, wait := p.pick()
		var more <-chan struct{}
		if next != nil {
			p.start(ctx, next)
			more = always
		}
		if wait > 0 {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-p.gen.Ending():
			return p.drain(ctx, nil)
		case <-ctx.Done():
			return p.drain(ctx, ctx.Err())
		case <-ready:
		case <-timer.C:
		case <-freed:
		case <-more:
		case r := <-p.results:
			p.finish(r)
		}
	}
}

// pick takes a slot for the lane to start now, or says how long until one is due
// or a system that is away is asked for again (0: none is, or those that are wait
// for a slot). Work that has to wait is passed over.
func (p *partition) pick() (*lane, time.Duration) {
	var without []class
	var held time.Duration
	for {
		ln, wait := p.lanes.next(without...)
		if ln == nil {
			return nil, sooner(wait, held)
		}
		if hold := p.hold(ln); hold > 0 {
			held = sooner(held, hold)
		} else if p.slots.take(ln.class()) {
			return ln, 0
		}
		without = append(without, ln.class())
	}
}

// sooner is the shorter of two waits, where 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// fill takes what was fetched, live before bulk, as far as the hand allows.
func (p *partition) fill(ctx context.Context) error {
	for p.lanes.inHand < p.cfg.InHand {
		r, ok := p.part.TryNext(p.topics.live)
		if !ok && p.wantsBulk() {
			r, ok = p.part.TryNext(p.topics.bulk)
		}
		if !ok {
			return nil
		}
		t, err := event.DecodeTrigger(r.Value)
		if err != nil {
			if err := p.reject(ctx, r, err); err != nil {
				return err
			}
			p.part.Done(r)
			continue
		}
		p.lanes.add(item{trigger: t, record: r, bulk: r.Topic == p.topics.bulk})
		p.metrics.triggers.WithLabelValues(string(t.Cause)).Inc()
	}
	return nil
}

// reject files a record of the trigger topics that is no trigger.
func (p *partition) reject(ctx context.Context, r kafka.Record, cause error) error {
	return fileBad(ctx, p.out, message(r), "trigger", &event.BadInput{Reason: event.ReasonUndecodable, Err: cause}, p.now())
}

// start begins a sync of what waits in a lane for which a slot was taken.
func (p *partition) start(ctx context.Context, ln *lane) {
	of, batch := ln.class(), p.lanes.take(ln)
	tries, past := ln.tries, ln.past
	p.metrics.inFlight.Inc()
	go func() {
		r := p.do(ctx, ln.key, batch, tries, past)
		r.lane, r.batch = ln, batch
		p.metrics.inFlight.Dec()
		p.slots.give(of)
		p.results <- r
	}()
}

func (p *partition) finish(r result) {
	switch {
	case r.err != nil:
		// Nothing became durable: the work stays in hand. As a rule the
		// partition is being handed over, and somebody else does it again.
		p.log.Warn().Err(r.err).Stringer(fieldKey, r.lane.key).Msg("sync put back")
		p.lanes.again(r.lane, r.batch, max(time.Second, r.rest), r.past)
	case r.retry:
		p.lanes.again(r.lane, r.batch, r.again, r.past)
	default:
		for _, it := range r.batch {
			p.part.Done(it.record)
		}
		p.lanes.finished(r.lane, r.batch, r.rest)
	}
}

// drain waits for the syncs under way. Their contexts end when the bound for
// handing over does.
func (p *partition) drain(ctx context.Context, cause error) error {
	for p.lanes.running() > 0 {
		p.finish(<-p.results)
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := p.part.Commit(bound); err != nil {
		p.log.Warn().Err(err).Msg("last commit of a partition")
	}
	return cause
}

// do runs one batch to its end: a verdict made durable, a try again, or an
// error that leaves everything as it was.
func (p *partition) do(ctx context.Context, key record.Key, batch []item, tries int, past tried) result {
	memory := p.memory.get(key)
	job := jobOf(key, goOn(batch, memory))
	job.Memory = memory
	job.Fence, job.Before = p.gen.Check, past.changes
	v, err := p.handle(budget.In(ctx, laneOf(batch)), job)
	if err != nil {
		return result{err: err, past: past}
	}
	rest := p.policy.rest(v)
	v.Event.Callouts = append(slices.Clip(past.calls), v.Event.Callouts...)
	if v.Event.Outcome == event.Deferred {
		if delay, ok := p.policy.inMemory(tries, v.Wait); ok {
			p.metrics.tries.WithLabelValues(string(v.Event.Reason)).Inc()
			return result{retry: true, again: max(delay, rest), past: tried{v.Event.Callouts, v.Changes}}
		}
		v.Wait = max(v.Wait, rest)
	}
	if err := p.settle(ctx, job, v); err != nil {
		return result{err: err, rest: rest, past: tried{v.Event.Callouts, v.Changes}}
	}
	return result{rest: rest}
}

// laneOf is how urgent the calls of a batch are: as its most urgent trigger.
func laneOf(batch []item) budget.Lane {
	lane := budget.Sweep
	for _, it := range batch {
		switch {
		case it.trigger.AskedBy(event.CauseLogin):
			lane = budget.Login
		case it.bulk:
		case it.trigger.AskedBy(event.CauseStripe, event.CauseCallout):
			lane = min(lane, budget.Webhook)
		default:
			lane = min(lane, budget.API)
		}
	}
	return lane
}

// handle calls the engine and turns a panic into a verdict, so that one bad
// record stops nobody else's (Invariant 5).
func (p *partition) handle(ctx context.Context, job reconcile.Job) (v reconcile.Verdict, err error) {
	defer func() {
		if r := recover(); r != nil {
			p.log.Error().Stringer(fieldKey, job.Key).Interface("panic", r).Bytes("stack", debug.Stack()).Msg("sync panicked")
			e := event.Event{
				SyncID: job.SyncID(), Phase: event.Done, At: p.now(), Outcome: event.Failed, Reason: event.ReasonBug, Key: job.Key,
				Cause: job.Triggers[0].Cause, Triggers: reconcile.Refs(job.Triggers), Attempt: job.Attempt,
				Class: string(fault.Bug), Error: fmt.Sprint("panic: ", r),
			}
			err = e.Identify()
			v = reconcile.Verdict{Event: e, Memory: p.memory.get(job.Key)} // it may have been remembered on the way
		}
	}()
	return p.engine.Handle(ctx, job)
}

// jobOf makes the job of a batch. Its attempt is that of the sync whose id it has:
// what merged with it keeps its own count (answers).
func jobOf(key record.Key, batch []item) reconcile.Job {
	job := reconcile.Job{Key: key, Attempt: batch[0].trigger.Attempt + 1}
	for _, it := range batch {
		job.Triggers = append(job.Triggers, it.trigger)
	}
	return job
}

// settle makes everything that follows from a verdict durable, the event among
// it, before the triggers are committed (Invariant 1).
func (p *partition) settle(ctx context.Context, job reconcile.Job, v reconcile.Verdict) error {
	var records []kafka.Record
	var failed error
	add := func(r kafka.Record, err error) {
		records, failed = append(records, r), errors.Join(failed, err)
	}
	answers, err := p.answers(job, v)
	if err != nil {
		return err
	}
	memory, ended := v.Memory, false
	for _, a := range answers {
		more, err := p.records(a)
		records, failed = append(records, more...), errors.Join(failed, err)
		var one bool
		memory, one = memory.Ended(a.event)
		ended = ended || one
	}
	for _, t := range v.Now {
		add(p.out.trigger(t))
	}
	for _, t := range v.Later {
		add(p.out.later(t, t.NotBefore.Sub(p.now())))
	}
	if v.Remember || ended {
		memory.Seq = max(memory.Seq, job.Memory.Seq) + 1 // it may have been remembered on the way
		add(p.out.memory(job.Key, memory))
	}
	if failed != nil {
		return failed
	}
	if ended { // its end first: a sync that is not known to be open is nobody's
		last := len(records) - 1
		if err := p.out.write(ctx, records[:last]...); err != nil {
			return err
		}
		records = records[last:]
	}
	if err := p.out.write(ctx, records...); err != nil {
		return err
	}
	if v.Remember || ended {
		if err := p.memory.put(job.Key, memory); err != nil {
			return err
		}
	}
	for _, a := range answers {
		p.report(a.event)
	}
	return nil
}

func (p *partition) report(e event.Event) {
	p.metrics.sync(e)
	level := zerolog.DebugLevel
	switch e.Outcome {
	case event.Failed:
		level = zerolog.ErrorLevel
	case event.Deferred:
		level = zerolog.WarnLevel
	case event.Applied:
		level = zerolog.InfoLevel
	}
	p.log.WithLevel(level).Stringer(fieldKey, e.Key).Str(fieldSync, e.SyncID).Str(fieldOutcome, string(e.Outcome)).
		Str(fieldReason, string(e.Reason)).Str(fieldCause, string(e.Cause)).Int(fieldAttempt, e.Attempt).
		Int(fieldChanges, len(e.Changes)).Int64(fieldWorked, e.Worked).Str(fieldClass, e.Class).Str(zerolog.ErrorFieldName, e.Error).Msg("sync ended")
}
