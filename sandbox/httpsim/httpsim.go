// Package httpsim is what the simulated vendors share: a clock that can be
// moved, fault injection, limits that are enforced, and a count of calls per
// endpoint. It promises that a call is counted under its route before any limit
// or fault is considered, so that a test's count is what a client sent and not
// what a handler saw.
//
// It knows no vendor.
package httpsim

import (
	"bytes"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Clock is the time of the simulated world. It either stands still or runs
// with the machine's clock at a distance; both kinds can be moved.
type Clock struct {
	mu     sync.Mutex
	frozen bool
	at     time.Time     // when frozen
	offset time.Duration // when running
}

// FrozenClock returns a clock that shows t until it is moved.
func FrozenClock(t time.Time) *Clock { return &Clock{frozen: true, at: t.UTC()} }

// RunningClock returns a clock that runs with the machine's clock.
func RunningClock() *Clock { return &Clock{} }

// Now returns the simulated time, UTC.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen {
		return c.at
	}
	return time.Now().UTC().Add(c.offset)
}

// Advance moves the clock forward by d (or back, when d is negative).
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	c.offset += d
}

// Fault is a misbehaviour that applies to some of the calls of a route.
type Fault struct {
	// Route is a route as it was registered ("GET /v1/subscriptions/{id}");
	// empty means every route.
	Route string
	// Path, when set, restricts the fault to request paths that contain it.
	Path string
	// Query, when set, restricts the fault to requests with this parameter in
	// their query string, whatever its value.
	Query string
	// Rate is the share of calls that suffer, 0 to 1. Zero means all.
	Rate float64
	// Times bounds how often the fault strikes. Zero means without bound.
	Times int
	// Delay is waited before anything else happens.
	Delay time.Duration
	// Drop closes the connection without an answer, before the handler runs.
	Drop bool
	// DropAfter runs the handler, throws its answer away and closes the
	// connection: the caller cannot know whether its write happened.
	DropAfter bool
	// Code names a fault that the vendor renders in its own words, such as
	// "rate_limit", "lock" or "unavailable". See Sim.Render.
	Code string
	// Status, Header and Body answer literally when Status is not zero.
	Status int
	Header map[string]string
	Body   string
}

// Call is one request as it arrived.
type Call struct {
	At     time.Time // simulated time
	Route  string
	Method string
	Path   string // with the query string
	Body   string
	Status int // 0 while it is handled, and when the connection was dropped
}

// Sim is the frame of one simulated vendor: routes in, faults and counts on
// the way. Create it with New.
type Sim struct {
	// Render writes the answer for a fault with a Code. It belongs to the
	// vendor, and must be set before the first call.
	Render func(w http.ResponseWriter, r *http.Request, code string)

	Clock *Clock

	mux *http.ServeMux

	mu      sync.Mutex
	rnd     *rand.Rand
	faults  []*active
	limits  []*enforced
	refused []time.Time
	counts  map[string]int
	tallies map[string]Tally
	calls   []*Call // the most recent keepCalls of them, oldest first
}

// Tally is how faults of one kind struck.
type Tally struct {
	Met    int // calls that came to the choice
	Struck int // calls that suffered
}

const keepCalls = 20_000

type active struct {
	Fault
	left int
}

// New returns a frame on clock whose random choices follow seed.
func New(clock *Clock, seed uint64) *Sim {
	return &Sim{
		Clock: clock, mux: http.NewServeMux(), counts: map[string]int{}, tallies: map[string]Tally{},
		rnd: rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15)),
	}
}

// Handle registers a handler for route, in the pattern language of
// http.ServeMux ("GET /v1/customers/{id}").
func (s *Sim) Handle(route string, h http.HandlerFunc) {
	s.mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) { s.serve(route, h, w, r) })
}

// ServeHTTP implements http.Handler.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Sim) serve(route string, h http.HandlerFunc, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err != nil {
		http.Error(w, "read request: "+err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	over, done := s.arrive(&Call{Route: route, Method: r.Method, Path: r.URL.RequestURI(), Body: string(body)})
	rec := &recorder{ResponseWriter: w}
	defer func() { done(rec.status) }()
	if over != nil {
		over.render(s, rec, r)
		return
	}

	f := s.strike(route, r.URL)
	if f == nil {
		h(rec, r)
		return
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	for k, v := range f.Header {
		rec.Header().Set(k, v)
	}
	switch {
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.DropAfter:
		h(discard{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	case f.Code != "":
		s.Render(rec, r, f.Code)
	case f.Status != 0:
		rec.WriteHeader(f.Status)
		_, _ = io.WriteString(rec, f.Body)
	default: // only a delay
		h(rec, r)
	}
}

// arrive counts a call, and returns the limit that it is over, if any, and the
// function that notes how it ended.
func (s *Sim) arrive(c *Call) (over *Limit, done func(status int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.At = s.Clock.Now()
	s.counts[c.Route]++
	if len(s.calls) == keepCalls {
		s.calls = slices.Clone(s.calls[keepCalls/2:])
	}
	s.calls = append(s.calls, c)
	return s.refuse(c), func(status int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.Status = status
	}
}

// strike returns the fault that hits this call, if any. The fault that was
// added first wins.
func (s *Sim) strike(route string, to *url.URL) *Fault {
	query := to.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.faults {
		switch {
		case a.Route != "" && a.Route != route,
			a.Path != "" && !strings.Contains(to.Path, a.Path),
			a.Query != "" && !query.Has(a.Query),
			a.Times > 0 && a.left == 0:
			continue
		}
		tally := s.tallies[a.kind()]
		tally.Met++
		struck := a.Rate == 0 || s.rnd.Float64() < a.Rate
		if struck {
			tally.Struck++
		}
		s.tallies[a.kind()] = tally
		if !struck {
			continue
		}
		a.left--
		f := a.Fault
		return &f
	}
	return nil
}

// kind is what a fault is counted under.
func (f Fault) kind() string {
	switch {
	case f.Drop:
		return "drop"
	case f.DropAfter:
		return "drop_after"
	case f.Code != "":
		return f.Code
	case f.Status != 0:
		return strconv.Itoa(f.Status)
	}
	return "delay"
}

// Tallies returns how faults struck since the last ResetCalls, by their Code;
// those without one stand under "drop", "drop_after", "delay" or their Status. A
// call comes to the choice of a fault unless an earlier one struck it.
func (s *Sim) Tallies() map[string]Tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.tallies)
}

// Inject adds a fault and returns the function that removes it.
func (s *Sim) Inject(f Fault) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &active{Fault: f, left: f.Times}
	s.faults = append(s.faults, a)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(slices.Clone(s.faults), func(other *active) bool { return other == a })
	}
}

// Calls returns how often each route was called since the last ResetCalls.
// Routes that were never called are absent.
func (s *Sim) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Log returns the most recent calls, oldest first.
func (s *Sim) Log() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Call, len(s.calls))
	for i, c := range s.calls {
		out[i] = *c
	}
	return out
}

// ResetCalls sets every count to zero and empties the log.
func (s *Sim) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts, s.tallies = map[string]int{}, map[string]Tally{}
	s.calls, s.refused = nil, nil
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) WriteHeader(int)             {}
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
