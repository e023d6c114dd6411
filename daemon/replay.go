package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hotsync/api"
	"hotsync/daemon/sweep"
	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// history is what ClickHouse knows of syncs.
type history interface {
	Find(ctx context.Context, f api.Filter, after string, limit int) (api.SyncPage, error)
	Count(ctx context.Context, f api.Filter) (int64, error)
}

// unfinished is what ClickHouse knows of triggers that never came to an end.
type unfinished interface {
	// Unfinished returns those received before a time, at most limit.
	Unfinished(ctx context.Context, before time.Time, limit int) ([]target, error)
	CountUnfinished(ctx context.Context, before time.Time) (int64, error)
}

// target is a sync to be looked at again.
type target struct {
	id  string // of the sync, or of the trigger that never came to an end
	key record.Key
	was string // outcome/reason
	via string // how the key was found, when that is known
	// What it was allowed to do, which its replay must not exceed.
	limits limits
	// Of a trigger that never came to an end: its sync goes on.
	sync string
	ref  event.Ref
}

// limits are what a sync or a trigger was narrowed to.
type limits struct {
	plan     bool // nothing may be written
	reviewed bool // only what a person had reviewed may be
}

// limitsOf tells what was asked for from what the log says of it: who asked, for
// what (Trigger.Type), and the mode of the sync. Logins and the messages of
// billing systems ask for whatever the configuration allows, so theirs are only
// observed while that says so. Whether a sweep's or a replay's was observed for
// that reason the log does not say; then nothing is written.
func limitsOf(cause event.Cause, why, mode string) limits {
	if writesAnyway(cause) {
		return limits{}
	}
	return limits{plan: mode == "observe", reviewed: why == sweep.WhyReviewed}
}

// as says what becomes of a target, where it is not simply looked at again.
func (t target) as() string {
	switch {
	case !isRecord(t.key), t.limits.reviewed:
		return api.ReplayPassedOver
	case t.limits.plan:
		return api.ReplayAsPlan
	}
	return ""
}

// replays has syncs looked at again. The triggers of a replay are a pure
// function of its id and of the syncs it is about, and all of them are durable
// before it is answered: a process that dies meanwhile leaves a planned event and
// a part of the triggers, and whoever asks again with the same id completes them.
// A trigger says where to look and carries no state, so a replay never writes
// what is out of date, and looking twice is the same as once (Invariant 2). Nor
// does it widen anything: what was asked for as a plan stays a plan, and what was
// to write a reviewed plan and no other is passed over, since the log does not
// have that plan.
type replays struct {
	*desk
	history history
	open    unfinished
	most    int64 // the highest cap
}

// inFlight is how young a trigger without an end may be to be merely under way.
const inFlight = 15 * time.Minute

// perPage is how many syncs are asked of ClickHouse at a time.
const perPage = 1000

// Preview implements package api's replayer.
func (r *replays) Preview(ctx context.Context, ask api.ReplayAsk) (api.ReplayPreview, error) {
	t, err := r.task(ask)
	if err != nil {
		return api.ReplayPreview{}, err
	}
	out := api.ReplayPreview{Cap: capOf(ask.Cap, r.most), Most: r.most}
	if out.Matches, err = r.count(ctx, ask, t.at); err != nil {
		return api.ReplayPreview{}, err
	}
	if err := r.allowed(ask, out.Matches); err != nil {
		out.Refused = err.Error()
	}
	const sample = 10
	targets, err := r.targets(ctx, ask, t.at, sample)
	if err != nil {
		return api.ReplayPreview{}, err
	}
	for _, t := range targets[:min(sample, len(targets))] {
		out.Sample = append(out.Sample, api.ReplayTarget{SyncID: t.id, Key: t.key, Was: t.was, As: t.as()})
	}
	return out, nil
}

// Replay implements package api's replayer.
func (r *replays) Replay(ctx context.Context, ask api.ReplayAsk) (api.ReplayAnswer, error) {
	t, err := r.task(ask)
	if err != nil {
		return api.ReplayAnswer{}, err
	}
	n, err := r.count(ctx, ask, t.at)
	if err != nil {
		return api.ReplayAnswer{}, err
	}
	if err := r.allowed(ask, n); err != nil {
		return api.ReplayAnswer{}, err
	}
	// Everything is known before anything is done.
	targets, err := r.targets(ctx, ask, t.at, int(n))
	if err != nil {
		return api.ReplayAnswer{}, err
	}
	answer := api.ReplayAnswer{Matched: int64(len(targets)), Until: t.at}
	triggers := r.triggers(targets, t, &answer)
	if answer.Scheduled = int64(len(triggers)); answer.Scheduled == 0 {
		return answer, nil
	}
	answer.Run = t.run()
	t.note = told(ask.By, ask.Why, which(ask, len(targets)))

	ctx, cancel := onward(ctx)
	defer cancel()
	if err := r.announce(ctx, t); err != nil {
		return api.ReplayAnswer{}, err
	}
	if answer.Until, err = r.schedule(ctx, triggers, orDefault(ask.PerSecond, defaultPerSecond)); err != nil {
		return api.ReplayAnswer{}, fmt.Errorf("%w; ask again with id %q to complete it", err, t.id)
	}
	return answer, r.conclude(ctx, t, map[string]int64{
		"matched": answer.Matched, "scheduled": answer.Scheduled, "planned": answer.Planned, "merged": answer.Merged,
		"passed_over": answer.PassedOver, "reviewed": answer.Reviewed,
	})
}

