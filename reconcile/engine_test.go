package reconcile

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// world is an engine over fakes, with a clock that the test moves.
type world struct {
	now    time.Time
	limio  *fakeLimio
	zuora  *fakeZuora
	stripe *fakeStripe
	log    *journal
	cfg    Config
	memory map[record.Key]Memory
	seq    int
}

func newWorld() *world {
	w := &world{
		now: today, memory: map[record.Key]Memory{},
		zuora:  &fakeZuora{accounts: map[string]record.Account{"2c92aa": account()}, fields: map[string][]string{"Ext__c=u1": {"2c92aa"}, "Ext__c=twice": {"2c92aa", "2c92bb"}}, orders: map[string][]record.Order{}},
		stripe: &fakeStripe{subs: map[string]record.Subscription{"sub_1": stripeSub()}},
	}
	w.limio = &fakeLimio{zuora: w.zuora, objects: limioSub(), fail: map[record.Op]error{}}
	w.log = &journal{writes: func() int { return len(w.limio.writes) }}
	w.cfg = Config{
		Reconcilers: map[string]Reconciler{
			"zuora:account":       NewAccounts(w.zuora, w.limio, AccountsConfig{}),
			"stripe:subscription": NewSubscriptions(w.stripe, w.limio, []string{"limio_subscription_id"}),
		},
		Expanders: map[string]Expander{"zuora:lookup": NewLookups(w.zuora), "stripe:customer": NewCustomerSubscriptions(w.stripe)},
		Limio:     w.limio, Events: w.log,
		Guard: GuardConfig{Origins: []event.Origin{event.OriginShop, event.OriginSalesforce}, Settle: 2 * time.Minute, MaxWrites: 3, Window: 10 * time.Minute},
		Now:   func() time.Time { return w.now },
	}
	w.cfg.Memories = w
	return w
}

// Remember implements rememberer.
func (w *world) Remember(_ context.Context, k record.Key, m Memory) error {
	w.memory[k] = m
	return nil
}

func (w *world) trigger(k record.Key, cause event.Cause, origin event.Origin) event.Trigger {
	w.seq++
	c := event.Coordinates{Topic: "t", Offset: int64(w.seq)}
	return event.Trigger{ID: event.TriggerID(c, 0), Key: k, Cause: cause, Origin: origin, Source: c, At: w.now, Received: w.now}
}

