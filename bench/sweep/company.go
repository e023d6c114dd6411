package main

import (
	"fmt"
	"strings"
	"time"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
	"hotsync/sandbox/zuora"
)

// company is a large one with plain records: the simulated vendors, and which
// record of Limio belongs to which of a billing system. Nothing in it moves by
// itself, no webhook is ever sent, and Limio begins equal to the billing systems.
type company struct {
	clock    *httpsim.Clock
	zuora    *zuora.Server
	stripe   *stripe.Server
	limio    *limio.Server
	subs     []subscription
	accounts []account
}

// subscription is a Stripe subscription and its Limio record.
type subscription struct{ id, customer, limio string }

// account is a Zuora account with its only subscription, and Limio's records of
// both.
type account struct{ id, number, customer, limio string }

const linkKey = "limio_subscription_id"

// newCompany makes a company with so many Stripe subscriptions and Zuora
// accounts.
func newCompany(subscriptions, accounts int) (*company, error) {
	clock := httpsim.RunningClock()
	c := &company{
		clock: clock, zuora: zuora.New(zuora.Config{Clock: clock, Seed: 1}), stripe: stripe.New(stripe.Config{Clock: clock, Seed: 2}),
		limio: limio.New(limio.Config{Clock: clock, Seed: 3, KeepWrites: -1}),
	}
	c.stripe.SetQuiet(true) // for good: what changes in Stripe is in no event
	for i := range accounts {
		if err := c.addAccount(i); err != nil {
			return nil, fmt.Errorf("seed account %d: %w", i, err)
		}
	}
	for i := range subscriptions {
		if err := c.addSubscription(i); err != nil {
			return nil, fmt.Errorf("seed subscription %d: %w", i, err)
		}
	}
	// Limio took them over in another order than Stripe lists them in, newest
	// first as well. Otherwise the two lists of a sweep would meet: Stripe's ends
	// with the oldest, and those that are just being repaired would be the first
	// in Limio's.
	for i := len(c.subs) - 1; i >= 0; i-- {
		if err := c.moveSubscription(&c.subs[i], i); err != nil {
			return nil, fmt.Errorf("seed Limio's record of subscription %d: %w", i, err)
		}
	}
	return c, nil
}

// addSubscription makes a customer with a card and a monthly subscription that
// was paid once.
func (c *company) addSubscription(i int) error {
	start := c.clock.Now().AddDate(0, 0, -3-i%23)
	cus, err := c.stripe.AddCustomer(stripe.CustomerParams{Name: fmt.Sprintf("Reader %d", i), Email: fmt.Sprintf("reader%d@example.com", i), Created: start})
	if err != nil {
		return err
	}
	card := stripe.PaymentMethodParams{
		Customer: cus.ID, Default: true, Created: start,
		Card: stripe.Card{Brand: "visa", Last4: fmt.Sprintf("%04d", i%10_000), ExpMonth: 1 + i%12, ExpYear: 2031},
	}
	if _, err := c.stripe.AddPaymentMethod(card); err != nil {
		return err
	}
	sub, err := c.stripe.AddSubscription(stripe.SubscriptionParams{
		Customer: cus.ID, Start: start, Item: stripe.ItemParams{Product: "Digital", Currency: "eur", Amount: 990},
	})
	c.subs = append(c.subs, subscription{id: sub.ID, customer: cus.ID})
	return err
}

// moveSubscription makes Limio's record of a Stripe subscription, and the link.
func (c *company) moveSubscription(s *subscription, i int) error {
	sub, _ := c.stripe.Subscription(s.id)
	customer, owner := c.limio.AddCustomer(limio.CustomerParams{Name: fmt.Sprintf("Reader %d", i), Email: fmt.Sprintf("reader%d@example.com", i)})
	s.limio = c.limio.AddSubscription(limio.SubscriptionParams{
		Customer: customer, Owner: owner, Name: "Digital", TermStart: sub.CurrentPeriodStart, TermEnd: sub.CurrentPeriodEnd,
		AutoRenew: true, Imported: true, StripeID: s.id,
	})
	for _, p := range c.payments(sub) {
		c.limio.AddSchedule(limio.ScheduleParams{
			Subscription: s.limio, Status: p.fields["status"], Date: p.date, Amount: p.amount, Currency: p.fields["data.currency"],
			Description: p.fields["data.description"], ExternalID: p.invoice,
		})
	}
	m := c.card(s.customer)
	c.limio.AddPaymentMethod(limio.PaymentMethodParams{
		Customer: customer, Subscription: s.limio, Type: "stripe", Start: sub.CurrentPeriodStart,
		Result: map[string]any{"id": m.ID, "brand": m.Card.Brand, "last4": m.Card.Last4, "exp_month": m.Card.ExpMonth, "exp_year": m.Card.ExpYear},
	})
	return c.stripe.SetMetadata(s.id, map[string]string{linkKey: s.limio}, stripe.ByRequest(""))
}

