package zuora_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hotsync/connectors/zuora"
	"hotsync/internal/fault"
	"hotsync/internal/secret"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	sim "hotsync/sandbox/zuora"
)

func TestAccountCosts(t *testing.T) {
	for _, tt := range []struct{ subs, methods, pages, extra int }{
		{0, 0, 1, 0}, {40, 3, 1, 0}, {41, 98, 2, 0}, {85, 99, 3, 1}, {1, 120, 1, 1},
	} {
		t.Run(fmt.Sprintf("%d subscriptions, %d methods", tt.subs, tt.methods), func(t *testing.T) {
			w := newWorld(t, sim.Config{})
			w.account("acc", "auth0|77")
			w.subscribe("acc", tt.subs)
			for i := range tt.methods {
				must(t)(w.AddPaymentMethod("acc", sim.PaymentMethod{
					ID: fmt.Sprintf("pm%03d", i), Type: "CreditCard", CardNumber: "************4242", ExpMonth: 9, ExpYear: 2028,
				}))
			}
			want := map[string]int{callAccount: 1, callSubs: tt.pages}
			if tt.extra > 0 {
				want[callMethods] = tt.extra
			}
			got, err := w.Client.Account(t.Context(), "acc")
			class(t, err, "")
			w.calls(want)
			if len(got.Subscriptions) != tt.subs || len(got.PaymentMethods) != tt.methods {
				t.Errorf("%d subscriptions and %d methods", len(got.Subscriptions), len(got.PaymentMethods))
			}
			by, err := w.AccountBy(t.Context(), "LimioExternalId__c", "auth0|77")
			class(t, err, "")
			delete(want, callAccount)
			want[callAccounts] = 1
			w.calls(want)
			if diff := cmp.Diff(got, by); diff != "" {
				t.Errorf("Account and AccountBy differ:\n%s", diff)
			}
		})
	}
}

func TestAccountContent(t *testing.T) {
	w := newWorld(t, sim.Config{})
	must(t)(w.AddAccount(sim.Account{
		ID: "acc", Number: "A-1", Name: "Ada Reader", CRMID: new("001A"), Currency: "EUR",
		BillTo: &sim.Contact{FirstName: "Ada", LastName: "Reader", Address1: "1 Quay St", City: "Galway", PostalCode: "H91 X1",
			Country: "Ireland", WorkEmail: "ada@example.test", MobilePhone: "1"},
		SoldTo: &sim.Contact{LastName: "Other", Country: "Atlantis", PersonalEmail: "o@example.test"},
	}))
	must(t)(w.AddPaymentMethod("acc", sim.PaymentMethod{ID: "pm1", Type: "CreditCard", CardNumber: "************4242", CardType: "Visa", ExpMonth: 9, ExpYear: 2028}))
	must(t)(w.AddPaymentMethod("acc", sim.PaymentMethod{ID: "pm2", Type: "PayPalNativeEC", Status: sim.PaymentMethodClosed, Email: "ada@example.test"}))
	must(t)(w.AddPaymentMethod("acc", sim.PaymentMethod{ID: "pm3", Type: "BankTransfer", IBAN: "******************3000"}))
	if err := w.SetDefaultPaymentMethod("acc", "pm1"); err != nil {
		t.Fatal(err)
	}
	must(t)(w.AddSubscription(sim.Subscription{
		AccountID: "acc", Number: "A-S1", StartDate: "2026-01-01", AutoRenew: true, CustomFields: map[string]any{"LimioOffer__c": "/offers/digital"},
		RatePlans: []sim.RatePlan{
			{ProductName: "Digital", ProductRatePlanID: "prp1", Name: "Annual", Charges: []sim.Charge{{Number: "C-1", Price: 11988, Quantity: 1, BillingPeriod: "Annual"}}},
			{ProductName: "Print", ProductRatePlanID: "prp2", Name: "Monthly", Charges: []sim.Charge{{Number: "C-2", Price: 500, Quantity: 2}}},
		},
	}, sim.Order{}))
	must(t)(w.RemoveRatePlan("A-S1", "prp2", sim.Order{}))
	got, err := w.Client.Account(t.Context(), "acc")
	class(t, err, "")
	want := record.Account{
		ID: "acc", Number: "A-1", Name: "Ada Reader", Status: "Active", CRMID: "001A", Currency: "EUR", DefaultMethod: "pm1",
		BillTo: record.Address{FirstName: "Ada", LastName: "Reader", Email: "ada@example.test", Line1: "1 Quay St", City: "Galway",
			PostalCode: "H91 X1", Country: "IE", Phone: "1"},
		SoldTo: record.Address{LastName: "Other", Email: "o@example.test"},
		PaymentMethods: []record.PaymentMethod{
			{ID: "pm1", Type: "CreditCard", Active: true, Brand: "Visa", Last4: "4242", ExpMonth: 9, ExpYear: 2028},
			{ID: "pm2", Type: "PayPalNativeEC"},
			{ID: "pm3", Type: "BankTransfer", Active: true, Last4: "3000"},
		},
		Subscriptions: []record.Subscription{{
			ID: "A-S1", Customer: "acc", Status: record.StatusActive, SourceStatus: "Active",
			Start: date("2026-01-01"), TermStart: date("2026-01-01"), TermEnd: date("2027-01-01"), AutoRenew: true,
			Offers: []record.Offer{{ID: "prp1/C-1", Name: "Digital", Start: date("2026-01-01"), Quantity: "1",
				Price: record.Money{Amount: "119.88", Currency: "EUR"}}},
			Metadata: map[string]string{"LimioOffer__c": "/offers/digital"},
		}},
		Mark: got.Mark, Until: date("2027-01-01"), // mark_test.go tells what a mark is
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("account (-want +got):\n%s", diff)
	}
	if len(w.notices) != 1 || !strings.Contains(w.notices[0], `"Atlantis"`) {
		t.Errorf("notices %q, want one about Atlantis", w.notices)
	}
}

