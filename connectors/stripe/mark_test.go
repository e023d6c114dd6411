package stripe

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vendor "github.com/stripe/stripe-go/v76"
	"pgregory.net/rapid"

	"hotsync/internal/secret"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	sandbox "hotsync/sandbox/stripe"
)

// marks reads the whole list with c.
func (w *world) marks(t fataler, c *Client) map[string]record.Mark {
	out := map[string]record.Mark{}
	for cursor := ""; ; {
		page, err := c.Glimpses(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range page.Glimpses {
			if _, twice := out[g.Key.ID]; twice {
				t.Fatalf("%s is listed twice", g.Key)
			}
			out[g.Key.ID] = g.Mark
		}
		if cursor = page.Next; cursor == "" {
			return out
		}
	}
}

// The list and the single read give the same mark, whatever kind of
// subscription it is and wherever the card comes from.
func TestMarkIsTheSameFromBothReads(t *testing.T) {
	kinds := map[string]func(t *testing.T, w *world) string{
		"active": func(t *testing.T, w *world) string { return w.subscribe(t, sandbox.SubscriptionParams{}) },
		"with metadata": func(t *testing.T, w *world) string {
			return w.subscribe(t, sandbox.SubscriptionParams{Metadata: map[string]string{"b": "2", "a": "1", "limio_subscription_id": "sub-1"}})
		},
		"trialing": func(t *testing.T, w *world) string {
			return w.subscribe(t, sandbox.SubscriptionParams{TrialEnd: start.AddDate(0, 0, 14)})
		},
		"past due": func(t *testing.T, w *world) string {
			id := w.subscribe(t, sandbox.SubscriptionParams{FailFrom: start.Add(time.Hour)})
			w.advance(29 * 24 * time.Hour)
			return id
		},
		"incomplete": func(t *testing.T, w *world) string {
			return w.subscribe(t, sandbox.SubscriptionParams{FailFrom: start})
		},
		"canceled": func(t *testing.T, w *world) string {
			id := w.subscribe(t, sandbox.SubscriptionParams{})
			must(t, w.CancelNow(id, sandbox.ByRequest("")))
			return id
		},
		"ending": func(t *testing.T, w *world) string {
			id := w.subscribe(t, sandbox.SubscriptionParams{})
			must(t, w.CancelAtPeriodEnd(id, true, sandbox.ByRequest("")))
			return id
		},
		"ending later": func(t *testing.T, w *world) string {
			id := w.subscribe(t, sandbox.SubscriptionParams{})
			must(t, w.CancelAt(id, start.AddDate(0, 5, 0), sandbox.ByRequest("")))
			return id
		},
		"paused": func(t *testing.T, w *world) string {
			must(t, w.DetachPaymentMethod(w.card.ID, sandbox.ByRequest("")))
			id := w.subscribe(t, sandbox.SubscriptionParams{TrialEnd: start.AddDate(0, 0, 2), MissingPaymentMethod: "pause"})
			w.advance(3 * 24 * time.Hour)
			return id
		},
		"collection paused": func(t *testing.T, w *world) string {
			id := w.subscribe(t, sandbox.SubscriptionParams{})
			must(t, w.PauseCollection(id, "keep_as_draft", start.AddDate(0, 2, 0), sandbox.ByRequest("")))
			return id
		},
		"draft hour": func(t *testing.T, w *world) string {
			id := w.subscribe(t, sandbox.SubscriptionParams{})
			w.advance(28*24*time.Hour + time.Minute)
			return id
		},
		"no card": func(t *testing.T, w *world) string {
			must(t, w.DetachPaymentMethod(w.card.ID, sandbox.ByRequest("")))
			return w.subscribe(t, sandbox.SubscriptionParams{})
		},
		"direct debit": func(t *testing.T, w *world) string {
			_, err := w.AddPaymentMethod(sandbox.PaymentMethodParams{Customer: w.customer.ID, Type: "sepa_debit", Last4: "3000", Default: true})
			must(t, err)
			return w.subscribe(t, sandbox.SubscriptionParams{})
		},
		"deleted customer": func(t *testing.T, w *world) string {
			id := w.subscribe(t, sandbox.SubscriptionParams{})
			must(t, w.DeleteCustomer(w.customer.ID, sandbox.ByRequest("")))
			return id
		},
		"legacy source": func(t *testing.T, w *world) string {
			cus, err := w.AddCustomer(sandbox.CustomerParams{})
			must(t, err)
			w.customer = cus
			_, err = w.AddPaymentMethod(sandbox.PaymentMethodParams{Customer: cus.ID, Legacy: true, Card: sandbox.Card{Brand: "amex", Last4: "0005"}})
			must(t, err)
			return w.subscribe(t, sandbox.SubscriptionParams{})
		},
		"a card of its own": func(t *testing.T, w *world) string {
			pm, err := w.AddPaymentMethod(sandbox.PaymentMethodParams{Customer: w.customer.ID, Card: sandbox.Card{Brand: "mastercard", Last4: "4444"}})
			must(t, err)
			return w.subscribe(t, sandbox.SubscriptionParams{DefaultPaymentMethod: pm.ID})
		},
		"yen": func(t *testing.T, w *world) string {
			return w.subscribe(t, sandbox.SubscriptionParams{Item: sandbox.ItemParams{Amount: 980, Currency: "jpy"}})
		},
		"by invoice": func(t *testing.T, w *world) string {
			return w.subscribe(t, sandbox.SubscriptionParams{CollectionMethod: sandbox.SendInvoice})
		},
		"ten items": func(t *testing.T, w *world) string {
			return w.subscribe(t, sandbox.SubscriptionParams{Items: items(10)})
		},
		"more items than are shown": func(t *testing.T, w *world) string {
			return w.subscribe(t, sandbox.SubscriptionParams{Items: items(11)})
		},
	}
	for name, build := range kinds {
		for _, from := range []string{CardFromCustomer, CardFromSubscriptionFirst} {
			t.Run(name+", card from "+from, func(t *testing.T) {
				w := newWorld(t)
				w.subscribe(t, sandbox.SubscriptionParams{}) // one beside it
				id := build(t, w)
				c := w.client(t, ClientConfig{CardFrom: from})
				single, err := c.Subscription(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				listed := w.marks(t, c)
				if len(listed) != 2 || listed[id] != single.Mark {
					t.Errorf("listed %v, read %q", listed, single.Mark)
				}
				if cut := name == "more items than are shown"; cut != (single.Mark == "") {
					t.Errorf("mark %q, want none only where the list does not show all", single.Mark)
				}
			})
		}
	}
}

func items(n int) []sandbox.ItemParams {
	var out []sandbox.ItemParams
	for i := range n {
		out = append(out, sandbox.ItemParams{Product: fmt.Sprintf("Part %d", i), Amount: int64(100 + i), Currency: "eur"})
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// seen is what a full read returns, but for what Glimpses says that no mark can
// show: invoices older than the latest one.
func seen(w *world, s record.Subscription) record.Subscription {
	sub, _ := w.Server.Subscription(s.ID)
	s.Mark = ""
	s.Buyer = record.Address{} // for an order only: no plan compares it
	s.Schedules = slices.DeleteFunc(slices.Clone(s.Schedules), func(p record.Schedule) bool { return p.ID != "" && p.ID != sub.LatestInvoice })
	return s
}

// Whatever happens at Stripe: when a full read changes, so does the mark, and
// both reads agree on it. No event is needed: what happens is told to nobody.
func TestMarkFollowsEveryChange(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := quietWorld(rt)
		c, err := NewClient(ClientConfig{BaseURL: w.url, Key: secret.New("sk_test_sandbox"),
			CardFrom: rapid.SampledFrom([]string{CardFromCustomer, CardFromSubscriptionFirst}).Draw(rt, "card from")})
		if err != nil {
			rt.Fatal(err)
		}
		ids := []string{"sub_1", "sub_2", "sub_3"}
		before := map[string]record.Subscription{}
		check := func(after string, ids ...string) {
			listed := w.marks(rt, c)
			for _, id := range ids {
				now, err := c.Subscription(rt.Context(), id)
				if err != nil {
					rt.Fatal(err)
				}
				if now.Mark == "" || listed[id] != now.Mark {
					rt.Fatalf("after %s: listed %q, read %q", after, listed[id], now.Mark)
				}
				was := before[id]
				if diff := cmp.Diff(seen(w, was), seen(w, now)); diff != "" && was.Mark == now.Mark {
					rt.Fatalf("after %s the mark of %s is as before, though (-was +is):\n%s", after, id, diff)
				}
				before[id] = now
			}
		}
		check("the start", ids...)
		for range rapid.IntRange(1, 7).Draw(rt, "steps") {
			id := rapid.SampledFrom(ids).Draw(rt, "subscription")
			check(shake(rt, w, id), id)
		}
		check("the end", ids...)
	})
}

// fataler is a test or a property.
type fataler interface {
	Context() context.Context
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// shake makes one change, which may be refused, and says which.
func shake(rt *rapid.T, w *world, id string) string {
	one := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(rt, name) }
	by := sandbox.ByRequest("")
	sub, _ := w.Server.Subscription(id)
	changes := map[string]func(){
		"a day":           func() { w.advance(24 * time.Hour) },
		"a month":         func() { w.advance(30 * 24 * time.Hour) },
		"an hour":         func() { w.advance(time.Hour + time.Minute) },
		"renewed":         func() { _ = w.RenewNow(id, true) },
		"renewed, unpaid": func() { _ = w.RenewNow(id, false) },
		"payments fail":   func() { _ = w.FailPayments(id, true) },
		"payments go on":  func() { _ = w.FailPayments(id, false) },
		"cancelled":       func() { _ = w.CancelNow(id, by) },
		"at period end":   func() { _ = w.CancelAtPeriodEnd(id, rapid.Bool().Draw(rt, "on"), by) },
		"at a date":       func() { _ = w.CancelAt(id, w.Clock.Now().AddDate(0, rapid.IntRange(1, 4).Draw(rt, "months"), 0), by) },
		"metadata":        func() { _ = w.SetMetadata(id, map[string]string{one("key", "a", "b"): one("value", "", "1", "2")}, by) },
		"plan": func() {
			_ = w.ChangePlan(id, sandbox.ItemParams{Amount: rapid.Int64Range(1, 3).Draw(rt, "amount")}, by)
		},
		"quantity": func() {
			_ = w.ChangePlan(id, sandbox.ItemParams{Amount: sub.Items[0].Price.UnitAmount, Quantity: rapid.Int64Range(1, 3).Draw(rt, "n")}, by)
		},
		"product": func() { _ = w.ChangePlan(id, sandbox.ItemParams{Amount: 1, Product: one("product", "X", "Y")}, by) },
		"interval": func() {
			_ = w.ChangePlan(id, sandbox.ItemParams{Amount: 1, Interval: one("interval", "week", "year")}, by)
		},
		"pause": func() {
			_ = w.PauseCollection(id, one("behaviour", "", "void", "keep_as_draft", "mark_uncollectible"), time.Time{}, by)
		},
		"resumed":         func() { _ = w.Resume(id, by) },
		"card of its own": func() { _ = w.SetDefaultPaymentMethod(id, one("card", "", "pm_one", "pm_two"), by) },
		"customer's card": func() {
			_ = w.SetCustomerDefaultPaymentMethod(sub.Customer, one("card", "", "pm_one", "pm_two", "card_old"), by)
		},
		"card replaced": func() {
			_ = w.UpdateCard(one("card", "pm_one", "pm_two", "card_old"), sandbox.CardChange{ExpYear: rapid.IntRange(2028, 2030).Draw(rt, "year"), Last4: one("last4", "", "1111")}, sandbox.ByStripe())
		},
		"card detached": func() { _ = w.DetachPaymentMethod(one("card", "pm_one", "pm_two", "card_old"), by) },
		"customer renamed": func() {
			name := one("name", "A", "B")
			_ = w.UpdateCustomer(sub.Customer, sandbox.CustomerChange{Name: &name}, by)
		},
		"customer deleted": func() { _ = w.DeleteCustomer(sub.Customer, by) },
		"latest paid":      func() { _ = w.PayInvoice(sub.LatestInvoice, rapid.Bool().Draw(rt, "out of band"), by) },
		"latest voided":    func() { _ = w.VoidInvoice(sub.LatestInvoice, by) },
		"latest given up":  func() { _ = w.MarkUncollectible(sub.LatestInvoice, by) },
	}
	names := make([]string, 0, len(changes))
	for name := range changes {
		names = append(names, name)
	}
	slices.Sort(names)
	name := rapid.SampledFrom(names).Draw(rt, "change")
	changes[name]()
	return name
}

// quietWorld is a world that makes no events at all, whose customer has three
// cards.
func quietWorld(rt *rapid.T) *world {
	w := &world{Server: sandbox.New(sandbox.Config{Clock: httpsim.FrozenClock(start), Seed: 7,
		DunningEnd: rapid.SampledFrom([]sandbox.DunningEnd{sandbox.DunningUnpaid, sandbox.DunningCancel, sandbox.DunningPastDue}).Draw(rt, "dunning")})}
	w.SetQuiet(true)
	srv := httptest.NewServer(w)
	rt.Cleanup(srv.Close)
	w.url = srv.URL
	cus, err := w.AddCustomer(sandbox.CustomerParams{})
	if err != nil {
		rt.Fatal(err)
	}
	w.customer = cus
	for _, p := range []sandbox.PaymentMethodParams{{ID: "pm_one", Default: true}, {ID: "pm_two"}, {ID: "card_old", Legacy: true}} {
		p.Customer = cus.ID
		if _, err := w.AddPaymentMethod(p); err != nil {
			rt.Fatal(err)
		}
	}
	for _, p := range []sandbox.SubscriptionParams{{ID: "sub_1"}, {ID: "sub_2", DefaultPaymentMethod: "pm_two", TrialEnd: start.AddDate(0, 0, 9), MissingPaymentMethod: "pause"},
		{ID: "sub_3", CollectionMethod: sandbox.SendInvoice}} {
		p.Customer, p.Item = cus.ID, sandbox.ItemParams{Amount: 2, Currency: "eur"}
		if _, err := w.AddSubscription(p); err != nil {
			rt.Fatal(err)
		}
	}
	return w
}

// What the plan does not depend on leaves the mark alone, so that a sweep does
// not look at everything; what it may depend on moves it.
func TestMarkOf(t *testing.T) {
	w := newWorld(t)
	id := w.subscribe(t, sandbox.SubscriptionParams{})
	c := w.client(t, ClientConfig{})
	base := func() *vendor.Subscription {
		sub, err := c.get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return sub
	}
	mark := c.mark(base())
	same := map[string]func(*vendor.Subscription){
		"attempts":       func(s *vendor.Subscription) { s.LatestInvoice.AttemptCount++ },
		"link":           func(s *vendor.Subscription) { s.LatestInvoice.HostedInvoiceURL += "?s=ap" },
		"next attempt":   func(s *vendor.Subscription) { s.LatestInvoice.NextPaymentAttempt++ },
		"next number":    func(s *vendor.Subscription) { s.Customer.NextInvoiceSequence++ },
		"name":           func(s *vendor.Subscription) { s.Customer.Name += "x" },
		"payment intent": func(s *vendor.Subscription) { s.LatestInvoice.PaymentIntent = nil },
	}
	for name, change := range same {
		sub := base()
		if change(sub); c.mark(sub) != mark {
			t.Errorf("%s moves the mark", name)
		}
	}
	other := map[string]func(*vendor.Subscription){
		"discount":          func(s *vendor.Subscription) { s.Discount = &vendor.Discount{ID: "di_1"} },
		"coupon":            func(s *vendor.Subscription) { s.Discount = &vendor.Discount{Coupon: &vendor.Coupon{PercentOff: 12.5}} },
		"customer discount": func(s *vendor.Subscription) { s.Customer.Discount = &vendor.Discount{ID: "di_1"} },
		"schedule":          func(s *vendor.Subscription) { s.Schedule = &vendor.SubscriptionSchedule{ID: "sub_sched_1"} },
		"tax rate":          func(s *vendor.Subscription) { s.DefaultTaxRates = []*vendor.TaxRate{{ID: "txr_1"}} },
		"tax rate of item":  func(s *vendor.Subscription) { s.Items.Data[0].TaxRates = []*vendor.TaxRate{{ID: "txr_1"}} },
		"automatic tax":     func(s *vendor.Subscription) { s.AutomaticTax.Enabled = true },
		"tax exempt":        func(s *vendor.Subscription) { s.Customer.TaxExempt = "exempt" },
		"owes":              func(s *vendor.Subscription) { s.Customer.Delinquent = true },
		"due date":          func(s *vendor.Subscription) { s.LatestInvoice.DueDate = 1 },
		"line":              func(s *vendor.Subscription) { s.LatestInvoice.Lines.Data[0].Description = "x" },
		"no invoice":        func(s *vendor.Subscription) { s.LatestInvoice = nil },
		"fraction of price": func(s *vendor.Subscription) { s.Items.Data[0].Price.UnitAmountDecimal += 0.5 },
	}
	for name, change := range other {
		sub := base()
		if change(sub); c.mark(sub) == mark || c.mark(sub) == "" {
			t.Errorf("%s does not move the mark", name)
		}
	}
	none := map[string]func(*vendor.Subscription){
		"more items": func(s *vendor.Subscription) { s.Items.HasMore = true },
		"metered": func(s *vendor.Subscription) {
			s.Items.Data[0].Price.Recurring.UsageType = vendor.PriceRecurringUsageTypeMetered
		},
		"customer not expanded": func(s *vendor.Subscription) { s.Customer = &vendor.Customer{ID: s.Customer.ID} },
		"invoice not expanded":  func(s *vendor.Subscription) { s.LatestInvoice = &vendor.Invoice{ID: s.LatestInvoice.ID} },
		"no items":              func(s *vendor.Subscription) { s.Items = nil },
	}
	for name, change := range none {
		sub := base()
		if change(sub); c.mark(sub) != "" {
			t.Errorf("%s: there is a mark, though the list does not show all", name)
		}
	}
	mapped := w.client(t, ClientConfig{StatusMap: map[string]string{"active": "leave"}})
	if mapped.mark(base()) == mark {
		t.Error("another status map gives the same mark, though other plans")
	}
}

// What no mark shows is what Glimpses says: an older invoice. Where it was owed
// the customer's delinquency tells of it.
func TestMarkAndOlderInvoices(t *testing.T) {
	for _, owed := range []bool{false, true} {
		w := newWorld(t)
		id := w.subscribe(t, sandbox.SubscriptionParams{CollectionMethod: sandbox.SendInvoice, DaysUntilDue: 90})
		if owed {
			id = w.subscribe(t, sandbox.SubscriptionParams{})
			must(t, w.RenewNow(id, false))
			must(t, w.FailPayments(id, false))
		}
		must(t, w.RenewNow(id, true))
		c := w.client(t, ClientConfig{})
		was, err := c.Subscription(t.Context(), id)
		must(t, err)
		all := w.Invoices(id)
		i := slices.IndexFunc(all, func(inv sandbox.Invoice) bool { return inv.Status == sandbox.InvoiceOpen })
		if i < 0 || i == len(all)-1 {
			t.Fatalf("no older invoice is open: %+v", all)
		}
		must(t, w.PayInvoice(all[i].ID, true, sandbox.ByRequest("")))
		now, err := c.Subscription(t.Context(), id)
		must(t, err)
		if cmp.Equal(was.Schedules, now.Schedules) {
			t.Fatal("the payment shows in no schedule")
		}
		if moved := was.Mark != now.Mark; moved != owed {
			t.Errorf("owed %t: the mark moved %t", owed, moved)
		}
	}
}
