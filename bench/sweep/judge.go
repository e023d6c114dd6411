package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
	"hotsync/sandbox/zuora"
)

// fields are the values that an object of Limio must have, by dotted path.
type fields map[string]string

// wrongSubscription names the objects of Limio that are not what Stripe says of
// a subscription: one write puts each of them right.
func (c *company) wrongSubscription(s subscription) []string {
	sub, _ := c.stripe.Subscription(s.id)
	record, _ := c.limio.Get(s.limio)
	want := fields{"status": "active", "data.termStartDate": day(sub.CurrentPeriodStart), "data.termEndDate": day(sub.CurrentPeriodEnd)}
	if sub.Ended() {
		want["status"], want["data.termEndDate"] = "cancelled", day(sub.EndedAt)
	}
	wrong := compare(nil, s.id, want, record)
	var schedules []limio.Object
	var method limio.Object
	for _, o := range c.limio.Related(s.limio) {
		switch o.RecordType {
		case limio.TypeSchedule:
			schedules = append(schedules, o)
		case limio.TypePaymentMethod:
			method = o
		}
	}
	wrong = c.wrongPayments(wrong, sub, schedules)
	m := c.card(s.customer)
	return compare(wrong, s.id+" card", fields{
		"data.stripe.result.id": m.ID, "data.stripe.result.brand": m.Card.Brand, "data.stripe.result.last4": m.Card.Last4,
		"data.stripe.result.exp_month": strconv.Itoa(m.Card.ExpMonth), "data.stripe.result.exp_year": strconv.Itoa(m.Card.ExpYear),
	}, method)
}

// wrongPayments compares payments: each wanted one is there once, and no other
// is to come.
func (c *company) wrongPayments(wrong []string, sub stripe.Subscription, schedules []limio.Object) []string {
	used := map[string]bool{}
	live := func(o limio.Object) bool { return !used[o.ID] && o.Text("status") != "cancelled" }
	for _, p := range c.payments(sub) {
		at := slices.IndexFunc(schedules, func(o limio.Object) bool {
			return live(o) && o.Text("data.external_id") == p.invoice && dayOf(o.Text("data.date")) == p.fields["data.date"]
		})
		name := sub.ID + " payment " + cmp.Or(p.invoice, "to come")
		if at < 0 {
			wrong = append(wrong, name+" is missing")
			continue
		}
		used[schedules[at].ID] = true
		wrong = compare(wrong, name, p.fields, schedules[at])
	}
	for _, o := range schedules {
		if live(o) && (dayOf(o.Text("data.date")) > day(c.clock.Now()) || o.Text("status") != "active") {
			wrong = append(wrong, sub.ID+" payment "+o.ID+" will not come")
		}
	}
	return wrong
}

// wrongAccount names the objects of Limio that are not what Zuora says of an
// account: one write puts each of them right.
func (c *company) wrongAccount(a account) []string {
	acc, _ := c.zuora.Account(a.id)
	customer, _ := c.limio.Get(a.customer)
	wrong := compare(nil, a.id, fields{
		"data.name": acc.Name, "data.firstName": acc.BillTo.FirstName, "data.lastName": acc.BillTo.LastName, "data.email": acc.BillTo.WorkEmail,
	}, customer)
	wrong = c.wrongTerm(wrong, a)
	owned := c.limio.OfCustomer(a.customer)
	methods := c.zuora.PaymentMethods(a.id)
	for _, m := range methods {
		wrong = compare(wrong, a.id+" method "+m.ID, fields{
			"status": "active", "data.isDefault": strconv.FormatBool(m.ID == acc.DefaultPaymentMethodID), "data.zuora.result.Type": m.Type,
			"data.zuora.result.CreditCardType": m.CardType, "data.zuora.result.CreditCardMaskNumber": m.CardNumber,
			"data.zuora.result.CreditCardExpirationMonth": strconv.Itoa(m.ExpMonth), "data.zuora.result.CreditCardExpirationYear": strconv.Itoa(m.ExpYear),
		}, only(owned, limio.TypePaymentMethod, "data.zuora.result.Id", m.ID))
	}
	if n := count(owned, limio.TypePaymentMethod); n > len(methods) {
		wrong = append(wrong, fmt.Sprintf("%s has %d methods too many", a.id, n-len(methods)))
	}
	for _, relationship := range []string{"billing", "delivery"} {
		wrong = compare(wrong, a.id+" "+relationship, fields{
			"data.firstName": acc.BillTo.FirstName, "data.lastName": acc.BillTo.LastName, "data.address1": acc.BillTo.Address1,
			"data.city": acc.BillTo.City, "data.postalCode": acc.BillTo.PostalCode, "data.country": "IE",
		}, only(owned, limio.TypeAddress, "relationship_type", relationship))
	}
	return wrong
}

