package clickhouse

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

func TestSweepRuns(t *testing.T) {
	st := open(t)
	tell(t, st, append(stories(t), sweeping(t)...))
	got := lines(t, st, `SELECT [run, sweep, toString(started), ifNull(toString(ended), '-'), if(outcome = '', '-', toString(outcome)), if(reason = '', '-', toString(reason)), note,
		'listed=' || toString(listed), 'equal=' || toString(equal), 'pages=' || toString(stats['pages']), 'handed_on=' || toString(handed_on),
		toString([applied, in_sync, suppressed, skipped, observed, deferred, failed, open])] AS x FROM sweep_runs ORDER BY run`)
	want := []string{
		"stripe-drift/20270105T150000Z-ab12 stripe-drift 2027-01-05 15:00:00.100 2027-01-05 15:00:20.000 skipped fanned_out run by schedule listed 900 records listed=900 equal=886 pages=9 handed_on=14 [6,1,1,1,1,1,1,2]",
		"zuora-full/20270105T150100Z-0001 zuora-full 2027-01-05 15:01:00.100 - - -  listed=0 equal=0 pages=0 handed_on=1 [0,0,0,0,1,0,0,0]",
		"zuora-full/20270105T150100Z-0002 zuora-full 2027-01-05 15:01:00.100 2027-01-05 15:03:00.000 failed incomplete  listed=100 equal=100 pages=1 handed_on=0 [0,0,0,0,0,0,0,0]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	progress, err := st.RunProgress(t.Context(), runID)
	if err != nil {
		t.Fatal(err)
	}
	// One trigger of the 14 has not been looked at by anybody.
	counts := map[event.Outcome]int64{event.Applied: 6, event.InSync: 1, event.Suppressed: 1, event.Skipped: 1, event.Observed: 1, event.Deferred: 1, event.Failed: 1, "": 1}
	if diff := cmp.Diff(RunProgress{Outcomes: counts}, progress); diff != "" || progress.Final() != 11 || progress.Waiting() != 2 {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	if progress, err = st.RunProgress(t.Context(), "nothing' OR 1 --"); err != nil || len(progress.Outcomes) != 0 || progress.LedTo != 0 {
		t.Errorf("progress of no run: %v, %v", progress, err)
	}
	summary, found, err := st.RunSummary(t.Context(), runID)
	if err != nil || !found || summary.Mode != "write" || summary.Outcome != event.Skipped || summary.Stats["handed_on"] != 14 {
		t.Errorf("summary %+v, %v, %v", summary, found, err)
	}
	if _, found, err := st.RunSummary(t.Context(), "zuora-full/20270105T150100Z-0001"); err != nil || found {
		t.Errorf("a run that is at work has a summary: %v, %v", found, err)
	}
}

// Keys that lead to others: the run waits for those too, as far as they are its
// own.
func TestWhatARunLedTo(t *testing.T) {
	const run = "stripe-events/20270105T120000Z-0001"
	st, s := open(t), &story{tb: t}
	asked := func(name string, cause event.Cause) event.Ref {
		r := ref(name, 0)
		if r.Cause = cause; cause == event.CauseSweep {
			r.Type, r.Delivery = "event", run
		}
		return r
	}
	fan := func(n int64) func(*event.Event) {
		return func(e *event.Event) {
			e.Cause, e.Reason, e.Stats = event.CauseSweep, event.ReasonFannedOut, map[string]int64{"led_to": n}
		}
	}
	s.add("put-off", event.Done, event.Deferred, 1, time.Second, nil, asked("put-off", event.CauseSweep))
	s.add("put-off", event.Done, event.Skipped, 2, time.Minute, fan(2), asked("put-off", event.CauseSweep))
	s.add("merged", event.Done, event.Skipped, 1, time.Minute, fan(4), asked("merged", event.CauseSweep), asked("webhook", event.CauseStripe)) // they are the webhook's
	s.add("other", event.Done, event.Skipped, 1, time.Minute, fan(8), asked("first", event.CauseStripe), asked("second", event.CauseSweep))    // likewise
	s.add("child", event.Done, event.Observed, 1, time.Minute, nil, asked("child", event.CauseSweep))
	tell(t, st, s.events)
	got, err := st.RunProgress(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	want := RunProgress{Outcomes: map[event.Outcome]int64{event.Skipped: 3, event.Observed: 1}, LedTo: 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLostEvents(t *testing.T) {
	st := open(t)
	tell(t, st, append(stories(t), sweeping(t)...))
	got := lines(t, st, `SELECT [toString(day), sweep, toString(found), toString(lost), toString(lost_never_seen), toString(repairs), toString(percent)] AS x FROM lost_events ORDER BY day, sweep`)
	repairs := count(t, st, "SELECT count() AS x FROM syncs WHERE outcome = 'applied'")
	want := []string{
		// Found: lost, cut, early, tardy. Announced: early and tardy. Alone is only
		// observed, and tomorrow's plan would find it again.
		fmt.Sprintf("2027-01-05 stripe-drift 4 2 1 %d %v", repairs, float64(int64(200*100/float64(repairs)+0.5))/100),
		fmt.Sprintf("2027-01-05 zuora-full 0 0 0 %d 0", repairs),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if repairs != 13 {
		t.Errorf("%d repairs, want 13", repairs)
	}
}

func TestPlanned(t *testing.T) {
	st := open(t)
	tell(t, st, everyday(t))
	amount := record.Change{Object: record.ScheduleType, Ref: "in_1", Field: "data.amount", Op: record.OpCreate, Before: record.Null, After: record.Int(12)}
	got, err := st.Planned(t.Context(), runID, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []PlannedRow{{
		Key: record.StripeSubscription("sub_run-alone"), SyncID: "run-alone", Outcome: event.Observed, Reason: event.ReasonWouldApply,
		Plan: "plan-of-alone", Changes: []record.Change{status("active", "cancelled"), amount},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Page by page, with what was written. What recovered has the changes that
	// it planned.
	var keys []string
	for after := ""; ; {
		rows, err := st.Planned(t.Context(), runID, after, 2, event.Applied)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			keys = append(keys, r.Key.ID)
			if diff := cmp.Diff([]record.Change{status("active", "cancelled")}, r.Changes); diff != "" {
				t.Errorf("changes of %s (-want +got):\n%s", r.Key, diff)
			}
			after = r.Key.String()
		}
		if len(rows) < 2 {
			break
		}
	}
	if diff := cmp.Diff([]string{"sub_run-cut", "sub_run-early", "sub_run-limio", "sub_run-lost", "sub_run-tardy"}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if _, err := st.Planned(t.Context(), runID, "", 1, "nonsense"); fault.Of(err) != fault.Refused {
		t.Errorf("an outcome that there is not: %v", err)
	}
}

func TestNeverFinished(t *testing.T) {
	st := open(t)
	tell(t, st, everyday(t))
	names := func(olderThan time.Time, limit int) []string {
		t.Helper()
		var out []string
		page := Page{Limit: limit}
		for {
			rows, next, err := st.NeverFinished(t.Context(), olderThan, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				out = append(out, r.ID)
			}
			if next == "" {
				break
			}
			page.After = next
		}
		if n, err := st.NeverFinishedCount(t.Context(), olderThan); err != nil || int(n) != len(out) {
			t.Errorf("counted %d, %v, want %d", n, err, len(out))
		}
		return out
	}
	for at, want := range map[time.Duration][]string{
		4 * time.Second:             nil,
		6 * time.Second:             {"flying"},            // planned at 5 s
		5 * time.Minute:             {"flying"},            // when "waiting" is due
		5*time.Minute + time.Second: {"flying", "waiting"}, // and was not looked at
		24 * time.Hour:              {"flying", "waiting", "run-waits", "run-begun"},
	} {
		for _, limit := range []int{1, 100} {
			if diff := cmp.Diff(want, names(noon.Add(at), limit)); diff != "" {
				t.Errorf("%v after noon, in pages of %d (-want +got):\n%s", at, limit, diff)
			}
		}
	}
	rows, _, err := st.NeverFinished(t.Context(), noon.Add(time.Hour), Page{})
	if err != nil {
		t.Fatal(err)
	}
	waiting := ref("waiting", 9*time.Second)
	want := TriggerRow{
		Ref: waiting, SyncID: "waiting", Key: record.StripeSubscription("sub_waiting"), Outcome: event.Deferred, Reason: event.ReasonRateLimited,
		Mode: "write", Last: noon.Add(9 * time.Second), Next: noon.Add(5 * time.Minute),
	}
	if diff := cmp.Diff(want, rows[1]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// What was only to be planned says so.
	rows, _, err = st.NeverFinished(t.Context(), noon.Add(24*time.Hour), Page{})
	if err != nil {
		t.Fatal(err)
	}
	if rows[2].ID != "run-waits" || rows[2].Mode != "observe" || rows[3].Mode != "write" {
		t.Errorf("modes: %+v", rows)
	}
}
