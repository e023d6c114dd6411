package stripe

import (
	"container/heap"
	"slices"
	"time"
)

const (
	trialNoticeLead  = 3 * 24 * time.Hour
	incompleteExpiry = 23 * time.Hour
)

// Tick advances billing to the clock's time: everything that fell due since
// the last call happens now, in the order of its dates, which the objects and
// events carry.
func (s *Server) Tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for len(s.agenda) > 0 && !s.agenda[0].due.After(now) {
		e := heap.Pop(&s.agenda).(entry)
		if !e.due.Equal(e.sub.due) {
			continue // it was planned anew since
		}
		e.sub.due = time.Time{}
		s.step(e.sub, now)
		s.schedule(e.sub)
	}
	s.forgetEvents(now)
}

// catchUp advances one subscription to t.
func (s *Server) catchUp(sub *subscription, t time.Time) {
	for s.step(sub, t) {
	}
	s.schedule(sub)
}

// step does the next thing a subscription has to do up to t, if any.
func (s *Server) step(sub *subscription, t time.Time) bool {
	at, do := s.nextAction(sub)
	if do == nil || at.After(t) {
		return false
	}
	do(at)
	return true
}

// schedule puts a subscription's next action on the agenda.
func (s *Server) schedule(sub *subscription) {
	sub.pending = slices.DeleteFunc(sub.pending, func(inv *invoice) bool {
		return inv.next.IsZero() && inv.Status != InvoiceDraft && inv.Status != InvoiceOpen
	})
	at, do := s.nextAction(sub)
	if do == nil {
		sub.due = time.Time{}
		return
	}
	if !at.Equal(sub.due) {
		sub.due = at
		heap.Push(&s.agenda, entry{at, sub})
	}
}