func (r *replays) task(ask api.ReplayAsk) (task, error) {
	return r.name(task{system: "replay", verb: "run", reason: event.ReasonFannedOut}, ask.ID, ask.By)
}

// allowed returns an error unless so many may be replayed.
func (r *replays) allowed(ask api.ReplayAsk, n int64) error {
	if most := capOf(ask.Cap, r.most); n > most {
		return tooMany(what(ask), n, most, r.most)
	}
	return pace(ask.PerSecond, n)
}

// triggers makes one trigger for every record among the targets: a look answers
// for all syncs of the record, and writes if one of them may.
func (r *replays) triggers(targets []target, t task, answer *api.ReplayAnswer) []event.Trigger {
	at := map[record.Key]int{}
	var out []event.Trigger
	for _, x := range targets {
		if x.as() == api.ReplayPassedOver {
			answer.PassedOver++
			if x.limits.reviewed {
				answer.Reviewed++
			}
			continue
		}
		one := event.Trigger{
			ID: event.Digest("replay", t.run(), x.id), Key: x.key, Via: x.via, Cause: event.CauseReplay, Delivery: t.run(),
			At: t.at, Received: t.at, SyncID: x.sync, Plan: x.limits.plan,
		}
		if x.ref.ID != "" {
			one.Also = []event.Ref{x.ref}
		}
		i, known := at[x.key]
		if known {
			answer.Merged++
		}
		if !known || len(out[i].Also) >= perTrigger {
			at[x.key] = len(out)
			out = append(out, one)
			continue
		}
		out[i].Also = append(append(out[i].Also, one.Ref()), one.Also...)
		out[i].Plan = out[i].Plan && one.Plan
	}
	for _, one := range out {
		if one.Plan {
			answer.Planned++
		}
	}
	return out
}

// count says how many match that were there at a time.
func (r *replays) count(ctx context.Context, ask api.ReplayAsk, at time.Time) (int64, error) {
	switch {
	case ask.NeverProcessed:
		return r.open.CountUnfinished(ctx, at.Add(-inFlight))
	case ask.Filter != nil:
		return r.history.Count(ctx, until(*ask.Filter, at))
	}
	return int64(len(distinct(ask.SyncIDs))), nil
}

// targets lists what a replay is about, at most so many; of syncs named one by
// one, all.
func (r *replays) targets(ctx context.Context, ask api.ReplayAsk, at time.Time, limit int) ([]target, error) {
	if ask.NeverProcessed {
		return r.open.Unfinished(ctx, at.Add(-inFlight), limit)
	}
	var f api.Filter
	ids := distinct(ask.SyncIDs)
	if ask.Filter != nil {
		f = until(*ask.Filter, at)
	} else {
		f.SyncID, limit = ids, len(ids)
	}
	var out []target
	for after := ""; len(out) < limit; {
		page, err := r.history.Find(ctx, f, after, min(perPage, limit-len(out)))
		if err != nil {
			return nil, err
		}
		for _, s := range page.Syncs {
			out = append(out, target{
				id: s.ID, key: s.Key, was: strings.Trim(string(s.Outcome)+"/"+string(s.Reason), "/"), limits: limitsOf(s.Cause, s.Type, s.Mode),
			})
		}
		if after = page.Next; after == "" {
			break
		}
	}
	return out, missing(ids, out)
}

// missing returns an error when a sync that was asked for by its id was not
// found.
func missing(ids []string, found []target) error {
	known := map[string]bool{}
	for _, t := range found {
		known[t.id] = true
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return known[id] })
	if len(ids) == 0 {
		return nil
	}
	return fault.Newf(fault.NotFound, "sync_ids: there is no sync %s (%d of those asked for are not there); one that has just ended may take a few seconds to be found", ids[0], len(ids))
}

func distinct(ids []string) []string {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// until bounds a filter by when a replay was asked for first, so that what it
// brings about never matches it.
func until(f api.Filter, at time.Time) api.Filter {
	if f.Until.IsZero() || f.Until.After(at) {
		f.Until = at
	}
	return f
}

func what(ask api.ReplayAsk) string {
	if ask.NeverProcessed {
		return "triggers"
	}
	return "syncs"
}

// which is what a replay is about, for a person.
func which(ask api.ReplayAsk, n int) string {
	ids := distinct(ask.SyncIDs)
	switch {
	case ask.NeverProcessed:
		return many(n, "trigger") + " never processed"
	case ask.Filter != nil:
		return many(n, "sync") + " matching " + ask.Filter.String()
	case len(ids) == 1:
		return "sync " + ids[0]
	}
	return many(n, "sync") + " by their ids"
}
