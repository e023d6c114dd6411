package world

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
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
	// Trouble breaks every simulator all the time until the traffic is over,
	// beside what happens without NoFaults.
	Trouble Trouble
	// Lose is the share of changes in Stripe, 0 to 1, of which no webhook arrives.
	Lose float64
	// Unannounced leaves it to the program under test to find what nothing
	// announced: without it Run ends by pointing at every record that changed.
	Unannounced bool
	// Once leaves every change to the messages that it made: Run ends by pointing
	// only at what nothing has told of at all, the records that differed when the
	// world began.
	Once bool
	// Settle is the settling time that the program under test is configured
	// with. Default 3s.
	Settle time.Duration
	// Window is the window of its brake. Default 10s.
	Window time.Duration
}

func (c Config) withDefaults() Config {
	if c.Clock == nil {
		c.Clock = httpsim.RunningClock()
	}
	c.Accounts, c.Subscriptions = cmp.Or(c.Accounts, 120), cmp.Or(c.Subscriptions, 160)
	c.Rate = cmp.Or(c.Rate, 150)
	c.Settle, c.Window = cmp.Or(c.Settle, 3*time.Second), cmp.Or(c.Window, 10*time.Second)
	return c
}

// World is a company. It is safe for concurrent use. Create it with New.
type World struct {
	cfg    Config
	clock  *httpsim.Clock
	zuora  *zuora.Server
	stripe *stripe.Server
	limio  *limio.Server
	keys   func() keys // made when first needed
	access Credentials

	mu       sync.Mutex
	rnd      *rand.Rand
	accounts []*account
	byID     map[string]*account
	users    []*User
	subs     []*subscription
	bySub    map[string]*subscription // by Stripe id
	seeded   int                      // the last entry of Limio's write log that is the world's own
	windows  []window
	counter  int // makes names and values that were never there before
}

// New builds a world. It starts nothing. It panics when the world it was taught
// to build is not consistent, which is a fault of this package.
func New(cfg Config) *World {
	cfg = cfg.withDefaults()
	w := &World{
		cfg: cfg, clock: cfg.Clock, byID: map[string]*account{}, bySub: map[string]*subscription{},
		rnd: rand.New(rand.NewPCG(cfg.Seed, 0x686f7473796e63)),
	}
	w.access = Credentials{
		ZuoraClientID: "zuora-client", ZuoraClientSecret: w.hex(32), LimioClientID: "limio-client", LimioClientSecret: w.hex(32),
		StripeKey: "sk_test_" + w.hex(24), WebhookSecret: "whsec_" + w.hex(32),
	}
	w.keys = sync.OnceValue(func() keys { return newKeys(cfg.Seed) })
	w.zuora = zuora.New(zuora.Config{
		Clock: cfg.Clock, Seed: cfg.Seed, ClientID: w.access.ZuoraClientID, ClientSecret: w.access.ZuoraClientSecret,
		IndexedFields: []string{"Account." + LookupField},
	})
	w.stripe = stripe.New(stripe.Config{
		Clock: cfg.Clock, Seed: cfg.Seed, SecretKey: w.access.StripeKey, WebhookSecrets: []string{w.access.WebhookSecret},
		// A draft lasts seconds and a payment that failed is not tried again by
		// itself: a day of billing has to fit into a minute.
		DraftFor: draftFor, DunningDays: []int{}, DunningEnd: stripe.DunningPastDue,
	})
	w.limio = limio.New(limio.Config{
		Clock: cfg.Clock, Seed: cfg.Seed, ClientID: w.access.LimioClientID, ClientSecret: w.access.LimioClientSecret,
		Zuora: w.zuoraSource, Stripe: w.stripeSource, ErrorStyle: limio.ErrorRotate,
	})
	if err := w.seed(); err != nil {
		panic(fmt.Sprintf("world: seed %d: %v", cfg.Seed, err))
	}
	return w
}

const draftFor = 10 * time.Second

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
func (w *World) ZuoraHandler() http.Handler { return w.zuora }

// StripeHandler serves the Stripe API.
func (w *World) StripeHandler() http.Handler { return w.stripe }

// LimioHandler serves the Limio API.
func (w *World) LimioHandler() http.Handler { return w.limio }

// Zuora returns the simulated tenant.
func (w *World) Zuora() *zuora.Server { return w.zuora }

// Stripe returns the simulated Stripe account.
func (w *World) Stripe() *stripe.Server { return w.stripe }

// Limio returns the simulated Limio.
func (w *World) Limio() *limio.Server { return w.limio }

// Clock returns the time of the world.
func (w *World) Clock() *httpsim.Clock { return w.clock }

// Credentials returns what the simulators accept.
func (w *World) Credentials() Credentials { return w.access }

// Users returns everybody whose login leads to an account, in a fixed order.
func (w *World) Users() []User {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]User, len(w.users))
	for i, u := range w.users {
		out[i] = *u
		out[i].Accounts = slices.Clone(u.Accounts)
	}
	return out
}

// Accounts returns every Zuora account, in the order they were made.
func (w *World) Accounts() []Account {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Account, len(w.accounts))
	for i, a := range w.accounts {
		out[i] = a.Account
	}
	return out
}

// Subscriptions returns every Stripe subscription, in the order they were made.
func (w *World) Subscriptions() []Subscription {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Subscription, len(w.subs))
	for i, s := range w.subs {
		out[i] = s.Subscription
	}
	return out
}

// hex makes up an id of n hexadecimal digits.
func (w *World) hex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdef"[w.rnd.IntN(16)]
	}
	return string(b)
}

// alnum makes up an id of n letters and digits, as Stripe's are.
func (w *World) alnum(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[w.rnd.IntN(len(letters))]
	}
	return string(b)
}

// next is a number that was never given before.
func (w *World) next() int {
	w.counter++
	return w.counter
}

func one[T any](rnd *rand.Rand, from []T) T { return from[rnd.IntN(len(from))] }
