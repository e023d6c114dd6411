package world

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// What nobody announces: records change, no webhook tells of them, and nothing
// is pointed at when the traffic is over.
func TestLostWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(Config{Seed: 21, Accounts: 20, Subscriptions: 60, Rate: 60, Duration: 10 * time.Second, NoFaults: true, Lose: 0.3, Unannounced: true})
		l := listen(w)
		made, err := w.Run(t.Context(), l.emit)
		if err != nil {
			t.Fatal(err)
		}
		if made.Lost == 0 || made.Stripe == 0 || made.Logins != l.heard.Logins || made.Stripe != l.heard.Stripe {
			t.Errorf("made %+v, heard %+v", made, l.heard)
		}
		unheard := 0
		for _, s := range w.subs {
			if s.changed && s.Limio != "" && l.saw[s.ID] != l.state(s.ID) {
				unheard++
			}
		}
		if unheard == 0 {
			t.Error("everything that changed was announced after all")
		}
	})
}

func TestTrouble(t *testing.T) {
	w := New(Config{Seed: 22, Accounts: 5, Subscriptions: 5, Duration: time.Millisecond, Trouble: Trouble{RateLimited: 1}})
	statuses := func() (out []int) {
		for _, h := range []http.Handler{w.ZuoraHandler(), w.StripeHandler(), w.LimioHandler()} {
			rec := httptest.NewRecorder()
			path := map[http.Handler]string{w.StripeHandler(): "/v1/subscriptions", w.ZuoraHandler(): "/v1/accounts/x", w.LimioHandler(): "/api/objects/limio/subscriptions"}[h]
			req := httptest.NewRequest(http.MethodGet, path, nil)
			req.Header.Set("Zuora-Version", "2025-08-12") // older ones answer 200 to everything
			h.ServeHTTP(rec, req)
			out = append(out, rec.Code)
		}
		return out
	}
	r := &run{w: w}
	r.breakAll(w.cfg.Trouble)
	for i, code := range statuses() {
		if code != http.StatusTooManyRequests {
			t.Errorf("vendor %d answers %d in trouble", i, code)
		}
	}
	r.heal()
	for i, code := range statuses() {
		if code == http.StatusTooManyRequests {
			t.Errorf("vendor %d still answers %d", i, code)
		}
	}
}
