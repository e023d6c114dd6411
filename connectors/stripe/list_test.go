package stripe

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/internal/fault"
	"hotsync/internal/secret"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	sandbox "hotsync/sandbox/stripe"
)

const listEvents = "GET /v1/events"

// Every subscription is listed once, ended ones too, a hundred with each call.
func TestGlimpsesPages(t *testing.T) {
	w := newWorld(t)
	c := w.client(t, ClientConfig{})
	if got, err := c.Glimpses(t.Context(), ""); err != nil || len(got.Glimpses) != 0 || got.Next != "" {
		t.Fatalf("an empty account: got %+v, %v", got, err)
	}
	w.SetQuiet(true)
	want := map[string]bool{}
	for i := range 205 {
		id := w.subscribe(t, sandbox.SubscriptionParams{})
		if want[id] = true; i%50 == 0 {
			must(t, w.CancelNow(id, sandbox.ByRequest("")))
		}
	}
	w.ResetCalls()
	got := map[string]bool{}
	for id, mark := range w.marks(t, c) {
		if got[id] = true; mark == "" {
			t.Errorf("%s has no mark", id)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{listSubs: 3}, w.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if _, err := c.Glimpses(t.Context(), "sub_missing"); fault.Of(err) != fault.NotFound {
		t.Errorf("unknown cursor: got %v (%s), want not_found", err, fault.Of(err))
	}
	if _, err := c.Glimpses(t.Context(), "sub/1"); fault.Of(err) != fault.Refused {
		t.Errorf("odd cursor: got %v (%s), want refused", err, fault.Of(err))
	}
}

func TestGlimpsesOfBasilFailLoudly(t *testing.T) {
	w := newWorld(t)
	w.subscribe(t, sandbox.SubscriptionParams{})
	w.SetBasil(true)
	_, err := w.client(t, ClientConfig{}).Glimpses(t.Context(), "")
	if fault.Of(err) != fault.Refused || !strings.Contains(err.Error(), "2025-03-31.basil") {
		t.Errorf("got %v (%s), want refused with the version in its text", err, fault.Of(err))
	}
}

// answering is a client for which Stripe has one answer.
func answering(t *testing.T, body string) *Client {
	t.Helper()
	c, err := NewClient(ClientConfig{Key: secret.New("sk_1"), Transport: transport(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Request: r, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A partial read never looks whole: a page that does not go on although it says
// so, and a page that is none.
func TestPagesThatAreNotWhole(t *testing.T) {
	sub := func(id string) string {
		return `{"id":"` + id + `","object":"subscription","current_period_start":1,"current_period_end":2}`
	}
	event := func(id string) string {
		return `{"id":"` + id + `","object":"event","type":"charge.succeeded","created":1,"data":{"object":{"id":"ch_1"}}}`
	}
	list := func(more string, rows ...string) string {
		return `{"object":"list","has_more":` + more + `,"data":[` + strings.Join(rows, ",") + `]}`
	}
	glimpses := func(c *Client) error { _, err := c.Glimpses(t.Context(), "x_1"); return err }
	events := func(c *Client) error { _, _, err := c.Events(t.Context(), time.Unix(5, 0), "x_1"); return err }
	for _, tt := range []struct {
		name, body string
		read       func(*Client) error
		want       fault.Class
	}{
		{"whole", list("false", sub("x_2")), glimpses, ""},
		{"empty and going on", list("true"), glimpses, fault.Unavailable},
		{"the same page", list("true", sub("x_1")), glimpses, fault.Unavailable},
		{"the cursor's row at the end", list("false", sub("x_2"), sub("x_1")), glimpses, fault.Unavailable},
		{"a row twice", list("false", sub("x_2"), sub("x_2")), glimpses, fault.Unavailable},
		{"no list", `{}`, glimpses, fault.Refused},
		{"an error that is not told", `{"object":"list","data":null}`, glimpses, fault.Refused},
		{"a row of nothing", list("false", "null"), glimpses, fault.Refused},
		{"a row without an id", list("false", sub("")), glimpses, fault.Refused},
		{"cut off", list("false", sub("x_2"))[:60], glimpses, fault.Unavailable},
		{"whole", list("false", event("x_2")), events, ""},
		{"empty and going on", list("true"), events, fault.Unavailable},
		{"the same page", list("true", event("x_1")), events, fault.Unavailable},
		{"no list", `[]`, events, fault.Unavailable},
		{"nothing", `{}`, events, fault.Refused},
		{"a row of nothing", list("false", "null"), events, fault.Refused},
		{"an event about nothing", list("false", `{"id":"evt_1","type":"invoice.paid","created":1,"data":{"object":null}}`), events, fault.Refused},
		{"an event without data", list("false", `{"id":"evt_1","type":"invoice.paid","created":1}`), events, fault.Refused},
		{"an event of no type", list("false", `{"id":"evt_1","created":1,"data":{"object":{"id":"in_1"}}}`), events, fault.Refused},
		{"an event of an odd id", list("false", `{"id":"evt_1","type":"invoice.paid","created":1,"data":{"object":{"id":"in_1","subscription":"a/b"}}}`), events, fault.Refused},
	} {
		if err := tt.read(answering(t, tt.body)); fault.Of(err) != tt.want {
			t.Errorf("%s: got %v (%s), want %s", tt.name, err, fault.Of(err), tt.want)
		}
	}
}

func TestFaultClassesOfBulkReads(t *testing.T) {
	w := newWorld(t)
	w.subscribe(t, sandbox.SubscriptionParams{})
	c := w.client(t, ClientConfig{Now: func() time.Time { return start }})
	reads := map[string]func(context.Context) error{
		listSubs:   func(ctx context.Context) error { _, err := c.Glimpses(ctx, ""); return err },
		listEvents: func(ctx context.Context) error { _, _, err := c.Events(ctx, start, ""); return err },
	}
	for route, read := range reads {
		for _, tt := range []struct {
			fault httpsim.Fault
			want  fault.Class
			wait  time.Duration
		}{
			{httpsim.Fault{Code: "rate_limit"}, fault.RateLimited, 0},
			{httpsim.Fault{Code: "rate_limit", Header: map[string]string{"Retry-After": "7"}}, fault.RateLimited, 7 * time.Second},
			{httpsim.Fault{Status: 429, Body: `{"error":{"type":"invalid_request_error","message":"x"}}`,
				Header: map[string]string{"Stripe-Rate-Limited-Reason": "global-concurrency"}}, fault.RateLimited, 0},
			{httpsim.Fault{Code: "lock_timeout"}, fault.Locked, 0},
			{httpsim.Fault{Code: "internal"}, fault.Unavailable, 0},
			{httpsim.Fault{Drop: true}, fault.Unavailable, 0},
			{httpsim.Fault{DropAfter: true}, fault.Unavailable, 0},
			{httpsim.Fault{Code: "forbidden"}, fault.Forbidden, 0},
		} {
			remove := w.Inject(tt.fault)
			if err := read(t.Context()); fault.Of(err) != tt.want || fault.Wait(err) != tt.wait {
				t.Errorf("%s, %+v: got %v (%s, wait %s), want %s, wait %s", route, tt.fault, err, fault.Of(err), fault.Wait(err), tt.want, tt.wait)
			}
			remove()
		}
		if err := read(t.Context()); err != nil {
			t.Errorf("%s: %v", route, err)
		}
	}
}

// all reads every page of events.
func (w *world) all(t *testing.T, c *Client, since time.Time) []Touched {
	t.Helper()
	var out []Touched
	for cursor := ""; ; {
		found, next, err := c.Events(t.Context(), since, cursor)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
		if cursor = next; cursor == "" {
			return out
		}
	}
}

// The list finds the keys that the webhooks would have brought, all of them, in
// both versions, and nothing else.
func TestEventsFindWhatWebhooksBring(t *testing.T) {
	for _, version := range []string{sandbox.APIVersion, sandbox.APIVersionBasil} {
		w := newWorld(t)
		w.SetWebhookAPIVersion(version)
		w.advance(48 * time.Hour)
		w.TakeEvents()
		began := w.Clock.Now()
		w.advance(0)
		id := w.subscribe(t, sandbox.SubscriptionParams{})
		w.advance(20 * 24 * time.Hour)
		for range 10 {
			must(t, w.RenewNow(id, true))
		}
		must(t, w.UpdateCard(w.card.ID, sandbox.CardChange{ExpYear: 2033}, sandbox.ByStripe()))
		must(t, w.DetachPaymentMethod(w.card.ID, sandbox.ByRequest("")))
		must(t, w.CancelNow(id, sandbox.ByRequest("")))

		d := decoder(t, DecoderConfig{})
		var want []Touched
		sent := w.TakeEvents() // dropped: no webhook arrives
		for _, e := range sent {
			got, err := d.Decode(t.Context(), message(e.Body, nil))
			if err != nil {
				t.Fatal(err)
			}
			for _, tr := range got.Triggers {
				want = append(want, Touched{Key: tr.Key, At: tr.At, Type: tr.Type, ID: tr.Delivery})
			}
		}
		c := w.client(t, ClientConfig{})
		w.ResetCalls()
		byID := func(list []Touched) map[string]Touched {
			out := map[string]Touched{}
			for _, x := range list {
				out[x.ID] = x
			}
			return out
		}
		got := w.all(t, c, began)
		if diff := cmp.Diff(byID(want), byID(got)); diff != "" || len(got) != len(want) {
			t.Errorf("%s: %d found, %d wanted (-want +got):\n%s", version, len(got), len(want), diff)
		}
		if len(sent) <= 100 || len(want) == len(sent) {
			t.Fatalf("%d of %d events are relevant: that is no test", len(want), len(sent))
		}
		if diff := cmp.Diff(map[string]int{listEvents: (len(sent) + 99) / 100}, w.Calls()); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		for i := 1; i < len(got); i++ {
			if got[i].At.After(got[i-1].At) {
				t.Fatalf("%+v comes after %+v, want the newest first", got[i], got[i-1])
			}
		}
	}
}

func TestEventsSince(t *testing.T) {
	w := newWorld(t) // customer.created, payment_method.attached, customer.updated
	c := w.client(t, ClientConfig{})
	w.advance(time.Hour)
	id := w.subscribe(t, sandbox.SubscriptionParams{})
	later := w.Clock.Now()

	if got := w.all(t, c, time.Time{}); len(got) == 0 || got[len(got)-1].Key != record.StripeCustomer(w.customer.ID) {
		t.Errorf("since ever: got %+v, want the customer last", got)
	}
	got := w.all(t, c, later) // the same second is in it
	if len(got) == 0 || got[len(got)-1].Type != "customer.subscription.created" {
		t.Errorf("got %+v, want what happened from then on", got)
	}
	for _, x := range got {
		if x.Key != record.StripeSubscription(id) {
			t.Errorf("got %+v, want the subscription only", x)
		}
	}
	if got := w.all(t, c, later.Add(time.Second)); len(got) != 0 {
		t.Errorf("got %+v, want nothing yet", got)
	}
	// What is older than EventsKept is gone, and to ask for it is no error.
	w.advance(EventsKept + time.Minute)
	got = w.all(t, c, start)
	for _, x := range got {
		if x.At.Before(w.Clock.Now().Add(-EventsKept)) {
			t.Errorf("%+v is older than what Stripe keeps", x)
		}
	}
	if len(got) == 0 {
		t.Error("the renewal left no events")
	}
	// What nobody is told of is found by marks only.
	before := w.marks(t, c)[id]
	count := len(w.all(t, c, start))
	w.SetQuiet(true)
	must(t, w.SetMetadata(id, map[string]string{"a": "b"}, sandbox.ByRequest("")))
	w.SetQuiet(false)
	if after := w.marks(t, c)[id]; after == before || len(w.all(t, c, start)) != count {
		t.Errorf("a silent change: mark %q and %q, %d events where %d were", before, after, len(w.all(t, c, start)), count)
	}
}

// BenchmarkGlimpses shows what a page of a hundred costs from end to end.
func BenchmarkGlimpses(b *testing.B) {
	s := sandbox.New(sandbox.Config{Clock: httpsim.FrozenClock(start), Seed: 7})
	s.SetQuiet(true)
	for range 100 {
		cus, err := s.AddCustomer(sandbox.CustomerParams{Name: "Ada Reader"})
		if err == nil {
			_, err = s.AddPaymentMethod(sandbox.PaymentMethodParams{Customer: cus.ID, Default: true})
		}
		if err == nil {
			_, err = s.AddSubscription(sandbox.SubscriptionParams{Customer: cus.ID, Item: sandbox.ItemParams{Amount: 4200}})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	srv := httptest.NewServer(s)
	defer srv.Close()
	c, err := NewClient(ClientConfig{BaseURL: srv.URL, Key: secret.New("sk_test_sandbox")})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if page, err := c.Glimpses(b.Context(), ""); err != nil || len(page.Glimpses) != 100 {
			b.Fatal(len(page.Glimpses), err)
		}
	}
}
