package world

import (
	"fmt"
	"slices"
	"time"

	"hotsync/sandbox/limio"
	"hotsync/sandbox/zuora"
)

// migrateAccount makes Limio hold what a Zuora account is. Subscriptions that
// Limio sold have offers of its own and no rate plans.
func (w *World) migrateAccount(id string, sold bool) {
	state, _ := w.zuora.Account(id)
	want := w.wantAccount(state)
	customer, owner := w.limio.AddCustomer(limio.CustomerParams{
		Name: want.customer["data.name"], FirstName: want.customer["data.firstName"], LastName: want.customer["data.lastName"],
		Email: want.customer["data.email"], ZuoraAccount: id, SalesforceAccount: want.crm,
	})
	for _, s := range want.subs {
		sub := w.limio.AddSubscription(limio.SubscriptionParams{
			Customer: customer, Owner: owner, Number: s.number, Name: s.plan, Status: s.fields["status"], TermStart: s.start, TermEnd: s.end,
			AutoRenew: s.fields["data.attributes.autoRenew"] == "true", Imported: !sold,
		})
		for i, o := range s.offers {
			p := limio.OfferParams{Subscription: sub, Name: o.fields["data.name"], Start: s.start, Amount: 1290, Currency: "EUR"}
			if sold {
				p.OfferID = fmt.Sprintf("offer-%d", i)
				w.limio.AddOffer(p)
				continue
			}
			w.insert(limio.TypeOffer, map[string]any{"related": sub, "customer": customer, "owner": owner}, o.fields,
				fields{"data.external_id": o.external, "data.record_subtype": "base"})
		}
	}
	for _, m := range want.methods {
		w.insert(limio.TypePaymentMethod, map[string]any{"customer": customer, "owner": owner}, m.fields)
	}
	for _, relationship := range []string{"billing", "delivery"} {
		if f, ok := want.addresses[relationship]; ok {
			w.limio.AddAddress(limio.AddressParams{Customer: customer, Relationship: relationship, Address: addressOf(f)})
		}
	}
}

// insert stores an object that has the given fields, as a builder would.
func (w *World) insert(recordType string, json map[string]any, parts ...fields) {
	for _, f := range parts {
		fill(json, f)
	}
	if _, err := w.limio.Insert(limio.BySeed, limio.Object{RecordType: recordType, JSON: json}); err != nil {
		panic(fmt.Sprintf("world: insert %s: %v", recordType, err)) // the type is known and the id made up
	}
}

// driftAccount makes Limio differ from a Zuora account: somebody changed
// things in Zuora since it was migrated, and somebody else in Limio.
func (w *World) driftAccount(id string) error {
	customer, _ := w.limio.CustomerByAccount("zuora", id)
	sub := w.zuora.Subscriptions(id)[0]
	inLimio, _ := w.limio.SubscriptionByNumber(sub.Number)
	switch w.rnd.IntN(6) {
	case 0:
		return w.limio.UpdateAs(limio.ByStaff, inLimio.ID, func(json map[string]any) { json["status"] = "pending" })
	case 1:
		return w.limio.UpdateAs(limio.ByStaff, customer.ID, func(json map[string]any) { set(json, "data.name", "Typing Error") })
	case 2:
		_, err := w.zuora.ChangeSubscription(sub.Number, zuora.Order{}, func(s *zuora.Subscription) { s.RatePlans[0].Charges[0].Quantity = 7 })
		return err
	case 3:
		m, err := w.zuora.AddPaymentMethod(id, w.zuoraCard())
		if err != nil {
			return err
		}
		return w.zuora.SetDefaultPaymentMethod(id, m.ID)
	case 4:
		return w.zuora.UpdateAccount(id, func(a *zuora.Account) { a.BillTo.Address1 = fmt.Sprintf("%d New Lane", w.next()) })
	default:
		crm := "001" + w.alnum(15)
		if err := w.zuora.UpdateAccount(id, func(a *zuora.Account) { a.CRMID = &crm }); err != nil {
			return err
		}
		_, err := w.zuora.CancelSubscription(sub.Number, w.today(), zuora.Order{})
		return err
	}
}

// migrateStripe makes Limio hold what a Stripe subscription is. One that was
// born in Limio has payments that name no invoice.
func (w *World) migrateStripe(id, customer, name string, born bool) (limioID string) {
	want, _ := w.wantStripe(id)
	limioID = w.limio.AddSubscription(limio.SubscriptionParams{
		Customer: customer, Name: name, Status: want.fields["status"], TermStart: want.start, TermEnd: want.end, AutoRenew: true,
		Imported: !born, StripeID: id,
	})
	w.limio.AddOffer(limio.OfferParams{Subscription: limioID, Name: name, Start: want.start, Amount: 990, Currency: "EUR", OfferID: "offer-stripe"})
	for _, p := range want.payments {
		if !p.live() {
			continue
		}
		entry := limio.ScheduleParams{Subscription: limioID, Status: p.status, Date: p.date, Amount: p.amount, Currency: p.currency, Description: name}
		if !born {
			entry.ExternalID, entry.Description = p.invoice, p.description
		}
		w.limio.AddSchedule(entry)
	}
	if want.card != nil {
		json := map[string]any{"related": limioID, "customer": customer}
		fill(json, want.card)
		json["start"] = want.start.UTC().Format(time.RFC3339)
		w.insert(limio.TypePaymentMethod, json)
	}
	return limioID
}

// driftStripe makes Limio differ from a Stripe subscription.
func (w *World) driftStripe(s *subscription) error {
	schedules := slices.DeleteFunc(w.limio.Related(s.Limio), func(o limio.Object) bool { return o.RecordType != limio.TypeSchedule })
	staff := func(id string, fn func(json map[string]any)) error { return w.limio.UpdateAs(limio.ByStaff, id, fn) }
	switch w.rnd.IntN(4) {
	case 0:
		return staff(s.Limio, func(json map[string]any) { json["status"] = "cancelled" })
	case 1:
		return staff(s.Limio, func(json map[string]any) { set(json, "data.termEndDate", "2020-01-01") })
	case 2:
		return staff(schedules[len(schedules)-1].ID, func(json map[string]any) { json["status"] = "cancelled" })
	default:
		w.limio.AddSchedule(limio.ScheduleParams{
			Subscription: s.Limio, Date: w.clock.Now().AddDate(0, 9, 0), Amount: 100, Currency: "EUR", Description: "long forgotten",
		})
		return nil
	}
}
