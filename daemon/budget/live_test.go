package budget_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"hotsync/connectors/limio"
	"hotsync/connectors/stripe"
	"hotsync/connectors/zuora"
	"hotsync/daemon/budget"
	"hotsync/internal/callout"
	"hotsync/internal/fault"
	"hotsync/internal/secret"
	"hotsync/sandbox/httpsim"
	limiosim "hotsync/sandbox/limio"
	stripesim "hotsync/sandbox/stripe"
	zuorasim "hotsync/sandbox/zuora"
)

// serve serves a simulated vendor, and returns its address and a transport.
func serve(t *testing.T, h http.Handler) (string, *http.Transport) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return s.URL, transport
}

// stalls notes when this process did not run, which on a busy machine happens:
// calls that were let go then arrive late, whatever their distance was.
type stalls struct {
	mu    sync.Mutex
	times []struct{ from, to time.Time }
}

const stalled = 10 * time.Millisecond

// watch runs until ctx ends.
func (s *stalls) watch(ctx context.Context) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for last := time.Now(); ctx.Err() == nil; last = time.Now() {
		<-tick.C
		if now := time.Now(); now.Sub(last) > stalled {
			s.mu.Lock()
			s.times = append(s.times, struct{ from, to time.Time }{last, now})
			s.mu.Unlock()
		}
	}
}

// during returns how long this process did not run between two times.
func (s *stalls) during(from, to time.Time) (sum time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.times {
		if at.to.After(from) && at.from.Before(to) {
			sum += at.to.Sub(at.from)
		}
	}
	return sum
}

// A vendor that enforces the very limit that is configured refuses nothing, while
// a sweep uses 95 % of it. The sweep is as fast as this machine, so the limit is
// one that it can reach: half of it, and half of that, where 100 calls a second
// are never waited for.
func TestTheSandboxRefusesNothing(t *testing.T) {
	for limit := 100; ; limit /= 2 {
		if saturateStripe(t, limit) {
			return
		}
		if limit < 10 {
			t.Fatalf("no call ever waited for a rate of %d a second: nothing was shown", limit)
		}
		t.Logf("this machine does not make %d calls a second", limit)
	}
}

// saturateStripe fails the test when the vendor refused a call for which there is
// no excuse, or got too few. It reports whether calls waited for the rate for long
// enough to tell.
func saturateStripe(t *testing.T, limit int) bool {
	const seconds = 6
	sim := stripesim.New(stripesim.Config{})
	sim.Limit(httpsim.Limit{PerSecond: limit, Header: map[string]string{"Stripe-Rate-Limited-Reason": "global-rate"}})
	address, transport := serve(t, sim)
	b := newBudget(t, budget.Config{Service: "stripe", PerSecond: float64(limit), MaxInFlight: 32})
	c, err := stripe.NewClient(stripe.ClientConfig{Key: secret.New("sk_test_sandbox"), BaseURL: address, Gate: b, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(budget.In(t.Context(), budget.Sweep), seconds*time.Second)
	defer cancel()
	var idle stalls
	var wg sync.WaitGroup
	wg.Go(func() { idle.watch(ctx) })
	for range 64 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := c.Ping(ctx); err != nil && ctx.Err() == nil && fault.Of(err) != fault.RateLimited {
					t.Error(err)
					return
				}
			}
		})
	}
	var warm budget.Stats // after a second
	wg.Go(func() {
		select {
		case <-time.After(time.Second):
			warm = b.Stats()
		case <-ctx.Done():
		}
	})
	wg.Wait()
	refused := 0
	for _, at := range sim.Refused() {
		if at.Sub(start) < time.Second {
			continue
		}
		refused++
		if idle.during(at.Add(-1100*time.Millisecond), at) == 0 {
			t.Errorf("refused %s after the start", at.Sub(start))
		}
	}
	s := b.Stats()
	used, allowed, missed := float64(s.Used-warm.Used), s.Allowed-warm.Allowed, s.Missed-warm.Missed
	if allowed-missed < float64(limit) { // of five times that
		return false
	}
	if missed > 0.1*allowed {
		allowed -= missed // too much to catch up with
	}
	if used < 0.95*allowed {
		t.Errorf("%.0f calls while the rate allowed %.0f, and %.0f were missed by a process that did not run", used, allowed, missed)
	}
	if n := uint64(len(sim.Log())); n > s.Calls || n+32 < s.Calls { // some were cut off on their way
		t.Errorf("the vendor counted %d calls, the budget %d", n, s.Calls)
	}
	// Even who is held up does not run into a limit again and again.
	if most := int(s.Calls) / 20; refused > most {
		t.Errorf("%d of %d calls were refused after the first second, at most %d have an excuse", refused, s.Calls, most)
	}
	return true
}

