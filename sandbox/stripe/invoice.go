package stripe

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// outcome decides a payment attempt.
type outcome int

const (
	asItGoes outcome = iota // by FailPayments and whether there is a method
	accepted
	refused
)

// newInvoice drafts an invoice for the subscription's current period.
func (s *Server) newInvoice(sub *subscription, reason string, at, from, to time.Time) *invoice {
	inv := &invoice{Invoice: s.invoiceFor(sub, reason, at, from, to), seq: s.nextSeq()}
	inv.ID = s.newID("in_")
	for i := range inv.Lines {
		inv.Lines[i].ID = s.newID("il_")
	}
	switch {
	case held(sub):
		inv.AutoAdvance = false
	case reason == "subscription_cycle" && sub.CollectionMethod == ChargeAutomatically:
		inv.NextPaymentAttempt = at.Add(s.cfg.DraftFor)
	}
	s.invoices[inv.ID] = inv
	sub.invoices = append(sub.invoices, inv)
	sub.pending = append(sub.pending, inv)
	s.invoiceList.add(at, inv.seq, inv.ID, inv)
	return inv
}

// held says whether a subscription's new invoices stay drafts.
func held(sub *subscription) bool {
	return sub.Status == StatusUnpaid || sub.Pause != nil && sub.Pause.Behavior == "keep_as_draft"
}

// invoiceFor computes an invoice without keeping it.
func (s *Server) invoiceFor(sub *subscription, reason string, at, from, to time.Time) Invoice {
	inv := Invoice{
		Customer: sub.Customer, Subscription: sub.ID, Status: InvoiceDraft, BillingReason: reason,
		Currency: sub.Currency, CollectionMethod: sub.CollectionMethod, AutoAdvance: true,
		Created: at, PeriodStart: from, PeriodEnd: to,
	}
	for _, it := range sub.Items {
		p := it.Price
		line := Line{
			Item: it.ID, Price: p, Quantity: it.Quantity, Amount: p.UnitAmount * it.Quantity,
			PeriodStart: sub.CurrentPeriodStart, PeriodEnd: sub.CurrentPeriodEnd,
			Description: fmt.Sprintf("%d × %s (at %s / %s)", it.Quantity, p.ProductName,
				money(p.UnitAmount, p.Currency), every(p.Interval, p.IntervalCount)),
		}
		if sub.Status == StatusTrialing {
			line.Amount, line.Description = 0, "Trial period for "+p.ProductName
		}
		inv.Lines = append(inv.Lines, line)
		inv.Total += line.Amount
	}
	return inv
}

// hasUpcoming says whether there will be a next invoice.
func (s *Server) hasUpcoming(sub *subscription) bool {
	switch sub.Status {
	case StatusActive, StatusTrialing, StatusPastDue, StatusUnpaid:
		return sub.CancelAt.IsZero() || sub.CancelAt.After(sub.CurrentPeriodEnd)
	}
	return false
}

// upcoming computes the next invoice of a subscription; nil when none is due.
func (s *Server) upcoming(sub *subscription) *invoice {
	if !s.hasUpcoming(sub) {
		return nil
	}
	next := *sub
	next.CurrentPeriodStart, next.CurrentPeriodEnd = sub.CurrentPeriodEnd, s.periodAfter(sub, sub.CurrentPeriodEnd)
	next.Status = StatusActive
	inv := &invoice{Invoice: s.invoiceFor(&next, "upcoming", sub.CurrentPeriodEnd, sub.CurrentPeriodStart, sub.CurrentPeriodEnd)}
	inv.NextPaymentAttempt = inv.Created.Add(s.cfg.DraftFor)
	inv.Metadata = sub.Metadata
	for i := range inv.Lines {
		inv.Lines[i].ID = "il_tmp_" + sub.Items[i].ID[len("si_"):]
	}
	if sub.CollectionMethod == SendInvoice {
		inv.NextPaymentAttempt = time.Time{}
		inv.DueDate = inv.Created.Add(s.cfg.DraftFor).AddDate(0, 0, sub.DaysUntilDue)
	}
	return inv
}

// collect decides what becomes of a fresh draft: it is finalized after wait,
// or stays where an unpaid or paused subscription keeps it.
func (s *Server) collect(sub *subscription, inv *invoice, at time.Time, wait time.Duration, cause Cause) {
	switch {
	case held(sub):
	case sub.Pause != nil:
		s.open(sub, inv, at, cause)
		if sub.Pause.Behavior == "void" {
			s.void(inv, at, cause)
		} else {
			s.markUncollectible(inv, at, cause)
		}
	case wait > 0:
		inv.next = at.Add(wait)
	default:
		s.finalize(sub, inv, at, asItGoes, cause)
	}
}

// advance does what an invoice is due for: finalization, a retry, or the
// passing of its due date.
func (s *Server) advance(sub *subscription, inv *invoice, at time.Time) {
	inv.next = time.Time{}
	switch {
	case inv.Status == InvoiceDraft:
		s.finalize(sub, inv, at, asItGoes, ByStripe())
	case inv.CollectionMethod == SendInvoice:
		s.setStatus(sub, at, ByStripe(), StatusPastDue, StatusActive)
	default:
		s.attempt(sub, inv, at, asItGoes, ByStripe())
	}
}

