package limio_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/limio"

	"github.com/google/go-cmp/cmp"
)

// zuora is a source of one subscription that a test may change.
type zuora struct {
	sub limio.ZuoraSubscription
	err error
}

func (z *zuora) read(_ context.Context, number string) (limio.ZuoraSubscription, error) {
	if z.err != nil {
		return limio.ZuoraSubscription{}, z.err
	}
	if number != z.sub.Number {
		return limio.ZuoraSubscription{}, fmt.Errorf("subscription %s: %w", number, limio.ErrUnknown)
	}
	return z.sub, nil
}

func annsSubscription() limio.ZuoraSubscription {
	return limio.ZuoraSubscription{
		Number: "A-S1", PlanName: "Team", Status: "Active", AutoRenew: true,
		TermStart: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), TermEnd: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
		Account: limio.ZuoraAccount{ID: "2c92", CRMID: "0015", Name: "Ann Example", FirstName: "Ann", LastName: "Example", Email: "ann@example.test"},
		BillTo:  limio.Address{FirstName: "Ann", Address1: "1 Test St", City: "Cork", Country: "IE"},
		SoldTo:  limio.Address{FirstName: "Ann", Address1: "2 Side St", City: "Cork", Country: "IE"},
	}
}

const zuoraSync = "/api/plugins/zuora/sync/subscription/A-S1"

func TestZuoraSyncCreates(t *testing.T) {
	src := &zuora{sub: annsSubscription()}
	w := newWorld(t, limio.Config{Zuora: src.read})
	out := w.do("POST", zuoraSync, "")
	sub := w.mustGet(out.Text("id"))
	equal(t, "success", out.At("success"), any(true))
	equal(t, "owner", out.Text("owner"), sub.Text("owner"))
	for path, want := range map[string]any{
		"reference": "A-S1", "name": "A-S1", "status": "active", "data.name": "Team", "data.attributes.autoRenew": true,
		"data.attributes.external": true, "data.termStartDate": "2026-01-01T00:00:00.000Z", "data.termEndDate": "2027-01-01",
	} {
		equal(t, path, sub.At(path), want)
	}
	customer, ok := w.CustomerByAccount("zuora", "2c92")
	if !ok {
		t.Fatal("no customer")
	}
	equal(t, "customer", sub.Text("customer"), customer.ID)
	equal(t, "email", customer.Text("data.email"), "ann@example.test")
	if other, ok := w.CustomerByAccount("salesforce", "0015"); !ok || other.ID != customer.ID {
		t.Error("no salesforce identity")
	}
	addresses := map[string]string{}
	for _, a := range w.Objects(limio.TypeAddress) {
		addresses[a.Text("relationship_type")] = a.Text("data.address1")
		equal(t, "customer", a.Text("customer"), customer.ID)
	}
	if diff := cmp.Diff(map[string]string{"billing": "1 Test St", "delivery": "2 Side St"}, addresses); diff != "" {
		t.Error(diff)
	}
	for _, none := range []string{limio.TypePaymentMethod, limio.TypeOffer, limio.TypeSchedule} {
		equal(t, none, w.Count(none), 0)
	}
	for _, e := range w.writes() {
		if !strings.HasPrefix(e, "sync create ") {
			t.Errorf("write: %s", e)
		}
	}
}