// wrongTerm compares the subscription of an account and its offer.
func (c *company) wrongTerm(wrong []string, a account) []string {
	sub, _ := c.zuora.Subscription(a.number)
	record, _ := c.limio.Get(a.limio)
	ended := sub.Status == zuora.StatusCancelled
	status := "active"
	if ended {
		status = "cancelled"
	}
	wrong = compare(wrong, a.number, fields{
		"status": status, "data.termStartDate": string(sub.TermStartDate), "data.termEndDate": string(sub.TermEndDate),
		"data.attributes.autoRenew": strconv.FormatBool(sub.AutoRenew && !ended),
	}, record)
	plan := sub.RatePlans[0]
	charge := plan.Charges[0]
	want := fields{"status": status}
	if !ended {
		want["data.name"], want["data.start"], want["data.end"] = plan.ProductName, string(charge.EffectiveStartDate), ""
		want["data.quantity"] = strconv.FormatFloat(charge.Quantity, 'f', -1, 64)
		want["data.price.amount"], want["data.price.currency"] = number(limio.FormatAmount(charge.Price, sub.Currency)), sub.Currency
	}
	return compare(wrong, a.number+" offer", want, only(c.limio.Related(a.limio), limio.TypeOffer, "data.external_id", plan.ProductRatePlanID+"/"+charge.Number))
}

// only returns the one object of a type with a value; the zero one, which is
// like nothing that is wanted, when there is none or more than one.
func only(objects []limio.Object, recordType, path, value string) (found limio.Object) {
	for _, o := range objects {
		if o.RecordType != recordType || o.Text(path) != value {
			continue
		}
		if found.ID != "" {
			return limio.Object{}
		}
		found = o
	}
	return found
}

func count(objects []limio.Object, recordType string) (n int) {
	for _, o := range objects {
		if o.RecordType == recordType {
			n++
		}
	}
	return n
}

// compare appends the name of an object and its first field that is not as it
// must be.
func compare(wrong []string, name string, want fields, have limio.Object) []string {
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if h := shown(path, have.At(path)); h != want[path] {
			return append(wrong, fmt.Sprintf("%s: %s is %q, want %q", name, path, h, want[path]))
		}
	}
	return wrong
}

// shown is what a stored value means: a date its day, an amount its number,
// nothing and null the same.
func shown(path string, v any) string {
	var s string
	switch v := v.(type) {
	case nil:
	case string:
		s = v
	case float64:
		s = strconv.FormatFloat(v, 'f', -1, 64)
	default:
		s = fmt.Sprint(v)
	}
	switch {
	case strings.HasSuffix(path, "Date") || strings.HasSuffix(path, ".start") || strings.HasSuffix(path, ".end") || strings.HasSuffix(path, ".date"):
		return dayOf(s)
	case strings.HasSuffix(path, "amount"):
		return number(s)
	}
	return s
}

// day is a time's UTC day, as Limio's dates begin.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// dayOf is the day of a date in any of Limio's forms (limio.md 2.1).
func dayOf(s string) string { return s[:min(len(s), len(time.DateOnly))] }

// number writes a decimal number in one way.
func number(s string) string {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
