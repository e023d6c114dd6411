package daemon_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"hotsync/daemon/sweep"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
)

// shopOrder has the shop cancel a subscription at the end of its term: Limio
// takes the order, Stripe does what it asks for, and Limio's own update fails.
func (r *road) shopOrder(s stripe.Subscription, limioID string) {
	r.t.Helper()
	r.limio.FailOrders(1, "the plugin that stores the change has crashed")
	order, err := r.limio.SubmitOrder(limio.OrderParams{
		Subscription: limioID, Type: "cancel_subscription", Source: "shop",
		Apply: func(*limio.Tx, string) error { return errors.New("never reached") },
	})
	r.must(err)
	byShop := stripe.ByRequest("limio")
	r.must(r.stripe.SetMetadata(s.ID, map[string]string{"limio_source": "shop"}, byShop))
	r.must(r.stripe.CancelAtPeriodEnd(s.ID, true, byShop))
	if done, err := order.CarryOut(nil); err != nil || done.Text("orderState") == "complete" {
		r.t.Fatalf("the order was to fail: %v, %v", done.JSON, err)
	}
}

// upcoming counts the payments of a Limio subscription that are still to come.
func (r *road) upcoming(limioID string) (n int) {
	for _, o := range r.limio.Related(limioID) {
		if o.RecordType == limio.TypeSchedule && o.Text("status") == "pending-external" {
			n++
		}
	}
	return n
}

// A change that the shop made is left to Limio, which fails to store it. While
// the change settles not even a sweep touches the record; the first one after
// that repairs it, before the look that the daemon set itself comes.
func TestASweepHealsWhatAnOriginLeftBroken(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	settle := time.Minute // that passes when the test says so
	r.cfg.Reconcile.Loop.Settle = settle
	s, id := r.stripeSubscription()
	r.start()
	r.must(r.stripe.RenewNow(s.ID, true)) // both sides are brought together first
	r.outcomes(r.webhooks())
	r.sweep(sweep.StripeDrift, sweep.Ask{})
	if r.upcoming(id) == 0 {
		t.Fatal("Limio shows no payment that a cancellation could take away")
	}
	r.limio.ResetWrites()

	r.shopOrder(s, id)
	r.webhooks()
	r.eventually("the change is suppressed", func() bool {
		return r.query("SELECT count() FROM {db}.syncs WHERE outcome = 'suppressed' AND reason = 'origin' AND origin = 'shop'") != "0"
	})
	early := r.sweep(sweep.StripeDrift, sweep.Ask{})
	if early.Stats.HandedOn != 0 {
		t.Errorf("a sweep in the settling time handed on %+v", early.Stats)
	}
	// Even one that looks at everything leaves it alone.
	deep := r.sweep(sweep.StripeDrift, sweep.Ask{Deep: true})
	if got := r.ended(deep); got["suppressed/origin"] != 1 || len(got) != 1 {
		t.Errorf("a deep sweep in the settling time ended %v", got)
	}
	r.noWrites("while the change was settling")

	r.clock.Advance(settle + 2*time.Second)
	heals := r.sweep(sweep.StripeDrift, sweep.Ask{})
	if got := r.ended(heals); got["applied/drift_repaired"] != 1 || len(got) != 1 {
		t.Fatalf("the sweep after the settling time ended %v, %+v", got, heals.Stats)
	}
	if got := r.query("SELECT DISTINCT cause FROM {db}.syncs WHERE outcome = 'applied' AND at >= (SELECT max(at) FROM {db}.syncs WHERE outcome = 'suppressed')"); got != "sweep" {
		t.Errorf("repaired because of %q, want a sweep", got)
	}
	if left := r.upcoming(id); left != 0 {
		t.Errorf("%d payments that will not happen still stand", left)
	}

	// The look that was set is due long since; a restart lets it come now.
	repairs := len(r.limio.Writes())
	r.stop()
	r.start()
	r.eventually("the follow-up is answered", func() bool {
		return r.query("SELECT outcome FROM {db}.trigger_outcomes WHERE cause = 'retry' AND type = 'after_suppression'") == "in_sync"
	})
	if again := len(r.limio.Writes()) - repairs; again != 0 {
		t.Errorf("the follow-up made %d writes more", again)
	}
}

// noWrites checks that nobody wrote to Limio over its API.
func (r *road) noWrites(when string) {
	r.t.Helper()
	for _, w := range r.limio.Writes() {
		if w.By == limio.ByAPI {
			r.t.Errorf("%s: %s", when, fmt.Sprint(w))
		}
	}
}
