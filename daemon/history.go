package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"hotsync/api"
	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
	"hotsync/sinks/clickhouse"
)

// chHistory is what ClickHouse knows, in the words of the API.
type chHistory struct{ store *clickhouse.Store }

// ready turns the error of a database that is not prepared yet into one that
// says so: what was asked for may well be there.
func ready(err error) error {
	if fault.Of(err) == fault.NotFound {
		return fault.As(fault.Unavailable, fmt.Errorf("ClickHouse is not prepared: %w", err))
	}
	return err
}

// Find implements history.
func (h chHistory) Find(ctx context.Context, f api.Filter, after string, limit int) (api.SyncPage, error) {
	rows, next, err := h.store.Find(ctx, filterOf(f), clickhouse.Page{After: after, Limit: limit})
	if err != nil {
		return api.SyncPage{}, ready(err)
	}
	out := api.SyncPage{Next: next}
	for _, r := range rows {
		out.Syncs = append(out.Syncs, api.Sync{
			ID: r.SyncID, Key: r.Key, Outcome: r.Outcome, Reason: r.Reason, Note: r.Note, Cause: r.Cause, Type: r.Type, Delivery: r.Delivery,
			Origin: r.Origin, Received: r.Received, At: r.At, Next: r.Next, Attempts: r.Attempts, Changes: r.Changes, Recovered: r.Recovered,
			Class: r.Class, Error: r.Error, Related: r.Related, Plan: r.Plan, Mode: r.Mode,
		})
	}
	return out, nil
}

// Count implements history.
func (h chHistory) Count(ctx context.Context, f api.Filter) (int64, error) {
	n, err := h.store.Count(ctx, filterOf(f))
	return n, ready(err)
}

func filterOf(f api.Filter) clickhouse.Filter {
	out := clickhouse.Filter{
		SyncIDs: f.SyncID, Keys: f.Key, KeyPrefix: f.KeyPrefix, Systems: f.System, Kinds: f.Kind,
		Reasons: words[event.Reason](f.Reason), Causes: words[event.Cause](f.Cause), Origins: words[event.Origin](f.Origin), Classes: f.Class,
		Delivery: f.Delivery, Run: f.Run, Related: f.Related, Field: f.Field, Text: f.Text,
		ReceivedSince: f.Since, ReceivedUntil: f.Until, AtSince: f.AtSince, AtUntil: f.AtUntil,
	}
	for _, o := range f.Outcome {
		if o == api.UnderWay {
			o = ""
		}
		out.Outcomes = append(out.Outcomes, event.Outcome(o))
	}
	return out
}

// words gives texts their type.
func words[T ~string](texts []string) []T {
	var out []T
	for _, s := range texts {
		out = append(out, T(s))
	}
	return out
}

// Unfinished implements unfinished.
func (h chHistory) Unfinished(ctx context.Context, before time.Time, limit int) ([]target, error) {
	var out []target
	for after := ""; len(out) < limit; {
		rows, next, err := h.store.NeverFinished(ctx, before, clickhouse.Page{After: after, Limit: min(perPage, limit-len(out))})
		if err != nil {
			return nil, ready(err)
		}
		for _, r := range rows {
			was := string(r.Outcome) + "/" + string(r.Reason)
			if r.Outcome == "" {
				was = api.UnderWay
			}
			out = append(out, target{id: r.ID, key: r.Key, was: was, sync: r.SyncID, ref: r.Ref, limits: limitsOf(r.Cause, r.Type, r.Mode)})
		}
		if after = next; after == "" {
			break
		}
	}
	return out, nil
}

// CountUnfinished implements unfinished.
func (h chHistory) CountUnfinished(ctx context.Context, before time.Time) (int64, error) {
	n, err := h.store.NeverFinishedCount(ctx, before)
	return n, ready(err)
}

