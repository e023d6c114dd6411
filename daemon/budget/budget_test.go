package budget_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"hotsync/daemon/budget"
	"hotsync/internal/callout"
	"hotsync/internal/fault"
)

func TestConfig(t *testing.T) {
	for want, cfg := range map[string]budget.Config{
		"service":       {MaxInFlight: 1},
		"max_in_flight": {Service: "zuora"},
		"per_second":    {Service: "zuora", MaxInFlight: 1, PerSecond: -1},
		"per_second: N": {Service: "zuora", MaxInFlight: 1, PerSecond: math.NaN()},
		"patience":      {Service: "zuora", MaxInFlight: 1, Patience: -1},
		"breaker":       {Service: "zuora", MaxInFlight: 1, Breaker: budget.Breaker{Failures: 1.1}},
		"max_delay":     {Service: "zuora", MaxInFlight: 1, Breaker: budget.Breaker{Delay: 2, MaxDelay: 1}},
	} {
		if _, err := budget.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error about %s, not %v", want, err)
		}
	}
}

func TestLanes(t *testing.T) {
	if got := budget.LaneOf(t.Context()); got != budget.API {
		t.Errorf("without a lane: %s", got)
	}
	var names []string
	for _, lane := range budget.Lanes() {
		if got := budget.LaneOf(budget.In(t.Context(), lane)); got != lane {
			t.Errorf("in %s: %s", lane, got)
		}
		names = append(names, lane.String())
	}
	if got := strings.Join(names, " "); got != "login webhook api sweep" {
		t.Error(got)
	}
}

