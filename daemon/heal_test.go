package daemon_test

import (
	"testing"
	"time"

	"hotsync/daemon/sweep"
	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
)

// An order of the shop changes Stripe, and then Limio's own update fails. The
// webhook is suppressed, a sweep within the settling time leaves the record
// alone, and the first one after it repairs what Limio never did.
func TestOriginHeals(t *testing.T) {
	r := newRoad(t)
	r.cfg.Reconcile.Loop.Settle, r.cfg.Reconcile.Loop.Window = 8*time.Second, time.Second
	// The follow-up that a suppression asks for would heal it, too. Here it meets
	// a Limio that is away and comes again much later.
	r.cfg.Retry.MemoryTries, r.cfg.Retry.First, r.cfg.Retry.Second = 0, 10*time.Minute, 20*time.Minute
	s, id := r.stripeSubscription()
	r.start()
	if run := r.sweep(sweep.StripeDrift, sweep.Ask{}); run.Stats.HandedOn != 1 {
		t.Fatalf("the first sweep: %+v", run.Stats)
	}
	byShop := stripe.ByRequest("limio")
	r.limio.FailOrders(1, "the plugin timed out")
	order, err := r.limio.PlaceOrder(limio.OrderParams{Subscription: id, Type: "cancel_subscription", Source: "shop"})
	r.must(err)
	if state := order.Text("orderState"); state != "failed" {
		t.Fatalf("the order is %s", state)
	}
	r.must(r.stripe.SetMetadata(s.ID, map[string]string{"limio_source": "shop"}, byShop))
	r.must(r.stripe.CancelNow(s.ID, byShop))
	r.webhooks()
	r.eventually("the echo is suppressed", func() bool {
		return r.query("SELECT count() FROM {db}.syncs WHERE key = 'stripe:subscription:"+s.ID+"' AND outcome = 'suppressed' AND reason = 'origin' AND origin = 'shop'") != "0"
	})
	wrote := r.limio.WriteCount()

	if run := r.sweep(sweep.StripeDrift, sweep.Ask{}); run.Stats.HandedOn != 0 {
		t.Errorf("a sweep did not leave alone what settles: %+v", run.Stats)
	}
	if n := r.limio.WriteCount(); n != wrote {
		t.Errorf("%d writes while it settles", n-wrote)
	}
	if got, _ := r.limio.Get(id); got.Text("status") != "active" {
		t.Fatalf("Limio says %s before anybody healed it", got.Text("status"))
	}

	heal := r.limio.Inject(httpsim.Fault{Code: "unavailable"})
	r.eventually("the follow-up found Limio away", func() bool {
		return r.query("SELECT count() FROM {db}.sync_events WHERE key = 'stripe:subscription:"+s.ID+"' AND outcome = 'deferred' AND has(triggers.type, 'after_suppression')") != "0"
	})
	heal()
	run := r.sweep(sweep.StripeDrift, sweep.Ask{})
	got, _ := r.limio.Get(id)
	if got.Text("status") != "cancelled" {
		t.Errorf("Limio says %s after the sweep: %+v", got.Text("status"), run.Stats)
	}
	causes := r.query("SELECT DISTINCT cause FROM {db}.syncs WHERE key = 'stripe:subscription:" + s.ID + "' AND outcome = 'applied' FORMAT TSV")
	if causes != "sweep" {
		t.Errorf("applied by %q", causes)
	}
}
