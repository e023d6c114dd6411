package stripe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/stripe/stripe-go/v76"

	"hotsync/internal/fault"
	"hotsync/record"
)

// Subscription reads one subscription with its schedules and card: one call
// for the subscription, one for the next invoice unless none can come, and one
// for each hundred invoices.
//
// A subscription that ends within its current period needs no call for the
// next invoice. One that ends later (cancel_at beyond the period) does, since
// it still has payments to come.
//
// Mark is the one that Glimpses gives for the same state.
//
// A period of 0 is an error of class fault.Refused and not the year 1970: from
// API version 2025-03-31.basil on the period is on the items (zuora-stripe.md
// S2).
func (c *Client) Subscription(ctx context.Context, id string) (record.Subscription, error) {
	s, err := c.subscription(ctx, id)
	if err != nil {
		return record.Subscription{}, fmt.Errorf("read subscription %.60q: %w", id, err)
	}
	return s, nil
}

func (c *Client) subscription(ctx context.Context, id string) (record.Subscription, error) {
	if !isID(id) {
		return record.Subscription{}, fault.Newf(fault.Refused, "not a Stripe id")
	}
	sub, err := c.get(ctx, id)
	if err != nil {
		return record.Subscription{}, err
	}
	out := record.Subscription{
		ID:            sub.ID,
		Status:        c.statuses[string(sub.Status)], // a status of the future: StatusLeave
		SourceStatus:  string(sub.Status),
		Start:         at(sub.StartDate),
		PaymentMethod: c.card(sub),
		Metadata:      maps.Clone(sub.Metadata),
		// Of the call that comes first: what the later ones see is as new or
		// newer, so that a change in between is found by the next sweep.
		Mark: c.mark(sub),
	}
	if sub.Customer != nil {
		out.Customer = sub.Customer.ID
	}
	out.Created, out.Items, out.Buyer = at(sub.Created), itemsOf(sub), buyerOf(sub.Customer)
	term(&out, sub)
	// The next invoice is read before the others: should the period roll in
	// between, it shows twice, which can be seen, and not never.
	var next *stripe.Invoice
	if !dueNoMore(sub) {
		if next, err = c.upcoming(ctx, id); err != nil {
			return record.Subscription{}, fmt.Errorf("read upcoming invoice: %w", err)
		}
	}
	invoices, err := c.invoices(ctx, id)
	if err != nil {
		return record.Subscription{}, fmt.Errorf("list invoices: %w", err)
	}
	out.Schedules = schedules(id, invoices, next)
	return out, nil
}

