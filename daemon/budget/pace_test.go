package budget_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hotsync/daemon/budget"
	"hotsync/internal/callout"
	"hotsync/internal/fault"
)

func TestASaturatedLimitIsUsedAndNotPassed(t *testing.T) {
	for _, limit := range []float64{1, 4, 5, 10, 25, 49, 50, 100, 333, 833, 2000} {
		bubble(t, fmt.Sprint(limit), func(t *testing.T) {
			b := newBudget(t, budget.Config{PerSecond: limit, MaxInFlight: 1000})
			l := saturate(t, b, budget.Sweep, 500, always(100*time.Millisecond), nil)
			start := time.Now()
			time.Sleep(20 * time.Second)
			l.stop()
			if n := between(l.times(), start, start.Add(time.Second)); float64(n) > 2+0.8*limit {
				t.Errorf("%d calls in the first second", n)
			}
			if n := between(l.times(), start.Add(time.Second), start.Add(20*time.Second)); float64(n+1) < 0.95*limit*19 {
				t.Errorf("%d calls in 19 s, want 95 %% of %v", n, limit*19)
			}
			if n := busiest(l.times(), time.Second); float64(n) > limit {
				t.Errorf("%d calls in a second, at most %v are allowed", n, limit)
			}
			if n := busiest(l.times(), 20*time.Millisecond); float64(n) > 2+0.04*limit {
				t.Errorf("%d calls in 20 ms are a burst", n)
			}
		})
	}
}

// Some of a vendor's answers take much longer than others. That they may have
// been late on their way must not cost more than a little.
func TestSlowAnswersCostLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, budget.Config{PerSecond: 100, MaxInFlight: 1000})
		l := saturate(t, b, budget.Sweep, 200, func(n int) time.Duration {
			switch {
			case n%50 == 0:
				return 950 * time.Millisecond
			case n%7 == 0:
				return 300 * time.Millisecond
			}
			return 80 * time.Millisecond
		}, nil)
		start := time.Now()
		time.Sleep(20 * time.Second)
		l.stop()
		if n := between(l.times(), start.Add(time.Second), start.Add(20*time.Second)); n < 1900*95/100 {
			t.Errorf("%d calls in 19 s, want 95 %% of 1900", n)
		}
	})
}

// Calls that are held up on their way do not pass the limit there.
func TestCallsThatArriveLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(3, 3))
		b := newBudget(t, budget.Config{PerSecond: 100, MaxInFlight: 1000})
		var arrived []time.Time
		l := saturate(t, b, budget.Sweep, 200, func(int) time.Duration {
			late := time.Duration(rnd.Int64N(int64(2 * time.Millisecond)))
			if rnd.Float64() < 0.05 {
				late = time.Duration(rnd.Int64N(int64(150 * time.Millisecond)))
			}
			arrived = append(arrived, time.Now().Add(late))
			return late + time.Millisecond
		}, nil)
		start := time.Now()
		time.Sleep(60 * time.Second)
		l.stop()
		slices.SortFunc(arrived, time.Time.Compare)
		if n := busiest(arrived, time.Second); n > 100 {
			t.Errorf("%d calls arrived in a second", n)
		}
		if n := between(arrived, start.Add(time.Second), start.Add(time.Minute)); n < 5900*95/100 {
			t.Errorf("%d calls in 59 s, want 95 %% of 5900", n)
		}
	})
}

// A process that does not run for a while, time and again, catches up, within
// what the limit leaves for that.
func TestLateTimersAreCaughtUp(t *testing.T) {
	for _, limit := range []float64{25, 100, 833} {
		bubble(t, fmt.Sprint(limit), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, uint64(limit)))
			var ahead atomic.Int64 // how far the clock is from the timers
			now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			var mu sync.Mutex
			var sent []time.Time
			b := newBudget(t, budget.Config{PerSecond: limit, MaxInFlight: 1000, Now: now, Waited: func(budget.Lane, time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				sent = append(sent, now())
			}})
			start := now()
			l := saturate(t, b, budget.Sweep, 50, always(time.Millisecond), nil)
			for now().Sub(start) < 20*time.Second {
				time.Sleep(time.Duration(rnd.Int64N(int64(200 * time.Millisecond))))
				ahead.Add(rnd.Int64N(int64(40 * time.Millisecond)))
			}
			l.stop()
			if n := between(sent, start.Add(time.Second), start.Add(20*time.Second)); float64(n) < 0.95*limit*19 {
				t.Errorf("%d calls in 19 s, want 95 %% of %v", n, limit*19)
			}
			if n := busiest(sent, time.Second); float64(n) > limit {
				t.Errorf("%d calls in a second, at most %v are allowed", n, limit)
			}
		})
	}
}