// nextAction finds what a subscription has to do next. Of two things due at
// the same time the first in this list happens first.
func (s *Server) nextAction(sub *subscription) (at time.Time, do func(at time.Time)) {
	if sub.Ended() {
		return time.Time{}, nil
	}
	offer := func(t time.Time, f func(time.Time)) {
		if !t.IsZero() && (do == nil || t.Before(at)) {
			at, do = t, f
		}
	}
	if sub.Pause != nil {
		offer(sub.Pause.ResumesAt, func(at time.Time) {
			s.change(at, ByStripe(), subscriptionUpdated, sub, func() { sub.Pause = nil })
		})
	}
	for _, inv := range sub.pending {
		offer(inv.next, func(at time.Time) { s.advance(sub, inv, at) })
	}
	if sub.Status == StatusIncomplete {
		offer(sub.Created.Add(incompleteExpiry), func(at time.Time) { s.expire(sub, at) })
	}
	offer(sub.CancelAt, func(at time.Time) { s.end(sub, at, sub.CancellationReason, ByStripe()) })

	renews := sub.Status != StatusPaused && sub.Status != StatusIncomplete
	if !renews {
		return at, do
	}
	if sub.Status == StatusTrialing && !sub.trialNotice {
		offer(later(sub.TrialEnd.Add(-trialNoticeLead), sub.TrialStart), func(at time.Time) {
			sub.trialNotice = true
			s.tell(at, ByStripe(), "customer.subscription.trial_will_end", sub)
		})
	}
	if !sub.upcomingFor.Equal(sub.CurrentPeriodEnd) && s.hasUpcoming(sub) {
		offer(later(sub.CurrentPeriodEnd.Add(-s.cfg.UpcomingLead), sub.CurrentPeriodStart), func(at time.Time) {
			sub.upcomingFor = sub.CurrentPeriodEnd
			s.tell(at, ByStripe(), "invoice.upcoming", s.upcoming(sub))
		})
	}
	offer(sub.CurrentPeriodEnd, func(at time.Time) { s.cycle(sub, at) })
	return at, do
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// cycle ends a period: the next one begins, unless a trial ends for want of a
// payment method.
func (s *Server) cycle(sub *subscription, at time.Time) {
	if sub.Status == StatusTrialing && sub.CollectionMethod == ChargeAutomatically && s.methodFor(sub) == nil {
		switch sub.MissingPaymentMethod {
		case "pause":
			sub.Status = StatusPaused
			s.tell(at, ByStripe(), "customer.subscription.paused", sub)
			return
		case "cancel":
			s.end(sub, at, "", ByStripe())
			return
		}
	}
	inv := s.roll(sub, at)
	s.collect(sub, inv, at, s.cfg.DraftFor, ByStripe())
}

// roll begins the next period and drafts its invoice. Before the end of the
// current one it moves the billing cycle.
func (s *Server) roll(sub *subscription, at time.Time) *invoice {
	var inv *invoice
	s.change(at, ByStripe(), subscriptionUpdated, sub, func() {
		if at.Before(sub.CurrentPeriodEnd) {
			sub.BillingCycleAnchor = at
		}
		if sub.Status == StatusTrialing {
			sub.Status = StatusActive
			if sub.TrialEnd.After(at) {
				sub.TrialEnd = at
			}
		}
		inv = s.newPeriod(sub, "subscription_cycle", at, sub.CurrentPeriodStart)
	})
	s.tell(at, ByStripe(), "invoice.created", inv)
	return inv
}

// newPeriod starts a period at at and makes its invoice, which tells of the
// period that began at was.
func (s *Server) newPeriod(sub *subscription, reason string, at, was time.Time) *invoice {
	sub.CurrentPeriodStart, sub.CurrentPeriodEnd = at, s.periodAfter(sub, at)
	if sub.CancelAtPeriodEnd {
		sub.CancelAt = sub.CurrentPeriodEnd
	}
	inv := s.newInvoice(sub, reason, at, was, at)
	sub.LatestInvoice = inv.ID
	return inv
}

func (s *Server) periodAfter(sub *subscription, t time.Time) time.Time {
	p := sub.Items[0].Price
	return nextBoundary(sub.BillingCycleAnchor, p.Interval, p.IntervalCount, t)
}

// end cancels a subscription: nothing of it is collected any more.
func (s *Server) end(sub *subscription, at time.Time, reason string, cause Cause) {
	sub.Status, sub.EndedAt, sub.CancellationReason = StatusCanceled, at, reason
	if sub.CanceledAt.IsZero() {
		sub.CanceledAt = at
	}
	s.tell(at, cause, "customer.subscription.deleted", sub)
	s.stopCollecting(sub, at, cause)
	s.schedule(sub)
}

// expire ends a subscription whose first payment never came.
func (s *Server) expire(sub *subscription, at time.Time) {
	for _, inv := range sub.invoices {
		if inv.Status == InvoiceOpen {
			s.void(inv, at, ByStripe())
		}
	}
	s.change(at, ByStripe(), subscriptionUpdated, sub, func() {
		sub.Status, sub.EndedAt, sub.CanceledAt = StatusIncompleteExpired, at, at
	})
}

// stopCollecting leaves what is not paid as it is.
func (s *Server) stopCollecting(sub *subscription, at time.Time, cause Cause) {
	for _, inv := range sub.pending {
		s.change(at, cause, "invoice.updated", inv, func() {
			inv.next, inv.NextPaymentAttempt, inv.AutoAdvance = time.Time{}, time.Time{}, false
		})
	}
}

// agenda is a heap of what is due when. An entry whose date is no longer its
// subscription's is stale and skipped.
type agenda []entry

type entry struct {
	due time.Time
	sub *subscription
}

func (a agenda) Len() int { return len(a) }

func (a agenda) Less(i, j int) bool {
	if !a[i].due.Equal(a[j].due) {
		return a[i].due.Before(a[j].due)
	}
	return a[i].sub.seq < a[j].sub.seq
}

func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

func (a *agenda) Push(x any) { *a = append(*a, x.(entry)) }

func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	old[len(old)-1] = entry{}
	*a = old[:len(old)-1]
	return last
}