func (w *world) handle(t *testing.T, triggers ...event.Trigger) Verdict {
	t.Helper()
	v, err := w.try(triggers...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (w *world) try(triggers ...event.Trigger) (Verdict, error) {
	key := triggers[0].Key
	v, err := New(w.cfg).Handle(context.Background(), Job{
		Key: key, Triggers: triggers, Attempt: 1, Memory: w.memory[key], Fence: func(context.Context) error { return nil },
	})
	if err != nil {
		return v, err
	}
	if m, ended := v.Memory.Ended(v.Event); v.Remember || ended {
		w.memory[key] = m
	}
	return v, nil
}

func ends(t *testing.T, v Verdict, o event.Outcome, r event.Reason) {
	t.Helper()
	if v.Event.Outcome != o || v.Event.Reason != r {
		t.Fatalf("got %s/%s (%s %s), want %s/%s", v.Event.Outcome, v.Event.Reason, v.Event.Note, v.Event.Error, o, r)
	}
}

var (
	accountKey = record.ZuoraAccount("2c92aa")
	stripeKey  = record.StripeSubscription("sub_1")
)

func TestHotSyncCreatesWhatLimioLacks(t *testing.T) {
	w := newWorld()
	v := w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	ends(t, v, event.Applied, event.ReasonCreated)

	types := map[record.Type]int{}
	for _, o := range w.limio.objects[3:] {
		types[o.Type]++
	}
	want := map[record.Type]int{
		record.Customer: 1, record.Identity: 2, record.SubscriptionType: 2, record.SubscriptionOffer: 1,
		record.PaymentMethodType: 2, record.AddressType: 2,
	}
	for typ, n := range want {
		if types[typ] != n {
			t.Errorf("%s: got %d objects, want %d", typ, types[typ], n)
		}
	}
	// Every planned event was durable before the writes it announces.
	if len(w.log.events) != 2 || w.log.before[0] != 0 || w.log.before[1] != 2 {
		t.Errorf("planned events came after %v writes, want before the first and between import and the rest", w.log.before)
	}

	writes := len(w.limio.writes)
	ends(t, w.handle(t, w.trigger(accountKey, event.CauseLogin, "")), event.InSync, event.ReasonFingerprint)
	w.memory = map[record.Key]Memory{}
	ends(t, w.handle(t, w.trigger(accountKey, event.CauseLogin, "")), event.InSync, event.ReasonEqual)
	if len(w.limio.writes) != writes {
		t.Errorf("an unchanged account was written: %v", w.limio.writes[writes:])
	}
}

func TestHotSyncFollowsChanges(t *testing.T) {
	w := newWorld()
	w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	a := account()
	a.Name = "Ada Writer"
	a.Subscriptions[0].TermEnd = date("2028-01-01")
	a.Subscriptions[0].Offers[0].ID = "prp2/C-2"
	a.PaymentMethods = a.PaymentMethods[1:] // the default card is gone
	a.DefaultMethod = "pm2"
	w.zuora.accounts["2c92aa"] = a
	w.now = w.now.Add(time.Hour)
	v := w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	ends(t, v, event.Applied, event.ReasonDriftRepaired)
	var seen []string
	for _, c := range v.Event.Changes {
		seen = append(seen, string(c.Op)+" "+string(c.Object)+" "+c.Field)
	}
	for _, want := range []string{
		"update customer data.name", "update subscription data.termEndDate", "create subscription_offer data.external_id",
		"cancel subscription_offer status", "cancel payment_method status", "update payment_method data.isDefault",
	} {
		if !slices.Contains(seen, want) {
			t.Errorf("no change %q in %q", want, seen)
		}
	}
	for _, c := range v.Event.Changes {
		if c.Field == "data.name" && c.Object == record.Customer && strings.Contains(c.After.String(), "Writer") {
			t.Errorf("a name stands in an event unmasked: %s", c.After)
		}
	}
}

// An import makes Limio read Zuora by itself, after we did. What changed in
// between must not be overwritten with what we read before.
func TestAnImportIsFollowedByAFreshRead(t *testing.T) {
	w := newWorld()
	w.limio.onWrite = func(write record.Write) {
		if write.Op == record.OpImport {
			a := account()
			a.Name = "Ada Married"
			w.zuora.accounts["2c92aa"] = a
		}
	}
	ends(t, w.handle(t, w.trigger(accountKey, event.CauseLogin, "")), event.Applied, event.ReasonCreated)
	for _, write := range w.limio.writes {
		for _, f := range write.Fields {
			if write.Op != record.OpImport && f.Field == "data.name" && f.After == record.Text("Ada Reader") {
				t.Error("an older name was written over a newer one")
			}
		}
	}
}

// Limio refreshes a customer when it imports one of its subscriptions, so a
// difference in the customer is not written along with an import.
func TestAnImportGoesAlone(t *testing.T) {
	w := newWorld()
	w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	a := account()
	a.Name = "Ada Married"
	a.Subscriptions = append(a.Subscriptions, record.Subscription{ID: "A-S9", Status: record.StatusActive, TermStart: date("2026-02-01"), AutoRenew: true})
	w.zuora.accounts["2c92aa"] = a
	w.limio.onWrite = func(write record.Write) {
		if write.Op == record.OpImport { // Limio's own sync
			for _, o := range w.limio.objects {
				if o.Type == record.Customer {
					o.Fields["data.name"] = record.Text("Ada Married")
				}
			}
		}
	}
	before := len(w.limio.writes)
	w.now = w.now.Add(time.Hour)
	ends(t, w.handle(t, w.trigger(accountKey, event.CauseLogin, "")), event.Applied, event.ReasonCreated)
	for _, write := range w.limio.writes[before:] {
		if write.Type == record.Customer {
			t.Errorf("the customer was written although Limio had refreshed it: %+v", write)
		}
	}
}

func TestOffersThatLimioSoldAreLeftAlone(t *testing.T) {
	w := newWorld()
	w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	for i, o := range w.limio.objects {
		if o.Type == record.SubscriptionOffer {
			delete(w.limio.objects[i].Fields, "data.external_id")
			w.limio.objects[i].Ref = ""
		}
	}
	w.memory = map[record.Key]Memory{}
	ends(t, w.handle(t, w.trigger(accountKey, event.CauseLogin, "")), event.InSync, event.ReasonEqual)
}

func TestLookups(t *testing.T) {
	lookup := func(value string) record.Key { return record.ZuoraLookup("Ext__c", value) }
	t.Run("one match leads to the account and is remembered", func(t *testing.T) {
		w := newWorld()
		v := w.handle(t, w.trigger(lookup("u1"), event.CauseLogin, ""))
		ends(t, v, event.Skipped, event.ReasonFannedOut)
		if len(v.Now) != 1 || v.Now[0].Key != accountKey || v.Now[0].Via != "Ext__c=u1" {
			t.Fatalf("forwarded to %+v", v.Now)
		}
		if w.memory[lookup("u1")].Account != "2c92aa" {
			t.Error("the account behind the lookup is not remembered")
		}
		ends(t, w.handle(t, v.Now[0]), event.Applied, event.ReasonCreated)
	})
	t.Run("none", func(t *testing.T) {
		w := newWorld()
		ends(t, w.handle(t, w.trigger(lookup("nobody"), event.CauseLogin, "")), event.Skipped, event.ReasonNoMatch)
	})
	t.Run("several", func(t *testing.T) {
		w := newWorld()
		v := w.handle(t, w.trigger(lookup("twice"), event.CauseLogin, ""))
		ends(t, v, event.Skipped, event.ReasonAmbiguousMatch)
		if !strings.Contains(v.Event.Note, "2c92bb") || len(w.limio.writes) != 0 {
			t.Errorf("note %q, writes %v", v.Event.Note, w.limio.writes)
		}
	})
	t.Run("the link moved to another account", func(t *testing.T) {
		w := newWorld()
		b := account()
		b.ID = "2c92bb"
		w.zuora.accounts["2c92bb"], w.zuora.fields["Ext__c=u1"] = b, []string{"2c92bb"}
		tr := w.trigger(accountKey, event.CauseLogin, "")
		tr.Via = "Ext__c=u1"
		v := w.handle(t, tr)
		ends(t, v, event.Skipped, event.ReasonFannedOut)
		if v.Now[0].Key != lookup("u1") || len(w.limio.writes) != 0 {
			t.Errorf("forwarded to %v, writes %v", v.Now[0].Key, w.limio.writes)
		}
	})
}

func TestDraftsAreNobodysBusiness(t *testing.T) {
	w := newWorld()
	a := account()
	a.Subscriptions = append(a.Subscriptions, record.Subscription{ID: "A-S3", SourceStatus: "Draft", TermStart: today})
	w.zuora.accounts["2c92aa"] = a
	w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	if slices.ContainsFunc(w.limio.objects, func(o record.Object) bool { return o.Ref == "A-S3" }) {
		t.Error("a draft subscription was imported")
	}
}

func TestStripeFollowsAndThenRests(t *testing.T) {
	w := newWorld()
	v := w.handle(t, w.trigger(stripeKey, event.CauseStripe, event.OriginStripe))
	ends(t, v, event.Applied, event.ReasonDriftRepaired)
	var states []string
	for _, o := range w.limio.under("sub-1") {
		if o.Type == record.ScheduleType {
			states = append(states, o.Fields["data.date"].String()[:10]+" "+o.Fields["status"].String()+" "+o.Fields["data.external_id"].String())
		}
	}
	slices.Sort(states)
	want := []string{"2026-02-05 active in_1", "2026-03-05 active in_2", "2026-04-05 pending-external "}
	if !slices.Equal(states, want) {
		t.Errorf("schedules %q, want %q: existing entries are updated in place", states, want)
	}
	if got := len(w.limio.writes); got != 5 {
		t.Errorf("%d writes %v, want subscription, two schedules, one new schedule and the card", got, w.limio.writes)
	}
	w.memory = map[record.Key]Memory{}
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, event.OriginStripe)), event.InSync, event.ReasonEqual)

	sub := stripeSub()
	sub.Status, sub.TermEnd, sub.Ending = record.StatusCancelled, date("2026-03-10"), true
	sub.Schedules = sub.Schedules[:2]
	w.stripe.subs["sub_1"] = sub
	w.memory = map[record.Key]Memory{}
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, event.OriginStripe)), event.Applied, event.ReasonDriftRepaired)
	last := w.limio.under("sub-1")
	if i := slices.IndexFunc(last, func(o record.Object) bool {
		return o.Fields["data.date"].String() == "2026-04-05T00:00:00.000" && o.Fields["status"].String() != "cancelled"
	}); i >= 0 {
		t.Errorf("the payment that will not happen is still %s", last[i].Fields["status"])
	}
}

