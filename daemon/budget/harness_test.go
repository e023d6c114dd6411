package budget_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"hotsync/daemon/budget"
	"hotsync/internal/callout"
	"hotsync/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newBudget(t *testing.T, cfg budget.Config) *budget.Budget {
	t.Helper()
	if cfg.Service == "" {
		cfg.Service = "zuora"
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 16
	}
	b, err := budget.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// enter gets in or ends the test.
func enter(ctx context.Context, t *testing.T, b *budget.Budget) func(callout.Result) {
	t.Helper()
	leave, err := b.Enter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return leave
}

// answer makes a call that ends at once with a class.
func answer(t *testing.T, b *budget.Budget, class fault.Class) {
	t.Helper()
	enter(t.Context(), t, b)(callout.Result{Class: class})
}

// load is what a number of goroutines get done that do nothing but call.
type load struct {
	stop func()

	mu    sync.Mutex
	sent  []time.Time
	fails []error
}

func always(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

// saturate starts callers whose calls take some time and end with what say
// returns; nil: with a good answer. Both are asked one at a time.
func saturate(t *testing.T, b *budget.Budget, lane budget.Lane, callers int, takes func(n int) time.Duration, say func(n int) callout.Result) *load {
	return saturateIn(budget.In(t.Context(), lane), b, callers, takes, say)
}

// saturateIn is saturate with calls of a context.
func saturateIn(ctx context.Context, b *budget.Budget, callers int, takes func(n int) time.Duration, say func(n int) callout.Result) *load {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	l := &load{stop: func() { cancel(); wg.Wait() }}
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				leave, err := b.Enter(ctx)
				l.mu.Lock()
				n := len(l.sent)
				if err != nil {
					l.fails = append(l.fails, err)
				} else {
					l.sent = append(l.sent, time.Now())
				}
				l.mu.Unlock()
				if err != nil {
					time.Sleep(fault.Wait(err)) // of the bubble
					continue
				}
				l.mu.Lock()
				d := takes(n)
				l.mu.Unlock()
				time.Sleep(d)
				leave(l.result(say, n))
			}
		})
	}
	return l
}

func (l *load) result(say func(int) callout.Result, n int) callout.Result {
	if say == nil {
		return callout.Result{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return say(n)
}

// times returns when calls were sent.
func (l *load) times() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sent)
}

func between(times []time.Time, from, to time.Time) int {
	n := 0
	for _, at := range times {
		if !at.Before(from) && at.Before(to) {
			n++
		}
	}
	return n
}

// busiest returns the most calls in any span.
func busiest(times []time.Time, span time.Duration) int {
	most, first := 0, 0
	for i, at := range times {
		for at.Sub(times[first]) >= span {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}