// heard is a gate that lets all pass and keeps what it is told.
type heard struct {
	mu      sync.Mutex
	results []callout.Result
}

func (h *heard) Enter(context.Context) (func(callout.Result), error) {
	return func(r callout.Result) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.results = append(h.results, r)
	}, nil
}

func (h *heard) last(t *testing.T) callout.Result {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.results) == 0 {
		t.Fatal("the gate was told nothing")
	}
	return h.results[len(h.results)-1]
}

// What each vendor's words mean to a budget.
func TestWhatVendorsSay(t *testing.T) {
	type words map[string]fault.Class
	check := func(t *testing.T, sim *httpsim.Sim, gate *heard, header map[string]string, said words, call func() error) {
		t.Helper()
		for code, want := range said {
			remove := sim.Inject(httpsim.Fault{Code: code, Header: header})
			err := call()
			remove()
			if got := gate.last(t); got.Class != want || err == nil {
				t.Errorf("%s: %q, want %q (%v)", code, got.Class, want, err)
			}
		}
		if err := call(); fault.Of(err) != fault.NotFound || gate.last(t).Class != "" {
			t.Errorf("an honest no: %v, %q", err, gate.last(t).Class)
		}
	}
	t.Run("stripe", func(t *testing.T) {
		sim, gate := stripesim.New(stripesim.Config{}), &heard{}
		address, transport := serve(t, sim)
		c, err := stripe.NewClient(stripe.ClientConfig{Key: secret.New("sk_test_sandbox"), BaseURL: address, Gate: gate, Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		check(t, sim.Sim, gate, nil, words{
			"rate_limit": fault.RateLimited, "lock_timeout": fault.Locked, "internal": fault.Unavailable,
			"unavailable": fault.Unavailable, "forbidden": "",
		}, func() error { _, err := c.SubscriptionsOf(t.Context(), "cus_1"); return err })
	})
	// Of Zuora's versions, the older answers 200 to everything.
	for _, version := range []string{"2025-08-12", "196.0"} {
		t.Run("zuora "+version, func(t *testing.T) {
			sim, gate := zuorasim.New(zuorasim.Config{}), &heard{}
			address, transport := serve(t, sim)
			c, err := zuora.New(zuora.Config{
				BaseURL: address, ClientID: "c", ClientSecret: secret.New("s"), Version: version, Gate: gate, Transport: transport,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Ping(t.Context()); err != nil || len(gate.results) != 1 {
				t.Fatalf("a token call passes the gate: %v, %v", err, gate.results)
			}
			check(t, sim.Sim, gate, map[string]string{"Retry-After": "7"}, words{
				"rate_limit": fault.RateLimited, "lock": fault.Locked, "internal": fault.Unavailable, "temporary": fault.Unavailable,
				"unavailable": fault.Unavailable, "timeout": fault.Unavailable, "forbidden": "",
			}, func() error { _, err := c.Account(t.Context(), "A-none"); return err })
			if r := gate.results[1]; r.Class.Passing() && r.Wait != 7*time.Second || r.Header == nil {
				t.Errorf("the wait and the headers are lost: %+v", r)
			}
		})
	}
	t.Run("limio", func(t *testing.T) {
		sim, gate := limiosim.New(limiosim.Config{}), &heard{}
		address, transport := serve(t, sim)
		c, err := limio.New(limio.Config{BaseURL: address, ClientID: "c", ClientSecret: secret.New("s"), Gate: gate, Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, sim.Sim, gate, nil, words{
			"rate_limit": fault.RateLimited, "bad_gateway": fault.Unavailable, "internal": fault.Unavailable, "forbidden": "",
		}, func() error { _, err := c.Related(t.Context(), "sub-none"); return err })
	})
}
