package record

import "time"

// Account is a Zuora account with everything hot sync follows.
type Account struct {
	ID             string
	Number         string
	Name           string
	Status         string // Active, Draft, Canceled (zuora-stripe.md Z2)
	CRMID          string // Salesforce account id; "" when there is none
	Currency       string
	BillTo         Address
	SoldTo         Address
	DefaultMethod  string          // id of the default payment method; "" when there is none
	PaymentMethods []PaymentMethod // complete
	Subscriptions  []Subscription  // latest versions only, complete
	Mark           Mark            // of the list that shows this account
	// Until is when the same state of Zuora begins to mean something else: a
	// charge ends, a cancellation takes effect, the horizon of the schedules
	// moves. Equal marks say nothing from then on. Zero: never.
	Until time.Time
}

// Address is a postal address with its contact. Country is a two-letter code.
type Address struct {
	FirstName, LastName, Email                            string
	Line1, Line2, City, State, PostalCode, Country, Phone string
}

// IsZero reports whether there is no such address.
func (a Address) IsZero() bool { return a == Address{} }

// PaymentMethod is a way to pay. No more than the last four digits of a number
// are ever held (Invariant 8).
type PaymentMethod struct {
	ID       string
	Type     string // the vendor's word: CreditCard, PayPalNativeEC, card, sepa_debit
	Active   bool
	Brand    string
	Last4    string
	ExpMonth int // 0 when it does not expire
	ExpYear  int
}

// Status is a subscription's status in Limio's words (limio.md 2.1).
type Status string

// The statuses hotsync writes.
const (
	StatusActive    Status = "active"
	StatusCancelled Status = "cancelled"
	StatusPending   Status = "pending"
	// StatusLeave means that the source's status says nothing about Limio's,
	// and must not be written.
	StatusLeave Status = ""
)

// Subscription is a subscription as a billing system has it.
type Subscription struct {
	ID            string // Stripe id, or Zuora subscription number
	Customer      string // Stripe customer id, or Zuora account id
	Status        Status
	SourceStatus  string // the vendor's own word
	Start         time.Time
	TermStart     time.Time
	TermEnd       time.Time // zero: evergreen
	AutoRenew     bool
	Ending        bool // ended, or will end at TermEnd: nothing is due after it
	Offers        []Offer
	Schedules     []Schedule     // Stripe's paid, pending and upcoming; Zuora's upcoming, nil when they are not read or not known
	Through       time.Time      // Zuora only: no payment up to this day is missing from Schedules; zero: none up to the last of them
	PaymentMethod *PaymentMethod // Stripe only; nil when there is none
	Metadata      map[string]string
	Mark          Mark // Stripe only; of the list that shows this subscription
	// Items and Buyer are what a new subscription has to tell of itself to be
	// ordered in Limio. Stripe only.
	Created time.Time // when Stripe stored it; Start may lie before or after
	Items   []Item
	Buyer   Address // the customer's name, e-mail address and address, as far as known
}

// Item is one line of a Stripe subscription: so many of a price.
type Item struct {
	Price    string // price_…
	Quantity int64
}

// Offer is what a subscription holds: one live rate plan of Zuora.
type Offer struct {
	ID       string // <product rate plan id>/<charge number>, stable across versions
	Name     string
	Start    time.Time
	End      time.Time // zero: open
	Quantity string    // decimal
	Price    Money
}

// ScheduleState says where a payment stands.
type ScheduleState string

// The states, in Limio's words (limio.md 2.3).
const (
	SchedulePaid      ScheduleState = "active"
	SchedulePending   ScheduleState = "pending"
	ScheduleUpcoming  ScheduleState = "pending-external"
	ScheduleCancelled ScheduleState = "cancelled"
)

// Schedule is one payment of a subscription: past, pending or upcoming.
type Schedule struct {
	ID          string // invoice id; "" for an upcoming one, which has none
	State       ScheduleState
	Date        time.Time // start of the service period it pays for
	Amount      Money
	Description string
}

// Order is a change request that another system made on a subscription.
type Order struct {
	ID      string
	Source  string // shop, salesforce, …; "" when unmarked
	Created time.Time
}