func TestZuoraSyncIsIdempotentAndRefreshes(t *testing.T) {
	src := &zuora{sub: annsSubscription()}
	w := newWorld(t, limio.Config{Zuora: src.read})
	first := w.do("POST", zuoraSync, "")
	w.clock.Advance(time.Minute)
	w.ResetWrites()
	again := w.do("POST", zuoraSync, "")
	equal(t, "id", again.Text("id"), first.Text("id"))
	if diff := cmp.Diff([]string{"sync update subscription noop"}, w.writes()); diff != "" {
		t.Error(diff)
	}
	equal(t, "updated", w.mustGet(first.Text("id")).Text("updated"), "2026-01-05T09:00:00.000Z")

	src.sub.Status, src.sub.AutoRenew = "Cancelled", false
	src.sub.TermEnd = src.sub.TermEnd.AddDate(1, 0, 0)
	src.sub.Account.Email, src.sub.Account.CRMID = "ann@new.test", "0016"
	src.sub.BillTo.City = "Dublin"
	w.ResetWrites()
	w.do("POST", zuoraSync, "")
	want := []string{"sync update address", "sync update customer", "sync update identity", "sync update subscription"}
	got := w.writes()
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	sub := w.mustGet(first.Text("id"))
	equal(t, "status", sub.Text("status"), "cancelled")
	equal(t, "end", sub.Text("data.termEndDate"), "2028-01-01")
	if _, ok := w.CustomerByAccount("salesforce", "0016"); !ok {
		t.Error("the salesforce identity was not refreshed")
	}

	src.sub.Status = "Suspended"
	w.do("POST", zuoraSync, "")
	equal(t, "suspended leaves the status", w.mustGet(sub.ID).Text("status"), "cancelled")
	src.sub.Status = "Pending Activation"
	w.do("POST", zuoraSync, "")
	equal(t, "pending", w.mustGet(sub.ID).Text("status"), "pending")
}

// A subscription that was born in Limio keeps its customer, who gets the
// account identity; the form of equal dates is left alone.
func TestZuoraSyncOfALimioBornSubscription(t *testing.T) {
	src := &zuora{sub: annsSubscription()}
	w := newWorld(t, limio.Config{Zuora: src.read})
	cus, _ := w.AddCustomer(limio.CustomerParams{Name: "Ann Example", FirstName: "Ann", LastName: "Example", Email: "ann@example.test"})
	id := w.AddSubscription(limio.SubscriptionParams{
		Customer: cus, Number: "A-S1", Name: "Team", AutoRenew: true,
		TermStart: src.sub.TermStart.Add(9 * time.Hour), TermEnd: src.sub.TermEnd,
	})
	before := w.mustGet(id)
	equal(t, "id", w.do("POST", zuoraSync, "").Text("id"), id)
	if diff := cmp.Diff(before.JSON, w.mustGet(id).JSON); diff != "" {
		t.Error(diff)
	}
	if c, _ := w.CustomerByAccount("zuora", "2c92"); c.ID != cus {
		t.Errorf("the identity went to %q", c.ID)
	}
	equal(t, "customers", w.Count(limio.TypeCustomer), 1)
}

func TestZuoraSyncEvents(t *testing.T) {
	src := &zuora{sub: annsSubscription()}
	w := newWorld(t, limio.Config{Zuora: src.read, SyncEventType: "hot.sync"})
	sub := w.do("POST", zuoraSync, "").Text("id")
	event, process := w.Objects(limio.TypeEvent)[0], w.Objects(limio.TypeProcessEvent)[0]
	equal(t, "hash", strings.TrimPrefix(process.ID, "process_"), event.ID)
	equal(t, "status", event.Text("status"), "submitted")
	equal(t, "type", event.Text("data.type"), "hot.sync")
	equal(t, "related", event.Text("related"), sub)
	equal(t, "status", process.Text("status"), "processed")
	equal(t, "errors", len(process.At("criticalPluginErrors").([]any)), 0)

	w.refused(502, "POST", "/api/plugins/zuora/sync/subscription/A-S2", "")
	src.err = errors.New("zuora is away")
	w.refused(502, "POST", zuoraSync, "")
	equal(t, "events", w.Count(limio.TypeEvent), 3)
	process = w.Objects(limio.TypeProcessEvent)[2]
	equal(t, "failed", process.Text("status"), "failed")
	equal(t, "errors", len(process.At("criticalPluginErrors").([]any)), 1)
	equal(t, "nothing else was made", w.Count(limio.TypeSubscription), 1)
	equal(t, "listed", len(w.do("GET", "/api/objects/limio/process", "").items()), 3)
}

func TestUnknownStatusIsConfigurable(t *testing.T) {
	src := &zuora{sub: annsSubscription()}
	w := newWorld(t, limio.Config{Zuora: src.read, UnknownStatus: 404})
	w.refused(404, "POST", "/api/plugins/zuora/sync/subscription/A-S2", "")
	w.refused(404, "POST", "/api/plugins/stripe/sync/subscription/sub-0", "")
	w.refused(400, "POST", zuoraSync+"?force=1", "")
	src.err = errors.New("away")
	w.refused(502, "POST", zuoraSync, "")
}

