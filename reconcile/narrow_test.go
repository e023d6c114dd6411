package reconcile

import (
	"testing"
	"time"

	"hotsync/event"
	"hotsync/record"
)

var key = record.StripeSubscription("sub_1")

func (w *world) sweep(change func(*event.Trigger)) event.Trigger {
	tr := w.trigger(key, event.CauseSweep, "")
	tr.Bulk = true
	if change != nil {
		change(&tr)
	}
	return tr
}

func (w *world) mark(m record.Mark, change func(*record.Subscription)) {
	s := w.stripe.subs["sub_1"]
	s.Mark = m
	if change != nil {
		change(&s)
	}
	w.stripe.subs["sub_1"] = s
}

// A plan writes nothing, says what it would write, and leaves the record due.
func TestPlanWritesNothing(t *testing.T) {
	w := newWorld()
	w.mark("m1", nil)
	v := w.handle(t, w.sweep(func(tr *event.Trigger) { tr.Plan = true }))
	ends(t, v, event.Observed, event.ReasonWouldApply)
	if len(w.limio.writes) != 0 || len(v.Event.Changes) == 0 || v.Event.Plan == "" {
		t.Errorf("%d writes, %d changes, plan %q", len(w.limio.writes), len(v.Event.Changes), v.Event.Plan)
	}
	if _, due := Due(record.Glimpse{Key: key, Mark: "m1"}, w.memory[key], w.now, time.Hour); !due {
		t.Error("a record that was only planned is no longer due")
	}
}

// A live trigger that came together with a plan is not held back by it.
func TestPlanDoesNotHoldBackALiveTrigger(t *testing.T) {
	w := newWorld()
	v := w.handle(t, w.sweep(func(tr *event.Trigger) { tr.Plan = true }), w.trigger(key, event.CauseStripe, ""))
	ends(t, v, event.Applied, event.ReasonDriftRepaired)
}

// A reviewed plan is written when nothing moved, and refused when something
// did.
func TestReviewedPlan(t *testing.T) {
	for name, tt := range map[string]struct {
		move    func(*world)
		outcome event.Outcome
		reason  event.Reason
	}{
		"as reviewed": {func(*world) {}, event.Applied, event.ReasonDriftRepaired},
		"the billing side moved": {func(w *world) {
			w.mark("m2", func(s *record.Subscription) { s.TermEnd = s.TermEnd.AddDate(0, 1, 0) })
		}, event.Skipped, event.ReasonBaseMoved},
		"Limio moved": {func(w *world) {
			for _, o := range w.limio.objects {
				if o.Type == record.SubscriptionType {
					o.Fields["data.termEndDate"] = record.Text("2031-01-01")
				}
			}
		}, event.Skipped, event.ReasonBaseMoved},
		"repaired by somebody else": {func(w *world) {
			w.handle(t, w.trigger(key, event.CauseStripe, ""))
			w.limio.writes = nil
		}, event.InSync, event.ReasonFingerprint},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.mark("m1", nil)
			plan := w.handle(t, w.sweep(func(tr *event.Trigger) { tr.Plan = true })).Event.Plan
			tt.move(w)
			before := len(w.limio.writes)
			v := w.handle(t, w.sweep(func(tr *event.Trigger) { tr.Base = plan }))
			ends(t, v, tt.outcome, tt.reason)
			if wrote := len(w.limio.writes) > before; wrote != (tt.outcome == event.Applied) {
				t.Errorf("wrote %v", wrote)
			}
		})
	}
}

// Limio is read, fingerprint or not, when a sweep saw that somebody touched it.
func TestVerifyLooksAtLimio(t *testing.T) {
	w := newWorld()
	w.handle(t, w.trigger(key, event.CauseStripe, ""))
	for _, o := range w.limio.objects {
		if o.Type == record.SubscriptionType {
			o.Fields["status"] = record.Text("cancelled")
		}
	}
	ends(t, w.handle(t, w.sweep(nil)), event.InSync, event.ReasonFingerprint)
	w.memory[key] = func(m Memory) Memory { m.Writes, m.Target = nil, ""; return m }(w.memory[key])
	ends(t, w.handle(t, w.sweep(func(tr *event.Trigger) { tr.Verify = true })), event.Applied, event.ReasonDriftRepaired)
}

