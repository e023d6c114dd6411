package stripe_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/stripe"
)

// crowd is an account with n subscriptions of as many customers, each with a
// card and two invoices.
func crowd(t testing.TB, n int, quiet bool) *stripe.Server {
	t.Helper()
	s := stripe.New(stripe.Config{Clock: httpsim.FrozenClock(epoch), Seed: 3, SecretKey: "sk_test_key"})
	s.SetQuiet(quiet)
	for i := range n {
		cus, err := s.AddCustomer(stripe.CustomerParams{Name: fmt.Sprintf("Reader %d", i), Email: fmt.Sprintf("r%d@example.com", i)})
		if err == nil {
			_, err = s.AddPaymentMethod(stripe.PaymentMethodParams{Customer: cus.ID, Default: true})
		}
		if err == nil {
			_, err = s.AddSubscription(stripe.SubscriptionParams{Customer: cus.ID, Start: epoch.AddDate(0, -1, -i%20),
				Item: stripe.ItemParams{Amount: 999, Currency: "gbp"}, Metadata: map[string]string{"limio_subscription_id": fmt.Sprintf("sub-%d", i)}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.SetQuiet(false)
	return s
}

// BenchmarkSeed shows what a hundred thousand subscriptions cost to have.
func BenchmarkSeed(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := crowd(b, 100_000, true)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
		runtime.KeepAlive(s)
	}
}

// BenchmarkPage shows what a page of a hundred costs, as sweeps ask for it.
func BenchmarkPage(b *testing.B) {
	for name, path := range map[string]string{
		"subscriptions": "/v1/subscriptions?status=all&limit=100&expand[0]=data.customer.invoice_settings.default_payment_method" +
			"&expand[1]=data.customer.default_source&expand[2]=data.latest_invoice&expand[3]=data.default_payment_method&expand[4]=data.default_source",
		"events": fmt.Sprintf("/v1/events?limit=100&created[gte]=%d", epoch.AddDate(0, -1, 0).Unix()),
	} {
		b.Run(name, func(b *testing.B) {
			s := crowd(b, 2000, false)
			for b.Loop() {
				r := httptest.NewRequest(http.MethodGet, path, nil)
				r.Header.Set("Authorization", "Bearer sk_test_key")
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
