package zuora_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/connectors/zuora"
	"hotsync/internal/fault"
	"hotsync/internal/secret"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	sim "hotsync/sandbox/zuora"
)

const (
	callContacts      = "GET /object-query/contacts"
	callMethodList    = "GET /object-query/payment-methods"
	callVersions      = "GET /object-query/subscriptions"
	callSubscription  = "GET /v1/subscriptions/{key}"
	callOfPreview     = "POST /v1/operations/billing-preview"
	idleCallsInAll    = 4
	rowsOfAFullSecond = 99
)

func TestAccountsPages(t *testing.T) {
	w := newWorld(t, sim.Config{})
	want := []string{}
	for i := range 250 {
		id := fmt.Sprintf("acc%03d", i)
		w.account(id, "")
		want = append(want, id)
		if i%20 == 0 { // most have one stamp
			w.clock.Advance(time.Second)
		}
	}
	var got []string
	cursor, pages := "", 0
	for {
		page, err := w.Client.Accounts(t.Context(), cursor)
		class(t, err, "")
		pages++
		for _, g := range page.Glimpses {
			got = append(got, g.Key.ID)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	w.calls(map[string]int{callAccounts: 3})
	if pages != 3 {
		t.Errorf("%d pages", pages)
	}
}

// TestAccountsThatMoveAreNotMissed: an account that is updated before its page
// is read moves to the end of the list, not past the reader.
func TestAccountsThatMoveAreNotMissed(t *testing.T) {
	w := newWorld(t, sim.Config{})
	for i := range 250 {
		w.account(fmt.Sprintf("acc%03d", i), "")
		w.clock.Advance(time.Second)
	}
	seen := map[string]record.Mark{}
	for cursor := ""; ; {
		page, err := w.Client.Accounts(t.Context(), cursor)
		class(t, err, "")
		for _, g := range page.Glimpses {
			seen[g.Key.ID] = g.Mark
		}
		if cursor = page.Next; cursor == "" {
			break
		}
		if len(seen) == 99 {
			must(t)(0, w.UpdateAccount("acc240", func(a *sim.Account) { a.Name = "late" }))
			must(t)(0, w.UpdateAccount("acc000", func(a *sim.Account) { a.Name = "late" }))
		}
	}
	if len(seen) != 250 {
		t.Errorf("%d of 250 accounts were listed", len(seen))
	}
	for _, id := range []string{"acc000", "acc240"} {
		if acc, err := w.Client.Account(t.Context(), id); err != nil || acc.Mark != seen[id] {
			t.Errorf("%s was last listed as it was before: %v", id, err)
		}
	}
}

func TestListFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		fault httpsim.Fault
		want  fault.Class
	}{
		"limit":      {httpsim.Fault{Code: "rate_limit"}, fault.RateLimited},
		"lost":       {httpsim.Fault{Drop: true}, fault.Unavailable},
		"forbidden":  {httpsim.Fault{Code: "forbidden"}, fault.Forbidden},
		"no list":    {httpsim.Fault{Status: 200, Body: `{}`}, fault.Unavailable},
		"null":       {httpsim.Fault{Status: 200, Body: `{"data":null}`}, fault.Unavailable},
		"no rows":    {httpsim.Fault{Status: 200, Body: `{"data":{"id":"a"}}`}, fault.Unavailable},
		"no id":      {httpsim.Fault{Status: 200, Body: `{"data":[{"name":"Ada"}]}`}, fault.Unavailable},
		"no other":   {httpsim.Fault{Status: 200, Body: `{"data":[{"id":"a/../b"}]}`}, fault.Unavailable},
		"bad cursor": {httpsim.Fault{}, fault.Refused},
		"a loop":     {httpsim.Fault{Status: 200, Body: `{"data":[],"nextPage":"here"}`}, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sim.Config{})
			w.account("acc", "")
			if tt.want != fault.Refused {
				tt.fault.Route = callAccounts
				w.Inject(tt.fault)
			}
			_, err := w.Client.Accounts(t.Context(), "here")
			class(t, err, tt.want)
			if tt.want == fault.Refused {
				return
			}
			_, err = w.Glimpses(t.Context(), []string{"acc"})
			class(t, err, tt.want)
		})
	}
}

func TestGlimpses(t *testing.T) {
	w := newWorld(t, sim.Config{})
	var ids []string
	for i := range 150 {
		id := fmt.Sprintf("acc%03d", i)
		w.account(id, "")
		ids = append(ids, id)
	}
	w.account("ACC140", "") // Zuora's IN does not regard case
	slices.Reverse(ids)
	asked := append([]string{"gone", "", "a/b", "acc000,acc001", "x]"}, ids...)
	got, err := w.Glimpses(t.Context(), append(asked, "acc003", "acc003"))
	class(t, err, "")
	var keys []string
	for _, g := range got {
		keys = append(keys, g.Key.ID)
		if g.Mark == "" {
			t.Errorf("%s has no mark", g.Key)
		}
	}
	if diff := cmp.Diff(ids, keys); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	w.calls(map[string]int{callAccounts: 2})
	got, err = w.Glimpses(t.Context(), []string{"", "a,b"})
	if class(t, err, ""); got != nil {
		t.Errorf("%v", got)
	}
	w.calls(map[string]int{})
}

// changedAll asks for every kind and returns the accounts, with how often each
// was named.
func (w *world) changedAll(since time.Time) map[string]int {
	w.Helper()
	out := map[string]int{}
	for _, kind := range zuora.ChangeKinds() {
		for cursor := ""; ; {
			ids, next, err := w.Changed(w.Context(), kind, since, cursor)
			class(w.T, err, "")
			for _, id := range ids {
				out[id]++
			}
			if cursor = next; cursor == "" || err != nil {
				break
			}
		}
	}
	return out
}

