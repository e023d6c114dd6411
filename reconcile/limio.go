package reconcile

import (
	"cmp"
	"context"
	"fmt"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// numbers finds the account that a Zuora subscription number belongs to.
type numbers interface {
	AccountOf(ctx context.Context, number string) (account string, err error)
}

// LimioSubscriptions turns limio:subscription keys into the billing record that
// the Limio record itself names.
type LimioSubscriptions struct {
	limio  subscriptions
	zuora  numbers // nil: Zuora is not followed
	stripe bool
}

// NewLimioSubscriptions returns the expander of limio:subscription keys. zuora
// is nil when Zuora is not followed, stripe says whether Stripe is.
func NewLimioSubscriptions(l subscriptions, zuora numbers, stripe bool) *LimioSubscriptions {
	return &LimioSubscriptions{limio: l, zuora: zuora, stripe: stripe}
}

// Expand implements Expander. The Limio id goes along as a hint, since the
// billing record need not name it.
func (l *LimioSubscriptions) Expand(ctx context.Context, key record.Key) ([]Request, error) {
	objects, err := l.limio.Subscription(ctx, key.ID)
	if fault.Of(err) == fault.NotFound {
		return nil, skip(event.ReasonUnknownSubscription, "Limio has no subscription "+key.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("read Limio subscription %s: %w", key.ID, err)
	}
	sub := first(objects, func(o record.Object) bool { return o.ID == key.ID })
	mark := LimioMark(sub.Fields["updated"].String())
	if id := sub.Fields[linkField].String(); id != "" && l.stripe {
		return nil, led(mark, Request{Key: record.StripeSubscription(id), Limio: key.ID})
	}
	number := cmp.Or(sub.Ref, sub.Fields["name"].String())
	if l.zuora == nil || number == "" {
		return nil, orphan(mark, key.ID, "it names no Stripe subscription")
	}
	account, err := l.zuora.AccountOf(ctx, number)
	if fault.Of(err) == fault.NotFound {
		return nil, orphan(mark, key.ID, "it names no Stripe subscription, and Zuora knows no subscription "+number)
	}
	if err != nil {
		return nil, fmt.Errorf("find the account of subscription %s: %w", number, err)
	}
	return nil, led(mark, Request{Key: record.ZuoraAccount(account), Limio: key.ID})
}

// LimioMark is the mark of a Limio subscription whose list shows this stamp.
func LimioMark(updated string) record.Mark { return record.MarkOf("limio", updated) }

func led(mark record.Mark, to Request) error {
	return &Nothing{
		Outcome: event.Skipped, Reason: event.ReasonFannedOut, Mark: mark,
		Note: "belongs to " + to.Key.String(), Forward: []Request{to},
	}
}

func orphan(mark record.Mark, id, why string) error {
	return skipMarked(mark, event.ReasonOrphan, "nothing in a billing system is known to own "+id+": "+why)
}
