package budget_test

import (
	"sync/atomic"
	"testing"
	"time"

	"hotsync/daemon/budget"
	"hotsync/internal/callout"
	"hotsync/internal/fault"
)

// The account says how much of the rate was used while calls waited for it, and
// nothing of the time in which they did not.
func TestAccountOfWhatIsUsed(t *testing.T) {
	for name, c := range map[string]struct {
		cfg     budget.Config
		callers int
		takes   time.Duration
		allowed float64 // in ten seconds; 0: nobody ever waited for the rate
	}{
		"many callers":                  {budget.Config{PerSecond: 100, MaxInFlight: 50}, 40, 50 * time.Millisecond, 1000},
		"as many as are needed":         {budget.Config{PerSecond: 100, MaxInFlight: 50}, 2, 12 * time.Millisecond, 1000},
		"one, just fast enough":         {budget.Config{PerSecond: 100}, 1, 5 * time.Millisecond, 1000},
		"a low rate":                    {budget.Config{PerSecond: 5}, 8, time.Millisecond, 50},
		"too few callers":               {budget.Config{PerSecond: 100, MaxInFlight: 50}, 5, 100 * time.Millisecond, 0},
		"too few slots":                 {budget.Config{PerSecond: 100, MaxInFlight: 4}, 40, 100 * time.Millisecond, 0},
		"a vendor without any limit":    {budget.Config{MaxInFlight: 4}, 40, 100 * time.Millisecond, 0},
		"one for whom it is not enough": {budget.Config{PerSecond: 100}, 1, 11 * time.Millisecond, 0},
	} {
		bubble(t, name, func(t *testing.T) {
			b := newBudget(t, c.cfg)
			l := saturate(t, b, budget.API, c.callers, always(c.takes), nil)
			time.Sleep(2 * time.Second)
			before := b.Stats()
			time.Sleep(10 * time.Second)
			after := b.Stats()
			l.stop()
			allowed, used := after.Allowed-before.Allowed, float64(after.Used-before.Used)
			if allowed < 0.99*c.allowed-1 || allowed > 1.01*c.allowed+1 {
				t.Errorf("%.1f calls were allowed while one waited, want %v", allowed, c.allowed)
			}
			if used < 0.95*allowed-1 || used > allowed+1 {
				t.Errorf("%.0f of %.1f calls were used", used, allowed)
			}
			if missed := after.Missed - before.Missed; missed != 0 {
				t.Errorf("%.1f calls were missed by a process that was never late", missed)
			}
		})
	}
}

// A pause that the vendor asks for allows nothing, and a lower rate less.
func TestAccountOfALowerRate(t *testing.T) {
	bubble(t, "after a limit was reached", func(t *testing.T) {
		b := newBudget(t, budget.Config{PerSecond: 100})
		enter(t.Context(), t, b)(callout.Result{Class: fault.RateLimited, Wait: 5 * time.Second})
		l := saturate(t, b, budget.Sweep, 20, always(time.Millisecond), nil)
		time.Sleep(4900 * time.Millisecond)
		if s := b.Stats(); s.Allowed != 0 || s.Used != 0 {
			t.Errorf("in a pause: %+v", s)
		}
		time.Sleep(10 * time.Second)
		l.stop()
		if s := b.Stats(); s.Allowed > 1000 || s.Allowed < 900 || float64(s.Used) < 0.95*s.Allowed || float64(s.Used) > s.Allowed+1 {
			t.Errorf("while the rate recovers: %d of %.1f", s.Used, s.Allowed)
		}
	})
}

// What a process that is late leaves unused is told apart from what it need not.
func TestAccountOfALateProcess(t *testing.T) {
	bubble(t, "now and then", func(t *testing.T) {
		var ahead atomic.Int64 // of the timers
		b := newBudget(t, budget.Config{PerSecond: 100, MaxInFlight: 50, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
		l := saturate(t, b, budget.Sweep, 40, always(50*time.Millisecond), nil)
		time.Sleep(2 * time.Second)
		before := b.Stats()
		for range 20 {
			time.Sleep(200 * time.Millisecond)
			b.Share(1) // a call is let out, and the next waits
			ahead.Add(int64(300 * time.Millisecond))
			b.Share(1) // and is late
		}
		after := b.Stats()
		l.stop()
		used, allowed, missed := float64(after.Used-before.Used), after.Allowed-before.Allowed, after.Missed-before.Missed
		if allowed < 995 || allowed > 1005 || missed < 570 || missed > 600 {
			t.Errorf("allowed %.1f, missed %.1f; want 100 in each of ten seconds, and 30 in each of twenty times", allowed, missed)
		}
		if used < 0.95*(allowed-missed) || used > allowed {
			t.Errorf("%.0f calls", used)
		}
	})
}
