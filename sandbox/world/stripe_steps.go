package world

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/stripe"
)

// ErrUnable is wrapped when a record cannot take the step: there is nothing
// left of it to renew, cancel or change.
var ErrUnable = errors.New("nothing left to change")

// stripeStep makes a change in Stripe and tells of it.
func (w *World) stripeStep(what, id string, change func(s *subscription) error) (Step, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.bySub[id]
	if s == nil {
		return Step{}, fmt.Errorf("%s: there is no subscription %s", what, id)
	}
	if err := change(s); err != nil {
		return Step{}, fmt.Errorf("%s of %s: %w", what, id, err)
	}
	return Step{Messages: w.webhooks("")}, nil
}

// RenewSubscription renews a Stripe subscription with all its webhooks.
func (w *World) RenewSubscription(id string) (Step, error) {
	return w.stripeStep("renewal", id, func(s *subscription) error { return w.renew(s, true) })
}

func (w *World) renew(s *subscription, paid bool) error {
	if s.ending {
		return ErrUnable
	}
	return w.stripe.RenewNow(s.ID, paid)
}

// Dunning fails a renewal; some time later the invoice is paid after all, or
// the subscription is cancelled for want of payment.
func (w *World) Dunning(id string) (Step, error) {
	step, err := w.stripeStep("dunning", id, func(s *subscription) error { return w.renew(s, false) })
	if err != nil {
		return Step{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	recovers := w.rnd.IntN(5) < 2
	step.After = 2*time.Second + time.Duration(w.rnd.IntN(2000))*time.Millisecond
	step.Next = func() (Step, error) {
		return w.stripeStep("end of dunning", id, func(s *subscription) error {
			if sub, _ := w.stripe.Subscription(id); sub.Ended() {
				return nil // somebody was quicker
			}
			if recovers {
				return w.payLatest(id)
			}
			s.ending = true
			return w.stripe.CancelNow(id, stripe.ByStripe())
		})
	}
	return step, nil
}

func (w *World) payLatest(id string) error {
	for _, inv := range slices.Backward(w.stripe.Invoices(id)) {
		if inv.Status == stripe.InvoiceOpen {
			return w.stripe.PayInvoice(inv.ID, false, stripe.ByStripe())
		}
	}
	return nil
}

// ChangeCard gives the customer of a Stripe subscription a new default card.
func (w *World) ChangeCard(id string) (Step, error) {
	return w.stripeStep("new card", id, func(s *subscription) error {
		_, err := w.stripe.AddPaymentMethod(stripe.PaymentMethodParams{Customer: s.Customer, Card: w.stripeCard(), Default: true})
		return err
	})
}

// UpdateExpiry has the card network change the expiry of the default card.
func (w *World) UpdateExpiry(id string) (Step, error) {
	return w.stripeStep("new expiry", id, func(s *subscription) error {
		c, _ := w.stripe.Customer(s.Customer)
		card := c.DefaultPaymentMethod
		if card == "" {
			card = c.DefaultSource
		}
		m, ok := w.stripe.PaymentMethod(card)
		if !ok || m.Card == nil {
			return ErrUnable
		}
		return w.stripe.UpdateCard(card, stripe.CardChange{ExpYear: m.Card.ExpYear + 1}, stripe.ByStripe())
	})
}

// CancelAtPeriodEnd lets a Stripe subscription run out.
func (w *World) CancelAtPeriodEnd(id string) (Step, error) {
	return w.stripeStep("cancellation", id, func(s *subscription) error {
		if s.ending {
			return ErrUnable
		}
		s.ending = true
		return w.stripe.CancelAtPeriodEnd(id, true, stripe.ByRequest(""))
	})
}

// ChangePlanInStripe changes the price of a subscription in the dashboard.
func (w *World) ChangePlanInStripe(id string) (Step, error) {
	return w.stripeStep("new plan", id, func(s *subscription) error { return w.changePlan(s, "") })
}

// changePlan asks for a price that the subscription never had.
func (w *World) changePlan(s *subscription, key string) error {
	if s.ending {
		return ErrUnable
	}
	return w.stripe.ChangePlan(s.ID, stripe.ItemParams{Product: one(w.rnd, plans).name, Amount: int64(1000 + w.next())}, stripe.ByRequest(key))
}

// DeleteCustomer deletes the Stripe customer of a subscription.
func (w *World) DeleteCustomer(id string) (Step, error) {
	return w.stripeStep("deletion", id, func(s *subscription) error {
		s.ending = true
		return w.stripe.DeleteCustomer(s.Customer, stripe.ByRequest(""))
	})
}

// Basil renews a subscription whose webhooks are in the shape of API version
// 2025-03-31.basil.
func (w *World) Basil(id string) (Step, error) {
	return w.stripeStep("renewal", id, func(s *subscription) error {
		w.stripe.SetWebhookAPIVersion(stripe.APIVersionBasil)
		defer w.stripe.SetWebhookAPIVersion(stripe.APIVersion)
		return w.renew(s, true)
	})
}

// UnknownSubscription is an event of a subscription that Limio does not know:
// one that is not linked, or that Stripe does not have either.
func (w *World) UnknownSubscription() (Step, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var strangers []*subscription
	for _, s := range w.subs {
		if s.Limio == "" {
			strangers = append(strangers, s)
		}
	}
	if w.rnd.IntN(3) == 0 {
		body := w.event("invoice.paid", map[string]any{"id": "in_1" + w.alnum(23), "object": "invoice", "subscription": "sub_1" + w.alnum(23)})
		return Step{Messages: []Message{w.webhook(body)}}, nil
	}
	s := one(w.rnd, strangers)
	if err := w.stripe.SetMetadata(s.ID, map[string]string{"note": fmt.Sprint(w.next())}, stripe.ByRequest("")); err != nil {
		return Step{}, fmt.Errorf("note on %s: %w", s.ID, err)
	}
	return Step{Messages: w.webhooks("")}, nil
}

// irrelevant are types of events that change nothing in Limio, one of which
// nobody has ever heard of.
var irrelevant = []string{
	"charge.succeeded", "payment_intent.created", "balance.available", "product.updated", "price.created",
	"checkout.session.completed", "mandate.updated", "payout.paid", "zebra.crossed",
}

// IrrelevantEvent is an event that changes nothing in Limio.
func (w *World) IrrelevantEvent() (Step, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	typ := one(w.rnd, irrelevant)
	s := one(w.rnd, w.subs)
	body := w.event(typ, map[string]any{"id": "obj_1" + w.alnum(20), "object": "thing", "customer": s.Customer})
	return Step{Messages: []Message{w.webhook(body)}}, nil
}

const putRoute = "PUT /api/objects/{service}/{path_type}/{id}"

// Refused changes a Stripe subscription that Limio refuses to have written for
// some seconds; then it is announced again.
func (w *World) Refused(id string) (Step, error) {
	w.mu.Lock()
	limioID := ""
	if s := w.bySub[id]; s != nil {
		limioID = s.Limio
	}
	w.mu.Unlock()
	if limioID == "" {
		return Step{}, fmt.Errorf("refuse writes: there is no linked subscription %s", id)
	}
	heal := w.limio.Inject(httpsim.Fault{Route: putRoute, Path: limioID, Code: "forbidden"})
	step, err := w.RenewSubscription(id)
	if err != nil {
		heal()
		return Step{}, err
	}
	step.After = 4 * time.Second
	step.Next = func() (Step, error) {
		heal()
		w.mu.Lock()
		defer w.mu.Unlock()
		return Step{Messages: []Message{w.announce(w.bySub[id])}}, nil
	}
	return step, nil
}
