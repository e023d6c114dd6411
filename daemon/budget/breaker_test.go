package budget_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hotsync/daemon/budget"
	"hotsync/internal/callout"
	"hotsync/internal/fault"
)

// broken returns a budget whose vendor has just been found to be away.
func broken(t *testing.T, cfg budget.Config) *budget.Budget {
	t.Helper()
	b := newBudget(t, cfg)
	for range 10 {
		answer(t, b, fault.Unavailable)
	}
	if s := b.Stats(); s.Breaker != budget.Open {
		t.Fatalf("ten calls failed: %+v", s)
	}
	return b
}

func TestBreakerOpens(t *testing.T) {
	classes := func(n int, class fault.Class) []fault.Class {
		var out []fault.Class
		for range n {
			out = append(out, class)
		}
		return out
	}
	for name, c := range map[string]struct {
		answers []fault.Class
		want    budget.State
	}{
		"too few":      {classes(9, fault.Unavailable), budget.Closed},
		"away":         {classes(10, fault.Unavailable), budget.Open},
		"lost writes":  {classes(10, fault.UnknownOutcome), budget.Open},
		"limits":       {classes(6, fault.RateLimited), budget.Closed},
		"locks":        {classes(100, fault.Locked), budget.Closed},
		"our own stop": {classes(100, fault.Stopped), budget.Closed},
		"it says no":   {classes(100, ""), budget.Closed},
		"half":         {append(classes(50, ""), classes(49, fault.Unavailable)...), budget.Closed},
		"most":         {append(classes(20, ""), classes(30, fault.Unavailable)...), budget.Open},
	} {
		bubble(t, name, func(t *testing.T) {
			b := newBudget(t, budget.Config{Patience: time.Hour})
			for _, class := range c.answers {
				answer(t, b, class)
			}
			if s := b.Stats(); s.Breaker != c.want {
				t.Errorf("%s, want %s", s.Breaker, c.want)
			}
		})
	}
}

func TestOldFailuresAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, budget.Config{})
		for range 30 {
			answer(t, b, fault.Unavailable)
			time.Sleep(4 * time.Second)
		}
		if s := b.Stats(); s.Breaker != budget.Closed || s.Failed != 30 {
			t.Errorf("eight failures in any 30 s are too few to tell: %+v", s)
		}
	})
}

func TestOpenHalfOpenClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var notices []string
		b := broken(t, budget.Config{PerSecond: 100, Notice: func(s string) { notices = append(notices, s) }})
		_, err := b.Enter(t.Context())
		until := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339)
		if fault.Of(err) != fault.Unavailable || fault.Wait(err) != 2*time.Second ||
			!strings.Contains(err.Error(), "zuora is away") || !strings.Contains(err.Error(), until) {
			t.Errorf("an open breaker says %v, wait %s", err, fault.Wait(err))
		}

		// The delay doubles with each attempt that fails.
		for _, delay := range []time.Duration{2, 4, 8, 16, 30, 30} {
			time.Sleep(delay*time.Second - time.Millisecond)
			if b.Away() == nil {
				t.Fatalf("the delay of %d s was shorter", delay)
			}
			time.Sleep(time.Millisecond)
			answer(t, b, fault.Unavailable)
		}
		time.Sleep(30 * time.Second)
		probe := enter(t.Context(), t, b)
		if _, err := b.Enter(t.Context()); fault.Of(err) != fault.Unavailable || fault.Wait(err) == 0 {
			t.Errorf("beside the probe: %v", err)
		}
		if s := b.Stats(); s.Breaker != budget.HalfOpen || s.InFlight != 1 {
			t.Errorf("%+v", s)
		}
		probe(callout.Result{Class: fault.Locked}) // it answers: that is enough
		if s := b.Stats(); s.Breaker != budget.Closed || !s.AwayUntil.IsZero() {
			t.Errorf("%+v", s)
		}
		if len(notices) != 2 || !strings.Contains(notices[0], "is away") || notices[1] != "zuora is back" {
			t.Errorf("notices %q", notices)
		}
	})
}

// However many wait for it, one call goes out when the delay is over.
func TestOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broken(t, budget.Config{PerSecond: 100})
		time.Sleep(2 * time.Second)
		type end struct {
			leave func(callout.Result)
			err   error
		}
		ends := make(chan end, 50)
		for range 50 {
			go func() {
				leave, err := b.Enter(t.Context())
				ends <- end{leave, err}
			}()
		}
		synctest.Wait()
		var probes []func(callout.Result)
		for range 50 {
			if e := <-ends; e.err == nil {
				probes = append(probes, e.leave)
			} else if fault.Of(e.err) != fault.Unavailable {
				t.Error(e.err)
			}
		}
		if len(probes) != 1 || b.Stats().TurnedAway != 49 {
			t.Fatalf("%d probes, %+v", len(probes), b.Stats())
		}
		// A probe that we stopped says nothing: the next call finds out.
		probes[0](callout.Result{Class: fault.Stopped})
		if s := b.Stats(); s.Breaker != budget.HalfOpen {
			t.Errorf("%+v", s)
		}
		answer(t, b, "")
		for range 9 { // what failed before is forgotten
			answer(t, b, fault.Unavailable)
		}
		if s := b.Stats(); s.Breaker != budget.Closed {
			t.Errorf("%+v", s)
		}
	})
}

// What was sent before the breaker opened says nothing about now.
func TestLateAnswersDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, budget.Config{})
		good, bad := enter(t.Context(), t, b), enter(t.Context(), t, b)
		for range 10 {
			answer(t, b, fault.Unavailable)
		}
		good(callout.Result{})
		if s := b.Stats(); s.Breaker != budget.Open {
			t.Errorf("an old good answer made it %s", s.Breaker)
		}
		time.Sleep(2 * time.Second)
		probe := enter(t.Context(), t, b)
		bad(callout.Result{Class: fault.Unavailable})
		if s := b.Stats(); s.Breaker != budget.HalfOpen || b.Away() == nil {
			t.Errorf("an old bad answer made it %s", s.Breaker)
		}
		probe(callout.Result{})
		if s := b.Stats(); s.Breaker != budget.Closed || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Those that wait for their turn when the vendor goes away are told at once.
func TestWaitersAreTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, budget.Config{MaxInFlight: 10})
		var flying []func(callout.Result)
		for range 10 {
			flying = append(flying, enter(t.Context(), t, b))
		}
		errs := make(chan error, 5)
		for range 5 {
			go func() {
				_, err := b.Enter(context.Background())
				errs <- err
			}()
		}
		synctest.Wait()
		// Each place that comes free is taken; these get no answer yet.
		for _, leave := range flying {
			leave(callout.Result{Class: fault.Unavailable})
		}
		for range 5 {
			if err := <-errs; err != nil {
				t.Errorf("there was a slot: %v", err)
			}
		}
		go func() {
			_, err := b.Enter(context.Background())
			errs <- err
		}()
		if err := <-errs; fault.Of(err) != fault.Unavailable {
			t.Errorf("%v", err)
		}
	})
}