func TestStripeSkips(t *testing.T) {
	cases := map[string]struct {
		change func(w *world)
		reason event.Reason
	}{
		"deleted meanwhile": {func(w *world) { delete(w.stripe.subs, "sub_1") }, event.ReasonUnknownSubscription},
		"not linked":        {func(w *world) { s := stripeSub(); s.Metadata = nil; w.stripe.subs["sub_1"] = s }, event.ReasonUnknownSubscription},
		"linked to nothing": {func(w *world) { w.limio.objects = nil }, event.ReasonUnknownSubscription},
		"Limio names another": {func(w *world) {
			w.limio.objects[0].Fields["data.stripe.subscription_id"] = record.Text("sub_2")
		}, event.ReasonAmbiguousMatch},
		"first payment not made": {func(w *world) { s := stripeSub(); s.Status = record.StatusLeave; w.stripe.subs["sub_1"] = s }, event.ReasonNotStarted},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			c.change(w)
			ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.Skipped, c.reason)
			if len(w.limio.writes) != 0 {
				t.Errorf("written: %v", w.limio.writes)
			}
		})
	}
}

func TestOriginIsSuppressedAndLookedAtAgain(t *testing.T) {
	w := newWorld()
	v := w.handle(t, w.trigger(stripeKey, event.CauseStripe, event.OriginShop))
	ends(t, v, event.Suppressed, event.ReasonOrigin)
	if len(v.Later) != 1 || !v.Later[0].NotBefore.Equal(today.Add(2*time.Minute+time.Second)) {
		t.Fatalf("follow-up %+v, want one after the settling time", v.Later)
	}
	// A webhook of the same change without a source is still inside.
	w.now = w.now.Add(time.Minute)
	v2 := w.handle(t, w.trigger(stripeKey, event.CauseStripe, ""))
	ends(t, v2, event.Suppressed, event.ReasonOrigin)
	if len(v2.Later) != 0 {
		t.Errorf("asked for a second follow-up: %+v", v2.Later)
	}
	// A person is not held back, and the follow-up repairs what still differs.
	w.now = v.Later[0].NotBefore
	ends(t, w.handle(t, v.Later[0]), event.Applied, event.ReasonDriftRepaired)
}