func TestChanged(t *testing.T) {
	w := newWorld(t, sim.Config{})
	for _, id := range []string{"account", "contact", "sold", "method", "subscription", "old", "none"} {
		w.account(id, "")
	}
	must(t)(w.AddPaymentMethod("method", sim.PaymentMethod{ID: "pm1", Type: "CreditCard"}))
	must(t)(w.AddSubscription(sim.Subscription{AccountID: "subscription", Number: "A-S1"}, sim.Order{}))
	w.clock.Advance(time.Hour)
	must(t)(0, w.UpdateAccount("old", func(a *sim.Account) { a.Name = "x" }))
	w.clock.Advance(time.Hour)
	since := w.clock.Now()
	w.ResetCalls()
	if got := w.changedAll(since); len(got) != 0 {
		t.Errorf("nothing has changed, but: %v", got)
	}
	idle := map[string]int{callAccounts: 1, callContacts: 1, callMethodList: 1, callVersions: 1}
	if len(idle) != idleCallsInAll {
		t.Error("an idle tenant must cost 4 calls")
	}
	w.calls(idle)

	must(t)(0, w.UpdateAccount("account", func(a *sim.Account) { a.Name = "x" })) // at since: that counts
	must(t)(0, w.UpdateAccount("contact", func(a *sim.Account) { a.BillTo.City = "Galway" }))
	w.clock.Advance(time.Minute)
	must(t)(0, w.UpdateAccount("sold", func(a *sim.Account) { a.SoldTo = &sim.Contact{LastName: "Other"} }))
	must(t)(0, w.UpdatePaymentMethod("pm1", func(p *sim.PaymentMethod) { p.ExpYear = 2030 }))
	must(t)(w.RenewSubscription("A-S1", sim.Order{})) // two rows: the old version and the new one
	want := map[string]int{"account": 1, "contact": 1, "sold": 2, "method": 1, "subscription": 1}
	if diff := cmp.Diff(want, w.changedAll(since.In(fixed(5)))); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
}

func TestChangedPages(t *testing.T) {
	w := newWorld(t, sim.Config{})
	since := w.clock.Now()
	for i := range 2*rowsOfAFullSecond + 2 {
		w.account(fmt.Sprintf("acc%03d", i), "")
	}
	w.ResetCalls()
	if got := w.changedAll(since); len(got) != 2*rowsOfAFullSecond+2 {
		t.Errorf("%d accounts", len(got))
	}
	w.calls(map[string]int{callAccounts: 3, callContacts: 3, callMethodList: 1, callVersions: 1})
	for _, kind := range []string{"", "invoices", "accounts/x"} {
		_, _, err := w.Changed(t.Context(), kind, since, "")
		class(t, err, fault.Refused)
	}
	w.calls(map[string]int{})
	w.Inject(httpsim.Fault{Route: callContacts, Code: "unavailable"})
	_, _, err := w.Changed(t.Context(), zuora.KindContacts, since, "")
	class(t, err, fault.Unavailable)
}

// TestFieldsAreTrimmed: a sweep asks for no more than it needs.
func TestFieldsAreTrimmed(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	bodies := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		r.Header.Del("Accept-Encoding")
		w.Server.ServeHTTP(rec, r)
		bodies[r.URL.Path] = rec.Body.String()
		rw.WriteHeader(rec.Code)
		_, _ = rw.Write(rec.Body.Bytes())
	}))
	defer server.Close()
	w.subscribe("acc", 1)
	c := w.client(zuora.Config{BaseURL: server.URL, ClientID: "client", ClientSecret: secret.New("s3cret-of-the-client"), Now: w.clock.Now})
	_, err := c.Accounts(t.Context(), "")
	class(t, err, "")
	for _, kind := range zuora.ChangeKinds()[1:] {
		_, _, err := c.Changed(t.Context(), kind, today, "")
		class(t, err, "")
	}
	if body := bodies["/object-query/accounts"]; !strings.Contains(body, `"version":1`) || strings.Contains(body, "balance") ||
		strings.Contains(body, "autoRenew") || strings.Contains(body, "createdDate") {
		t.Error(body)
	}
	if body := bodies["/object-query/subscriptions"]; body != `{"data":[{"accountId":"acc"}]}` {
		t.Error(body)
	}
}

func TestAccountOf(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	w.subscribe("acc", 1)
	must(t)(w.RenewSubscription("A-S1000", sim.Order{}))
	got, err := w.AccountOf(t.Context(), "A-S1000")
	class(t, err, "")
	if got != "acc" {
		t.Errorf("account %q", got)
	}
	w.calls(map[string]int{callSubscription: 1})
	_, err = w.AccountOf(t.Context(), "A-S1")
	class(t, err, fault.NotFound)
	w.ResetCalls()
	for _, number := range []string{"", "..", "a/b"} {
		_, err = w.AccountOf(t.Context(), number)
		class(t, err, fault.NotFound)
	}
	w.calls(map[string]int{})
	for body, want := range map[string]fault.Class{
		`{"success":true,"subscriptionNumber":"A-S1000"}`:                                                                   fault.Unavailable,
		`{"success":true,"subscriptionNumber":"A-S2","accountId":"acc"}`:                                                    fault.NotFound,
		`{"success":false,"reasons":[{"code":50000040,"message":"none"}],"subscriptionNumber":"A-S1000","accountId":"acc"}`: fault.NotFound,
	} {
		remove := w.Inject(httpsim.Fault{Route: callSubscription, Status: 200, Body: body})
		_, err = w.AccountOf(t.Context(), "A-S1000")
		class(t, err, want)
		remove()
	}
}
