package reconcile

import (
	"context"
	"fmt"
	"strings"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// finder finds the one account whose custom field holds a value.
type finder interface {
	Find(ctx context.Context, field, value string) (account string, err error)
}

// Lookups turns zuora:lookup keys into the account behind them.
type Lookups struct{ zuora finder }

// NewLookups returns the expander of zuora:lookup keys.
func NewLookups(z finder) *Lookups { return &Lookups{z} }

// Expand implements Expander. The lookup stays with the request, so that the
// account is read by it and a changed link is noticed.
func (l *Lookups) Expand(ctx context.Context, key record.Key) ([]Request, error) {
	field, value, ok := strings.Cut(key.ID, "=")
	if !ok {
		return nil, fault.Newf(fault.Refused, "key %s: want zuora:lookup:field=value", key)
	}
	account, err := l.zuora.Find(ctx, field, value)
	if err != nil {
		return nil, matchError(field, err)
	}
	return []Request{{Key: record.ZuoraAccount(account), Via: key.ID}}, nil
}

// lister lists the subscriptions of a Stripe customer, ended ones too.
type lister interface {
	SubscriptionsOf(ctx context.Context, customer string) ([]string, error)
}

// CustomerSubscriptions turns stripe:customer keys into the customer's
// subscriptions.
type CustomerSubscriptions struct{ stripe lister }

// NewCustomerSubscriptions returns the expander of stripe:customer keys.
func NewCustomerSubscriptions(s lister) *CustomerSubscriptions { return &CustomerSubscriptions{s} }

// Expand implements Expander.
func (c *CustomerSubscriptions) Expand(ctx context.Context, key record.Key) ([]Request, error) {
	ids, err := c.stripe.SubscriptionsOf(ctx, key.ID)
	if fault.Of(err) == fault.NotFound || (err == nil && len(ids) == 0) {
		return nil, skip(event.ReasonUnknownSubscription, "Stripe customer "+key.ID+" has no subscriptions")
	}
	if err != nil {
		return nil, fmt.Errorf("list subscriptions of customer %s: %w", key.ID, err)
	}
	out := make([]Request, len(ids))
	for i, id := range ids {
		out[i] = Request{Key: record.StripeSubscription(id)}
	}
	return out, nil
}
