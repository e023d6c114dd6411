package sweep

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hotsync/event"
)

// summary is the event of a run that has ended: a pure function of the run.
func summary(run Run, build string) (event.Event, error) {
	ref := event.Ref{
		ID: event.Digest("sweep-run", run.ID), Cause: event.CauseSweep, Type: "summary", Delivery: run.ID,
		At: run.Started, Received: run.Started,
	}
	e := event.Event{
		SyncID: event.Digest("sync", ref.ID), Phase: event.Done, At: run.Ended, Key: RunKey(run.ID), Cause: event.CauseSweep,
		Mode: "write", Triggers: []event.Ref{ref}, Attempt: 1, Note: note(run), Stats: numbers(run.Stats),
		Worked: max(0, run.Ended.Sub(run.Started).Milliseconds()), Instance: run.Instance, Build: build,
	}
	if run.Mode == Plan {
		e.Mode = "observe"
	}
	switch {
	case run.Whole.IsZero():
		e.Outcome, e.Reason, e.Class, e.Error = event.Failed, event.ReasonIncomplete, run.Class, run.Error
	case run.Stats.HandedOn == 0:
		e.Outcome, e.Reason = event.InSync, event.ReasonEqual
	case run.Mode == Plan:
		e.Outcome, e.Reason = event.Observed, event.ReasonWouldApply
	default:
		e.Outcome, e.Reason = event.Skipped, event.ReasonFannedOut
	}
	if err := e.Identify(); err != nil {
		return event.Event{}, fmt.Errorf("summarize run %s: %w", run.ID, err)
	}
	return e, nil
}

// note says in one sentence how a run ended.
func note(run Run) string {
	var b strings.Builder
	what := map[Mode]string{Repair: "run", Plan: "plan", Apply: "application of " + run.PlanOf}[run.Mode]
	if run.Deep {
		what = "deep " + what
	}
	_, _ = fmt.Fprintf(&b, "%s by %s listed %d records in %d pages", what, run.By, run.Stats.Listed, run.Stats.Pages)
	if len(run.Stats.Calls) > 0 {
		b.WriteString(" with calls to " + list(run.Stats.Calls))
	}
	_, _ = fmt.Fprintf(&b, ": %d equal, %d handed on", run.Stats.Equal, run.Stats.HandedOn)
	if len(run.Stats.Why) > 0 {
		b.WriteString(" (" + list(run.Stats.Why) + ")")
	}
	if run.Stats.Repeated > 0 {
		_, _ = fmt.Fprintf(&b, ", %d of them again", run.Stats.Repeated)
	}
	_, _ = fmt.Fprintf(&b, ", in %s", run.Ended.Sub(run.Started).Round(time.Millisecond))
	switch {
	case run.Status == Cancelled && run.Whole.IsZero():
		b.WriteString("; " + run.Error + " before everything was read")
	case run.Status == Cancelled:
		b.WriteString("; " + run.Error + " while what was handed on was being worked")
	case run.Status == Failed:
		b.WriteString("; not everything could be read: " + run.Error)
	}
	if run.Note != "" {
		b.WriteString("; " + run.Note)
	}
	return b.String()
}

func list(of map[string]int64) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		out = append(out, fmt.Sprintf("%s %d", name, of[name]))
	}
	return strings.Join(out, ", ")
}

// numbers flattens Stats under the names that events carry: pages, listed,
// equal, handed_on, repeated, handed_on.<why> and calls.<service>; and again, if a
// list was read from its beginning once more.
func numbers(s Stats) map[string]int64 {
	out := map[string]int64{"pages": s.Pages, "listed": s.Listed, "equal": s.Equal, "handed_on": s.HandedOn, "repeated": s.Repeated}
	if s.Again > 0 {
		out["again"] = s.Again
	}
	for why, n := range s.Why {
		out["handed_on."+why] = n
	}
	for service, n := range s.Calls {
		out["calls."+service] = n
	}
	return out
}
