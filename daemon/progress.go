package daemon

import (
	"context"
	"time"

	"hotsync/daemon/sweep"
	"hotsync/event"
	"hotsync/sinks/clickhouse"
)

// How often metrics learn what became of the records of runs, and for how long
// after a run's end.
const (
	followEvery = 10 * time.Second
	followAfter = 10 * time.Minute
)

// show shows in metrics how a sweep stands.
func (p *planning) show(s sweep.State) {
	st, err := sweep.StatusOf(p.memory.ledger, s.Name, p.now())
	if err != nil {
		p.log.Error().Err(err).Str("sweep", s.Name).Msg("metrics do not show how a sweep stands")
		return
	}
	p.metrics.sweep(st)
}

// follow shows in metrics what became of the records that the latest runs handed
// on, until ctx ends. ClickHouse says so; while it does not, metrics show what it
// said last (Invariant 7).
func (p *planning) follow(ctx context.Context) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	known := map[string]string{} // by sweep: the run of which nothing more is to come
	for {
		for _, name := range sweep.Names() {
			st, err := sweep.StatusOf(p.memory.ledger, name, p.now())
			if err != nil || ctx.Err() != nil {
				continue
			}
			run, ok := latest(st)
			if !ok || known[name] == run.ID {
				continue
			}
			if p.answers(ctx, name, run) {
				known[name] = run.ID
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// latest is the run under way, or the one that ended last.
func latest(st sweep.Status) (run sweep.Run, ok bool) {
	switch {
	case st.Current != nil:
		return st.Current.Run, true
	case len(st.Last) > 0:
		return st.Last[0], true
	}
	return sweep.Run{}, false
}

// answers shows what became of the records of a run, and reports whether nothing
// more is to come of it.
func (p *planning) answers(ctx context.Context, name string, run sweep.Run) bool {
	ctx, cancel := context.WithTimeout(ctx, outcomesTime)
	defer cancel()
	n, err := promptly(ctx, func() (clickhouse.RunProgress, error) { return p.plans.RunProgress(ctx, run.ID) })
	if err != nil {
		return false
	}
	repaired := n.Outcomes[event.Applied]
	p.metrics.answered(name, repaired+n.Outcomes[event.Observed], repaired)
	all := run.Stats.HandedOn + n.LedTo
	if run.Status == sweep.Settling {
		p.metrics.eta(name, through(run.Started, p.now(), n.Final(), all))
	}
	return run.Status.Ended() && (n.Final() >= all || p.now().Sub(run.Ended) > followAfter)
}

// promptly returns what ask returns, or ctx's error as soon as ctx ends. The client
// of ClickHouse dials and shakes hands without looking at its context, and a
// generation is not let go before its planner is done (Invariant 7).
func promptly[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	type answer struct {
		t   T
		err error
	}
	got := make(chan answer, 1)
	go func() {
		t, err := ask()
		got <- answer{t, err}
	}()
	select {
	case a := <-got:
		return a.t, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// through is when the last of so many records will have come to an end if they
// go on as they did since a run started, zero when that cannot be told.
func through(started, now time.Time, final, all int64) time.Time {
	took := now.Sub(started)
	if final <= 0 || final >= all || took <= 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(float64(took) * float64(all-final) / float64(final)))
}
