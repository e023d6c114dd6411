package stripe

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/event"
	"hotsync/internal/callout"
	"hotsync/internal/fault"
	"hotsync/internal/secret"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	sandbox "hotsync/sandbox/stripe"
)

const (
	getSub       = "GET /v1/subscriptions/{id}"
	listSubs     = "GET /v1/subscriptions"
	listInvoices = "GET /v1/invoices"
	getUpcoming  = "GET /v1/invoices/upcoming"
)

var start = time.Date(2027, 1, 31, 9, 0, 0, 0, time.UTC)

// world is a simulated Stripe with one customer that has a card.
type world struct {
	*sandbox.Server
	url      string
	customer sandbox.Customer
	card     sandbox.PaymentMethod
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Server: sandbox.New(sandbox.Config{Clock: httpsim.FrozenClock(start), Seed: 7, DunningEnd: sandbox.DunningUnpaid})}
	srv := httptest.NewServer(w)
	t.Cleanup(srv.Close)
	w.url = srv.URL
	var err error
	if w.customer, err = w.AddCustomer(sandbox.CustomerParams{Name: "Ada Reader"}); err != nil {
		t.Fatal(err)
	}
	w.card, err = w.AddPaymentMethod(sandbox.PaymentMethodParams{Customer: w.customer.ID, Default: true,
		Card: sandbox.Card{Brand: "visa", Last4: "4242", ExpMonth: 8, ExpYear: 2030}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) subscribe(t *testing.T, p sandbox.SubscriptionParams) string {
	t.Helper()
	p.Customer = w.customer.ID
	if p.Item.Amount == 0 && len(p.Items) == 0 {
		p.Item = sandbox.ItemParams{Product: "Team", Amount: 4200, Currency: "eur"}
	}
	s, err := w.AddSubscription(p)
	if err != nil {
		t.Fatal(err)
	}
	return s.ID
}

func (w *world) advance(d time.Duration) {
	w.Clock.Advance(d)
	w.Tick()
}

func (w *world) client(t *testing.T, cfg ClientConfig) *Client {
	t.Helper()
	cfg.BaseURL = w.url
	if cfg.Key.IsZero() {
		cfg.Key = secret.New("sk_test_sandbox")
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read reads a subscription and fails unless it took exactly these calls.
func (w *world) read(t *testing.T, c *Client, id string, calls map[string]int) record.Subscription {
	t.Helper()
	w.ResetCalls()
	got, err := c.Subscription(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(calls, w.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	return got
}

func three() map[string]int { return map[string]int{getSub: 1, listInvoices: 1, getUpcoming: 1} }
func two() map[string]int   { return map[string]int{getSub: 1, listInvoices: 1} }

func eur(amount string) record.Money { return record.Money{Amount: amount, Currency: "EUR"} }

func TestSubscriptionThroughARenewal(t *testing.T) {
	w := newWorld(t)
	id := w.subscribe(t, sandbox.SubscriptionParams{Metadata: map[string]string{"limio_subscription_id": "sub-1"}})
	c := w.client(t, ClientConfig{})
	february, march := time.Date(2027, 2, 28, 9, 0, 0, 0, time.UTC), time.Date(2027, 3, 31, 9, 0, 0, 0, time.UTC)

	got := w.read(t, c, id, three())
	first := w.Invoices(id)[0].ID
	text := got.Schedules[0].Description
	want := record.Subscription{
		ID: id, Customer: w.customer.ID, Status: record.StatusActive, SourceStatus: "active",
		Start: start, TermStart: start, TermEnd: february, AutoRenew: true,
		Schedules: []record.Schedule{
			{ID: first, State: record.SchedulePaid, Date: start, Amount: eur("42.00"), Description: text},
			{State: record.ScheduleUpcoming, Date: february, Amount: eur("42.00"), Description: text},
		},
		PaymentMethod: &record.PaymentMethod{ID: w.card.ID, Type: "card", Active: true, Brand: "visa", Last4: "4242", ExpMonth: 8, ExpYear: 2030},
		Metadata:      map[string]string{"limio_subscription_id": "sub-1"},
		Mark:          got.Mark, // see mark_test.go
		Created:       start,
		Items:         []record.Item{{Price: got.Items[0].Price, Quantity: 1}},
		Buyer:         record.Address{FirstName: "Ada", LastName: "Reader"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("new (-want +got):\n%s", diff)
	}
	if !strings.Contains(text, "Team") {
		t.Errorf("description %q, want the product in it", text)
	}

	// The draft hour: the period has rolled, its invoice is neither paid nor
	// upcoming, and must not be lost.
	w.advance(february.Sub(start) + time.Minute)
	got = w.read(t, c, id, three())
	second := w.Invoices(id)[1].ID
	want.TermStart, want.TermEnd, want.Mark = february, march, got.Mark
	want.Schedules = []record.Schedule{
		want.Schedules[0],
		{ID: second, State: record.SchedulePending, Date: february, Amount: eur("42.00"), Description: text},
		{State: record.ScheduleUpcoming, Date: march, Amount: eur("42.00"), Description: text},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("draft hour (-want +got):\n%s", diff)
	}

	w.advance(2 * time.Hour)
	got = w.read(t, c, id, three())
	want.Schedules[1].State, want.Mark = record.SchedulePaid, got.Mark
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("renewed (-want +got):\n%s", diff)
	}
}

func TestSubscriptionEndings(t *testing.T) {
	end := start.AddDate(0, 0, 28)
	tests := []struct {
		name   string
		change func(w *world, id string) error
		calls  map[string]int
		want   record.Subscription // Status, SourceStatus, TermEnd, Ending
		next   bool                // an upcoming schedule is there
	}{
		{"goes on", func(*world, string) error { return nil }, three(),
			record.Subscription{Status: record.StatusActive, SourceStatus: "active", TermEnd: end}, true},
		{"at the end of the period", func(w *world, id string) error {
			return w.CancelAtPeriodEnd(id, true, sandbox.ByRequest(""))
		}, two(), record.Subscription{Status: record.StatusActive, SourceStatus: "active", TermEnd: end, Ending: true}, false},
		{"within the period", func(w *world, id string) error {
			return w.CancelAt(id, start.AddDate(0, 0, 10), sandbox.ByRequest(""))
		}, two(), record.Subscription{Status: record.StatusActive, SourceStatus: "active", TermEnd: start.AddDate(0, 0, 10), Ending: true}, false},
		{"months later: payments are still to come", func(w *world, id string) error {
			return w.CancelAt(id, start.AddDate(0, 6, 0), sandbox.ByRequest(""))
		}, three(), record.Subscription{Status: record.StatusActive, SourceStatus: "active", TermEnd: start.AddDate(0, 6, 0), Ending: true}, true},
		{"at once", func(w *world, id string) error {
			w.advance(72 * time.Hour)
			return w.CancelNow(id, sandbox.ByRequest(""))
		}, two(), record.Subscription{Status: record.StatusCancelled, SourceStatus: "canceled", TermEnd: start.Add(72 * time.Hour), Ending: true}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			id := w.subscribe(t, sandbox.SubscriptionParams{})
			if err := tt.change(w, id); err != nil {
				t.Fatal(err)
			}
			got := w.read(t, w.client(t, ClientConfig{}), id, tt.calls)
			have := record.Subscription{Status: got.Status, SourceStatus: got.SourceStatus, TermEnd: got.TermEnd, Ending: got.Ending}
			if diff := cmp.Diff(tt.want, have); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.AutoRenew == got.Ending {
				t.Errorf("auto-renew %t while ending %t", got.AutoRenew, got.Ending)
			}
			if next := got.Schedules[len(got.Schedules)-1].State == record.ScheduleUpcoming; next != tt.next {
				t.Errorf("upcoming %t, want %t: %+v", next, tt.next, got.Schedules)
			}
		})
	}
}

func TestSubscriptionTrialHasNoEmptyPayment(t *testing.T) {
	w := newWorld(t)
	id := w.subscribe(t, sandbox.SubscriptionParams{TrialEnd: start.AddDate(0, 0, 14)})
	got := w.read(t, w.client(t, ClientConfig{}), id, three())
	if got.SourceStatus != "trialing" || got.Status != record.StatusActive || len(w.Invoices(id)) != 1 {
		t.Fatalf("got %+v with %d invoices, want an active trial with one", got, len(w.Invoices(id)))
	}
	if len(got.Schedules) != 1 || got.Schedules[0].State != record.ScheduleUpcoming || !got.Schedules[0].Date.Equal(start.AddDate(0, 0, 14)) {
		t.Errorf("schedules %+v, want only the upcoming one at the trial's end", got.Schedules)
	}
}

func TestSubscriptionDunning(t *testing.T) {
	w := newWorld(t)
	id := w.subscribe(t, sandbox.SubscriptionParams{FailFrom: start.Add(time.Hour)})
	w.advance(29 * 24 * time.Hour)
	got := w.read(t, w.client(t, ClientConfig{}), id, three())
	if got.SourceStatus != "past_due" || got.Status != record.StatusActive || got.Schedules[1].State != record.SchedulePending {
		t.Fatalf("got %s (%s) with %+v, want past_due (active) with a pending payment", got.SourceStatus, got.Status, got.Schedules)
	}
	w.advance(16 * 24 * time.Hour)
	got = w.read(t, w.client(t, ClientConfig{StatusMap: map[string]string{"unpaid": "cancelled"}}), id, three())
	if got.SourceStatus != "unpaid" || got.Status != record.StatusCancelled {
		t.Fatalf("got %s (%s), want unpaid (cancelled)", got.SourceStatus, got.Status)
	}
	open := w.Invoices(id)[1]
	if err := w.VoidInvoice(open.ID, sandbox.ByRequest("")); err != nil {
		t.Fatal(err)
	}
	got = w.read(t, w.client(t, ClientConfig{}), id, three())
	if got.Schedules[1].ID != open.ID || got.Schedules[1].State != record.ScheduleCancelled {
		t.Errorf("schedule %+v, want %s cancelled", got.Schedules[1], open.ID)
	}
}

func TestSubscriptionIncompleteIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	id := w.subscribe(t, sandbox.SubscriptionParams{FailFrom: start})
	got, err := w.client(t, ClientConfig{}).Subscription(t.Context(), id)
	if err != nil || got.SourceStatus != "incomplete" || got.Status != record.StatusLeave {
		t.Fatalf("got %+v, %v, want incomplete with no status of ours", got, err)
	}
}

func TestSubscriptionCard(t *testing.T) {
	type setup struct {
		own    *sandbox.PaymentMethodParams // of the subscription
		common *sandbox.PaymentMethodParams // of the customer, in place of the visa
		delete bool
	}
	master := &sandbox.PaymentMethodParams{Card: sandbox.Card{Brand: "mastercard", Last4: "4444", ExpMonth: 1, ExpYear: 2031}}
	tests := []struct {
		name string
		setup
		from string
		want *record.PaymentMethod // without ID
	}{
		{"the customer's", setup{own: master}, CardFromCustomer, &record.PaymentMethod{Type: "card", Active: true, Brand: "visa", Last4: "4242", ExpMonth: 8, ExpYear: 2030}},
		{"the subscription's own", setup{own: master}, CardFromSubscriptionFirst, &record.PaymentMethod{Type: "card", Active: true, Brand: "mastercard", Last4: "4444", ExpMonth: 1, ExpYear: 2031}},
		{"the subscription has none", setup{}, CardFromSubscriptionFirst, &record.PaymentMethod{Type: "card", Active: true, Brand: "visa", Last4: "4242", ExpMonth: 8, ExpYear: 2030}},
		{"no card at all", setup{common: &sandbox.PaymentMethodParams{Type: "sepa_debit", Last4: "3000"}}, CardFromCustomer, &record.PaymentMethod{Type: "sepa_debit", Active: true}},
		{"deleted customer", setup{delete: true}, CardFromCustomer, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			var p sandbox.SubscriptionParams
			if tt.own != nil {
				own := *tt.own
				own.Customer = w.customer.ID
				pm, err := w.AddPaymentMethod(own)
				if err != nil {
					t.Fatal(err)
				}
				p.DefaultPaymentMethod = pm.ID
			}
			if tt.common != nil {
				common := *tt.common
				common.Customer, common.Default = w.customer.ID, true
				if _, err := w.AddPaymentMethod(common); err != nil {
					t.Fatal(err)
				}
			}
			id := w.subscribe(t, p)
			calls := three()
			if tt.delete {
				if err := w.DeleteCustomer(w.customer.ID, sandbox.ByRequest("")); err != nil {
					t.Fatal(err)
				}
				calls = two() // Stripe ends the subscriptions of a deleted customer
			}
			got := w.read(t, w.client(t, ClientConfig{CardFrom: tt.from}), id, calls).PaymentMethod
			if got != nil {
				if got.ID == "" {
					t.Error("the payment method has no id")
				}
				got.ID = ""
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSubscriptionLegacyCard(t *testing.T) {
	w := newWorld(t)
	cus, err := w.AddCustomer(sandbox.CustomerParams{Name: "Old Reader"})
	if err != nil {
		t.Fatal(err)
	}
	w.customer = cus
	src, err := w.AddPaymentMethod(sandbox.PaymentMethodParams{Customer: cus.ID, Legacy: true, Default: true,
		Card: sandbox.Card{Brand: "amex", Last4: "0005", ExpMonth: 3, ExpYear: 2029}})
	if err != nil {
		t.Fatal(err)
	}
	id := w.subscribe(t, sandbox.SubscriptionParams{})
	got := w.read(t, w.client(t, ClientConfig{}), id, three())
	want := &record.PaymentMethod{ID: src.ID, Type: "card", Active: true, Brand: "amex", Last4: "0005", ExpMonth: 3, ExpYear: 2029}
	if diff := cmp.Diff(want, got.PaymentMethod); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSubscriptionPagesInvoices(t *testing.T) {
	w := newWorld(t)
	id := w.subscribe(t, sandbox.SubscriptionParams{Start: start.AddDate(0, 0, -250),
		Item: sandbox.ItemParams{Amount: 100, Currency: "eur", Interval: "day"}})
	got := w.read(t, w.client(t, ClientConfig{}), id, map[string]int{getSub: 1, listInvoices: 3, getUpcoming: 1})
	if n := len(w.Invoices(id)) + 1; len(got.Schedules) != n || n < 251 {
		t.Errorf("%d schedules, want %d", len(got.Schedules), n)
	}
}

func TestSubscriptionOfBasilFailsLoudly(t *testing.T) {
	w := newWorld(t)
	id := w.subscribe(t, sandbox.SubscriptionParams{})
	w.SetBasil(true)
	w.ResetCalls()
	_, err := w.client(t, ClientConfig{}).Subscription(t.Context(), id)
	if fault.Of(err) != fault.Refused || !strings.Contains(err.Error(), "2025-03-31.basil") || !strings.Contains(err.Error(), "Stripe-Version") {
		t.Errorf("got %v (%s), want refused with the version in its text", err, fault.Of(err))
	}
	if diff := cmp.Diff(map[string]int{getSub: 1}, w.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestSubscriptionsOf(t *testing.T) {
	w := newWorld(t)
	w.SetQuiet(true)
	want := map[string]bool{}
	for range 130 {
		want[w.subscribe(t, sandbox.SubscriptionParams{})] = true
	}
	for id := range want {
		if err := w.CancelNow(id, sandbox.ByRequest("")); err != nil {
			t.Fatal(err)
		}
		break
	}
	c := w.client(t, ClientConfig{})
	w.ResetCalls()
	ids, err := c.SubscriptionsOf(t.Context(), w.customer.ID)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, id := range ids {
		got[id] = true
	}
	if diff := cmp.Diff(want, got); diff != "" || len(ids) != 130 {
		t.Errorf("%d ids (-want +got):\n%s", len(ids), diff)
	}
	if diff := cmp.Diff(map[string]int{listSubs: 2}, w.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if _, err := c.SubscriptionsOf(t.Context(), "cus_missing"); fault.Of(err) != fault.NotFound {
		t.Errorf("unknown customer: got %v (%s), want not_found", err, fault.Of(err))
	}
	if _, err := c.SubscriptionsOf(t.Context(), "cus/1"); fault.Of(err) != fault.Refused {
		t.Errorf("odd customer: got %v (%s), want refused", err, fault.Of(err))
	}
}

func TestPing(t *testing.T) {
	w := newWorld(t)
	if err := w.client(t, ClientConfig{}).Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := w.client(t, ClientConfig{Key: secret.New("sk_no")}).Ping(t.Context()); fault.Of(err) != fault.Forbidden {
		t.Errorf("got %v (%s), want forbidden", err, fault.Of(err))
	}
}

func TestCallsAreNotedWithoutIDs(t *testing.T) {
	w := newWorld(t)
	id := w.subscribe(t, sandbox.SubscriptionParams{})
	var seen []string
	c := w.client(t, ClientConfig{Observe: func(c callout.Call) { seen = append(seen, c.Method+" "+c.Route) }})
	var log callout.Log
	if _, err := c.Subscription(callout.Into(t.Context(), &log), id); err != nil {
		t.Fatal(err)
	}
	want := []string{getSub, getUpcoming, listInvoices}
	var noted []string
	for _, call := range log.Calls() {
		if call.Service != "stripe" || call.Status != http.StatusOK {
			t.Errorf("noted %+v", call)
		}
		noted = append(noted, call.Method+" "+call.Route)
	}
	if diff := cmp.Diff([][]string{want, want}, [][]string{seen, noted}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNewClientRefuses(t *testing.T) {
	key := secret.New("sk_1")
	for text, cfg := range map[string]ClientConfig{
		"API key is required":        {},
		"holds a space":              {Key: secret.New("sk_1\n")},
		"base URL":                   {Key: key, BaseURL: "api.stripe.com"},
		"must not be negative":       {Key: key, MaxInFlight: -1},
		"card from":                  {Key: key, CardFrom: "anywhere"},
		"is no status":               {Key: key, StatusMap: map[string]string{"cancelled": "active"}},
		"active, cancelled or leave": {Key: key, StatusMap: map[string]string{"paused": "gone"}},
	} {
		if _, err := NewClient(cfg); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got error %v, want %q", err, text)
		}
	}
}

func TestAmount(t *testing.T) {
	tests := []struct {
		units    int64
		currency string
		want     record.Money
	}{
		{4200, "eur", record.Money{Amount: "42.00", Currency: "EUR"}},
		{5, "usd", record.Money{Amount: "0.05", Currency: "USD"}},
		{980, "jpy", record.Money{Amount: "980", Currency: "JPY"}},
		{500, "mga", record.Money{Amount: "500", Currency: "MGA"}},
		{500, "isk", record.Money{Amount: "5", Currency: "ISK"}},
		{500, "ugx", record.Money{Amount: "5", Currency: "UGX"}},
		{550, "isk", record.Money{Amount: "5.50", Currency: "ISK"}},
		{12340, "kwd", record.Money{Amount: "12.340", Currency: "KWD"}},
		{4200, "huf", record.Money{Amount: "42.00", Currency: "HUF"}},
	}
	for _, tt := range tests {
		if got := amount(tt.units, tt.currency); got != tt.want {
			t.Errorf("%d %s: got %+v, want %+v", tt.units, tt.currency, got, tt.want)
		}
	}
}

// What the simulated Stripe sends over a life of a subscription is decoded,
// with signatures, in both versions.
func TestDecodeWhatTheSandboxSends(t *testing.T) {
	for _, version := range []string{sandbox.APIVersion, sandbox.APIVersionBasil} {
		w := newWorld(t)
		w.SetWebhookAPIVersion(version)
		w.TakeEvents()
		id := w.subscribe(t, sandbox.SubscriptionParams{FailFrom: start.AddDate(0, 2, 0)})
		w.advance(70 * 24 * time.Hour)
		if err := w.DetachPaymentMethod(w.card.ID, sandbox.ByRequest("")); err != nil {
			t.Fatal(err)
		}
		d := decoder(t, withSecrets("whsec_sandbox"))
		keys, events := map[record.Key]int{}, w.TakeEvents()
		for _, e := range events {
			got, err := d.Decode(t.Context(), message(e.Body, map[string]string{"Stripe-Signature": sign(e.Body, "whsec_sandbox")}))
			if err != nil {
				t.Errorf("%s: %v", e.Type, err)
			}
			for _, tr := range got.Triggers {
				keys[tr.Key]++
			}
			related := strings.HasPrefix(e.Type, "customer.subscription.") || strings.HasPrefix(e.Type, "invoice.") || strings.HasPrefix(e.Type, "payment_method.")
			if related && got.Reason == event.ReasonIrrelevantType {
				t.Errorf("%s of %s: %s", e.Type, version, got.Note)
			}
		}
		if len(events) < 20 || keys[record.StripeSubscription(id)] < 15 || keys[record.StripeCustomer(w.customer.ID)] < 2 || len(keys) != 2 {
			t.Errorf("%d events of %s became %v", len(events), version, keys)
		}
	}
}
