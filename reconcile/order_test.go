package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// salesroom is Limio, as far as orders go, and everything else in which a crash
// may fall: the memory, the log, the fence.
type salesroom struct {
	*world
	orders []record.PlacedOrder
	buyers []record.NewOrder
	lag    time.Duration                    // until an order shows in the list
	slow   time.Duration                    // until an order has its subscription
	answer []func() (taken bool, err error) // to the next requests; beyond: taken
	step   int
	crash  map[int]bool // the steps in which the process dies
	broken map[int]bool // the steps that fail
	names  []string
	looks  int
}

type crashed struct{ step int }

// at is a moment in which the process may die, or an effect may fail.
func (s *salesroom) at(name string) error {
	s.step++
	s.names = append(s.names, name)
	if s.crash[s.step] {
		panic(crashed{s.step})
	}
	if s.broken[s.step] {
		return errors.New("broken: " + name)
	}
	return nil
}

func (s *salesroom) SendOrder(ctx context.Context, externalID string, o record.NewOrder) (record.PlacedOrder, error) {
	if err := s.at("the request goes out"); err != nil {
		return record.PlacedOrder{}, fault.As(fault.UnknownOutcome, err)
	}
	if _, bound := ctx.Deadline(); !bound {
		return record.PlacedOrder{}, errors.New("the request may go out at any time")
	}
	taken, err := true, error(nil)
	if len(s.answer) > 0 {
		taken, err = s.answer[0]()
		s.answer = s.answer[1:]
	}
	if !taken {
		return record.PlacedOrder{}, err
	}
	p := record.PlacedOrder{
		ID: fmt.Sprintf("order-%d", len(s.orders)+1), ExternalID: externalID, State: record.OrderComplete,
		SubscriptionReference: fmt.Sprintf("REF%d", len(s.orders)+1), Created: s.now,
	}
	s.orders, s.buyers = append(s.orders, p), append(s.buyers, o)
	s.limio.objects = append(s.limio.objects,
		record.Object{Type: record.SubscriptionType, ID: "sub-of-" + p.ID, Ref: p.SubscriptionReference, Fields: record.Fields{"status": record.Text("active")}},
		record.Object{Type: record.OrderType, ID: p.ID, Parent: "sub-of-" + p.ID, Fields: record.Fields{
			"source": record.Text(o.Source), "created": record.Text(s.now.Format(time.RFC3339)),
		}})
	if err != nil {
		return record.PlacedOrder{}, err
	}
	if err := s.at("the answer comes"); err != nil {
		return record.PlacedOrder{}, fault.As(fault.UnknownOutcome, err)
	}
	return p, nil
}

func (s *salesroom) OrderByExternalID(_ context.Context, externalID string, since time.Time) (record.PlacedOrder, bool, error) {
	s.looks++
	if err := s.at("orders are looked through"); err != nil {
		return record.PlacedOrder{}, false, fault.As(fault.Unavailable, err)
	}
	for _, o := range s.orders {
		if o.ExternalID == externalID && !s.now.Before(o.Created.Add(s.lag)) && !o.Created.Before(since) {
			return o, true, nil
		}
	}
	return record.PlacedOrder{}, false, nil
}

func (s *salesroom) Order(_ context.Context, id string) (record.PlacedOrder, error) {
	if err := s.at("the order is read"); err != nil {
		return record.PlacedOrder{}, fault.As(fault.Unavailable, err)
	}
	for _, o := range s.orders {
		if o.ID == id {
			return o, nil
		}
	}
	return record.PlacedOrder{}, fault.Newf(fault.NotFound, "no order %s", id)
}

func (s *salesroom) SubscriptionOfOrder(_ context.Context, o record.PlacedOrder) (string, error) {
	if s.now.Before(o.Created.Add(s.slow)) {
		return "", fault.Newf(fault.NotFound, "not yet")
	}
	return "sub-of-" + o.ID, nil
}

