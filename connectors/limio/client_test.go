package limio_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"hotsync/connectors/limio"
	"hotsync/internal/callout"
	"hotsync/internal/fault"
	"hotsync/internal/secret"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	sim "hotsync/sandbox/limio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	callToken   = "POST /oauth2/token"
	callGet     = "GET /api/objects/{service}/{path_type}/{id}"
	callRelated = "GET /api/objects/{service}/{path_type}/{id}/related"
	callPut     = "PUT /api/objects/{service}/{path_type}/{id}"
	callPost    = "POST /api/objects/{service}/{path_type}"
	callImport  = "POST /api/plugins/zuora/sync/subscription/{id}"
)

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// world is a simulated Limio with a client that talks to it.
type world struct {
	*testing.T
	sim   *sim.Server
	c     *limio.Client
	clock *httpsim.Clock
	url   string

	customer, sub string
}

func newWorld(t *testing.T, tenant sim.Config, change ...func(*limio.Config)) *world {
	t.Helper()
	clock := httpsim.FrozenClock(noon)
	tenant.Clock, tenant.ClientID, tenant.ClientSecret = clock, "client", "s3cret-of-the-client"
	w := &world{T: t, sim: sim.New(tenant), clock: clock}
	server := httptest.NewServer(w.sim)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.customer, _ = w.sim.AddCustomer(sim.CustomerParams{Name: "Ada Reader", Email: "ada@example.test", ZuoraAccount: "acc", SalesforceAccount: "001A"})
	w.sub = w.sim.AddSubscription(sim.SubscriptionParams{
		Customer: w.customer, Number: "A-S1", Name: "Digital", Amount: 4200, Currency: "EUR", AutoRenew: true, Imported: true,
		TermStart: noon.AddDate(0, -1, 0), TermEnd: noon.AddDate(1, -1, 0),
	})
	cfg := limio.Config{BaseURL: server.URL, ClientID: "client", ClientSecret: secret.New("s3cret-of-the-client"), Now: clock.Now}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if w.c, err = limio.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.c.Close)
	return w
}

func (w *world) calls(want map[string]int) {
	w.Helper()
	got := w.sim.Calls()
	delete(got, callToken)
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("calls (-want +got):\n%s", diff)
	}
	w.sim.ResetCalls()
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

// refs lists type, ref and parent of objects.
func refs(objects []record.Object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, string(o.Type)+" "+o.Ref+" < "+o.Parent)
	}
	slices.Sort(out)
	return out
}

