package sweep

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// survive lets planners run, each until it dies, until one has brought the run
// of a sweep to its end. deaths says after how many steps each dies.
func (w *world) survive(t *testing.T, name string, ask Ask, deaths []int) (died int) {
	t.Helper()
	if ask.Mode == Apply {
		w.remember(t, Run{ID: ask.PlanOf, Mode: Plan, Status: Done, Started: time.Now().Add(-time.Hour)})
	}
	before := len(w.state(t, name).Last)
	l := w.start(t, w.config())
	w.set(func() { w.steps = 0 })
	for i := 0; ; i++ {
		w.set(func() {
			w.crashIn = 0
			if i < len(deaths) {
				w.crashIn = deaths[i]
			}
		})
		if i == 0 {
			w.request(t, name, ask)
		}
		for {
			pass(time.Second)
			select {
			case err := <-l.ended:
				if !errors.Is(err, errCrash) {
					t.Fatalf("the planner ended with %v", err)
				}
				died++
			default:
				if s := w.state(t, name); s.Current == nil && len(s.Last) == before+1 {
					w.set(func() { w.crashIn = 0 })
					l.end()
					return died
				}
				continue
			}
			break
		}
		w.set(func() { w.dead, w.crashIn = false, 0 })
		w.restart(t, l)
	}
}

// restart has the planner run again, as a new process would.
func (w *world) restart(t *testing.T, l *life) {
	t.Helper()
	again := w.start(t, w.config())
	l.planner, l.stop, l.ended = again.planner, again.stop, again.ended
}

// summaries are the run events, each once by its id, as JSON.
func (w *world) summaries(t *testing.T) []string {
	t.Helper()
	byID := map[string]string{}
	for _, e := range w.events {
		b, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if was, ok := byID[e.ID]; ok && was != string(b) {
			t.Errorf("two summaries under one id:\n%s\n%s", was, b)
		}
		byID[e.ID] = string(b)
	}
	return slices.Collect(maps.Values(byID))
}

func TestCrashAnywhere(t *testing.T) {
	cases := map[string]struct {
		sweep string
		ask   Ask
	}{
		"changed": {ZuoraChanged, Ask{}}, "full": {ZuoraFull, Ask{}}, "events": {StripeEvents, Ask{}}, "drift": {StripeDrift, Ask{}},
		"orphans": {LimioOrphans, Ask{}}, "deep": {StripeDrift, Ask{Deep: true}}, "plan": {ZuoraFull, Ask{Mode: Plan}},
		"apply": {StripeDrift, Ask{Mode: Apply, PlanOf: "stripe-drift/19991231T230000Z-0000"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var want []string
			var steps int
			bubble(t, func(t *testing.T, w *world) {
				w.populate()
				w.survive(t, c.sweep, c.ask, nil)
				want, steps = w.ids(), w.steps
			})
			if len(want) == 0 || steps < 15 {
				t.Fatalf("a run without a crash hands on %d keys in %d steps", len(want), steps)
			}
			for n := 1; n <= steps; n++ {
				bubble(t, func(t *testing.T, w *world) {
					w.populate()
					if died := w.survive(t, c.sweep, c.ask, []int{n}); died != 1 {
						t.Errorf("step %d of %d: died %d times", n, steps, died)
					}
					run := w.last(t, c.sweep)
					if got := w.ids(); !slices.Equal(got, w.expected(run, want)) {
						t.Errorf("step %d: triggers (-want +got):\n%s", n, cmp.Diff(w.expected(run, want), got))
					}
					if got := w.summaries(t); len(got) != 1 || run.Status != Done {
						t.Errorf("step %d: ended %s with %d summaries: %q", n, run.Status, len(got), got)
					}
					if repeated := len(w.emitted) - len(w.ids()); repeated > 4 {
						t.Errorf("step %d: %d triggers were handed on again, more than the largest page", n, repeated)
					}
				})
			}
		})
	}
}

// expected are the ids that a run without a crash gave; they are those of
// another run when the process died before its first record and so a second
// later.
func (w *world) expected(run Run, want []string) []string {
	if run.Started.Equal(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) {
		return want
	}
	ids := map[string]bool{}
	for _, t := range w.emitted {
		if t.Delivery != run.ID {
			return append([]string{"a trigger of " + t.Delivery}, want...)
		}
		ids[triggerID(run.ID, t.Key, t.Verify)] = true
	}
	if len(ids) != len(want) {
		return append([]string{fmt.Sprintf("%d ids", len(want))}, want...)
	}
	return slices.Sorted(maps.Keys(ids))
}

