package zuora_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"hotsync/connectors/zuora"
	"hotsync/internal/fault"
	"hotsync/internal/secret"
	"hotsync/sandbox/httpsim"
	sim "hotsync/sandbox/zuora"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	callToken    = "POST /oauth/token"
	callAccount  = "GET /object-query/accounts/{key}"
	callAccounts = "GET /object-query/accounts"
	callSubs     = "GET /v1/subscriptions/accounts/{key}"
	callMethods  = "GET /v1/accounts/{key}/payment-methods"
	callOrders   = "GET /v1/orders/subscription/{number}"
	callZOQL     = "POST /v1/action/query"
	callZOQLMore = "POST /v1/action/queryMore"
)

var today = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// world is a simulated tenant with a client that reads it.
type world struct {
	*testing.T
	*sim.Server
	*zuora.Client
	clock   *httpsim.Clock
	notices []string
}

func newWorld(t *testing.T, tenant sim.Config, change ...func(*zuora.Config)) *world {
	t.Helper()
	clock := httpsim.FrozenClock(today)
	tenant.Clock, tenant.ClientID, tenant.ClientSecret = clock, "client", "s3cret-of-the-client"
	w := &world{T: t, Server: sim.New(tenant), clock: clock}
	server := httptest.NewServer(w.Server)
	t.Cleanup(server.Close)
	cfg := zuora.Config{
		BaseURL: server.URL, ClientID: "client", ClientSecret: secret.New("s3cret-of-the-client"), Now: clock.Now,
		Notice: func(s string) { w.notices = append(w.notices, s) },
	}
	for _, c := range change {
		c(&cfg)
	}
	w.Client = w.client(cfg)
	return w
}

func (w *world) client(cfg zuora.Config) *zuora.Client {
	w.Helper()
	c, err := zuora.New(cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(c.Close)
	return c
}

// account stores an account with this value in LimioExternalId__c.
func (w *world) account(id, external string) {
	w.Helper()
	a := sim.Account{ID: id, Name: "Ada Reader"}
	if external != "" {
		a.CustomFields = map[string]any{"LimioExternalId__c": external}
	}
	must(w.T)(w.AddAccount(a))
}

func (w *world) subscribe(account string, n int) {
	w.Helper()
	for i := range n {
		must(w.T)(w.AddSubscription(sim.Subscription{AccountID: account, Number: "A-S" + strconv.Itoa(1000+i), AutoRenew: true}, sim.Order{}))
		w.clock.Advance(time.Millisecond)
	}
}

func must(t *testing.T) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// calls checks how often each route was called since the last check, the token
// call left out.
func (w *world) calls(want map[string]int) {
	w.Helper()
	got := w.Calls()
	delete(got, callToken)
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("calls (-want +got):\n%s", diff)
	}
	w.ResetCalls()
}

// class checks an error's class, and that it gives nothing away.
func class(t *testing.T, err error, want fault.Class) {
	t.Helper()
	if got := fault.Of(err); got != want {
		t.Errorf("class is %q, want %q: %v", got, want, err)
	}
	if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "Bearer")) {
		t.Errorf("the error tells a secret: %v", err)
	}
}

