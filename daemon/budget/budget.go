// Package budget admits calls to one vendor. It promises that this process makes
// no more calls a second than its share of what the fleet may make, and no more
// at once than configured; that a saturated budget is used; that among calls that
// wait the more urgent goes first, and that routine never takes the last slot;
// that it slows down for a vendor that says so; and that no call is made to a
// vendor that is away, but for one at a time to see whether it is back.
//
// There is no coordinator: an instance's share is its share of the trigger
// partitions. A Budget has no goroutine of its own.
package budget

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"hotsync/internal/callout"
	"hotsync/internal/fault"
)

// Config configures New. Service and MaxInFlight are required.
type Config struct {
	Service     string  // for texts: stripe, zuora, limio
	PerSecond   float64 // calls that the whole fleet may make; 0: as many as there are
	MaxInFlight int     // calls of this process at once
	Breaker     Breaker // zero: the defaults
	// Patience is the longest pause, after a limit was reached, that calls
	// wait for. In a longer one they fail. Default 10s.
	Patience time.Duration
	// Waited, when set, is told how long each admitted call has waited.
	Waited func(lane Lane, wait time.Duration)
	// Notice, when set, is told for the log that the vendor is away or back,
	// and that its limit was reached.
	Notice func(text string)
	// Now defaults to time.Now. It must run as fast as the machine's timers.
	Now func() time.Time
}

// Budget is a callout.Gate for one vendor. It is safe for concurrent use.
type Budget struct {
	cfg  Config
	bulk int // calls of a sweep at once

	mu      sync.Mutex
	queues  [queues]list.List // of *waiter
	flying  int
	sweeps  int // of those flying
	pace    pace
	limit   *limit
	breaker *breaker
	timer   *time.Timer
	use     use
	notices []string // to be told once mu is free
	totals  totals
}

type totals struct{ calls, throttled, locked, failed, turnedAway uint64 }

// waiter is a call from Enter to leave.
type waiter struct {
	queue   queue
	since   time.Time
	ready   chan error    // of one: nil when admitted
	element *list.Element // nil when it is in no queue

	sent    time.Time // zero: not admitted
	epoch   int
	arrival *arrival
	left    bool
}

// New returns a budget, or an error that says what is wrong with cfg. Its share
// is the whole until Share says otherwise.
func New(cfg Config) (*Budget, error) {
	cfg.Breaker = cfg.Breaker.withDefaults()
	if cfg.Patience == 0 {
		cfg.Patience = 10 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	var errs []error
	if cfg.Service == "" {
		errs = append(errs, errors.New("service: required"))
	}
	if !(cfg.PerSecond >= 0) || math.IsInf(cfg.PerSecond, 0) || cfg.PerSecond > 0 && cfg.PerSecond < 0.01 || cfg.PerSecond > 1e5 {
		errs = append(errs, fmt.Errorf("per_second: %v is not from 0.01 to 100000, or 0 for no limit", cfg.PerSecond))
	}
	if cfg.MaxInFlight < 1 {
		errs = append(errs, fmt.Errorf("max_in_flight: %d is not positive", cfg.MaxInFlight))
	}
	if cfg.Patience < 0 {
		errs = append(errs, fmt.Errorf("patience: %s is negative", cfg.Patience))
	}
	errs = append(errs, cfg.Breaker.validate())
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("budget of %q: %w", cfg.Service, err)
	}
	b := &Budget{
		cfg: cfg, bulk: max(1, cfg.MaxInFlight-max(1, cfg.MaxInFlight/4)),
		limit: newLimit(cfg.PerSecond), breaker: newBreaker(cfg.Breaker),
	}
	b.pace.setLimit(b.limit.full())
	return b, nil
}

// Share says which part of the fleet's rate is this process's, 0 to 1: its part
// of the trigger partitions. With none there is still a little, for planning.
func (b *Budget) Share(fraction float64) {
	b.mu.Lock()
	defer b.unlock()
	if !(fraction > 0) { // not a number, too
		fraction = 0
	}
	b.limit.share = min(fraction, 1)
	if b.cfg.PerSecond > 0 {
		b.pace.setLimit(b.limit.full())
	}
	b.dispatch()
}

// Enter implements callout.Gate. It fails with fault.Unavailable while the vendor
// is away, and with fault.RateLimited in a pause longer than Config.Patience; both
// say for how long.
func (b *Budget) Enter(ctx context.Context) (func(callout.Result), error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("wait for a turn at %s: %w", b.cfg.Service, err)
	}
	w := &waiter{queue: queueOf(ctx), since: b.cfg.Now(), ready: make(chan error, 1)}
	b.mu.Lock()
	w.element = b.queues[w.queue].PushBack(w)
	b.dispatch()
	b.unlock()
	select {
	case err := <-w.ready:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		b.withdraw(w)
		return nil, fmt.Errorf("wait for a turn at %s: %w", b.cfg.Service, ctx.Err())
	}
	if b.cfg.Waited != nil {
		b.cfg.Waited(LaneOf(ctx), w.sent.Sub(w.since))
	}
	return func(r callout.Result) { b.leave(w, r) }, nil
}

// Away returns the error that Enter would fail with now, and nil when it would
// not: then a call has to wait for its turn only.
func (b *Budget) Away() error {
	b.mu.Lock()
	defer b.unlock()
	return b.away(b.cfg.Now())
}