// Whatever the pages look like and whenever processes die or vendors are away,
// what was due is handed on, nothing else is, and the run is told of once.
func TestNothingDueIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type layout struct {
			Drift, Subs [][]int // which records each page shows
			Due, Stale  []int
			Failing     []int // pages of the list that cannot be read at first
			Deaths      []int
			Deep        bool
		}
		page := rapid.SliceOfN(rapid.IntRange(0, 20), 0, 5)
		lay := layout{
			Drift: rapid.SliceOfN(page, 1, 6).Draw(rt, "list"), Subs: rapid.SliceOfN(page, 1, 4).Draw(rt, "limio"),
			Due: rapid.SliceOfN(rapid.IntRange(0, 20), 0, 8).Draw(rt, "due"), Stale: rapid.SliceOfN(rapid.IntRange(0, 20), 0, 8).Draw(rt, "stale"),
			Failing: rapid.SliceOfN(rapid.IntRange(1, 5), 0, 2).Draw(rt, "failing"),
			Deaths:  rapid.SliceOfN(rapid.IntRange(1, 25), 0, 6).Draw(rt, "deaths"), Deep: rapid.Bool().Draw(rt, "deep"),
		}
		var problem string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			want := map[string]bool{}
			expect := func(key record.Key, due, verify bool) {
				if due || lay.Deep {
					want[fmt.Sprint(key, " ", verify || lay.Deep)] = true
				}
			}
			w.drift, w.subs = nil, nil
			for _, ids := range lay.Drift {
				var p record.Page
				for _, n := range ids {
					key := keyOf(fmt.Sprint("s", n))
					p.Glimpses = append(p.Glimpses, record.Glimpse{Key: key, Mark: "m"})
					expect(key, slices.Contains(lay.Due, n), false)
				}
				w.drift = append(w.drift, p)
			}
			for _, n := range lay.Due {
				w.due[keyOf(fmt.Sprint("s", n))] = "billing_changed"
			}
			for _, ids := range lay.Subs {
				var p []record.Object
				for _, n := range ids {
					id := fmt.Sprint("sub-", n)
					p = append(p, objects(id)...)
					owner := keyOf(fmt.Sprint("s", n))
					if n%5 == 0 {
						owner = keyOf(fmt.Sprint("limio-", n)) // not of this sweep
					} else {
						expect(owner, slices.Contains(lay.Stale, n), true)
					}
					w.stale[id] = owner
				}
				w.subs = append(w.subs, p)
			}
			for _, n := range lay.Stale {
				w.updated[fmt.Sprint("sub-", n)] = "limio_changed"
			}
			for _, n := range lay.Failing {
				w.fail[fmt.Sprint("stripe subscriptions c", n)] = fault.Newf(fault.Unavailable, "503")
			}
			go func() {
				<-time.After(40 * time.Second)
				w.set(func() { w.fail = nil })
			}()
			w.survive(t, StripeDrift, Ask{Deep: lay.Deep}, lay.Deaths)
			got := map[string]bool{}
			for _, tr := range w.emitted {
				got[fmt.Sprint(tr.Key, " ", tr.Verify)] = true
				if !tr.Bulk || tr.Cause != event.CauseSweep || tr.ID != triggerID(w.last(t, StripeDrift).ID, tr.Key, tr.Verify) {
					problem = fmt.Sprintf("odd trigger %+v", tr)
				}
			}
			for what := range want {
				// A key that was handed on to be verified needs no second look without.
				if key, plain := cutVerify(what); !got[what] && (!plain || !got[key+" true"]) {
					problem = fmt.Sprintf("%s was due and not handed on", what)
				}
			}
			for what := range got {
				if !want[what] {
					problem = fmt.Sprintf("%s was handed on and not due", what)
				}
			}
			if run := w.last(t, StripeDrift); run.Status != Done {
				problem = fmt.Sprintf("ended %s: %s", run.Status, run.Error)
			}
			if n := len(w.summaries(t)); n != 1 {
				problem = fmt.Sprintf("%d summaries", n)
			}
			<-time.After(time.Minute) // the one who mends the vendor
		})
		if problem != "" {
			rt.Fatalf("%s with %+v", problem, lay)
		}
	})
}

func cutVerify(s string) (key string, plain bool) {
	const no = " false"
	if n := len(s) - len(no); n > 0 && s[n:] == no {
		return s[:n], true
	}
	return "", false
}
