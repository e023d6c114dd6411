package stripe

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"hotsync/sandbox/httpsim"
)

// The versions the sandbox renders.
const (
	APIVersion      = "2023-10-16"
	APIVersionBasil = "2025-03-31.basil"
)

// DunningEnd is what happens to a subscription whose last retry failed.
type DunningEnd string

// The choices of Stripe's "manage failed payments" settings.
const (
	DunningCancel  DunningEnd = "cancel"
	DunningUnpaid  DunningEnd = "mark_unpaid"
	DunningPastDue DunningEnd = "leave_past_due"
)

// Config says what kind of Stripe account this is. The zero value is a usable
// one on the machine's clock.
type Config struct {
	// Clock is the time of the account; nil means a running clock.
	Clock *httpsim.Clock
	// Seed decides every id and every random fault.
	Seed uint64
	// SecretKey is the one API key that is let in; default "sk_test_sandbox".
	SecretKey string
	// WebhookSecrets sign the events; two while a secret is rolled. Default
	// "whsec_sandbox".
	WebhookSecrets []string
	// APIVersion is the account's version, for requests without a
	// Stripe-Version header. Default APIVersion.
	APIVersion string
	// WebhookAPIVersion is the version events are rendered in; default the
	// account's.
	WebhookAPIVersion string
	// Basil renders everything in APIVersionBasil, whatever is asked for.
	Basil bool

	// UpcomingLead is how long before a renewal invoice.upcoming is sent;
	// default 7 days.
	UpcomingLead time.Duration
	// DraftFor is how long a renewal's invoice stays a draft; default 1 hour.
	DraftFor time.Duration
	// DunningDays are the days between one attempt to collect and the next;
	// default 3, 5, 7. An empty, non-nil slice means no retries.
	DunningDays []int
	// DunningEnd follows the last retry; default DunningCancel. New panics on
	// a value that is none of the three.
	DunningEnd DunningEnd

	// KeepEvents bounds the events kept for /v1/events, the oldest go first;
	// default 100,000. They go after 30 days in any case.
	KeepEvents int
	// SearchLag is how long a new subscription is missing from search.
	SearchLag time.Duration
	// RetryDelays are the waits between the attempts to deliver an event, on
	// the simulated clock. Default: growing from 1 minute, 3 days in all.
	RetryDelays []time.Duration
}

func (c *Config) setDefaults() {
	if c.Clock == nil {
		c.Clock = httpsim.RunningClock()
	}
	def := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	def(&c.SecretKey, "sk_test_sandbox")
	def(&c.APIVersion, APIVersion)
	def(&c.WebhookAPIVersion, c.APIVersion)
	def((*string)(&c.DunningEnd), string(DunningCancel))
	if len(c.WebhookSecrets) == 0 {
		c.WebhookSecrets = []string{"whsec_sandbox"}
	}
	if c.UpcomingLead == 0 {
		c.UpcomingLead = 7 * 24 * time.Hour
	}
	if c.DraftFor == 0 {
		c.DraftFor = time.Hour
	}
	if c.DunningDays == nil {
		c.DunningDays = []int{3, 5, 7}
	}
	if c.KeepEvents == 0 {
		c.KeepEvents = 100_000
	}
	if c.RetryDelays == nil {
		c.RetryDelays = []time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
			5 * time.Hour, 10 * time.Hour, 12 * time.Hour, 18 * time.Hour, 24 * time.Hour}
	}
	c.WebhookSecrets = slices.Clone(c.WebhookSecrets)
	c.DunningDays = slices.Clone(c.DunningDays)
}

// Server is one Stripe account. It is safe for concurrent use. Create it with
// New.
type Server struct {
	*httpsim.Sim // clock, faults and call counts; an http.Handler

	cfg Config

	mu sync.Mutex
	// webhookVersion, basil, secrets and quiet can be changed while running.
	webhookVersion string
	basil          bool
	secrets        []string
	quiet          bool

	ids      *rand.Rand // object ids
	requests *rand.Rand // request ids: apart, so that reads do not change what is created
	seq      uint64

	customers map[string]*customer
	methods   map[string]*paymentMethod
	subs      map[string]*subscription
	invoices  map[string]*invoice
	charges   map[string]*charge
	intents   map[string]*intent
	prices    map[string]Price
	priceKeys map[string]string // price id by everything that tells prices apart
	products  map[string]product
	productID map[string]string // by name

	subList     timeline[*subscription]
	invoiceList timeline[*invoice]
	eventList   timeline[*event]
	events      map[string]*event
	outbox      []*event

	agenda agenda

	encoder encoder
	buffers sync.Pool // of *[]byte, for answers
}