func (s *salesroom) Remember(_ context.Context, k record.Key, m Memory) error {
	if m.Seq <= s.memory[k].Seq {
		return fmt.Errorf("the memory %d would not be newer than %d", m.Seq, s.memory[k].Seq)
	}
	if err := s.at("before the memory is durable"); err != nil {
		return err
	}
	s.memory[k] = m
	return s.at("after the memory is durable")
}

func (s *salesroom) Record(_ context.Context, e event.Event) error {
	if err := s.at("before the plan is durable"); err != nil {
		return err
	}
	s.log.events = append(s.log.events, e)
	return s.at("after the plan is durable")
}

const aliens = "price_digital"

func newSalesroom(t failer) *salesroom {
	t.Helper()
	s := &salesroom{world: newWorld(), crash: map[int]bool{}, broken: map[int]bool{}}
	sub := stripeSub()
	sub.Metadata, sub.Created, sub.Start = nil, today.Add(-time.Hour), today.Add(-time.Hour)
	sub.Items = []record.Item{{Price: aliens, Quantity: 3}, {Price: "price_print"}}
	sub.Buyer = record.Address{FirstName: "Ada", LastName: "Reader", Email: "ada@example.test", Country: "IE"}
	s.stripe.subs["sub_1"] = sub
	s.limio.objects = nil
	s.cfg.Events, s.cfg.Memories = s, s
	s.mode(t, NewcomersOrder)
	return s
}