// open gives a draft its number.
func (s *Server) open(sub *subscription, inv *invoice, at time.Time, cause Cause) {
	c := s.customers[inv.Customer]
	inv.Number = fmt.Sprintf("%s-%04d", c.InvoicePrefix, c.NextInvoiceSequence)
	c.NextInvoiceSequence++
	inv.Status, inv.FinalizedAt, inv.Metadata = InvoiceOpen, at, sub.Metadata
	inv.next, inv.NextPaymentAttempt = time.Time{}, time.Time{}
	if inv.CollectionMethod == SendInvoice {
		inv.DueDate = at.AddDate(0, 0, sub.DaysUntilDue)
	}
	s.tell(at, cause, "invoice.finalized", inv)
}

// finalize opens a draft and collects it, or sends it to the customer.
func (s *Server) finalize(sub *subscription, inv *invoice, at time.Time, how outcome, cause Cause) {
	s.open(sub, inv, at, cause)
	switch {
	case inv.Total == 0:
		s.change(at, cause, "invoice.updated", inv, func() { paid(inv, at) })
		s.paidEvents(sub, inv, at, cause)
	case inv.CollectionMethod == SendInvoice:
		inv.next = inv.DueDate
		s.tell(at, cause, "invoice.sent", inv)
	default:
		s.attempt(sub, inv, at, how, cause)
	}
}

// attempt tries to collect an open invoice.
func (s *Server) attempt(sub *subscription, inv *invoice, at time.Time, how outcome, cause Cause) {
	m := s.methodFor(sub)
	ok := m != nil && (how == accepted || how == asItGoes && s.wouldPay(sub, at))

	pi, isNew := s.intentFor(inv, at)
	if isNew {
		s.tell(at, cause, "payment_intent.created", pi)
	}
	var ch *charge
	if m != nil {
		ch = s.newCharge(inv, pi, m, ok, at)
		if ok {
			s.tell(at, cause, "charge.succeeded", ch)
			s.tell(at, cause, "payment_intent.succeeded", pi)
		} else {
			s.tell(at, cause, "charge.failed", ch)
			s.tell(at, cause, "payment_intent.payment_failed", pi)
		}
	}
	lastTry := inv.AttemptCount >= len(s.cfg.DunningDays)
	s.change(at, cause, "invoice.updated", inv, func() {
		inv.AttemptCount++
		inv.Attempted, inv.PaymentIntent = true, pi.id
		if ch != nil {
			inv.Charge = ch.id
		}
		inv.NextPaymentAttempt = time.Time{}
		switch {
		case ok:
			paid(inv, at)
		case !lastTry && sub.Status != StatusIncomplete && inv.AutoAdvance:
			inv.NextPaymentAttempt = at.AddDate(0, 0, s.cfg.DunningDays[inv.AttemptCount-1])
		}
	})
	inv.next = inv.NextPaymentAttempt
	if ok {
		s.paidEvents(sub, inv, at, cause)
	} else {
		s.failed(sub, inv, at, lastTry, cause)
	}
}

// paid marks an invoice paid.
func paid(inv *invoice, at time.Time) {
	inv.Status, inv.PaidAt, inv.AmountPaid, inv.Attempted = InvoicePaid, at, inv.Total, true
	inv.next, inv.NextPaymentAttempt, inv.AutoAdvance = time.Time{}, time.Time{}, false
}

// paidEvents tells of a payment, and brings the subscription back when it was
// the latest invoice that was missing.
func (s *Server) paidEvents(sub *subscription, inv *invoice, at time.Time, cause Cause) {
	s.tell(at, cause, "invoice.paid", inv)
	if !inv.PaidOutOfBand {
		s.tell(at, cause, "invoice.payment_succeeded", inv)
	}
	if inv.ID == sub.LatestInvoice {
		s.setStatus(sub, at, cause, StatusActive, StatusPastDue, StatusUnpaid, StatusIncomplete)
	}
	c := s.customers[sub.Customer]
	if c.Delinquent && !s.owes(c) {
		s.change(at, cause, "customer.updated", c, func() { c.Delinquent = false })
	}
}

// owes says whether a customer has an open invoice that could not be charged.
func (s *Server) owes(c *customer) bool {
	for _, sub := range c.subs {
		for _, inv := range sub.invoices {
			if inv.Status == InvoiceOpen && inv.Attempted {
				return true
			}
		}
	}
	return false
}

// failed tells of a payment that failed, and ends dunning after the last.
func (s *Server) failed(sub *subscription, inv *invoice, at time.Time, lastTry bool, cause Cause) {
	s.tell(at, cause, "invoice.payment_failed", inv)
	s.setStatus(sub, at, cause, StatusPastDue, StatusActive, StatusTrialing)
	if c := s.customers[sub.Customer]; !c.Delinquent {
		s.change(at, cause, "customer.updated", c, func() { c.Delinquent = true })
	}
	if !lastTry || sub.Ended() || sub.Status == StatusIncomplete {
		return
	}
	switch s.cfg.DunningEnd {
	case DunningCancel:
		s.end(sub, at, "payment_failed", cause)
	case DunningUnpaid:
		s.setStatus(sub, at, cause, StatusUnpaid, StatusPastDue)
	}
}