// addAccount makes an account with a card and an annual subscription, and
// Limio's records of it.
func (c *company) addAccount(i int) error {
	contact := zuora.Contact{
		FirstName: "Ada", LastName: fmt.Sprintf("Reader %d", i), Address1: fmt.Sprintf("%d Quay Street", i), City: "Galway", PostalCode: "H91",
		Country: "Ireland", WorkEmail: fmt.Sprintf("account%d@example.com", i),
	}
	a, err := c.zuora.AddAccount(zuora.Account{Name: "Ada " + contact.LastName, BillTo: &contact})
	if err != nil {
		return err
	}
	card, err := c.zuora.AddPaymentMethod(a.ID, zuoraCard(i))
	if err != nil {
		return err
	}
	if err := c.zuora.SetDefaultPaymentMethod(a.ID, card.ID); err != nil {
		return err
	}
	start := zuora.DateOf(c.clock.Now()).AddDays(-10 - i%300)
	sub, err := c.zuora.AddSubscription(zuora.Subscription{
		AccountID: a.ID, AutoRenew: true, ContractEffectiveDate: start,
		RatePlans: []zuora.RatePlan{{
			ProductName: "Print and Digital", ProductRatePlanID: "prp-print", Name: "Annual",
			Charges: []zuora.Charge{{Name: "Fee", Price: 11988, Quantity: 1, BillingPeriod: "Annual", EffectiveStartDate: start}},
		}},
	}, zuora.Order{})
	if err != nil {
		return err
	}
	c.moveAccount(a, sub, card)
	return nil
}

func zuoraCard(i int) zuora.PaymentMethod {
	return zuora.PaymentMethod{
		Type: "CreditCard", CardNumber: fmt.Sprintf("************%04d", i%10_000), CardType: "Visa", ExpMonth: 1 + i%12, ExpYear: 2031, LastTransactionStatus: "Approved",
	}
}

// moveAccount makes Limio's records of an account.
func (c *company) moveAccount(a zuora.Account, sub zuora.Subscription, card zuora.PaymentMethod) {
	customer, owner := c.limio.AddCustomer(limio.CustomerParams{
		Name: a.Name, FirstName: a.BillTo.FirstName, LastName: a.BillTo.LastName, Email: a.BillTo.WorkEmail, ZuoraAccount: a.ID,
	})
	id := c.limio.AddSubscription(limio.SubscriptionParams{
		Customer: customer, Owner: owner, Number: sub.Number, Name: "Print and Digital", TermStart: sub.TermStartDate.Time(), TermEnd: sub.TermEndDate.Time(),
		AutoRenew: true, Imported: true,
	})
	charge := sub.RatePlans[0].Charges[0]
	c.limio.AddOffer(limio.OfferParams{
		Subscription: id, Name: "Print and Digital", Start: charge.EffectiveStartDate.Time(), Amount: charge.Price, Currency: sub.Currency,
		ExternalID: sub.RatePlans[0].ProductRatePlanID + "/" + charge.Number,
	})
	c.limio.AddPaymentMethod(limio.PaymentMethodParams{
		Customer: customer, Type: "zuora", Default: true, Result: map[string]any{
			"Id": card.ID, "Type": card.Type, "CreditCardType": card.CardType, "CreditCardMaskNumber": card.CardNumber,
			"CreditCardExpirationMonth": card.ExpMonth, "CreditCardExpirationYear": card.ExpYear,
		},
	})
	for _, relationship := range []string{"billing", "delivery"} {
		c.limio.AddAddress(limio.AddressParams{Customer: customer, Relationship: relationship, Address: limio.Address{
			FirstName: a.BillTo.FirstName, LastName: a.BillTo.LastName, Address1: a.BillTo.Address1, City: a.BillTo.City,
			PostalCode: a.BillTo.PostalCode, Country: "IE",
		}})
	}
	c.accounts = append(c.accounts, account{id: a.ID, number: sub.Number, customer: customer, limio: id})
}

// payment is an invoice as Limio shows it; the next one has no id yet.
type payment struct {
	invoice string
	date    time.Time
	amount  int64
	fields  fields
}

// payments are the invoices of a subscription and the next one.
func (c *company) payments(sub stripe.Subscription) []payment {
	var out []payment
	add := func(inv stripe.Invoice, id, status string) {
		currency := strings.ToUpper(inv.Currency)
		out = append(out, payment{invoice: id, date: inv.Lines[0].PeriodStart, amount: inv.Total, fields: fields{
			"status": status, "data.date": day(inv.Lines[0].PeriodStart), "data.amount": number(limio.FormatAmount(inv.Total, currency)),
			"data.currency": currency, "data.description": inv.Lines[0].Description, "data.external_id": id,
		}})
	}
	for _, inv := range c.stripe.Invoices(sub.ID) {
		add(inv, inv.ID, "active") // all of them are paid here
	}
	if next, ok := c.stripe.Upcoming(sub.ID); ok && !sub.Ended() {
		add(next, "", "pending-external")
	}
	return out
}

// card is the default card of a Stripe customer.
func (c *company) card(customer string) stripe.PaymentMethod {
	cus, _ := c.stripe.Customer(customer)
	m, _ := c.stripe.PaymentMethod(cus.DefaultPaymentMethod)
	return m
}
