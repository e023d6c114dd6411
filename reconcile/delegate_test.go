package reconcile

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// delegated is a Limio whose own sync works as documented (limio.md 4.1), over
// the same fake billing systems.
func delegated(t failer) *world {
	t.Helper()
	w := newWorld()
	w.cfg.Delegate = true
	w.limio.sync = func(ask record.Write) {
		switch ask.Via {
		case "stripe":
			w.limio.syncStripe(ask.ID, w.stripe.subs[ask.Ref], w.now)
		case "zuora":
			for _, a := range w.zuora.accounts {
				for _, s := range a.Subscriptions {
					if s.ID == ask.Ref {
						w.limio.syncZuora(ask.ID, a, s)
					}
				}
			}
		default:
			t.Fatal("asked via " + ask.Via)
		}
	}
	return w
}

func (l *fakeLimio) syncZuora(id string, a record.Account, s record.Subscription) {
	for _, o := range NewAccounts(nil, nil, AccountsConfig{}).want(a).Objects {
		switch o.Type {
		case record.Customer:
			customer, _ := l.CustomerByAccount(context.Background(), a.ID)
			l.merge(customer.ID, o.Fields)
		case record.AddressType:
			customer, _ := l.CustomerByAccount(context.Background(), a.ID)
			l.upsert(o, customer.ID)
		case record.SubscriptionType:
			if o.Ref == s.ID {
				l.merge(id, o.Fields)
			}
		}
	}
}

// syncStripe is stripe-sync.txt: status and terms, the future cancelled and
// made anew from paid and upcoming invoices, and the card.
func (l *fakeLimio) syncStripe(id string, s record.Subscription, now time.Time) {
	w := wantStripe(s, id)
	l.merge(id, w.Objects[0].Fields)
	entries := map[string]record.Object{}
	for _, o := range l.under(id) {
		if o.Type != record.ScheduleType || o.Fields["status"].String() == "cancelled" {
			continue
		}
		day, _ := record.ParseDay(o.Fields["data.date"].String())
		if day.After(now) {
			l.merge(o.ID, record.Fields{"status": record.Text("cancelled")})
			continue
		}
		entries[day.Format(time.DateOnly)+o.Fields["data.amount"].String()] = o
	}
	for _, o := range w.Objects {
		switch {
		case o.Type == record.PaymentMethodType:
			have := currentStripeMethod(Have{Objects: l.under(id)})
			f := maps.Clone(o.Fields)
			delete(f, "data.stripe.result.id")
			if have.ID == "" {
				l.objects = append(l.objects, record.Object{Type: o.Type, ID: l.id("pm"), Parent: id, Fields: f})
				continue
			}
			l.merge(have.ID, f)
		case o.Type == record.ScheduleType && (o.Fields["status"] == record.Text("active") || o.Fields["status"] == record.Text("pending-external")):
			day, _ := record.ParseDay(o.Fields["data.date"].String())
			slot := day.Format(time.DateOnly) + o.Fields["data.amount"].String()
			if have, there := entries[slot]; there {
				l.merge(have.ID, record.Fields{"status": o.Fields["status"]})
				delete(entries, slot)
				continue
			}
			f := maps.Clone(o.Fields)
			delete(f, "data.external_id")
			delete(f, "data.description")
			l.objects = append(l.objects, record.Object{Type: o.Type, ID: l.id("schedule"), Parent: id, Fields: f})
		}
	}
}

func (l *fakeLimio) merge(id string, fields record.Fields) {
	for _, o := range l.objects {
		if o.ID == id {
			maps.Copy(o.Fields, fields)
		}
	}
}

func (l *fakeLimio) upsert(o record.Object, parent string) {
	for _, have := range l.objects {
		if have.Type == o.Type && have.Ref == o.Ref && have.Parent == parent {
			maps.Copy(have.Fields, o.Fields)
			return
		}
	}
	o.ID, o.Parent, o.Fields = l.id(string(o.Type)), parent, maps.Clone(o.Fields)
	l.objects = append(l.objects, o)
}

