package world

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
)

// wantStripe is what Limio must hold of a Stripe subscription
// (stripe-sync.txt): status and term, payments, and the customer's default
// card.
type wantStripe struct {
	status   string // in Stripe's words
	start    time.Time
	end      time.Time
	fields   fields
	payments []wantPayment
	card     fields // nil: Limio's is left alone
}

// wantPayment is an invoice as Limio must show it.
type wantPayment struct {
	invoice     string // empty for the upcoming one
	status      string // active (paid), pending, pending-external (upcoming) or cancelled
	date        time.Time
	amount      int64
	currency    string
	description string
}

func (p wantPayment) live() bool { return p.status != "cancelled" }

// String is a payment as a Difference shows it.
func (p wantPayment) String() string {
	return strings.Join([]string{p.status, number(limio.FormatAmount(p.amount, p.currency)), p.currency, day(p.date)}, " ")
}

// wantStripe reads a subscription; false when nothing is wanted of Limio,
// which is so before the first payment.
func (w *World) wantStripe(id string) (wantStripe, bool) {
	sub, ok := w.stripe.Subscription(id)
	if !ok || sub.Status == stripe.StatusIncomplete {
		return wantStripe{}, false
	}
	out := wantStripe{status: sub.Status, start: sub.CurrentPeriodStart, end: sub.CurrentPeriodEnd}
	status := "active"
	switch {
	case sub.Ended():
		status, out.end = "cancelled", sub.EndedAt
	case !sub.CancelAt.IsZero():
		out.end = sub.CancelAt
	}
	out.fields = fields{"status": status, "data.termStartDate": day(out.start), "data.termEndDate": day(out.end)}
	for _, inv := range w.stripe.Invoices(id) {
		out.add(inv, map[string]string{
			stripe.InvoicePaid: "active", stripe.InvoiceDraft: "pending", stripe.InvoiceOpen: "pending",
			stripe.InvoiceVoid: "cancelled", stripe.InvoiceUncollectible: "cancelled",
		}[inv.Status])
	}
	if next, ok := w.stripe.Upcoming(id); ok && !sub.Ended() {
		next.ID = ""
		out.add(next, "pending-external")
	}
	out.card = w.wantCard(sub.Customer)
	return out, true
}

// add notes an invoice unless it asks for nothing. Its date is the start of
// the service period it pays for.
func (s *wantStripe) add(inv stripe.Invoice, status string) {
	if inv.Total <= 0 {
		return
	}
	p := wantPayment{invoice: inv.ID, status: status, date: inv.Created, amount: inv.Total, currency: strings.ToUpper(inv.Currency)}
	if i := slices.IndexFunc(inv.Lines, func(l stripe.Line) bool { return !l.Proration }); i >= 0 {
		p.date, p.description = inv.Lines[i].PeriodStart, inv.Lines[i].Description
	}
	s.payments = append(s.payments, p)
}

// wantCard is the customer's default payment method, not the subscription's
// own; nil without one, or when the customer was deleted.
func (w *World) wantCard(customer string) fields {
	c, ok := w.stripe.Customer(customer)
	if !ok || c.Deleted {
		return nil
	}
	id := c.DefaultPaymentMethod
	if id == "" {
		id = c.DefaultSource
	}
	m, ok := w.stripe.PaymentMethod(id)
	if !ok {
		return nil
	}
	out := fields{
		"data.type": "stripe", "data.stripe.result.id": m.ID, "data.stripe.result.brand": "", "data.stripe.result.last4": "",
		"data.stripe.result.exp_month": "", "data.stripe.result.exp_year": "",
	}
	if m.Card != nil {
		out["data.stripe.result.brand"], out["data.stripe.result.last4"] = m.Card.Brand, m.Card.Last4
		out["data.stripe.result.exp_month"], out["data.stripe.result.exp_year"] = strconv.Itoa(m.Card.ExpMonth), strconv.Itoa(m.Card.ExpYear)
	}
	return out
}

// isLive reports whether a payment in Limio counts.
func isLive(o limio.Object) bool {
	s := o.Text("status")
	return s == "active" || s == "pending" || s == "pending-external"
}

// pairs finds for each payment that must be there the schedule that shows it,
// and what is left over of the live ones: by invoice id first; else, since
// Limio's own entries name no invoice and the next payment has none yet, by
// day and currency, an equal amount before another.
func pairs(want []wantPayment, have []limio.Object) (found map[int]limio.Object, spare []limio.Object) {
	found, used := map[int]limio.Object{}, map[string]bool{}
	take := func(fits func(wantPayment, limio.Object) bool) {
		for i, p := range want {
			if _, done := found[i]; done || !p.live() {
				continue
			}
			for _, o := range have {
				if isLive(o) && !used[o.ID] && fits(p, o) {
					found[i], used[o.ID] = o, true
					break
				}
			}
		}
	}
	sameDay := func(p wantPayment, o limio.Object) bool {
		return (p.invoice == "" || o.Text("data.external_id") == "") && dayOf(o.Text("data.date")) == day(p.date) && o.Text("data.currency") == p.currency
	}
	take(func(p wantPayment, o limio.Object) bool {
		return p.invoice != "" && o.Text("data.external_id") == p.invoice
	})
	take(func(p wantPayment, o limio.Object) bool {
		return sameDay(p, o) && text("data.amount", o.At("data.amount")) == number(limio.FormatAmount(p.amount, p.currency))
	})
	take(sameDay)
	for _, o := range have {
		if isLive(o) && !used[o.ID] {
			spare = append(spare, o)
		}
	}
	return found, spare
}

// mustGo reports whether a live payment that no invoice backs may not stay:
// one of the future, an unpaid one of the current term, and one that names an
// invoice which another entry shows or which was voided. Older ones are
// history.
func mustGo(o limio.Object, want wantStripe, now time.Time) bool {
	on := dayOf(o.Text("data.date"))
	if on > day(now) || o.Text("status") != "active" && on >= day(want.start) {
		return true
	}
	invoice := o.Text("data.external_id")
	return invoice != "" && slices.ContainsFunc(want.payments, func(p wantPayment) bool { return p.invoice == invoice })
}
