package stripe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	stripego "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/webhook"
	"pgregory.net/rapid"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/stripe"
)

func TestSignatures(t *testing.T) {
	w := newWorld(t, func(c *stripe.Config) { c.WebhookSecrets = []string{"whsec_old"} })
	w.subscribe()
	body := w.TakeEvents()[0].Body
	now := time.Now() // stripe-go compares with the machine's clock
	verify := func(secret string) error {
		_, err := webhook.ConstructEvent(body, w.Sign(body, now), secret)
		return err
	}
	if verify("whsec_old") != nil || verify("whsec_new") == nil {
		t.Error("the one secret does not decide")
	}
	w.SetWebhookSecrets("whsec_new", "whsec_old")
	if verify("whsec_old") != nil || verify("whsec_new") != nil || strings.Count(w.Sign(body, now), "v1=") != 2 {
		t.Errorf("while rolling: %s", w.Sign(body, now))
	}
	w.SetWebhookSecrets("whsec_new")
	if verify("whsec_old") == nil {
		t.Error("the old secret still signs")
	}
	if _, err := webhook.ConstructEvent(body, w.Sign(body, now.Add(-10*time.Minute)), "whsec_new"); err == nil {
		t.Error("an old signature is accepted")
	}
}

func TestEventsAreListed(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	w.at(sub.CurrentPeriodEnd.Add(time.Hour))
	events := w.take()
	list := func(change func(*stripego.EventListParams)) (got []string) {
		p := &stripego.EventListParams{}
		p.Limit = stripego.Int64(4)
		change(p)
		it := w.api.Events.List(p)
		for it.Next() {
			got = append(got, it.Event().ID)
		}
		w.ok(it.Err())
		slices.Reverse(got)
		return got
	}
	ids := func(keep func(sent) bool) (got []string) {
		for _, e := range events {
			if keep(e) {
				got = append(got, e.ID)
			}
		}
		return got
	}
	recent := func(e sent) bool { return !e.Created.Before(w.clock.Now().Add(-30 * day)) }
	if n := len(ids(recent)); n == len(events) || n < 9 {
		t.Fatalf("%d of %d events are recent: the test proves nothing", n, len(events))
	}
	for name, tc := range map[string]struct {
		change func(*stripego.EventListParams)
		keep   func(sent) bool
	}{
		"all": {func(*stripego.EventListParams) {}, recent},
		"two types": {func(p *stripego.EventListParams) {
			p.Types = stripego.StringSlice([]string{"invoice.paid", "customer.subscription.updated"})
		}, func(e sent) bool {
			return recent(e) && (e.Type == "invoice.paid" || e.Type == "customer.subscription.updated")
		}},
		"a pattern": {func(p *stripego.EventListParams) { p.Type = stripego.String("charge.*") },
			func(e sent) bool { return recent(e) && e.Type == "charge.succeeded" }},
		"since": {func(p *stripego.EventListParams) {
			p.CreatedRange = &stripego.RangeQueryParams{GreaterThanOrEqual: sub.CurrentPeriodEnd.Unix()}
		}, func(e sent) bool { return !e.Created.Before(sub.CurrentPeriodEnd) }},
		"delivered":   {func(p *stripego.EventListParams) { p.DeliverySuccess = stripego.Bool(true) }, recent},
		"undelivered": {func(p *stripego.EventListParams) { p.DeliverySuccess = stripego.Bool(false) }, func(sent) bool { return false }},
	} {
		if diff := cmp.Diff(ids(tc.keep), list(tc.change)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	last := events[len(events)-1]
	w.ok(w.SetDelivered(last.ID, false))
	if diff := cmp.Diff([]string{last.ID}, list(func(p *stripego.EventListParams) { p.DeliverySuccess = stripego.Bool(false) })); diff != "" {
		t.Error(diff)
	}
	_, _, shown := w.get("/v1/events/" + last.ID)
	var was map[string]any
	w.ok(json.Unmarshal(last.Body, &was))
	if diff := cmp.Diff(was, shown); diff != "" {
		t.Errorf("the event by id: %s", diff)
	}
	w.refused("/v1/events/"+events[0].ID, 404, "resource_missing")
}

func TestTwin(t *testing.T) {
	w := newWorld(t)
	w.subscribe()
	first := w.take()[3]
	twin, err := w.TwinEvent(first.ID)
	w.ok(err)
	got := w.take()
	if len(got) != 1 || got[0].ID != twin.ID || twin.ID == first.ID || got[0].Type != first.Type ||
		!cmp.Equal(got[0].Data, first.Data) || !got[0].Created.Equal(first.Created) {
		t.Errorf("twin %+v of %+v", got, first)
	}
	if _, err := w.TwinEvent("evt_none"); err == nil {
		t.Error("nothing had a twin")
	}
}

func TestCardUpdates(t *testing.T) {
	w := newWorld(t)
	_, pm := w.customer()
	w.take()
	w.ok(w.UpdateCard(pm, stripe.CardChange{ExpMonth: 4, ExpYear: 2033}, stripe.ByStripe()))
	w.ok(w.UpdateCard(pm, stripe.CardChange{ExpMonth: 5}, stripe.ByRequest("")))
	w.ok(w.UpdateCard(pm, stripe.CardChange{ExpMonth: 5}, stripe.ByRequest("")))
	got := w.take()
	if diff := cmp.Diff([]string{"payment_method.automatically_updated", "payment_method.updated"}, types(got)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"card": map[string]any{"exp_month": 4.0}}, got[1].Data.Previous); diff != "" {
		t.Error(diff)
	}
	if m, _ := w.PaymentMethod(pm); m.Card.ExpMonth != 5 || m.Card.ExpYear != 2033 {
		t.Errorf("%+v", m.Card)
	}
}

// receiver counts deliveries and refuses as told.
type receiver struct {
	mu     sync.Mutex
	got    []string
	refuse func(id string, attempt int) int
	seen   map[string]int
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	var e struct{ ID string }
	_ = json.Unmarshal(body, &e)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[e.ID]++
	if status := r.refuse(e.ID, r.seen[e.ID]); status != 0 {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		return
	}
	if err := webhook.ValidatePayloadIgnoringTolerance(body, req.Header.Get("Stripe-Signature"), "whsec_sandbox"); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.got = append(r.got, e.ID)
}

func TestDeliverRetries(t *testing.T) {
	w := newWorld(t, func(c *stripe.Config) { c.RetryDelays = []time.Duration{time.Minute, time.Hour} })
	w.customer()
	w.ok(w.SetCustomerDefaultPaymentMethod(w.mustCustomer(), "", stripe.ByRequest(""))) // five events in all
	_, _, page := w.get("/v1/events?limit=100")
	var ids []string
	for _, e := range page["data"].([]any) {
		ids = append([]string{e.(map[string]any)["id"].(string)}, ids...)
	}
	r := &receiver{seen: map[string]int{}, refuse: func(id string, attempt int) int {
		switch {
		case id == ids[0] && attempt < 3:
			return http.StatusMovedPermanently
		case id == ids[1]:
			return http.StatusInternalServerError
		}
		return 0
	}}
	srv := httptest.NewServer(r)
	defer srv.Close()
	deliver := func(want stripe.Delivery) {
		t.Helper()
		got, err := w.Deliver(context.Background(), srv.Client(), srv.URL)
		w.ok(err)
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	n := len(ids) - 2
	deliver(stripe.Delivery{Delivered: n, Failed: 2, Waiting: 2})
	deliver(stripe.Delivery{Waiting: 2})
	w.clock.Advance(time.Minute)
	deliver(stripe.Delivery{Failed: 2, Waiting: 2})
	w.clock.Advance(time.Hour)
	deliver(stripe.Delivery{Delivered: 1, Failed: 1, GivenUp: 1})
	if diff := cmp.Diff(append(slices.Clone(ids[2:]), ids[0]), r.got); diff != "" {
		t.Error(diff)
	}
	_, _, lost := w.get("/v1/events?delivery_success=false")
	if data := lost["data"].([]any); len(data) != 1 || data[0].(map[string]any)["id"] != ids[1] {
		t.Errorf("undelivered: %v", data)
	}

	w.customer()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if d, err := w.Deliver(ctx, nil, srv.URL); err == nil || d.Waiting == 0 || d.Delivered != 0 {
		t.Errorf("under a cancelled context: %+v, %v", d, err)
	}
}

// mustCustomer returns the customer that the first event tells of.
func (w *world) mustCustomer() string {
	w.Helper()
	_, _, page := w.get("/v1/events?type=customer.created")
	return page["data"].([]any)[0].(map[string]any)["data"].(map[string]any)["object"].(map[string]any)["id"].(string)
}

func TestBasil(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	check := func(t *testing.T, s, inv map[string]any) {
		t.Helper()
		item := s["items"].(map[string]any)["data"].([]any)[0].(map[string]any)
		if _, has := s["current_period_end"]; has || item["current_period_end"] != float64(sub.CurrentPeriodEnd.Unix()) {
			t.Errorf("the period: %v on the item, %v above", item["current_period_end"], s["current_period_end"])
		}
		parent, _ := inv["parent"].(map[string]any)
		details, _ := parent["subscription_details"].(map[string]any)
		if _, has := inv["subscription"]; has || details["subscription"] != sub.ID {
			t.Errorf("the invoice's parent: %v", parent)
		}
		line := inv["lines"].(map[string]any)["data"].([]any)[0].(map[string]any)
		if line["pricing"] == nil || line["price"] != nil {
			t.Errorf("line %v", line)
		}
	}
	t.Run("by header", func(t *testing.T) {
		_, h, s := w.get("/v1/subscriptions/"+sub.ID, "Stripe-Version", stripe.APIVersionBasil)
		_, _, inv := w.get("/v1/invoices/"+sub.LatestInvoice, "Stripe-Version", stripe.APIVersionBasil)
		check(t, s, inv)
		if h.Get("Stripe-Version") != stripe.APIVersionBasil {
			t.Errorf("answered in %s", h.Get("Stripe-Version"))
		}
		status, _, _ := w.get("/v1/invoices/upcoming?subscription="+sub.ID, "Stripe-Version", stripe.APIVersionBasil)
		if status != 404 {
			t.Errorf("upcoming: %d", status)
		}
	})
	t.Run("by webhook", func(t *testing.T) {
		w.take()
		w.SetWebhookAPIVersion(stripe.APIVersionBasil)
		w.at(sub.CurrentPeriodEnd)
		events := w.take()
		w.SetWebhookAPIVersion(stripe.APIVersion)
		e := only(t, events, "customer.subscription.updated")
		if _, has := e.Data.Object["current_period_end"]; has || e.APIVersion != stripe.APIVersionBasil || e.Data.Previous["items"] == nil {
			t.Errorf("%s: %v", e.APIVersion, e.Data.Previous)
		}
		if got, err := w.api.Subscriptions.Get(sub.ID, nil); err != nil || got.CurrentPeriodEnd == 0 {
			t.Errorf("the pinned client: %+v, %v", got, err)
		}
	})
	t.Run("forced", func(t *testing.T) {
		w.SetBasil(true)
		defer w.SetBasil(false)
		got, err := w.api.Subscriptions.Get(sub.ID, nil)
		w.ok(err)
		if got.CurrentPeriodEnd != 0 {
			t.Error("stripe-go v76 still finds a period on the subscription")
		}
		_, err = w.api.Invoices.Upcoming(&stripego.InvoiceUpcomingParams{Subscription: &sub.ID})
		if e := stripeError(t, err); e.HTTPStatusCode != 404 || e.Code == stripego.ErrorCodeInvoiceUpcomingNone {
			t.Errorf("upcoming: %+v", e)
		}
	})
}

func TestSameSeedSameWorld(t *testing.T) {
	build := func(read bool) []stripe.Event {
		w := newWorld(t)
		sub := w.subscribe()
		if read {
			w.get("/v1/subscriptions/" + sub.ID)
		}
		w.at(epoch.AddDate(0, 2, 0))
		return w.TakeEvents()
	}
	if diff := cmp.Diff(build(false), build(true)); diff != "" {
		t.Error(diff)
	}
}

// Whoever only listens to events, and keeps the last object of each, has in
// the end what the API shows; and nothing outlives the clock.
func TestEventsTellEverything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := stripe.New(stripe.Config{Clock: httpsim.FrozenClock(epoch), DunningDays: []int{1, 3},
			DunningEnd: rapid.SampledFrom([]stripe.DunningEnd{stripe.DunningCancel, stripe.DunningUnpaid, stripe.DunningPastDue}).Draw(rt, "end")})
		c, err := w.AddCustomer(stripe.CustomerParams{})
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := w.AddPaymentMethod(stripe.PaymentMethodParams{Customer: c.ID, Default: true}); err != nil {
			rt.Fatal(err)
		}
		p := stripe.SubscriptionParams{Customer: c.ID, Item: stripe.ItemParams{Amount: 100,
			Interval: rapid.SampledFrom([]string{"day", "week", "month"}).Draw(rt, "interval")}}
		if rapid.Bool().Draw(rt, "trial") {
			p.TrialEnd = epoch.Add(10 * day)
		}
		if rapid.Bool().Draw(rt, "first fails") {
			p.FailFrom = epoch
		}
		sub, err := w.AddSubscription(p)
		if err != nil {
			rt.Fatal(err)
		}
		cause := stripe.ByRequest("")
		// What a state does not allow is refused, which is fine here.
		rt.Repeat(map[string]func(*rapid.T){
			"time": func(rt *rapid.T) {
				w.Clock.Advance(time.Duration(rapid.IntRange(1, 100).Draw(rt, "hours")) * time.Hour)
				w.Tick()
			},
			"fail":   func(rt *rapid.T) { _ = w.FailPayments(sub.ID, rapid.Bool().Draw(rt, "on")) },
			"renew":  func(rt *rapid.T) { _ = w.RenewNow(sub.ID, rapid.Bool().Draw(rt, "paid")) },
			"ending": func(rt *rapid.T) { _ = w.CancelAtPeriodEnd(sub.ID, rapid.Bool().Draw(rt, "on"), cause) },
			"pause": func(rt *rapid.T) {
				_ = w.PauseCollection(sub.ID, rapid.SampledFrom([]string{"", "void", "keep_as_draft"}).Draw(rt, "how"), time.Time{}, cause)
			},
			"plan": func(rt *rapid.T) {
				_ = w.ChangePlan(sub.ID, stripe.ItemParams{Amount: rapid.Int64Range(0, 500).Draw(rt, "amount"),
					Interval: rapid.SampledFrom([]string{"", "month", "year"}).Draw(rt, "interval")}, cause)
			},
			"pay": func(*rapid.T) { all := w.Invoices(sub.ID); _ = w.PayInvoice(all[len(all)-1].ID, false, cause) },
			"": func(rt *rapid.T) {
				now := w.Clock.Now()
				s, _ := w.Subscription(sub.ID)
				ended := s.Status == stripe.StatusCanceled || s.Status == stripe.StatusIncompleteExpired
				if ended == s.EndedAt.IsZero() {
					rt.Fatalf("%s with its end at %v", s.Status, s.EndedAt)
				}
				if !ended && s.Status != stripe.StatusIncomplete && !s.CurrentPeriodEnd.After(now) {
					rt.Fatalf("%s with a period that ended %v, now %v", s.Status, s.CurrentPeriodEnd, now)
				}
			},
		})
		last := map[string]map[string]any{} // by object id
		for _, e := range w.TakeEvents() {
			var body sent
			if err := json.Unmarshal(e.Body, &body); err != nil {
				rt.Fatal(err)
			}
			if id, ok := body.Data.Object["id"].(string); ok {
				last[id] = body.Data.Object
			}
		}
		for _, o := range append(list(rt, w, "/v1/subscriptions?status=all"), list(rt, w, "/v1/invoices?limit=100")...) {
			if told := last[o["id"].(string)]; !reflect.DeepEqual(told, o) {
				diff := cmp.Diff(told, o)
				rt.Fatalf("the last event of %s tells another story (-event +API): %s", o["id"], diff)
			}
		}
	})
}

// list reads one page.
func list(rt *rapid.T, h http.Handler, path string) []map[string]any {
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, path, nil)
	req.SetBasicAuth("sk_test_sandbox", "")
	h.ServeHTTP(rec, req)
	var page struct{ Data []map[string]any }
	if err := json.Unmarshal(rec.Body.Bytes(), &page); err != nil || rec.Code != http.StatusOK {
		rt.Fatalf("GET %s: %d %s", path, rec.Code, rec.Body)
	}
	return page.Data
}

func TestConcurrentUse(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 20 {
				switch (i + n) % 4 {
				case 0:
					w.clock.Advance(6 * time.Hour)
					w.Tick()
				case 1:
					if err := w.SetMetadata(sub.ID, map[string]string{"k": fmt.Sprint(i, n)}, stripe.ByRequest("")); err != nil {
						t.Error(err)
					}
				case 2:
					if _, err := w.api.Subscriptions.Get(sub.ID, nil); err != nil {
						t.Error(err)
					}
				case 3:
					w.TakeEvents()
				}
			}
		})
	}
	wg.Wait()
	if got := w.sub(sub.ID); got.Status != stripe.StatusActive || got.Metadata["k"] == "" {
		t.Errorf("%+v", got)
	}
}