// setStatus moves a subscription to a status, if it is in one of those given.
func (s *Server) setStatus(sub *subscription, at time.Time, cause Cause, to string, from ...string) {
	if slices.Contains(from, sub.Status) {
		s.change(at, cause, subscriptionUpdated, sub, func() { sub.Status = to })
		return
	}
}

// PayInvoice pays an open or uncollectible invoice now, by its payment method
// or, out of band, outside Stripe: invoice.paid and, unless out of band,
// invoice.payment_succeeded; the subscription recovers if it was its latest.
func (s *Server) PayInvoice(id string, outOfBand bool, cause Cause) error {
	return s.withInvoice("pay", id, func(sub *subscription, inv *invoice, at time.Time) error {
		switch {
		case inv.Status != InvoiceOpen && inv.Status != InvoiceUncollectible:
			return fmt.Errorf("it is %s", inv.Status)
		case !outOfBand && s.methodFor(sub) == nil:
			return errors.New("there is no payment method to charge")
		}
		s.pay(sub, inv, at, outOfBand, s.settled(cause))
		return nil
	})
}

func (s *Server) pay(sub *subscription, inv *invoice, at time.Time, outOfBand bool, cause Cause) {
	if !outOfBand {
		s.attempt(sub, inv, at, accepted, cause)
		return
	}
	s.change(at, cause, "invoice.updated", inv, func() {
		paid(inv, at)
		inv.PaidOutOfBand = true
	})
	s.paidEvents(sub, inv, at, cause)
}

// VoidInvoice voids an open or uncollectible invoice: invoice.voided.
func (s *Server) VoidInvoice(id string, cause Cause) error {
	return s.withInvoice("void", id, func(_ *subscription, inv *invoice, at time.Time) error {
		if inv.Status != InvoiceOpen && inv.Status != InvoiceUncollectible {
			return fmt.Errorf("it is %s", inv.Status)
		}
		s.void(inv, at, s.settled(cause))
		return nil
	})
}

// MarkUncollectible gives up on an open invoice:
// invoice.marked_uncollectible.
func (s *Server) MarkUncollectible(id string, cause Cause) error {
	return s.withInvoice("mark uncollectible", id, func(_ *subscription, inv *invoice, at time.Time) error {
		if inv.Status != InvoiceOpen {
			return fmt.Errorf("it is %s", inv.Status)
		}
		s.markUncollectible(inv, at, s.settled(cause))
		return nil
	})
}

func (s *Server) withInvoice(what, id string, do func(*subscription, *invoice, time.Time) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := errors.New("there is no such invoice")
	if inv := s.invoices[id]; inv != nil {
		sub, at := s.subs[inv.Subscription], s.now()
		s.catchUp(sub, at)
		err = do(sub, inv, at)
		s.schedule(sub)
	}
	if err != nil {
		return fmt.Errorf("%s invoice %s: %w", what, id, err)
	}
	return nil
}

func (s *Server) void(inv *invoice, at time.Time, cause Cause) {
	inv.Status, inv.VoidedAt, inv.AutoAdvance = InvoiceVoid, at, false
	inv.next, inv.NextPaymentAttempt = time.Time{}, time.Time{}
	s.tell(at, cause, "invoice.voided", inv)
}

func (s *Server) markUncollectible(inv *invoice, at time.Time, cause Cause) {
	inv.Status, inv.MarkedUncollectibleAt, inv.AutoAdvance = InvoiceUncollectible, at, false
	inv.next, inv.NextPaymentAttempt = time.Time{}, time.Time{}
	s.tell(at, cause, "invoice.marked_uncollectible", inv)
}

// intentFor returns the invoice's payment intent, and whether it is new.
func (s *Server) intentFor(inv *invoice, at time.Time) (*intent, bool) {
	if pi := s.intents[inv.PaymentIntent]; pi != nil {
		return pi, false
	}
	reason := "Subscription update"
	if inv.BillingReason == "subscription_create" {
		reason = "Subscription creation"
	}
	pi := &intent{
		id: s.newID("pi_"), invoice: inv.ID, customer: inv.Customer, amount: inv.Total, currency: inv.Currency,
		description: reason, status: "requires_payment_method", created: at,
	}
	s.intents[pi.id] = pi
	return pi, true
}

func (s *Server) newCharge(inv *invoice, pi *intent, m *paymentMethod, ok bool, at time.Time) *charge {
	ch := &charge{
		id: s.newID("ch_"), intent: pi.id, invoice: inv.ID, customer: inv.Customer, method: m.ID,
		amount: inv.Total, currency: inv.Currency, description: pi.description, failed: !ok, created: at,
	}
	s.charges[ch.id] = ch
	pi.charge, pi.method = ch.id, cmp.Or(m.ID, pi.method)
	if ok {
		pi.status = "succeeded"
	} else {
		pi.method = "" // Stripe takes a declined method off the intent
	}
	return ch
}
