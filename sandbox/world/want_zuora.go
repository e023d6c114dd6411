package world

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hotsync/sandbox/zuora"
)

// wantAccount is what Limio must hold of a Zuora account (hot-sync.txt): the
// customer, its identities, every latest subscription with its offers, the
// payment methods and which is the default, both addresses.
type wantAccount struct {
	id        string
	crm       string
	customer  fields
	subs      []wantSub
	methods   []wantMethod
	addresses map[string]fields // by relationship; absent: nothing is wanted
}

type wantSub struct {
	number string
	plan   string
	start  time.Time // of the term
	end    time.Time // zero: evergreen
	fields fields
	offers []wantOffer
}

type wantOffer struct {
	external string // <product rate plan id>/<first charge number>
	fields   fields
}

type wantMethod struct {
	id     string
	active bool
	fields fields
}

// countryCodes has the countries of this world, which Zuora spells out.
var countryCodes = map[string]string{
	"Germany": "DE", "France": "FR", "United Kingdom": "GB", "United States": "US", "Japan": "JP", "Netherlands": "NL",
}

func (w *World) wantAccount(a zuora.Account) wantAccount {
	now := w.clock.Now()
	email := ""
	bill := a.BillTo
	if bill != nil {
		email = cmp.Or(bill.WorkEmail, bill.PersonalEmail)
	}
	out := wantAccount{id: a.ID, addresses: map[string]fields{}, customer: fields{"data.name": a.Name, "data.email": email}}
	if a.CRMID != nil {
		out.crm = strings.TrimSpace(*a.CRMID)
	}
	if bill != nil {
		out.customer["data.firstName"], out.customer["data.lastName"] = bill.FirstName, bill.LastName
		out.addresses["billing"] = wantAddress(*bill)
	}
	if sold := cmp.Or(a.SoldTo, bill); sold != nil {
		out.addresses["delivery"] = wantAddress(*sold)
	}
	for _, s := range w.zuora.Subscriptions(a.ID) {
		if s.Status == zuora.StatusDraft {
			continue // not sold yet
		}
		out.subs = append(out.subs, wantSubscription(s, now))
	}
	for _, m := range w.zuora.PaymentMethods(a.ID) {
		out.methods = append(out.methods, wantPaymentMethod(m, m.ID == a.DefaultPaymentMethodID))
	}
	return out
}

func wantAddress(c zuora.Contact) fields {
	return fields{
		"data.firstName": c.FirstName, "data.lastName": c.LastName, "data.address1": c.Address1, "data.address2": c.Address2,
		"data.city": c.City, "data.state": c.State, "data.postalCode": c.PostalCode, "data.country": countryCodes[c.Country],
	}
}

// wantSubscription: an evergreen one has no end, a cancelled one lives until
// its end and renews no more, and a suspended one says nothing about Limio's
// status.
func wantSubscription(s zuora.Subscription, now time.Time) wantSub {
	out := wantSub{number: s.Number, start: cmp.Or(s.TermStartDate, s.StartDate, s.ContractEffectiveDate).Time()}
	if s.TermType != zuora.Evergreen {
		out.end = s.TermEndDate.Time()
	}
	renews, status := s.AutoRenew, ""
	switch s.Status {
	case zuora.StatusActive:
		status = "active"
	case zuora.StatusPendingActivation, zuora.StatusPendingAcceptance:
		status = "pending"
	case zuora.StatusCancelled:
		out.end, renews, status = cmp.Or(s.EndDate, s.TermEndDate).Time(), false, "cancelled"
		if out.end.After(now) {
			status = "active"
		}
	}
	out.fields = fields{
		"data.termStartDate": day(out.start), "data.termEndDate": day(out.end), "data.attributes.autoRenew": strconv.FormatBool(renews),
	}
	if status != "" {
		out.fields["status"] = status
	}
	for _, p := range s.RatePlans {
		if o, live := wantRatePlan(s, p, out.end, renews, now); live {
			out.offers = append(out.offers, o)
		}
		if out.plan == "" && p.LastChangeType != zuora.ChangeRemove {
			out.plan = p.ProductName
		}
	}
	return out
}

// wantRatePlan is the offer of a rate plan that was not removed and has a
// charge that is not over. It shows the first recurring charge; its end is
// open when it ends with a term that will be renewed.
func wantRatePlan(s zuora.Subscription, p zuora.RatePlan, termEnd time.Time, renews bool, now time.Time) (wantOffer, bool) {
	if p.LastChangeType == zuora.ChangeRemove || len(p.Charges) == 0 {
		return wantOffer{}, false
	}
	charges := slices.SortedFunc(slices.Values(p.Charges), func(a, b zuora.Charge) int {
		return cmp.Or(cmp.Compare(len(a.Number), len(b.Number)), cmp.Compare(a.Number, b.Number))
	})
	running := slices.DeleteFunc(slices.Clone(charges), func(c zuora.Charge) bool {
		end := c.EffectiveEndDate.Time()
		return !end.IsZero() && (!end.After(now) || c.Type == "Recurring" && !end.After(c.EffectiveStartDate.Time()))
	})
	if len(running) == 0 {
		return wantOffer{}, false
	}
	shown := running[max(0, slices.IndexFunc(running, func(c zuora.Charge) bool { return c.Type == "Recurring" }))]
	end := shown.EffectiveEndDate.Time()
	if renews && !termEnd.IsZero() && !end.Before(termEnd) {
		end = time.Time{}
	}
	currency := cmp.Or(shown.Currency, s.Currency)
	return wantOffer{external: p.ProductRatePlanID + "/" + charges[0].Number, fields: fields{
		"status": "active", "data.name": cmp.Or(p.ProductName, p.Name),
		"data.start": day(shown.EffectiveStartDate.Time()), "data.end": day(end),
		"data.quantity": strconv.FormatFloat(shown.Quantity, 'f', -1, 64), "data.price.amount": decimal(shown.Price, currency),
		"data.price.currency": currency,
	}}, true
}

func wantPaymentMethod(m zuora.PaymentMethod, isDefault bool) wantMethod {
	status, mask := "closed", ""
	if m.Status == zuora.PaymentMethodActive {
		status = "active"
	}
	if four := lastFour(cmp.Or(m.CardNumber, m.IBAN, m.BankAccountNumber)); four != "" {
		mask = "************" + four
	}
	return wantMethod{id: m.ID, active: status == "active", fields: fields{
		"status": status, "data.type": "zuora", "data.isDefault": strconv.FormatBool(isDefault),
		"data.zuora.result.Id": m.ID, "data.zuora.result.Type": m.Type, "data.zuora.result.CreditCardType": m.CardType,
		"data.zuora.result.CreditCardMaskNumber":      mask,
		"data.zuora.result.CreditCardExpirationMonth": countOrNone(m.ExpMonth),
		"data.zuora.result.CreditCardExpirationYear":  countOrNone(m.ExpYear),
	}}
}

func countOrNone(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// lastFour returns up to four digits from the end of a mask.
func lastFour(mask string) string {
	digits := mask[len(strings.TrimRight(mask, "0123456789")):]
	return digits[max(0, len(digits)-4):]
}
