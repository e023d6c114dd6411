package limio_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/internal/fault"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	sim "hotsync/sandbox/limio"
)

const callOrder = "POST /api/order"

func catalog() sim.Config {
	return sim.Config{Catalog: map[string]sim.CatalogOffer{"offer1": {Name: "Team monthly", Amount: 4200, Currency: "EUR"}}}
}

func newOrder() record.NewOrder {
	return record.NewOrder{
		Source: "hotsync", InitiatedSource: "stripe", Payment: "stripe", Country: "IE", Start: noon,
		Items: []record.OrderItem{{Offer: "offer1", Version: "v1", Quantity: 3}},
		Buyer: record.Address{
			FirstName: "Ann", LastName: "Example", Email: "ann@example.test", Phone: "+353", Line1: "1 Test St", City: "Cork", PostalCode: "T12", Country: "IE",
		},
		Method: &record.PaymentMethod{ID: "pm_1", Brand: "visa", Last4: "4242", ExpMonth: 4, ExpYear: 2030},
	}
}

func orderWrite(externalID string) record.Write {
	o := newOrder()
	return record.Write{Op: record.OpOrder, Type: record.OrderType, Ref: externalID, Order: &o, Fields: o.Fields()}
}

func TestOrder(t *testing.T) {
	w := newWorld(t, catalog())
	id, err := w.c.Apply(t.Context(), orderWrite("stripe-sub_1"))
	class(t, err, "")
	w.calls(map[string]int{callOrder: 1})
	orders := w.sim.OrdersByExternalID("stripe-sub_1")
	if len(orders) != 1 || orders[0].ID != id {
		t.Fatalf("the orders are %v, want %s", orders, id)
	}
	got := map[string]any{}
	for _, path := range []string{
		"source", "initiated_source", "order_type", "country", "orderDate", "payment.type", "payment.stripe.result.last4", "customerDetails.email",
		"customerDetails.phone", "billingDetails.address1", "billingDetails.postalCode", "orderState",
	} {
		got[path] = orders[0].At(path)
	}
	want := map[string]any{
		"source": "hotsync", "initiated_source": "stripe", "order_type": "new", "country": "IE", "orderDate": "2026-03-10T12:00:00Z",
		"payment.type": "stripe", "payment.stripe.result.last4": "4242", "customerDetails.email": "ann@example.test",
		"customerDetails.phone": "+353", "billingDetails.address1": "1 Test St", "billingDetails.postalCode": "T12", "orderState": "complete",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	items, _ := json.Marshal(orders[0].At("orderItems"))
	if string(items) != `[{"offer":{"id":"offer1","version":"v1"},"quantity":3}]` {
		t.Errorf("the items are %s", items)
	}
	placed, err := w.c.Order(t.Context(), id)
	class(t, err, "")
	w.calls(map[string]int{callGet: 1, callRelated: 1})
	sub, ok := w.sim.SubscriptionByNumber(placed.SubscriptionReference)
	if diff := cmp.Diff(record.PlacedOrder{
		ID: id, ExternalID: "stripe-sub_1", State: record.OrderComplete, SubscriptionReference: orders[0].Text("subscriptionReference"),
		Subscription: sub.ID, Created: noon,
	}, placed); diff != "" || !ok {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOrderSaysOnlyWhatIsKnown(t *testing.T) {
	w := newWorld(t, catalog())
	o := record.NewOrder{
		Source: "hotsync", Payment: "invoice", Country: "IE", Items: []record.OrderItem{{Offer: "offer1", Quantity: 1}},
		Buyer: record.Address{Email: "ann@example.test", Country: "IE"}, Method: newOrder().Method,
	}
	_, err := w.c.SendOrder(t.Context(), "x", o)
	class(t, err, "")
	var body map[string]any
	for _, call := range w.sim.Log() {
		if call.Route == callOrder {
			if err := json.Unmarshal([]byte(call.Body), &body); err != nil {
				t.Fatal(err)
			}
		}
	}
	basket, _ := body["checkoutId"].(string)
	if !regexp.MustCompile(`^basket-[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(basket) {
		t.Errorf("the checkout id is %q", basket)
	}
	delete(body, "checkoutId")
	want := map[string]any{
		"order_type": "new", "external_id": "x", "process_immediately": true, "source": "hotsync", "initiated_source": "hotsync",
		"orderItems": []any{map[string]any{"offer": map[string]any{"id": "offer1"}, "quantity": 1.0}},
		"payment":    map[string]any{"type": "invoice"}, "country": "IE", "customerDetails": map[string]any{"email": "ann@example.test"},
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := w.c.SendOrder(t.Context(), "x", o); err != nil { // the same basket for the same order
		t.Fatal(err)
	}
	for _, order := range w.sim.OrdersByExternalID("x") {
		if order.Text("checkoutId") != basket {
			t.Errorf("the checkout ids are %s and %s", basket, order.Text("checkoutId"))
		}
	}
}

func TestOrderFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault  httpsim.Fault
		want   fault.Class
		orders int
	}{
		"answer lost": {httpsim.Fault{DropAfter: true}, fault.UnknownOutcome, 1},
		"dropped":     {httpsim.Fault{Drop: true}, fault.UnknownOutcome, 0},
		"502":         {httpsim.Fault{Code: "bad_gateway"}, fault.UnknownOutcome, 0},
		"503":         {httpsim.Fault{Code: "unavailable"}, fault.UnknownOutcome, 0},
		"500":         {httpsim.Fault{Code: "internal"}, fault.UnknownOutcome, 0},
		"504":         {httpsim.Fault{Status: 504}, fault.UnknownOutcome, 0},
		"408":         {httpsim.Fault{Status: 408}, fault.UnknownOutcome, 0},
		"no id":       {httpsim.Fault{Status: 200, Body: `{"status":"complete"}`}, fault.UnknownOutcome, 0},
		"odd id":      {httpsim.Fault{Status: 200, Body: `{"id":"sub-1"}`}, fault.UnknownOutcome, 0},
		"html":        {httpsim.Fault{Status: 200, Body: `<html>`}, fault.UnknownOutcome, 0},
		"failed":      {httpsim.Fault{Status: 200, Body: `{"id":"order-1","status":"failed"}`}, fault.Refused, 0},
		"400":         {httpsim.Fault{Status: 400}, fault.Refused, 0},
		"403":         {httpsim.Fault{Code: "forbidden"}, fault.Forbidden, 0},
		"429":         {httpsim.Fault{Code: "rate_limit"}, fault.RateLimited, 0},
		"409":         {httpsim.Fault{Status: 409}, fault.Locked, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, catalog())
			tt.fault.Route = callOrder
			w.sim.Inject(tt.fault)
			_, err := w.c.Apply(t.Context(), orderWrite("x"))
			class(t, err, tt.want)
			if got := w.sim.Calls()[callOrder]; got != 1 {
				t.Errorf("sent %d times", got)
			}
			if got := len(w.sim.OrdersByExternalID("x")); got != tt.orders {
				t.Errorf("limio has %d orders, want %d", got, tt.orders)
			}
			if err != nil && strings.Contains(err.Error(), "ann@example.test") {
				t.Errorf("the error tells who ordered: %v", err)
			}
		})
	}
}

func TestOrderThatFailed(t *testing.T) {
	w := newWorld(t, catalog())
	w.sim.FailOrders(1, "the card was declined")
	taken, err := w.c.SendOrder(t.Context(), "x", newOrder())
	class(t, err, fault.Refused)
	placed, err := w.c.Order(t.Context(), taken.ID)
	class(t, err, "")
	if placed.State != record.OrderFailed || !strings.Contains(placed.Problem, "the card was declined") || placed.Subscription != "" {
		t.Errorf("limio has %+v", placed)
	}
	_, err = w.c.SubscriptionOfOrder(t.Context(), placed)
	class(t, err, fault.NotFound)
}

// TestOrderState: the latest process event counts, and an order that says
// nothing of use is not taken for complete.
func TestOrderState(t *testing.T) {
	process := func(at, status, errors string) string {
		return fmt.Sprintf(`{"record_type":"process_event","id":"p%s","created":"2026-03-10T12:00:0%s.000Z","status":"%s","criticalPluginErrors":%s}`, at, at, status, errors)
	}
	const declined = `[{"name":"stripe","message":"declined"}]`
	for name, tt := range map[string]struct {
		order, around string
		want          record.OrderState
		problem       string
	}{
		"complete":               {"complete", "", record.OrderComplete, ""},
		"submitted":              {"submitted", "", record.OrderSubmitted, ""},
		"odd word":               {"on its way", "", record.OrderSubmitted, ""},
		"failed":                 {"failed", process("1", "processed", "[]"), record.OrderFailed, ""},
		"processed":              {"submitted", process("1", "processed", "[]"), record.OrderComplete, ""},
		"errors":                 {"complete", process("1", "processed", declined), record.OrderFailed, "stripe: declined"},
		"errors, then processed": {"submitted", process("2", "processed", "[]") + "," + process("1", "failed", declined), record.OrderComplete, ""},
		"processed, then errors": {"submitted", process("1", "processed", "[]") + "," + process("2", "failed", declined), record.OrderFailed, "stripe: declined"},
		"errors without words":   {"submitted", process("1", "failed", `["x"]`), record.OrderFailed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sim.Config{})
			w.sim.Inject(httpsim.Fault{Route: callGet, Status: 200, Body: `{"record_type":"order","id":"order-1","orderState":"` + tt.order + `"}`})
			w.sim.Inject(httpsim.Fault{Route: callRelated, Status: 200, Body: `{"items":[` + tt.around + `]}`})
			got, err := w.c.Order(t.Context(), "order-1")
			class(t, err, "")
			if got.State != tt.want || got.Problem != tt.problem {
				t.Errorf("%s %q, want %s %q", got.State, got.Problem, tt.want, tt.problem)
			}
		})
	}
}

func TestOrderReadFaults(t *testing.T) {
	w := newWorld(t, catalog())
	taken, err := w.c.SendOrder(t.Context(), "x", newOrder())
	class(t, err, "")
	for status, want := range map[int]fault.Class{404: "", 400: "", 503: fault.Unavailable, 403: fault.Forbidden} {
		remove := w.sim.Inject(httpsim.Fault{Route: callRelated, Status: status})
		placed, err := w.c.Order(t.Context(), taken.ID)
		class(t, err, want)
		if err == nil && placed.State != record.OrderComplete {
			t.Errorf("limio has %+v", placed)
		}
		remove()
	}
	for _, id := range []string{"order-0", "", "a/b"} {
		_, err = w.c.Order(t.Context(), id)
		class(t, err, fault.NotFound)
	}
}

func TestOrdersThatAreNeverSent(t *testing.T) {
	w := newWorld(t, catalog())
	for name, tt := range map[string]struct {
		change func(*record.Write)
		want   fault.Class
	}{
		"no external id": {func(w *record.Write) { w.Ref = "" }, fault.Bug},
		"no order":       {func(w *record.Write) { w.Order = nil }, fault.Bug},
		"subscription":   {func(w *record.Write) { w.Type = record.SubscriptionType }, fault.Bug},
		"no e-mail":      {func(w *record.Write) { w.Order.Buyer.Email = "" }, fault.Refused},
		"no items":       {func(w *record.Write) { w.Order.Items = nil }, fault.Refused},
		"no country":     {func(w *record.Write) { w.Order.Country = "Ireland" }, fault.Refused},
	} {
		write := orderWrite("x")
		tt.change(&write)
		_, err := w.c.Apply(t.Context(), write)
		if fault.Of(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	w.calls(map[string]int{})
}

func TestOrderByExternalID(t *testing.T) {
	w := newWorld(t, catalog())
	place := func(externalID string) record.PlacedOrder {
		t.Helper()
		placed, err := w.c.SendOrder(t.Context(), externalID, newOrder())
		class(t, err, "")
		return placed
	}
	for i := range 120 {
		place(fmt.Sprint("old", i))
	}
	w.clock.Advance(20 * time.Minute)
	since := w.clock.Now()
	place("other")
	w.sim.Inject(httpsim.Fault{Route: callOrder, DropAfter: true, Times: 1})
	_, err := w.c.SendOrder(t.Context(), "x", newOrder())
	class(t, err, fault.UnknownOutcome)
	w.sim.ResetCalls()
	got, found, err := w.c.OrderByExternalID(t.Context(), "x", since)
	class(t, err, "")
	w.calls(map[string]int{callList: 2, callGet: 2, callRelated: 1}) // 122 orders, two of them since
	want := w.sim.OrdersByExternalID("x")[0]
	if !found || got.ID != want.ID || got.State != record.OrderComplete || got.Subscription != want.Text("related") {
		t.Errorf("found %v %+v, want %s", found, got, want.ID)
	}
	if _, found, err = w.c.OrderByExternalID(t.Context(), "old7", since); found || err != nil {
		t.Errorf("an order of before is found: %v %v", found, err)
	}
	if _, found, err = w.c.OrderByExternalID(t.Context(), "old7", since.Add(-5*time.Minute)); !found || err != nil { // clocks differ
		t.Errorf("an order just before is not found: %v", err)
	}
	if _, found, err = w.c.OrderByExternalID(t.Context(), "old7", time.Time{}); !found || err != nil {
		t.Errorf("an order of any time is not found: %v", err)
	}
	_, _, err = w.c.OrderByExternalID(t.Context(), "", since)
	class(t, err, fault.Bug)

	again := place("x")
	_, found, err = w.c.OrderByExternalID(t.Context(), "x", since)
	class(t, err, fault.Ambiguous)
	if found || err == nil || !strings.Contains(err.Error(), want.ID) || !strings.Contains(err.Error(), again.ID) {
		t.Errorf("the two are not named: %v", err)
	}
}

func TestOfFailedOrdersTheLivingOneCounts(t *testing.T) {
	w := newWorld(t, catalog())
	var last record.PlacedOrder
	for range 2 {
		w.sim.FailOrders(1, "no")
		last, _ = w.c.SendOrder(t.Context(), "x", newOrder())
		w.clock.Advance(time.Second)
	}
	got, found, err := w.c.OrderByExternalID(t.Context(), "x", noon)
	class(t, err, "")
	if !found || got.ID != last.ID || got.State != record.OrderFailed {
		t.Errorf("found %v %+v, want the last one, %s", found, got, last.ID)
	}
	living, err := w.c.SendOrder(t.Context(), "x", newOrder())
	class(t, err, "")
	got, found, err = w.c.OrderByExternalID(t.Context(), "x", noon)
	class(t, err, "")
	if !found || got.ID != living.ID {
		t.Errorf("found %v %s, want %s", found, got.ID, living.ID)
	}
}

// TestSearchThatIsNotWhole finds nothing out, and does not say that nothing is
// there.
func TestSearchThatIsNotWhole(t *testing.T) {
	crowd := make([]string, 1001)
	for i := range crowd {
		crowd[i] = fmt.Sprintf(`{"record_type":"order","id":"order-%d"}`, i)
	}
	for name, tt := range map[string]struct {
		fault httpsim.Fault
		want  fault.Class
	}{
		"list":     {httpsim.Fault{Route: callList, Code: "unavailable"}, fault.Unavailable},
		"order":    {httpsim.Fault{Route: callGet, Code: "rate_limit", Times: 1}, fault.RateLimited},
		"gone":     {httpsim.Fault{Route: callGet, Status: 404, Times: 1}, fault.Unavailable},
		"around":   {httpsim.Fault{Route: callRelated, Code: "unavailable", Times: 1}, fault.Unavailable},
		"too many": {httpsim.Fault{Route: callList, Status: 200, Body: `{"items":[` + strings.Join(crowd, ",") + `]}`}, fault.Refused},
	} {
		// A world for each: of two reads at once, the one that was cancelled may
		// arrive late and meet the fault of the next case.
		w := newWorld(t, catalog())
		for range 3 {
			_, err := w.c.SendOrder(t.Context(), "x", newOrder())
			class(t, err, "")
		}
		w.sim.Inject(tt.fault)
		_, found, err := w.c.OrderByExternalID(t.Context(), "x", noon)
		class(t, err, tt.want)
		if found || err == nil {
			t.Errorf("%s: found %v", name, found)
		}
	}
}

func TestSubscriptionOfOrder(t *testing.T) {
	w := newWorld(t, catalog())
	placed, err := w.c.SendOrder(t.Context(), "x", newOrder())
	class(t, err, "")
	w.sim.ResetCalls()
	made := w.sim.OrdersByExternalID("x")[0].Text("related")
	got, err := w.c.SubscriptionOfOrder(t.Context(), placed) // the answer names its reference only
	class(t, err, "")
	w.calls(map[string]int{callGet: 1})
	if got != made {
		t.Errorf("found %s, want %s", got, made)
	}
	placed.Subscription = made
	if got, err = w.c.SubscriptionOfOrder(t.Context(), placed); got != made || err != nil {
		t.Errorf("found %s, %v", got, err)
	}
	w.calls(map[string]int{})
	for _, none := range []record.PlacedOrder{
		{}, {ID: "order-1"}, {ID: "order-1", SubscriptionReference: "NONE"}, {ID: "order-1", SubscriptionReference: "A-S1"},
	} {
		_, err = w.c.SubscriptionOfOrder(t.Context(), none)
		class(t, err, fault.NotFound)
	}
}

// newRecord is a subscription record without commerce actions.
func newRecord(stripeID, customer string) record.Write {
	return record.Write{
		Op: record.OpCreate, Type: record.SubscriptionType, Ref: stripeID, Parent: customer, Fields: change(
			"status", `"active"`, "start", `"2026-03-10T12:00:00.000Z"`, "data.attributes.external", "true", "data.stripe.subscription_id", `"`+stripeID+`"`,
		),
	}
}

func TestCreateSubscriptionRecord(t *testing.T) {
	w := newWorld(t, sim.Config{})
	for _, customer := range []string{w.customer, ""} {
		id, err := w.c.Apply(t.Context(), newRecord("sub_1", customer))
		class(t, err, "")
		w.calls(map[string]int{callPost: 1})
		o, _ := w.sim.Get(id)
		got := []any{
			o.At("reference"), o.At("name"), o.At("status"), o.At("start"), o.At("data.attributes.external"), o.At("data.stripe.subscription_id"), o.Text("customer"),
		}
		if diff := cmp.Diff([]any{"sub_1", "sub_1", "active", "2026-03-10T12:00:00.000Z", true, "sub_1", customer}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if n := w.sim.Count(sim.TypeOrder); n != 0 {
		t.Errorf("%d orders came of it", n)
	}
	for name, tt := range map[string]struct {
		fault httpsim.Fault
		want  fault.Class
	}{
		"lost": {httpsim.Fault{DropAfter: true}, fault.UnknownOutcome}, "502": {httpsim.Fault{Code: "bad_gateway"}, fault.UnknownOutcome},
		"400": {httpsim.Fault{Status: 400}, fault.Refused}, "429": {httpsim.Fault{Code: "rate_limit"}, fault.RateLimited},
	} {
		tt.fault.Route = callPost
		remove := w.sim.Inject(tt.fault)
		_, err := w.c.Apply(t.Context(), newRecord("sub_2", w.customer))
		if fault.Of(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
		remove()
	}
	w.sim.ResetCalls()
	for _, parent := range []string{w.sub, "order-1"} {
		_, err := w.c.Apply(t.Context(), newRecord("sub_3", parent))
		class(t, err, fault.Bug)
	}
	_, err := w.c.Apply(t.Context(), newRecord("", w.customer))
	class(t, err, fault.Bug)
	w.calls(map[string]int{})
}

// TestCreateAddOn: assumption 22 needs nothing but an offer of another subtype.
func TestCreateAddOn(t *testing.T) {
	w := newWorld(t, sim.Config{})
	id, err := w.c.Apply(t.Context(), record.Write{
		Op: record.OpCreate, Type: record.SubscriptionOffer, Parent: w.sub, Fields: change("data.record_subtype", `"add_on"`, "data.external_id", `"p/C"`),
	})
	class(t, err, "")
	if o, _ := w.sim.Get(id); o.Text("data.record_subtype") != "add_on" || o.Text("related") != w.sub {
		t.Errorf("limio has %v", o.JSON)
	}
}
