package world

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
)

// subscription is a Stripe subscription with what the world knows of it.
type subscription struct {
	Subscription
	role    role
	changed bool      // since the world began
	ending  bool      // cancelled, or set to end: not renewed any more
	free    time.Time // from when on it may be changed again
	last    string    // the newest event about it
}

// stripeSeed says what is special about a subscription.
type stripeSeed struct {
	id        string
	currency  string
	amount    int64
	role      role
	born      bool // sold by Limio
	drifted   bool
	unlinked  bool
	link      string // a Limio id that is not there
	customer  string // Limio's, when it exists already
	noCard    bool
	legacy    bool
	bank      bool
	params    func(p *stripe.SubscriptionParams)
	after     func(sub, customer string) error // before Limio is told
	late      func(sub, customer string) error // after that, so that Limio has drifted
	periodEnd time.Time
}

func (w *World) stripeCard() stripe.Card {
	return stripe.Card{
		Brand: one(w.rnd, []string{"visa", "mastercard", "amex"}), Last4: fmt.Sprintf("%04d", w.rnd.IntN(10000)),
		ExpMonth: 1 + w.rnd.IntN(12), ExpYear: w.clock.Now().Year() + 2 + w.rnd.IntN(4),
	}
}

// addSubscription makes a customer with a card and a subscription with its
// history, and Limio's side of it.
func (w *World) addSubscription(seed stripeSeed) error {
	w.stripe.SetQuiet(true)
	defer w.stripe.SetQuiet(false)
	first, last := one(w.rnd, firstNames), one(w.rnd, lastNames)
	email := fmt.Sprintf("customer%d@example.com", w.next())
	end := cmp.Or(seed.periodEnd, w.clock.Now().AddDate(0, 0, 6+w.rnd.IntN(20)).Truncate(time.Hour))
	start := end.AddDate(0, -1-w.rnd.IntN(5), 0)
	c, err := w.stripe.AddCustomer(stripe.CustomerParams{Name: first + " " + last, Email: email, Created: start})
	if err != nil {
		return err
	}
	if !seed.noCard {
		m := stripe.PaymentMethodParams{Customer: c.ID, Card: w.stripeCard(), Default: true, Legacy: seed.legacy, Created: start}
		if seed.bank {
			m.Type, m.Card, m.Last4, m.Country = "sepa_debit", stripe.Card{}, "3000", "DE"
		}
		if _, err := w.stripe.AddPaymentMethod(m); err != nil {
			return err
		}
	}
	p := one(w.rnd, plans)
	params := stripe.SubscriptionParams{
		ID: cmp.Or(seed.id, "sub_1"+w.alnum(23)), Customer: c.ID, Start: start, Metadata: map[string]string{},
		Item: stripe.ItemParams{Product: p.name, Currency: cmp.Or(seed.currency, "eur"), Amount: cmp.Or(seed.amount, p.price)},
	}
	if seed.link != "" {
		params.Metadata[LinkKey] = seed.link
	}
	if seed.params != nil {
		seed.params(&params)
	}
	sub, err := w.stripe.AddSubscription(params)
	if err == nil && seed.after != nil {
		err = seed.after(sub.ID, c.ID)
	}
	if err != nil {
		return err
	}
	s := &subscription{Subscription: Subscription{
		ID: sub.ID, Customer: c.ID, Drifted: seed.drifted, Observed: strings.HasPrefix(sub.ID, ObservedPrefix),
	}, role: seed.role}
	w.subs = append(w.subs, s)
	w.bySub[s.ID] = s
	if seed.unlinked || seed.link != "" {
		return nil
	}
	customer := seed.customer
	if customer == "" {
		customer, _ = w.limio.AddCustomer(limio.CustomerParams{Name: first + " " + last, FirstName: first, LastName: last, Email: email})
	}
	s.Limio = w.migrateStripe(sub.ID, customer, p.name, seed.born)
	if err := w.stripe.SetMetadata(sub.ID, map[string]string{LinkKey: s.Limio}, stripe.ByRequest("")); err != nil {
		return err
	}
	switch now, _ := w.stripe.Subscription(sub.ID); {
	case seed.late != nil:
		s.ending, s.Drifted = true, true
		return seed.late(sub.ID, c.ID)
	case seed.drifted:
		return w.driftStripe(s)
	default:
		s.ending = !now.CancelAt.IsZero()
		return nil
	}
}