// A change of the shop's that is handled late has settled. Limio may have been
// touched, so what it was last seen to hold counts for nothing.
func TestALateOriginIsLookedAtInFull(t *testing.T) {
	w := newWorld()
	w.handle(t, w.trigger(stripeKey, event.CauseStripe, ""))
	w.limio.objects[0].Fields["status"] = record.Text("cancelled")
	tr := w.trigger(stripeKey, event.CauseStripe, event.OriginShop)
	w.now = w.now.Add(time.Hour)
	ends(t, w.handle(t, tr), event.Applied, event.ReasonDriftRepaired)
}

func TestOriginOfAnOrderBehindADifference(t *testing.T) {
	w := newWorld()
	w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	a := account()
	a.Subscriptions[0].AutoRenew = false
	w.zuora.accounts["2c92aa"] = a
	w.now = w.now.Add(time.Hour)
	w.zuora.orders["A-S1"] = []record.Order{{ID: "O-1", Source: "salesforce", Created: w.now.Add(-time.Minute)}}
	v := w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	ends(t, v, event.Suppressed, event.ReasonOrigin)
	if v.Event.Origin != event.OriginSalesforce || len(v.Later) != 1 {
		t.Errorf("origin %q, follow-ups %v", v.Event.Origin, v.Later)
	}
	w.now = v.Later[0].NotBefore
	ends(t, w.handle(t, v.Later[0]), event.Applied, event.ReasonDriftRepaired)
}

