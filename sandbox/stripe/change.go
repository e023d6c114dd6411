package stripe

import (
	"cmp"
	"fmt"
	"time"
)

const subscriptionUpdated = "customer.subscription.updated"

// changeLive makes one change of a subscription that has not ended and tells
// of it, customer.subscription.updated.
func (s *Server) changeLive(what, id string, cause Cause, change func(sub *subscription, at time.Time) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, err := s.live(id)
	if err == nil {
		at := s.now()
		s.change(at, s.settled(cause), subscriptionUpdated, sub, func() { err = change(sub, at) })
		s.schedule(sub)
	}
	if err != nil {
		return fmt.Errorf("%s of subscription %s: %w", what, id, err)
	}
	return nil
}

// SetMetadata merges into a subscription's metadata; an empty value removes
// its key.
func (s *Server) SetMetadata(subID string, metadata map[string]string, cause Cause) error {
	return s.changeLive("set metadata", subID, cause, func(sub *subscription, _ time.Time) error {
		sub.Metadata = merged(sub.Metadata, metadata)
		return nil
	})
}

// SetDefaultPaymentMethod sets the payment method of the subscription itself;
// empty clears it.
func (s *Server) SetDefaultPaymentMethod(subID, methodID string, cause Cause) error {
	return s.changeLive("set default payment method", subID, cause, func(sub *subscription, _ time.Time) error {
		if methodID != "" {
			if _, err := s.methodOf(s.customers[sub.Customer], methodID); err != nil {
				return err
			}
		}
		sub.DefaultPaymentMethod = methodID
		return nil
	})
}

// CancelAtPeriodEnd lets a subscription run out, or takes that back.
func (s *Server) CancelAtPeriodEnd(subID string, on bool, cause Cause) error {
	return s.changeLive("cancel at period end", subID, cause, func(sub *subscription, at time.Time) error {
		sub.CancelAtPeriodEnd = on
		if on {
			sub.CancelAt, sub.CanceledAt, sub.CancellationReason = sub.CurrentPeriodEnd, at, "cancellation_requested"
		} else {
			sub.CancelAt, sub.CanceledAt, sub.CancellationReason = time.Time{}, time.Time{}, ""
		}
		return nil
	})
}

// CancelAt sets the date on which a subscription ends; the zero time takes it
// back.
func (s *Server) CancelAt(subID string, when time.Time, cause Cause) error {
	return s.changeLive("cancel at a date", subID, cause, func(sub *subscription, at time.Time) error {
		if when.IsZero() {
			sub.CancelAtPeriodEnd = false
			sub.CancelAt, sub.CanceledAt, sub.CancellationReason = time.Time{}, time.Time{}, ""
			return nil
		}
		if !when.After(at) {
			return fmt.Errorf("%s is not in the future", when.Format(time.RFC3339))
		}
		sub.CancelAtPeriodEnd, sub.CancelAt = false, when.UTC().Truncate(time.Second)
		sub.CanceledAt, sub.CancellationReason = at, "cancellation_requested"
		return nil
	})
}

// PauseCollection pauses the collection of payments, which leaves the status
// as it is. Behaviour is keep_as_draft, mark_uncollectible or void; empty ends
// the pause. A zero resumesAt pauses without end.
func (s *Server) PauseCollection(subID, behavior string, resumesAt time.Time, cause Cause) error {
	return s.changeLive("pause collection", subID, cause, func(sub *subscription, at time.Time) error {
		switch behavior {
		case "":
			sub.Pause = nil
			return nil
		case "keep_as_draft", "mark_uncollectible", "void":
		default:
			return fmt.Errorf("behaviour %q: must be keep_as_draft, mark_uncollectible, void or empty", behavior)
		}
		p := &Pause{Behavior: behavior}
		if !resumesAt.IsZero() {
			if !resumesAt.After(at) {
				return fmt.Errorf("resumption %s is not in the future", resumesAt.Format(time.RFC3339))
			}
			p.ResumesAt = resumesAt.UTC().Truncate(time.Second)
		}
		sub.Pause = p
		return nil
	})
}

// FailPayments makes a subscription's payments fail from now on, or succeed
// again. It is the bank's doing and makes no event by itself.
func (s *Server) FailPayments(subID string, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, err := s.live(subID)
	if err != nil {
		return fmt.Errorf("fail payments of subscription %s: %w", subID, err)
	}
	sub.failFrom = time.Time{}
	if on {
		sub.failFrom = s.now()
	}
	return nil
}