func (s *salesroom) mode(t failer, mode string) {
	t.Helper()
	n, err := NewNewcomers(NewcomersConfig{
		Mode: mode, Payment: "invoice", Orders: s, Records: s, Writer: s, Grace: 10 * time.Minute,
		Prices: map[string]CatalogOffer{aliens: {"offer-digital", "v1"}, "price_print": {"offer-print", ""}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.cfg.Newcomers = n
}

// once handles a delivery in one life of the process. It reports false when the
// process died or left the job for another day.
func (s *salesroom) once(tr event.Trigger, attempt int) (v Verdict, ended bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(crashed); !ok {
				panic(r)
			}
			ended = false
		}
	}()
	v, err := New(s.cfg).Handle(context.Background(), Job{
		Key: tr.Key, Triggers: []event.Trigger{tr}, Attempt: attempt, Memory: s.memory[tr.Key],
		Fence: func(context.Context) error { return s.at("the fence is asked") },
	})
	if err != nil || s.at("before the verdict is durable") != nil {
		return v, false
	}
	if v.Remember {
		v.Memory.Seq = max(v.Memory.Seq, s.memory[tr.Key].Seq) + 1
		s.memory[tr.Key] = v.Memory
	}
	return v, s.at("after the verdict is durable") == nil && v.Event.Outcome != event.Deferred
}

// deliver delivers a trigger until it comes to an end.
func (s *salesroom) deliver(t interface{ Fatalf(string, ...any) }, tr event.Trigger) Verdict {
	for attempt := 1; attempt < 50; attempt++ {
		v, ended := s.once(tr, attempt)
		if len(s.orders) > 1 {
			t.Fatalf("ordered twice: %+v after %q", s.orders, s.names)
		}
		if ended {
			return v
		}
		s.now = s.now.Add(max(v.Wait, time.Minute))
	}
	t.Fatalf("no end after %q", s.names)
	return Verdict{}
}

func (s *salesroom) settled(t interface{ Fatalf(string, ...any) }, v Verdict) {
	if len(s.orders) != 1 {
		t.Fatalf("%d orders, want one, after %q: %s/%s %s %s", len(s.orders), s.names, v.Event.Outcome, v.Event.Reason, v.Event.Note, v.Event.Error)
	}
	id := "sub-of-" + s.orders[0].ID
	sub := s.limio.get(id)
	if got := s.memory[stripeKey]; got.Subscriptions["sub_1"] != id || got.Order == nil || got.Order.State != ClaimDone {
		t.Fatalf("remembered %+v with claim %+v, after %q: %s/%s %s %s", got.Subscriptions, got.Order, s.names, v.Event.Outcome, v.Event.Reason, v.Event.Note, v.Event.Error)
	}
	if sub.Fields[linkField].String() != "sub_1" || sub.Fields["data.termEndDate"].String() != "2026-04-05" {
		t.Fatalf("Limio has %+v after %q: %s/%s", sub.Fields, s.names, v.Event.Outcome, v.Event.Reason)
	}
	if len(s.log.events) == 0 || !slices.ContainsFunc(s.log.events, func(e event.Event) bool {
		return slices.ContainsFunc(e.Changes, func(c record.Change) bool { return c.Op == record.OpOrder })
	}) {
		t.Fatalf("the order is in no planned event: %+v", s.log.events)
	}
}

func TestOrder(t *testing.T) {
	s := newSalesroom(t)
	v := s.deliver(t, s.trigger(stripeKey, event.CauseStripe, ""))
	ends(t, v, event.Applied, event.ReasonCreated)
	s.settled(t, v)
	if got := s.orders[0].ExternalID; got != "hotsync-stripe-sub_1" {
		t.Errorf("external id %q", got)
	}
	want := []record.OrderItem{{Offer: "offer-digital", Version: "v1", Quantity: 3}, {Offer: "offer-print", Quantity: 1}}
	if o := s.buyers[0]; !slices.Equal(o.Items, want) || o.Source != "hotsync" || o.Country != "IE" || o.Payment != "invoice" || o.Buyer.Email != "ada@example.test" {
		t.Errorf("ordered %+v", o)
	}
	for _, e := range append(s.log.events, v.Event) {
		for _, c := range e.Changes {
			if strings.Contains(c.After.String(), "ada") {
				t.Errorf("the buyer stands in an event: %+v", c)
			}
		}
	}
	ends(t, s.deliver(t, s.trigger(stripeKey, event.CauseStripe, "")), event.InSync, event.ReasonFingerprint)
	if s.looks != 1 {
		t.Errorf("orders were looked through %d times, want once, before the request", s.looks)
	}
}

// kill -9 in every single step, and every step failing: there is one order, and
// in the end it is known.
func TestOrderSurvivesACrashInEveryStep(t *testing.T) {
	clean := newSalesroom(t)
	clean.deliver(t, clean.trigger(stripeKey, event.CauseStripe, ""))
	steps := clean.step
	if steps < 15 {
		t.Fatalf("only %d steps: %q", steps, clean.names)
	}
	for _, lag := range []time.Duration{0, 9 * time.Minute} {
		for step := 1; step <= steps; step++ {
			for _, how := range []string{"crash", "failure"} {
				t.Run(fmt.Sprintf("%s in step %d, %s, lists lag %s", how, step, clean.names[step-1], lag), func(t *testing.T) {
					s := newSalesroom(t)
					s.lag = lag
					if how == "crash" {
						s.crash[step] = true
					} else {
						s.broken[step] = true
					}
					v := s.deliver(t, s.trigger(stripeKey, event.CauseStripe, ""))
					s.settled(t, v)
				})
			}
		}
	}
}

// Any row of crashes, failures, lost answers, refusals, slow lists and slow
// orders: never two orders, and one in the end.
func TestOrderExactlyOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSalesroom(t)
		s.lag = time.Duration(rapid.IntRange(0, 599).Draw(t, "lag")) * time.Second
		s.slow = time.Duration(rapid.IntRange(0, 1200).Draw(t, "slow")) * time.Second
		for range rapid.IntRange(0, 4).Draw(t, "crashes") {
			s.crash[rapid.IntRange(1, 60).Draw(t, "crash at")] = true
		}
		for range rapid.IntRange(0, 3).Draw(t, "failures") {
			s.broken[rapid.IntRange(1, 60).Draw(t, "fails at")] = true
		}
		classes := []fault.Class{fault.UnknownOutcome, fault.Unavailable, fault.RateLimited}
		for range rapid.IntRange(0, 3).Draw(t, "answers") {
			class := rapid.SampledFrom(classes).Draw(t, "class")
			taken := class == fault.UnknownOutcome && rapid.Bool().Draw(t, "taken")
			s.answer = append(s.answer, func() (bool, error) { return taken, fault.Newf(class, "answer") })
		}
		s.settled(t, s.deliver(t, s.trigger(stripeKey, event.CauseStripe, "")))
	})
}