func (b *Budget) away(t time.Time) error {
	if wait, yes := b.breaker.away(t); yes {
		return fault.After(fault.Unavailable, wait, errors.New(b.absence()))
	}
	if wait := b.pace.held.Sub(t); wait > b.cfg.Patience {
		return fault.After(fault.RateLimited, wait,
			fmt.Errorf("a limit of %s is reached: no call is made until %s", b.cfg.Service, stamp(b.pace.held)))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// dispatch admits those whose turn it is, and sets the timer for the next. It is
// called after each change, with mu held.
func (b *Budget) dispatch() {
	if b.timer != nil {
		b.timer.Stop()
	}
	for {
		now := b.cfg.Now()
		if err := b.away(now); err != nil {
			b.use.slack()
			b.turnAway(err)
			return
		}
		w := b.next()
		if w == nil {
			b.use.slack()
			return // the next to enter or to leave goes on
		}
		rate := b.limit.rate(now)
		b.pace.setRate(rate, now)
		if due := b.pace.at(); due.After(now) {
			b.use.wait(now, rate, b.pace.held, due)
			b.wake(due.Sub(now))
			return
		}
		b.use.admit(now)
		b.admit(w, now)
	}
}

func (b *Budget) wake(after time.Duration) {
	if b.timer != nil {
		b.timer.Reset(after)
		return
	}
	b.timer = time.AfterFunc(after, func() {
		b.mu.Lock()
		defer b.unlock()
		b.dispatch()
	})
}

// next returns the most urgent waiter that may fly now.
func (b *Budget) next() *waiter {
	if b.flying >= b.cfg.MaxInFlight {
		return nil
	}
	for i := range b.queues {
		if queue(i).lane() == Sweep && b.sweeps >= b.bulk {
			break // a more urgent call always finds a slot
		}
		if front := b.queues[i].Front(); front != nil {
			return front.Value.(*waiter)
		}
	}
	return nil
}

func (b *Budget) admit(w *waiter, t time.Time) {
	b.remove(w)
	b.flying++
	if w.queue.lane() == Sweep {
		b.sweeps++
	}
	w.arrival = b.pace.take(t, t.After(w.since))
	b.limit.recent.add(t)
	b.totals.calls++
	w.sent, w.epoch = t, b.breaker.enter()
	w.ready <- nil
}

func (b *Budget) remove(w *waiter) {
	if w.element != nil {
		b.queues[w.queue].Remove(w.element)
		w.element = nil
	}
}

// turnAway fails all that wait.
func (b *Budget) turnAway(err error) {
	for i := range b.queues {
		for e := b.queues[i].Front(); e != nil; e = b.queues[i].Front() {
			w := e.Value.(*waiter)
			b.remove(w)
			b.totals.turnedAway++
			w.ready <- err
		}
	}
}

// withdraw takes back a call whose context ended before it was told.
func (b *Budget) withdraw(w *waiter) {
	b.mu.Lock()
	b.remove(w)
	admitted := !w.sent.IsZero()
	b.unlock()
	if admitted {
		b.leave(w, callout.Result{Class: fault.Stopped})
	}
}

// leave gives back the slot of a call and learns from its result.
func (b *Budget) leave(w *waiter, r callout.Result) {
	b.mu.Lock()
	defer b.unlock()
	if w.left {
		return
	}
	w.left = true
	b.flying--
	if w.queue.lane() == Sweep {
		b.sweeps--
	}
	b.learn(w, r)
	b.dispatch()
}

func (b *Budget) learn(w *waiter, r callout.Result) {
	now := b.cfg.Now()
	b.pace.end(w.arrival, now)
	if b.breaker.leave(w.epoch, r, now) {
		b.note("%s", b.absence())
	}
	switch r.Class {
	case fault.RateLimited:
		b.totals.throttled++
		b.throttle(w, r, now)
	case fault.Locked:
		b.totals.locked++ // about one object, not about the rate
		b.limit.passed(w.sent)
	case fault.Unavailable, fault.UnknownOutcome:
		b.totals.failed++
	case "":
		b.limit.passed(w.sent)
	}
	if r.Header != nil {
		b.limit.left(r.Header, now)
	}
}

func (b *Budget) throttle(w *waiter, r callout.Result, t time.Time) {
	pause, fresh := b.limit.reached(w.sent, t, r.Wait)
	b.pace.hold(t.Add(pause))
	if fresh {
		rate := "calls"
		if now := b.limit.rate(t); now > 0 {
			rate = fmt.Sprintf("at most %.3g calls a second", now)
		}
		b.note("a limit of %s is reached: %s from %s on", b.cfg.Service, rate, stamp(b.pace.held))
	}
}

// absence says whether the vendor is away, and until when.
func (b *Budget) absence() string {
	switch b.breaker.state {
	case Open:
		return fmt.Sprintf("%s is away: %s, none is made until %s", b.cfg.Service, b.breaker.why, stamp(b.breaker.until))
	case HalfOpen:
		return fmt.Sprintf("%s is away: %s, and one is out to see whether it is back", b.cfg.Service, b.breaker.why)
	}
	return b.cfg.Service + " is back"
}

func (b *Budget) note(format string, args ...any) {
	if b.cfg.Notice != nil {
		b.notices = append(b.notices, fmt.Sprintf(format, args...))
	}
}

// unlock frees mu and then tells what there is to tell.
func (b *Budget) unlock() {
	notices := b.notices
	b.notices = nil
	b.mu.Unlock()
	for _, text := range notices {
		b.cfg.Notice(text)
	}
}
