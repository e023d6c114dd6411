package sweep

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
)

// A plan that is not in the log as a whole is not applied in part.
func TestApplyWaitsForTheWholePlan(t *testing.T) {
	cases := map[string]struct {
		review Review
		late   string
	}{
		"not loaded yet":         {Review{Final: 1}, "of 2 records that run RUN looked at, the log has the plans of 1 so far"},
		"put off":                {Review{Final: 1, Waiting: 1}, "of 2 records that run RUN looked at, 1 have not come to an end"},
		"what they led to waits": {Review{Final: 2, LedTo: 1}, "of 3 records that run RUN looked at, the log has the plans of 2 so far"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.populate()
				l := w.start(t, w.config())
				defer l.end()
				w.request(t, StripeDrift, Ask{Mode: Plan})
				plan := w.last(t, StripeDrift)
				late := strings.ReplaceAll(c.late, "RUN", plan.ID)
				// What comes is waited for.
				w.set(func() { w.emitted, w.review = nil, c.review })
				w.request(t, StripeDrift, Ask{Mode: Apply, PlanOf: plan.ID})
				pass(10 * time.Minute)
				if cur := w.state(t, StripeDrift).Current; cur == nil || !strings.Contains(cur.Trouble, late) || len(w.keys()) > 0 {
					t.Fatalf("it did not wait: %+v, handed on %v", cur, w.keys())
				}
				w.set(func() { w.review = Review{Final: 3, LedTo: 1} })
				pass(2 * time.Minute)
				if run := w.last(t, StripeDrift); run.Status != Done || len(w.keys()) != 2 {
					t.Errorf("ended %s (%s), handed on %v", run.Status, run.Error, w.keys())
				}
				// What does not come makes the run fail.
				w.set(func() { w.emitted, w.review = nil, c.review })
				w.request(t, StripeDrift, Ask{Mode: Apply, PlanOf: plan.ID})
				pass(16 * time.Minute)
				run := w.last(t, StripeDrift)
				if run.Status != Failed || !strings.Contains(run.Error, late) || len(w.keys()) > 0 {
					t.Errorf("ended %s (%s), handed on %v", run.Status, run.Error, w.keys())
				}
				if e := w.events[len(w.events)-1]; e.Outcome != event.Failed || e.Reason != event.ReasonIncomplete {
					t.Errorf("the summary says %s/%s", e.Outcome, e.Reason)
				}
			})
		})
	}
}

// A run that has no plan is refused when it is asked for, if the ledger can tell.
func TestApplyOfWhatIsNoPlan(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		start := time.Now().Add(-24 * time.Hour)
		id := func(n int) string {
			return fmt.Sprintf("stripe-drift/%s-%04d", start.Add(time.Duration(n)*time.Hour).Format(runTimes), n)
		}
		for n := range 3 {
			w.remember(t, Run{ID: id(n), Mode: []Mode{Repair, Plan, Plan}[n], Status: []RunStatus{Done, Failed, Cancelled}[n], Started: start.Add(time.Duration(n) * time.Hour)})
		}
		l := w.start(t, w.config())
		defer l.end()
		refused := func(planOf string, class fault.Class, text string) {
			t.Helper()
			ask := Ask{Action: Start, Mode: Apply, PlanOf: planOf, By: "ann", At: time.Now()}
			if _, err := Request(t.Context(), operator{w}, StripeDrift, ask); fault.Of(err) != class || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v (%s), want %s: %s", planOf, err, fault.Of(err), class, text)
			}
			// Nor does the planner begin one, if the request comes by another way.
			ask.ID = planOf
			if err := encode(t.Context(), operator{w}, AskKey(StripeDrift), ask); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if h := w.state(t, StripeDrift).Handled; h.ID != planOf || h.Run != "" || !strings.Contains(h.Answer, text) {
				t.Errorf("%s: handled %+v", planOf, h)
			}
		}
		refused(id(0), fault.Refused, "is no plan: its mode was repair")
		refused(id(1), fault.Refused, "has failed, so its plan is not whole")
		refused(id(2), fault.Refused, "has been cancelled, so its plan is not whole")
		refused("stripe-drift/x", fault.NotFound, `there is no run "stripe-drift/x"`)
		refused(id(-1), fault.NotFound, "there is no run") // fewer are kept than could be: none is gone
	})
}

// A run that the planner has forgotten is asked of the log, when it is applied.
func TestApplyOfAForgottenRun(t *testing.T) {
	cases := map[string]struct {
		review Review
		want   RunStatus
		why    string
	}{
		"unknown":           {Review{}, Failed, "neither the planner nor the log knows it"},
		"no plan":           {Review{Known: true, Whole: true, HandedOn: 2, Final: 2}, Failed, "is no plan"},
		"not whole":         {Review{Known: true, Plan: true, HandedOn: 2, Final: 2}, Failed, "could not read everything"},
		"not loaded":        {Review{Known: true, Plan: true, Whole: true, HandedOn: 2, Final: 1}, Failed, "the plans of 1 so far"},
		"known and a whole": {Review{Known: true, Plan: true, Whole: true, HandedOn: 2, Final: 2}, Done, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.populate()
				for n := range kept {
					w.remember(t, Run{ID: fmt.Sprintf("stripe-drift/%d", n), Mode: Plan, Status: Done, Started: time.Now().Add(time.Duration(n-kept) * time.Hour)})
				}
				l := w.start(t, w.config())
				defer l.end()
				w.set(func() { w.review = c.review })
				w.request(t, StripeDrift, Ask{Mode: Apply, PlanOf: "stripe-drift/19991201T000000Z-0000"})
				pass(16 * time.Minute)
				if run := w.last(t, StripeDrift); run.Status != c.want || !strings.Contains(run.Error, c.why) || (len(w.keys()) > 0) != (c.want == Done) {
					t.Errorf("ended %s (%s), handed on %v", run.Status, run.Error, w.keys())
				}
			})
		})
	}
}