// The memory may be lost altogether: the order is found again.
func TestOrderIsFoundWithoutAMemory(t *testing.T) {
	s := newSalesroom(t)
	s.deliver(t, s.trigger(stripeKey, event.CauseStripe, ""))
	s.memory = map[record.Key]Memory{}
	s.now = s.now.Add(24 * time.Hour)
	v := s.deliver(t, s.trigger(stripeKey, event.CauseStripe, ""))
	ends(t, v, event.InSync, event.ReasonEqual)
	s.settled(t, v)
}

// Every look goes back to the first request: one that shows only after a second
// one was made, and got lost, is still found.
func TestOrderThatShowsVeryLate(t *testing.T) {
	s := newSalesroom(t)
	s.lag = 12 * time.Minute
	s.answer = append(s.answer,
		func() (bool, error) { return true, fault.Newf(fault.UnknownOutcome, "time-out") },
		func() (bool, error) { return false, fault.Newf(fault.UnknownOutcome, "time-out") })
	s.settled(t, s.deliver(t, s.trigger(stripeKey, event.CauseStripe, "")))
	if len(s.answer) != 0 {
		t.Error("there was no second request")
	}
}

// Nothing goes out from an instance that lost the key, or that slept too long
// after its claim.
func TestOrderIsFenced(t *testing.T) {
	s := newSalesroom(t)
	tr := s.trigger(stripeKey, event.CauseStripe, "")
	calls := 0
	_, err := New(s.cfg).Handle(context.Background(), Job{
		Key: stripeKey, Triggers: []event.Trigger{tr}, Attempt: 1,
		Fence: func(context.Context) error {
			if calls++; calls == 2 {
				return errors.New("not ours any more")
			}
			return nil
		},
	})
	if err == nil || len(s.orders) != 0 || s.memory[stripeKey].Order == nil {
		t.Errorf("error %v, orders %v, claim %v", err, s.orders, s.memory[stripeKey].Order)
	}
	s = newSalesroom(t)
	v, err := New(s.cfg).Handle(context.Background(), Job{
		Key: stripeKey, Triggers: []event.Trigger{tr}, Attempt: 1,
		Fence: func(context.Context) error { s.now = s.now.Add(6 * time.Minute); return nil },
	})
	if err != nil || v.Event.Outcome != event.Deferred || len(s.orders) != 0 {
		t.Errorf("%s, error %v, orders %v", v.Event.Outcome, err, s.orders)
	}
}

// What Limio refuses was not taken: the claim goes, and the next look may ask
// again.
func TestOrderRefused(t *testing.T) {
	for class, want := range map[fault.Class]event.Reason{
		fault.Refused: event.ReasonRefused, fault.NotFound: event.ReasonRefused, fault.Forbidden: event.ReasonForbidden,
	} {
		s := newSalesroom(t)
		s.answer = append(s.answer, func() (bool, error) { return false, fault.Newf(class, "no") })
		ends(t, s.deliver(t, s.trigger(stripeKey, event.CauseStripe, "")), event.Failed, want)
		if s.memory[stripeKey].Order != nil {
			t.Errorf("%s: the claim %+v stays", class, s.memory[stripeKey].Order)
		}
		s.settled(t, s.deliver(t, s.trigger(stripeKey, event.CauseStripe, "")))
	}
}

