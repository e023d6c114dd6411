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
	s := limio.New(limio.Config{Clock: httpsim.FrozenClock(start), Seed: 7, KeepWrites: -1})
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

// Of a crowd, every object is on exactly one page, whatever comes and goes.
func TestCursorsStayGoodWhileObjectsComeAndGo(t *testing.T) {
	w := newWorld(t, limio.Config{KeepWrites: -1})
	ids := make([]string, 1050)
	for i := range ids {
		ids[i] = w.AddSubscription(limio.SubscriptionParams{Number: fmt.Sprint(i)})
	}
	seen := map[string]int{}
	for page, next := 0, ""; page == 0 || next != ""; page++ {
		path := "/api/objects/limio/subscriptions?limit=100"
		if page > 0 {
			path += "&queryMore=" + url.QueryEscape(next)
		}
		a := w.do("GET", path, "")
		for _, item := range a.items() {
			seen[item.Text("id")]++
		}
		next = a.Text("queryMore")
		if page == 3 { // one that was listed goes, one comes, and one changes
			if err := w.Remove(limio.ByStaff, ids[350]); err != nil {
				t.Fatal(err)
			}
			w.AddSubscription(limio.SubscriptionParams{Number: "late"})
			if err := w.UpdateAs(limio.ByStaff, ids[500], func(o map[string]any) { o["status"] = "cancelled" }); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, id := range ids {
		equal(t, id, seen[id], 1)
	}
	equal(t, "with the late one", len(seen), len(ids)+1)
}

func TestWritesThatAreOnlyCounted(t *testing.T) {
	none, bare := limio.New(limio.Config{KeepWrites: -1}), limio.New(limio.Config{ForgetChanges: true})
	for _, s := range []*limio.Server{none, bare} {
		sub := s.AddSubscription(limio.SubscriptionParams{Name: "Team"})
		before := s.WriteCount()
		if err := s.UpdateAs(limio.ByStaff, sub, func(o map[string]any) { o["status"] = "cancelled" }); err != nil {
			t.Fatal(err)
		}
		equal(t, "writes", s.WriteCount()-before, 1)
	}
	equal(t, "kept", len(none.Writes()), 0)
	log := bare.Writes()
	equal(t, "kept", len(log), 2)
	equal(t, "changes", len(log[1].Changed), 0)
	equal(t, "noop", log[1].Noop, false)
}
