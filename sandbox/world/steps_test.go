package world

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
)

func must(t *testing.T) func(Step, error) Step {
	return func(s Step, err error) Step {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func (w *World) pick(t *testing.T, role role) *subscription {
	t.Helper()
	for _, s := range w.subs {
		if s.role == role && !s.ending && !s.Drifted && s.Limio != "" {
			if c, _ := w.stripe.Customer(s.Customer); c.DefaultPaymentMethod != "" {
				return s
			}
		}
	}
	t.Fatal("there is no such subscription")
	return nil
}

func TestStripeSteps(t *testing.T) {
	types := func(t *testing.T, w *World, s Step) string {
		var out []string
		for _, m := range s.Messages {
			out = append(out, webhookOf(t, w, m).Type)
		}
		return strings.Join(out, " ")
	}
	tests := map[string]struct {
		do    func(w *World, id string) (Step, error)
		least int
		has   string
		drift string // a field that must differ, until somebody syncs
	}{
		"renewal":     {(*World).RenewSubscription, 9, "invoice.paid", "payment in_"},
		"basil":       {(*World).Basil, 9, "invoice.paid", "payment in_"},
		"dunning":     {(*World).Dunning, 7, "invoice.payment_failed", "payment in_"},
		"card":        {(*World).ChangeCard, 2, "payment_method.attached", "card data.stripe.result.id"},
		"expiry":      {(*World).UpdateExpiry, 1, "payment_method.automatically_updated", "card data.stripe.result.exp_year"},
		"run out":     {(*World).CancelAtPeriodEnd, 1, "customer.subscription.updated", "payment schedule-"},
		"plan change": {(*World).ChangePlanInStripe, 1, "customer.subscription.updated", "payment upcoming"},
		"deletion":    {(*World).DeleteCustomer, 2, "customer.deleted", "subscription status"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := small(t)
			id := w.pick(t, roleFree).ID
			step := must(t)(tt.do(w, id))
			if got := types(t, w, step); len(step.Messages) < tt.least || !strings.Contains(got, tt.has) {
				t.Errorf("%d messages: %s; want %d with %s", len(step.Messages), got, tt.least, tt.has)
			}
			if !w.bySub[id].changed {
				t.Error("nobody will announce it at the end")
			}
			for _, d := range w.Drift() {
				if d.ID == id && strings.HasPrefix(d.Field, tt.drift) {
					return
				}
			}
			t.Errorf("no difference in %q", tt.drift)
		})
	}
}

func TestDunningEnds(t *testing.T) {
	ends := map[string]bool{}
	w := small(t)
	for range 12 {
		s := w.pick(t, roleFree)
		step := must(t)(w.Dunning(s.ID))
		if sub, _ := w.stripe.Subscription(s.ID); sub.Status != stripe.StatusPastDue {
			t.Fatalf("status %s after a failed payment", sub.Status)
		}
		if step = must(t)(step.Next()); len(step.Messages) == 0 || step.Next != nil {
			t.Fatalf("the end is %+v", step)
		}
		sub, _ := w.stripe.Subscription(s.ID)
		ends[sub.Status] = true
		if s.ending != sub.Ended() {
			t.Errorf("%s is %s, and ending is %t", s.ID, sub.Status, s.ending)
		}
		s.ending = true
	}
	if !ends[stripe.StatusActive] || !ends[stripe.StatusCanceled] {
		t.Errorf("it only ended in %v", ends)
	}
}

func TestBasilEventsHaveTheNewShape(t *testing.T) {
	w := small(t)
	id := w.pick(t, roleFree).ID
	for _, m := range must(t)(w.Basil(id)).Messages {
		if body := webhookOf(t, w, m); body.Type == "invoice.paid" {
			if body.Data.Object.Parent == nil || body.Data.Object.Parent.Details.Subscription != id {
				t.Errorf("invoice.paid points at %+v", body.Data.Object.Parent)
			}
		}
	}
	if got := w.bySub[id].last; got == "" {
		t.Error("its events were not understood")
	}
}

func TestEventsThatLeadNowhere(t *testing.T) {
	w := small(t)
	before := len(w.Drift())
	for range 20 {
		for _, step := range []Step{must(t)(w.UnknownSubscription()), must(t)(w.IrrelevantEvent())} {
			for _, m := range step.Messages {
				webhookOf(t, w, m)
			}
		}
	}
	if after := len(w.Drift()); after != before {
		t.Errorf("%d differences, then %d", before, after)
	}
}

func TestZuoraStepsDriftAndLogIn(t *testing.T) {
	for name, do := range map[string]func(*World, string) (Step, error){
		"plan": (*World).ChangePlanInZuora, "renew": (*World).RenewInZuora, "cancel": (*World).CancelInZuora,
		"payment": (*World).ChangePaymentInZuora, "move": (*World).MoveInZuora,
	} {
		t.Run(name, func(t *testing.T) {
			c := equalOnes(t)
			before := len(c.w.Drift())
			step := must(t)(do(c.w, c.account))
			_, _, claims := loginOfMessage(t, step.Messages[0])
			if claims["sub"] != c.w.byID[c.account].User || !c.w.byID[c.account].changed {
				t.Errorf("%v logged in", claims["sub"])
			}
			if after := len(c.w.Drift()); after <= before {
				t.Errorf("%d differences, then %d", before, after)
			}
		})
	}
}

// TestOrdersEndEqual: the echo comes first, Limio's own record later, and what
// is written between the two is an echo of the program under test.
func TestOrdersEndEqual(t *testing.T) {
	w := New(Config{Seed: 3, Accounts: 30, Subscriptions: 30})
	baseline := len(w.Drift())
	kinds := map[string]bool{}
	for n := range 36 {
		do, source := w.ShopOrder, "shop"
		if n%2 == 1 {
			do, source = w.SalesforceOrder, "salesforce"
		}
		var id, sub string
		if n%3 == 0 {
			s := w.pick(t, roleOrder)
			id, sub = s.ID, s.Limio
		} else {
			id = w.accounts[len(w.accounts)-30+[]int{2, 6, 12, 16, 22, 26}[n%6]].ID
		}
		step, err := do(id)
		if errors.Is(err, ErrUnable) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if sub == "" {
			sub = w.windows[len(w.windows)-1].sub
		}
		for _, m := range step.Messages {
			if m.Topic == TopicLogins {
				loginOfMessage(t, m)
				orders := w.zuora.Orders(w.numberOf(sub))
				if last := orders[len(orders)-1]; last.Source != source {
					t.Errorf("the order in Zuora is of %q, want %q", last.Source, source)
				}
				continue
			}
			var body webhookBody
			_ = json.Unmarshal(m.Value, &body)
			if body.ID != "" && (body.Request.ID == nil || body.Data.Object.Metadata[SourceKey] != source) {
				t.Errorf("%s of a %s order says %v %v", body.Type, source, body.Request.ID, body.Data.Object.Metadata)
			}
		}
		if len(w.Drift()) <= baseline && n%3 == 0 {
			t.Errorf("order %d changed nothing", n)
		}
		if n == 3 {
			writeAsDaemon(t, w, sub)
		}
		must(t)(step.Next())
		orders := with(w.limio.Related(sub), limio.TypeOrder, "source", source)
		if len(orders) == 0 {
			t.Fatalf("Limio has no order on %s", sub)
		}
		kinds[orders[len(orders)-1].Text("order_type")] = true
		if after := w.Drift(); len(after) > baseline {
			t.Fatalf("order %d (%s) left %v", n, id, after)
		}
	}
	for _, kind := range []string{"renew", "change_offer", "cancel_subscription", "change_payment"} {
		if !kinds[kind] {
			t.Errorf("there was no order of kind %s: %v", kind, kinds)
		}
	}
	loops := w.Loops()
	if len(loops) != 1 || loops[0].Rule != "echo" {
		t.Errorf("want the one write in between as an echo, got %v", loops)
	}
}

func (w *World) numberOf(limioID string) string {
	o, _ := w.limio.Get(limioID)
	return o.Text("reference")
}

func writeAsDaemon(t *testing.T, w *World, id string) {
	t.Helper()
	if err := w.limio.UpdateAs(limio.ByAPI, id, func(json map[string]any) { set(json, "data.touched", true) }); err != nil {
		t.Fatal(err)
	}
}

func TestPoison(t *testing.T) {
	w := small(t)
	for _, topic := range []string{TopicLogins, TopicStripe} {
		for _, kind := range Poisons() {
			step, err := w.Poison(topic, kind)
			if kind == WrongSignature && topic == TopicLogins {
				if err == nil {
					t.Error("a login has no signature")
				}
				continue
			}
			m := must(t)(step, err).Messages[0]
			var object map[string]any
			err = json.Unmarshal(m.Value, &object)
			if readable := kind == TwoMegabytes || kind == WrongSignature; (err == nil) != readable || m.Topic != topic {
				t.Errorf("%s on %s reads as %v", kind, topic, err)
			}
			if big := len(m.Value) > 2<<20; big != (kind == TwoMegabytes) {
				t.Errorf("%s has %d bytes", kind, len(m.Value))
			}
		}
	}
}

func TestStepsSayWhatIsWrong(t *testing.T) {
	w := small(t)
	for name, do := range map[string]func() (Step, error){
		"user":         func() (Step, error) { return w.Login("nobody") },
		"account":      func() (Step, error) { return w.MoveInZuora("nothing") },
		"subscription": func() (Step, error) { return w.RenewSubscription("sub_nothing") },
		"order":        func() (Step, error) { return w.ShopOrder("sub_nothing") },
		"order, zuora": func() (Step, error) { return w.SalesforceOrder("nothing") },
		"flap":         func() (Step, error) { return w.Flap("sub_nothing") },
		"refused":      func() (Step, error) { return w.Refused("sub_nothing") },
		"odd login":    func() (Step, error) { return w.OddLogin("strange") },
		"poison":       func() (Step, error) { return w.Poison(TopicStripe, "arsenic") },
		"topic":        func() (Step, error) { return w.Poison("elsewhere", NotJSON) },
	} {
		if step, err := do(); err == nil || step.Messages != nil {
			t.Errorf("%s: %v, %v", name, step, err)
		}
	}
}

// TestTheSameSeedSaysTheSame: ids, tokens, signatures and all.
func TestTheSameSeedSaysTheSame(t *testing.T) {
	day := func() []Message {
		w := small(t)
		var out []Message
		add := func(s Step, err error) {
			for {
				out = append(out, must(t)(s, err).Messages...)
				if s.Next == nil {
					return
				}
				s, err = s.Next()
			}
		}
		for _, u := range w.Users() {
			add(w.Login(u.ID))
		}
		for _, kind := range OddLogins() {
			add(w.OddLogin(kind))
		}
		add(w.RenewSubscription(w.pick(t, roleFree).ID))
		add(w.Dunning(w.pick(t, roleFree).ID))
		add(w.ShopOrder(w.pick(t, roleOrder).ID))
		add(w.ChangePlanInZuora(w.accounts[1].ID))
		add(w.Poison(TopicStripe, Binary))
		return out
	}
	a, b := day(), day()
	if len(a) != len(b) {
		t.Fatalf("%d messages, then %d", len(a), len(b))
	}
	for i := range a {
		if !bytes.Equal(a[i].Value, b[i].Value) || !bytes.Equal(a[i].Key, b[i].Key) {
			t.Fatalf("message %d was %.300s and is %.300s", i, a[i].Value, b[i].Value)
		}
	}
	other := New(Config{Seed: 8, Clock: small(t).clock, Accounts: 1, Subscriptions: 1})
	if other.accounts[0].ID == small(t).accounts[0].ID {
		t.Error("another seed makes the same ids")
	}
}