// ChangePlan replaces the first item's price (and its quantity, when
// to.Quantity is not zero): customer.subscription.updated with the old items.
// Within the same interval the next invoice is the first to show it. A
// different interval starts a new period now, which is billed at once
// (billing_reason subscription_update), unless it is a trial.
func (s *Server) ChangePlan(subID string, to ItemParams, cause Cause) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fail := func(err error) error { return fmt.Errorf("change plan of subscription %s: %w", subID, err) }
	sub, err := s.live(subID)
	if err != nil {
		return fail(err)
	}
	old := sub.Items[0].Price
	to.Currency = cmp.Or(to.Currency, sub.Currency)
	to.Product = cmp.Or(to.Product, old.ProductName)
	if to.Interval == "" {
		to.Interval, to.IntervalCount = old.Interval, cmp.Or(to.IntervalCount, old.IntervalCount)
	}
	at := s.now()
	price, err := s.priceFor(to, at)
	if err != nil {
		return fail(err)
	}
	rebill := price.Interval != old.Interval || price.IntervalCount != old.IntervalCount
	switch {
	case price.Currency != sub.Currency:
		return fail(fmt.Errorf("currency %s differs from the subscription's %s", price.Currency, sub.Currency))
	case rebill && len(sub.Items) > 1:
		return fail(fmt.Errorf("the interval of one of %d items cannot change", len(sub.Items)))
	case to.Quantity < 0:
		return fail(fmt.Errorf("quantity %d is negative", to.Quantity))
	}
	rebill = rebill && sub.Status != StatusTrialing
	cause = s.settled(cause)

	var inv *invoice
	s.change(at, cause, subscriptionUpdated, sub, func() {
		sub.Items[0].Price = price
		sub.Items[0].Quantity = cmp.Or(to.Quantity, sub.Items[0].Quantity)
		if rebill {
			was := sub.CurrentPeriodStart
			sub.BillingCycleAnchor = at
			inv = s.newPeriod(sub, "subscription_update", at, was)
		}
	})
	if inv != nil {
		s.tell(at, cause, "invoice.created", inv)
		s.collect(sub, inv, at, 0, cause)
	}
	s.schedule(sub)
	return nil
}

// CancelNow ends a subscription at once: customer.subscription.deleted.
func (s *Server) CancelNow(subID string, cause Cause) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, err := s.live(subID)
	if err != nil {
		return fmt.Errorf("cancel subscription %s: %w", subID, err)
	}
	s.end(sub, s.now(), "cancellation_requested", s.settled(cause))
	return nil
}

// Resume continues a paused subscription with a new period from now:
// customer.subscription.resumed and the invoice's events.
func (s *Server) Resume(subID string, cause Cause) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, err := s.live(subID)
	if err == nil && sub.Status != StatusPaused {
		err = fmt.Errorf("it is %s, not paused", sub.Status)
	}
	if err != nil {
		return fmt.Errorf("resume subscription %s: %w", subID, err)
	}
	at, cause := s.now(), s.settled(cause)
	was := sub.CurrentPeriodStart
	sub.Status, sub.BillingCycleAnchor = StatusActive, at
	inv := s.newPeriod(sub, "subscription_cycle", at, was)
	s.tell(at, cause, "customer.subscription.resumed", sub)
	s.tell(at, cause, "invoice.created", inv)
	s.collect(sub, inv, at, 0, cause)
	s.schedule(sub)
	return nil
}

// RenewNow performs a whole renewal at once and without moving the clock:
// period roll, draft, finalization, and a payment that succeeds or fails as
// paid says. Where the period would have ended later it ends an hour
// (Config.DraftFor) ago instead, as if the billing cycle had been moved, so
// that all dates are in the past and the payment is of now. A period that
// began within that hour lasts one second. To see a period run its full
// length, move the clock and call Tick. A subscription by invoice is paid out
// of band.
func (s *Server) RenewNow(subID string, paid bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fail := func(err error) error { return fmt.Errorf("renew subscription %s: %w", subID, err) }
	sub, err := s.live(subID)
	if err != nil {
		return fail(err)
	}
	byCard := sub.CollectionMethod == ChargeAutomatically
	switch {
	case sub.Status != StatusActive && sub.Status != StatusPastDue && sub.Status != StatusTrialing:
		return fail(fmt.Errorf("it is %s and does not collect", sub.Status))
	case !sub.CancelAt.IsZero():
		return fail(fmt.Errorf("it ends on %s", sub.CancelAt.Format(time.RFC3339)))
	case sub.Pause != nil:
		return fail(fmt.Errorf("its collection is paused"))
	case paid && byCard && sub.Amount() > 0 && s.methodFor(sub) == nil:
		return fail(fmt.Errorf("there is no payment method to charge"))
	}
	at := s.now().Add(-s.cfg.DraftFor)
	if !at.After(sub.CurrentPeriodStart) {
		at = sub.CurrentPeriodStart.Add(time.Second)
	}
	if at.After(sub.CurrentPeriodEnd) {
		at = sub.CurrentPeriodEnd
	}
	inv := s.roll(sub, at)
	how := refused
	if paid {
		how = accepted
	}
	at = later(at, s.now())
	s.finalize(sub, inv, at, how, ByStripe())
	if paid && inv.Status == InvoiceOpen {
		s.pay(sub, inv, at, true, ByStripe())
	}
	s.schedule(sub)
	return nil
}
