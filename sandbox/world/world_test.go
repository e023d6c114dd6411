package world

import (
	"strings"
	"testing"
	"time"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/stripe"
	"hotsync/sandbox/zuora"
)

var began = time.Date(2027, 2, 10, 9, 30, 0, 0, time.UTC)

func small(t *testing.T) *World {
	t.Helper()
	return New(Config{Seed: 7, Clock: httpsim.FrozenClock(began), Accounts: 30, Subscriptions: 30})
}

func TestAnUntouchedWorldDriftsOnlyWhereItWasTold(t *testing.T) {
	w := small(t)
	drifted := map[string]bool{}
	for _, a := range w.Accounts() {
		if a.Drifted {
			drifted[a.ID] = true
		}
	}
	for _, s := range w.Subscriptions() {
		if s.Drifted {
			drifted[s.ID] = true
		}
	}
	if len(drifted) < 8 {
		t.Fatalf("only %d records were seeded as drifted", len(drifted))
	}
	found := map[string]bool{}
	for _, d := range w.Drift() {
		found[d.ID] = true
		if !drifted[d.ID] {
			t.Errorf("was seeded as equal: %s", d)
		}
	}
	for id := range drifted {
		if !found[id] {
			t.Errorf("%s was seeded as drifted and shows no difference", id)
		}
	}
	for _, l := range w.Loops() {
		t.Errorf("nobody wrote, and yet: %s", l)
	}
}

// TestTheHardCasesAreThere looks for them where a program would meet them.
func TestTheHardCasesAreThere(t *testing.T) {
	w := small(t)
	var evergreen, future, removed, versions, noCRM, blankCRM, yen, nothing, sold int
	external := map[string]int{}
	for _, a := range w.zuora.Accounts() {
		if v, _ := a.CustomFields[LookupField].(string); v != "" {
			external[v]++
			external[strings.ToLower(v)+" in any case"]++
		}
		switch {
		case a.CRMID == nil:
			noCRM++
		case strings.TrimSpace(*a.CRMID) == "":
			blankCRM++
		}
		if a.Currency == "JPY" {
			yen++
		}
		subs := w.zuora.Subscriptions(a.ID)
		if len(subs) == 0 {
			nothing++
		}
		for _, s := range subs {
			if s.TermType == zuora.Evergreen {
				evergreen++
			}
			if s.Status == zuora.StatusCancelled && s.EndDate > w.today() {
				future++
			}
			if s.Version > 3 {
				versions++
			}
			for _, p := range s.RatePlans {
				if p.LastChangeType == zuora.ChangeRemove {
					removed++
				}
			}
			if o, ok := w.limio.SubscriptionByNumber(s.Number); ok && soldByLimio(w.limio.Related(o.ID)) {
				sold++
			}
		}
	}
	for name, n := range map[string]int{
		"evergreen": evergreen, "future cancellation": future, "removed rate plan": removed, "versions": versions, "no CRM id": noCRM,
		"blank CRM id": blankCRM, "yen": yen, "no subscription": nothing, "sold by Limio": sold,
		"shared external id": external["okta|twice"] - 1, "external ids in two cases": external["okta|ada.case in any case"] - 1,
	} {
		if n < 1 {
			t.Errorf("there is no case of: %s", name)
		}
	}
	var own, deleted, unlinked, observed, pastDue, trial, yenSub int
	for _, s := range w.subs {
		sub, _ := w.stripe.Subscription(s.ID)
		c, _ := w.stripe.Customer(s.Customer)
		count := func(n *int, is bool) {
			if is {
				*n++
			}
		}
		count(&own, sub.DefaultPaymentMethod != "" && sub.DefaultPaymentMethod != c.DefaultPaymentMethod)
		count(&deleted, c.Deleted && sub.Metadata[LinkKey] == s.Limio)
		count(&unlinked, s.Limio == "" && sub.Metadata[LinkKey] == "")
		count(&observed, s.Observed && strings.HasPrefix(s.ID, ObservedPrefix))
		count(&pastDue, sub.Status == stripe.StatusPastDue)
		count(&trial, sub.Status == stripe.StatusTrialing)
		count(&yenSub, sub.Currency == "jpy")
		if s.Limio != "" && sub.Metadata[LinkKey] != s.Limio {
			t.Errorf("%s does not say that it is %s", s.ID, s.Limio)
		}
	}
	for name, n := range map[string]int{
		"own card": own, "deleted customer": deleted, "unlinked": unlinked, "observed": observed, "past due": pastDue, "trial": trial, "yen": yenSub,
	} {
		if n < 1 {
			t.Errorf("there is no case of: %s", name)
		}
	}
}
