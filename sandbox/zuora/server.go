package zuora

import (
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hotsync/sandbox/httpsim"
)

// Config says what tenant to simulate. The zero value is a usable one.
type Config struct {
	Clock *httpsim.Clock // default: the machine's time
	Seed  uint64         // ids and random choices follow it

	ClientID, ClientSecret string        // empty: any pair that is not empty is taken
	TokenLife              time.Duration // default one hour

	// DefaultVersion is the Zuora-Version of calls that name none. Default
	// "186.0", as with tenants that were never moved (zuora-stripe.md Z1).
	DefaultVersion string
	// StringCodes sends error codes as strings. See SetStringCodes.
	StringCodes bool
	// SingleVersioned leaves isLatestVersion, originalId and
	// previousSubscriptionId out of Object Query, along with old versions.
	SingleVersioned bool
	// IndexedFields are the custom fields that Object Query may filter by, such
	// as "Account.LimioExternalId__c", which alone is the default.
	IndexedFields []string
	// Zone is the tenant's time zone, in which zone-less times are. Default UTC.
	Zone *time.Location

	// The limits are always told in headers. They are enforced when set here.
	CallsPerMinute         int // shown as 50,000 when zero
	DefaultConcurrency     int // shown as 40 when zero
	ObjectQueryConcurrency int // shown as 80 when zero
	TokensPerMinute        int // zero: no limit
}

// Server is a simulated tenant. Create it with New.
type Server struct {
	*httpsim.Sim
	*state

	cfg         Config
	stringCodes atomic.Bool
	indexed     map[string]bool
	objects     map[string]*object // by the name ZOQL knows, lower case
	limits      limits
	tokens      tokens
	locators    locators
	callouts    callouts
	requests    atomic.Uint64
}

// New returns a tenant without accounts.
func New(cfg Config) *Server {
	if cfg.Clock == nil {
		cfg.Clock = httpsim.RunningClock()
	}
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	if cfg.IndexedFields == nil {
		cfg.IndexedFields = []string{"Account.LimioExternalId__c"}
	}
	cfg.TokenLife = cmp.Or(cfg.TokenLife, time.Hour)
	cfg.DefaultVersion = cmp.Or(cfg.DefaultVersion, "186.0")
	s := &Server{
		Sim: httpsim.New(cfg.Clock, cfg.Seed), state: newState(cfg.Seed), cfg: cfg,
		indexed:  map[string]bool{},
		tokens:   tokens{issued: map[string]time.Time{}},
		locators: locators{open: map[string]*locator{}},
		callouts: newCallouts(cfg.Seed),
	}
	s.stringCodes.Store(cfg.StringCodes)
	for _, f := range cfg.IndexedFields {
		s.indexed[strings.ToLower(f)] = true
		s.customFields[f] = true
	}
	s.objects = s.describe()
	s.Render = s.renderFault
	s.routes()
	return s
}

// SetStringCodes switches whether error codes are strings instead of numbers;
// Zuora does both (zuora-stripe.md Z1).
func (s *Server) SetStringCodes(on bool) { s.stringCodes.Store(on) }

func (s *Server) routes() {
	s.Handle("POST /oauth/token", s.token)
	s.api("GET /v1/accounts/{key}", s.getAccount)
	s.api("GET /v1/accounts/{key}/summary", s.getSummary)
	s.api("GET /v1/accounts/{key}/payment-methods", s.getPaymentMethods)
	s.api("GET /v1/accounts/{key}/payment-methods/default", s.getDefaultPaymentMethod)
	s.api("GET /v1/payment-methods/{id}", s.getPaymentMethod)
	s.api("GET /v1/subscriptions/accounts/{key}", s.getSubscriptionsOfAccount)
	s.api("GET /v1/subscriptions/{key}", s.getSubscription)
	s.api("GET /v1/subscriptions/{key}/versions/{version}", s.getSubscriptionVersion)
	s.api("GET /v1/orders/subscription/{number}", s.getOrders)
	for path, object := range map[string]string{
		"accounts": "account", "subscriptions": "subscription", "contacts": "contact", "payment-methods": "paymentmethod",
	} {
		o := s.objects[object]
		s.api("GET /object-query/"+path, func(r *http.Request) (any, error) { return s.queryList(o, r) })
		s.api("GET /object-query/"+path+"/{key}", func(r *http.Request) (any, error) { return s.queryOne(o, r) })
	}
	s.api("POST /v1/action/query", s.actionQuery)
	s.api("POST /v1/action/queryMore", s.actionQueryMore)
	s.api("POST /v1/operations/billing-preview", s.billingPreview)
	s.api("/", func(r *http.Request) (any, error) {
		return nil, &fail{category: notFound, message: "no such resource here: " + r.Method + " " + r.URL.Path, status: http.StatusNotFound}
	})
}

// api registers a route that needs a token and answers JSON.
func (s *Server) api(route string, h func(*http.Request) (any, error)) {
	s.Handle(route, func(w http.ResponseWriter, r *http.Request) {
		if err := s.admit(r); err != nil {
			s.refuse(w, r, err)
			return
		}
		body, err := h(r)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		answer(w, r, http.StatusOK, body)
	})
}

