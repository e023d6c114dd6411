package limio_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hotsync/sandbox/limio"

	"github.com/google/go-cmp/cmp"
)

func TestForeignIDsAndPathTypes(t *testing.T) {
	w := newWorld(t, limio.Config{})
	cus, owner := w.AddCustomer(limio.CustomerParams{Name: "Ann Example", Email: "ann@example.test", ZuoraAccount: "2c92", SalesforceAccount: "0015"})
	sub := w.AddSubscription(limio.SubscriptionParams{Customer: cus, Number: "A-S1", Name: "Team"})

	for _, path := range []string{
		"limio/subscriptions/" + sub, "limio/subscription/" + sub, "zuora/subscriptions/A-S1", "zuora/subscription/A-S1",
	} {
		equal(t, path, w.do("GET", "/api/objects/"+path, "").Text("id"), sub)
	}
	for _, path := range []string{"limio/customers/" + cus, "zuora/customers/2c92", "zuora/customer/2c92", "salesforce/customers/0015"} {
		equal(t, path, w.do("GET", "/api/objects/"+path, "").Text("id"), cus)
	}
	equal(t, "owner", w.do("GET", "/api/objects/limio/identities/"+owner, "").Text("data.type"), "owner")
	for _, path := range []string{"limio/subscriptions/" + cus, "zuora/subscriptions/" + sub, "zuora/customers/0015", "zuora/schedules/x", "limio/customers/cus-0/related"} {
		w.refused(404, "GET", "/api/objects/"+path, "")
	}
	for _, path := range []string{"limio/nonsense/" + sub, "stripe/subscriptions/" + sub, "limio/subscriptions/" + sub + "?x=1"} {
		w.refused(400, "GET", "/api/objects/"+path, "")
	}

	// A staff member renames the subscription: its reference still counts.
	if err := w.UpdateAs(limio.ByStaff, sub, func(o map[string]any) { o["name"] = "My plan" }); err != nil {
		t.Fatal(err)
	}
	equal(t, "renamed", w.do("GET", "/api/objects/zuora/subscriptions/A-S1", "").Text("id"), sub)
}

func TestEveryPathType(t *testing.T) {
	w := newWorld(t, limio.Config{})
	for _, path := range []string{
		"orders", "customers", "subscriptions", "identities", "address", "schedules", "payment_methods", "subscription_offers",
		"user_entitlements", "gift_code", "promo_codes_v2", "events", "process",
		"order", "customer", "subscription", "identity", "addresses", "schedule", "payment_method", "subscription_offer", "event",
	} {
		equal(t, path, len(w.do("GET", "/api/objects/limio/"+path, "").items()), 0)
	}
}