// A sync whose answer was lost happened once, and repeating it makes nothing.
func TestZuoraSyncAnswerLost(t *testing.T) {
	src := &zuora{sub: annsSubscription()}
	w := newWorld(t, limio.Config{Zuora: src.read})
	w.Inject(httpsim.Fault{Path: "A-S1", Code: "bad_gateway", Times: 1})
	w.refused(502, "POST", zuoraSync, "")
	equal(t, "subscriptions", w.Count(limio.TypeSubscription), 0)
	w.do("POST", zuoraSync, "")
	w.do("POST", zuoraSync, "")
	equal(t, "subscriptions", w.Count(limio.TypeSubscription), 1)
	equal(t, "calls", w.Calls()["POST /api/plugins/zuora/sync/subscription/{id}"], 3)
}

func TestZuoraSchedules(t *testing.T) {
	src := &zuora{sub: annsSubscription()}
	at := func(month time.Month) time.Time { return time.Date(2026, month, 1, 0, 0, 0, 0, time.UTC) }
	src.sub.Schedules = []limio.ScheduleEntry{{Date: at(2), Amount: 4200, Currency: "EUR"}, {Date: at(3), Amount: 4200, Currency: "EUR"}}
	w := newWorld(t, limio.Config{Zuora: src.read})
	sub := w.do("POST", zuoraSync, "").Text("id")
	states := func() []string {
		var out []string
		for _, o := range w.Related(sub) {
			if o.RecordType == limio.TypeSchedule {
				out = append(out, o.Text("data.date")[:7]+" "+o.Text("data.amount")+" "+o.Text("status"))
			}
		}
		slices.Sort(out)
		return out
	}
	if diff := cmp.Diff([]string{"2026-02 42.00 pending-external", "2026-03 42.00 pending-external"}, states()); diff != "" {
		t.Error(diff)
	}
	src.sub.Schedules[1].Amount = 5000
	w.do("POST", zuoraSync, "")
	want := []string{"2026-02 42.00 pending-external", "2026-03 42.00 cancelled", "2026-03 50.00 pending-external"}
	if diff := cmp.Diff(want, states()); diff != "" {
		t.Error(diff)
	}
	src.sub.Schedules = []limio.ScheduleEntry{}
	w.do("POST", zuoraSync, "")
	for _, s := range states() {
		if !strings.HasSuffix(s, "cancelled") {
			t.Errorf("still live: %s", s)
		}
	}
}

