package zuora

import (
	"maps"
	"time"
)

// Statuses of a subscription, in the spelling of the v1 API (zuora-stripe.md
// Z4). Object Query, ZOQL and the account summary spell them without spaces.
const (
	StatusDraft             = "Draft"
	StatusPendingActivation = "Pending Activation"
	StatusPendingAcceptance = "Pending Acceptance"
	StatusActive            = "Active"
	StatusCancelled         = "Cancelled"
	StatusSuspended         = "Suspended"
)

// Kinds of term.
const (
	Termed    = "TERMED"
	Evergreen = "EVERGREEN"
)

// Values of RatePlan.LastChangeType.
const (
	ChangeAdd    = "Add"
	ChangeUpdate = "Update"
	ChangeRemove = "Remove"
)

// Statuses of a payment method.
const (
	PaymentMethodActive   = "Active"
	PaymentMethodClosed   = "Closed"
	PaymentMethodScrubbed = "Scrubbed"
)

// Account is a Zuora account. Amounts are in minor units of Currency. A nil
// value in CustomFields is Zuora's null; an absent key is the same.
type Account struct {
	ID, Number, Name string
	Status           string  // "Active", "Draft" or "Canceled", with one l
	CRMID            *string // nil is null; Zuora also has ""
	ParentID         string
	Batch, Notes     string

	Currency               string // ISO code, default EUR
	AutoPay                bool
	BillCycleDay           int
	PaymentTerm            string
	PaymentGateway         string
	DefaultPaymentMethodID string
	Balance                int64
	LastInvoiceDate        Date // set by Bill

	BillTo *Contact // made when nil
	SoldTo *Contact // nil: the bill-to contact is the sold-to contact too
	ShipTo *Contact // nil: none

	CustomFields map[string]any

	CreatedAt, UpdatedAt time.Time
}

// Contact is a person with an address. Country and State are full names, as
// Zuora has them.
type Contact struct {
	ID, AccountID        string
	FirstName, LastName  string
	Nickname             string
	Address1, Address2   string
	City, County, State  string
	PostalCode, Country  string
	WorkEmail            string
	PersonalEmail        string
	WorkPhone, HomePhone string
	MobilePhone          string
	TaxRegion            string
	CustomFields         map[string]any
	CreatedAt, UpdatedAt time.Time
}

// PaymentMethod is a payment method of an account. Which fields are shown
// depends on Type.
type PaymentMethod struct {
	ID, AccountID string
	// Type is CreditCard, DebitCard, CreditCardReferenceTransaction, ACH,
	// BankTransfer, PayPalEC, PayPalNativeEC, PayPalCP, ApplePay, GooglePay, or
	// the name of a type that the tenant defined.
	Type string
	// Group is the name of the array that lists the method in the v1 API.
	// Empty: as Type demands (zuora-stripe.md Z5).
	Group  string
	Status string // default Active

	CardNumber            string // masked; empty is null
	CardType              string // Visa, MasterCard, …
	ExpMonth, ExpYear     int    // zero is null
	HolderName            string
	Country               string // three letters
	PostalCode            string
	BAID, Email           string // PayPal
	IBAN                  string // masked
	BankTransferType      string // SEPA, …
	BankName              string
	BankAccountNumber     string // masked
	BankABACode           string
	BankAccountType       string
	MandateID             string
	ConsecutiveFailures   int
	LastTransactionStatus string         // "Approved", …; empty is null
	Extra                 map[string]any // more fields of the v1 item, e.g. googleCardNumber
	CreatedAt, UpdatedAt  time.Time
}

// Subscription is one version of a subscription. Number is the same in all
// versions; ID, and the ids of rate plans and charges, are not.
type Subscription struct {
	ID, Number, AccountID  string
	Version                int
	OriginalID, PreviousID string
	LatestVersion          bool

	Status   string // see StatusActive and its siblings; default Active
	TermType string // Termed (default) or Evergreen

	ContractEffectiveDate  Date // default: today
	ServiceActivationDate  Date
	CustomerAcceptanceDate Date
	StartDate              Date // default: ContractEffectiveDate
	EndDate                Date
	TermStartDate          Date // default: StartDate
	TermEndDate            Date // default when termed: TermStartDate + InitialTerm
	CancelledDate          Date // the day a cancellation takes effect

	InitialTerm           int // default 12 when termed
	InitialTermPeriodType string
	CurrentTerm           int
	CurrentTermPeriodType string
	RenewalTerm           int
	RenewalTermPeriodType string
	RenewalSetting        string
	AutoRenew             bool

	Currency     string // default: the account's
	CancelReason string
	Notes        string
	RatePlans    []RatePlan
	CustomFields map[string]any

	CreatedAt, UpdatedAt time.Time

	seq int // order of changes under a clock that stands still
}

