package daemon

import (
	"testing"
	"time"

	"hotsync/event"
	"hotsync/reconcile"
	"hotsync/record"
)

// Two syncs of one key that were put off come back together and become one: the
// other ends too, with its own triggers, however often the one is put off again.
func TestASyncThatIsTakenUpEnds(t *testing.T) {
	key := record.StripeSubscription("sub_1")
	at := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	putOff := func(sync string, ids ...string) event.Trigger {
		var triggers []event.Trigger
		for _, id := range ids {
			triggers = append(triggers, event.Trigger{ID: id, Key: key, Cause: event.CauseStripe, At: at, Received: at})
		}
		triggers[0].SyncID = sync
		return continued(reconcile.Job{Key: key, Triggers: triggers, Attempt: 1}, event.Event{At: at})[0]
	}
	a, b := putOff("sync-a", "a1", "a2"), putOff("sync-b", "b1", "b2")
	fresh := event.Trigger{ID: "f", Key: key, Cause: event.CauseStripe, At: at, Received: at}
	job := jobOf(key, []item{{trigger: a}, {trigger: b}})
	done := func(job reconcile.Job, o event.Outcome, r event.Reason) event.Event {
		e := event.Event{SyncID: job.SyncID(), Phase: event.Done, Key: key, Outcome: o, Reason: r, Attempt: job.Attempt, At: at, Triggers: reconcile.Refs(job.Triggers), Changes: []record.Change{{Field: "status"}}}
		if err := e.Identify(); err != nil {
			t.Fatal(err)
		}
		return e
	}
	put, err := takenUp(job, done(job, event.Deferred, event.ReasonLocked))
	if err != nil || len(put) != 0 {
		t.Errorf("a sync that is put off ended %+v, %v", put, err)
	}
	if job = jobOf(key, inTurn([]item{{trigger: a}, {trigger: fresh}, {trigger: b}})); job.SyncID() != event.Digest("sync", "f", key.String()) {
		t.Errorf("a new trigger, which may have been begun before a crash, is not in the lead: %s", job.SyncID())
	}
	if others, err := takenUp(job, done(job, event.Applied, event.ReasonDriftRepaired)); err != nil || len(others) != 2 {
		t.Errorf("it ended %+v, %v", others, err)
	}
	if job = jobOf(key, inTurn([]item{{trigger: fresh}, {trigger: a, begun: true}, {trigger: b}})); job.SyncID() != "sync-a" {
		t.Errorf("a sync that was begun changed its id to %s", job.SyncID())
	}
	again := continued(job, event.Event{At: at})
	job = jobOf(key, []item{{trigger: again[0]}})
	for outcome, want := range map[event.Outcome]event.Outcome{event.Applied: event.InSync, event.Failed: event.Failed, event.Skipped: event.Skipped} {
		others, err := takenUp(job, done(job, outcome, event.ReasonExhausted))
		if err != nil || len(others) != 1 {
			t.Fatalf("%s ended %+v, %v", outcome, others, err)
		}
		e := others[0]
		if e.SyncID != "sync-b" || e.Outcome != want || len(e.Changes) != 0 || e.Attempt != 3 || len(e.Triggers) != 2 || e.Triggers[0].ID != "b1" || e.Triggers[1].ID != "b2" {
			t.Errorf("%s: the other ended %+v", outcome, e)
		}
		if same := done(job, outcome, event.ReasonExhausted); e.ID == same.ID || e.ID == "" {
			t.Errorf("two events have the id %s", e.ID)
		}
	}
}
