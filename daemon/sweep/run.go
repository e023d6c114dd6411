package sweep

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"hotsync/event"
	"hotsync/internal/callout"
	"hotsync/internal/fault"
	"hotsync/record"
)

// read reads the next page of the run, hands on what it shows, and saves the
// cursor after it: in this order, so that a crash repeats a page and skips none.
func (r *runner) read(ctx context.Context) error {
	run := r.st.Current
	stages := r.kind.stagesOf(r.cfg, run.Mode)
	at := slices.IndexFunc(stages, func(s stage) bool { return s.name == run.Stage })
	if at < 0 {
		return r.fail(ctx, fault.Refused, fmt.Errorf("stage %s is not configured any more", run.Stage))
	}
	began := r.now()
	b, err := r.try(ctx, stages[at])
	if err != nil {
		run.Reading += r.now().Sub(began)
		if r.beginsAgain(err) {
			return r.save(ctx)
		}
		return r.unreadable(ctx, err)
	}
	triggers := r.triggers(b.findings)
	if err := r.emit(ctx, triggers); err != nil {
		return err
	}
	r.count(b, triggers)
	r.page, run.Trouble, run.Updated = tries{}, "", r.now()
	run.Reading += run.Updated.Sub(began)
	run.Page, run.Cursor, run.StageListed = run.Page+1, b.next, run.StageListed+int64(b.listed)
	switch {
	case b.next != "":
	case at+1 < len(stages):
		run.Stage, run.Page, run.StageListed = stages[at+1].name, 0, 0
	default:
		r.whole()
	}
	return r.save(ctx)
}

// try reads and judges one page. The calls it makes are counted whether they
// succeed or not, and a panic fails the page.
func (r *runner) try(ctx context.Context, s stage) (b batch, err error) {
	run := r.st.Current
	calls := &callout.Log{}
	defer func() {
		if x := recover(); x != nil {
			r.log.Error().Interface("panic", x).Bytes("stack", debug.Stack()).Str("stage", s.name).Msg("page of a sweep panicked")
			err = fault.Newf(fault.Bug, "panic: %v", x)
		}
		for _, c := range calls.Calls() {
			if run.Stats.Calls == nil {
				run.Stats.Calls = map[string]int64{}
			}
			run.Stats.Calls[c.Service]++
		}
	}()
	b, err = s.read(callout.Into(ctx, calls), run.clone(), run.Cursor)
	if err == nil && b.next != "" && b.next == run.Cursor {
		err = fault.As(fault.Refused, errItself)
	}
	return b, err
}

var errItself = errors.New("the page names itself as the next one")

// beginsAgain has a list read from its first page again when the other side does
// not take the cursor of the next page any more: cursors live a while only, and a
// run may outlive them in a pause or across a long stop. It does so once for each
// list. What is found again has the ids that it had (Invariant 4).
func (r *runner) beginsAgain(err error) bool {
	run, class := r.st.Current, fault.Of(err)
	if run.Cursor == "" || (class != fault.Refused && class != fault.NotFound) || errors.Is(err, errItself) || slices.Contains(run.Again, run.Stage) {
		return false
	}
	r.log.Warn().Err(err).Str("run", run.ID).Str("stage", run.Stage).Int("page", run.Page+1).Msg("cursor of a sweep is refused; its list is read from its beginning")
	said := event.Clip(fmt.Sprintf("the %s was read from its beginning again, since its cursor was refused after page %d", run.Stage, run.Page), maxText)
	if run.Note != "" {
		said = run.Note + "; " + said
	}
	run.Again, run.Note = append(run.Again, run.Stage), said
	run.Stats.Again += run.StageListed
	run.Page, run.Cursor, run.StageListed = 0, "", 0
	run.Trouble, r.page = "", tries{}
	return true
}

// triggers turns findings into triggers, leaving out what the run has handed on
// already.
func (r *runner) triggers(found []finding) []event.Trigger {
	run, now := r.st.Current, r.now()
	var out []event.Trigger
	for _, f := range found {
		if r.seen.before(f.key, f.verify) {
			continue
		}
		out = append(out, event.Trigger{
			ID: triggerID(run.ID, f.key, f.verify), Key: f.key, Cause: event.CauseSweep, Type: f.why, Delivery: run.ID,
			At: now, Received: now, Bulk: true, Verify: f.verify, Plan: run.Mode == Plan, Base: f.base, Limio: f.limio,
		})
	}
	return out
}

// triggerID is a pure function of the run, the key, and whether Limio must be
// read: a key that was handed on without that may be handed on again with it,
// and is then another trigger, with an outcome of its own (Invariant 4).
func triggerID(run string, key record.Key, verify bool) string {
	if verify {
		return event.Digest("sweep", run, key.String(), "verify")
	}
	return event.Digest("sweep", run, key.String())
}

func (r *runner) emit(ctx context.Context, triggers []event.Trigger) error {
	if len(triggers) == 0 {
		return nil
	}
	if err := r.cfg.Fence(ctx); err != nil {
		return fmt.Errorf("hand on %d keys: %w", len(triggers), err)
	}
	if err := r.cfg.Emit(ctx, triggers); err != nil {
		return fmt.Errorf("hand on %d keys: %w", len(triggers), err)
	}
	return nil
}

func (r *runner) count(b batch, handedOn []event.Trigger) {
	s := &r.st.Current.Stats
	s.Pages++
	s.Listed += int64(b.listed)
	s.Equal += int64(b.listed - len(b.findings))
	s.HandedOn += int64(len(handedOn))
	s.Repeated += int64(len(b.findings) - len(handedOn))
	for _, t := range handedOn {
		if s.Why == nil {
			s.Why = map[string]int64{}
		}
		s.Why[t.Type]++
	}
}