// RatePlan is a rate plan on one subscription version.
type RatePlan struct {
	ID, SubscriptionID   string
	OriginalID           string // the id in the version that added the plan
	ProductID            string
	ProductName          string
	ProductRatePlanID    string
	ProductSKU           string
	Name                 string
	LastChangeType       string // ChangeAdd, ChangeUpdate or ChangeRemove
	Charges              []Charge
	CustomFields         map[string]any
	CreatedAt, UpdatedAt time.Time
}

// Charge is a charge of a rate plan. Price is in minor units of Currency, per
// unit of Quantity.
type Charge struct {
	ID, RatePlanID       string
	OriginalID           string // the id in the version that added the charge
	Number               string // stable over all versions
	ProductChargeID      string
	Name                 string
	Type                 string // "Recurring" (default), "OneTime" or "Usage"
	Model                string // "FlatFee" (default), "PerUnit", …
	Price                int64
	TaxPercent           float64 // on top of Price; shown by billing previews
	Currency             string  // default: the subscription's
	Quantity             float64
	UnitOfMeasure        string
	BillingPeriod        string // "Month" (default), "Quarter", "Semi_Annual", "Annual", "Week"
	EffectiveStartDate   Date   // default: the subscription's start
	EffectiveEndDate     Date   // default: the term's end
	ChargedThroughDate   Date   // empty: not billed yet
	ProcessedThroughDate Date
	Segment              int
	CustomFields         map[string]any
	CreatedAt, UpdatedAt time.Time
}

// Order is what made a subscription version. An Order given to a method that
// changes a subscription may be the zero value: number, dates, status and
// actions are then filled in.
type Order struct {
	ID, Number    string
	AccountNumber string
	Date          Date   // default: today
	Status        string // default Completed
	Description   string
	// Source and InitiatedSource are the custom fields Source__c and
	// InitiatedSource__c, which Limio sets; empty ones are not sent.
	Source, InitiatedSource string
	CustomFields            map[string]any
	Actions                 []OrderAction
	SubscriptionNumber      string
	BaseVersion, NewVersion int
	CreatedAt               time.Time

	seq int
}

// OrderAction is one action of an order.
type OrderAction struct {
	// Type is CreateSubscription, TermsAndConditions, AddProduct,
	// UpdateProduct, RemoveProduct, RenewSubscription, CancelSubscription,
	// OwnerTransfer, Suspend, Resume or ChangePlan.
	Type          string
	EffectiveDate Date   // default: the order's date
	ID            string // made when empty
}

func (a Account) clone() Account {
	a.CustomFields = maps.Clone(a.CustomFields)
	if a.CRMID != nil {
		a.CRMID = new(*a.CRMID)
	}
	a.BillTo, a.SoldTo, a.ShipTo = a.BillTo.clone(), a.SoldTo.clone(), a.ShipTo.clone()
	return a
}

func (c *Contact) clone() *Contact {
	if c == nil {
		return nil
	}
	out := *c
	out.CustomFields = maps.Clone(c.CustomFields)
	return &out
}

func (p PaymentMethod) clone() PaymentMethod {
	p.Extra = maps.Clone(p.Extra)
	return p
}

func (s Subscription) clone() Subscription {
	s.CustomFields = maps.Clone(s.CustomFields)
	plans := s.RatePlans
	s.RatePlans = make([]RatePlan, len(plans))
	for i, p := range plans {
		p.CustomFields = maps.Clone(p.CustomFields)
		charges := p.Charges
		p.Charges = make([]Charge, len(charges))
		for j, c := range charges {
			c.CustomFields = maps.Clone(c.CustomFields)
			p.Charges[j] = c
		}
		s.RatePlans[i] = p
	}
	return s
}

func (o Order) clone() Order {
	o.CustomFields = maps.Clone(o.CustomFields)
	o.Actions = append([]OrderAction(nil), o.Actions...)
	return o
}
