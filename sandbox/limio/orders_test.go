package limio_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"hotsync/sandbox/limio"

	"github.com/google/go-cmp/cmp"
)

const offer = "1234567890abcdef1234567890abcdef12345678"

func catalog() limio.Config {
	return limio.Config{Catalog: map[string]limio.CatalogOffer{
		offer:  {Name: "Team monthly", Amount: 4200, Currency: "EUR"},
		"next": {Name: "Company", Amount: 9900, Currency: "EUR", Months: 3},
	}}
}

const newOrder = `{"external_id":"X-1","initiated_source":"hotsync","source":"hotsync","order_type":"new",
 "orderItems":[{"offer":{"id":"` + offer + `","version":"v"},"quantity":2}],
 "customerDetails":{"firstName":"Ann","lastName":"Example","email":"ann@example.test"},
 "billingDetails":{"firstName":"Ann","address1":"1 Test St","city":"Cork","country":"IE"},
 "payment":{"type":"stripe","stripe":{"result":{"last4":"4242"}}},"orderDate":"2026-01-05T09:00:00Z","country":"IE","checkoutId":"basket-1"}`

func TestOrdersAreQueued(t *testing.T) {
	w := newWorld(t, catalog())
	out := w.do("POST", "/api/order", newOrder)
	equal(t, "status", out.Text("status"), "submitted")
	equal(t, "external id", out.Text("external_id"), "X-1")
	equal(t, "reference", len(out.Text("order_reference")), 12)
	equal(t, "not yet", w.Count(limio.TypeSubscription), 0)
	equal(t, "process events", w.Count(limio.TypeProcessEvent), 0)
	w.refused(404, "GET", "/api/objects/zuora/subscriptions/"+out.Text("subscriptionReference"), "")

	second := w.do("POST", "/api/order", newOrder) // nobody notices the external id
	if second.Text("id") == out.Text("id") {
		t.Error("the order was deduplicated")
	}
	equal(t, "orders", w.ProcessOrders(), 2)
	equal(t, "orders", w.ProcessOrders(), 0)
	equal(t, "subscriptions", w.Count(limio.TypeSubscription), 2)

	sub := w.do("GET", "/api/objects/zuora/subscriptions/"+out.Text("subscriptionReference"), "")
	equal(t, "owner", sub.Text("owner"), out.Text("owner"))
	equal(t, "status", sub.Text("status"), "active")
	equal(t, "quantity", sub.At("data.quantity"), any(2.0))
	if !strings.HasPrefix(sub.Text("ref"), out.Text("id")+"/") {
		t.Errorf("ref %s does not begin with the order %s", sub.Text("ref"), out.Text("id"))
	}
	count := map[string]int{}
	for _, item := range w.do("GET", "/api/objects/limio/subscriptions/"+sub.Text("id")+"/related", "").items() {
		count[item.Text("record_type")]++
		if item.Text("record_type") == "order" {
			equal(t, "source", item.Text("source"), "hotsync")
			equal(t, "initiated source", item.Text("initiated_source"), "hotsync")
			equal(t, "order type", item.Text("order_type"), "new")
			equal(t, "created", item.Text("created"), "2026-01-05T09:00:00.000Z")
			equal(t, "state", item.Text("orderState"), "complete")
		}
	}
	if diff := cmp.Diff(map[string]int{"order": 1, "subscription_offer": 1, "schedule": 12, "payment_method": 1}, count); diff != "" {
		t.Error(diff)
	}
	equal(t, "schedule", w.Objects(limio.TypeSchedule)[0].Text("data.amount"), "84.00")
	equal(t, "event", w.Objects(limio.TypeEvent)[0].Text("data.type"), "order.new")
	for _, e := range w.Writes() {
		equal(t, "by", e.By, limio.ByOrder)
		equal(t, "route", e.Route, "POST /api/order")
	}
}

