package daemon_test

import (
	"strings"
	"testing"

	"hotsync/sandbox/zuora"
)

// In delegate mode nothing is written field by field: Limio's own sync endpoint
// is asked for the subscription that differs, and for no other, and what it did
// is read back.
func TestDelegateMode(t *testing.T) {
	r := newRoad(t)
	r.cfg.Reconcile.Mode = "delegate"
	a := r.zuoraAccount("user-1", 3)
	r.start()
	r.login(map[string]any{"zuora_accounts": a.ID})
	if got := r.outcomes(1); got["applied/created"] != 1 {
		t.Fatalf("outcomes %v: %s", got, r.query("SELECT note FROM {db}.syncs"))
	}
	sub := r.zuora.Subscriptions(a.ID)[0]
	_, err := r.zuora.CancelSubscription(sub.Number, zuora.DateOf(r.clock.Now()), zuora.Order{})
	r.must(err)
	r.limio.ResetCalls()
	r.login(map[string]any{"zuora_accounts": a.ID})
	if got := r.outcomes(2); got["applied/drift_repaired"] != 1 {
		t.Fatalf("outcomes %v: %s", got, r.query("SELECT note FROM {db}.syncs WHERE outcome = 'failed'"))
	}
	syncs := 0
	for route, n := range r.limio.Calls() {
		switch {
		case strings.HasPrefix(route, "PUT "), strings.HasPrefix(route, "POST /api/objects"):
			t.Errorf("%d calls of %s", n, route)
		case strings.HasPrefix(route, "POST /api/plugins/zuora/sync"):
			syncs += n
		}
	}
	if syncs != 1 {
		t.Errorf("%d subscriptions were synced by Limio, want the one that differed: %v", syncs, r.limio.Calls())
	}
	if got, _ := r.limio.SubscriptionByNumber(sub.Number); got.Text("status") != "cancelled" {
		t.Errorf("Limio says %s", got.Text("status"))
	}
	// The log shows what it was for.
	if got := r.query("SELECT countIf(field = 'status' AND after = 'cancelled') FROM {db}.sync_changes WHERE outcome = 'applied'"); got == "0" {
		t.Error("the log does not say what was changed")
	}
	r.limio.ResetCalls()
	r.login(map[string]any{"zuora_accounts": a.ID})
	if got := r.outcomes(3); got["in_sync/fingerprint"] != 1 || total(r.limio.Calls()) != 0 {
		t.Errorf("outcomes %v, Limio calls %v", got, r.limio.Calls())
	}
}

// Who is out of scope is left alone, and the log says by which rule.
func TestScope(t *testing.T) {
	r := newRoad(t)
	r.cfg.Reconcile.Scope.Include = []string{"claim:cohort=beta"}
	in, out := r.zuoraAccount("user-1", 1), r.zuoraAccount("user-2", 1)
	r.start()
	r.login(map[string]any{"zuora_accounts": in.ID, "cohort": "beta"})
	r.login(map[string]any{"zuora_accounts": out.ID, "cohort": "gamma"})
	if got := r.outcomes(2); got["applied/created"] != 1 || got["skipped/out_of_scope"] != 1 {
		t.Errorf("outcomes %v", got)
	}
	if note := r.query("SELECT note FROM {db}.syncs WHERE reason = 'out_of_scope'"); !strings.Contains(note, "claim:cohort=beta") {
		t.Errorf("the note says %q", note)
	}
}