func TestValidateReportsEverything(t *testing.T) {
	err := limio.Config{BaseURL: "ftp://x", Timeout: -1, MaxInFlight: -1}.Validate()
	for _, key := range []string{"base_url", "client_id", "client_secret", "timeout", "max_in_flight"} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("nothing about %s in: %v", key, err)
		}
	}
	for url, ok := range map[string]bool{
		"https://acme.prod.limio.com": true, "https://acme.prod.limio.com/": true, "http://127.0.0.1:8080": true, "http://limio:8080": true,
		"": false, "https://acme.prod.limio.com/api": false, "http://acme.prod.limio.com": false, "https://user:s3cret@acme.limio.com": false,
	} {
		err := limio.Config{BaseURL: url, ClientID: "c", ClientSecret: secret.New("s")}.Validate()
		if (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}

func TestSubscription(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.sim.AddOffer(sim.OfferParams{Subscription: w.sub, Name: "Digital", Amount: 4200, Currency: "EUR", ExternalID: "prp1/C-1", Start: noon})
	w.sim.AddSchedule(sim.ScheduleParams{Subscription: w.sub, Date: noon, Amount: 4200, Currency: "EUR", ExternalID: "in_1"})
	w.sim.AddPaymentMethod(sim.PaymentMethodParams{Subscription: w.sub, Type: "stripe", Result: map[string]any{"id": "pm_card", "last4": "4242"}})
	got, err := w.c.Subscription(t.Context(), w.sub)
	class(t, err, "")
	w.calls(map[string]int{callGet: 1, callRelated: 1})
	if len(got) == 0 || got[0].ID != w.sub {
		t.Fatalf("the subscription is not first: %v", got)
	}
	want := []string{
		"payment_method pm_card < " + w.sub, "schedule in_1 < " + w.sub, "subscription A-S1 < " + w.customer, "subscription_offer prp1/C-1 < " + w.sub,
	}
	if diff := cmp.Diff(want, refs(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for path, want := range map[string]record.Value{
		"status": `"active"`, "name": `"A-S1"`, "data.attributes.autoRenew": "true", "data.price.amount": "42", "data.termEndDate": `"2027-02-10"`,
		"data.addOns": "", "updated": `"2026-03-10T12:00:00.000Z"`,
	} {
		if v := got[0].Fields[path]; v != want {
			t.Errorf("%s is %s, want %s", path, v, want)
		}
	}
	related, err := w.c.Related(t.Context(), w.sub)
	class(t, err, "")
	w.calls(map[string]int{callRelated: 1})
	if diff := cmp.Diff(refs(got[1:]), refs(related)); diff != "" {
		t.Errorf("related differs:\n%s", diff)
	}
}

func TestCustomer(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.sim.AddPaymentMethod(sim.PaymentMethodParams{Customer: w.customer, Type: "zuora", Result: map[string]any{"Id": "2c92pm"}})
	w.sim.AddAddress(sim.AddressParams{Customer: w.customer, Relationship: "billing", Address: sim.Address{City: "Galway", Country: "IE"}})
	found, err := w.c.CustomerByAccount(t.Context(), "acc")
	class(t, err, "")
	w.calls(map[string]int{callGet: 1})
	if found.ID != w.customer || found.Fields["data.email"] != record.Text("ada@example.test") {
		t.Errorf("found %+v", found)
	}
	got, err := w.c.Customer(t.Context(), w.customer)
	class(t, err, "")
	w.calls(map[string]int{callGet: 1, callRelated: 1})
	var followed []record.Object
	for _, o := range got {
		if !strings.HasPrefix(o.Ref, "limio/limio/owner/") { // the owner, the simulator's own
			followed = append(followed, o)
		}
	}
	want := []string{
		"address billing < " + w.customer, "customer " + w.customer + " < ", "identity salesforce/salesforce/account/001A < " + w.customer,
		"identity zuora/zuora/account/acc < " + w.customer, "payment_method 2c92pm < " + w.customer, "subscription A-S1 < " + w.customer,
	}
	if diff := cmp.Diff(want, refs(followed)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSubscriptionByNumber(t *testing.T) {
	w := newWorld(t, sim.Config{})
	got, err := w.c.SubscriptionByNumber(t.Context(), "A-S1")
	class(t, err, "")
	if got.ID != w.sub || got.Ref != "A-S1" {
		t.Errorf("found %s %s", got.ID, got.Ref)
	}
	w.calls(map[string]int{callGet: 1})
}

func TestNotFound(t *testing.T) {
	reads := map[string]func(ctx context.Context, c *limio.Client, id string) error{
		"subscription": func(ctx context.Context, c *limio.Client, id string) error {
			_, err := c.Subscription(ctx, id)
			return err
		},
		"by number": func(ctx context.Context, c *limio.Client, id string) error {
			_, err := c.SubscriptionByNumber(ctx, id)
			return err
		},
		"customer": func(ctx context.Context, c *limio.Client, id string) error { _, err := c.Customer(ctx, id); return err },
		"by account": func(ctx context.Context, c *limio.Client, id string) error {
			_, err := c.CustomerByAccount(ctx, id)
			return err
		},
		"related": func(ctx context.Context, c *limio.Client, id string) error { _, err := c.Related(ctx, id); return err },
	}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sim.Config{})
			for _, id := range []string{"", "..", "a/b", "a\x00b"} {
				class(t, read(t.Context(), w.c, id), fault.NotFound)
			}
			// Counted before the next read: of two reads at once, the one that was
			// cancelled may arrive after both have returned.
			w.calls(map[string]int{})
			class(t, read(t.Context(), w.c, "none"), fault.NotFound)
		})
	}
}

func TestReadFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault httpsim.Fault
		want  fault.Class
		wait  time.Duration
	}{
		"forbidden":    {httpsim.Fault{Code: "forbidden"}, fault.Forbidden, 0},
		"unauthorized": {httpsim.Fault{Code: "unauthorized"}, fault.Forbidden, 0},
		"rate limit":   {httpsim.Fault{Code: "rate_limit", Header: map[string]string{"Retry-After": "9"}}, fault.RateLimited, 9 * time.Second},
		"unavailable":  {httpsim.Fault{Code: "unavailable", Header: map[string]string{"Retry-After": "4"}}, fault.Unavailable, 4 * time.Second},
		"bad gateway":  {httpsim.Fault{Code: "bad_gateway"}, fault.Unavailable, 0},
		"internal":     {httpsim.Fault{Code: "internal"}, fault.Unavailable, 0},
		"timeout":      {httpsim.Fault{Status: 504, Body: "<html>"}, fault.Unavailable, 0},
		"bad request":  {httpsim.Fault{Status: 400, Body: `{"errors":["odd"]}`}, fault.Refused, 0},
		"locked":       {httpsim.Fault{Status: 423}, fault.Locked, 0},
		"conflict":     {httpsim.Fault{Status: 409}, fault.Locked, 0},
		"redirect":     {httpsim.Fault{Status: 302, Header: map[string]string{"Location": "/login"}}, fault.Refused, 0},
		"dropped":      {httpsim.Fault{Drop: true}, fault.Unavailable, 0},
		"cut off":      {httpsim.Fault{Status: 200, Body: `{"items":[{"id":`}, fault.Unavailable, 0},
		"no items":     {httpsim.Fault{Status: 200, Body: `{}`}, fault.Unavailable, 0},
		"no id":        {httpsim.Fault{Status: 200, Body: `{"items":[{"record_type":"schedule"}]}`}, fault.Unavailable, 0},
		"more pages":   {httpsim.Fault{Status: 200, Body: `{"items":[],"queryMore":"abc"}`}, fault.Refused, 0},
		"too large":    {httpsim.Fault{Status: 200, Body: strings.Repeat(" ", 16<<20+1)}, fault.Refused, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sim.Config{})
			tt.fault.Route = callRelated
			w.sim.Inject(tt.fault)
			_, err := w.c.Related(t.Context(), w.sub)
			class(t, err, tt.want)
			if got := fault.Wait(err); got != tt.wait {
				t.Errorf("wait %s, want %s", got, tt.wait)
			}
		})
	}
}

