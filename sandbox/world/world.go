package world

import (
	"context"
	"net/http"
	"time"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
	"hotsync/sandbox/zuora"
)

// ObservedPrefix begins the ids of the Stripe subscriptions that the demo only
// observes (stripe:subscription:sub_observe*). Run makes both sides of them
// equal before it ends.
const ObservedPrefix = "sub_observe"

// LookupField is the Zuora account field that holds the subject of a login
// (hot-sync.txt, option B). It is indexed.
const LookupField = "LimioExternalId__c"

// LinkKey is the Stripe metadata key that holds the Limio subscription id.
const LinkKey = "limio_subscription_id"

// SourceKey is the Stripe metadata key that says who asked for a change.
const SourceKey = "limio_source"

// Config says what world to build. The zero value is a usable one.
type Config struct {
	Seed  uint64
	Clock *httpsim.Clock // nil: a running clock

	// Accounts is the number of Zuora accounts and Subscriptions that of Stripe
	// subscriptions, both beside the hard cases. Default 120 and 160.
	Accounts, Subscriptions int

	// Rate is how many messages a second Run makes on average. Default 150.
	Rate float64
	// Duration is how long Run makes traffic. Zero: until its context ends.
	Duration time.Duration
	// NoFaults leaves the simulators healthy during Run, apart from the account
	// that Zuora refuses to show.
	NoFaults bool
	// Settle is the settling time that the program under test is configured
	// with. Default 3s.
	Settle time.Duration
	// Window is the window of its brake. Default 10s.
	Window time.Duration
}

// World is a company. It is safe for concurrent use. Create it with New.
type World struct {
	cfg Config
}

// New builds a world. It starts nothing.
func New(cfg Config) *World { panic("world: under construction") }

// Credentials are what the simulators accept.
type Credentials struct {
	ZuoraClientID, ZuoraClientSecret string
	LimioClientID, LimioClientSecret string
	StripeKey                        string
	WebhookSecret                    string
}

// Provider is an identity provider. Either names a Zuora account id in Claim
// (Lookup false; a string or an array), or a value to be looked up in
// LookupField.
type Provider struct {
	Name, Issuer, Audience string
	Claim                  string
	Lookup                 bool
	LookupField            string
}

// User is somebody who logs in.
type User struct {
	ID       string // the token's sub
	Provider string
	Accounts []string // ids of the Zuora accounts that a login must sync
}

// Account is a Zuora account of the world.
type Account struct {
	ID       string
	User     string // whose login leads to it; empty for one that no login can reach
	Migrated bool   // Limio held it when the world began
	Drifted  bool   // and differed from Zuora
}

// Subscription is a Stripe subscription of the world.
type Subscription struct {
	ID       string // sub_…
	Limio    string // sub-…; empty for one that Limio does not know
	Customer string // cus_…
	Observed bool
	Drifted  bool // Limio differed from Stripe when the world began
}

// ZuoraHandler serves the Zuora API.
func (w *World) ZuoraHandler() http.Handler { return nil }

// StripeHandler serves the Stripe API.
func (w *World) StripeHandler() http.Handler { return nil }

// LimioHandler serves the Limio API.
func (w *World) LimioHandler() http.Handler { return nil }

// JWKSHandler serves JWKS at every path.
func (w *World) JWKSHandler() http.Handler { return nil }

// JWKS returns the public keys of all providers as a JSON Web Key Set.
func (w *World) JWKS() []byte { return nil }

// Zuora returns the simulated tenant.
func (w *World) Zuora() *zuora.Server { return nil }

// Stripe returns the simulated Stripe account.
func (w *World) Stripe() *stripe.Server { return nil }

// Limio returns the simulated Limio.
func (w *World) Limio() *limio.Server { return nil }

// Clock returns the time of the world.
func (w *World) Clock() *httpsim.Clock { return nil }

// Credentials returns what the simulators accept.
func (w *World) Credentials() Credentials { return Credentials{} }

// Providers returns the identity providers: first one that names account ids,
// then one whose sub is looked up.
func (w *World) Providers() []Provider { return nil }

// Users returns everybody whose login leads to an account, in a fixed order.
func (w *World) Users() []User { return nil }

// Accounts returns every Zuora account, in the order they were made.
func (w *World) Accounts() []Account { return nil }

// Subscriptions returns every Stripe subscription, in the order they were made.
func (w *World) Subscriptions() []Subscription { return nil }

// Run makes traffic until Config.Duration has passed or ctx ends, whichever is
// first, and hands every message to emit, one after the other. Then it
// finishes what is under way, heals all faults, makes observed records equal
// and announces once more every record that changed; that takes some seconds,
// whatever ctx says. The error is emit's, or a fault of the world itself.
func (w *World) Run(ctx context.Context, emit func(Message) error) (Produced, error) {
	return Produced{}, nil
}

// Difference is a field in which Limio is not what its billing system says.
type Difference struct {
	System string // "zuora" or "stripe"
	ID     string // Zuora account id, or Stripe subscription id
	Field  string // such as "subscription A-S00000012 status"
	Want   string
	Have   string
}

// Drift compares both sides of every record that must be in sync.
func (w *World) Drift() []Difference { return nil }

// Loop is a write in Limio that should not have been made.
type Loop struct {
	Rule   string // "noop", "echo", "flapping" or "twice"
	Object string // Limio id
	Detail string
	At     time.Time
}

// Loops reads Limio's write log.
func (w *World) Loops() []Loop { return nil }

// Calls returns how many calls each simulator has had: "zuora", "stripe",
// "limio", tokens included.
func (w *World) Calls() map[string]int { return nil }
