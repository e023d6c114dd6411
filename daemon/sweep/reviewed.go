package sweep

import (
	"context"
	"fmt"
	"strings"
	"time"

	"hotsync/internal/fault"
)

// Review is what is known, outside of the ledger, of a run that planned.
type Review struct {
	Known    bool  // its summary is there; the four below come from it
	Plan     bool  // it wrote nothing
	Whole    bool  // it read everything
	HandedOn int64 // keys that it handed on
	LedTo    int64 // further keys that those led to
	Final    int64 // of all of them, how many have come to an end
	Waiting  int64 // and how many have not, as far as is known
}

// runTimes is how the second part of a run's id begins: when the run started.
const runTimes = "20060102T150405Z"

// proposes returns an error when it is clear from what is remembered that a run
// has no plan to apply. A run that may be older than those that are remembered
// is given the benefit of the doubt.
func (s State) proposes(planOf string) error {
	for _, past := range s.Last {
		if past.ID == planOf {
			return past.proposes()
		}
	}
	unknown := fault.Newf(fault.NotFound, "there is no run %q: hotsync sweep ls -o json lists the latest ones", planOf)
	_, rest, _ := strings.Cut(planOf, "/")
	stamp, _, _ := strings.Cut(rest, "-")
	at, err := time.Parse(runTimes, stamp)
	if err != nil || len(s.Last) < kept || !at.Before(s.Last[len(s.Last)-1].Started.Truncate(time.Second)) {
		return unknown
	}
	return nil
}

// proposes returns an error unless the run has a plan that is whole.
func (r Run) proposes() error {
	switch {
	case r.Mode != Plan:
		return fault.Newf(fault.Refused, "run %s is no plan: its mode was %s", r.ID, r.Mode)
	case r.Status == Done:
		return nil
	case r.Status.Ended():
		return fault.Newf(fault.Refused, "run %s has %s, so its plan is not whole; plan again", r.ID, map[RunStatus]string{Failed: "failed", Cancelled: "been cancelled"}[r.Status])
	}
	return fault.Newf(fault.Refused, "run %s has not ended yet", r.ID)
}

// reviewable returns an error unless everything that a run proposes can be read:
// what cannot would silently not be applied. It is Unavailable as long as that
// may still come.
func (c Config) reviewable(ctx context.Context, planOf string) error {
	name, _, _ := strings.Cut(planOf, "/")
	var st State
	if _, err := decode(c.Ledger, StateKey(name), &st); err != nil {
		return err
	}
	if err := st.proposes(planOf); err != nil {
		return err
	}
	r, err := c.Lists.Review(ctx, planOf)
	if err != nil {
		return fmt.Errorf("read how run %s ended: %w", planOf, err)
	}
	handedOn, remembered, hint := int64(0), false, ""
	for _, past := range st.Last {
		if past.ID == planOf {
			handedOn, remembered = past.Stats.HandedOn, true
			if past.TakenOver {
				hint = "; planners changed during that run, so some may have been counted twice: if this lasts, plan again"
			}
		}
	}
	switch all := max(handedOn, r.HandedOn) + r.LedTo; {
	case !remembered && !r.Known:
		return fault.Newf(fault.NotFound, "there is no run %s: neither the planner nor the log knows it", planOf)
	case !remembered && !r.Plan:
		return fault.Newf(fault.Refused, "run %s is no plan", planOf)
	case !remembered && !r.Whole:
		return fault.Newf(fault.Refused, "run %s could not read everything, so its plan is not whole; plan again", planOf)
	case r.Waiting > 0:
		return fault.Newf(fault.Unavailable, "of %d records that run %s looked at, %d have not come to an end: their plans are not known yet", all, planOf, r.Waiting)
	case r.Final < all:
		return fault.Newf(fault.Unavailable, "of %d records that run %s looked at, the log has the plans of %d so far%s", all, planOf, r.Final, hint)
	}
	return nil
}

// reviewedStage hands on the plans of a run, once all of them are there. Limio is
// read for each, since a plan may mend what only Limio shows.
func (c Config) reviewedStage(ctx context.Context, run Run, cursor string) (batch, error) {
	if cursor == "" {
		if err := c.reviewable(ctx, run.PlanOf); err != nil {
			return batch{}, err
		}
	}
	found, next, err := c.Lists.Reviewed(ctx, run.PlanOf, cursor)
	if err != nil {
		return batch{}, err
	}
	out := batch{listed: len(found), next: next}
	for _, r := range found {
		if r.Key.IsZero() || r.Plan == "" {
			return batch{}, fault.Newf(fault.Bug, "a reviewed plan has key %q and plan %q; both are required", r.Key, r.Plan)
		}
		out.findings = append(out.findings, finding{key: r.Key, why: WhyReviewed, verify: true, base: r.Plan, limio: r.Limio})
	}
	return out, nil
}