// An order that Limio took and could not carry out is a person's business: it
// is said once, not sent again, and followed once it was put right.
func TestOrderTakenAndFailed(t *testing.T) {
	s := newSalesroom(t)
	s.answer = append(s.answer, func() (bool, error) { return true, fault.Newf(fault.UnknownOutcome, "time-out") })
	s.lag = time.Minute
	s.once(s.trigger(stripeKey, event.CauseStripe, ""), 1)
	s.orders[0].State, s.orders[0].Problem = record.OrderFailed, "card declined"
	s.now = s.now.Add(2 * time.Minute)
	v := s.deliver(t, s.trigger(stripeKey, event.CauseStripe, ""))
	ends(t, v, event.Failed, event.ReasonRefused)
	if !strings.Contains(v.Event.Error, "card declined") || !strings.Contains(v.Event.Error, "order-1") {
		t.Errorf("error %q", v.Event.Error)
	}
	s.now = s.now.Add(time.Hour)
	ends(t, s.deliver(t, s.trigger(stripeKey, event.CauseStripe, "")), event.Skipped, event.ReasonUnknownSubscription)
	s.orders[0].State = record.OrderComplete
	s.settled(t, s.deliver(t, s.trigger(stripeKey, event.CauseStripe, "")))
}

// Our own order is an origin like the shop's: its echo is left to settle.
func TestOrderEchoes(t *testing.T) {
	s := newSalesroom(t)
	s.deliver(t, s.trigger(stripeKey, event.CauseStripe, ""))
	v := s.deliver(t, s.trigger(stripeKey, event.CauseStripe, "hotsync"))
	ends(t, v, event.Suppressed, event.ReasonOwnEcho)
	if len(v.Later) != 1 {
		t.Errorf("follow-ups %+v", v.Later)
	}
	// As is a difference behind which our order stands.
	s.memory[stripeKey] = func(m Memory) Memory { m.SettleUntil, m.Converged = time.Time{}, ""; return m }(s.memory[stripeKey])
	s.limio.merge("sub-of-order-1", record.Fields{"status": record.Text("pending")})
	ends(t, s.deliver(t, s.trigger(stripeKey, event.CauseStripe, "")), event.Suppressed, event.ReasonOwnEcho)
}

func TestOrderLeavesAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*record.Subscription)
		note   string
		reason event.Reason
	}{
		"a price without an offer": {func(s *record.Subscription) { s.Items[1].Price = "price_x" }, "its price price_x is not in the map", event.ReasonUnknownSubscription},
		"one that has ended":       {func(s *record.Subscription) { s.Status, s.SourceStatus = record.StatusCancelled, "canceled" }, "it is canceled, and only live", event.ReasonUnknownSubscription},
		"one that has not begun":   {func(s *record.Subscription) { s.Status, s.SourceStatus = record.StatusLeave, "incomplete" }, "nothing is billed yet", event.ReasonNotStarted},
		"nobody's":                 {func(s *record.Subscription) { s.Buyer.Email = "" }, "no e-mail address", event.ReasonUnknownSubscription},
		"from nowhere":             {func(s *record.Subscription) { s.Buyer.Country = "" }, "country of purchase", event.ReasonUnknownSubscription},
		"nothing":                  {func(s *record.Subscription) { s.Items = nil }, "no items", event.ReasonUnknownSubscription},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSalesroom(t)
			sub := s.stripe.subs["sub_1"]
			sub.Items = slices.Clone(sub.Items)
			tt.change(&sub)
			s.stripe.subs["sub_1"] = sub
			v := s.deliver(t, s.trigger(stripeKey, event.CauseStripe, ""))
			ends(t, v, event.Skipped, tt.reason)
			if !strings.Contains(v.Event.Note, tt.note) || len(s.orders) != 0 || s.looks != 0 {
				t.Errorf("note %q, orders %v, %d looks", v.Event.Note, s.orders, s.looks)
			}
		})
	}
}