func (w *World) seedStripe() error {
	for i, s := range w.hardSubscriptions() {
		if err := w.addSubscription(s); err != nil {
			return fmt.Errorf("hard subscription %d: %w", i, err)
		}
	}
	for n := range w.cfg.Subscriptions {
		s := stripeSeed{born: n%2 == 0}
		switch {
		case n%5 == 2:
			s.role, s.born = roleOrder, false // equal to the letter, so that any write is an echo
		case n%12 == 7:
			s.role = roleRenew
			s.periodEnd = w.clock.Now().Add(time.Duration(5+2*(n/12)) * time.Second).Truncate(time.Second)
		case n%9 == 4:
			s.drifted = true
		case n%10 == 3:
			s.currency = "usd"
		}
		if err := w.addSubscription(s); err != nil {
			return fmt.Errorf("subscription %d: %w", n, err)
		}
	}
	return nil
}

// hardSubscriptions are one for each hard case.
func (w *World) hardSubscriptions() []stripeSeed {
	now := w.clock.Now()
	mixed := "" // a Limio customer that is billed in both systems
	for _, a := range w.accounts {
		if a.Migrated && a.role == roleFree && !a.Drifted {
			c, _ := w.limio.CustomerByAccount("zuora", a.ID)
			mixed = c.ID
			break
		}
	}
	ownCard := func(sub, customer string) error {
		m, err := w.stripe.AddPaymentMethod(stripe.PaymentMethodParams{Customer: customer, Card: w.stripeCard()})
		if err != nil {
			return err
		}
		return w.stripe.SetDefaultPaymentMethod(sub, m.ID, stripe.ByRequest(""))
	}
	return []stripeSeed{
		{currency: "jpy", amount: 980},
		{currency: "jpy", amount: 1200, born: true},
		{after: ownCard},                                   // its own card is not the customer's
		{noCard: true, role: roleQuiet, params: byInvoice}, // no default card at all
		{legacy: true},
		{bank: true},
		{params: func(p *stripe.SubscriptionParams) { p.TrialEnd = now.AddDate(0, 0, 10) }, role: roleQuiet, periodEnd: now.AddDate(0, 0, 20)},
		{params: byInvoice, role: roleQuiet},
		{params: func(p *stripe.SubscriptionParams) { p.FailFrom = p.Start.Add(time.Hour) }, role: roleQuiet}, // past due
		{role: roleQuiet, after: func(sub, _ string) error { return w.stripe.CancelAt(sub, now.AddDate(0, 4, 0), stripe.ByRequest("")) }},
		{role: roleQuiet, after: func(sub, _ string) error { return w.stripe.CancelAtPeriodEnd(sub, true, stripe.ByRequest("")) }},
		{role: roleQuiet, late: func(_, customer string) error { return w.stripe.DeleteCustomer(customer, stripe.ByRequest("")) }},
		{customer: mixed},
		{unlinked: true, role: roleQuiet}, {unlinked: true, role: roleQuiet},
		{link: "sub-" + w.hex(32), role: roleQuiet}, // linked to a record that Limio does not have
		{id: ObservedPrefix + "1" + w.alnum(16), role: roleWatch}, {id: ObservedPrefix + "2" + w.alnum(16), role: roleWatch, born: true},
		{id: ObservedPrefix + "3" + w.alnum(16), role: roleWatch, drifted: true},
		{role: roleFlap}, {role: roleFlap, born: true},
		{role: roleDenied}, {role: roleDenied},
	}
}

func byInvoice(p *stripe.SubscriptionParams) {
	p.CollectionMethod, p.DaysUntilDue = stripe.SendInvoice, 60
}
