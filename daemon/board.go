package daemon

import (
	"context"
	"slices"
	"strings"
	"time"

	"hotsync/api"
	"hotsync/daemon/sweep"
	"hotsync/internal/fault"
	"hotsync/record"
)

// book is where sweeps keep their state: the ledger.
type book interface {
	Get(key record.Key) []byte
	Put(ctx context.Context, key record.Key, value []byte) error
}

// runBook is what ClickHouse knows of runs.
type runBook interface {
	// Outcomes counts the triggers of a run by how they ended.
	Outcomes(ctx context.Context, run string) (api.Outcomes, error)
	Planned(ctx context.Context, run string, outcomes []string, after string, limit int) (api.PlannedPage, error)
}

// board shows sweeps and runs, on every instance, and takes requests for the one
// that plans.
type board struct {
	ledger book
	runs   runBook
	now    func() time.Time
}

// outcomesTime bounds how long ClickHouse is waited for where its word is one of
// several (Invariant 7).
const outcomesTime = 2 * time.Second

// Sweeps implements package api's sweepBoard.
func (b *board) Sweeps(ctx context.Context, names ...string) ([]api.Sweep, error) {
	if len(names) == 0 {
		names = sweep.Names()
	}
	out := make([]api.Sweep, 0, len(names))
	away := false
	for _, name := range names {
		st, err := sweep.StatusOf(b.ledger, name, b.now())
		if err != nil {
			return nil, err
		}
		s := shown(st)
		if s.Current != nil && !away {
			s.Current.Outcomes, err = b.outcomes(ctx, s.Current.ID)
			away = err != nil // it is not waited for again
			b.settling(s.Current, s.Current.Outcomes)
		}
		out = append(out, s)
	}
	return out, nil
}

func (b *board) outcomes(ctx context.Context, run string) (*api.Outcomes, error) {
	ctx, cancel := context.WithTimeout(ctx, outcomesTime)
	defer cancel()
	o, err := b.runs.Outcomes(ctx, run)
	if err != nil {
		return nil, err
	}
	return &o, nil
}

// settling says of a run that has read everything when all of it will have been
// worked.
func (b *board) settling(r *api.Run, o *api.Outcomes) {
	if r != nil && o != nil && r.State == string(sweep.Settling) {
		r.ETA = through(r.Started, b.now(), o.Final, r.HandedOn+o.LedTo)
	}
}

// Ask implements package api's sweepBoard.
func (b *board) Ask(ctx context.Context, name string, ask api.SweepAsk) (api.SweepAnswer, error) {
	now := b.now()
	switch ask.Action {
	case "pause":
		return api.SweepAnswer{Seen: true}, sweep.Pause(ctx, b.ledger, name, ask.By, now)
	case "resume":
		return api.SweepAnswer{Seen: true}, sweep.Resume(ctx, b.ledger, name, ask.By, now)
	}
	id, err := sweep.Request(ctx, b.ledger, name, sweep.Ask{
		Action: sweep.Action(ask.Action), Mode: sweep.Mode(ask.Mode), Deep: ask.Deep, PlanOf: ask.PlanOf, By: ask.By, At: now,
	})
	if err != nil {
		return api.SweepAnswer{}, err
	}
	return b.seen(ctx, name, id)
}

// seenTime is how long the planner, which may be another instance, is waited for.
const seenTime = 3 * time.Second

// seen waits a moment for what becomes of a request. The request is durable: an
// answer that it was not seen yet is no failure.
func (b *board) seen(ctx context.Context, name, id string) (api.SweepAnswer, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	patience := time.NewTimer(seenTime)
	defer patience.Stop()
	for {
		st, err := sweep.StatusOf(b.ledger, name, b.now())
		if err != nil {
			return api.SweepAnswer{}, err
		}
		if h := st.Handled; h.ID == id {
			return api.SweepAnswer{Request: id, Seen: true, Run: h.Run, Answer: h.Answer}, nil
		}
		select {
		case <-tick.C:
		case <-patience.C:
			return api.SweepAnswer{Request: id}, nil
		case <-ctx.Done():
			return api.SweepAnswer{Request: id}, nil
		}
	}
}

