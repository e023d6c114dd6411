package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hotsync/api"
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
	// Of a trigger that never came to an end: its sync goes on.
	sync string
	ref  event.Ref
}

// replays has syncs looked at again. The triggers of a replay are a pure
// function of its id and of the syncs it is about, and all of them are durable
// before it is answered: a process that dies meanwhile leaves a planned event and
// a part of the triggers, and whoever asks again with the same id completes them.
// A trigger says where to look and carries no state, so a replay never writes
// what is out of date, and looking twice is the same as once (Invariant 2).
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
	now := r.now()
	out := api.ReplayPreview{Cap: capOf(ask.Cap, r.most), Most: r.most}
	var err error
	if out.Matches, err = r.count(ctx, ask, now); err != nil {
		return api.ReplayPreview{}, err
	}
	switch {
	case out.Matches > out.Cap:
		out.Refused = tooMany(r.what(ask), out.Matches, out.Cap, r.most).Error()
	default:
		if _, err := pace(ask.PerSecond, out.Matches); err != nil {
			out.Refused = err.Error()
		}
	}
	const sample = 10
	targets, err := r.targets(ctx, ask, now, sample)
	if err != nil {
		return api.ReplayPreview{}, err
	}
	for _, t := range targets {
		out.Sample = append(out.Sample, api.ReplayTarget{SyncID: t.id, Key: t.key, Was: t.was})
	}
	return out, nil
}

// Replay implements package api's replayer.
func (r *replays) Replay(ctx context.Context, ask api.ReplayAsk) (api.ReplayAnswer, error) {
	now := r.now()
	allowed := capOf(ask.Cap, r.most)
	n, err := r.count(ctx, ask, now)
	if err != nil {
		return api.ReplayAnswer{}, err
	}
	if n > allowed {
		return api.ReplayAnswer{}, tooMany(r.what(ask), n, allowed, r.most)
	}
	perSecond, err := pace(ask.PerSecond, n)
	if err != nil {
		return api.ReplayAnswer{}, err
	}
	// Everything is known before anything is done. A few more may match by now.
	targets, err := r.targets(ctx, ask, now, int(allowed))
	if err != nil {
		return api.ReplayAnswer{}, err
	}
	id := r.taskID(ask.ID, ask.By, now)
	t := task{
		id: id, key: record.Key{System: "replay", Kind: "run", ID: id}, reason: event.ReasonFannedOut, at: now,
		note: told(ask.By, ask.Why, fmt.Sprintf("%d %s", len(targets), r.which(ask))),
	}
	answer := api.ReplayAnswer{Run: t.run(), Matched: int64(len(targets))}
	triggers := r.triggers(targets, t, &answer)
	answer.Scheduled = int64(len(triggers))

	ctx, cancel := onward(ctx)
	defer cancel()
	if err := r.announce(ctx, t); err != nil {
		return api.ReplayAnswer{}, err
	}
	if answer.Until, err = r.schedule(ctx, triggers, perSecond); err != nil {
		return api.ReplayAnswer{}, fmt.Errorf("replay: ask again with id %q: %w", id, err)
	}
	return answer, r.conclude(ctx, t, map[string]int64{
		"matched": answer.Matched, "scheduled": answer.Scheduled, "merged": answer.Merged, "passed_over": answer.PassedOver,
	})
}

// triggers makes one trigger for every record among the targets: a look answers
// for all syncs of the record.
func (r *replays) triggers(targets []target, t task, answer *api.ReplayAnswer) []event.Trigger {
	at := map[record.Key]int{}
	var out []event.Trigger
	for _, x := range targets {
		if !isRecord(x.key) {
			answer.PassedOver++
			continue
		}
		one := event.Trigger{
			ID: event.Digest("replay", t.run(), x.id), Key: x.key, Via: x.via, Cause: event.CauseReplay, Delivery: t.run(),
			At: t.at, Received: t.at, SyncID: x.sync,
		}
		if x.ref.ID != "" {
			one.Also = []event.Ref{x.ref}
		}
		i, known := at[x.key]
		if !known {
			at[x.key] = len(out)
			out = append(out, one)
			continue
		}
		answer.Merged++
		if len(out[i].Also) < perTrigger {
			out[i].Also = append(append(out[i].Also, one.Ref()), one.Also...)
		}
	}
	if len(out) > 1 {
		for i := range out {
			out[i].Bulk = true
		}
	}
	return out
}

func (r *replays) count(ctx context.Context, ask api.ReplayAsk, now time.Time) (int64, error) {
	switch {
	case ask.NeverProcessed:
		return r.open.CountUnfinished(ctx, now.Add(-inFlight))
	case ask.Filter != nil:
		return r.history.Count(ctx, until(*ask.Filter, now))
	}
	return int64(len(distinct(ask.SyncIDs))), nil
}

// targets lists what a replay is about, at most so many.
func (r *replays) targets(ctx context.Context, ask api.ReplayAsk, now time.Time, limit int) ([]target, error) {
	if ask.NeverProcessed {
		return r.open.Unfinished(ctx, now.Add(-inFlight), limit)
	}
	var f api.Filter
	ids := distinct(ask.SyncIDs)
	if ask.Filter != nil {
		f = until(*ask.Filter, now)
	} else {
		f.SyncID = ids
		limit = max(limit, len(ids))
	}
	var out []target
	for after := ""; len(out) < limit; {
		page, err := r.history.Find(ctx, f, after, min(perPage, limit-len(out)))
		if err != nil {
			return nil, err
		}
		for _, s := range page.Syncs {
			out = append(out, target{id: s.ID, key: s.Key, was: strings.Trim(string(s.Outcome)+"/"+string(s.Reason), "/")})
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

// until bounds a filter by now, so that what a replay itself brings about never
// matches it.
func until(f api.Filter, now time.Time) api.Filter {
	if f.Until.IsZero() || f.Until.After(now) {
		f.Until = now
	}
	return f
}

func (r *replays) what(ask api.ReplayAsk) string {
	if ask.NeverProcessed {
		return "triggers"
	}
	return "syncs"
}

func (r *replays) which(ask api.ReplayAsk) string {
	switch {
	case ask.NeverProcessed:
		return "triggers that were never processed"
	case ask.Filter != nil:
		return "syncs that match " + ask.Filter.String()
	case len(ask.SyncIDs) == 1:
		return "sync, " + ask.SyncIDs[0]
	}
	return "syncs by their ids"
}