// slowly is a reconciler whose reading of Limio takes its time.
type slowly struct {
	*Accounts
	read func()
}

func (s slowly) Have(ctx context.Context, w Want, m Memory) (Have, error) {
	defer s.read()
	return s.Accounts.Have(ctx, w, m)
}

// What was read while a change of somebody else's was settling is not written
// when that has settled meanwhile: the other side has moved on since.
func TestASlowReadDoesNotOutlastTheSettlingTime(t *testing.T) {
	w := newWorld()
	w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	a := account()
	a.Subscriptions[0].AutoRenew = false
	w.zuora.accounts["2c92aa"] = a
	w.now = w.now.Add(time.Hour)
	w.zuora.orders["A-S1"] = []record.Order{{ID: "O-1", Source: "shop", Created: w.now}}
	wrote := len(w.limio.writes)
	w.cfg.Reconcilers["zuora:account"] = slowly{NewAccounts(w.zuora, w.limio, AccountsConfig{}), func() { w.now = w.now.Add(time.Hour) }}
	v := w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	ends(t, v, event.Suppressed, event.ReasonOrigin)
	if len(w.limio.writes) != wrote || len(v.Later) != 1 {
		t.Errorf("%d writes, follow-ups %v", len(w.limio.writes)-wrote, v.Later)
	}
	ends(t, w.handle(t, v.Later[0]), event.Applied, event.ReasonDriftRepaired)
}

func TestBrake(t *testing.T) {
	w := newWorld()
	undo := func() {
		for i := range w.limio.objects {
			if w.limio.objects[i].ID == "sub-1" {
				w.limio.objects[i].Fields["status"] = record.Text("cancelled")
			}
		}
		m := w.memory[stripeKey]
		m.Converged = "" // as when somebody tells us of it
		w.memory[stripeKey] = m
	}
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.Applied, event.ReasonDriftRepaired)
	undo()
	w.now = w.now.Add(time.Minute)
	v := w.handle(t, w.trigger(stripeKey, event.CauseStripe, ""))
	ends(t, v, event.Suppressed, event.ReasonFlapping)
	if len(v.Later) != 1 || len(v.Event.Changes) == 0 {
		t.Fatalf("a stopped key must be looked at again (%v) and show what it would have written (%v)", v.Later, v.Event.Changes)
	}
	// A person releases it, and so does a quiet window.
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseAPI, "")), event.Applied, event.ReasonDriftRepaired)
	undo()
	w.now = w.now.Add(11 * time.Minute)
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.Applied, event.ReasonDriftRepaired)
}

func TestBrakeCountsWrites(t *testing.T) {
	w := newWorld()
	for i := range 3 {
		s := stripeSub()
		s.PaymentMethod.ExpYear = 2031 + i
		w.stripe.subs["sub_1"] = s
		w.now = w.now.Add(time.Minute)
		ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.Applied, event.ReasonDriftRepaired)
	}
	s := stripeSub()
	s.PaymentMethod.ExpYear = 2040
	w.stripe.subs["sub_1"] = s
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.Suppressed, event.ReasonFlapping)
}

func TestObserveWritesNothing(t *testing.T) {
	w := newWorld()
	w.cfg.Observe = []string{"stripe:*"}
	v := w.handle(t, w.trigger(stripeKey, event.CauseStripe, ""))
	ends(t, v, event.Observed, event.ReasonWouldApply)
	if len(w.limio.writes) != 0 || len(w.log.events) != 0 || len(v.Event.Changes) == 0 || v.Event.Mode != "observe" {
		t.Errorf("writes %v, planned %d, changes %d, mode %s", w.limio.writes, len(w.log.events), len(v.Event.Changes), v.Event.Mode)
	}
}

