package stripe

import (
	"maps"
	"slices"
	"time"
)

// Subscription statuses, as Stripe spells them.
const (
	StatusActive            = "active"
	StatusTrialing          = "trialing"
	StatusPastDue           = "past_due"
	StatusUnpaid            = "unpaid"
	StatusPaused            = "paused"
	StatusIncomplete        = "incomplete"
	StatusIncompleteExpired = "incomplete_expired"
	StatusCanceled          = "canceled"
)

// Invoice statuses, as Stripe spells them.
const (
	InvoiceDraft         = "draft"
	InvoiceOpen          = "open"
	InvoicePaid          = "paid"
	InvoiceUncollectible = "uncollectible"
	InvoiceVoid          = "void"
)

// Collection methods, as Stripe spells them.
const (
	ChargeAutomatically = "charge_automatically"
	SendInvoice         = "send_invoice"
)

// Customer is a copy of a customer's state.
type Customer struct {
	ID                   string
	Name, Email, Phone   string
	Description          string
	Currency             string // of the first subscription; empty before
	Metadata             map[string]string
	Address              *Address
	DefaultPaymentMethod string // invoice_settings.default_payment_method
	DefaultSource        string // a legacy card, card_…
	InvoicePrefix        string
	NextInvoiceSequence  int
	Delinquent           bool
	Deleted              bool
	Created              time.Time
}

// Address is a postal address; Country has two letters.
type Address struct{ Line1, Line2, City, PostalCode, State, Country string }

// Card is what is known of a card. It never holds a full number.
type Card struct {
	Brand    string // visa, mastercard, amex, …
	Last4    string
	ExpMonth int
	ExpYear  int
	Funding  string // credit, debit, prepaid
	Country  string
	Wallet   string // apple_pay, google_pay, or empty
}

// PaymentMethod is a copy of a payment method's state. Card is nil unless
// Type is "card". A legacy card (ID card_…) is one with Legacy set.
type PaymentMethod struct {
	ID       string
	Type     string
	Customer string // empty once detached
	Card     *Card
	Last4    string // of a bank account, for types other than card
	Country  string // of a bank account
	Legacy   bool
	Metadata map[string]string
	Created  time.Time
}

// Price is what is paid per unit and interval. UnitAmount is in minor units;
// currencies without them (yen) count whole units.
type Price struct {
	ID            string
	Product       string
	ProductName   string
	Nickname      string
	Currency      string
	UnitAmount    int64
	Interval      string // day, week, month, year
	IntervalCount int
	Created       time.Time
}

// Item is one line of a subscription.
type Item struct {
	ID       string
	Price    Price
	Quantity int64
	Metadata map[string]string
	Created  time.Time
}

// Pause is what pause_collection holds. ResumesAt may be zero.
type Pause struct {
	Behavior  string // keep_as_draft, mark_uncollectible, void
	ResumesAt time.Time
}

// Subscription is a copy of a subscription's state. A zero time is Stripe's
// null.
type Subscription struct {
	ID                   string
	Customer             string
	Status               string
	Currency             string
	Description          string
	Items                []Item
	Metadata             map[string]string
	CollectionMethod     string
	DaysUntilDue         int
	DefaultPaymentMethod string
	LatestInvoice        string
	Pause                *Pause
	MissingPaymentMethod string // trial_settings.end_behavior: create_invoice, pause, cancel

	Created            time.Time
	StartDate          time.Time
	BillingCycleAnchor time.Time
	CurrentPeriodStart time.Time
	CurrentPeriodEnd   time.Time
	TrialStart         time.Time
	TrialEnd           time.Time
	CancelAt           time.Time
	CancelAtPeriodEnd  bool
	CanceledAt         time.Time
	EndedAt            time.Time
	CancellationReason string // cancellation_requested, payment_failed
}

// Ended says whether the subscription is in a status it cannot leave.
func (s Subscription) Ended() bool {
	return s.Status == StatusCanceled || s.Status == StatusIncompleteExpired
}

