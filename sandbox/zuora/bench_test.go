package zuora_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/zuora"
)

// BenchmarkLookup measures the calls of a login, and the pages of a sweep,
// against a tenant with many accounts, so that the simulator is known not to be
// what a load test measures.
func BenchmarkLookup(b *testing.B) {
	clock := httpsim.FrozenClock(start)
	s := zuora.New(zuora.Config{Clock: clock})
	var ids []string
	for i := range 20_000 {
		a := must(s.AddAccount(zuora.Account{CustomFields: map[string]any{external: fmt.Sprintf("auth0|%d", i)}, SoldTo: &zuora.Contact{LastName: "Other"}}))
		must(s.AddPaymentMethod(a.ID, zuora.PaymentMethod{Type: "CreditCard", CardNumber: "************4242", ExpMonth: 9, ExpYear: 2028}))
		sub := must(s.AddSubscription(digital(a.ID), zuora.Order{}))
		if i%2 == 0 {
			must(s.RenewSubscription(sub.Number, zuora.Order{}))
		}
		ids = append(ids, a.ID)
	}
	clock.Advance(time.Hour)
	form := strings.NewReader(url.Values{"client_id": {"a"}, "client_secret": {"b"}, "grant_type": {"client_credentials"}}.Encode())
	req := httptest.NewRequest(http.MethodPost, "/oauth/token", form)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, req)
	_, token, _ := strings.Cut(rec.Body.String(), `"access_token":"`)
	token, _, _ = strings.Cut(token, `"`)

	const (
		expand = "&expand[]=billto&expand[]=paymentmethods&pageSize=99"
		marks  = "expand[]=billto,soldto,paymentmethods,subscriptions&pageSize=99&sort[]=updateddate.ASC" +
			"&account.fields[]=id,accountnumber,name&subscriptions.fields[]=id,name,version,status,updateddate"
	)
	cursor := ""
	for name, path := range map[string]func(i int) string{
		"id": func(i int) string { return "/object-query/accounts/" + ids[i] + "?" + expand[1:] },
		"field": func(i int) string {
			return fmt.Sprintf("/object-query/accounts?filter[]=%s.EQ:auth0|%d", external, i) + expand
		},
		"subscriptions": func(i int) string { return "/v1/subscriptions/accounts/" + ids[i] + "?pageSize=40" },
		"versions": func(i int) string {
			return "/object-query/subscriptions?expand[]=rateplans.rateplancharges&pageSize=99"
		},
		"sweep": func(i int) string { return "/object-query/accounts?" + marks + "&cursor=" + cursor },
		"named": func(i int) string {
			return "/object-query/accounts?" + marks + "&filter[]=id.IN:[" + strings.Join(ids[:99], ",") + "]"
		},
		"idle": func(i int) string {
			return "/object-query/subscriptions?fields[]=accountid&sort[]=updateddate.ASC&filter[]=updateddate.GE:2026-03-01T10:30:00Z"
		},
		"change": func(i int) string {
			if err := s.UpdateAccount(ids[i], func(a *zuora.Account) { a.Name += "x" }); err != nil {
				b.Fatal(err)
			}
			return "/object-query/accounts?fields[]=id&sort[]=updateddate.ASC&filter[]=updateddate.GE:2026-03-01T11:30:00Z"
		},
	} {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				r := httptest.NewRequest(http.MethodGet, path(i%len(ids)), nil)
				r.Header.Set("Authorization", "Bearer "+token)
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Body.String())
				}
				if name == "sweep" {
					_, cursor, _ = strings.Cut(w.Body.String(), `"nextPage":"`)
					cursor, _, _ = strings.Cut(cursor, `"`)
				}
			}
		})
	}
}
