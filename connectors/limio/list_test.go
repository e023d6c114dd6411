package limio_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hotsync/internal/fault"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	sim "hotsync/sandbox/limio"
)

const callList = "GET /api/objects/{service}/{path_type}"

func TestListGoesThroughAllPages(t *testing.T) {
	w := newWorld(t, sim.Config{})
	want := []string{w.sub}
	for i := range 249 {
		want = append(want, w.sim.AddSubscription(sim.SubscriptionParams{Customer: w.customer, Number: fmt.Sprint("N", i), Imported: true}))
	}
	var got []string
	for cursor, first := "", true; first || cursor != ""; first = false {
		page, next, err := w.c.List(t.Context(), record.SubscriptionType, cursor)
		class(t, err, "")
		for _, o := range page {
			got = append(got, o.ID)
		}
		if first {
			shown := page[0].Fields
			if page[0].Ref != "A-S1" || page[0].Parent != w.customer || shown["status"] != `"active"` || shown["created"] == "" || shown["updated"] == "" {
				t.Errorf("the summary is %+v", page[0])
			}
		}
		cursor = next
	}
	w.calls(map[string]int{callList: 3})
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestListOfEveryType(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.sim.AddSchedule(sim.ScheduleParams{Subscription: w.sub, Date: noon, Currency: "EUR"})
	w.sim.AddPaymentMethod(sim.PaymentMethodParams{Customer: w.customer, Type: "zuora"})
	w.sim.AddAddress(sim.AddressParams{Customer: w.customer, Relationship: "billing"})
	w.sim.AddOffer(sim.OfferParams{Subscription: w.sub, ExternalID: "p/C"})
	if _, err := w.sim.PlaceOrder(sim.OrderParams{Subscription: w.sub, Type: "renew", Source: "shop"}); err != nil {
		t.Fatal(err)
	}
	for _, typ := range []record.Type{
		record.SubscriptionType, record.Customer, record.OrderType, record.ScheduleType, record.PaymentMethodType, record.AddressType,
		record.SubscriptionOffer, record.Identity,
	} {
		page, next, err := w.c.List(t.Context(), typ, "")
		class(t, err, "")
		if len(page) == 0 || next != "" || page[0].Type != typ || page[0].ID == "" {
			t.Errorf("%s: %v, next %q", typ, page, next)
		}
	}
}

func TestListOfNothing(t *testing.T) {
	w := newWorld(t, sim.Config{})
	page, next, err := w.c.List(t.Context(), record.OrderType, "")
	class(t, err, "")
	if len(page) != 0 || next != "" {
		t.Errorf("got %v, next %q", page, next)
	}
	_, _, err = w.c.List(t.Context(), "event", "")
	class(t, err, fault.Bug)
}

// TestAListThatIsNotWholeFails: taking a part for the whole would make a sweep
// call records missing that are there.
func TestAListThatIsNotWholeFails(t *testing.T) {
	item := `{"id":"sub-1","record_type":"subscription"}`
	for name, tt := range map[string]struct {
		fault  httpsim.Fault
		cursor string
		want   fault.Class
	}{
		"same page again":      {httpsim.Fault{Status: 200, Body: `{"items":[` + item + `],"queryMore":"here"}`}, "here", fault.Unavailable},
		"nothing, but more":    {httpsim.Fault{Status: 200, Body: `{"items":[],"queryMore":"next"}`}, "", fault.Unavailable},
		"no items":             {httpsim.Fault{Status: 200, Body: `{"queryMore":"next"}`}, "", fault.Unavailable},
		"null items":           {httpsim.Fault{Status: 200, Body: `{"items":null}`}, "", fault.Unavailable},
		"another type":         {httpsim.Fault{Status: 200, Body: `{"items":[{"id":"cus-1","record_type":"customer"}]}`}, "", fault.Unavailable},
		"no type":              {httpsim.Fault{Status: 200, Body: `{"items":[{"id":"sub-1"}]}`}, "", fault.Unavailable},
		"no id":                {httpsim.Fault{Status: 200, Body: `{"items":[{"record_type":"subscription"}]}`}, "", fault.Unavailable},
		"odd cursor":           {httpsim.Fault{Status: 200, Body: `{"items":[` + item + `],"queryMore":7}`}, "", fault.Unavailable},
		"cut off":              {httpsim.Fault{Status: 200, Body: `{"items":[` + item}, "", fault.Unavailable},
		"dropped":              {httpsim.Fault{Drop: true}, "", fault.Unavailable},
		"503":                  {httpsim.Fault{Code: "unavailable"}, "", fault.Unavailable},
		"429":                  {httpsim.Fault{Code: "rate_limit"}, "", fault.RateLimited},
		"cursor not known now": {httpsim.Fault{Path: "nowhere"}, "bm90aGluZw==", fault.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sim.Config{})
			tt.fault.Route = callList
			w.sim.Inject(tt.fault)
			page, next, err := w.c.List(t.Context(), record.SubscriptionType, tt.cursor)
			class(t, err, tt.want)
			if len(page) != 0 || next != "" {
				t.Errorf("a failed page has %v, next %q", page, next)
			}
		})
	}
}

func TestSubscriptionByReference(t *testing.T) {
	w := newWorld(t, sim.Config{})
	for i := range 150 {
		w.sim.AddSubscription(sim.SubscriptionParams{Number: fmt.Sprint("N", i), Imported: true})
	}
	made, err := w.c.Apply(t.Context(), newRecord("sub_1", w.customer))
	class(t, err, "")
	w.sim.ResetCalls()
	got, found, err := w.c.SubscriptionByReference(t.Context(), "sub_1")
	class(t, err, "")
	if !found || got.ID != made {
		t.Errorf("found %v %s, want %s", found, got.ID, made)
	}
	w.calls(map[string]int{callList: 2})
	if _, found, err = w.c.SubscriptionByReference(t.Context(), "sub_2"); found || err != nil {
		t.Errorf("found %v, %v", found, err)
	}
	again, err := w.c.Apply(t.Context(), newRecord("sub_1", ""))
	class(t, err, "")
	_, found, err = w.c.SubscriptionByReference(t.Context(), "sub_1")
	class(t, err, fault.Ambiguous)
	if found || err == nil || !strings.Contains(err.Error(), made) || !strings.Contains(err.Error(), again) {
		t.Errorf("the two are not named: %v", err)
	}
	_, _, err = w.c.SubscriptionByReference(t.Context(), "")
	class(t, err, fault.Bug)
	for n, body := range []string{`{"items":[{"id":"sub-1","record_type":"subscription"}],"queryMore":"a"}`, `{"items":[{"id":"sub-2","record_type":"subscription"}],"queryMore":"b"}`} {
		w.sim.Inject(httpsim.Fault{Route: callList, Status: 200, Body: body, Times: 1})
		if n == 1 {
			w.sim.Inject(httpsim.Fault{Route: callList, Status: 200, Body: strings.Replace(body, `"b"`, `"a"`, 1)})
		}
	}
	_, found, err = w.c.SubscriptionByReference(t.Context(), "sub_2")
	class(t, err, fault.Unavailable) // a, b, a: in a circle
	if found {
		t.Error("found in half a list")
	}
}