func TestFaultsBecomeOutcomes(t *testing.T) {
	cases := map[string]struct {
		err     error
		outcome event.Outcome
		reason  event.Reason
	}{
		"rate limited": {fault.After(fault.RateLimited, time.Second, errors.New("429")), event.Deferred, event.ReasonRateLimited},
		"locked":       {fault.Newf(fault.Locked, "lock"), event.Deferred, event.ReasonLocked},
		"unavailable":  {fault.Newf(fault.Unavailable, "502"), event.Deferred, event.ReasonUnavailable},
		"answer lost":  {fault.Newf(fault.UnknownOutcome, "time-out"), event.Deferred, event.ReasonUnknownOutcome},
		"forbidden":    {fault.Newf(fault.Forbidden, "403"), event.Failed, event.ReasonForbidden},
		"refused":      {fault.Newf(fault.Refused, "400"), event.Failed, event.ReasonRefused},
		"unclassified": {errors.New("what?"), event.Failed, event.ReasonBug},
	}
	for name, c := range cases {
		t.Run("read "+name, func(t *testing.T) {
			w := newWorld()
			w.stripe.err = c.err
			v := w.handle(t, w.trigger(stripeKey, event.CauseStripe, ""))
			ends(t, v, c.outcome, c.reason)
			if v.Wait != fault.Wait(c.err) || v.Event.Error == "" {
				t.Errorf("wait %s, error %q", v.Wait, v.Event.Error)
			}
		})
		t.Run("write "+name, func(t *testing.T) {
			w := newWorld()
			w.limio.fail[record.OpUpdate] = c.err
			ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), c.outcome, c.reason)
			ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.Applied, event.ReasonDriftRepaired)
		})
	}
}

func TestNotConverged(t *testing.T) {
	w := newWorld()
	w.limio.deaf = true
	v := w.handle(t, w.trigger(stripeKey, event.CauseStripe, ""))
	ends(t, v, event.Failed, event.ReasonNotConverged)
	if !strings.Contains(v.Event.Note, "data.termEndDate") {
		t.Errorf("the note does not say what still differs: %q", v.Event.Note)
	}
}

// A plan that cannot be made durable must not be written, and a lost partition
// must not be written to. Invariants 3 and 6.
func TestNothingIsWrittenUnannouncedOrUnowned(t *testing.T) {
	w := newWorld()
	w.log.err = errors.New("Kafka is away")
	if _, err := w.try(w.trigger(stripeKey, event.CauseStripe, "")); err == nil || len(w.limio.writes) != 0 {
		t.Errorf("error %v, writes %v", err, w.limio.writes)
	}
	w.log.err = nil
	_, err := New(w.cfg).Handle(context.Background(), Job{
		Key: stripeKey, Triggers: []event.Trigger{w.trigger(stripeKey, event.CauseStripe, "")}, Attempt: 1,
		Fence: func(context.Context) error { return errors.New("not ours any more") },
	})
	if err == nil || len(w.limio.writes) != 0 {
		t.Errorf("error %v, writes %v", err, w.limio.writes)
	}
}

// kill -9 between the two phases: the redelivered trigger continues the same
// sync, finds the sides equal, and the planned event still says what was done.
func TestRedeliveryContinuesTheSync(t *testing.T) {
	w := newWorld()
	tr := w.trigger(stripeKey, event.CauseStripe, "")
	first := w.handle(t, tr)
	w.memory = map[record.Key]Memory{} // the crash came before anything after the writes was durable
	second := w.handle(t, tr)
	ends(t, second, event.InSync, event.ReasonEqual)
	if first.Event.SyncID != second.Event.SyncID || first.Event.ID != second.Event.ID {
		t.Error("the redelivery is another sync")
	}
	if len(w.log.events) != 1 || w.log.events[0].SyncID != first.Event.SyncID || len(w.log.events[0].Changes) == 0 {
		t.Errorf("planned events %+v", w.log.events)
	}
}

// A login by lookup that is taken in again after a crash may go straight to the
// account that was found meanwhile: two syncs, although one trigger.
func TestOneTriggerUnderTwoKeysIsTwoSyncs(t *testing.T) {
	w := newWorld()
	tr := w.trigger(record.ZuoraLookup("Ext__c", "u1"), event.CauseLogin, "")
	first := w.handle(t, tr)
	tr.Key, tr.Via = accountKey, "Ext__c=u1"
	second := w.handle(t, tr)
	if first.Event.SyncID == second.Event.SyncID || first.Event.Triggers[0].ID != second.Event.Triggers[0].ID {
		t.Errorf("syncs %s and %s of triggers %s and %s", first.Event.SyncID, second.Event.SyncID, first.Event.Triggers[0].ID, second.Event.Triggers[0].ID)
	}
}

