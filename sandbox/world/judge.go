package world

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"hotsync/sandbox/limio"
)

// Difference is a field in which Limio is not what its billing system says.
type Difference struct {
	System string // "zuora" or "stripe"
	ID     string // Zuora account id, or Stripe subscription id
	Field  string // such as "subscription A-S00000012 status"
	Want   string
	Have   string
}

// String is a difference on one line.
func (d Difference) String() string {
	return fmt.Sprintf("%s %s: %s: want %q, have %q", d.System, d.ID, d.Field, d.Want, d.Have)
}

// Drift compares both sides of every record that must be in sync: each Zuora
// account that was migrated or whose user has logged in, and each Stripe
// subscription that is linked to Limio.
//
// Of an account: that there is exactly one customer with its identity; the
// customer's name and e-mail; a Salesforce identity when it has a CRM id; per
// latest subscription that is no draft that there is exactly one in Limio, of
// that customer, with status, term dates and auto-renew; its offers, unless Limio sold them;
// each payment method, and no active one that Zuora lacks; both addresses, the
// newest of a kind counting. An account without subscriptions needs no
// customer, since only subscriptions are imported.
//
// Of a Stripe subscription: status and term dates; for each paid, draft, open
// and upcoming invoice exactly one live payment with status, amount, currency
// and day; no other live payment in the future, no other unpaid one in the
// current term, none of a voided invoice; id, brand, last four and expiry of
// the customer's default payment method.
func (w *World) Drift() []Difference {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Difference
	ix := w.indexLimio()
	for _, a := range w.accounts {
		if a.Migrated || a.loggedIn {
			if state, ok := w.zuora.Account(a.ID); ok {
				out = append(out, w.accountDrift(w.wantAccount(state), ix)...)
			}
		}
	}
	for _, s := range w.subs {
		if s.Limio != "" {
			out = append(out, w.stripeDrift(s.ID, s.Limio)...)
		}
	}
	return out
}

// Calls returns how many calls each simulator has had: "zuora", "stripe",
// "limio", tokens included.
func (w *World) Calls() map[string]int {
	sum := func(routes map[string]int) (n int) {
		for _, calls := range routes {
			n += calls
		}
		return n
	}
	return map[string]int{"zuora": sum(w.zuora.Calls()), "stripe": sum(w.stripe.Calls()), "limio": sum(w.limio.Calls())}
}

// index finds what should be there once, to see that it is.
type index struct {
	owners  map[string][]string // customers by service and value of an account identity
	numbers map[string][]string // Limio subscriptions by Zuora number
}

func (w *World) indexLimio() index {
	ix := index{owners: map[string][]string{}, numbers: map[string][]string{}}
	for _, o := range w.limio.Objects(limio.TypeIdentity) {
		if service := o.Text("data.service"); o.Text("data.issuer") == service && o.Text("data.type") == "account" {
			key := service + " " + o.Text("data.value")
			ix.owners[key] = append(ix.owners[key], o.Text("customer"))
		}
	}
	for _, o := range w.limio.Objects(limio.TypeSubscription) {
		number := cmp.Or(o.Text("reference"), o.Text("name"))
		ix.numbers[number] = append(ix.numbers[number], o.ID)
	}
	return ix
}

func (w *World) accountDrift(want wantAccount, ix index) []Difference {
	diff := func(field, want2, have string) Difference {
		return Difference{System: "zuora", ID: want.id, Field: field, Want: want2, Have: have}
	}
	customer, ok := w.limio.CustomerByAccount("zuora", want.id)
	if !ok {
		if len(want.subs) == 0 {
			return nil
		}
		return []Difference{diff("customer", "present", "")}
	}
	out := differences("zuora", want.id, "customer", want.customer, customer)
	if owners := ix.owners["zuora "+want.id]; len(owners) != 1 {
		out = append(out, diff("identity zuora", customer.ID, strings.Join(owners, " ")))
	}
	if want.crm != "" && !slices.Contains(ix.owners["salesforce "+want.crm], customer.ID) {
		out = append(out, diff("identity salesforce", want.crm, ""))
	}
	for _, s := range want.subs {
		out = append(out, w.subscriptionDrift(want.id, customer.ID, s, ix)...)
	}
	objects := w.limio.OfCustomer(customer.ID)
	out = append(out, methodDrift(want, objects)...)
	for _, relationship := range []string{"billing", "delivery"} {
		address, wanted := want.addresses[relationship]
		if !wanted {
			continue
		}
		have, ok := newest(objects, func(o limio.Object) bool {
			return o.RecordType == limio.TypeAddress && o.Text("relationship_type") == relationship && o.Text("related") == ""
		})
		if !ok {
			out = append(out, diff("address "+relationship, "present", ""))
			continue
		}
		out = append(out, differences("zuora", want.id, "address "+relationship, address, have)...)
	}
	return out
}

func (w *World) subscriptionDrift(account, customer string, want wantSub, ix index) []Difference {
	what := "subscription " + want.number
	have, ok := w.limio.SubscriptionByNumber(want.number)
	if !ok {
		return []Difference{{System: "zuora", ID: account, Field: what, Want: "present"}}
	}
	out := differences("zuora", account, what, want.fields, have)
	if owner := have.Text("customer"); owner != customer {
		out = append(out, Difference{System: "zuora", ID: account, Field: what + " customer", Want: customer, Have: owner})
	}
	if same := ix.numbers[want.number]; len(same) > 1 {
		out = append(out, Difference{System: "zuora", ID: account, Field: what, Want: "once", Have: strings.Join(same, " ")})
	}
	return append(out, offerDrift(account, what, want, w.limio.Related(have.ID))...)
}

