package limio

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"hotsync/sandbox/httpsim"
)

// Config says what a simulated Limio is like. Every field has a sane zero
// value.
type Config struct {
	// Clock is the simulated time; nil runs with the machine's clock.
	Clock *httpsim.Clock
	// Seed decides every id, reference and random choice.
	Seed uint64

	// ClientID and ClientSecret are the only credentials that are accepted.
	// An empty ClientID accepts every pair that is not empty.
	ClientID, ClientSecret string
	// TokenLife is how long an access token is good; zero is one hour
	// (limio.md 1).
	TokenLife time.Duration

	// Zuora and Stripe are what the sync endpoints read. Without one, its
	// endpoint answers 502.
	Zuora  ZuoraSource
	Stripe StripeSource
	// UnknownStatus is the answer of a sync endpoint to a subscription that
	// does not exist; zero is 502 (limio.md 7.4 and 7.5).
	UnknownStatus int
	// SyncEventType is data.type of the event of a sync; empty is
	// "subscription.sync". Limio does not document it.
	SyncEventType string
	// RecreateSchedules makes the Stripe sync cancel all future schedules and
	// make new ones at every call, as the letter of the product page has it.
	RecreateSchedules bool

	// Catalog holds the offers that may be ordered, by offer id. If it is
	// empty, every offer may be ordered, and costs nothing.
	Catalog map[string]CatalogOffer
	// ZuoraIPs are the only addresses that may call POST /api/events/zuora;
	// empty allows all.
	ZuoraIPs []netip.Prefix

	// ErrorStyle is how error bodies look; see SetErrorStyle.
	ErrorStyle ErrorStyle
	// KeepWrites bounds the write log; the oldest entries go first. Zero is
	// 500,000, and below zero nothing is kept: WriteCount counts all the same.
	KeepWrites int
	// ForgetChanges leaves Write.Changed empty, for crowds of objects.
	ForgetChanges bool
}

// CatalogOffer is an offer that may be ordered.
type CatalogOffer struct {
	Name     string
	Amount   int64  // a month's price in minor units
	Currency string // ISO 4217, upper case
	Months   int    // term length; zero is 12
}

// Server is a simulated Limio. It is an http.Handler through the frame that it
// embeds, and is safe for concurrent use. Create it with New.
type Server struct {
	*httpsim.Sim
	cfg Config
	key [32]byte // signs access tokens

	mu     sync.Mutex // guards everything below
	rnd    *rand.Rand
	store  store
	orders []pendingOrder
	doomed []error // how the next orders that are carried out will fail
	style  ErrorStyle
	errors int // counts error bodies, for ErrorRotate
	epoch  int // tokens of another epoch are revoked
	tokens int // counts tokens, so that no two are equal
}

// New returns an empty Limio. It starts nothing.
func New(cfg Config) *Server {
	if cfg.Clock == nil {
		cfg.Clock = httpsim.RunningClock()
	}
	if cfg.TokenLife == 0 {
		cfg.TokenLife = time.Hour
	}
	if cfg.UnknownStatus == 0 {
		cfg.UnknownStatus = http.StatusBadGateway
	}
	if cfg.SyncEventType == "" {
		cfg.SyncEventType = "subscription.sync"
	}
	if cfg.KeepWrites == 0 {
		cfg.KeepWrites = 500_000
	}
	s := &Server{
		Sim:   httpsim.New(cfg.Clock, cfg.Seed),
		cfg:   cfg,
		key:   sha256.Sum256(fmt.Appendf(nil, "limio token key %d", cfg.Seed)),
		rnd:   rand.New(rand.NewPCG(cfg.Seed, cfg.Seed^0x6c696d696f)),
		store: newStore(cfg.KeepWrites, cfg.ForgetChanges),
		style: cfg.ErrorStyle,
	}
	s.Render = s.renderFault
	s.routes()
	return s
}

func (s *Server) routes() {
	s.Handle("POST /oauth2/token", s.token)
	s.Handle("POST /api/events/zuora", s.zuoraEvent) // by source address, no token
	s.api("/api/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, http.StatusNotFound, "no such endpoint: "+r.Method+" "+r.URL.Path)
	})

	s.api("GET /api/objects/{service}/{path_type}", s.listObjects)
	s.api("GET /api/objects/{service}/{path_type}/{id}", s.getObject)
	s.api("PUT /api/objects/{service}/{path_type}/{id}", s.putObject)
	s.api("DELETE /api/objects/{service}/{path_type}/{id}", s.deleteObject)
	s.api("GET /api/objects/{service}/{path_type}/{id}/related", s.relatedObjects)
	s.api("POST /api/objects/{service}/{path_type}", s.postObject)
	s.api("GET /api/objects/limio/events/{id}/events", s.eventsOfEvent)
	s.api("GET /api/objects/salesforce/identities/{id}/subscriptions", s.salesforceSubscriptions)

	s.api("POST /api/objects/externalidentity", s.postExternalIdentity)
	s.api("POST /api/objects/externalidentity/{owner}", s.postExternalIdentity)
	s.api("DELETE /api/objects/externalidentity", s.deleteExternalIdentity)
	s.api("DELETE /api/objects/externalidentity/{owner}", s.deleteExternalIdentity)
	s.api("POST /api/objects/owner_change", s.ownerChange)

	s.api("POST /api/timeline/subscription", s.postTimeline)
	s.api("GET /api/timeline/{path_type}/{id}", s.getTimeline)

	s.api("POST /api/order", s.postOrder)
	s.api("POST /api/admin/order", s.postAdminOrder)
	s.api("POST /api/order/preview", s.previewOrder)

	s.api("POST /api/plugins/zuora/sync/subscription/{id}", s.zuoraSync)
	s.api("POST /api/plugins/stripe/sync/subscription/{id}", s.stripeSync)
}

// api registers a route that needs a bearer token.
func (s *Server) api(route string, h http.HandlerFunc) {
	s.Handle(route, func(w http.ResponseWriter, r *http.Request) {
		if why := s.unauthorized(r); why != "" {
			s.fail(w, http.StatusUnauthorized, why)
			return
		}
		h(w, r)
	})
}