// Run implements package api's runBoard.
func (b *board) Run(ctx context.Context, id string) (api.RunReport, error) {
	out := api.RunReport{ID: id}
	var err error
	if !strings.HasPrefix(id, replayRuns) {
		if out.Run, err = b.run(id); err != nil {
			return api.RunReport{}, err
		}
	}
	out.Outcomes, err = b.outcomes(ctx, id)
	switch {
	case err == nil && out.Run == nil && out.Outcomes.Answered == 0:
		return api.RunReport{}, fault.Newf(fault.NotFound, "nothing is known of run %s (yet: what has just ended takes a few seconds to be found); GET /api/sweeps lists recent runs", id)
	case err == nil:
		b.settling(out.Run, out.Outcomes)
		return out, nil
	case out.Run == nil:
		return api.RunReport{}, err // there is nothing else to say
	}
	out.Missing = err.Error()
	return out, nil
}

// run finds a run of a sweep among those that the planner keeps, nil when it is
// older.
func (b *board) run(id string) (*api.Run, error) {
	name, _, _ := strings.Cut(id, "/")
	st, err := sweep.StatusOf(b.ledger, name, b.now())
	if err != nil {
		return nil, err
	}
	s := shown(st)
	if s.Current != nil && s.Current.ID == id {
		return s.Current, nil
	}
	if i := slices.IndexFunc(s.Last, func(r api.Run) bool { return r.ID == id }); i >= 0 {
		return &s.Last[i], nil
	}
	return nil, nil
}

// Planned implements package api's runBoard.
func (b *board) Planned(ctx context.Context, run string, outcomes []string, after string, limit int) (api.PlannedPage, error) {
	return b.runs.Planned(ctx, run, outcomes, after, limit)
}

// shown is the status of a sweep in the words of the API.
func shown(st sweep.Status) api.Sweep {
	out := api.Sweep{
		Name: st.Name, State: "idle", Schedule: st.Schedule, Next: st.Next, Paused: st.Hold.Paused, HeldBy: st.Hold.By, HeldAt: st.Hold.At,
		HighWater: st.HighWater, Missed: st.Missed, Overlaps: st.Overlaps, SkippedPaused: st.SkippedPaused,
	}
	switch {
	case !st.Planned:
		out.State = "unplanned"
	case st.Off:
		out.State = "off"
	case st.Hold.Paused:
		out.State = "paused"
	case st.Current != nil:
		out.State = "running"
	}
	if p := st.Pending; p != nil {
		out.Pending = &api.SweepPending{Request: p.ID, Action: string(p.Action), By: p.By, At: p.At}
	}
	if h := st.Handled; h.ID != "" {
		out.Handled = &api.SweepHandled{Request: h.ID, Run: h.Run, Answer: h.Answer, At: h.At}
	}
	if p := st.Current; p != nil {
		r := shownRun(p.Run)
		r.Done, r.Total, r.Estimated, r.PerSecond, r.ETA, r.Paused, r.Late = p.Done, p.Total, p.Estimated, p.PerSecond, p.ETA, p.Paused, p.Late
		out.Current = &r
	}
	for _, r := range st.Last {
		out.Last = append(out.Last, shownRun(r))
	}
	return out
}

func shownRun(r sweep.Run) api.Run {
	out := api.Run{
		ID: r.ID, Mode: string(r.Mode), Deep: r.Deep, PlanOf: r.PlanOf, By: r.By, Since: r.Since, Started: r.Started, Ended: r.Ended,
		State: string(r.Status), Stage: r.Stage, Done: r.Stats.Records(), Equal: r.Stats.Equal, HandedOn: r.Stats.HandedOn,
		Why: r.Stats.Why, Pages: r.Stats.Pages, Calls: r.Stats.Calls, Note: r.Note, Late: r.Trouble, Error: r.Error,
	}
	if !r.Whole.IsZero() {
		out.Total = r.Stats.Records()
	}
	if r.Reading > 0 {
		out.PerSecond = float64(r.Stats.Listed) / r.Reading.Seconds()
	}
	return out
}