// Outcomes implements runBook.
func (h chHistory) Outcomes(ctx context.Context, run string) (api.Outcomes, error) {
	p, err := h.store.RunProgress(ctx, run)
	if err != nil {
		return api.Outcomes{}, ready(err)
	}
	counts, out := p.Outcomes, api.Outcomes{LedTo: p.LedTo, Final: p.Final(), ByName: map[string]int64{}}
	for o, n := range counts {
		if o == "" {
			out.ByName[api.UnderWay] = n
			continue
		}
		out.ByName[string(o)] = n
		out.Answered += n
	}
	out.Repaired, out.Failed = counts[event.Applied], counts[event.Failed]
	out.Drifted = out.Repaired + counts[event.Observed]
	return out, nil
}

// Planned implements runBook.
func (h chHistory) Planned(ctx context.Context, run string, outcomes []string, after string, limit int) (api.PlannedPage, error) {
	rows, err := h.store.Planned(ctx, run, after, limit, words[event.Outcome](outcomes)...)
	if err != nil {
		return api.PlannedPage{}, ready(err)
	}
	var out api.PlannedPage
	for _, r := range rows {
		p := api.Planned{Key: r.Key, SyncID: r.SyncID, Outcome: r.Outcome, Reason: r.Reason, Note: r.Note, Plan: r.Plan, Changes: []api.Change{}}
		for _, c := range r.Changes {
			p.Changes = append(p.Changes, api.Change{
				Object: string(c.Object), ID: c.ID, Ref: c.Ref, Field: c.Field, Op: string(c.Op), Before: scalar(c.Before), After: scalar(c.After),
			})
		}
		out.Records = append(out.Records, p)
	}
	if len(rows) == limit {
		out.Next = rows[limit-1].Key.String()
	}
	return out, nil
}

// scalar is a value as JSON has it. What is no JSON is shown as the text it is.
func scalar(v record.Value) any {
	if v == "" {
		return nil
	}
	if raw := json.RawMessage(v); json.Valid(raw) {
		return raw
	}
	return string(v)
}

// chLetters is what ClickHouse knows of dead letters, in the words of the API.
type chLetters struct{ store *clickhouse.Store }

// Letters implements letterBook.
func (l chLetters) Letters(ctx context.Context, f api.DeadFilter, after string, limit int) (api.DeadPage, error) {
	where := deadFilterOf(f)
	n, err := l.store.DeadCount(ctx, where)
	if err != nil {
		return api.DeadPage{}, ready(err)
	}
	rows, next, err := l.store.Dead(ctx, where, clickhouse.Page{After: after, Limit: limit})
	if err != nil {
		return api.DeadPage{}, ready(err)
	}
	out := api.DeadPage{Count: n, Next: next}
	for _, r := range rows {
		out.Letters = append(out.Letters, letterOf(r))
	}
	return out, nil
}

// Letter implements letterBook.
func (l chLetters) Letter(ctx context.Context, id string) (api.DeadLetter, error) {
	r, err := l.store.DeadLetter(ctx, id)
	if err != nil {
		return api.DeadLetter{}, err
	}
	return letterOf(r), nil
}

func deadFilterOf(f api.DeadFilter) clickhouse.DeadFilter {
	out := clickhouse.DeadFilter{
		IDs: f.ID, Reasons: words[event.Reason](f.Reason), Classes: f.Class, Causes: words[event.Cause](f.Cause), Topics: f.Topic, Keys: f.Key,
		Text: f.Text, Since: f.Since, Until: f.Until,
	}
	if !slices.Contains(f.State, api.AllStates) {
		out.States = f.State
	}
	return out
}

func letterOf(r clickhouse.DeadRow) api.DeadLetter {
	return api.DeadLetter{
		ID: r.ID, State: r.State, By: r.By, Why: r.Why, At: r.At, Work: r.Work, Key: r.Key, Cause: r.Trigger.Cause, Reason: r.Reason,
		Class: r.Class, Error: r.Error, Attempts: r.Attempts, First: r.First, Last: r.Last, SyncID: r.SyncID, Source: r.Source, Size: r.Size,
		Letter: &r.Letter,
	}
}