// soldByLimio reports whether a subscription has offers of Limio's own, which
// no sync may touch (stripe-sync.txt).
func soldByLimio(related []limio.Object) bool {
	return slices.ContainsFunc(related, func(o limio.Object) bool {
		return o.RecordType == limio.TypeOffer && o.Text("data.external_id") == ""
	})
}

func offerDrift(account, what string, want wantSub, related []limio.Object) []Difference {
	if soldByLimio(related) {
		return nil
	}
	var out []Difference
	for _, offer := range want.offers {
		same := with(related, limio.TypeOffer, "data.external_id", offer.external)
		field := what + " offer " + offer.external
		if len(same) != 1 {
			out = append(out, Difference{System: "zuora", ID: account, Field: field, Want: "once", Have: fmt.Sprintf("%d times", len(same))})
			continue
		}
		out = append(out, differences("zuora", account, field, offer.fields, same[0])...)
	}
	for _, o := range related {
		external := o.Text("data.external_id")
		if o.RecordType == limio.TypeOffer && o.Text("status") == "active" &&
			!slices.ContainsFunc(want.offers, func(x wantOffer) bool { return x.external == external }) {
			out = append(out, Difference{System: "zuora", ID: account, Field: what + " offer " + external + " status", Want: "cancelled", Have: "active"})
		}
	}
	return out
}

func methodDrift(want wantAccount, objects []limio.Object) []Difference {
	var out []Difference
	for _, m := range want.methods {
		same := with(objects, limio.TypePaymentMethod, "data.zuora.result.Id", m.id)
		switch {
		case len(same) == 1:
			out = append(out, differences("zuora", want.id, "payment method "+m.id, m.fields, same[0])...)
		case len(same) > 1 || m.active: // a closed one that Limio never had is of no use
			out = append(out, Difference{System: "zuora", ID: want.id, Field: "payment method " + m.id, Want: "once", Have: fmt.Sprintf("%d times", len(same))})
		}
	}
	for _, o := range objects {
		id := o.Text("data.zuora.result.Id")
		if o.RecordType == limio.TypePaymentMethod && o.Text("data.type") == "zuora" && o.Text("status") == "active" &&
			!slices.ContainsFunc(want.methods, func(m wantMethod) bool { return m.id == id }) {
			out = append(out, Difference{System: "zuora", ID: want.id, Field: "payment method " + id + " status", Want: "closed", Have: "active"})
		}
	}
	return out
}

func (w *World) stripeDrift(id, limioID string) []Difference {
	want, ok := w.wantStripe(id)
	if !ok {
		return nil
	}
	have, ok := w.limio.Get(limioID)
	if !ok {
		return []Difference{{System: "stripe", ID: id, Field: "subscription " + limioID, Want: "present"}}
	}
	out := differences("stripe", id, "subscription", want.fields, have)
	related := w.limio.Related(limioID)
	out = append(out, w.paymentDrift(id, want, related)...)
	if want.card == nil {
		return out
	}
	card, ok := newest(related, isStripeMethod)
	if !ok {
		return append(out, Difference{System: "stripe", ID: id, Field: "card", Want: "present"})
	}
	return append(out, differences("stripe", id, "card", want.card, card)...)
}

func isStripeMethod(o limio.Object) bool {
	return o.RecordType == limio.TypePaymentMethod && o.Text("data.type") == "stripe"
}

func (w *World) paymentDrift(id string, want wantStripe, related []limio.Object) []Difference {
	schedules := slices.DeleteFunc(slices.Clone(related), func(o limio.Object) bool { return o.RecordType != limio.TypeSchedule })
	found, spare := pairs(want.payments, schedules)
	var out []Difference
	for i, p := range want.payments {
		if !p.live() {
			continue
		}
		name := p.invoice
		if name == "" {
			name = "upcoming"
		}
		have := ""
		if o, ok := found[i]; ok {
			have = shown(o)
		}
		if wanted := p.String(); have != wanted {
			out = append(out, Difference{System: "stripe", ID: id, Field: "payment " + name, Want: wanted, Have: have})
		}
	}
	for _, o := range spare {
		if mustGo(o, want, w.clock.Now()) {
			out = append(out, Difference{System: "stripe", ID: id, Field: "payment " + o.ID, Want: "cancelled", Have: shown(o)})
		}
	}
	return out
}

// shown is a schedule as a Difference shows it, like wantPayment.String.
func shown(o limio.Object) string {
	return strings.Join([]string{o.Text("status"), text("data.amount", o.At("data.amount")), o.Text("data.currency"), dayOf(o.Text("data.date"))}, " ")
}

// newest is the object that started last, among those that fit.
func newest(objects []limio.Object, fits func(limio.Object) bool) (best limio.Object, ok bool) {
	for _, o := range objects {
		if fits(o) && (!ok || o.Text("start") > best.Text("start")) {
			best, ok = o, true
		}
	}
	return best, ok
}

func with(objects []limio.Object, recordType, path, value string) (found []limio.Object) {
	for _, o := range objects {
		if o.RecordType == recordType && o.Text(path) == value {
			found = append(found, o)
		}
	}
	return found
}

// decimal writes minor units of a currency.
func decimal(minor int64, currency string) string { return limio.FormatAmount(minor, currency) }