func TestListPagesSummaries(t *testing.T) {
	w := newWorld(t, limio.Config{})
	var want []string
	for i := range 230 {
		want = append(want, w.AddSubscription(limio.SubscriptionParams{Number: fmt.Sprint("A-S", i)}))
	}
	var got []string
	query := url.Values{"limit": {"100"}}
	for page := 0; ; page++ {
		out := w.do("GET", "/api/objects/limio/subscriptions?"+query.Encode(), "")
		for _, item := range out.items() {
			got = append(got, item.Text("id"))
			if item.At("data") != nil || item.Text("reference") == "" || item.Text("updated") == "" {
				t.Fatalf("summary: %v", item.JSON)
			}
		}
		if page == 0 { // what goes or comes while a client pages must not shift the rest
			if err := w.Remove(limio.ByStaff, want[3]); err != nil {
				t.Fatal(err)
			}
		}
		more := out.Text("queryMore")
		if more == "" {
			equal(t, "pages", page, 2)
			break
		}
		query.Set("queryMore", more)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	equal(t, "default page", len(w.do("GET", "/api/objects/limio/subscriptions", "").items()), 50)
	for _, q := range []string{"limit=0", "limit=101", "limit=x", "limit=", "queryMore=zz", "email=a@b", "reference=A-S1"} {
		w.refused(400, "GET", "/api/objects/limio/subscriptions?"+q, "")
	}
	w.refused(400, "GET", "/api/objects/limio/customers?queryMore="+url.QueryEscape(query.Get("queryMore")), "")
	w.refused(400, "GET", "/api/objects/zuora/subscriptions", "")
}

func TestRelated(t *testing.T) {
	w := newWorld(t, limio.Config{})
	cus, _ := w.AddCustomer(limio.CustomerParams{Name: "Ann", ZuoraAccount: "2c92"})
	sub := w.AddSubscription(limio.SubscriptionParams{Customer: cus, Name: "Team"})
	w.AddOffer(limio.OfferParams{Subscription: sub, Name: "Team", Start: start, Amount: 4200, Currency: "EUR"})
	w.AddSchedule(limio.ScheduleParams{Subscription: sub, Date: start, Amount: 4200, Currency: "EUR"})
	w.AddPaymentMethod(limio.PaymentMethodParams{Customer: cus, Type: "zuora", Result: map[string]any{"Id": "p1"}})
	w.AddPaymentMethod(limio.PaymentMethodParams{Subscription: sub, Type: "stripe", Result: map[string]any{"last4": "4242"}})
	w.AddAddress(limio.AddressParams{Customer: cus, Relationship: "billing", Address: limio.Address{City: "Cork", Country: "IE"}})
	if _, err := w.PlaceOrder(limio.OrderParams{Subscription: sub, Type: "refund", Source: "shop"}); err != nil {
		t.Fatal(err)
	}
	types := func(path string) []string {
		var out []string
		for _, item := range w.do("GET", path, "").items() {
			if item.At("data") == nil {
				t.Errorf("%s: %s is not whole", path, item.Text("id"))
			}
			out = append(out, item.Text("record_type"))
		}
		slices.Sort(out)
		return out
	}
	if diff := cmp.Diff([]string{"order", "payment_method", "schedule", "subscription_offer"}, types("/api/objects/limio/subscriptions/"+sub+"/related")); diff != "" {
		t.Error(diff)
	}
	want := []string{"address", "identity", "identity", "payment_method", "payment_method", "subscription"}
	if diff := cmp.Diff(want, types("/api/objects/limio/customers/"+cus+"/related")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, types("/api/objects/zuora/customers/2c92/related")); diff != "" {
		t.Error(diff)
	}
	equal(t, "timeline of a subscription", len(w.do("GET", "/api/timeline/subscriptions/"+sub, "").items()), 4)
	equal(t, "timeline of a customer", len(w.do("GET", "/api/timeline/customers/"+cus, "").items()), 6)
	w.refused(404, "GET", "/api/timeline/customers/"+sub, "")
	w.refused(400, "GET", "/api/timeline/orders/"+sub, "")
}

func TestPut(t *testing.T) {
	w := newWorld(t, limio.Config{})
	sub := w.AddSubscription(limio.SubscriptionParams{
		Name: "Team", Amount: 4200, Currency: "EUR", TermStart: start, TermEnd: start.AddDate(1, 0, 0),
		Data: map[string]any{"list": []any{1, 2}, "attributes": map[string]any{"autoRenew": true}},
	})
	before := w.mustGet(sub)
	w.ResetWrites()
	path := "/api/objects/limio/subscriptions/" + sub
	out := w.do("PUT", path, `{"status":"cancelled","data":{"attributes":{"autoRenew":false},"list":[3],"gone":null,"price":{"amount":41.5}}}`)
	equal(t, "status", out.Text("status"), "cancelled")
	equal(t, "kept", out.At("data.attributes.gift"), any(false))
	equal(t, "kept currency", out.Text("data.price.currency"), "EUR")
	equal(t, "merged", out.At("data.price.amount"), any(41.5))
	if v, there := out.JSON["data"].(map[string]any)["gone"]; !there || v != nil {
		t.Errorf("null was not stored: %v %v", v, there)
	}
	if diff := cmp.Diff(w.mustGet(sub).JSON, out.JSON); diff != "" {
		t.Errorf("answer is not what is stored: %s", diff)
	}
	if out.Text("updated") <= before.Text("updated") {
		t.Errorf("updated did not grow: %s, %s", before.Text("updated"), out.Text("updated"))
	}
	if again := w.do("PUT", path, `{"status":"cancelled","data":{"list":[3]}}`); again.Text("updated") <= out.Text("updated") {
		t.Error("updated did not grow with a PUT that changes nothing")
	}
	writes := w.Writes()
	want := []limio.FieldChange{
		{Path: "data.attributes.autoRenew", Before: "true", After: "false"},
		{Path: "data.gone", After: "null"},
		{Path: "data.list", Before: "[1,2]", After: "[3]"},
		{Path: "data.price.amount", Before: "42", After: "41.5"},
		{Path: "status", Before: `"active"`, After: `"cancelled"`},
	}
	if diff := cmp.Diff(want, writes[0].Changed); diff != "" {
		t.Error(diff)
	}
	equal(t, "writes", len(writes), 2)
	equal(t, "first", writes[0].Noop, false)
	equal(t, "second", writes[1].Noop, true)
	equal(t, "by", writes[0].By, limio.ByAPI)
	equal(t, "route", writes[0].Route, "PUT /api/objects/{service}/{path_type}/{id}")
	equal(t, "object", writes[0].ObjectID, sub)
	equal(t, "at", writes[0].At, start)
	equal(t, "since", len(w.WritesSince(writes[0].Seq)), 1)

	for _, body := range []string{
		`{"status":"active"}`, `{"data":[]}`, `{"data":null}`, `{"data":{},"owner":"id-1"}`, `{"data":{},"reference":"X"}`,
		`{"data":{},"status":null}`, `{"data":{},"name":7}`, `[]`, `null`, ``, `{`, `{"data":{}} x`,
	} {
		w.refused(400, "PUT", path, body)
	}
	w.refused(404, "PUT", "/api/objects/limio/subscriptions/sub-0", `{"data":{}}`)
	w.refused(404, "PUT", "/api/objects/limio/schedules/"+sub, `{"data":{}}`)
	equal(t, "refused writes are no writes", len(w.Writes()), 2)
}

func TestPostAndDelete(t *testing.T) {
	w := newWorld(t, limio.Config{})
	cus, owner := w.AddCustomer(limio.CustomerParams{Name: "Ann"})
	sub := w.AddSubscription(limio.SubscriptionParams{Customer: cus})
	w.ResetWrites()
	body := `{"related":"` + sub + `","status":"pending-external","data":{"type":"payment","date":"2026-02-05T00:00:00.000","amount":"42.00","currency":"EUR"}}`
	one := w.do("POST", "/api/objects/limio/schedules", body)
	two := w.do("POST", "/api/objects/limio/schedule", body)
	if one.Text("id") == two.Text("id") || !strings.HasPrefix(one.Text("id"), "schedule-") || len(one.Text("id")) != len("schedule-")+32 {
		t.Errorf("ids: %s, %s", one.Text("id"), two.Text("id"))
	}
	equal(t, "reference", len(one.Text("reference")), 12)
	equal(t, "mode", one.Text("mode"), "production")
	equal(t, "service", one.Text("service"), "limio")
	equal(t, "record type", one.Text("record_type"), "schedule")
	equal(t, "amount", one.Text("data.amount"), "42.00")
	equal(t, "created", one.Text("created"), "2026-01-05T09:00:00.000Z")
	equal(t, "related", len(w.Related(sub)), 2)

	id := w.do("POST", "/api/objects/limio/identities", `{"customer":"`+cus+`","owner":"`+owner+`","data":{"service":"zuora","issuer":"zuora","type":"account","value":"2c93"}}`)
	equal(t, "found by it", w.do("GET", "/api/objects/zuora/customers/2c93", "").Text("id"), cus)
	equal(t, "deleted", w.do("DELETE", "/api/objects/limio/identities/"+id.Text("id"), "").At("success"), any(true))
	w.refused(404, "GET", "/api/objects/zuora/customers/2c93", "")
	w.refused(404, "DELETE", "/api/objects/limio/identities/"+id.Text("id"), "")

	want := []string{"api create schedule", "api create schedule", "api create identity", "api delete identity"}
	if diff := cmp.Diff(want, w.writes()); diff != "" {
		t.Error(diff)
	}
	for path, body := range map[string]string{
		"limio/subscriptions": `{"data":{}}`, "limio/customers": `{"data":{}}`, "limio/orders": `{"data":{}}`, "limio/events": `{"data":{}}`,
		"limio/schedules": `{}`, "limio/address": `{"data":{},"id":"address-1"}`, "zuora/schedules": `{"data":{}}`,
		"limio/payment_methods": `{"related":"sub-0","data":{}}`, "limio/nothing": `{"data":{}}`,
	} {
		w.refused(400, "POST", "/api/objects/"+path, body)
	}
}

func TestBuildersMakeTheSamplesShapes(t *testing.T) {
	w := newWorld(t, limio.Config{})
	cus, owner := w.AddCustomer(limio.CustomerParams{Name: "Ann Example", FirstName: "Ann", LastName: "Example", Email: "ann@example.test"})
	forms := map[string]bool{}
	for range 40 {
		sub := w.mustGet(w.AddSubscription(limio.SubscriptionParams{Customer: cus, Name: "Team", TermStart: start, TermEnd: start.AddDate(1, 0, 0), Amount: 4200, Currency: "EUR", AutoRenew: true}))
		forms[fmt.Sprint(len(sub.Text("data.termStartDate")), "/", len(sub.Text("data.termEndDate")))] = true
		equal(t, "owner", sub.Text("owner"), owner)
		equal(t, "name", sub.Text("name"), sub.Text("reference"))
		equal(t, "price", sub.At("data.price.amount"), any(42.0))
		if !strings.HasPrefix(sub.Text("ref"), "order-") {
			t.Errorf("ref: %q", sub.Text("ref"))
		}
	}
	if want := []string{"10/10", "24/10", "24/24"}; !slices.Equal(slices.Sorted(maps.Keys(forms)), want) {
		t.Errorf("term date forms: %v, want %v", forms, want)
	}
	schedule := w.mustGet(w.AddSchedule(limio.ScheduleParams{Date: start, Amount: 500, Currency: "JPY"}))
	equal(t, "yen", schedule.Text("data.amount"), "500")
	equal(t, "date", schedule.Text("data.date"), "2026-01-05T09:00:00.000")
	for want, got := range map[string]string{
		"-0.05": limio.FormatAmount(-5, "EUR"), "1.234": limio.FormatAmount(1234, "KWD"), "10.00": limio.FormatAmount(1000, "usd"),
	} {
		equal(t, "amount", got, want)
	}
	if _, err := w.Insert(limio.ByStaff, limio.Object{RecordType: "dragon"}); err == nil {
		t.Error("an unknown record type was stored")
	}
}

func TestSeedDecidesIDs(t *testing.T) {
	build := func(seed uint64) string {
		s := limio.New(limio.Config{Seed: seed})
		cus, _ := s.AddCustomer(limio.CustomerParams{Name: "Ann", ZuoraAccount: "1"})
		return cus + s.AddSubscription(limio.SubscriptionParams{Customer: cus, TermStart: start, TermEnd: start})
	}
	equal(t, "same seed", build(1), build(1))
	if build(1) == build(2) {
		t.Error("two seeds gave the same ids")
	}
}

func TestObjectsAreCopies(t *testing.T) {
	w := newWorld(t, limio.Config{})
	sub := w.AddSubscription(limio.SubscriptionParams{Name: "Team"})
	w.mustGet(sub).JSON["data"].(map[string]any)["name"] = "changed"
	equal(t, "name", w.mustGet(sub).Text("data.name"), "Team")
	w.clock.Advance(time.Minute)
	if err := w.UpdateAs("salesforce", sub, func(o map[string]any) { o["id"], o["status"] = "x", "cancelled" }); err != nil {
		t.Fatal(err)
	}
	equal(t, "updated", w.mustGet(sub).Text("updated"), "2026-01-05T09:01:00.000Z")
	log := w.Writes()
	equal(t, "by", log[len(log)-1].By, "salesforce")
	if err := w.UpdateAs(limio.ByStaff, "sub-0", func(map[string]any) {}); err == nil {
		t.Error("an object that is not there was updated")
	}
}

func TestConcurrentUse(t *testing.T) {
	w := newWorld(t, limio.Config{})
	cus, _ := w.AddCustomer(limio.CustomerParams{Name: "Ann"})
	sub := w.AddSubscription(limio.SubscriptionParams{Customer: cus})
	w.ResetWrites()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				w.raw("PUT", "/api/objects/limio/subscriptions/"+sub, fmt.Sprintf(`{"data":{"n%d":%d}}`, i, j))
				w.raw("POST", "/api/objects/limio/schedules", `{"related":"`+sub+`","data":{}}`)
				w.raw("GET", "/api/objects/limio/subscriptions/"+sub+"/related", "")
			}
		})
	}
	wg.Wait()
	equal(t, "schedules", w.Count(limio.TypeSchedule), 80)
	equal(t, "writes", len(w.Writes()), 160)
	for i := range 8 {
		equal(t, "last", w.mustGet(sub).At(fmt.Sprintf("data.n%d", i)), any(9.0))
	}
}

