package daemon

import (
	"slices"
	"time"

	"hotsync/daemon/config"
	"hotsync/event"
	"hotsync/reconcile"
	"hotsync/record"
)

// retryPolicy says when work that failed for a passing reason is tried again.
type retryPolicy struct {
	config.Retry
	random func() float64 // in [0,1)
}

// inMemory returns the delay before a further try that blocks only its key, or
// false when the work should leave memory: tries are used up, or the other side
// asked for a longer wait than a key may be blocked.
func (p retryPolicy) inMemory(failed int, asked time.Duration) (time.Duration, bool) {
	if failed >= p.MemoryTries || asked > p.MemoryMax {
		return 0, false
	}
	delay := min(p.MemoryBase<<min(failed, 16), p.MemoryMax)
	return max(asked, p.jitter(delay)), true
}

// deferred returns the delay before a further attempt that survives a restart,
// or false when the work is given up. attempt is the one that just failed, from
// 1.
func (p retryPolicy) deferred(attempt int, asked time.Duration) (time.Duration, bool) {
	switch {
	case attempt <= p.FirstTries:
		return max(asked, p.jitter(p.First)), true
	case attempt <= p.FirstTries+p.SecondTries:
		return max(asked, p.jitter(p.Second)), true
	}
	return 0, false
}

// rest returns how long a key is left alone after a sync whose last write may
// have made something new without an answer: as long as the longest of its calls
// took, since that is how slow the other side is known to be (the client's whole
// time-out when that was what ended the call), and memory's longest wait at least.
// What is read back sooner may miss a record that is being made, which would then
// be made twice. 0 for any other sync.
func (p retryPolicy) rest(v reconcile.Verdict) (rest time.Duration) {
	if v.Event.Reason != event.ReasonUnknownOutcome || !slices.ContainsFunc(v.Changes, makes) {
		return 0
	}
	rest = p.MemoryMax
	for _, c := range v.Event.Callouts {
		rest = max(rest, time.Duration(c.Duration)*time.Millisecond)
	}
	return rest
}

// makes reports whether a change brings a record into being. Orders have a claim
// that keeps a second one away.
func makes(c record.Change) bool { return c.Op == record.OpCreate || c.Op == record.OpImport }

// jitter spreads d over 80 to 120 %, so that what failed together does not come
// back together.
func (p retryPolicy) jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*p.random()))
}