// What a list would show is remembered with what was found, so that a sweep has
// no further question.
func TestWhatASweepNeedNotAsk(t *testing.T) {
	glimpse := func(m record.Mark) record.Glimpse { return record.Glimpse{Key: key, Mark: m} }
	w := newWorld()
	w.mark("m1", nil)
	w.handle(t, w.trigger(key, event.CauseStripe, ""))
	if why, due := Due(glimpse("m1"), w.memory[key], w.now, time.Hour); due {
		t.Errorf("due after it was repaired: %s", why)
	}
	w.mark("m2", nil) // something that Limio does not show
	if why, _ := Due(glimpse("m2"), w.memory[key], w.now, time.Hour); why != WhyBilling {
		t.Errorf("why %q", why)
	}
	ends(t, w.handle(t, w.sweep(nil)), event.InSync, event.ReasonFingerprint)
	if _, due := Due(glimpse("m2"), w.memory[key], w.now, time.Hour); due {
		t.Error("due after it was looked at")
	}
	w.mark("m3", func(s *record.Subscription) { s.Metadata = nil })
	w.memory[key] = func(m Memory) Memory { m.Subscriptions = nil; return m }(w.memory[key])
	ends(t, w.handle(t, w.sweep(nil)), event.Skipped, event.ReasonUnknownSubscription)
	if _, due := Due(glimpse("m3"), w.memory[key], w.now, time.Hour); due {
		t.Error("due after it was skipped")
	}
	// The link that Limio's own record names leads there.
	v := w.handle(t, w.sweep(func(tr *event.Trigger) { tr.Limio = "sub-1" }))
	if v.Event.Outcome == event.Skipped {
		t.Errorf("%s/%s: %s", v.Event.Outcome, v.Event.Reason, v.Event.Note)
	}
	if looked := w.memory[key].Looked; !looked.Equal(w.now) {
		t.Errorf("looked %s", looked)
	}
}

// A sweep keeps true what Limio has, and does not start a migration.
func TestSweepImportsNobody(t *testing.T) {
	w := newWorld()
	k := record.ZuoraAccount("2c92aa")
	a := w.zuora.accounts["2c92aa"]
	a.Mark = "m1"
	w.zuora.accounts["2c92aa"] = a
	v := w.handle(t, w.trigger(k, event.CauseSweep, ""))
	ends(t, v, event.Skipped, event.ReasonUnknownAccount)
	if len(w.limio.writes) > 0 {
		t.Fatalf("wrote %v", w.limio.writes)
	}
	if _, due := Due(record.Glimpse{Key: k, Mark: "m1"}, w.memory[k], w.now, time.Hour); due {
		t.Error("the next sweep asks again")
	}
	ends(t, w.handle(t, w.trigger(k, event.CauseSweep, ""), w.trigger(k, event.CauseLogin, "")), event.Applied, event.ReasonCreated)

	w = newWorld()
	w.cfg.SweepImports = true
	ends(t, w.handle(t, w.trigger(k, event.CauseSweep, "")), event.Applied, event.ReasonCreated)
}

// A trigger that was put off answers for others: what they may is not lost when
// the one that speaks for them may less.
func TestWhatWasMergedKeepsItsRights(t *testing.T) {
	also := func(c event.Cause, o event.Origin) func(event.Trigger) event.Trigger {
		return func(tr event.Trigger) event.Trigger {
			tr.SyncID, tr.Attempt = "s1", 1
			tr.Also = []event.Ref{{ID: "merged", Cause: c, Origin: o, At: tr.At}}
			return tr
		}
	}
	account := record.ZuoraAccount("2c92aa")
	t.Run("a login imports", func(t *testing.T) {
		w := newWorld()
		ends(t, w.handle(t, also(event.CauseLogin, "")(w.trigger(account, event.CauseSweep, ""))), event.Applied, event.ReasonCreated)
	})
	t.Run("a login that led elsewhere imports there", func(t *testing.T) {
		w := newWorld()
		lookup := w.trigger(record.ZuoraLookup("Ext__c", "u1"), event.CauseSweep, "")
		login := w.trigger(lookup.Key, event.CauseLogin, "")
		for name, triggers := range map[string][]event.Trigger{
			"merged": {also(event.CauseLogin, "")(lookup)}, "beside it": {lookup, login},
		} {
			v := w.handle(t, triggers...)
			if len(v.Now) != 1 || v.Now[0].Cause != event.CauseLogin {
				t.Errorf("%s: led to %+v", name, v.Now)
			}
		}
	})
	t.Run("a change of the shop is left to settle", func(t *testing.T) {
		w := newWorld()
		ends(t, w.handle(t, also(event.CauseStripe, event.OriginShop)(w.trigger(stripeKey, event.CauseSweep, ""))), event.Suppressed, event.ReasonOrigin)
	})
	t.Run("a person is not held back", func(t *testing.T) {
		w := newWorld()
		v := w.handle(t, also(event.CauseAPI, "")(w.trigger(stripeKey, event.CauseStripe, event.OriginShop)))
		if v.Event.Outcome == event.Suppressed {
			t.Errorf("%s/%s: %s", v.Event.Outcome, v.Event.Reason, v.Event.Note)
		}
	})
}