// A subscription record is stored as it was sent, as often as it was sent.
func TestSubscriptionRecordsAreCreated(t *testing.T) {
	w := newWorld(t, limio.Config{Stripe: func(_ context.Context, _, stripeID string) (limio.StripeSubscription, error) {
		if stripeID != "sub_1" {
			return limio.StripeSubscription{}, limio.ErrUnknown
		}
		return limio.StripeSubscription{Status: "canceled"}, nil
	}})
	cus, owner := w.AddCustomer(limio.CustomerParams{Name: "Ann"})
	body := func(more string) string {
		return `{"name":"sub_1","reference":"sub_1","status":"active","data":{"attributes":{"external":true},"stripe":{"subscription_id":"sub_1"}}` + more + `}`
	}
	one := w.do("POST", "/api/objects/limio/subscriptions", body(`,"customer":"`+cus+`"`))
	equal(t, "owner", one.Text("owner"), owner)
	equal(t, "link", one.Text("data.stripe.subscription_id"), "sub_1")
	two := w.do("POST", "/api/objects/limio/subscriptions", body(""))
	equal(t, "nobody's", two.Text("owner"), "")
	if one.Text("id") == two.Text("id") || !strings.HasPrefix(two.Text("id"), "sub-") {
		t.Errorf("ids %s and %s", one.Text("id"), two.Text("id"))
	}
	for _, item := range w.do("GET", "/api/objects/limio/subscriptions", "").items() {
		equal(t, "reference", item.Text("reference"), "sub_1")
	}
	w.do("POST", "/api/plugins/stripe/sync/subscription/"+one.Text("id"), "")
	equal(t, "synced", w.mustGet(one.Text("id")).Text("status"), "cancelled")
	for _, bad := range []string{`{"data":{}}`, `{"reference":"x"}`, body(`,"related":"` + one.Text("id") + `"`), body(`,"customer":"cus-0"`)} {
		w.refused(400, "POST", "/api/objects/limio/subscriptions", bad)
	}
}