// admit checks the limits and the token, in the order a gateway does.
func (s *Server) admit(r *http.Request) error {
	if callOf(r).over {
		return &fail{category: limitReached, message: "The request exceeded a limit of this tenant."}
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || !s.tokens.valid(token, s.Clock.Now()) {
		return &fail{category: authentication, resource: 900000, status: http.StatusUnauthorized,
			message: "this resource is protected, please sign in first"}
	}
	return nil
}

// call is what ServeHTTP found out about a request before it was routed.
type call struct {
	requestID string
	processID string
	over      bool // a limit is exceeded
}

type callKey struct{}

func callOf(r *http.Request) call {
	c, _ := r.Context().Value(callKey{}).(call)
	return c
}

// ServeHTTP implements http.Handler. Every answer, faults included, has the
// request id and the limit headers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%d", s.cfg.Seed, s.requests.Add(1)))
	c := call{
		requestID: fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]),
		processID: strings.ToUpper(fmt.Sprintf("%x", sum[16:24])),
	}
	h := w.Header()
	h.Set("Zuora-Request-Id", c.requestID)
	if track := r.Header.Get("Zuora-Track-Id"); validTrackID(track) {
		h.Set("Zuora-Track-Id", track)
	}
	if r.URL.Path != "/oauth/token" {
		pool := "Default"
		if strings.HasPrefix(r.URL.Path, "/object-query/") {
			pool = "Object Query"
		}
		over, leave := s.limits.enter(s.cfg, pool, s.Clock.Now(), h)
		defer leave()
		c.over = over
	}
	s.Sim.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
}

func validTrackID(id string) bool {
	if id == "" || len(id) > 64 || strings.ContainsAny(id, `:;"'`) {
		return false
	}
	return !strings.ContainsFunc(id, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

// limits counts the calls of a minute and those in flight.
type limits struct {
	mu       sync.Mutex
	minute   time.Time
	calls    int
	inFlight map[string]int
}

// enter counts a call, writes the limit headers, and says whether the call is
// over a limit that is enforced.
func (l *limits) enter(cfg Config, pool string, now time.Time, h http.Header) (over bool, leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inFlight == nil {
		l.inFlight = map[string]int{}
	}
	if m := now.Truncate(time.Minute); !m.Equal(l.minute) {
		l.minute, l.calls = m, 0
	}
	l.calls++
	l.inFlight[pool]++

	perMinute := cmp.Or(cfg.CallsPerMinute, 50_000)
	h.Set("ratelimit-limit", fmt.Sprintf("2250000, %d;w=60, 2250000;w=3600, 27000000;w=86400", perMinute))
	h.Set("ratelimit-remaining", strconv.Itoa(max(0, perMinute-l.calls)))
	h.Set("ratelimit-reset", strconv.Itoa(int(l.minute.Add(time.Minute).Sub(now).Seconds()+0.999)))

	set, shown := cfg.DefaultConcurrency, 40
	if pool == "Object Query" {
		set, shown = cfg.ObjectQueryConcurrency, 80
	}
	shown = cmp.Or(set, shown)
	h.Set("Concurrency-Limit-Type", pool)
	h.Set("Concurrency-Limit-Limit", strconv.Itoa(shown))
	h.Set("Concurrency-Limit-Remaining", strconv.Itoa(max(0, shown-l.inFlight[pool])))

	over = cfg.CallsPerMinute > 0 && l.calls > cfg.CallsPerMinute || set > 0 && l.inFlight[pool] > set
	return over, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.inFlight[pool]--
	}
}

// gzipOver is the size from which Zuora compresses for those who accept it.
const gzipOver = 1000

// answer writes body as JSON, compressed when it is large and the caller takes
// that.
func answer(w http.ResponseWriter, r *http.Request, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil { // a custom field that is no JSON value: the test's own bug
		http.Error(w, "simulator: encode answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	if len(raw) <= gzipOver || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.WriteHeader(status)
		_, _ = w.Write(raw)
		return
	}
	h.Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
	_, _ = z.Write(raw)
	_ = z.Close()
}

func decode(r *http.Request, into any) error {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return fault(malformed, "The request body is not the JSON object it should be.")
	}
	return nil
}

// pageURL is the address of another page of the same list, on the host that
// was asked.
func pageURL(r *http.Request, page, pageSize int) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	q := r.URL.Query()
	q.Set("page", strconv.Itoa(page))
	q.Set("pageSize", strconv.Itoa(pageSize))
	u := url.URL{Scheme: scheme, Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: q.Encode()}
	return u.String()
}

// page cuts one page of a v1 list: pageSize 20 by default and never over 40.
func page[T any](r *http.Request, all []T) (rows []T, next string, err error) {
	number, size := 1, 20
	q := r.URL.Query()
	for name, into := range map[string]*int{"page": &number, "pageSize": &size} {
		if v := q.Get(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 {
				return nil, "", &fail{category: badValue, message: fmt.Sprintf("Invalid value '%s' for parameter '%s'.", v, name)}
			}
			*into = n
		}
	}
	size = min(size, 40)
	chunks := slices.Collect(slices.Chunk(all, size))
	if number > len(chunks) {
		return []T{}, "", nil
	}
	if number < len(chunks) {
		next = pageURL(r, number+1, size)
	}
	return chunks[number-1], next, nil
}
