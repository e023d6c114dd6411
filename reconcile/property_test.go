package reconcile

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hotsync/event"
	"hotsync/record"
)

// Whatever Stripe and Limio hold: one sync makes Limio true, a second one
// writes nothing, and no two live payments stand for one invoice.
func TestStripeConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.limio.objects = append(limioSub()[:1], drawSchedules(t)...)
		w.stripe.subs["sub_1"] = drawStripe(t)
		v, err := w.try(w.trigger(stripeKey, event.CauseStripe, ""))
		if err != nil {
			t.Fatal(err)
		}
		if o := v.Event.Outcome; o != event.Applied && o != event.InSync {
			t.Fatalf("%s/%s: %s", o, v.Event.Reason, v.Event.Note)
		}
		writes := len(w.limio.writes)
		w.memory = map[record.Key]Memory{}
		if v, err = w.try(w.trigger(stripeKey, event.CauseStripe, "")); err != nil || v.Event.Outcome != event.InSync || len(w.limio.writes) != writes {
			t.Fatalf("second sync: %s, %d further writes, %v", v.Event.Outcome, len(w.limio.writes)-writes, err)
		}
		seen := map[string]bool{}
		for _, o := range w.limio.under("sub-1") {
			if id := o.Fields["data.external_id"].String(); o.Type == record.ScheduleType && id != "" {
				if seen[id] {
					t.Fatalf("two payments for invoice %s", id)
				}
				seen[id] = true
			}
		}
	})
}

var states = []record.ScheduleState{record.SchedulePaid, record.SchedulePending, record.ScheduleUpcoming, record.ScheduleCancelled}

func drawDay(t *rapid.T, label string) time.Time {
	return today.AddDate(0, 0, rapid.IntRange(-40, 40).Draw(t, label)).Truncate(24 * time.Hour)
}

func drawStripe(t *rapid.T) record.Subscription {
	s := stripeSub()
	s.Schedules = nil
	ids := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"in_a", "in_b", "in_c", "in_d", "in_e"}), 0, 5, rapid.ID[string]).Draw(t, "invoices")
	for _, id := range ids {
		s.Schedules = append(s.Schedules, record.Schedule{
			ID: id, State: rapid.SampledFrom(states).Draw(t, "state"), Date: drawDay(t, "invoice day"),
			Amount: record.Minor(rapid.Int64Range(1, 3).Draw(t, "amount"), 2, "eur"),
		})
	}
	if rapid.Bool().Draw(t, "upcoming") {
		s.Schedules = append(s.Schedules, record.Schedule{State: record.ScheduleUpcoming, Date: drawDay(t, "upcoming day"), Amount: record.Minor(2, 2, "eur")})
	}
	if rapid.Bool().Draw(t, "no card") {
		s.PaymentMethod = nil
	}
	return s
}

func drawSchedules(t *rapid.T) []record.Object {
	var out []record.Object
	for i := range rapid.IntRange(0, 6).Draw(t, "entries") {
		day := record.Text(drawDay(t, "entry day").Format("2006-01-02T00:00:00.000"))
		f := record.Fields{
			"status": record.Text(string(rapid.SampledFrom(states).Draw(t, "entry state"))), "data.type": record.Text("payment"),
			"data.date": day, "data.schedule_date": day, "data.currency": record.Text("EUR"),
			"data.amount": record.Text(record.Minor(rapid.Int64Range(1, 3).Draw(t, "entry amount"), 2, "eur").Amount),
		}
		out = append(out, record.Object{Type: record.ScheduleType, ID: "schedule-" + string(rune('a'+i)), Parent: "sub-1", Fields: f})
	}
	return out
}

// Whatever parts of an account Limio already has, in whatever state, one login
// makes it true and a second writes nothing.
func TestAccountConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		if _, err := w.try(w.trigger(accountKey, event.CauseLogin, "")); err != nil {
			t.Fatal(err)
		}
		objects := w.limio.objects[:0:0]
		for _, o := range w.limio.objects {
			keep := o.Type == record.Customer || (o.Type == record.Identity && o.Ref == "zuora/zuora/account/2c92aa") || o.Type == record.SubscriptionType
			if !keep && rapid.Bool().Draw(t, "lost") {
				continue
			}
			for path := range o.Fields {
				if o.Type != record.Identity && path != "data.external_id" && path != "data.type" && path != "relationship_type" && rapid.IntRange(0, 9).Draw(t, "drift") == 0 {
					o.Fields[path] = record.Text("drifted")
				}
			}
			objects = append(objects, o)
		}
		w.limio.objects = objects
		w.memory = map[record.Key]Memory{}
		v, err := w.try(w.trigger(accountKey, event.CauseLogin, ""))
		if err != nil || (v.Event.Outcome != event.Applied && v.Event.Outcome != event.InSync) {
			t.Fatalf("%s/%s %s %v", v.Event.Outcome, v.Event.Reason, v.Event.Note, err)
		}
		want := NewAccounts(nil, nil, AccountsConfig{}).want(account())
		have, err := NewAccounts(w.zuora, w.limio, AccountsConfig{}).Have(context.Background(), want, Memory{})
		if err != nil {
			t.Fatal(err)
		}
		if left := NewAccounts(w.zuora, w.limio, AccountsConfig{}).Diff(want, have, today); len(left) != 0 {
			t.Fatalf("still to write: %+v", left)
		}
	})
}
