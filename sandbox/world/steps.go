package world

// OddLogin is a login from which nothing must follow.
type OddLogin string

// The odd logins. Those from Forged on are bad input, the others are good
// messages without a target.
const (
	NoClaim      OddLogin = "no_claim"
	ClaimNull    OddLogin = "claim_null"
	ClaimEmpty   OddLogin = "claim_empty"
	ClaimNoneOf  OddLogin = "claim_empty_array"
	ClaimQuotes  OddLogin = "claim_quotes"
	ClaimControl OddLogin = "claim_control_characters"
	NoMatch      OddLogin = "no_match"
	Ambiguous    OddLogin = "ambiguous_match"

	Forged          OddLogin = "forged"
	Expired         OddLogin = "expired"
	AlgNone         OddLogin = "alg_none"
	WrongAudience   OddLogin = "wrong_audience"
	UnknownProvider OddLogin = "unknown_provider"
)

// OddLogins lists them all.
func OddLogins() []OddLogin { return nil }

// Bad reports whether the message must be rejected.
func (o OddLogin) Bad() bool { return false }

// PoisonKind is a kind of message that nobody can read or believe.
type PoisonKind string

// The poison.
const (
	NotJSON        PoisonKind = "not_json"
	TruncatedJSON  PoisonKind = "truncated_json"
	TwoMegabytes   PoisonKind = "two_megabytes"
	Binary         PoisonKind = "binary"
	WrongSignature PoisonKind = "wrong_signature" // Stripe only
	EmptyValue     PoisonKind = "empty_value"
	JSONArray      PoisonKind = "json_array"
)

// Poisons lists all kinds.
func Poisons() []PoisonKind { return nil }

// Login is a login of a user (User.ID).
func (w *World) Login(user string) (Step, error) { return Step{}, nil }

// OddLogin is a login from which nothing must follow.
func (w *World) OddLogin(kind OddLogin) (Step, error) { return Step{}, nil }

// Poison is a message of a kind on a topic.
func (w *World) Poison(topic string, kind PoisonKind) (Step, error) { return Step{}, nil }

// RenewSubscription renews a Stripe subscription with all its webhooks.
func (w *World) RenewSubscription(id string) (Step, error) { return Step{}, nil }

// Dunning fails a renewal; some time later the subscription is cancelled for
// want of payment.
func (w *World) Dunning(id string) (Step, error) { return Step{}, nil }

// ChangeCard gives the customer of a Stripe subscription a new default card.
func (w *World) ChangeCard(id string) (Step, error) { return Step{}, nil }

// UpdateExpiry has the card network change the expiry of the default card.
func (w *World) UpdateExpiry(id string) (Step, error) { return Step{}, nil }

// CancelAtPeriodEnd lets a Stripe subscription run out.
func (w *World) CancelAtPeriodEnd(id string) (Step, error) { return Step{}, nil }

// ChangePlanInStripe changes the price of a subscription in the dashboard.
func (w *World) ChangePlanInStripe(id string) (Step, error) { return Step{}, nil }

// DeleteCustomer deletes the Stripe customer of a subscription.
func (w *World) DeleteCustomer(id string) (Step, error) { return Step{}, nil }

// Basil renews a subscription whose webhooks are in the shape of API version
// 2025-03-31.basil.
func (w *World) Basil(id string) (Step, error) { return Step{}, nil }

// UnknownSubscription is an event of a subscription that Limio does not know.
func (w *World) UnknownSubscription() (Step, error) { return Step{}, nil }

// IrrelevantEvent is an event that changes nothing in Limio.
func (w *World) IrrelevantEvent() (Step, error) { return Step{}, nil }

// ChangePlanInZuora replaces a rate plan of an account; its user logs in.
func (w *World) ChangePlanInZuora(account string) (Step, error) { return Step{}, nil }

// RenewInZuora renews a subscription of an account; its user logs in.
func (w *World) RenewInZuora(account string) (Step, error) { return Step{}, nil }

// CancelInZuora cancels a subscription of an account, today or in the future;
// its user logs in.
func (w *World) CancelInZuora(account string) (Step, error) { return Step{}, nil }

// ChangePaymentInZuora gives an account a new default payment method; its user
// logs in.
func (w *World) ChangePaymentInZuora(account string) (Step, error) { return Step{}, nil }

// MoveInZuora changes the name and address of an account; its user logs in.
func (w *World) MoveInZuora(account string) (Step, error) { return Step{}, nil }

// ShopOrder is an order placed in the shop for a Stripe subscription or a
// Zuora account. The billing system changes at once, Limio's own record when
// Next is called.
func (w *World) ShopOrder(id string) (Step, error) { return Step{}, nil }

// SalesforceOrder is the same from Salesforce.
func (w *World) SalesforceOrder(id string) (Step, error) { return Step{}, nil }

// Flap has somebody in Limio undo a change that was synced from Stripe, until
// the brake must hold. It needs a running daemon: what follows waits, for ten
// seconds at most, until the change has been written.
func (w *World) Flap(id string) (Step, error) { return Step{}, nil }

// Refused changes a Stripe subscription that Limio refuses to have written for
// some seconds; then it is announced again.
func (w *World) Refused(id string) (Step, error) { return Step{}, nil }