// line up starts a waiter for each context, in order, and returns the order in
// which they get in.
func lineUp(t *testing.T, b *budget.Budget, ctxs []context.Context) (order func() []int) {
	t.Helper()
	var mu sync.Mutex
	var got []int
	var wg sync.WaitGroup
	for i, ctx := range ctxs {
		wg.Go(func() {
			leave, err := b.Enter(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			got = append(got, i)
			mu.Unlock()
			synctest.Wait() // let nobody else in before it is noted
			leave(callout.Result{})
		})
		synctest.Wait()
	}
	return func() []int { wg.Wait(); return got }
}

func TestPriority(t *testing.T) {
	in := func(l budget.Lane) context.Context { return budget.In(context.Background(), l) }
	// Two of each lane, the second of which ends something; and a token's, which all wait for.
	ctxs := []context.Context{
		in(budget.Sweep), callout.Ending(in(budget.Sweep)), in(budget.API), callout.Ending(context.Background()), in(budget.Webhook),
		callout.Ending(in(budget.Webhook)), callout.Ahead(callout.Ending(in(budget.Sweep))), in(budget.Login), in(budget.Login), callout.Ending(in(budget.Login)),
	}
	want := []int{6, 9, 7, 8, 5, 4, 3, 2, 1, 0}
	bubble(t, "for a slot", func(t *testing.T) {
		b := newBudget(t, budget.Config{MaxInFlight: 1})
		leave := enter(t.Context(), t, b)
		order := lineUp(t, b, ctxs)
		s := b.Stats()
		if s.Waiting[budget.Login] != 4 || s.Waiting[budget.Webhook] != 2 || s.Waiting[budget.API] != 2 || s.Waiting[budget.Sweep] != 2 {
			t.Errorf("waiting: %v", s.Waiting)
		}
		leave(callout.Result{})
		if got := order(); !slices.Equal(got, want) {
			t.Errorf("order %v, want %v", got, want)
		}
	})
	bubble(t, "for the rate", func(t *testing.T) {
		b := newBudget(t, budget.Config{PerSecond: 1})
		answer(t, b, "")
		if got := lineUp(t, b, ctxs)(); !slices.Equal(got, want) {
			t.Errorf("order %v, want %v", got, want)
		}
	})
}

// A call that somebody waits for finds a slot, and its turn, beside any sweep:
// one that reads, and one that has so much to write that it does nothing else.
func TestASweepLeavesRoom(t *testing.T) {
	bubble(t, "that reads", func(t *testing.T) { leavesRoom(budget.In(t.Context(), budget.Sweep), t) })
	bubble(t, "that writes", func(t *testing.T) { leavesRoom(callout.Ending(budget.In(t.Context(), budget.Sweep)), t) })
}

func leavesRoom(sweep context.Context, t *testing.T) {
	var mu sync.Mutex
	var longest time.Duration
	b := newBudget(t, budget.Config{PerSecond: 100, MaxInFlight: 8, Waited: func(lane budget.Lane, d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		if lane == budget.Login {
			longest = max(longest, d)
		}
	}})
	l := saturateIn(sweep, b, 50, always(time.Second), nil)
	time.Sleep(5 * time.Second)
	if s := b.Stats(); s.InFlight != 6 {
		t.Errorf("a sweep alone has %d of 8 slots", s.InFlight)
	}
	for range 100 {
		enter(budget.In(t.Context(), budget.Login), t, b)(callout.Result{})
		time.Sleep(37 * time.Millisecond)
	}
	l.stop()
	mu.Lock()
	defer mu.Unlock()
	if longest > 15*time.Millisecond {
		t.Errorf("a login waited %s", longest)
	}
}

// Logins that make two calls each, of 50 ms, and two fifths of what the budget
// allows take little longer while a sweep makes the rest of it: one that reads, and
// one that writes. The clock is the bubble's.
func TestALoginBesideASweep(t *testing.T) {
	p99 := func(t *testing.T, sweep context.Context) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			b := newBudget(t, budget.Config{PerSecond: 100})
			l := saturateIn(sweep, b, 24, always(50*time.Millisecond), nil)
			time.Sleep(2 * time.Second) // the first of which is a budget's warm-up
			var mu sync.Mutex
			var all []time.Duration
			var wg sync.WaitGroup
			for range 400 {
				wg.Go(func() {
					came := time.Now()
					for range 2 {
						leave := enter(budget.In(t.Context(), budget.Login), t, b)
						time.Sleep(50 * time.Millisecond)
						leave(callout.Result{})
					}
					mu.Lock()
					defer mu.Unlock()
					all = append(all, time.Since(came))
				})
				time.Sleep(time.Second / 20)
			}
			wg.Wait()
			l.stop()
			slices.Sort(all)
			took = all[len(all)*99/100]
		})
		return took
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	quiet := p99(t, over)
	reads := p99(t, budget.In(t.Context(), budget.Sweep))
	writes := p99(t, callout.Ending(budget.In(t.Context(), budget.Sweep)))
	if 2*reads > 3*quiet || 2*writes > 3*quiet {
		t.Errorf("p99 of a login is %s, beside a sweep that reads %s, beside one that writes %s; want at most 1.5 times as much", quiet, reads, writes)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, budget.Config{PerSecond: 1, MaxInFlight: 1})
		leave := enter(t.Context(), t, b)
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 3)
		for range 2 {
			go func() { _, err := b.Enter(ctx); errs <- err }()
		}
		go func() {
			late, cancelLate := context.WithTimeout(t.Context(), time.Second)
			defer cancelLate()
			_, err := b.Enter(late)
			errs <- err
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		for range 2 {
			if err := <-errs; fault.Of(err) != fault.Stopped {
				t.Errorf("cancelled: %v", err)
			}
		}
		if err := <-errs; fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), "turn at zuora") {
			t.Errorf("no time left: %v", err)
		}
		if _, err := b.Enter(ctx); fault.Of(err) != fault.Stopped {
			t.Errorf("already ended: %v", err)
		}
		leave(callout.Result{})
		leave(callout.Result{}) // once is enough
		s := b.Stats()
		if s.InFlight != 0 || s.Calls != 1 || s.Waiting[budget.API] != 0 {
			t.Errorf("left behind: %+v", s)
		}
		before := time.Now()
		answer(t, b, "")
		if waited := time.Since(before); waited > 1100*time.Millisecond {
			t.Errorf("those who gave up have used the rate: waited %s", waited)
		}
	})
}

// A call that is let in while its context ends gives its slot back, whichever of
// the two it hears of.
func TestLetInTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, budget.Config{MaxInFlight: 1})
		in, out := 0, 0
		for i := range 100 {
			leave := enter(t.Context(), t, b)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				if leave, err := b.Enter(ctx); err == nil {
					in++
					leave(callout.Result{})
				} else {
					out++
				}
			}()
			synctest.Wait()
			if i%2 == 0 {
				leave(callout.Result{})
				cancel()
			} else {
				cancel()
				leave(callout.Result{})
			}
			<-done
			if s := b.Stats(); s.InFlight != 0 {
				t.Fatalf("%+v", s)
			}
		}
		if in == 0 || out == 0 {
			t.Errorf("%d got in and %d did not: nothing was tried", in, out)
		}
	})
}

