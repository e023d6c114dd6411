package daemon

import (
	"fmt"

	"hotsync/event"
	"hotsync/reconcile"
)

// takenUp ends the other syncs that a sync took up: work of one key that was put
// off more than once, or begun before a crash, comes back, merges, and becomes one
// sync. Each of the others ends as that one did, with the triggers that it had;
// what was written stands in the event of the one that wrote it. A sync that is
// put off again takes those along that were tried as often as it was.
func takenUp(job reconcile.Job, by event.Event) ([]event.Event, error) {
	if !by.Outcome.Final() {
		return nil, nil
	}
	var out []event.Event
	at := map[string]int{} // of the event of a sync
	for _, r := range by.Triggers {
		if r.Sync == "" || r.Sync == by.SyncID {
			continue
		}
		i, known := at[r.Sync]
		if !known {
			i = len(out)
			at[r.Sync] = i
			e := beside(by, r.Sync, attemptOf(job, r.Sync), []event.Ref{r})
			e.Note = "it was taken up by sync " + by.SyncID + " and ended with it"
			if by.Outcome == event.Applied { // nothing was left to write for this one
				e.Outcome, e.Reason = event.InSync, event.ReasonEqual
			}
			if err := e.Identify(); err != nil {
				return nil, fmt.Errorf("end sync %s: %w", r.Sync, err)
			}
			out = append(out, e)
			continue
		}
		out[i].Triggers = append(out[i].Triggers, r)
	}
	return out, nil
}

// beside is the event of a sync that was tried together with another, for the
// triggers that it has. It ended as the other did; what was called and written
// stands in the other's event.
func beside(by event.Event, sync string, attempt int, refs []event.Ref) event.Event {
	return event.Event{
		SyncID: sync, Phase: event.Done, At: by.At, Outcome: by.Outcome, Reason: by.Reason, Key: by.Key, Related: by.Related,
		Cause: refs[0].Cause, Origin: refs[0].Origin, Mode: by.Mode, Attempt: attempt, Triggers: refs,
		Class: by.Class, Error: by.Error, Instance: by.Instance, Build: by.Build,
		Waited: max(0, by.Waited+by.Triggers[0].Received.Sub(refs[0].Received).Milliseconds()),
	}
}