func TestZuoraEventHandler(t *testing.T) {
	src := &zuora{sub: annsSubscription()}
	w := newWorld(t, limio.Config{Zuora: src.read, ZuoraIPs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	w.token = "" // it needs none
	id := w.do("POST", "/api/events/zuora", `{"subscriptionID":"A-S1","type":"RenewSubscription"}`).Text("id")
	equal(t, "status", w.mustGet(id).Text("status"), "active")
	w.do("POST", "/api/events/zuora", `{"subscriptionID":"A-S1","type":"CancelSubscription"}`)
	equal(t, "status", w.mustGet(id).Text("status"), "cancelled")
	var types []string
	for _, e := range w.Objects(limio.TypeEvent) {
		types = append(types, e.Text("data.type"))
	}
	if diff := cmp.Diff([]string{"zuora.RenewSubscription", "zuora.CancelSubscription", "subscription_cancelled"}, types); diff != "" {
		t.Error(diff)
	}
	w.refused(400, "POST", "/api/events/zuora", `{"type":"CancelSubscription"}`)
	w.refused(502, "POST", "/api/events/zuora", `{"subscriptionID":"A-S9"}`)

	closed := newWorld(t, limio.Config{Zuora: src.read, ZuoraIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	closed.refused(403, "POST", "/api/events/zuora", `{"subscriptionID":"A-S1"}`)
}

func TestStripeSync(t *testing.T) {
	card := &limio.Card{ID: "pm_1", Brand: "visa", Last4: "4242", ExpMonth: 4, ExpYear: 2030}
	from := limio.StripeSubscription{
		Status: "past_due", TermStart: start, TermEnd: start.AddDate(0, 1, 0), Card: card,
		Schedules: []limio.ScheduleEntry{
			{Date: start, Amount: 500, Currency: "JPY", Status: "active", InvoiceID: "in_1"},
			{Date: start.AddDate(0, 1, 0), Amount: 500, Currency: "JPY"},
		},
	}
	var linked string
	cfg := limio.Config{Stripe: func(_ context.Context, _, stripeID string) (limio.StripeSubscription, error) {
		linked = stripeID
		return from, nil
	}}
	w := newWorld(t, cfg)
	cus, owner := w.AddCustomer(limio.CustomerParams{Name: "Ann", Email: "ann@example.test"})
	sub := w.AddSubscription(limio.SubscriptionParams{Customer: cus, StripeID: "sub_1", Status: "pending"})
	stale := w.AddSchedule(limio.ScheduleParams{Subscription: sub, Date: start.AddDate(0, 0, 10), Amount: 100, Currency: "JPY"})
	past := w.AddSchedule(limio.ScheduleParams{Subscription: sub, Date: start.AddDate(0, -1, 0), Amount: 100, Currency: "JPY"})
	before := w.mustGet(cus)

	path := "/api/plugins/stripe/sync/subscription/" + sub
	out := w.do("POST", path, "")
	equal(t, "link", linked, "sub_1")
	equal(t, "id", out.Text("id"), sub)
	equal(t, "owner", out.Text("owner"), owner)
	o := w.mustGet(sub)
	equal(t, "status", o.Text("status"), "active")
	equal(t, "end", o.Text("data.termEndDate"), "2026-02-05")
	equal(t, "stale", w.mustGet(stale).Text("status"), "cancelled")
	equal(t, "past", w.mustGet(past).Text("status"), "pending-external")
	equal(t, "schedules", w.Count(limio.TypeSchedule), 4)
	paid := w.Objects(limio.TypeSchedule)[2]
	equal(t, "amount", paid.Text("data.amount"), "500")
	equal(t, "invoice", paid.Text("data.external_id"), "in_1")
	pm := w.Objects(limio.TypePaymentMethod)[0]
	equal(t, "card", pm.Text("data.stripe.result.last4"), "4242")
	equal(t, "month", pm.At("data.stripe.result.exp_month"), any(4.0))
	equal(t, "related", pm.Text("related"), sub)
	if diff := cmp.Diff(before.JSON, w.mustGet(cus).JSON); diff != "" {
		t.Errorf("the customer was touched: %s", diff)
	}

	w.ResetWrites()
	w.do("POST", path, "")
	if diff := cmp.Diff([]string{"sync update subscription noop"}, w.writes()); diff != "" {
		t.Error(diff)
	}
	card.Last4, from.Status = "1881", "canceled"
	w.ResetWrites()
	w.do("POST", path, "")
	if diff := cmp.Diff([]string{"sync update subscription", "sync update payment_method"}, w.writes()); diff != "" {
		t.Error(diff)
	}
	equal(t, "cancelled", w.mustGet(sub).Text("status"), "cancelled")
	equal(t, "events", w.Count(limio.TypeEvent), 3)
	w.refused(502, "POST", "/api/plugins/stripe/sync/subscription/sub-0", "")
	w.refused(502, "POST", "/api/plugins/stripe/sync/subscription/"+cus, "")
}

func TestStripeSyncRecreates(t *testing.T) {
	from := limio.StripeSubscription{Status: "incomplete", Schedules: []limio.ScheduleEntry{{Date: start.AddDate(0, 1, 0), Amount: 100, Currency: "EUR"}}}
	w := newWorld(t, limio.Config{RecreateSchedules: true, Stripe: func(context.Context, string, string) (limio.StripeSubscription, error) { return from, nil }})
	sub := w.AddSubscription(limio.SubscriptionParams{Status: "pending"})
	w.do("POST", "/api/plugins/stripe/sync/subscription/"+sub, "")
	w.do("POST", "/api/plugins/stripe/sync/subscription/"+sub, "")
	schedules := w.Objects(limio.TypeSchedule)
	equal(t, "schedules", len(schedules), 2)
	equal(t, "old", schedules[0].Text("status"), "cancelled")
	equal(t, "new", schedules[1].Text("status"), "pending-external")
	equal(t, "incomplete leaves the status", w.mustGet(sub).Text("status"), "pending")
}