func TestOrdersAtOnceAndByAdmins(t *testing.T) {
	w := newWorld(t, catalog())
	at := func(more string) string {
		return `{"order_type":"new","process_immediately":true,"orderItems":[{"offer":{"id":"next"}}],"payment":{"type":"invoice"},"customerDetails":{"email":"bob@example.test"}` + more + `}`
	}
	out := w.do("POST", "/api/admin/order", at(""))
	equal(t, "status", out.Text("status"), "complete")
	again := w.do("POST", "/api/order", at(`,"checkoutId":"basket-2","country":"IE"`))
	equal(t, "a known e-mail keeps its owner", again.Text("owner"), out.Text("owner"))
	equal(t, "customers", w.Count(limio.TypeCustomer), 1)
	equal(t, "payment methods", w.Count(limio.TypePaymentMethod), 0)
	equal(t, "schedules", w.Count(limio.TypeSchedule), 6)

	for _, body := range []string{
		at(""), `{"order_type":"dance"}`, `{"order_type":"new","checkoutId":"b","country":"IE"}`,
		`{"order_type":"new","checkoutId":"b","country":"IE","payment":{"type":"invoice"},"customerDetails":{"email":"a@b"}}`,
		at(`,"checkoutId":"b","country":"IE","orderItems":[{"offer":{"id":"unpublished"}}]`),
		at(`,"checkoutId":"b","country":"IE","process_immediately":"yes"`),
	} {
		w.refused(400, "POST", "/api/order", body)
	}
	w.refused(404, "POST", "/api/admin/order", `{"order_type":"cancel_subscription","forSubscription":{"id":"sub-0"}}`)
}

func TestOrderKinds(t *testing.T) {
	w := newWorld(t, catalog())
	cus, _ := w.AddCustomer(limio.CustomerParams{Name: "Ann"})
	sub := w.AddSubscription(limio.SubscriptionParams{Customer: cus, TermStart: start, TermEnd: start.AddDate(0, 12, 0)})
	old := w.AddOffer(limio.OfferParams{Subscription: sub, Name: "Team", Start: start})
	place := func(more string) limio.Object {
		t.Helper()
		out := w.do("POST", "/api/admin/order", `{"process_immediately":true,"source":"shop","forSubscription":{"id":"`+sub+`"},`+more+`}`)
		return w.mustGet(out.Text("id"))
	}
	place(`"order_type":"change_offer","orderItems":[{"offer":{"id":"next"}}]`)
	equal(t, "old offer", w.mustGet(old).Text("status"), "cancelled")
	equal(t, "name", w.mustGet(sub).Text("data.name"), "Company")
	place(`"order_type":"add_offer","orderItems":[{"offer":{"id":"` + offer + `"}}]`)
	equal(t, "offers", w.Count(limio.TypeOffer), 3)
	place(`"order_type":"change_payment","payment":{"type":"zuora","zuora":{"result":{"Id":"p1"}}}`)
	equal(t, "payment", w.Objects(limio.TypePaymentMethod)[0].Text("data.zuora.result.Id"), "p1")
	place(`"order_type":"change_address","billingDetails":{"city":"Cork"},"deliveryDetails":{"city":"Galway"}`)
	place(`"order_type":"change_address","billingDetails":{"city":"Dublin"}`)
	equal(t, "addresses", w.Count(limio.TypeAddress), 2)
	equal(t, "city", w.Objects(limio.TypeAddress)[0].Text("data.city"), "Dublin")
	place(`"order_type":"renew"`)
	equal(t, "renewed", w.mustGet(sub).Text("data.termEndDate")[:10], "2028-01-05")
	place(`"order_type":"update_subscription","data":{"quantity":5}`)
	equal(t, "quantity", w.mustGet(sub).At("data.quantity"), any(5.0))
	w.AddSchedule(limio.ScheduleParams{Subscription: sub, Date: start.AddDate(0, 1, 0), Currency: "EUR"})
	equal(t, "cancel", place(`"order_type":"cancel_subscription"`).Text("orderState"), "complete")
	equal(t, "cancelled", w.mustGet(sub).Text("status"), "cancelled")
	equal(t, "schedule", w.Objects(limio.TypeSchedule)[0].Text("status"), "cancelled")

	failed := place(`"order_type":"renew"`)
	equal(t, "state", failed.Text("orderState"), "failed")
	processes := w.Objects(limio.TypeProcessEvent)
	last := processes[len(processes)-1]
	equal(t, "process event", last.Text("status"), "failed")
	equal(t, "errors", len(last.At("criticalPluginErrors").([]any)), 1)
}

