package clickhouse

import (
	"testing"
	"time"

	"hotsync/event"
	"hotsync/record"
)

const runID = "stripe-drift/20270105T150000Z-ab12"

// sweeping is what a run of a sweep leaves in the log, three hours after noon.
func sweeping(tb testing.TB) []event.Event {
	s := &story{tb: tb}
	start := 3 * time.Hour
	why := func(name, why string, after time.Duration) event.Ref {
		r := ref(name, start+after)
		r.Cause, r.Type, r.Delivery, r.Source, r.Origin = event.CauseSweep, why, runID, event.Coordinates{}, ""
		return r
	}
	sweep := func(more func(*event.Event)) func(*event.Event) {
		return func(e *event.Event) {
			e.Cause, e.Origin = event.CauseSweep, ""
			if more != nil {
				more(e)
			}
		}
	}
	sec := time.Second
	drift := sweep(changes(status("active", "cancelled")))
	equal := sweep(reason(event.ReasonEqual))
	// Nothing announced it.
	s.add("run-lost", event.Planned, "", 1, start+2*sec, drift, why("run-lost", "billing_changed", sec))
	s.add("run-lost", event.Done, event.Applied, 1, start+3*sec, drift, why("run-lost", "billing_changed", sec))
	// Nothing announced it; cut off after its write.
	s.add("run-cut", event.Planned, "", 1, start+2*sec, drift, why("run-cut", "never_seen", sec))
	s.add("run-cut", event.Done, event.InSync, 1, start+30*sec, equal, why("run-cut", "never_seen", sec))
	// A webhook came half an hour before, and one nine minutes after.
	early := ref("before", start-30*time.Minute)
	s.add("before", event.Done, event.Failed, 1, start-29*time.Minute, func(e *event.Event) { e.Key = record.StripeSubscription("sub_run-early") }, early)
	s.add("run-early", event.Done, event.Applied, 1, start+4*sec, drift, why("run-early", "billing_changed", 2*sec))
	s.add("after", event.Done, event.InSync, 1, start+9*time.Minute, func(e *event.Event) { e.Key, e.Reason = record.StripeSubscription("sub_run-tardy"), event.ReasonEqual }, ref("after", start+9*time.Minute))
	s.add("run-tardy", event.Done, event.Applied, 1, start+5*sec, drift, why("run-tardy", "billing_changed", 3*sec))
	// A webhook came too early to have to do with it, and one too late.
	s.add("ancient", event.Done, event.InSync, 1, start-2*time.Hour, func(e *event.Event) { e.Key, e.Reason = record.StripeSubscription("sub_run-alone"), event.ReasonEqual }, ref("ancient", start-2*time.Hour))
	s.add("future", event.Done, event.InSync, 1, start+time.Hour, func(e *event.Event) { e.Key, e.Reason = record.StripeSubscription("sub_run-alone"), event.ReasonEqual }, ref("future", start+time.Hour))
	s.add("run-alone", event.Done, event.Observed, 1, start+6*sec, sweep(func(e *event.Event) {
		e.Reason, e.Plan, e.Changes = event.ReasonWouldApply, "plan-of-alone", []record.Change{
			status("active", "cancelled"),
			{Object: record.ScheduleType, Ref: "in_1", Field: "data.amount", Op: record.OpCreate, Before: record.Null, After: record.Int(12)},
		}
	}), why("run-alone", "billing_changed", 4*sec))
	// One sync answers for two triggers of the run; Limio was changed, so it
	// says nothing about events.
	s.add("run-limio", event.Done, event.Applied, 1, start+7*sec, drift, why("run-limio", "limio_changed", 5*sec), why("run-limio2", "limio_changed", 5*sec))
	// Every other end.
	s.add("run-same", event.Done, event.InSync, 1, start+8*sec, equal, why("run-same", "billing_changed", 6*sec))
	s.add("run-waits", event.Done, event.Deferred, 1, start+9*sec, sweep(func(e *event.Event) {
		e.Reason, e.Next, e.Mode = event.ReasonRateLimited, noon.Add(start+10*time.Minute), "observe"
	}), why("run-waits", "billing_changed", 7*sec))
	s.add("run-shop", event.Done, event.Suppressed, 1, start+10*sec, sweep(reason(event.ReasonOrigin)), why("run-shop", "billing_changed", 8*sec))
	s.add("run-out", event.Done, event.Skipped, 1, start+11*sec, sweep(reason(event.ReasonOutOfScope)), why("run-out", "never_seen", 9*sec))
	s.add("run-bad", event.Done, event.Failed, 1, start+12*sec, sweep(reason(event.ReasonRefused)), why("run-bad", "billing_changed", 10*sec))
	s.add("run-begun", event.Planned, "", 1, start+13*sec, drift, why("run-begun", "billing_changed", 11*sec))
	s.add("summary", event.Done, event.Skipped, 1, start+20*sec, sweep(func(e *event.Event) {
		e.Key, e.Reason, e.Note = record.Key{System: "sweep", Kind: "run", ID: runID}, event.ReasonFannedOut, "run by schedule listed 900 records"
		e.Stats = map[string]int64{"pages": 9, "listed": 900, "equal": 886, "handed_on": 14, "calls.stripe": 9}
	}), why("summary", "summary", 0))
	// A plan that is still at work, and one that could not read everything.
	other := func(name, run, why string) event.Ref {
		r := ref(name, start+time.Minute)
		r.Cause, r.Type, r.Delivery = event.CauseSweep, why, run
		return r
	}
	s.add("at-work", event.Done, event.Observed, 1, start+2*time.Minute, drift, other("at-work", "zuora-full/20270105T150100Z-0001", "deep"))
	s.add("broken", event.Done, event.Failed, 1, start+3*time.Minute, sweep(func(e *event.Event) {
		e.Key, e.Reason, e.Error = record.Key{System: "sweep", Kind: "run", ID: "zuora-full/20270105T150100Z-0002"}, event.ReasonIncomplete, "zuora answered 500"
		e.Stats = map[string]int64{"pages": 1, "listed": 100, "equal": 100}
	}), other("broken", "zuora-full/20270105T150100Z-0002", "summary"))
	return s.events
}
