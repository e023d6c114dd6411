package stripe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	stripego "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/stripe"
)

const day = 24 * time.Hour

// epoch is when every test world begins.
var epoch = time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)

// world is a sandbox behind a real HTTP server, with stripe-go in front.
type world struct {
	*testing.T
	*stripe.Server
	clock *httpsim.Clock
	url   string
	api   *client.API
}

func newWorld(t *testing.T, change ...func(*stripe.Config)) *world {
	t.Helper()
	clock := httpsim.FrozenClock(epoch)
	cfg := stripe.Config{Clock: clock, Seed: 1, SecretKey: "sk_test_key"}
	for _, f := range change {
		f(&cfg)
	}
	s := stripe.New(cfg)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	be := stripego.GetBackendWithConfig(stripego.APIBackend, &stripego.BackendConfig{
		URL: stripego.String(srv.URL), HTTPClient: srv.Client(), MaxNetworkRetries: stripego.Int64(0),
		EnableTelemetry: stripego.Bool(false), LeveledLogger: &stripego.LeveledLogger{},
	})
	return &world{t, s, clock, srv.URL, client.New(cfg.SecretKey, &stripego.Backends{API: be, Connect: be, Uploads: be})}
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// customer adds a customer with a default card and returns both ids.
func (w *world) customer() (cus, pm string) {
	w.Helper()
	c, err := w.AddCustomer(stripe.CustomerParams{Name: "Ann Example", Email: "ann@example.com"})
	w.ok(err)
	m, err := w.AddPaymentMethod(stripe.PaymentMethodParams{Customer: c.ID, Default: true})
	w.ok(err)
	return c.ID, m.ID
}

// subscribe adds a monthly subscription of 9.99 to a new customer.
func (w *world) subscribe(change ...func(*stripe.SubscriptionParams)) stripe.Subscription {
	w.Helper()
	cus, _ := w.customer()
	p := stripe.SubscriptionParams{Customer: cus, Item: stripe.ItemParams{Amount: 999, Currency: "gbp", Product: "Digital"}}
	for _, f := range change {
		f(&p)
	}
	sub, err := w.AddSubscription(p)
	w.ok(err)
	return sub
}

// at moves the clock to a time and bills.
func (w *world) at(t time.Time) {
	w.Helper()
	w.clock.Advance(t.Sub(w.clock.Now()))
	w.Tick()
}

func (w *world) sub(id string) stripe.Subscription {
	w.Helper()
	sub, ok := w.Subscription(id)
	if !ok {
		w.Fatalf("subscription %s is gone", id)
	}
	return sub
}

func (w *world) lastInvoice(subID string) stripe.Invoice {
	w.Helper()
	all := w.Invoices(subID)
	if len(all) == 0 {
		w.Fatalf("subscription %s has no invoices", subID)
	}
	return all[len(all)-1]
}

// sent is a webhook body as a receiver reads it.
type sent struct {
	stripe.Event `json:"-"`
	APIVersion   string `json:"api_version"`
	Request      struct {
		ID  *string `json:"id"`
		Key *string `json:"idempotency_key"`
	} `json:"request"`
	Data struct {
		Object   map[string]any `json:"object"`
		Previous map[string]any `json:"previous_attributes"`
	} `json:"data"`
}

// take drains the outbox and decodes every event with stripe-go, object and
// all, on the way.
func (w *world) take() []sent {
	w.Helper()
	var out []sent
	for _, e := range w.TakeEvents() {
		s := sent{Event: e}
		w.ok(json.Unmarshal(e.Body, &s))
		s.Event = e
		var ev stripego.Event
		w.ok(json.Unmarshal(e.Body, &ev))
		if ev.ID != e.ID || string(ev.Type) != e.Type || ev.Created != e.Created.Unix() {
			w.Fatalf("the body of event %s disagrees with it: %s", e.ID, e.Body)
		}
		if s.APIVersion == stripe.APIVersion {
			checkNames(w.T, s.Data.Object)
			decodeAs(w.T, ev.Data.Raw)
		}
		out = append(out, s)
	}
	return out
}

func types(events []sent) []string {
	out := []string{}
	for _, e := range events {
		out = append(out, e.Type)
	}
	return out
}

// only returns the one event of a type.
func only(t *testing.T, events []sent, kind string) sent {
	t.Helper()
	var found []sent
	for _, e := range events {
		if e.Type == kind {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d events of type %s, want 1, among %v", len(found), kind, types(events))
	}
	return found[0]
}

// get makes a plain request and returns status, headers and the JSON.
func (w *world) get(path string, header ...string) (int, http.Header, map[string]any) {
	w.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, w.url+path, nil)
	w.ok(err)
	req.Header.Set("Authorization", "Bearer sk_test_key")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	w.ok(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	w.ok(err)
	var body map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&body); err != nil {
		w.Fatalf("GET %s: %v in %s", path, err, raw)
	}
	return resp.StatusCode, resp.Header, body
}

// refused makes a request that must fail, and returns the error's fields.
func (w *world) refused(path string, status int, code string) map[string]any {
	w.Helper()
	got, header, body := w.get(path)
	e, _ := body["error"].(map[string]any)
	if c, _ := e["code"].(string); got != status || c != code {
		w.Fatalf("GET %s: %d with code %q (%v), want %d with %q", path, got, c, e["message"], status, code)
	}
	if header.Get("Request-Id") == "" || e["type"] == nil || e["message"] == nil {
		w.Fatalf("GET %s: the error lacks an id, type or message: %v", path, e)
	}
	return e
}

func stripeError(t *testing.T, err error) *stripego.Error {
	t.Helper()
	var e *stripego.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want a Stripe error", err)
	}
	return e
}
