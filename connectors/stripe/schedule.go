package stripe

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v76"

	"hotsync/record"
)

// schedules returns the payments of a subscription, oldest first.
//
// An invoice of nothing, or of less than nothing, is no payment and is left
// out: the start of a trial, a month that a coupon covers, a credit that
// Stripe carries over to the next invoice.
func schedules(id string, invoices []*stripe.Invoice, next *stripe.Invoice) []record.Schedule {
	var out []record.Schedule
	for _, inv := range invoices {
		if state := stateOf(inv.Status); state != "" && inv.Total > 0 {
			out = append(out, scheduleOf(id, inv, state))
		}
	}
	if next != nil && next.Total > 0 {
		s := scheduleOf(id, next, record.ScheduleUpcoming)
		s.ID = "" // newer versions give a preview an id, which is no invoice's
		// Should the period have rolled since the preview was read, its
		// invoice is in the list now.
		if !slices.ContainsFunc(out, func(o record.Schedule) bool {
			return o.State != record.ScheduleCancelled && o.Date.Equal(s.Date)
		}) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b record.Schedule) int {
		return cmp.Or(a.Date.Compare(b.Date), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// stateOf returns where an invoice of a status stands, "" for a status that is
// not known.
func stateOf(s stripe.InvoiceStatus) record.ScheduleState {
	switch s {
	case stripe.InvoiceStatusPaid:
		return record.SchedulePaid
	case stripe.InvoiceStatusDraft, stripe.InvoiceStatusOpen:
		return record.SchedulePending
	case stripe.InvoiceStatusUncollectible, stripe.InvoiceStatusVoid:
		return record.ScheduleCancelled
	}
	return ""
}

func scheduleOf(id string, inv *stripe.Invoice, state record.ScheduleState) record.Schedule {
	out := record.Schedule{ID: inv.ID, State: state, Date: at(inv.Created), Amount: amount(inv.Total, string(inv.Currency))}
	if l := serviceLine(id, inv); l != nil {
		out.Description = l.Description
		if l.Period != nil && l.Period.Start != 0 {
			out.Date = time.Unix(l.Period.Start, 0).UTC()
		}
	}
	return out
}

// serviceLine returns the line whose period the invoice pays for: the first
// one of the subscription itself, before corrections of past periods and
// one-off items. The invoice's own period_start is that of the past period
// (zuora-stripe.md S2).
func serviceLine(id string, inv *stripe.Invoice) *stripe.InvoiceLineItem {
	if inv.Lines == nil {
		return nil
	}
	var second *stripe.InvoiceLineItem
	for _, l := range inv.Lines.Data {
		if l == nil || l.Type != stripe.InvoiceLineItemTypeSubscription ||
			(l.Subscription != nil && l.Subscription.ID != "" && l.Subscription.ID != id) {
			continue
		}
		if !l.Proration {
			return l
		}
		if second == nil {
			second = l
		}
	}
	return second
}

// amount returns Stripe's minor units as Money. Stripe's units are not always
// those of ISO 4217 (docs.stripe.com/currencies): a few currencies have none,
// a few have three digits, and ISK and UGX are counted in hundredths though
// they have none.
func amount(units int64, currency string) record.Money {
	code := strings.ToUpper(currency)
	switch code {
	case "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF":
		return record.Minor(units, 0, code)
	case "BHD", "JOD", "KWD", "OMR", "TND":
		return record.Minor(units, 3, code)
	case "ISK", "UGX":
		if units%100 == 0 {
			return record.Minor(units/100, 0, code)
		}
	}
	return record.Minor(units, 2, code)
}