func TestObjectOfAnotherTypeIsNotTaken(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.sim.Inject(httpsim.Fault{Route: callGet, Status: 200, Body: `{"id":"order-1","record_type":"order"}`})
	_, err := w.c.SubscriptionByNumber(t.Context(), "A-S1")
	class(t, err, fault.Unavailable)
}

func TestErrorBodies(t *testing.T) {
	w := newWorld(t, sim.Config{})
	for _, style := range []sim.ErrorStyle{sim.ErrorMessage, sim.ErrorError, sim.ErrorList, sim.ErrorText} {
		w.sim.SetErrorStyle(style)
		_, err := w.c.Related(t.Context(), "sub-none")
		class(t, err, fault.NotFound)
		if err == nil || !strings.Contains(err.Error(), "not found") {
			t.Errorf("style %d: Limio's words are not in: %v", style, err)
		}
	}
	w.sim.Inject(httpsim.Fault{Route: callRelated, Status: 400, Body: strings.Repeat("long\n", 1000)})
	_, err := w.c.Related(t.Context(), w.sub)
	if err == nil || len(err.Error()) > 600 || strings.Contains(err.Error(), "\n") {
		t.Errorf("the body is not shortened: %v", err)
	}
}

func TestTokenExpiresAndIsRevoked(t *testing.T) {
	w := newWorld(t, sim.Config{})
	tokens := func(want int) {
		t.Helper()
		_, err := w.c.Related(t.Context(), w.sub)
		class(t, err, "")
		if got := w.sim.Calls()[callToken]; got != want {
			t.Errorf("%d token calls, want %d", got, want)
		}
	}
	tokens(1)
	w.clock.Advance(58 * time.Minute)
	tokens(1)
	w.clock.Advance(61 * time.Second)
	tokens(2)
	w.sim.RevokeTokens()
	tokens(3)
	if got := w.sim.Calls()[callRelated]; got != 5 {
		t.Errorf("%d calls, want 5: one for each and one again after the 401", got)
	}
}

func TestCallsAreNotedByRoute(t *testing.T) {
	var seen []string
	w := newWorld(t, sim.Config{}, func(c *limio.Config) {
		c.MaxInFlight = 1
		c.Observe = func(call callout.Call) { seen = append(seen, call.Service+" "+call.Method+" "+call.Route) }
	})
	var log callout.Log
	ctx := callout.Into(t.Context(), &log)
	_, err := w.c.SubscriptionByNumber(ctx, "A-S1")
	class(t, err, "")
	_, err = w.c.Related(ctx, w.sub)
	class(t, err, "")
	_, err = w.c.Apply(ctx, record.Write{Op: record.OpUpdate, Type: record.SubscriptionType, ID: w.sub})
	class(t, err, "")
	want := []string{
		"limio POST /oauth2/token", "limio GET /api/objects/zuora/subscriptions/{id}", "limio GET /api/objects/limio/subscriptions/{id}/related",
		"limio PUT /api/objects/limio/subscriptions/{id}",
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(log.Calls()) != len(want) {
		t.Errorf("%d calls in the log, want %d", len(log.Calls()), len(want))
	}
}

func TestScopeIsSentWhenSet(t *testing.T) {
	for _, scope := range []string{"", "api/subscription:sync"} {
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if got := r.FormValue("scope"); got != scope || r.Header.Get("Authorization") != "" {
				t.Errorf("scope %q, want %q", got, scope)
			}
			_, _ = rw.Write([]byte(`{"access_token":"t"}`))
		}))
		c, err := limio.New(limio.Config{BaseURL: server.URL, ClientID: "c", ClientSecret: secret.New("s"), Scope: scope})
		if err != nil {
			t.Fatal(err)
		}
		class(t, c.Ping(t.Context()), "")
		c.Close()
		server.Close()
	}
}