func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := []*budget.Budget{}
		var loads []*load
		for _, share := range []float64{5. / 12, 4. / 12, 3. / 12, 0} {
			b := newBudget(t, budget.Config{PerSecond: 120})
			b.Share(share)
			fleet = append(fleet, b)
			loads = append(loads, saturate(t, b, budget.Sweep, 20, always(10*time.Millisecond), nil))
		}
		start := time.Now()
		time.Sleep(11 * time.Second)
		count := func(i int) int {
			return between(loads[i].times(), start.Add(time.Second), start.Add(11*time.Second))
		}
		for i, want := range []int{50, 40, 30} {
			if n := count(i); n > 10*want || n < 95*want/10 {
				t.Errorf("instance %d made %d calls in 10 s, its share is %d", i, n, 10*want)
			}
		}
		if n := count(3); n < 5 || n > 30 {
			t.Errorf("without a share %d calls in 10 s, want a few", n)
		}

		// The third goes; its partitions move to the others.
		loads[2].stop()
		fleet[2].Share(0)
		fleet[0].Share(7. / 12)
		fleet[1].Share(5. / 12)
		start = time.Now()
		time.Sleep(11 * time.Second)
		for i, want := range []int{70, 50} {
			if n := count(i); n > 10*want || n < 95*want/10 {
				t.Errorf("then instance %d made %d calls in 10 s, its share is %d", i, n, 10*want)
			}
		}
		for _, l := range loads {
			l.stop()
		}
	})
}

// Who gets a larger share need not wait for what the small one had in store.
func TestALargerShareCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, budget.Config{PerSecond: 100})
		b.Share(0)
		answer(t, b, "")
		before := time.Now()
		waited := make(chan time.Duration)
		go func() {
			answer(t, b, "")
			waited <- time.Since(before)
		}()
		synctest.Wait()
		b.Share(1)
		if d := <-waited; d > 15*time.Millisecond {
			t.Errorf("waited %s", d)
		}
		b.Share(math.NaN())
		if s := b.Stats(); s.Share != 0 || s.Limit != 2 {
			t.Errorf("a share that is no number: %+v", s)
		}
	})
}

func TestNoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, budget.Config{})
		start := time.Now()
		for range 1000 {
			answer(t, b, "")
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("1000 calls without a limit waited %s", took)
		}
		if s := b.Stats(); s.Limit != 0 || s.Rate != 0 || s.Calls != 1000 {
			t.Errorf("%+v", s)
		}
	})
}

func TestLimitReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var notices []string
		b := newBudget(t, budget.Config{PerSecond: 100, Notice: func(s string) { notices = append(notices, s) }})
		var inFlight []func(callout.Result)
		for range 4 {
			inFlight = append(inFlight, enter(t.Context(), t, b))
		}
		time.Sleep(time.Second)
		for _, leave := range inFlight {
			leave(callout.Result{Class: fault.RateLimited})
		}
		s := b.Stats()
		if s.Rate != 70 || s.Throttled != 4 || time.Until(s.AwayUntil) != time.Second || len(notices) != 1 {
			t.Errorf("after one reaction: %+v, %q", s, notices)
		}
		before := time.Now()
		answer(t, b, fault.Locked)
		if waited := time.Since(before); waited != time.Second {
			t.Errorf("the next call waited %s, want the pause", waited)
		}
		for range 3 {
			answer(t, b, fault.RateLimited)
		}
		if waited := time.Since(before); waited < 4*time.Second || waited > 4100*time.Millisecond {
			t.Errorf("pauses of 1, 1 and 2 s come to %s", waited)
		}
	})
}

func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, budget.Config{PerSecond: 100})
		answer(t, b, fault.RateLimited)
		l := saturate(t, b, budget.Sweep, 20, always(10*time.Millisecond), nil)
		time.Sleep(6 * time.Second)
		// From 70 in two seconds to 90, and then slowly to where the limit was.
		if s := b.Stats(); s.Rate < 97 || s.Rate > 99 {
			t.Errorf("six seconds later the rate is %v, want 98", s.Rate)
		}
		time.Sleep(time.Second)
		start := time.Now()
		time.Sleep(10 * time.Second)
		l.stop()
		if n := between(l.times(), start, start.Add(10*time.Second)); n < 950 || n > 1000 {
			t.Errorf("%d calls in 10 s once it has recovered", n)
		}
		if s := b.Stats(); s.Rate != 100 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, budget.Config{PerSecond: 100})
		enter(t.Context(), t, b)(callout.Result{Class: fault.RateLimited, Wait: 4 * time.Second})
		before := time.Now()
		leave := enter(t.Context(), t, b)
		if waited := time.Since(before); waited != 4*time.Second {
			t.Errorf("waited %s, the vendor asked for 4 s", waited)
		}
		leave(callout.Result{Class: fault.RateLimited, Wait: 41 * time.Second})
		_, err := b.Enter(t.Context())
		if fault.Of(err) != fault.RateLimited || fault.Wait(err) != 41*time.Second || b.Away() == nil {
			t.Errorf("in a long pause: %v", err)
		}
		time.Sleep(31 * time.Second)
		if err := b.Away(); err != nil {
			t.Errorf("ten seconds before its end: %v", err)
		}
		enter(t.Context(), t, b)
		if waited := time.Since(before); waited != 45*time.Second {
			t.Errorf("waited %s in all, the vendor asked for 45 s", waited)
		}
	})
}

