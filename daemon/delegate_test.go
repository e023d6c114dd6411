package daemon_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
	"hotsync/sandbox/zuora"
)

// In delegate mode nothing is written field by field: Limio's own sync endpoint
// is asked for the subscription that differs, and for no other, and what it did
// is read back.
func TestDelegateMode(t *testing.T) {
	t.Parallel()
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

// The same for Stripe: a renewal is Limio's own sync of that subscription, and
// what it did is read back.
func TestDelegateModeOfStripe(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	r.cfg.Reconcile.Mode = "delegate"
	s, id := r.stripeSubscription()
	other, _ := r.stripeSubscription()
	r.start()
	for i := range 2 { // the second one changes what is there
		r.must(r.stripe.RenewNow(s.ID, true))
		r.limio.ResetCalls()
		r.webhooks()
		r.eventually("the renewal is in Limio", func() bool {
			want, _ := r.stripe.Subscription(s.ID)
			have, _ := r.limio.Get(id)
			return have.Text("data.termEndDate") == want.CurrentPeriodEnd.UTC().Format("2006-01-02")
		})
		r.eventually("the sync has ended", func() bool {
			return r.query("SELECT countIf(outcome = 'applied') FROM {db}.syncs WHERE key = 'stripe:subscription:"+s.ID+"'") == fmt.Sprint(i+1)
		})
		for route, n := range r.limio.Calls() {
			if strings.HasPrefix(route, "PUT ") || strings.HasPrefix(route, "POST /api/objects") || strings.HasPrefix(route, "POST /api/plugins") && n != 1 {
				t.Errorf("renewal %d: %d calls of %s", i+1, n, route)
			}
		}
	}
	for _, w := range r.limio.Writes() {
		if w.By == limio.ByAPI || strings.Contains(w.ObjectID, other.ID) {
			t.Errorf("%s wrote %s %s", w.By, w.RecordType, w.ObjectID)
		}
	}
	if got := r.query("SELECT count() FROM {db}.syncs WHERE outcome = 'failed'"); got != "0" {
		t.Errorf("%s syncs failed: %s", got, r.query("SELECT note, error FROM {db}.syncs WHERE outcome = 'failed'"))
	}
}

// stripeSource is what Limio's own Stripe sync reads.
func (r *road) stripeSource(_ context.Context, limioID, _ string) (limio.StripeSubscription, error) {
	all := r.stripe.Subscriptions()
	i := slices.IndexFunc(all, func(s stripe.Subscription) bool { return s.Metadata["limio_subscription_id"] == limioID })
	if i < 0 {
		return limio.StripeSubscription{}, limio.ErrUnknown
	}
	s := all[i]
	out := limio.StripeSubscription{Status: s.Status, TermStart: s.CurrentPeriodStart, TermEnd: s.CurrentPeriodEnd}
	status := map[string]string{stripe.InvoicePaid: "active", stripe.InvoiceDraft: "pending", stripe.InvoiceOpen: "pending"}
	payments := r.stripe.Invoices(s.ID)
	if next, ok := r.stripe.Upcoming(s.ID); ok {
		next.ID = ""
		payments = append(payments, next)
	}
	for _, inv := range payments {
		e := limio.ScheduleEntry{Date: inv.Lines[0].PeriodStart, Amount: inv.Total, Currency: strings.ToUpper(inv.Currency), InvoiceID: inv.ID}
		if inv.ID != "" {
			e.Status = status[inv.Status]
		}
		out.Schedules = append(out.Schedules, e)
	}
	c, _ := r.stripe.Customer(s.Customer)
	if m, ok := r.stripe.PaymentMethod(c.DefaultPaymentMethod); ok {
		out.Card = &limio.Card{ID: m.ID, Brand: m.Card.Brand, Last4: m.Card.Last4, ExpMonth: m.Card.ExpMonth, ExpYear: m.Card.ExpYear}
	}
	return out, nil
}

// Who is out of scope is left alone, and the log says by which rule.
func TestScope(t *testing.T) {
	t.Parallel()
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