// whole notes that the last page was handed on. What the run found is durable
// now, so the next one may begin where this one did; not after a plan, which
// mended nothing.
func (r *runner) whole() {
	run := r.st.Current
	run.Whole, run.Status, run.Stage, run.Page, run.Cursor, run.StageListed = run.Updated, Settling, "", 0, "", 0
	if run.Mode == Repair && r.kind.since != nil {
		r.st.HighWater = run.Started
	}
	if run.Mode != Apply {
		r.st.Listed = run.Stats.Records()
	}
	if run.Stats.HandedOn == 0 { // nothing to wait for
		run.Status, run.Ended = Done, run.Whole
	}
}

const (
	firstBackOff = time.Second
	mostBackOff  = time.Minute
)

// failed notes a failure and sets when to try again: after what the other side
// asked for, or after a wait that doubles.
func (t *tries) failed(now time.Time, err error) {
	if t.n == 0 {
		t.first = now
	}
	backOff := min(mostBackOff, firstBackOff<<min(t.n, 10))
	t.n++
	t.again = now.Add(max(backOff, fault.Wait(err)))
}

// unreadable has a page tried again, for as long as patience lasts, and then
// fails the run.
func (r *runner) unreadable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	run, now := r.st.Current, r.now()
	r.page.failed(now, err)
	end := r.page.first.Add(r.cfg.Patience)
	class, where := fault.Of(err), place(run)
	switch {
	case !class.Passing():
		return r.fail(ctx, class, fmt.Errorf("%s: %w", where, err))
	case !now.Before(end):
		return r.fail(ctx, class, fmt.Errorf("%s: given up after %d attempts in %s: %w", where, r.page.n, now.Sub(r.page.first), err))
	case now.Add(fault.Wait(err)).After(end):
		return r.fail(ctx, class, fmt.Errorf("%s: given up, since the wait of %s that was asked for is longer than what is left of %s: %w",
			where, fault.Wait(err), r.cfg.Patience, err))
	}
	if r.page.again.After(end) {
		r.page.again = end
	}
	run.Trouble = event.Clip(fmt.Sprintf("%s: attempt %d failed, the next is at %s: %s", where, r.page.n, r.page.again.UTC().Format(time.RFC3339), err), maxText)
	r.log.Warn().Err(err).Str("run", run.ID).Str("stage", run.Stage).Int("page", run.Page+1).Int("attempt", r.page.n).Time("again", r.page.again).Msg("page of a sweep cannot be read yet")
	return r.save(ctx)
}

// place says which page a run is at.
func place(run *Run) string {
	if run.Cursor == "" {
		return fmt.Sprintf("%s: page 1", run.Stage)
	}
	return fmt.Sprintf("%s: page %d, after cursor %.80q", run.Stage, run.Page+1, run.Cursor)
}

// maxText bounds, in bytes, what a run says of itself.
const maxText = 2000

func (r *runner) fail(ctx context.Context, class fault.Class, err error) error {
	run := r.st.Current
	run.Status, run.Ended, run.Trouble = Failed, r.now(), ""
	run.Error, run.Class = event.Clip(err.Error(), maxText), string(class)
	r.log.Error().Err(err).Str("run", run.ID).Str("error_class", run.Class).Msg("sweep failed")
	return r.save(ctx)
}

// settle waits until every trigger of the run has been worked once. It waits as
// long as that takes: the work is done whether anybody waits or not.
func (r *runner) settle(ctx context.Context) error {
	run := r.st.Current
	if len(run.Ends) == 0 {
		ends, err := r.cfg.Ends(ctx)
		if err != nil {
			return r.unsettled(ctx, fmt.Errorf("read the ends of the bulk topic: %w", err))
		}
		run.Ends = ends
		if err := r.save(ctx); err != nil {
			return err
		}
	}
	done, err := r.cfg.Answered(ctx, run.Ends)
	if err != nil {
		return r.unsettled(ctx, fmt.Errorf("read how far the bulk topic was worked: %w", err))
	}
	r.ends = tries{}
	troubled := run.Trouble != ""
	run.Trouble = ""
	switch {
	case done:
		run.Status, run.Ended = Done, r.now()
		return r.save(ctx)
	case troubled:
		err = r.save(ctx)
	}
	r.ask = r.now().Add(r.cfg.Poll)
	return err
}

// unsettled has the question whether a run has settled asked again later.
func (r *runner) unsettled(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	run := r.st.Current
	r.ends.failed(r.now(), err)
	r.ask = r.ends.again
	run.Trouble = event.Clip(err.Error(), maxText)
	r.log.Warn().Err(err).Str("run", run.ID).Int("attempt", r.ends.n).Msg("cannot tell yet whether a sweep has settled")
	return r.save(ctx)
}

// publish records the summary of a run that has ended and files the run. The
// run is durable as it ended, so a crash between the two yields the same event
// again.
func (r *runner) publish(ctx context.Context) error {
	run := r.st.Current
	e, err := summary(*run, r.cfg.Build)
	if err != nil {
		return err
	}
	if err := r.cfg.Fence(ctx); err != nil {
		return fmt.Errorf("record the end of run %s: %w", run.ID, err)
	}
	if err := r.cfg.Record(ctx, e); err != nil {
		return fmt.Errorf("record the end of run %s: %w", run.ID, err)
	}
	r.log.Info().Str("run", run.ID).Str("status", string(run.Status)).Str("note", e.Note).Msg("sweep ended")
	past := run.clone()
	past.Ends = nil
	r.st.Current = nil
	r.st.Last = slices.Insert(r.st.Last, 0, past)
	r.st.Last = r.st.Last[:min(kept, len(r.st.Last))]
	return r.save(ctx)
}