func TestDelegateStripe(t *testing.T) {
	w := delegated(t)
	v := w.handle(t, w.trigger(stripeKey, event.CauseStripe, ""))
	ends(t, v, event.Applied, event.ReasonDriftRepaired)
	if len(w.limio.writes) != 1 || w.limio.writes[0].Op != record.OpDelegate || w.limio.writes[0].ID != "sub-1" || w.limio.writes[0].Via != "stripe" {
		t.Fatalf("written %+v, want one request to Limio's own sync", w.limio.writes)
	}
	// What the request was for was durable before it went out.
	if len(w.log.events) != 1 || w.log.before[0] != 0 || w.log.events[0].Mode != ModeDelegate {
		t.Fatalf("planned events %+v", w.log.events)
	}
	var fields []string
	for _, c := range w.log.events[0].Changes {
		if c.Op != record.OpDelegate {
			t.Errorf("%+v: want the operation delegate", c)
		}
		fields = append(fields, string(c.Object)+" "+c.Field)
	}
	for _, want := range []string{"subscription data.termEndDate", "schedule status", "payment_method data.stripe.result.last4"} {
		if !slices.Contains(fields, want) {
			t.Errorf("the plan does not say %q: %q", want, fields)
		}
	}
	if slices.Contains(fields, "schedule data.external_id") {
		t.Error("an invoice id is asked for, which Limio's sync does not write")
	}
	if !strings.Contains(v.Event.Note, "that Limio's own sync does not see to (payment_method, schedule)") {
		t.Errorf("note %q", v.Event.Note)
	}
	w.memory = map[record.Key]Memory{}
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.InSync, event.ReasonEqual)
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.InSync, event.ReasonFingerprint)
}

// A request that Limio answers and does not carry out is a failure, once, and
// not a loop.
func TestDelegateInVain(t *testing.T) {
	w := delegated(t)
	w.limio.sync = func(record.Write) {}
	v := w.handle(t, w.trigger(stripeKey, event.CauseStripe, ""))
	ends(t, v, event.Failed, event.ReasonNotConverged)
	if len(w.limio.writes) != 1 || !strings.Contains(v.Event.Note, "data.termEndDate") {
		t.Errorf("%d requests, note %q", len(w.limio.writes), v.Event.Note)
	}
}

func TestDelegateZuora(t *testing.T) {
	w := delegated(t)
	ends(t, w.handle(t, w.trigger(accountKey, event.CauseLogin, "")), event.Applied, event.ReasonCreated)
	for _, write := range w.limio.writes {
		if write.Op != record.OpImport && write.Op != record.OpDelegate {
			t.Errorf("written by the objects API: %+v", write)
		}
	}
	w.limio.writes = nil
	a := account()
	a.Name, a.BillTo.City = "Ada Married", "Sligo"
	a.Subscriptions[1].AutoRenew = false // left: Limio takes Zuora's flag, which may say otherwise
	a.Subscriptions[1].TermEnd = a.Subscriptions[1].TermEnd.AddDate(0, 1, 0)
	a.PaymentMethods[0].ExpYear = 2031
	a.Subscriptions[0].Offers[0].Quantity = "2"
	w.zuora.accounts["2c92aa"] = a
	w.now = w.now.Add(time.Hour)
	v := w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	ends(t, v, event.Applied, event.ReasonDriftRepaired)
	if len(w.limio.writes) != 1 || w.limio.writes[0].Ref != "A-S2" || w.limio.writes[0].Via != "zuora" || w.limio.writes[0].ID == "" {
		t.Errorf("written %+v, want one request for the subscription that differs", w.limio.writes)
	}
	if !strings.Contains(v.Event.Note, "(identity, payment_method, subscription_offer)") {
		t.Errorf("note %q: want what is left", v.Event.Note)
	}
	// Only the customer differs: any subscription will do.
	a.Name = "Ada Again"
	w.zuora.accounts["2c92aa"] = a
	w.now = w.now.Add(time.Hour)
	w.limio.writes = nil
	ends(t, w.handle(t, w.trigger(accountKey, event.CauseLogin, "")), event.Applied, event.ReasonDriftRepaired)
	if len(w.limio.writes) != 1 || w.limio.writes[0].Ref != "A-S1" {
		t.Errorf("written %+v", w.limio.writes)
	}
}

