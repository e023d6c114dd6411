package stripe

import (
	"context"
	"fmt"

	"github.com/stripe/stripe-go/v76"

	"hotsync/internal/fault"
	"hotsync/record"
)

// Glimpses reads one page of all subscriptions, ended ones too, newest first,
// with one call for a hundred of them. cursor is "" for the first page and
// Page.Next for those after it.
//
// A mark moves with everything that the list shows and a plan can depend on:
// see shown. It is "" where the list cuts off what matters (more than ten
// items) or cannot know it (metered prices), so that the record has to be
// looked at. What changes a full read and no mark, so that only its event or a
// full read can find it:
//
//   - an invoice older than the latest one that is paid, voided or given up
//     (the customer's delinquency is in the mark and tells of most of these);
//   - a pending invoice item, a customer's balance, and a tax rate or tax
//     registration, which change what the next invoice will be;
//   - the phases of a subscription schedule, of which the id is in the mark;
//   - a product's name, which is part of the next invoice's description.
//
// A subscription that is made while the pages are read is before the first
// page and not in them; its own events tell of it.
//
// The classes of its errors are those of Subscription. Besides, a page that
// says that it goes on and does not is fault.Unavailable, since what was read
// is not all, and a cursor that Stripe does not know is fault.NotFound.
func (c *Client) Glimpses(ctx context.Context, cursor string) (record.Page, error) {
	page, err := c.glimpses(ctx, cursor)
	if err != nil {
		return record.Page{}, fmt.Errorf("list subscriptions%s: %w", after(cursor), err)
	}
	return page, nil
}

func (c *Client) glimpses(ctx context.Context, cursor string) (record.Page, error) {
	from, err := startingAfter(cursor)
	if err != nil {
		return record.Page{}, err
	}
	var list *stripe.SubscriptionList
	err = c.call(ctx, func(ctx context.Context) error {
		p := &stripe.SubscriptionListParams{Status: stripe.String("all"), Expand: c.expansions("data.")}
		p.ListParams = page(ctx, from)
		it := c.api.Subscriptions.List(p)
		list = it.SubscriptionList()
		return it.Err()
	})
	if err != nil {
		return record.Page{}, err
	}
	if list.Data == nil {
		return record.Page{}, errNoList()
	}
	var out record.Page
	var ids []string
	for _, sub := range list.Data {
		if err := readable(sub); err != nil {
			return record.Page{}, err
		}
		ids = append(ids, sub.ID)
		out.Glimpses = append(out.Glimpses, record.Glimpse{Key: record.StripeSubscription(sub.ID), Mark: c.mark(sub)})
	}
	out.Next, err = following(cursor, ids, list.HasMore)
	if err != nil {
		return record.Page{}, err
	}
	return out, nil
}

// expansions are what a mark and a card need of a subscription: the same for
// the single read and, under "data.", for the list. The deepest has the four
// levels that Stripe allows (zuora-stripe.md S2).
func (c *Client) expansions(prefix string) []*string {
	paths := []string{"customer.invoice_settings.default_payment_method", "customer.default_source", "latest_invoice"}
	if c.cardFrom == CardFromSubscriptionFirst {
		paths = append(paths, "default_payment_method", "default_source")
	}
	var out []*string
	for _, p := range paths {
		out = append(out, stripe.String(prefix+p))
	}
	return out
}

// readable returns an error unless a subscription is one of APIVersion: from
// 2025-03-31.basil on it has no period of its own, and 0 is not the year 1970.
func readable(sub *stripe.Subscription) error {
	switch {
	case sub == nil || !isID(sub.ID):
		return fault.Newf(fault.Refused, "the answer holds a subscription without an id: is the base URL that of a Stripe API?")
	case sub.CurrentPeriodStart == 0 || sub.CurrentPeriodEnd == 0:
		return fault.Newf(fault.Refused, "the answer has no current_period_start or current_period_end for %s, so it is of another API version "+
			"(2025-03-31.basil moved both to the items); %s was asked for with the header Stripe-Version: see what between here and Stripe changes that header",
			sub.ID, APIVersion)
	}
	return nil
}

// startingAfter returns a cursor as a parameter, nil for the first page.
func startingAfter(cursor string) (*string, error) {
	if cursor == "" {
		return nil, nil
	}
	if !isID(cursor) {
		return nil, fault.Newf(fault.Refused, "the cursor is not a Stripe id: use the one that the page before gave")
	}
	return &cursor, nil
}

// following returns the cursor of the page after the one that holds ids.
func following(cursor string, ids []string, more bool) (string, error) {
	for i, id := range ids {
		if id == cursor || i > 0 && id == ids[i-1] {
			return "", fault.Newf(fault.Unavailable, "stripe repeats %s in the page%s", id, after(cursor))
		}
	}
	switch {
	case !more:
		return "", nil
	case len(ids) == 0:
		// Stopping here would be a partial read that looks whole.
		return "", fault.Newf(fault.Unavailable, "stripe says that the list goes on, and gave an empty page")
	}
	return ids[len(ids)-1], nil
}

// errNoList is what an answer of 200 is that is not a list.
func errNoList() error {
	return fault.Newf(fault.Refused, "the answer is not a list: is the base URL that of a Stripe API?")
}

func after(cursor string) string {
	if cursor == "" {
		return ""
	}
	return fmt.Sprintf(" after %.60q", cursor)
}