func TestOrderIsHeldBack(t *testing.T) {
	t.Run("skip is the default", func(t *testing.T) {
		s := newSalesroom(t)
		s.cfg.Newcomers = nil
		ends(t, s.deliver(t, s.trigger(stripeKey, event.CauseStripe, "")), event.Skipped, event.ReasonUnknownSubscription)
	})
	t.Run("a young one may be Limio's own sale", func(t *testing.T) {
		s := newSalesroom(t)
		sub := s.stripe.subs["sub_1"]
		sub.Created = s.now.Add(-time.Minute)
		s.stripe.subs["sub_1"] = sub
		v := s.deliver(t, s.trigger(stripeKey, event.CauseStripe, ""))
		ends(t, v, event.Suppressed, event.ReasonOrigin)
		if len(v.Later) != 1 || !v.Later[0].NotBefore.Equal(sub.Created.Add(15*time.Minute)) {
			t.Fatalf("follow-ups %+v", v.Later)
		}
		s.now = v.Later[0].NotBefore
		s.settled(t, s.deliver(t, v.Later[0]))
	})
	t.Run("a sweep orders nothing", func(t *testing.T) {
		s := newSalesroom(t)
		ends(t, s.deliver(t, s.trigger(stripeKey, event.CauseSweep, "")), event.Skipped, event.ReasonUnknownSubscription)
		s.cfg.SweepImports = true
		s.settled(t, s.deliver(t, s.trigger(stripeKey, event.CauseSweep, "")))
	})
	t.Run("out of scope", func(t *testing.T) {
		s := newSalesroom(t)
		s.scoped(scope(t, 100, []string{"metadata:migrate=yes"}))
		ends(t, s.deliver(t, s.trigger(stripeKey, event.CauseStripe, "")), event.Skipped, event.ReasonOutOfScope)
	})
	t.Run("the shop is at work", func(t *testing.T) {
		s := newSalesroom(t)
		ends(t, s.deliver(t, s.trigger(stripeKey, event.CauseStripe, event.OriginShop)), event.Suppressed, event.ReasonOrigin)
	})
	t.Run("observed, reviewed, ordered", func(t *testing.T) {
		s := newSalesroom(t)
		plan := s.trigger(stripeKey, event.CauseStripe, "")
		plan.Plan = true
		v := s.deliver(t, plan)
		ends(t, v, event.Observed, event.ReasonWouldApply)
		if len(s.orders) != 0 || v.Event.Plan == "" || !slices.ContainsFunc(v.Event.Changes, func(c record.Change) bool { return c.Field == "orderItems.0.offer.id" }) {
			t.Fatalf("orders %v, plan %q, changes %+v", s.orders, v.Event.Plan, v.Event.Changes)
		}
		other := s.trigger(stripeKey, event.CauseStripe, "")
		other.Base = "another"
		ends(t, s.deliver(t, other), event.Skipped, event.ReasonBaseMoved)
		base := s.trigger(stripeKey, event.CauseStripe, "")
		base.Base = v.Event.Plan
		ends(t, s.deliver(t, base), event.Applied, event.ReasonCreated)
		s.settled(t, s.deliver(t, s.trigger(stripeKey, event.CauseAPI, "")))
	})
}

// In delegate mode the link is written all the same: without it Limio's sync
// would not know what to read.
func TestOrderInDelegateMode(t *testing.T) {
	s := newSalesroom(t)
	s.cfg.Delegate = true
	s.limio.sync = func(ask record.Write) {
		if s.limio.get(ask.ID).Fields[linkField].String() != "sub_1" {
			t.Error("Limio's sync was asked before the link was there")
		}
		s.limio.syncStripe(ask.ID, s.stripe.subs["sub_1"], s.now)
	}
	v := s.deliver(t, s.trigger(stripeKey, event.CauseStripe, ""))
	ends(t, v, event.Applied, event.ReasonCreated)
	s.settled(t, v)
}

// Records: the other way, with the same claim.