// When a pause is over, those who waited do not all go at once.
func TestNothingIsCaughtUpAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, budget.Config{PerSecond: 100})
		enter(t.Context(), t, b)(callout.Result{Class: fault.RateLimited, Wait: 4 * time.Second})
		end := time.Now().Add(4 * time.Second)
		l := saturate(t, b, budget.Sweep, 20, always(time.Millisecond), nil)
		time.Sleep(5 * time.Second)
		l.stop()
		if n := between(l.times(), time.Time{}, end.Add(100*time.Millisecond)); n > 10 {
			t.Errorf("%d calls until 100 ms after the pause, want 10", n)
		}
	})
}

// A vendor whose limit is lower than configured, and which says no more than 429:
// most of its limit is used, and few calls are refused.
func TestALowerLimitIsFound(t *testing.T) {
	for name, cfg := range map[string]budget.Config{
		"configured": {PerSecond: 100}, "none": {},
	} {
		bubble(t, name, func(t *testing.T) {
			b := newBudget(t, cfg)
			var taken []time.Time
			refused := 0
			l := saturate(t, b, budget.Sweep, 20, always(10*time.Millisecond), func(int) callout.Result {
				now := time.Now()
				if between(taken, now.Add(-time.Second+1), now.Add(1)) >= 25 {
					refused++
					return callout.Result{Class: fault.RateLimited}
				}
				taken = append(taken, now)
				return callout.Result{}
			})
			time.Sleep(30 * time.Second)
			l.mu.Lock()
			start, before := time.Now(), refused
			l.mu.Unlock()
			time.Sleep(60 * time.Second)
			l.stop()
			if n := between(taken, start, start.Add(time.Minute)); n < 1050 {
				t.Errorf("%d calls in a minute, 1500 are allowed", n)
			}
			if refused -= before; refused > 30 {
				t.Errorf("%d calls refused in a minute", refused)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, budget.Config{PerSecond: 100})
		rate := func(remaining, reset string) float64 {
			h := map[string][]string{"Ratelimit-Remaining": {remaining}, "Ratelimit-Reset": {reset}}
			enter(t.Context(), t, b)(callout.Result{Header: h})
			return b.Stats().Rate
		}
		for _, c := range []struct {
			remaining, reset string
			want             float64
		}{
			{"49873", "41", 100},
			{"200", "10", 20},
			{"100, 20000;w=3600", "10;w=60", 10},
			{"x", "10", 10}, // says nothing: as before
			{"-1", "10", 10},
			{"Inf", "10", 10},
			{"5", "0", 10},
			{"0", "10", 0.5},
			{"49873", "60", 100},
			{"100", "10", 10},
		} {
			if got := rate(c.remaining, c.reset); got != c.want {
				t.Errorf("%s left until %s: %v a second, want %v", c.remaining, c.reset, got, c.want)
			}
		}
		b.Share(0.5)
		if got := rate("100", "10"); got != 5 {
			t.Errorf("half of the fleet, of 10 a second: %v", got)
		}
		time.Sleep(10 * time.Second)
		if s := b.Stats(); s.Rate != 50 {
			t.Errorf("the vendor counts anew, and the rate is %v", s.Rate)
		}
	})
}

// A vendor that counts down is never asked once too often.
func TestCountdownIsStretched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, budget.Config{PerSecond: 100})
		end := time.Now().Add(20 * time.Second)
		left := 500
		l := saturate(t, b, budget.Sweep, 20, always(10*time.Millisecond), func(int) callout.Result {
			if !time.Now().Before(end) {
				end, left = end.Add(20*time.Second), 500
			}
			if left == 0 {
				t.Error("a call too many")
				return callout.Result{Class: fault.RateLimited}
			}
			left--
			return callout.Result{Header: map[string][]string{
				"Ratelimit-Remaining": {fmt.Sprint(left)}, "Ratelimit-Reset": {fmt.Sprint(int(time.Until(end).Seconds()) + 1)},
			}}
		})
		time.Sleep(100 * time.Second)
		l.stop()
		if n := len(l.times()); n < 2250 {
			t.Errorf("%d calls, 2500 are allowed", n)
		}
	})
}
