package record

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// NewOrder is what a Send Order request says (limio.md 3.3): somebody bought
// offers of Limio's catalog elsewhere, and Limio shall sell them too. Its
// external id is the Ref of its Write.
type NewOrder struct {
	Source          string // the system that submits it; a word of our own, since shop and salesforce mean Limio
	InitiatedSource string // where the order began; "" is Source
	Items           []OrderItem
	Buyer           Address        // name, e-mail address and phone; the rest too, as the billing address, if any of it is known
	Payment         string         // payment type: invoice, stripe, zuora, … (limio.md 2.5)
	Method          *PaymentMethod // what is paid with; nil: not known
	Country         string         // of the purchase, two letters
	Start           time.Time      // of the subscription; zero: when Limio carries the order out
}

// OrderItem is a published version of an offer of Limio's catalog, so many
// times.
type OrderItem struct {
	Offer    string
	Version  string // "" when Limio is to choose
	Quantity int64
}

// Validate returns everything that keeps o from being sent, or nil.
func (o NewOrder) Validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(o.Source != "", "the order has no source")
	need(o.Buyer.Email != "", "the buyer has no e-mail address")
	need(len(o.Country) == 2, fmt.Sprintf("the country of purchase %q is not a code of two letters", o.Country))
	need(o.Payment != "", "the order has no payment type")
	need(len(o.Items) > 0, "the order has no items")
	for i, item := range o.Items {
		need(item.Offer != "", fmt.Sprintf("item %d has no offer id", i))
		need(item.Quantity > 0, fmt.Sprintf("item %d has the quantity %d", i, item.Quantity))
	}
	return errors.Join(errs...)
}

// Fields returns what events show of o, sorted by path: nothing about the
// person, nothing about the means of payment but its type.
func (o NewOrder) Fields() []FieldChange {
	out := []FieldChange{
		{Field: "order_type", After: Text("new")},
		{Field: "source", After: Text(o.Source)},
		{Field: "initiated_source", After: Text(cmp.Or(o.InitiatedSource, o.Source))},
		{Field: "country", After: Text(o.Country)},
		{Field: "payment.type", After: Text(o.Payment)},
	}
	if !o.Start.IsZero() {
		out = append(out, FieldChange{Field: "orderDate", After: Instant(o.Start)})
	}
	for i, item := range o.Items {
		at := "orderItems." + strconv.Itoa(i)
		out = append(out, FieldChange{Field: at + ".offer.id", After: Text(item.Offer)},
			FieldChange{Field: at + ".quantity", After: Int(item.Quantity)})
	}
	slices.SortFunc(out, func(x, y FieldChange) int { return cmp.Compare(x.Field, y.Field) })
	return out
}

// OrderState says how far Limio is with an order.
type OrderState string

// The states. What Limio calls otherwise counts as submitted.
const (
	OrderSubmitted OrderState = "submitted" // taken, and not known to be carried out
	OrderComplete  OrderState = "complete"
	OrderFailed    OrderState = "failed" // taken, but it could not be carried out
)

// PlacedOrder is an order as Limio holds it.
type PlacedOrder struct {
	ID                    string // order-…
	ExternalID            string
	State                 OrderState
	Problem               string // why it failed, in Limio's words; "" when it does not say
	SubscriptionReference string // promised when the order is taken
	Subscription          string // Limio id sub-…; "" as long as the order names none
	Created               time.Time
}