func TestPreviewStoresNothing(t *testing.T) {
	w := newWorld(t, catalog())
	out := w.do("POST", "/api/order/preview", `{"order_type":"new","orderItems":[{"offer":{"id":"next"},"quantity":2}]}`)
	equal(t, "success", out.At("preview.success"), any(true))
	invoice := out.At("preview.previewResult.invoices").([]any)[0].(map[string]any)
	equal(t, "amount", invoice["amount"], any("198.00"))
	schedule := out.At("schedule").([]any)
	equal(t, "schedule", len(schedule), 3)
	equal(t, "date", schedule[0].(map[string]any)["date"], any("2026-01-05T09:00:00.000"))
	equal(t, "writes", len(w.Writes()), 0)
	w.refused(400, "POST", "/api/order/preview", `{}`)
}

func TestPlaceOrder(t *testing.T) {
	w := newWorld(t, limio.Config{})
	sub := w.AddSubscription(limio.SubscriptionParams{Name: "Team"})
	schedule := w.AddSchedule(limio.ScheduleParams{Subscription: sub, Date: start, Currency: "EUR"})
	w.clock.Advance(time.Hour)
	w.ResetWrites()
	order, err := w.PlaceOrder(limio.OrderParams{
		Subscription: sub, Type: "cancel_subscription", Source: "salesforce", InitiatedSource: "shop", ExternalID: "E",
		Apply: func(tx *limio.Tx, id string) error {
			_, err := tx.Update(id, func(o map[string]any) { o["status"] = "cancelled" })
			_, err2 := tx.Update(schedule, func(o map[string]any) { o["status"] = "cancelled" })
			return errors.Join(err, err2)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "source", order.Text("source"), "salesforce")
	equal(t, "initiated", order.Text("initiated_source"), "shop")
	equal(t, "created", order.Text("created"), "2026-01-05T10:00:00.000Z")
	equal(t, "related", order.Text("related"), sub)
	equal(t, "status", w.mustGet(sub).Text("status"), "cancelled")
	want := []string{"order create order", "order update subscription", "order update schedule", "order update order"}
	if diff := cmp.Diff(want, w.writes()); diff != "" {
		t.Error(diff)
	}
	for _, p := range []limio.OrderParams{{Subscription: sub, Type: "dance"}, {Subscription: "sub-0", Type: "renew"}, {Type: "new"}} {
		if _, err := w.PlaceOrder(p); err == nil {
			t.Errorf("%+v was accepted", p)
		}
	}
	failed, err := w.PlaceOrder(limio.OrderParams{Subscription: sub, Type: "renew", Apply: func(*limio.Tx, string) error { return errors.New("no") }})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "state", failed.Text("orderState"), "failed")
}

func TestTimelineNote(t *testing.T) {
	w := newWorld(t, limio.Config{})
	sub := w.AddSubscription(limio.SubscriptionParams{Number: "A-S1"})
	for _, target := range []string{`{"id":"` + sub + `"}`, `{"name":"A-S1"}`} {
		out := w.do("POST", "/api/timeline/subscription", `{"forSubscription":`+target+`,"name":"Synced","type":"order.event_received","source":"system",
			"fields":[{"label":"Status","type":"string","value":"active"}]}`)
		equal(t, "status", out.Text("status"), "submitted")
		equal(t, "related", w.mustGet(out.Text("id")).Text("related"), sub)
	}
	timeline := w.do("GET", "/api/timeline/subscriptions/"+sub, "").items()
	equal(t, "entries", len(timeline), 2)
	equal(t, "message", timeline[0].Text("data.message"), "Synced")
	note := func(rest string) string { return `{"name":"n","type":"t","source":"s",` + rest + `}` }
	w.refused(404, "POST", "/api/timeline/subscription", note(`"forSubscription":{"id":"sub-0"}`))
	for _, rest := range []string{
		`"forSubscription":{}`, `"forSubscription":{"id":"` + sub + `"},"x":1`, `"forSubscription":{"id":"` + sub + `"},"a":[],"b":[]`,
		`"forSubscription":{"id":"` + sub + `"},"fields":[{"label":"l","type":"shape","value":1}]`,
		`"forSubscription":{"id":"` + sub + `"},"fields":[{"label":"l","type":"string"}]`,
	} {
		w.refused(400, "POST", "/api/timeline/subscription", note(rest))
	}
}

func TestIdentities(t *testing.T) {
	w := newWorld(t, limio.Config{})
	cus, owner := w.AddCustomer(limio.CustomerParams{Name: "Ann", SalesforceAccount: "0015"})
	_, other := w.AddCustomer(limio.CustomerParams{Name: "Bob"})
	sub := w.AddSubscription(limio.SubscriptionParams{Customer: cus})

	out := w.do("GET", "/api/objects/salesforce/identities/0015/subscriptions", "")
	equal(t, "subscriptions", len(out.At("subscriptions").([]any)), 1)
	equal(t, "customers", len(out.At("customers").([]any)), 1)
	w.refused(404, "GET", "/api/objects/salesforce/identities/0016/subscriptions", "")

	const login = `{"id_token":{"iss":"idp.example","sub":"auth0|1"}}`
	id := w.do("POST", "/api/objects/externalidentity/"+owner, login).Text("id")
	if !strings.HasPrefix(id, "@limio/external-id") {
		t.Errorf("id: %s", id)
	}
	equal(t, "again", w.do("POST", "/api/objects/externalidentity/"+owner, login).Text("id"), id)
	w.refused(400, "POST", "/api/objects/externalidentity/"+other, login)
	w.refused(404, "POST", "/api/objects/externalidentity/id-0", login)
	w.refused(400, "POST", "/api/objects/externalidentity/"+owner, `{"id_token":{}}`)
	w.refused(401, "POST", "/api/objects/externalidentity", login)
	w.refused(404, "DELETE", "/api/objects/externalidentity/"+other, login)

	req, _ := http.NewRequestWithContext(t.Context(), "DELETE", w.http.URL+"/api/objects/externalidentity", strings.NewReader(login))
	req.Header.Set("Authorization", "Bearer "+w.token)
	req.AddCookie(&http.Cookie{Name: "lmo_uid", Value: owner})
	resp, err := w.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	equal(t, "by cookie", resp.StatusCode, 200)
	if _, there := w.Get(id); there {
		t.Error("the login is still there")
	}

	w.do("POST", "/api/objects/owner_change", `{"sourceId":"@limio/`+owner+`","destinationId":"@limio/`+other+`","message":"merge"}`)
	equal(t, "owner", w.mustGet(sub).Text("owner"), other)
	equal(t, "the identity stays", w.mustGet(owner).Text("owner"), owner)
	w.refused(404, "POST", "/api/objects/owner_change", `{"sourceId":"id-0","destinationId":"`+other+`"}`)
	w.refused(400, "POST", "/api/objects/owner_change", `{"sourceId":"`+other+`"}`)
}

// An order that fails is answered with 200 like any other, and its events say
// why.
func TestOrdersFail(t *testing.T) {
	w := newWorld(t, catalog())
	w.FailOrders(1, "the card was declined")
	at := strings.Replace(newOrder, "{", `{"process_immediately":true,`, 1)
	out := w.do("POST", "/api/order", at)
	equal(t, "status", out.Text("status"), "failed")
	equal(t, "subscriptions", w.Count(limio.TypeSubscription), 0)
	equal(t, "complete", w.do("POST", "/api/order", at).Text("status"), "complete")

	equal(t, "orders", len(w.OrdersByExternalID("X-1")), 2)
	equal(t, "none", len(w.OrdersByExternalID("X-2")), 0)
	for i, order := range w.OrdersByExternalID("X-1") {
		events := w.do("GET", "/api/objects/limio/orders/"+order.ID+"/related", "").items()
		equal(t, "events", len(events), 2)
		equal(t, "event", events[0].Text("record_type"), "event")
		equal(t, "process event", events[1].Text("record_type"), "process_event")
		equal(t, "errors", len(events[1].At("criticalPluginErrors").([]any)), 1-i)
	}
}
