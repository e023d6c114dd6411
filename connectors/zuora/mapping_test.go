package zuora

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
	"hotsync/internal/secret"
	"hotsync/record"
)

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func on(s string) time.Time {
	t, ok := record.ParseDay(s)
	if !ok && s != "" {
		panic(s)
	}
	return t
}

func TestSubscriptionStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		json string
		want record.Subscription
	}{
		"active": {`{"status":"Active","termEndDate":"2027-01-01","autoRenew":true}`,
			record.Subscription{Status: record.StatusActive, TermEnd: on("2027-01-01"), AutoRenew: true}},
		"not renewing": {`{"status":"Active","termEndDate":"2027-01-01"}`,
			record.Subscription{Status: record.StatusActive, TermEnd: on("2027-01-01"), Ending: true}},
		"lapsed stays active": {`{"status":"Active","termEndDate":"2026-01-01"}`,
			record.Subscription{Status: record.StatusActive, TermEnd: on("2026-01-01"), Ending: true}},
		"evergreen": {`{"status":"Active","termType":"EVERGREEN","termEndDate":null}`,
			record.Subscription{Status: record.StatusActive}},
		"cancelled yesterday": {`{"status":"Cancelled","termEndDate":"2026-03-09","subscriptionEndDate":"2026-03-09","autoRenew":true}`,
			record.Subscription{Status: record.StatusCancelled, TermEnd: on("2026-03-09"), Ending: true}},
		"cancelled as of today": {`{"status":"cancelled","subscriptionEndDate":"2026-03-10"}`,
			record.Subscription{Status: record.StatusCancelled, TermEnd: on("2026-03-10"), Ending: true}},
		"cancelled for tomorrow": {`{"status":"Cancelled","termEndDate":"2026-03-11","autoRenew":true}`,
			record.Subscription{Status: record.StatusActive, TermEnd: on("2026-03-11"), Ending: true}},
		"evergreen cancelled for later": {`{"status":"Cancelled","termType":"EVERGREEN","subscriptionEndDate":"2026-06-01"}`,
			record.Subscription{Status: record.StatusActive, TermEnd: on("2026-06-01"), Ending: true}},
		"cancelled without a date": {`{"status":"Cancelled","termType":"EVERGREEN"}`,
			record.Subscription{Status: record.StatusCancelled, Ending: true}},
		"pending activation":  {`{"status":"Pending Activation","autoRenew":true}`, record.Subscription{Status: record.StatusPending, AutoRenew: true}},
		"without space":       {`{"status":"PendingAcceptance","autoRenew":true}`, record.Subscription{Status: record.StatusPending, AutoRenew: true}},
		"draft":               {`{"status":"Draft","autoRenew":true}`, record.Subscription{AutoRenew: true}},
		"suspended":           {`{"status":"Suspended","autoRenew":true}`, record.Subscription{AutoRenew: true}},
		"something new":       {`{"status":"Paused","autoRenew":true}`, record.Subscription{AutoRenew: true}},
		"time stamps as days": {`{"status":"Active","autoRenew":true,"termEndDate":"2027-01-01T00:00:00.000+01:00"}`, record.Subscription{Status: record.StatusActive, AutoRenew: true, TermEnd: on("2026-12-31")}},
	} {
		t.Run(name, func(t *testing.T) {
			var s subscription
			if err := json.Unmarshal([]byte(tt.json), &s); err != nil {
				t.Fatal(err)
			}
			got := s.record(account{}, noon)
			tt.want.SourceStatus = s.Status
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOffers(t *testing.T) {
	const recurring = `"type":"Recurring","effectiveStartDate":"2026-01-01",`
	for name, tt := range map[string]struct {
		plan string // inside one rate plan of product rate plan p, termed to 2027-01-01, renewing
		want []record.Offer
	}{
		"ends with the term": {`"ratePlanName":"Annual","ratePlanCharges":[{` + recurring + `"number":"C-1","price":9.9,"quantity":2,"effectiveEndDate":"2027-01-01"}]`,
			[]record.Offer{{ID: "p/C-1", Name: "Annual", Start: on("2026-01-01"), Quantity: "2", Price: record.Money{Amount: "9.90", Currency: "EUR"}}}},
		"ends before the term": {`"productName":"Digital","ratePlanName":"Annual","ratePlanCharges":[{` + recurring + `"number":"C-1","effectiveEndDate":"2026-06-01"}]`,
			[]record.Offer{{ID: "p/C-1", Name: "Digital", Start: on("2026-01-01"), End: on("2026-06-01"), Quantity: "1"}}},
		"removed":       {`"lastChangeType":"Remove","ratePlanCharges":[{` + recurring + `"number":"C-1"}]`, nil},
		"ended":         {`"ratePlanCharges":[{` + recurring + `"number":"C-1","effectiveEndDate":"2026-03-10"}]`, nil},
		"taken back":    {`"ratePlanCharges":[{"type":"Recurring","number":"C-1","effectiveStartDate":"2026-05-01","effectiveEndDate":"2026-05-01"}]`, nil},
		"no charges":    {`"ratePlanName":"Free","ratePlanCharges":[]`, []record.Offer{{ID: "p/", Name: "Free", Quantity: "1", Start: on("2026-01-01")}}},
		"other money":   {`"ratePlanCharges":[{` + recurring + `"number":"C-1","price":1200,"currency":"JPY"}]`, []record.Offer{{ID: "p/C-1", Start: on("2026-01-01"), Quantity: "1", Price: record.Money{Amount: "1200", Currency: "JPY"}}}},
		"big and exact": {`"ratePlanCharges":[{` + recurring + `"number":"C-1","price":9007199254740993.01,"quantity":1.50}]`, []record.Offer{{ID: "p/C-1", Start: on("2026-01-01"), Quantity: "1.5", Price: record.Money{Amount: "9007199254740993.01", Currency: "EUR"}}}},
		"the first number stays when its charge ends": {`"ratePlanCharges":[{` + recurring + `"number":"C-10","price":5},{"type":"OneTime","number":"C-9","price":1,"effectiveStartDate":"2026-01-01","effectiveEndDate":"2026-01-02"}]`,
			[]record.Offer{{ID: "p/C-9", Start: on("2026-01-01"), Quantity: "1", Price: record.Money{Amount: "5.00", Currency: "EUR"}}}},
		"segments": {`"ratePlanCharges":[` +
			`{"type":"Recurring","number":"C-1","segment":3,"price":30,"effectiveStartDate":"2026-06-01","effectiveEndDate":"2027-01-01"},` +
			`{"type":"Recurring","number":"C-1","segment":1,"price":10,"effectiveStartDate":"2025-01-01","effectiveEndDate":"2026-01-01"},` +
			`{"type":"Recurring","number":"C-1","segment":2,"price":20,"effectiveStartDate":"2026-01-01","effectiveEndDate":"2026-06-01"}]`,
			[]record.Offer{{ID: "p/C-1", Start: on("2025-01-01"), Quantity: "1", Price: record.Money{Amount: "20.00", Currency: "EUR"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			var s subscription
			body := `{"status":"Active","subscriptionStartDate":"2026-01-01","termEndDate":"2027-01-01","autoRenew":true,"currency":"EUR","ratePlans":[{"productRatePlanId":"p",` + tt.plan + `}]}`
			if err := json.Unmarshal([]byte(body), &s); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, s.record(account{}, noon).Offers); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPaymentMethodsOfV1(t *testing.T) {
	var got methods
	if err := json.Unmarshal(read(t, "payment-methods.json"), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]record.PaymentMethod{
		"pm1": {ID: "pm1", Type: "CreditCard", Active: true, Brand: "Visa", Last4: "4242", ExpMonth: 9, ExpYear: 2028},
		"pm2": {ID: "pm2", Type: "PayPalNativeEC", Active: true},
		"pm3": {ID: "pm3", Type: "BankTransfer", Active: true, Last4: "3000"},
		"pm4": {ID: "pm4", Type: "ACH", Last4: "6789"},
		"pm5": {ID: "pm5", Type: "CreditCardReferenceTransaction", Active: true},
		"pm6": {ID: "pm6", Type: "GooglePay", Active: true, Brand: "MasterCard", Last4: "4444", ExpMonth: 3, ExpYear: 2029},
		"pm7": {ID: "pm7", Type: "VoucherCard", Active: true, Last4: "12"},
	}
	have := map[string]record.PaymentMethod{}
	for _, m := range got {
		have[m.ID] = m.record()
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLast4(t *testing.T) {
	for mask, want := range map[string]string{
		"************4242": "4242", "4242424242424242": "4242", "***12": "12", "": "", "****": "", "1234****": "", " ***4444 ": "4444",
	} {
		if got := last4(mask); got != want {
			t.Errorf("%q: %q, want %q", mask, got, want)
		}
	}
}

func TestDecimal(t *testing.T) {
	for in, want := range map[json.Number]string{
		"1": "1", "1.50": "1.5", "0.0": "0", "1.1988e2": "119.88", "5E-3": "0.005", "-2.50": "-2.5", "": "", "1e400": "", "1/3": "", "0x10": "", "nan": "",
	} {
		if got := decimal(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestCountries(t *testing.T) {
	for name, want := range map[string]string{
		"Ireland": "IE", "United States": "US", "Korea, Republic of": "KR", "Taiwan, Province of China": "TW", "Côte d'Ivoire": "CI",
		"Venezuela, Bolivarian Republic of": "VE", "Palestine, State of": "PS", "Saint Helena, Ascension and Tristan da Cunha": "SH",
		"IRL": "IE", "gb": "GB", "Atlantis": "", "International": "", "None": "", "": "", "  germany ": "DE",
	} {
		got, ok := countryCode(name)
		if got != want || ok != (want != "" || name == "") {
			t.Errorf("%q: %q %v, want %q", name, got, ok, want)
		}
	}
}

func TestOrderForms(t *testing.T) {
	for row, want := range map[string]record.Order{
		`{"orderNumber":"O","createdDate":"2026-03-10 11:00:00","customFields":{"source__c":"shop"}}`:                 {ID: "O", Source: "shop", Created: noon.Add(-time.Hour)},
		`{"orderNumber":"O","createdDate":"2026-03-10T12:00:00.000+0100","Source__c":"shop"}`:                         {ID: "O", Source: "shop", Created: noon.Add(-time.Hour)},
		`{"orderNumber":"O","orderDate":"2026-03-10","customFields":{"Source__c":null,"InitiatedSource__c":"crm"}}`:   {ID: "O", Source: "crm", Created: on("2026-03-10")},
		`{"orderNumber":"O","status":"Completed","createdDate":"2026-03-10T12:00:00Z","customFields":{"Other__c":1}}`: {ID: "O", Created: noon},
	} {
		got, counts, err := decodeOrder([]byte(row), time.UTC)
		if err != nil || !counts || got != want {
			t.Errorf("%s: %v %v %v, want %v", row, got, counts, err, want)
		}
	}
	if _, counts, err := decodeOrder([]byte(`{"status":"Draft"}`), time.UTC); counts || err != nil {
		t.Errorf("a draft counts: %v %v", counts, err)
	}
	if _, _, err := decodeOrder([]byte(`{"orderNumber":"O"}`), time.UTC); err == nil {
		t.Error("an order without a time is taken")
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "answers", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzAnswers feeds any body to every decoder: none may panic, and what is
// mapped must hold the promises that others rely on.
func FuzzAnswers(f *testing.F) {
	names, err := filepath.Glob(filepath.Join("testdata", "answers", "*.json"))
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range names {
		f.Add(read(f, filepath.Base(name)))
	}
	c, err := New(Config{BaseURL: "eu", ClientID: "c", ClientSecret: secret.New("s"), Now: func() time.Time { return noon }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, status := range []int{200, 404, 500} {
			v := judge(rest.Answer{Status: status, Body: body})
			if v.failed && v.class == "" || status >= 300 && !v.failed {
				t.Fatalf("verdict %+v for status %d", v, status)
			}
		}
		_, _, _ = decodeOrder(body, time.UTC)
		_, _ = customValue(body, "LimioExternalId__c")
		var all methods
		_ = json.Unmarshal(body, &all)
		var acc account
		var subs struct {
			Subscriptions []subscription `json:"subscriptions"`
		}
		if json.Unmarshal(body, &acc) != nil || json.Unmarshal(body, &subs) != nil {
			return
		}
		acc.PaymentMethods = append(acc.PaymentMethods, all...)
		got := c.mapAccount(acc, subs.Subscriptions)
		for _, m := range got.PaymentMethods {
			if len(m.Last4) > 4 {
				t.Fatalf("more than four digits: %+v", m)
			}
		}
		for _, s := range got.Subscriptions {
			if s.Status == record.StatusCancelled && s.AutoRenew {
				t.Fatalf("cancelled and renewing: %+v", s)
			}
			for _, o := range s.Offers {
				for _, n := range []string{o.Quantity, o.Price.Amount} {
					if n != "" && !json.Valid([]byte(n)) {
						t.Fatalf("%q is no number", n)
					}
				}
			}
		}
	})
}

func TestClassOfEveryCategory(t *testing.T) {
	for n := range 100 {
		w := word(fmt.Sprintf("500000%02d", n))
		if got := w.category(); got != n {
			t.Errorf("%s: category %d", w, got)
		}
		if classOf(n) == "" || classOf(n) == fault.Bug {
			t.Errorf("category %d has no class", n)
		}
	}
	if got := word("90000000").category(); got != categoryToken {
		t.Errorf("codes that begin with 9 are about authentication, not %d", got)
	}
}
