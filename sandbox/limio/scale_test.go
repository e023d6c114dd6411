package limio_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/limio"
)

// fill returns a Limio with n subscriptions, ten to a customer.
func fill(tb testing.TB, n int) *limio.Server {
	tb.Helper()
	s := limio.New(limio.Config{Clock: httpsim.FrozenClock(start), Seed: 7})
	customer := ""
	for i := range n {
		if i%10 == 0 {
			customer, _ = s.AddCustomer(limio.CustomerParams{
				Name: "Ann Example", Email: fmt.Sprintf("ann%d@example.test", i), ZuoraAccount: fmt.Sprint("2c92", i),
			})
		}
		s.AddSubscription(limio.SubscriptionParams{
			Customer: customer, Number: fmt.Sprintf("A-S%08d", i), Name: "Team", Imported: true, Amount: 4200, Currency: "EUR",
			TermStart: start, TermEnd: start.AddDate(1, 0, 0), AutoRenew: true,
		})
	}
	return s
}

// ask makes a call without a listener, decodes its answer into out, and fails
// unless it is 200.
func ask(tb testing.TB, s *limio.Server, r *http.Request, out any) {
	tb.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		tb.Fatalf("%s: %d %s", r.URL, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkListPage lists subscriptions in pages of 100, as a sweep over
// 150,000 does.
func BenchmarkListPage(b *testing.B) {
	const crowd = 150_000
	s := fill(b, crowd)
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	form := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader("grant_type=client_credentials&client_id=c&client_secret=s"))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var token struct {
		AccessToken string `json:"access_token"`
	}
	ask(b, s, form, &token)
	path := "/api/objects/limio/subscriptions?limit=100"
	next := ""
	for b.Loop() {
		r := httptest.NewRequest(http.MethodGet, path+next, nil)
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		var page struct {
			Items     []json.RawMessage `json:"items"`
			QueryMore string            `json:"queryMore"`
		}
		ask(b, s, r, &page)
		if len(page.Items) != 100 {
			b.Fatalf("%d items", len(page.Items))
		}
		if next = ""; page.QueryMore != "" {
			next = "&queryMore=" + url.QueryEscape(page.QueryMore)
		}
	}
	b.ReportMetric(float64(mem.HeapAlloc>>20), "MB-of-150k")
}