func TestCustomerFansOut(t *testing.T) {
	w := newWorld()
	tr := w.trigger(record.StripeCustomer("cus_1"), event.CauseStripe, event.OriginStripe)
	v := w.handle(t, tr)
	ends(t, v, event.Skipped, event.ReasonFannedOut)
	if len(v.Now) != 1 || v.Now[0].Key != stripeKey || v.Now[0].Origin != event.OriginStripe || v.Now[0].ID == tr.ID {
		t.Errorf("forwarded %+v", v.Now)
	}
	if again := w.handle(t, tr); again.Now[0].ID != v.Now[0].ID {
		t.Error("a redelivery makes other triggers")
	}
	ends(t, w.handle(t, w.trigger(record.StripeCustomer("cus_none"), event.CauseStripe, "")), event.Skipped, event.ReasonUnknownSubscription)
}

func TestRefsOfCoalescedTriggers(t *testing.T) {
	w := newWorld()
	a, b := w.trigger(stripeKey, event.CauseStripe, ""), w.trigger(stripeKey, event.CauseStripe, "")
	a.Also = []event.Ref{w.trigger(stripeKey, event.CauseStripe, "").Ref(), b.Ref()}
	v := w.handle(t, a, b)
	if len(v.Event.Triggers) != 3 {
		t.Errorf("the event answers %d triggers, want each of the three once", len(v.Event.Triggers))
	}
}

// A write whose answer was lost has happened: the next try finds the sides
// equal, and the sync is still one that applied changes.
func TestALostAnswerIsStillAnAppliedSync(t *testing.T) {
	w := newWorld()
	tr := w.trigger(stripeKey, event.CauseStripe, "")
	w.limio.objects[0].Fields["status"] = record.Text("cancelled")
	w.limio.fail[record.OpCreate] = fault.Newf(fault.UnknownOutcome, "time-out")
	job := Job{Key: stripeKey, Triggers: []event.Trigger{tr}, Attempt: 1, Fence: func(context.Context) error { return nil }}
	first, err := New(w.cfg).Handle(context.Background(), job)
	if err != nil {
		t.Fatal(err)
	}
	ends(t, first, event.Deferred, event.ReasonUnknownOutcome)
	full := newWorld()
	full.limio.objects[0].Fields["status"] = record.Text("cancelled")
	full.handle(t, tr)
	w.limio.objects = full.limio.objects // as if all of it had arrived
	job.Before = first.Changes
	second, err := New(w.cfg).Handle(context.Background(), job)
	if err != nil {
		t.Fatal(err)
	}
	ends(t, second, event.Applied, event.ReasonDriftRepaired)
	if len(second.Event.Changes) == 0 {
		t.Error("the changes are missing from the event")
	}
}

// A voided invoice and the next payment may fall on one day: the entry of the
// payment is not taken for the voided one.
func TestVoidedInvoiceBesideTheNextPayment(t *testing.T) {
	w := newWorld()
	s := stripeSub()
	s.Schedules = []record.Schedule{
		{ID: "in_v", State: record.ScheduleCancelled, Date: date("2026-04-05"), Amount: record.Minor(4200, 2, "eur")},
		{State: record.ScheduleUpcoming, Date: date("2026-04-05"), Amount: record.Minor(4200, 2, "eur")},
	}
	w.stripe.subs["sub_1"] = s
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.Applied, event.ReasonDriftRepaired)
	w.memory = map[record.Key]Memory{}
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.InSync, event.ReasonEqual)
}

