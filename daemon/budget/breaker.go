package budget

import (
	"fmt"
	"time"

	"hotsync/internal/callout"
	"hotsync/internal/fault"
)

// State is what a breaker is in.
type State string

// The states.
const (
	Closed   State = "closed"    // calls are made
	Open     State = "open"      // the vendor is away: no call is made
	HalfOpen State = "half_open" // one call at a time is made to see whether it is back
)

// Breaker says when a vendor counts as away. The zero value stands for the
// defaults.
type Breaker struct {
	Window   time.Duration // that is looked at; default 30s
	MinCalls int           // in the window, before anything is concluded; default 10
	Failures float64       // the share of calls that must have failed; default 0.6
	Delay    time.Duration // before the first attempt, doubled after each that failed; default 2s
	MaxDelay time.Duration // default 30s
}

func (c Breaker) withDefaults() Breaker {
	if c.Window == 0 {
		c.Window = 30 * time.Second
	}
	if c.MinCalls == 0 {
		c.MinCalls = 10
	}
	if c.Failures == 0 {
		c.Failures = 0.6
	}
	if c.Delay == 0 {
		c.Delay = 2 * time.Second
	}
	if c.MaxDelay == 0 {
		c.MaxDelay = max(30*time.Second, c.Delay)
	}
	return c
}

func (c Breaker) validate() error {
	if c.Window < 0 || c.MinCalls < 0 || c.Failures < 0 || c.Failures > 1 || c.Delay < 0 || c.MaxDelay < c.Delay {
		return fmt.Errorf("breaker %+v: nothing may be negative, failures is a share of at most 1, and max_delay is at least delay", c)
	}
	return nil
}

// parts is how many the window has. The oldest is forgotten at once.
const parts = 10

type tally struct{ calls, failed int }

// breaker is closed, open until a time, or half open. An answer counts only
// when its call was made in the state that the breaker is still in.
type breaker struct {
	cfg    Breaker
	state  State
	epoch  int // counts the changes of state
	delay  time.Duration
	until  time.Time
	probe  bool // half open: one is out
	counts [parts]tally
	newest int64  // number of the newest part, counted from 1970
	why    string // not closed: what made it so
}

func newBreaker(cfg Breaker) *breaker { return &breaker{cfg: cfg, state: Closed} }

func (b *breaker) become(s State) {
	b.state = s
	b.epoch++
	b.probe = false
}

// away returns how long no call is worth making, and whether that is so.
func (b *breaker) away(t time.Time) (wait time.Duration, yes bool) {
	switch {
	case b.state == Open && t.Before(b.until):
		return b.until.Sub(t), true
	case b.state == HalfOpen && b.probe:
		return b.cfg.Delay, true
	}
	return 0, false
}

// enter notes that a call goes out, which is the probe when the breaker is not
// closed, and returns what leave wants.
func (b *breaker) enter() (epoch int) {
	if b.state == Open {
		b.become(HalfOpen)
	}
	b.probe = b.state == HalfOpen
	return b.epoch
}

// leave notes how a call went. It reports whether the vendor is away or back
// since.
func (b *breaker) leave(epoch int, r callout.Result, t time.Time) bool {
	if epoch != b.epoch {
		return false
	}
	failed := r.Class == fault.Unavailable || r.Class == fault.UnknownOutcome
	switch {
	case r.Class == fault.Stopped:
		b.probe = false // the next call finds out
		return false
	case b.state == HalfOpen && failed:
		b.open(min(2*b.delay, b.cfg.MaxDelay), r, t)
		return false
	case b.state == HalfOpen:
		b.become(Closed)
		b.counts = [parts]tally{}
		return true
	}
	sum := b.count(failed, t)
	if !failed || sum.calls < b.cfg.MinCalls || float64(sum.failed) < b.cfg.Failures*float64(sum.calls) {
		return false
	}
	b.why = fmt.Sprintf("%d of its last %d calls failed", sum.failed, sum.calls)
	b.open(b.cfg.Delay, r, t)
	return true
}

// open keeps calls back for a delay, or for what the vendor asked for.
func (b *breaker) open(delay time.Duration, r callout.Result, t time.Time) {
	b.become(Open)
	b.delay = delay
	b.until = t.Add(max(delay, min(r.Wait, b.cfg.MaxDelay)))
}

// count adds a call and returns the sum of the window.
func (b *breaker) count(failed bool, t time.Time) (sum tally) {
	now := t.UnixNano() / int64(b.cfg.Window/parts+1)
	for ; b.newest < now; b.newest++ {
		if now-b.newest > parts {
			b.newest = now - parts
		}
		b.counts[(b.newest+1)%parts] = tally{}
	}
	part := &b.counts[b.newest%parts]
	part.calls++
	if failed {
		part.failed++
	}
	for _, c := range b.counts {
		sum.calls += c.calls
		sum.failed += c.failed
	}
	return sum
}
