package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// enrol has Limio know a record that it does not know. It returns nil without an
// outcome when the record can now be compared as any other.
//
// Limio takes the same order twice, so what is asked of it is asked exactly
// once, by a claim in the memory of the key: durable before the request goes
// out, settled by its answer. Whoever finds a claim without an answer (after a
// crash, a time-out, a change of instance) looks through all of Limio's orders
// since the claim. The request is made again only if none is there and the grace
// has passed, in which an answer, a list or a slow Limio may lag behind.
func (s *sync) enrol(ctx context.Context, r Reconciler) error {
	n, now := s.cfg.Newcomers, s.cfg.Now()
	since := time.Time{}
	if c := s.memory.Order; c != nil && n != nil {
		m, found, err := n.find(ctx, *c)
		if err != nil {
			return err
		}
		if found {
			return s.adopt(ctx, r, m, false)
		}
		if wait := c.ClaimedAt.Add(n.cfg.Grace).Sub(now); wait > 0 {
			return fault.After(fault.UnknownOutcome, wait, fmt.Errorf(
				"%s was asked of Limio at %s, and neither an answer nor a trace of it is there: asked again at %s if there is none by then",
				c.ExternalID, c.ClaimedAt.Format(time.RFC3339), c.ClaimedAt.Add(n.cfg.Grace).Format(time.RFC3339)))
		}
		since = c.Since
	}
	w, err := n.write(*s.want.Newcomer)
	if err != nil {
		return err
	}
	if halt, err := s.mayEnrol(w); halt || err != nil {
		return err
	}
	if s.memory.Order == nil {
		// Nothing is known of a request, but what is known may have been lost.
		since = before(now, s.want.Newcomer.Subscription)
		m, found, err := n.find(ctx, Claim{Mode: n.cfg.Mode, ExternalID: w.Ref, Since: since})
		if err != nil {
			return err
		}
		if found {
			s.memory.Order = &Claim{Mode: n.cfg.Mode, ExternalID: w.Ref, Since: since, ClaimedAt: since}
			return s.adopt(ctx, r, m, false)
		}
		since = now
	}
	return s.place(ctx, r, w, since)
}