func (c *Client) get(ctx context.Context, id string) (*stripe.Subscription, error) {
	var sub *stripe.Subscription
	err := c.call(ctx, func(ctx context.Context) (err error) {
		p := &stripe.SubscriptionParams{Expand: c.expansions("")}
		p.Context = ctx
		sub, err = c.api.Subscriptions.Get(id, p)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case sub.ID != id:
		return nil, fault.Newf(fault.Refused, "the answer is about %.60q: is the base URL that of a Stripe API?", sub.ID)
	}
	if err := readable(sub); err != nil {
		return nil, err
	}
	return sub, nil
}

func (c *Client) upcoming(ctx context.Context, id string) (*stripe.Invoice, error) {
	var next *stripe.Invoice
	err := c.call(ctx, func(ctx context.Context) (err error) {
		p := &stripe.InvoiceUpcomingParams{Subscription: stripe.String(id)}
		p.Context = ctx
		next, err = c.api.Invoices.Upcoming(p)
		return err
	})
	if errors.Is(err, errUpcomingNone) {
		return nil, nil
	}
	return next, err
}

// invoices returns all invoices of a subscription, of every status: for an
// hour after a renewal its invoice is a draft, neither paid nor upcoming, and
// must not be lost (zuora-stripe.md S1).
func (c *Client) invoices(ctx context.Context, id string) ([]*stripe.Invoice, error) {
	var all []*stripe.Invoice
	err := c.pages(ctx, func(ctx context.Context, after *string) (last string, more bool, err error) {
		p := &stripe.InvoiceListParams{Subscription: stripe.String(id)}
		p.ListParams = page(ctx, after)
		it := c.api.Invoices.List(p)
		for it.Next() {
			all = append(all, it.Invoice())
			last = it.Invoice().ID
		}
		return last, it.InvoiceList().HasMore, it.Err()
	})
	return all, err
}

// ended reports whether a subscription is over.
func ended(sub *stripe.Subscription) bool {
	return sub.EndedAt != 0 || sub.Status == stripe.SubscriptionStatusCanceled ||
		sub.Status == stripe.SubscriptionStatusIncompleteExpired
}

// dueNoMore reports whether no further invoice can come.
func dueNoMore(sub *stripe.Subscription) bool {
	return ended(sub) || sub.CancelAtPeriodEnd || (sub.CancelAt != 0 && sub.CancelAt <= sub.CurrentPeriodEnd)
}

// term sets the term: the current period, or what is left of it when the
// subscription has ended or will end at a set time.
func term(out *record.Subscription, sub *stripe.Subscription) {
	out.TermStart = at(sub.CurrentPeriodStart)
	out.TermEnd = at(sub.CurrentPeriodEnd)
	switch {
	case ended(sub):
		out.Ending = true
		switch {
		case sub.EndedAt != 0:
			out.TermEnd = at(sub.EndedAt)
		case sub.CanceledAt != 0:
			out.TermEnd = at(sub.CanceledAt)
		}
	case sub.CancelAt != 0:
		out.Ending = true
		out.TermEnd = at(sub.CancelAt)
	case sub.CancelAtPeriodEnd:
		out.Ending = true
	}
	out.AutoRenew = !out.Ending
}

// card returns the default payment method: the customer's, which the article
// names (stripe-sync.txt), or first the subscription's own, which is the one
// that Stripe charges. Nil when there is none or the customer was deleted.
func (c *Client) card(sub *stripe.Subscription) *record.PaymentMethod {
	if c.cardFrom == CardFromSubscriptionFirst {
		if pm := method(sub.DefaultPaymentMethod, sub.DefaultSource); pm != nil {
			return pm
		}
	}
	cus := sub.Customer
	if cus == nil || cus.Deleted {
		return nil
	}
	var pm *stripe.PaymentMethod
	if cus.InvoiceSettings != nil {
		pm = cus.InvoiceSettings.DefaultPaymentMethod
	}
	return method(pm, cus.DefaultSource)
}

// method returns a payment method, else a source from before there were any.
// What is no card has a type only.
func method(pm *stripe.PaymentMethod, src *stripe.PaymentSource) *record.PaymentMethod {
	switch {
	case pm != nil && pm.ID != "":
		out := &record.PaymentMethod{ID: pm.ID, Type: string(pm.Type), Active: true}
		if pm.Card != nil {
			out.Brand, out.Last4 = string(pm.Card.Brand), last4(pm.Card.Last4)
			out.ExpMonth, out.ExpYear = int(pm.Card.ExpMonth), int(pm.Card.ExpYear)
		}
		return out
	case src == nil || src.ID == "" || src.Deleted:
		return nil
	}
	out := &record.PaymentMethod{ID: src.ID, Type: string(src.Type), Active: true}
	switch {
	case src.Card != nil:
		out.Brand, out.Last4 = legacyBrand(string(src.Card.Brand)), last4(src.Card.Last4)
		out.ExpMonth, out.ExpYear = int(src.Card.ExpMonth), int(src.Card.ExpYear)
	case src.Source != nil:
		out.Type = string(src.Source.Type)
		if card := src.Source.Card; card != nil {
			out.Brand, out.Last4 = legacyBrand(card.Brand), last4(card.Last4)
			out.ExpMonth, out.ExpYear = int(card.ExpMonth), int(card.ExpYear)
		}
	}
	return out
}

// legacyBrand returns the brand of an old card object in the words of payment
// methods, so that a card does not change by being moved from one to the other.
func legacyBrand(brand string) string {
	switch brand {
	case "American Express":
		return "amex"
	case "Diners Club":
		return "diners"
	case "Discover":
		return "discover"
	case "JCB":
		return "jcb"
	case "MasterCard":
		return "mastercard"
	case "UnionPay":
		return "unionpay"
	case "Visa":
		return "visa"
	case "Unknown":
		return "unknown"
	}
	return brand
}

// last4 keeps no more than four digits, whatever was sent (Invariant 8).
func last4(s string) string { return s[max(0, len(s)-4):] }

// at returns seconds since 1970 as a time, the zero time for 0: Stripe's null.
func at(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
