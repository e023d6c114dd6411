package world

import (
	"context"

	"hotsync/sandbox/limio"
	"hotsync/sandbox/zuora"
)

// zuoraSource is what Limio's own Zuora sync reads.
func (w *World) zuoraSource(_ context.Context, idOrNumber string) (limio.ZuoraSubscription, error) {
	sub, ok := w.zuora.Subscription(idOrNumber)
	if !ok {
		return limio.ZuoraSubscription{}, limio.ErrUnknown
	}
	state, ok := w.zuora.Account(sub.AccountID)
	if !ok {
		return limio.ZuoraSubscription{}, limio.ErrUnknown
	}
	want := wantSubscription(sub, w.clock.Now())
	out := limio.ZuoraSubscription{
		Number: sub.Number, PlanName: want.plan, Status: sub.Status, TermStart: want.start, TermEnd: want.end,
		AutoRenew: want.fields["data.attributes.autoRenew"] == "true",
		Account:   limio.ZuoraAccount{ID: state.ID, Name: state.Name},
	}
	if sub.Status == zuora.StatusCancelled && want.fields["status"] == "active" {
		out.Status = zuora.StatusActive // it lives until its end
	}
	account := w.wantAccount(state)
	out.Account.CRMID = account.crm
	out.Account.FirstName, out.Account.LastName = account.customer["data.firstName"], account.customer["data.lastName"]
	out.Account.Email = account.customer["data.email"]
	out.BillTo, out.SoldTo = addressOf(account.addresses["billing"]), addressOf(account.addresses["delivery"])
	return out, nil
}

func addressOf(f fields) limio.Address {
	return limio.Address{
		FirstName: f["data.firstName"], LastName: f["data.lastName"], Address1: f["data.address1"], Address2: f["data.address2"],
		City: f["data.city"], State: f["data.state"], PostalCode: f["data.postalCode"], Country: f["data.country"],
	}
}

// stripeSource is what Limio's own Stripe sync reads.
func (w *World) stripeSource(_ context.Context, _, stripeID string) (limio.StripeSubscription, error) {
	want, ok := w.wantStripe(stripeID)
	if !ok {
		return limio.StripeSubscription{}, limio.ErrUnknown
	}
	out := limio.StripeSubscription{Status: want.status, TermStart: want.start, TermEnd: want.end, Schedules: []limio.ScheduleEntry{}}
	for _, p := range want.payments {
		if p.live() {
			out.Schedules = append(out.Schedules, limio.ScheduleEntry{
				Date: p.date, Amount: p.amount, Currency: p.currency, Description: p.description, Status: p.status, InvoiceID: p.invoice,
			})
		}
	}
	if want.card != nil {
		out.Card = &limio.Card{
			ID: want.card["data.stripe.result.id"], Brand: want.card["data.stripe.result.brand"], Last4: want.card["data.stripe.result.last4"],
			ExpMonth: count(want.card["data.stripe.result.exp_month"]), ExpYear: count(want.card["data.stripe.result.exp_year"]),
		}
	}
	return out, nil
}
