package limio

import (
	"context"
	"errors"
	"time"
)

// ErrUnknown is what a source answers, wrapped or not, when there is no such
// subscription.
var ErrUnknown = errors.New("unknown subscription")

// ZuoraSource reads the latest version of a Zuora subscription by its number
// or id. It is called without any lock of the Server held.
type ZuoraSource func(ctx context.Context, idOrNumber string) (ZuoraSubscription, error)

// ZuoraSubscription is what Limio's Zuora sync reads of a subscription.
type ZuoraSubscription struct {
	Number    string
	PlanName  string    // data.name, on creation only
	Status    string    // as Zuora spells it, with or without spaces
	TermStart time.Time // zero is unknown
	TermEnd   time.Time // zero is unknown, or evergreen
	AutoRenew bool
	Account   ZuoraAccount
	BillTo    Address // the zero value is no address
	SoldTo    Address
	// Schedules are the coming charges up to the term end. Nil leaves
	// Limio's schedules alone; empty cancels them.
	Schedules []ScheduleEntry
}

// ZuoraAccount is the account of a subscription.
type ZuoraAccount struct {
	ID                               string
	CRMID                            string // the Salesforce account, or empty
	Name, FirstName, LastName, Email string
}

// Address is a postal address in Limio's words.
type Address struct {
	FirstName, LastName, Address1, Address2, City, State, PostalCode string
	Country                                                          string // two letters
}

func (a Address) data() map[string]any {
	return map[string]any{
		"firstName": a.FirstName, "lastName": a.LastName, "address1": a.Address1, "address2": a.Address2,
		"city": a.City, "state": a.State, "postalCode": a.PostalCode, "country": a.Country,
	}
}

// StripeSource reads the Stripe subscription that belongs to a Limio
// subscription. StripeID is the link that Limio holds (assumption 14), or
// empty. It is called without any lock of the Server held.
type StripeSource func(ctx context.Context, limioID, stripeID string) (StripeSubscription, error)

// StripeSubscription is what Limio's Stripe sync reads.
type StripeSubscription struct {
	Status    string // as Stripe spells it
	TermStart time.Time
	TermEnd   time.Time
	Card      *Card // of the customer's default payment method; nil leaves Limio's alone
	// Schedules are the paid and upcoming invoices. Nil leaves Limio's
	// schedules alone.
	Schedules []ScheduleEntry
}

// Card is a payment card.
type Card struct {
	ID, Brand, Last4  string
	ExpMonth, ExpYear int
}

// ScheduleEntry is one payment, made or to come.
type ScheduleEntry struct {
	Date        time.Time
	Amount      int64  // minor units
	Currency    string // ISO 4217, upper case
	Description string
	Status      string // "active" (paid), "pending" or "pending-external" (empty is that)
	InvoiceID   string // or empty
}