// New returns an empty account.
func New(cfg Config) *Server {
	cfg.setDefaults()
	if !slices.Contains([]DunningEnd{DunningCancel, DunningUnpaid, DunningPastDue}, cfg.DunningEnd) {
		panic(fmt.Sprintf("stripe sandbox: DunningEnd %q is not one of cancel, mark_unpaid, leave_past_due", cfg.DunningEnd))
	}
	s := &Server{
		Sim:            httpsim.New(cfg.Clock, cfg.Seed),
		cfg:            cfg,
		webhookVersion: cfg.WebhookAPIVersion,
		basil:          cfg.Basil,
		secrets:        cfg.WebhookSecrets,
		ids:            rand.New(rand.NewPCG(cfg.Seed, 1)),
		requests:       rand.New(rand.NewPCG(cfg.Seed, 2)),
		customers:      map[string]*customer{},
		methods:        map[string]*paymentMethod{},
		subs:           map[string]*subscription{},
		invoices:       map[string]*invoice{},
		charges:        map[string]*charge{},
		intents:        map[string]*intent{},
		prices:         map[string]Price{},
		priceKeys:      map[string]string{},
		products:       map[string]product{},
		productID:      map[string]string{},
		events:         map[string]*event{},
	}
	s.Render = s.renderFault
	s.routes()
	return s
}

// SetBasil switches Config.Basil while running.
func (s *Server) SetBasil(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.basil = on
}

// SetWebhookAPIVersion changes the version that further events are rendered in.
func (s *Server) SetWebhookAPIVersion(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhookVersion = version
}

// SetWebhookSecrets replaces the signing secrets; give the old and the new one
// while a secret is rolled.
func (s *Server) SetWebhookSecrets(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = slices.Clone(secrets)
}

// SetQuiet stops the making of events while on, for building a world whose
// past nobody needs to hear of.
func (s *Server) SetQuiet(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet = on
}

// now is the simulated time in Stripe's resolution.
func (s *Server) now() time.Time { return s.Clock.Now().Truncate(time.Second) }

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func randomID(r *rand.Rand, prefix string, n int) string {
	b := make([]byte, len(prefix), len(prefix)+n)
	copy(b, prefix)
	for range n {
		b = append(b, base62[r.IntN(len(base62))])
	}
	return string(b)
}

// newID makes an id of Stripe's usual length for its kind.
func (s *Server) newID(prefix string) string {
	n := 24
	switch prefix {
	case "cus_", "prod_", "si_", "req_":
		n = 14
	}
	return randomID(s.ids, prefix, n)
}

func (s *Server) nextSeq() uint64 {
	s.seq++
	return s.seq
}

// Subscriptions returns every subscription, ended ones too, oldest first.
func (s *Server) Subscriptions() []Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Subscription, 0, len(s.subs))
	for _, e := range s.subList.sorted() {
		out = append(out, e.v.copy())
	}
	return out
}

// Subscription returns one subscription and whether it exists.
func (s *Server) Subscription(id string) (Subscription, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.subs[id]; sub != nil {
		return sub.copy(), true
	}
	return Subscription{}, false
}

// Invoices returns the invoices of a subscription, oldest first.
func (s *Server) Invoices(subID string) []Invoice {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subs[subID]
	if sub == nil {
		return nil
	}
	out := make([]Invoice, 0, len(sub.invoices))
	for _, inv := range sub.invoices {
		out = append(out, inv.copy())
	}
	return out
}

// Upcoming returns the next invoice of a subscription, without an ID, and
// whether there is one.
func (s *Server) Upcoming(subID string) (Invoice, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.subs[subID]; sub != nil {
		if inv := s.upcoming(sub); inv != nil {
			return inv.copy(), true
		}
	}
	return Invoice{}, false
}

// Customer returns one customer, deleted ones too, and whether it exists.
func (s *Server) Customer(id string) (Customer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.customers[id]; c != nil {
		return c.copy(), true
	}
	return Customer{}, false
}

// PaymentMethod returns one payment method, detached ones and legacy cards
// too, and whether it exists.
func (s *Server) PaymentMethod(id string) (PaymentMethod, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.methods[id]; p != nil {
		return p.copy(), true
	}
	return PaymentMethod{}, false
}
