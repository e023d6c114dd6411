package daemon_test

import (
	"strings"
	"testing"
	"time"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
)

// Work that is put off says when it is tried again, is not tried before, also
// across a restart, and keeps its sync; what is given up is a dead letter with
// everything that a replay needs.
func TestPutOffAcrossARestart(t *testing.T) {
	r := newRoad(t)
	r.cfg.Retry.MemoryTries, r.cfg.Retry.First, r.cfg.Retry.FirstTries, r.cfg.Retry.SecondTries = 0, 4*time.Second, 1, 0
	s, _ := r.stripeSubscription()
	r.start()
	heal := r.stripe.Inject(httpsim.Fault{Code: "internal"})
	r.must(r.stripe.SetMetadata(s.ID, map[string]string{"note": "x"}, stripe.ByStripe()))
	r.webhooks()
	of := " FROM {db}.syncs WHERE key = 'stripe:subscription:" + s.ID + "'"
	r.eventually("it is put off", func() bool { return r.query("SELECT outcome"+of) == "deferred" })
	if got := r.query("SELECT concat(toString(attempts), ' ', toString(next > at + 3), ' ', reason)" + of); got != "1 1 unavailable" {
		t.Errorf("attempts, next, reason: %s", got)
	}
	calls := r.stripe.Calls()["GET /v1/subscriptions/{id}"]
	r.stop()
	r.start()
	r.eventually("it is given up", func() bool { return r.query("SELECT outcome"+of) == "failed" })
	heal()
	if got := r.query("SELECT concat(toString(attempts), ' ', reason)" + of); got != "2 exhausted" {
		t.Errorf("attempts, reason: %s", got)
	}
	if early := r.query(`SELECT count() FROM {db}.sync_events AS late INNER JOIN {db}.sync_events AS first ON late.sync_id = first.sync_id
		WHERE first.attempt = 1 AND late.attempt = 2 AND late.at < first.next`); early != "0" {
		t.Error("tried before its time")
	}
	if got := r.stripe.Calls()["GET /v1/subscriptions/{id}"]; got != calls+1 {
		t.Errorf("%d tries after the restart, want 1", got-calls)
	}
	r.eventually("it is a dead letter", func() bool {
		got := r.query("SELECT concat(state, ' ', reason, ' ', toString(attempts), ' ', trigger_type, ' ', error_class) FROM {db}.dead WHERE key = 'stripe:subscription:" + s.ID + "'")
		return got == "open exhausted 2 customer.subscription.updated unavailable"
	})
	letter := r.get("/api/dead?limit=1")
	if !strings.Contains(letter, s.ID) {
		t.Errorf("the API shows %s", letter)
	}
}

// A write whose answer is lost is read back before anything is written again:
// what had arrived is not made twice.
func TestLostAnswerIsReadBack(t *testing.T) {
	r := newRoad(t)
	s, _ := r.stripeSubscription()
	r.start()
	const create = "POST /api/objects/{service}/{path_type}"
	r.limio.Inject(httpsim.Fault{Route: create, DropAfter: true, Times: 2})
	r.must(r.stripe.RenewNow(s.ID, true))
	n := r.webhooks()
	r.outcomes(n)
	if got := r.query("SELECT outcome FROM {db}.syncs WHERE key = 'stripe:subscription:" + s.ID + "'"); got != "applied" {
		t.Fatalf("ended %s", got)
	}
	made := map[string]int{}
	for _, o := range r.limio.Objects(limio.TypeSchedule) {
		if invoice := o.Text("data.external_id"); invoice != "" {
			made[invoice]++
		}
	}
	for invoice, times := range made {
		if times != 1 {
			t.Errorf("invoice %s was made %d times", invoice, times)
		}
	}
	if len(made) == 0 {
		t.Error("nothing was made, so nothing was lost")
	}
}