func TestValidateReportsEverything(t *testing.T) {
	err := zuora.Config{
		BaseURL: "http://zuora.example.com", Version: "latest", Lookup: "guess", PageSize: 41, Timeout: -1, MaxInFlight: -1, Horizon: 61, OrgIDs: "a\nb",
	}.Validate()
	for _, key := range []string{"base_url", "client_id", "client_secret", "version", "lookup", "page_size", "timeout", "max_in_flight", "horizon", "org_ids"} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("nothing about %s in: %v", key, err)
		}
	}
	for name := range zuora.Shortcuts() {
		ok := zuora.Config{BaseURL: name, ClientID: "c", ClientSecret: secret.New("s")}
		if err := ok.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTokenIsFetchedOnceForAll(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	errs := make(chan error)
	for range 20 {
		go func() { _, err := w.Client.Account(t.Context(), "acc"); errs <- err }()
	}
	for range 20 {
		class(t, <-errs, "")
	}
	if got := w.Calls()[callToken]; got != 1 {
		t.Errorf("%d token calls, want 1", got)
	}
}

func TestTokenIsRenewedEarly(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	for _, step := range []struct {
		after  time.Duration
		tokens int
	}{{0, 1}, {54 * time.Minute, 1}, {90 * time.Second, 2}} {
		w.clock.Advance(step.after)
		_, err := w.Client.Account(t.Context(), "acc")
		class(t, err, "")
		if got := w.Calls()[callToken]; got != step.tokens {
			t.Errorf("after %s: %d token calls, want %d", step.after, got, step.tokens)
		}
	}
	for _, c := range w.Server.Log() {
		if c.Status == http.StatusUnauthorized {
			t.Errorf("%s was answered 401: the token was not renewed early", c.Route)
		}
	}
}

func TestTokenOutageIsBridgedByAGoodToken(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	class(t, w.Ping(t.Context()), "")
	w.clock.Advance(56 * time.Minute)
	w.Inject(httpsim.Fault{Route: callToken, Code: "unavailable"})
	_, err := w.Client.Account(t.Context(), "acc")
	class(t, err, "")
	_, err = w.Client.Account(t.Context(), "acc")
	class(t, err, "")
	if got := w.Calls()[callToken]; got != 2 {
		t.Errorf("%d token calls, want 2: attempts to renew are spaced", got)
	}
	w.clock.Advance(time.Hour)
	_, err = w.Client.Account(t.Context(), "acc")
	class(t, err, fault.Unavailable)
}

func TestRefusedTokensCostOneTokenCall(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	class(t, w.Ping(t.Context()), "")
	w.RevokeTokens()
	w.ResetCalls()
	errs := make(chan error)
	for range 8 {
		go func() { _, err := w.Client.Account(t.Context(), "acc"); errs <- err }()
	}
	for range 8 {
		class(t, <-errs, "")
	}
	if got := w.Calls()[callToken]; got != 1 {
		t.Errorf("%d token calls, want 1", got)
	}
}

func TestTokenStillRefused(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "x")
	w.Inject(httpsim.Fault{Route: callAccounts, Code: "session"})
	_, err := w.Find(t.Context(), "LimioExternalId__c", "x")
	class(t, err, fault.Forbidden)
	if got := w.Calls(); got[callAccounts] != 2 || got[callToken] != 2 {
		t.Errorf("calls %v, want the call and the token twice", got)
	}
}

func TestTokenErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		fault httpsim.Fault
		cfg   func(*zuora.Config)
		want  fault.Class
		wait  time.Duration
	}{
		"wrong secret":  {cfg: func(c *zuora.Config) { c.ClientSecret = secret.New("s3cret-but-wrong") }, want: fault.Forbidden},
		"unavailable":   {fault: httpsim.Fault{Code: "unavailable"}, want: fault.Unavailable},
		"limit":         {fault: httpsim.Fault{Code: "rate_limit", Header: map[string]string{"Retry-After": "7"}}, want: fault.RateLimited, wait: 7 * time.Second},
		"dropped":       {fault: httpsim.Fault{Drop: true}, want: fault.Unavailable},
		"not JSON":      {fault: httpsim.Fault{Status: 200, Body: "token=s3cret"}, want: fault.Unavailable},
		"no token":      {fault: httpsim.Fault{Status: 200, Body: `{"expires_in":3600}`}, want: fault.Unavailable},
		"no endpoint":   {fault: httpsim.Fault{Status: 404, Body: `{"error":{"message":"s3cret"}}`}, want: fault.Refused},
		"secret echoed": {fault: httpsim.Fault{Status: 400, Body: `{"error":"s3cret-of-the-client"}`}, want: fault.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			var change []func(*zuora.Config)
			if tt.cfg != nil {
				change = append(change, tt.cfg)
			}
			w := newWorld(t, sim.Config{}, change...)
			if tt.cfg == nil {
				tt.fault.Route = callToken
				w.Inject(tt.fault)
			}
			err := w.Ping(t.Context())
			class(t, err, tt.want)
			if got := fault.Wait(err); got != tt.wait {
				t.Errorf("wait %s, want %s", got, tt.wait)
			}
		})
	}
}

// TestStopWhileTokenIsAwaited: the token call goes on for others, but whoever
// stops does not wait for it.
func TestStopWhileTokenIsAwaited(t *testing.T) {
	w := newWorld(t, sim.Config{}, func(c *zuora.Config) { c.Timeout = 50 * time.Millisecond })
	w.Inject(httpsim.Fault{Route: callToken, Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	class(t, w.Ping(ctx), fault.Stopped)
	class(t, w.Ping(t.Context()), fault.Unavailable)
}