// Amount is what one period costs, in minor units.
func (s Subscription) Amount() int64 {
	var sum int64
	for _, it := range s.Items {
		sum += it.Price.UnitAmount * it.Quantity
	}
	return sum
}

// Line is one line of an invoice.
type Line struct {
	ID          string
	Item        string // the subscription item
	Price       Price
	Quantity    int64
	Amount      int64
	Description string
	PeriodStart time.Time
	PeriodEnd   time.Time
	Proration   bool
}

// Invoice is a copy of an invoice's state. PeriodStart and PeriodEnd describe
// the past period for a renewal; the period that is paid for is on the lines.
// A zero time is Stripe's null. An upcoming invoice has no ID.
type Invoice struct {
	ID               string
	Number           string
	Customer         string
	Subscription     string
	Status           string
	BillingReason    string // subscription_create, subscription_cycle, subscription_update, upcoming
	Currency         string
	CollectionMethod string
	Total            int64
	AmountPaid       int64
	AttemptCount     int
	Attempted        bool
	AutoAdvance      bool
	PaidOutOfBand    bool
	Charge           string
	PaymentIntent    string
	Lines            []Line
	Metadata         map[string]string // the subscription's, when it was finalized

	Created               time.Time
	DueDate               time.Time
	PeriodStart           time.Time
	PeriodEnd             time.Time
	NextPaymentAttempt    time.Time
	FinalizedAt           time.Time
	PaidAt                time.Time
	VoidedAt              time.Time
	MarkedUncollectibleAt time.Time
}

// customer, paymentMethod, subscription and invoice hold the state behind the
// copies, with what only the simulation knows.
type (
	customer struct {
		Customer
		subs    []*subscription
		methods []*paymentMethod // also those detached since
	}

	paymentMethod struct {
		PaymentMethod
		name, email string // the customer's, when it was attached
	}

	subscription struct {
		Subscription
		invoices []*invoice // oldest first
		pending  []*invoice // those that may still do something by themselves

		failFrom    time.Time // payments from here on fail; zero: none do
		upcomingFor time.Time // the period end invoice.upcoming was sent for
		trialNotice bool      // trial_will_end was sent
		due         time.Time // when step has something to do; zero: never
		seq         uint64
	}

	invoice struct {
		Invoice
		next time.Time // finalization, retry or due date; zero: none
		seq  uint64
	}

	product struct {
		name    string
		created time.Time
	}

	// charge and intent are what a payment attempt leaves behind.
	charge struct {
		id, intent, invoice, customer, method string
		amount                                int64
		currency, description                 string
		failed                                bool
		created                               time.Time
	}
	intent struct {
		id, invoice, customer, method, charge string
		amount                                int64
		currency, description, status         string
		created                               time.Time
	}
)

func (c *customer) copy() Customer {
	out := c.Customer
	out.Metadata = maps.Clone(c.Metadata)
	if c.Address != nil {
		a := *c.Address
		out.Address = &a
	}
	return out
}

func (p *paymentMethod) copy() PaymentMethod {
	out := p.PaymentMethod
	out.Metadata = maps.Clone(p.Metadata)
	if p.Card != nil {
		c := *p.Card
		out.Card = &c
	}
	return out
}

func (s *subscription) copy() Subscription {
	out := s.Subscription
	out.Metadata = maps.Clone(s.Metadata)
	out.Items = slices.Clone(s.Items)
	for i := range out.Items {
		out.Items[i].Metadata = maps.Clone(out.Items[i].Metadata)
	}
	if s.Pause != nil {
		p := *s.Pause
		out.Pause = &p
	}
	return out
}

func (i *invoice) copy() Invoice {
	out := i.Invoice
	out.Lines = slices.Clone(i.Lines)
	out.Metadata = maps.Clone(i.Metadata)
	return out
}

// AmountDue is what the invoice asks for.
func (i Invoice) AmountDue() int64 { return i.Total }

// AmountRemaining is what is still to be paid.
func (i Invoice) AmountRemaining() int64 { return i.Total - i.AmountPaid }
