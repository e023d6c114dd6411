package sweep

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"hotsync/event"
)

// runner plans one sweep. All that must outlive it is in st, which is written
// to the ledger after every change that others can see.
type runner struct {
	cfg   Config
	name  string
	kind  kind
	table func() timetable
	log   zerolog.Logger
	woken chan struct{}

	st   State
	hold Hold
	seen *seen
	page tries     // at the next page
	ends tries     // at learning whether a run has settled
	ask  time.Time // when to ask again whether it has
}

// tries are failed attempts at one thing.
type tries struct {
	n     int
	first time.Time // the first failure
	again time.Time // when to try again
}

// lookAgain bounds how long a runner sleeps, in case nobody wakes it or the
// clock was set.
const lookAgain = time.Minute

func newRunner(p *Planner, name string) *runner {
	return &runner{
		cfg: p.cfg, name: name, kind: p.cfg.kinds()[name], table: func() timetable { return p.timetable(name) },
		log: p.cfg.Log.With().Str("sweep", name).Logger(), woken: make(chan struct{}, 1),
	}
}

// now is the time as the ledger holds it.
func (r *runner) now() time.Time { return r.cfg.Now().UTC().Round(0) }

func (r *runner) run(ctx context.Context) error {
	if err := r.takeOver(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := r.control(ctx, false); err != nil {
			return err
		}
		if err := r.step(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// takeOver starts from what the ledger holds. What it holds that cannot be read
// is no state: the sweep then starts like a new one, which costs calls and loses
// nothing. A request that may have been dealt with is then not dealt with again.
func (r *runner) takeOver(ctx context.Context) error {
	r.st = State{}
	if _, err := decode(r.cfg.Ledger, StateKey(r.name), &r.st); err != nil {
		r.log.Error().Err(err).Msg("state of a sweep is lost")
		var ask Ask
		_, _ = decode(r.cfg.Ledger, AskKey(r.name), &ask)
		r.st = State{Handled: Handled{ID: ask.ID, Answer: "the state of the sweep was lost", At: r.now()}}
	}
	r.st.Name, r.st.Off = r.name, len(r.kind.stages) == 0
	r.seen, r.page, r.ends, r.ask = newSeen(seenAtOnce), tries{}, tries{}, time.Time{}
	if run := r.st.Current; run != nil {
		run.TakenOver = run.TakenOver || (run.Status == Running && run.Stats.HandedOn > 0)
		r.log.Info().Str("run", run.ID).Str("status", string(run.Status)).Str("stage", run.Stage).Int64("listed", run.Stats.Listed).Msg("sweep goes on")
	}
	return r.control(ctx, true)
}

// control does what operators and the schedule want, and saves it. late says
// that nobody planned until now.
func (r *runner) control(ctx context.Context, late bool) error {
	r.readHold()
	answered := r.answer()
	accounted := r.account(late)
	if !answered && !accounted && !late {
		return nil
	}
	return r.save(ctx)
}

func (r *runner) readHold() {
	var h Hold
	if _, err := decode(r.cfg.Ledger, HoldKey(r.name), &h); err != nil {
		r.log.Error().Err(err).Msg("pause of a sweep cannot be read and is left as it was")
		return
	}
	if h.Paused != r.hold.Paused {
		r.log.Info().Bool("paused", h.Paused).Str("by", h.By).Msg("pause of a sweep")
	}
	r.hold = h
}

// answer deals with the newest request, once.
func (r *runner) answer() bool {
	var ask Ask
	found, err := decode(r.cfg.Ledger, AskKey(r.name), &ask)
	if err != nil {
		r.log.Error().Err(err).Msg("request of a sweep cannot be read")
		return false
	}
	if !found || ask.ID == r.st.Handled.ID {
		return false
	}
	now := r.now()
	h := Handled{ID: ask.ID, At: now}
	if ask.Mode == "" {
		ask.Mode = Repair
	}
	run := r.st.Current
	switch bad := ask.check(r.name); {
	case bad != nil:
		h.Answer = "refused: " + bad.Error()
	case ask.Action == Cancel && (run == nil || run.Status.Ended()):
		h.Answer = "no run is under way"
	case ask.Action == Cancel:
		run.Status, run.Ended, run.Trouble, run.Error = Cancelled, now, "", "cancelled by "+cmp.Or(ask.By, "somebody")
		h.Run = run.ID
	case run != nil:
		r.st.Overlaps++
		h.Answer = fmt.Sprintf("skipped: run %s is under way", run.ID)
	case r.st.Off:
		h.Answer = "refused: what the sweep reads is not configured"
	case ask.Mode == Apply && (r.cfg.Lists.Reviewed == nil || r.cfg.Lists.Review == nil):
		h.Answer = "refused: there is no place to read reviewed plans from"
	case ask.Mode == Apply && r.st.proposes(ask.PlanOf) != nil:
		h.Answer = "refused: " + r.st.proposes(ask.PlanOf).Error()
	default:
		r.begin(ask, ask.ID)
		h.Run = r.st.Current.ID
	}
	r.log.Info().Str("request", ask.ID).Str("action", string(ask.Action)).Str("by", ask.By).Str("run", h.Run).Str("answer", h.Answer).Msg("request of a sweep")
	r.st.Handled = h
	return true
}

// account deals with the times of the schedule that have passed: it starts a
// run, or counts why it did not.
func (r *runner) account(late bool) bool {
	now, table := r.now(), r.table()
	if r.st.Off {
		table = timetable{name: r.name}
	}
	// A clock that was set back must not stop a sweep until it has caught up.
	if table.spec != r.st.Schedule || r.st.LastDue.IsZero() || r.st.LastDue.After(now.Add(time.Hour)) {
		r.st.Schedule, r.st.LastDue = table.spec, now
		_, r.st.Next = table.next(now)
		return true
	}
	n, newest, fresh := table.passed(r.st.LastDue, now)
	if n == 0 {
		_, start := table.next(r.st.LastDue)
		changed := !start.Equal(r.st.Next) // another jitter
		r.st.Next = start
		return changed
	}
	r.st.LastDue = newest
	_, r.st.Next = table.next(newest)
	switch {
	case r.hold.Paused:
		r.st.SkippedPaused += n
	case late:
		r.st.Missed += n
		r.log.Warn().Int64("missed", n).Msg("scheduled runs of a sweep were missed")
		if fresh && r.st.Current == nil {
			r.begin(Ask{Mode: Repair, Deep: table.deep, By: "catch-up"}, newest.Format(time.RFC3339))
		}
	case r.st.Current != nil:
		r.st.Overlaps += n
		r.log.Warn().Int64("overlaps", n).Str("run", r.st.Current.ID).Msg("scheduled run of a sweep skipped: one is under way")
	default:
		r.st.Missed += n - 1
		r.begin(Ask{Mode: Repair, Deep: table.deep, By: "schedule"}, newest.Format(time.RFC3339))
	}
	return true
}

// begin makes a run. It is nobody's business until it was saved.
func (r *runner) begin(ask Ask, cause string) {
	now := r.now()
	run := &Run{
		ID: r.newID(now, cause), Mode: ask.Mode, Deep: ask.Deep, PlanOf: ask.PlanOf, By: cmp.Or(ask.By, "somebody"),
		Started: now, Updated: now, Status: Running, Estimate: r.st.Listed, Instance: r.cfg.Instance,
	}
	if ask.Mode == Apply {
		run.Estimate = 0
		for _, past := range r.st.Last {
			if past.ID == ask.PlanOf {
				run.Estimate = past.Stats.HandedOn
			}
		}
	} else if r.kind.since != nil {
		run.Since, run.Note = r.kind.since(r.st.HighWater, now)
	}
	run.Stage = r.kind.stagesOf(r.cfg, run.Mode)[0].name
	r.st.Current = run
	r.seen, r.page, r.ends, r.ask = newSeen(seenAtOnce), tries{}, tries{}, time.Time{}
	r.log.Info().Str("run", run.ID).Str("mode", string(run.Mode)).Bool("deep", run.Deep).Str("by", run.By).Msg("sweep starts")
}

// newID names a run by when it started and what asked for it, and never like
// one that is remembered.
func (r *runner) newID(now time.Time, cause string) string {
	for {
		id := r.name + "/" + now.UTC().Format(runTimes) + "-" + event.Digest("sweep-run-id", r.name, cause)[:4]
		if !slices.ContainsFunc(r.st.Last, func(past Run) bool { return past.ID == id }) {
			return id
		}
		cause += "+"
	}
}

// step does the next thing to the run under way, or waits.
func (r *runner) step(ctx context.Context) error {
	run := r.st.Current
	switch {
	case run == nil:
		return r.wait(ctx, r.st.Next)
	case run.Status == Running && r.st.Off:
		return r.fail(ctx, "", fmt.Errorf("what the sweep reads is not configured any more"))
	case run.Status == Running && r.hold.Paused:
		r.page = tries{} // patience begins anew
		return r.wait(ctx, time.Time{})
	case run.Status == Running && r.now().Before(r.page.again):
		return r.wait(ctx, r.page.again)
	case run.Status == Running:
		return r.read(ctx)
	case run.Status == Settling && r.now().Before(r.ask):
		return r.wait(ctx, r.ask)
	case run.Status == Settling:
		return r.settle(ctx)
	}
	return r.publish(ctx)
}

// wait sleeps until a time, until it is woken, or for a minute.
func (r *runner) wait(ctx context.Context, until time.Time) error {
	d := lookAgain
	if !until.IsZero() {
		d = min(d, until.Sub(r.now()))
	}
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	case <-r.woken:
	}
	return nil
}

// save makes the state durable and shows it.
func (r *runner) save(ctx context.Context) error {
	if err := r.cfg.Fence(ctx); err != nil {
		return fmt.Errorf("save the state: %w", err)
	}
	if err := encode(ctx, r.cfg.Ledger, StateKey(r.name), r.st); err != nil {
		return err
	}
	r.cfg.Observe(r.st.clone())
	return nil
}