func TestAccountNotFound(t *testing.T) {
	w := newWorld(t, sim.Config{})
	_, err := w.Client.Account(t.Context(), "none")
	class(t, err, fault.NotFound)
	w.ResetCalls()
	for _, id := range []string{"", ".", "..", "a/b", `a\b`, "a\nb", strings.Repeat("x", 201)} {
		_, err := w.Client.Account(t.Context(), id)
		class(t, err, fault.NotFound)
	}
	w.calls(map[string]int{})
}

func TestForeignNextPageIsRefused(t *testing.T) {
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token went elsewhere") }))
	defer thief.Close()
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	w.Inject(httpsim.Fault{Route: callSubs, Times: 1, Status: 200, Body: `{"success":true,"nextPage":"` + thief.URL + `/v1/x","subscriptions":[{"subscriptionNumber":"A-S1"}]}`})
	_, err := w.Client.Account(t.Context(), "acc")
	class(t, err, fault.Refused)
	if host := strings.TrimPrefix(thief.URL, "http://"); err == nil || strings.Count(err.Error(), "127.0.0.1:") != 2 || !strings.Contains(err.Error(), host) {
		t.Errorf("want both hosts in: %v", err)
	}
}

func TestEndlessPagesEnd(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	w.Inject(httpsim.Fault{Route: callSubs, Status: 200, Body: `{"success":true,"nextPage":"/v1/subscriptions/accounts/acc?page=2","subscriptions":[{"subscriptionNumber":"A-S1"}]}`})
	_, err := w.Client.Account(t.Context(), "acc")
	class(t, err, fault.Unavailable)
}

// TestSubscriptionsMoveBetweenPages: an update between two pages pushes others
// to later pages, so the list is read again.
func TestSubscriptionsMoveBetweenPages(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	w.subscribe("acc", 60)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.Server.ServeHTTP(rw, r)
		if r.URL.Query().Get("page") == "1" {
			w.clock.Advance(1)
			if _, err := w.ChangeSubscription("A-S1000", sim.Order{}, func(*sim.Subscription) {}); err != nil {
				t.Error(err)
			}
		}
	}))
	defer server.Close()
	c := w.client(zuora.Config{BaseURL: server.URL, ClientID: "client", ClientSecret: secret.New("s3cret-of-the-client"), Now: w.clock.Now})
	got, err := c.Account(t.Context(), "acc")
	class(t, err, "")
	if len(got.Subscriptions) != 60 {
		t.Errorf("%d subscriptions, want 60", len(got.Subscriptions))
	}
	w.calls(map[string]int{callAccount: 1, callSubs: 4})
}

func TestAnotherAccountIsNotTaken(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	w.Inject(httpsim.Fault{Route: callAccount, Status: 200, Body: `{"id":"other","accountNumber":"A-9"}`})
	_, err := w.Client.Account(t.Context(), "acc")
	class(t, err, fault.Unavailable)
}

func TestOrders(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	must(t)(w.AddSubscription(sim.Subscription{AccountID: "acc", Number: "A-S1"}, sim.Order{Number: "O-1", Source: "shop", InitiatedSource: "salesforce"}))
	w.clock.Advance(1e9)
	must(t)(w.ChangeSubscription("A-S1", sim.Order{Number: "O-2", InitiatedSource: "salesforce"}, func(*sim.Subscription) {}))
	w.clock.Advance(1e9)
	must(t)(w.RenewSubscription("A-S1", sim.Order{Number: "O-3"}))
	got, err := w.Client.Orders(t.Context(), "A-S1")
	class(t, err, "")
	want := []record.Order{
		{ID: "O-3", Created: today.Add(2e9)}, {ID: "O-2", Source: "salesforce", Created: today.Add(1e9)}, {ID: "O-1", Source: "shop", Created: today},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("orders (-want +got):\n%s", diff)
	}
	w.calls(map[string]int{callOrders: 1})
	_, err = w.Client.Orders(t.Context(), "A-S9")
	class(t, err, fault.NotFound)
}

func TestOrdersInTheTenantsZone(t *testing.T) {
	zone := date("2026-03-10").In(fixed(-8)).Location()
	w := newWorld(t, sim.Config{Zone: zone}, func(c *zuora.Config) { c.Zone = zone })
	w.account("acc", "")
	must(t)(w.AddSubscription(sim.Subscription{AccountID: "acc", Number: "A-S1"}, sim.Order{}))
	got, err := w.Client.Orders(t.Context(), "A-S1")
	class(t, err, "")
	if len(got) != 1 || !got[0].Created.Equal(today) {
		t.Errorf("orders %v, want one at %s", got, today)
	}
}