func (s *salesroom) SubscriptionByReference(_ context.Context, reference string) (record.Object, bool, error) {
	if err := s.at("records are looked through"); err != nil {
		return record.Object{}, false, fault.As(fault.Unavailable, err)
	}
	for _, o := range s.limio.objects {
		if o.Type == record.SubscriptionType && o.Ref == reference {
			return o, true, nil
		}
	}
	return record.Object{}, false, nil
}

func (s *salesroom) Apply(ctx context.Context, w record.Write) (string, error) {
	if err := s.at("the record is made"); err != nil {
		return "", fault.As(fault.UnknownOutcome, err)
	}
	id, err := s.limio.Apply(ctx, w)
	if err == nil {
		if err := s.at("the answer comes"); err != nil {
			return "", fault.As(fault.UnknownOutcome, err)
		}
	}
	return id, err
}

func TestRecordSurvivesACrashInEveryStep(t *testing.T) {
	clean := newSalesroom(t)
	clean.mode(t, NewcomersRecord)
	v := clean.deliver(t, clean.trigger(stripeKey, event.CauseStripe, ""))
	ends(t, v, event.Applied, event.ReasonCreated)
	for step := 0; step <= clean.step; step++ {
		for _, how := range []string{"crash", "failure"} {
			t.Run(fmt.Sprintf("%s in step %d", how, step), func(t *testing.T) {
				s := newSalesroom(t)
				s.mode(t, NewcomersRecord)
				if how == "crash" {
					s.crash[step] = true
				} else {
					s.broken[step] = true
				}
				s.deliver(t, s.trigger(stripeKey, event.CauseStripe, ""))
				var subs []record.Object
				for _, o := range s.limio.objects {
					if o.Type == record.SubscriptionType {
						subs = append(subs, o)
					}
				}
				if len(subs) != 1 || subs[0].Ref != "sub_1" || subs[0].Fields[linkField].String() != "sub_1" || s.memory[stripeKey].Subscriptions["sub_1"] != subs[0].ID {
					t.Errorf("Limio has %+v, remembered %+v, after %q", subs, s.memory[stripeKey], s.names)
				}
			})
		}
	}
}

func TestNewcomersMistakes(t *testing.T) {
	s := newSalesroom(t)
	good := NewcomersConfig{Mode: NewcomersOrder, Payment: "invoice", Orders: s, Prices: map[string]CatalogOffer{aliens: {Offer: "o"}}}
	for want, change := range map[string]func(*NewcomersConfig){
		`mode "sell": must be skip, order or record`: func(c *NewcomersConfig) { c.Mode = "sell" },
		`source "shop": means that Limio`:            func(c *NewcomersConfig) { c.Source = "shop" },
		"payment: required":                          func(c *NewcomersConfig) { c.Payment = "" },
		`country "Ireland": must be a code`:          func(c *NewcomersConfig) { c.Country = "Ireland" },
		"prices: required":                           func(c *NewcomersConfig) { c.Prices = nil },
		`prices: "prod_1": is no Stripe price`:       func(c *NewcomersConfig) { c.Prices = map[string]CatalogOffer{"prod_1": {Offer: "o"}} },
		`prices: "price_1": names no offer`:          func(c *NewcomersConfig) { c.Prices = map[string]CatalogOffer{"price_1": {}} },
		"grace 1s: must be a minute or more":         func(c *NewcomersConfig) { c.Grace = time.Second },
		"patience -1s: must be positive":             func(c *NewcomersConfig) { c.Patience = -time.Second },
		`prefix "a/b": must have`:                    func(c *NewcomersConfig) { c.Prefix = "a/b" },
		"orders: Limio's orders":                     func(c *NewcomersConfig) { c.Orders = nil },
		"records: a way":                             func(c *NewcomersConfig) { c.Mode = NewcomersRecord },
	} {
		cfg := good
		change(&cfg)
		if _, err := NewNewcomers(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := NewNewcomers(NewcomersConfig{}); err != nil {
		t.Errorf("the zero value skips: %v", err)
	}
}
