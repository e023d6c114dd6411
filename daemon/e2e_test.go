package daemon_test

import (
	"fmt"
	"strings"
	"testing"

	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
)

func total(calls map[string]int) (n int) {
	for route, c := range calls {
		if !strings.Contains(route, "token") {
			n += c
		}
	}
	return n
}

// A login of a customer whom Limio has never heard of creates what is missing;
// the next login costs two Zuora calls and no Limio call.
func TestHotSync(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	const many = 40 // that one page of subscriptions holds
	a := r.zuoraAccount("user-1", many)
	r.start()
	r.login(map[string]any{"zuora_accounts": a.ID})
	if got := r.outcomes(1); got["applied/created"] != 1 {
		t.Fatalf("outcomes %v", got)
	}
	if got := r.limio.Count(limio.TypeSubscription); got != many {
		t.Errorf("%d subscriptions in Limio, want %d", got, many)
	}
	if got := r.limio.Count(limio.TypeOffer); got != many {
		t.Errorf("%d offers in Limio, want %d", got, many)
	}
	r.zuora.ResetCalls()
	r.limio.ResetCalls()
	r.login(map[string]any{"zuora_accounts": []string{a.ID}})
	if got := r.outcomes(2); got["in_sync/fingerprint"] != 1 {
		t.Fatalf("outcomes %v", got)
	}
	if z, l := total(r.zuora.Calls()), total(r.limio.Calls()); z != 2 || l != 0 {
		t.Errorf("an unchanged login cost %d Zuora and %d Limio calls: %v %v", z, l, r.zuora.Calls(), r.limio.Calls())
	}
}

// The same by a custom field: the lookup is the account read.
func TestHotSyncByCustomField(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	r.zuoraAccount("user-1", 2)
	r.start()
	r.login(map[string]any{"sub": "user-1"})
	if got := r.outcomes(2); got["applied/created"] != 1 || got["skipped/fanned_out"] != 1 {
		t.Fatalf("outcomes %v", got)
	}
	r.zuora.ResetCalls()
	r.limio.ResetCalls()
	r.login(map[string]any{"sub": "user-1"})
	if got := r.outcomes(3); got["in_sync/fingerprint"] != 1 {
		t.Fatalf("outcomes %v", got)
	}
	if z, l := total(r.zuora.Calls()), total(r.limio.Calls()); z != 2 || l != 0 {
		t.Errorf("an unchanged login cost %d Zuora and %d Limio calls: %v", z, l, r.zuora.Calls())
	}
	r.zuoraAccount("user-1", 1) // a second account with the same value
	r.login(map[string]any{"sub": "user-1"})
	if got := r.outcomes(4); got["skipped/ambiguous_match"] != 1 {
		t.Errorf("outcomes %v", got)
	}
}

// A renewal's whole burst of webhooks is one sync of three Stripe calls.
func TestRenewalBurst(t *testing.T) {
	r := newRoad(t)
	s, id := r.stripeSubscription()
	r.start()
	r.must(r.stripe.RenewNow(s.ID, true))
	r.stripe.ResetCalls()
	n := r.webhooks()
	if n < 9 {
		t.Fatalf("a burst of %d events is none", n)
	}
	r.outcomes(n)
	if got := r.query("SELECT count() FROM {db}.syncs WHERE key = 'stripe:subscription:" + s.ID + "'"); got != "1" {
		t.Errorf("%s syncs of the subscription, want 1", got)
	}
	if got := total(r.stripe.Calls()); got != 3 {
		t.Errorf("%d Stripe calls, want 3: %v", got, r.stripe.Calls())
	}
	sub, _ := r.limio.Get(id)
	want, _ := r.stripe.Subscription(s.ID)
	if got := sub.Text("data.termEndDate"); got != want.CurrentPeriodEnd.UTC().Format("2006-01-02") {
		t.Errorf("Limio's term ends %s, Stripe's %s", got, want.CurrentPeriodEnd)
	}
	// It ends: two calls.
	r.must(r.stripe.CancelNow(s.ID, stripe.ByStripe()))
	r.stripe.ResetCalls()
	r.outcomes(n + r.webhooks())
	if got := total(r.stripe.Calls()); got != 2 {
		t.Errorf("%d Stripe calls for an ended subscription, want 2: %v", got, r.stripe.Calls())
	}
	if sub, _ := r.limio.Get(id); sub.Text("status") != "cancelled" {
		t.Errorf("Limio says %s", sub.Text("status"))
	}
}

func TestHealthAndMetrics(t *testing.T) {
	r := newRoad(t).start()
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": `"ready":true`, "/metrics": "hotsync_remembered_keys"} {
		if got := r.get(path); !strings.Contains(got, want) {
			t.Errorf("%s: %.200s", path, got)
		}
	}
	if want := fmt.Sprintf("hotsync_kafka_partitions_assigned{group=%q} %d\n", r.cfg.Kafka.Prefix+".workers", r.cfg.Kafka.Partitions); !strings.Contains(r.get("/metrics"), want) {
		t.Errorf("/metrics does not say %q", want)
	}
}

// What is remembered survives a restart: an unchanged login still costs no
// Limio call, and nothing that was handled is handled again.
func TestRestart(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	a := r.zuoraAccount("user-1", 1)
	r.start()
	r.login(map[string]any{"zuora_accounts": a.ID})
	r.outcomes(1)
	r.stop()
	r.limio.ResetCalls()
	r.login(map[string]any{"zuora_accounts": a.ID}) // while nobody is there
	r.start()
	if got := r.outcomes(2); got["in_sync/fingerprint"] != 1 {
		t.Errorf("after a restart: %v", got)
	}
	if n := total(r.limio.Calls()); n != 0 {
		t.Errorf("%d Limio calls after a restart: %v", n, r.limio.Calls())
	}
	if got := r.query("SELECT count() FROM {db}.syncs"); got != "2" {
		t.Errorf("%s syncs, want 2: something was handled twice", got)
	}
}

// A change that the shop made is left to Limio for the settling time, then
// looked at once more and repaired if Limio did not.
func TestShopOrderIsNotEchoed(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	s, id := r.stripeSubscription()
	r.start()
	r.must(r.stripe.RenewNow(s.ID, true)) // both sides are brought together first
	n := r.webhooks()
	r.outcomes(n)
	r.limio.ResetWrites()

	byShop := stripe.ByRequest("limio")
	r.must(r.stripe.SetMetadata(s.ID, map[string]string{"limio_source": "shop"}, byShop))
	r.must(r.stripe.CancelAtPeriodEnd(s.ID, true, byShop))
	n += r.webhooks()
	got := r.outcomes(n + 1) // and the follow-up
	if got["suppressed/origin"] == 0 {
		t.Fatalf("outcomes %v", got)
	}
	suppressed := r.query("SELECT toUnixTimestamp64Milli(max(at)) FROM {db}.sync_events WHERE outcome = 'suppressed'")
	for _, w := range r.limio.Writes() {
		if ms := fmt.Sprint(w.At.UnixMilli()); w.By == limio.ByAPI && ms < suppressed {
			t.Errorf("written while the change was settling: %+v", w)
		}
	}
	// Limio itself never did its part here, so the follow-up repaired it.
	for _, o := range r.limio.Related(id) {
		if o.RecordType == limio.TypeSchedule && o.Text("status") == "pending-external" {
			t.Errorf("a payment that will not happen still stands: %v", o.JSON)
		}
	}
}
