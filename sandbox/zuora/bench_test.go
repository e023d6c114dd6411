package zuora_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/zuora"
)

// BenchmarkLookup measures the calls of a login against a tenant with many
// accounts, so that the simulator is known not to be what a load test measures.
func BenchmarkLookup(b *testing.B) {
	s := zuora.New(zuora.Config{Clock: httpsim.FrozenClock(start)})
	var ids []string
	for i := range 50_000 {
		a := must(s.AddAccount(zuora.Account{CustomFields: map[string]any{external: fmt.Sprintf("auth0|%d", i)}}))
		must(s.AddSubscription(digital(a.ID), zuora.Order{}))
		ids = append(ids, a.ID)
	}
	form := strings.NewReader(url.Values{"client_id": {"a"}, "client_secret": {"b"}, "grant_type": {"client_credentials"}}.Encode())
	req := httptest.NewRequest(http.MethodPost, "/oauth/token", form)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, req)
	_, token, _ := strings.Cut(rec.Body.String(), `"access_token":"`)
	token, _, _ = strings.Cut(token, `"`)

	const expand = "&expand[]=billto&expand[]=paymentmethods&pageSize=99"
	for name, path := range map[string]func(i int) string{
		"id": func(i int) string { return "/object-query/accounts/" + ids[i] + "?" + expand[1:] },
		"field": func(i int) string {
			return fmt.Sprintf("/object-query/accounts?filter[]=%s.EQ:auth0|%d", external, i) + expand
		},
		"subscriptions": func(i int) string { return "/v1/subscriptions/accounts/" + ids[i] + "?pageSize=40" },
		"sweep": func(i int) string {
			return "/object-query/subscriptions?expand[]=rateplans.rateplancharges&pageSize=99"
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
			}
		})
	}
}