// before is a time before any request for a subscription can have been made,
// the zero time when that is not known.
func before(now time.Time, sub record.Subscription) time.Time {
	first := time.Time{}
	for _, t := range []time.Time{sub.Created, sub.Start} {
		if !t.IsZero() && t.Before(now) && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// mayEnrol decides whether a request may go out. It reports true when the sync
// ended here.
func (s *sync) mayEnrol(w record.Write) (halt bool, err error) {
	sub, now := s.want.Newcomer.Subscription, s.cfg.Now()
	if sweepsOnly(s.refs) && !s.cfg.SweepImports {
		return true, skip(event.ReasonUnknownSubscription, s.want.Newcomer.Note+"; a sweep makes nobody known to Limio (unless sweeps.import is true)")
	}
	plan, err := planID([]record.Write{w})
	if err != nil {
		return false, err
	}
	born := cmp.Or(sub.Created, sub.Start)
	switch ripe := born.Add(s.cfg.Newcomers.cfg.Patience); {
	case s.observes():
		s.plan = plan
		s.end(event.Observed, event.ReasonWouldApply, "")
	case insist(s.refs):
		return s.baseMoved(plan, []record.Write{w}), nil
	case now.Before(ripe):
		s.end(event.Suppressed, event.ReasonOrigin, "Limio does not know this subscription, which may be its own sale and not linked yet; it is looked at again at "+ripe.Format(time.RFC3339))
		s.followUp(ripe)
	case s.baseMoved(plan, []record.Write{w}):
		return true, nil
	default:
		if stop := s.cfg.Guard.brake(s.memory, s.want.Fingerprint, now); stop != nil {
			s.suppress(stop)
			break
		}
		return false, nil
	}
	s.add(record.Changes([]record.Write{w}))
	return true, nil
}

// place makes the request: claimed and planned first, both durable.
func (s *sync) place(ctx context.Context, r Reconciler, w record.Write, since time.Time) error {
	n := s.cfg.Newcomers
	if err := s.fence(ctx, w); err != nil {
		return err
	}
	if err := s.announce(ctx, []record.Write{w}); err != nil {
		return err
	}
	now := s.cfg.Now()
	s.memory.Order = &Claim{Mode: n.cfg.Mode, ExternalID: w.Ref, Since: since, ClaimedAt: now, State: ClaimClaimed}
	if err := s.remember(ctx); err != nil {
		return err
	}
	if err := s.fence(ctx, w); err != nil {
		return err
	}
	// Others take the claim for dead after the grace: half of it is ours.
	left := now.Add(n.cfg.Grace / 2).Sub(s.cfg.Now())
	if left <= 0 {
		return fault.Newf(fault.UnknownOutcome, "%s was not sent: too much time has passed since it was claimed", w.Ref)
	}
	bound, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	m, taken, err := n.send(bound, w)
	if !taken {
		return s.notTaken(ctx, w, err)
	}
	c := *s.memory.Order
	c.Order, c.State = m.order, ClaimPlaced
	s.memory.Order = &c
	if err := s.remember(ctx); err != nil {
		return err
	}
	if !m.failed && m.order != "" {
		if m, err = n.became(ctx, record.PlacedOrder{ID: m.order}); err != nil {
			return err
		}
	}
	return s.adopt(ctx, r, m, true)
}

// notTaken judges a request without an answer that says that it was taken. The
// claim goes only when Limio said no.
func (s *sync) notTaken(ctx context.Context, w record.Write, err error) error {
	err = fmt.Errorf("ask Limio for %s: %w", w.Ref, err)
	switch fault.Of(err) {
	case fault.Refused, fault.Forbidden, fault.RateLimited, fault.Locked:
		s.memory.Order = nil
	case fault.NotFound: // of the endpoint or of an offer, not of a record
		s.memory.Order = nil
		err = fault.As(fault.Refused, err)
	case fault.Unavailable:
		err = fault.As(fault.UnknownOutcome, err)
	}
	if s.memory.Order == nil {
		if failed := s.remember(ctx); failed != nil {
			return failed
		}
	}
	return err
}

// adopt takes what Limio made for the record's own. fresh says that it was made
// by this sync.
func (s *sync) adopt(ctx context.Context, r Reconciler, m made, fresh bool) error {
	c := *s.memory.Order
	known := c.State
	c.Order, c.Subscription, c.State = m.order, m.subscription, ClaimDone
	defer func() { s.memory.Order = &c }()
	switch {
	case m.failed:
		c.State = ClaimFailed
		text := fmt.Sprintf("Limio took order %s and could not carry it out (%s); put it right there, it is not sent again", m.order, cmp.Or(m.problem, "it does not say why"))
		if known == ClaimFailed {
			return skip(event.ReasonUnknownSubscription, text)
		}
		return fault.Newf(fault.Refused, "%s", text)
	case m.subscription == "":
		c.State = ClaimPlaced
		return fault.Newf(fault.Unavailable, "Limio has order %s, and its subscription is not there yet", m.order)
	}
	s.memory.Order = &c
	s.memory.Subscriptions = maps.Clone(s.memory.Subscriptions)
	if s.memory.Subscriptions == nil {
		s.memory.Subscriptions = map[string]string{}
	}
	s.memory.Subscriptions[s.want.Label] = m.subscription
	s.ordered = m.order
	if _, bound := s.job.base(); bound && fresh {
		s.end(event.Applied, event.ReasonCreated, "what the plan did not show is compared at the next look")
		return nil
	}
	var err error
	if s.want, err = r.Want(ctx, s.request()); err != nil {
		return err
	}
	if s.want.Newcomer != nil {
		return fault.Newf(fault.Bug, "%s is linked to %s and still taken for unknown", s.job.Key, m.subscription)
	}
	return nil
}

// foreign are the orders that this sync did not make itself: its own does not
// keep it from finishing.
func (s *sync) foreign(orders []record.Order) []record.Order {
	return slices.DeleteFunc(slices.Clone(orders), func(o record.Order) bool { return s.ordered != "" && o.ID == s.ordered })
}