// A sweep that has writes waiting, as many as may be out and more, is behind one
// read of a login: whatever is free next is the login's.
func TestALoginsReadGoesBeforeASweepsWrites(t *testing.T) {
	for name, cfg := range map[string]budget.Config{
		"for a slot": {MaxInFlight: 1}, "for the rate": {PerSecond: 10},
	} {
		bubble(t, name, func(t *testing.T) {
			b := newBudget(t, cfg)
			leave := enter(t.Context(), t, b)
			ctxs := slices.Repeat([]context.Context{callout.Ending(budget.In(t.Context(), budget.Sweep))}, 40)
			order := lineUp(t, b, append(ctxs, budget.In(t.Context(), budget.Login)))
			leave(callout.Result{})
			if got := order(); got[0] != 40 {
				t.Errorf("the login's read was admitted as number %d of %d", slices.Index(got, 40)+1, len(got))
			}
		})
	}
}

// visit is one call: when it comes, how long it waits at most and how long it
// takes, in milliseconds, and how it ends.
type visit struct {
	lane                   budget.Lane
	ends                   bool // what earlier ones began
	start, patience, takes int
	class                  fault.Class
}

// However calls come, go and give up, no more are out than may be, sweeps leave
// room, and in the end all is as it was.
func TestInFlightNeverExceedsTheLimit(t *testing.T) {
	ends := []fault.Class{"", "", "", "", fault.Locked, fault.RateLimited, fault.Unavailable, fault.Stopped}
	visits := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) visit {
		return visit{
			rapid.SampledFrom(budget.Lanes()).Draw(rt, "lane"), rapid.Bool().Draw(rt, "ends something"), rapid.IntRange(0, 500).Draw(rt, "start"),
			rapid.IntRange(1, 1000).Draw(rt, "patience"), rapid.IntRange(0, 300).Draw(rt, "takes"), rapid.SampledFrom(ends).Draw(rt, "ends"),
		}
	}), 1, 40)
	rapid.Check(t, func(rt *rapid.T) {
		cfg := budget.Config{
			MaxInFlight: rapid.IntRange(1, 9).Draw(rt, "slots"), Breaker: budget.Breaker{MinCalls: 3},
			PerSecond: rapid.SampledFrom([]float64{0, 5, 200}).Draw(rt, "per second"),
		}
		calls := visits.Draw(rt, "visits")
		var seen crowd
		synctest.Test(t, func(t *testing.T) { seen = visitAll(t, cfg, calls) })
		if seen.most > cfg.MaxInFlight || seen.counted > cfg.MaxInFlight || cfg.MaxInFlight > 1 && seen.sweeps >= cfg.MaxInFlight {
			rt.Errorf("%+v at once, limit %d", seen, cfg.MaxInFlight)
		}
		if seen.left != 0 {
			rt.Errorf("%d calls are left behind", seen.left)
		}
	})
}

// crowd is how many were out at once at most, how many of them of a sweep, how
// many by the budget's own count, and how many it counts in the end.
type crowd struct{ most, sweeps, counted, left int }

func visitAll(t *testing.T, cfg budget.Config, visits []visit) crowd {
	b := newBudget(t, cfg)
	var mu sync.Mutex
	var seen crowd
	flying := map[budget.Lane]int{}
	count := func(lane budget.Lane, change int) {
		mu.Lock()
		defer mu.Unlock()
		flying[lane] += change
		all := 0
		for _, n := range flying {
			all += n
		}
		seen.most, seen.sweeps = max(seen.most, all), max(seen.sweeps, flying[budget.Sweep])
		seen.counted = max(seen.counted, b.Stats().InFlight)
	}
	var wg sync.WaitGroup
	for _, v := range visits {
		wg.Go(func() {
			time.Sleep(time.Duration(v.start) * time.Millisecond)
			ctx, cancel := context.WithTimeout(budget.In(t.Context(), v.lane), time.Duration(v.patience)*time.Millisecond)
			defer cancel()
			if v.ends {
				ctx = callout.Ending(ctx)
			}
			leave, err := b.Enter(ctx)
			if err != nil {
				return
			}
			count(v.lane, 1)
			time.Sleep(time.Duration(v.takes) * time.Millisecond)
			count(v.lane, -1)
			leave(callout.Result{Class: v.class})
		})
	}
	wg.Wait()
	s := b.Stats()
	seen.left = s.InFlight
	for _, n := range s.Waiting {
		seen.left += n
	}
	return seen
}