// A customer without subscriptions has nothing that Limio's sync could be asked
// for.
func TestDelegateWithNobodyToAsk(t *testing.T) {
	w := delegated(t)
	w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	a := account()
	a.Name, a.Subscriptions = "Ada Married", nil
	w.zuora.accounts["2c92aa"] = a
	w.now, w.limio.writes = w.now.Add(time.Hour), nil
	v := w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	ends(t, v, event.InSync, event.ReasonEqual)
	if len(w.limio.writes) != 0 || !strings.Contains(v.Event.Note, "customer") {
		t.Errorf("written %+v, note %q", w.limio.writes, v.Event.Note)
	}
}

func TestDelegateObserved(t *testing.T) {
	w := delegated(t)
	w.cfg.ObserveAll = true
	v := w.handle(t, w.trigger(stripeKey, event.CauseStripe, ""))
	ends(t, v, event.Observed, event.ReasonWouldApply)
	if len(w.limio.writes) != 0 || len(v.Event.Changes) == 0 || v.Event.Changes[0].Op != record.OpDelegate {
		t.Errorf("written %v, changes %+v", w.limio.writes, v.Event.Changes)
	}
}

// The answer to a request may be lost: both sides are read before anything is
// asked again.
func TestDelegateAnswerLost(t *testing.T) {
	w := delegated(t)
	sync := w.limio.sync
	w.limio.onWrite = func(ask record.Write) { sync(ask) } // it arrived,
	w.limio.sync = func(record.Write) { t.Error("asked twice") }
	w.limio.lose = map[record.Op]error{record.OpDelegate: fault.Newf(fault.UnknownOutcome, "time-out")} // and its answer did not
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.Deferred, event.ReasonUnknownOutcome)
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.InSync, event.ReasonEqual)
}

// What one mode has found converged says nothing in the other, which compares
// more.
func TestSwitchingModeLooksAgain(t *testing.T) {
	w := delegated(t)
	w.mark("m1", nil)
	w.handle(t, w.trigger(stripeKey, event.CauseStripe, ""))
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.InSync, event.ReasonFingerprint)
	glimpse := record.Glimpse{Key: stripeKey, Mark: "m1"}
	if _, due := Due(glimpse, w.memory[stripeKey].In(ModeDelegate), w.now, time.Hour); due {
		t.Error("due in the mode that found it converged")
	}
	w.cfg.Delegate = false
	if _, due := Due(glimpse, w.memory[stripeKey].In(""), w.now, time.Hour); !due {
		t.Error("not due in a mode that compares more")
	}
	w.now = w.now.Add(time.Hour)
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.Applied, event.ReasonDriftRepaired)
	if !slices.ContainsFunc(w.limio.objects, func(o record.Object) bool { return o.Fields["data.external_id"] == record.Text("in_2") }) {
		t.Error("what Limio's own sync had left was not written")
	}
}

// Whatever Stripe and Limio hold, a Limio that does what it is documented to do
// converges with one request, and a second look asks nothing.
func TestDelegateConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := delegated(t)
		w.limio.objects = append(limioSub()[:1], drawSchedules(t)...)
		w.stripe.subs["sub_1"] = drawStripe(t)
		for i, want := range []int{1, 0} {
			w.limio.writes, w.memory = nil, map[record.Key]Memory{}
			v, err := w.try(w.trigger(stripeKey, event.CauseStripe, ""))
			if err != nil || (v.Event.Outcome != event.Applied && v.Event.Outcome != event.InSync) || len(w.limio.writes) > want {
				t.Fatalf("look %d: %s/%s %s, %d requests, %v", i, v.Event.Outcome, v.Event.Reason, v.Event.Note, len(w.limio.writes), err)
			}
		}
	})
}
