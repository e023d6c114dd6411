package budget

import (
	"container/heap"
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
//     calls, or most of N where that is possible. A call is in the window from
//     when it may have arrived there: one that took much longer than calls do
//     was perhaps long on its way.
//   - In the first second, in which connections are made and calls are held up by
//     that, the rate is warmUp of itself.
const (
	target  = 0.97
	catchUp = 100 * time.Millisecond
	idle    = 20 * time.Millisecond
	burst   = 5 * time.Millisecond // at twice the limit: 10 ms' worth
	guard   = 1.005                // the window, in seconds
	warmUp  = 0.75
	most    = 0.98 // of the limit, in a window of at least 50 calls
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
	began    time.Time // the first call
	limited  bool
	schedule spacing
	peak     spacing

	window window        // for the limit, whatever is left of the rate for a while
	size   int           // of the window; 0: none
	span   time.Duration // of the window
	usual  time.Duration // that a call takes
}

// arrival is when a call reached the vendor, as far as can be told from here.
type arrival struct {
	at    time.Time
	index int // in the window; -1: not there
}

// window is a heap of the calls that arrived last, the earliest at its top.
type window []*arrival

// Len implements heap.Interface.
func (w window) Len() int { return len(w) }

// Less implements heap.Interface.
func (w window) Less(i, j int) bool { return w[i].at.Before(w[j].at) }

// Swap implements heap.Interface.
func (w window) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push implements heap.Interface.
func (w *window) Push(x any) {
	a := x.(*arrival)
	a.index = len(*w)
	*w = append(*w, a)
}

// Pop implements heap.Interface.
func (w *window) Pop() any {
	last := len(*w) - 1
	a := (*w)[last]
	(*w)[last], a.index = nil, -1
	*w = (*w)[:last]
	return a
}

// setLimit says how many calls a second are allowed, 0 for no limit.
func (p *pace) setLimit(limit float64) {
	p.size = 0
	if limit > 0 {
		p.size, p.span = windowOf(limit)
	}
	for len(p.window) > p.size {
		heap.Pop(&p.window)
	}
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
		calls = int(most * float64(calls))
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
		if p.began.IsZero() || t.Sub(p.began) < time.Second {
			rate *= warmUp
		}
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
	if p.size > 0 && len(p.window) == p.size {
		times = append(times, p.window[0].at.Add(p.span))
	}
	return slices.MaxFunc(times, time.Time.Compare)
}

// take notes a call at t, and whether it had to wait. It returns what end wants.
func (p *pace) take(t time.Time, waited bool) *arrival {
	if p.began.IsZero() {
		p.began = t
	}
	a := &arrival{at: t, index: -1}
	if !p.limited {
		return a
	}
	slack := idle
	if waited {
		slack = catchUp
	}
	p.schedule.take(t, slack)
	p.peak.take(t, burst)
	if p.size > 0 {
		if len(p.window) == p.size {
			heap.Pop(&p.window)
		}
		heap.Push(&p.window, a)
	}
	return a
}

// end notes at t that a call is over.
func (p *pace) end(a *arrival, t time.Time) {
	took := t.Sub(a.at)
	if late := took - 2*p.usual; late > 0 && a.index >= 0 {
		a.at = a.at.Add(late)
		heap.Fix(&p.window, a.index)
	}
	p.usual += (took - p.usual) / 16
}