// What is put off asks for all that its triggers asked for: a webhook that merged
// with the trigger of a plan still writes, and what only one of them knew is known
// the next time.
func TestAJobAsksForAllOfItsTriggers(t *testing.T) {
	plan := event.Trigger{ID: "plan", Key: stripeKey, Cause: event.CauseSweep, Plan: true, Bulk: true, Also: []event.Ref{{ID: "x"}}}
	sweep := event.Trigger{ID: "sweep", Key: stripeKey, Cause: event.CauseSweep, Bulk: true, Verify: true, Limio: "sub-1"}
	hook := event.Trigger{ID: "hook", Key: stripeKey, Cause: event.CauseStripe, Via: "Ext__c=u1", Scope: "vip"}
	bound := event.Trigger{ID: "bound", Key: stripeKey, Cause: event.CauseSweep, Bulk: true, Base: "p1"}
	put := event.Trigger{ID: "put off", Key: stripeKey, Cause: event.CauseStripe, SyncID: "s1", Attempt: 2, FirstFail: time.Unix(100, 0)}
	late := event.Trigger{ID: "put off later", Key: stripeKey, Cause: event.CauseStripe, SyncID: "s2", Attempt: 1, FirstFail: time.Unix(200, 0)}
	for name, tt := range map[string]struct {
		triggers []event.Trigger
		want     event.Trigger
	}{
		"only plans":          {[]event.Trigger{plan}, event.Trigger{ID: "plan", Cause: event.CauseSweep, Plan: true, Bulk: true}},
		"a plan and a sweep":  {[]event.Trigger{plan, sweep}, event.Trigger{ID: "plan", Cause: event.CauseSweep, Bulk: true, Verify: true, Limio: "sub-1"}},
		"a plan and the rest": {[]event.Trigger{plan, sweep, hook}, event.Trigger{ID: "plan", Cause: event.CauseSweep, Verify: true, Limio: "sub-1", Via: "Ext__c=u1", Scope: "vip"}},
		"new beside put off":  {[]event.Trigger{hook, late, put}, event.Trigger{ID: "hook", Cause: event.CauseStripe, Via: "Ext__c=u1", Scope: "vip", FirstFail: put.FirstFail}},
		"a reviewed plan":     {[]event.Trigger{plan, bound}, event.Trigger{ID: "plan", Cause: event.CauseSweep, Bulk: true, Base: "p1"}},
		"and a webhook":       {[]event.Trigger{bound, hook}, event.Trigger{ID: "bound", Cause: event.CauseSweep, Via: "Ext__c=u1", Scope: "vip"}},
	} {
		tt.want.Key = stripeKey
		if got := (Job{Key: stripeKey, Triggers: tt.triggers}).Asked(); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: asks for\n%+v, want\n%+v", name, got, tt.want)
		}
	}
}

// A sync that was cut off after it told what it sets out to write is known to be
// open until an event ends it, and Limio is read in any case.
func TestABegunSyncStaysOpenUntilItEnds(t *testing.T) {
	w := newWorld()
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.Applied, event.ReasonDriftRepaired)
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.InSync, event.ReasonFingerprint)
	if m := w.memory[stripeKey]; len(m.Open) > 0 || m.Converged == "" {
		t.Fatalf("memory of a sync that ended: %+v", m)
	}
	s := stripeSub()
	s.Status = record.StatusCancelled
	before := w.stripe.subs["sub_1"]
	w.stripe.subs["sub_1"] = s
	first := w.trigger(stripeKey, event.CauseStripe, "")
	fall := fault.As(fault.Stopped, errors.New("handed over"))
	w.limio.fail[record.OpUpdate] = fall
	if _, err := w.try(first); !errors.Is(err, fall) {
		t.Fatalf("ended with %v", err)
	}
	m := w.memory[stripeKey]
	if id := (Job{Key: stripeKey, Triggers: []event.Trigger{first}}).SyncID(); m.Begun(first) != id {
		t.Fatalf("%s is not open: %v", id, m.Open)
	}
	clear(w.limio.fail)
	w.stripe.subs["sub_1"] = before // as Limio was last seen to hold it, but who knows
	other := w.trigger(stripeKey, event.CauseLogin, "")
	if m.Begun(other) != "" {
		t.Error("a trigger that began nothing is said to have")
	}
	ends(t, w.handle(t, other), event.InSync, event.ReasonEqual)
	if len(w.memory[stripeKey].Open) != 1 {
		t.Errorf("open after another sync has ended: %v", w.memory[stripeKey].Open)
	}
	first.SyncID = w.memory[stripeKey].Begun(first)
	ends(t, w.handle(t, w.trigger(stripeKey, event.CauseLogin, ""), first), event.InSync, event.ReasonFingerprint)
	if open := w.memory[stripeKey].Open; open != nil {
		t.Errorf("still open: %v", open)
	}
}
