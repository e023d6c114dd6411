package budget

import (
	"math"
	"slices"
	"time"
)

// How calls are spaced. Of a limit of N a second, a vendor that counts exactly
// sees at most N in any second:
//
//   - The schedule runs at target of the limit. When calls waited and a timer or
//     the process was late, those after them catch up with the schedule, for as
//     much as catchUp. Time in which nobody wanted to call gives less: idle.
//   - Both go at twice the limit at most, but for the few calls of burst.
//   - And whatever happened, no window of a second and a bit has more than N
//     calls, or N-1 where that costs nothing: one call may still be on its way
//     here when the window opens there.
const (
	target  = 0.98
	catchUp = 50 * time.Millisecond
	idle    = 20 * time.Millisecond
	burst   = 5 * time.Millisecond // at twice the limit: 10 ms' worth
	guard   = 1.0075               // the window, in seconds
)

// spacing admits calls at even distances.
type spacing struct {
	gap  time.Duration
	next time.Time
}

// take notes a call at t. The calls after it may catch up for as much as slack.
func (s *spacing) take(t time.Time, slack time.Duration) {
	if behind := t.Add(-slack); s.next.Before(behind) {
		s.next = behind
	}
	s.next = s.next.Add(s.gap)
}

// set changes the distance. The next call need not wait for the old, longer one.
func (s *spacing) set(gap time.Duration, t time.Time) {
	s.gap = gap
	if soon := t.Add(gap); s.next.After(soon) {
		s.next = soon
	}
}

// pace says when the next call may go out. The zero pace lets all calls pass.
type pace struct {
	held     time.Time // no call before
	limited  bool
	schedule spacing
	peak     spacing

	// window holds when the last len(window) calls went out, the oldest at
	// first. It is for the limit, whatever is left of the rate for a while.
	window []time.Time
	first  int
	span   time.Duration
}

// setLimit says how many calls a second are allowed, 0 for no limit.
func (p *pace) setLimit(limit float64) {
	var size int
	if limit > 0 {
		size, p.span = windowOf(limit)
	}
	if size == len(p.window) {
		return
	}
	old := make([]time.Time, 0, size+len(p.window))
	old = append(old, make([]time.Time, size)...) // long ago
	old = append(old, p.window[p.first:]...)
	old = append(old, p.window[:p.first]...)
	p.window, p.first = old[len(old)-size:], 0
}

// windowOf returns the number of calls to allow in a window. A window has so many
// seconds that the limit allows about a whole number of calls in it.
func windowOf(limit float64) (calls int, span time.Duration) {
	seconds := 1.0
	for math.Floor(seconds*limit) < 0.975*seconds*limit && seconds < 100 {
		seconds++
	}
	calls = max(1, int(math.Floor(seconds*limit)))
	if calls >= 50 {
		calls--
	}
	return calls, time.Duration(seconds * guard * float64(time.Second))
}

// setRate says how many calls a second are to be made from t on, at most the
// limit; 0 for as many as there are.
func (p *pace) setRate(rate float64, t time.Time) {
	if p.held.After(t) {
		t = p.held
	}
	if p.limited = rate > 0; p.limited {
		p.schedule.set(time.Duration(float64(time.Second)/(target*rate)), t)
		p.peak.set(time.Duration(float64(time.Second)/(2*rate)), t)
	}
}

// hold lets no call out before t, and nothing catch up for the time until then.
func (p *pace) hold(t time.Time) {
	for _, earliest := range []*time.Time{&p.held, &p.schedule.next, &p.peak.next} {
		if earliest.Before(t) {
			*earliest = t
		}
	}
}

// at returns when the next call may go out.
func (p *pace) at() time.Time {
	if !p.limited {
		return p.held
	}
	times := []time.Time{p.held, p.schedule.next, p.peak.next}
	if len(p.window) > 0 {
		times = append(times, p.window[p.first].Add(p.span))
	}
	return slices.MaxFunc(times, time.Time.Compare)
}

// take notes a call at t, and whether it had to wait.
func (p *pace) take(t time.Time, waited bool) {
	if !p.limited {
		return
	}
	slack := idle
	if waited {
		slack = catchUp
	}
	p.schedule.take(t, slack)
	p.peak.take(t, burst)
	if len(p.window) > 0 {
		p.window[p.first] = t
		p.first = (p.first + 1) % len(p.window)
	}
}
