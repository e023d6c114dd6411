package reconcile

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"hotsync/event"
	"hotsync/record"
)

// Job is one sync to do: a key, and every trigger that asked for it.
type Job struct {
	Key      record.Key
	Triggers []event.Trigger // at least one, oldest first
	Attempt  int             // 1 for the first
	Memory   Memory
	// Before are the changes that earlier tries of this attempt set out to
	// write. What they wrote although it seemed to fail is part of this sync.
	Before []record.Change
	// Fence returns an error when the key is no longer ours to write. It is
	// asked right before every write (Invariant 3).
	Fence func(ctx context.Context) error
}

// SyncID is the id of the sync: a function of its first trigger, so that a
// redelivery after a crash continues the same sync, and of its key, since a
// message that is taken in again may by then lead elsewhere (a lookup whose
// account has become known).
func (j Job) SyncID() string {
	first := j.Triggers[0]
	if first.SyncID != "" {
		return first.SyncID
	}
	return event.Digest("sync", first.ID, j.Key.String())
}

// plansOnly reports whether no trigger may write: one that only plans never holds
// back another.
func (j Job) plansOnly() bool {
	return !slices.ContainsFunc(j.Triggers, func(t event.Trigger) bool { return !t.Plan })
}

// Asked is a trigger that asks for all that the triggers of the job ask for: the
// first of them, as wide as all together. It answers for none of the others.
func (j Job) Asked() event.Trigger {
	t := j.Triggers[0]
	t.Also, t.Plan, t.Via, t.Limio, t.Scope = nil, j.plansOnly(), j.via(), j.limio(), j.scope()
	t.Base, _ = j.base()
	for _, other := range j.Triggers[1:] {
		t.Bulk = t.Bulk && other.Bulk
		t.Verify = t.Verify || other.Verify
		if first := other.FirstFail; t.FirstFail.IsZero() || (!first.IsZero() && first.Before(t.FirstFail)) {
			t.FirstFail = first
		}
	}
	return t
}

// base is the only plan that may be written, when no trigger asks for more.
func (j Job) base() (plan string, bound bool) {
	for _, t := range j.Triggers {
		switch {
		case t.Plan:
		case t.Base == "":
			return "", false
		default:
			plan, bound = t.Base, true // the newest review counts
		}
	}
	return plan, bound
}

// limio is the Limio record that a trigger says belongs to the key.
func (j Job) limio() string {
	for _, t := range slices.Backward(j.Triggers) {
		if t.Limio != "" {
			return t.Limio
		}
	}
	return ""
}

// scope is the rule that the claims of a login met.
func (j Job) scope() string {
	for _, t := range slices.Backward(j.Triggers) {
		if t.Scope != "" {
			return t.Scope
		}
	}
	return ""
}

// via is the lookup of the newest trigger that has one.
func (j Job) via() string {
	for _, t := range slices.Backward(j.Triggers) {
		if t.Via != "" {
			return t.Via
		}
	}
	return ""
}

// sweepsOnly reports whether nobody but sweeps asked.
func sweepsOnly(asked []event.Ref) bool { return lead(asked).Cause == event.CauseSweep }

// insist reports whether a person asked, which overrides shortcuts and brakes.
func insist(asked []event.Ref) bool {
	return slices.ContainsFunc(asked, func(r event.Ref) bool {
		return r.Cause == event.CauseAPI || r.Cause == event.CauseReplay
	})
}

// lead is what asked for the most: a person's wish before an event of the
// vendors, and that before a sweep. What was merged into a trigger when it was put
// off counts as the trigger itself does: a login that a sweep's retry answers for
// is a login still.
func lead(asked []event.Ref) event.Ref {
	return slices.MinFunc(asked, func(a, b event.Ref) int { return cmp.Compare(rights(a.Cause), rights(b.Cause)) })
}

// rights orders the causes by what may be done because of them, most first.
func rights(c event.Cause) int {
	switch c {
	case event.CauseAPI, event.CauseReplay:
		return 0
	case event.CauseLogin:
		return 1
	case event.CauseSweep:
		return 3
	}
	return 2
}

// firstOrigin is the first known origin.
func firstOrigin(asked []event.Ref) event.Origin {
	for _, r := range asked {
		if r.Origin != "" {
			return r.Origin
		}
	}
	return ""
}

// planID identifies what would be written: equal for equal changes.
func planID(writes []record.Write) (string, error) {
	b, err := json.Marshal(record.Changes(writes))
	if err != nil {
		return "", fmt.Errorf("identify the plan: %w", err)
	}
	return event.Digest("plan", string(b)), nil
}
