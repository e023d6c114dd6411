package stripe

import (
	"encoding/json"

	"github.com/stripe/stripe-go/v76"

	"hotsync/record"
)

// shown is what a row of the list shows of a subscription and a plan can depend
// on. What Stripe changes without a plan changing (attempts to collect, counts,
// links to pages) is not in it, or every sweep would look at every record.
type shown struct {
	ID, Customer      string
	Status            string
	Limio             record.Status // the status map is configuration, and a plan depends on it
	Period            [2]int64
	Start             int64
	CancelAt          int64
	CancelAtPeriodEnd bool
	Canceled, Ended   int64
	Trial             [2]int64
	Anchor            int64
	Pause             *stripe.SubscriptionPauseCollection
	Schedule          string
	Metadata          map[string]string // encoding/json sorts the keys
	Card              *record.PaymentMethod
	Latest            *shownInvoice
	Next              shownNext
	Owes              bool // of the customer: a hint at older invoices
}

// shownInvoice is an invoice as its schedule depends on it.
type shownInvoice struct {
	ID, Status, Currency string
	Created, Due         int64
	Total                int64
	AmountDue            int64
	AmountPaid           int64
	Transitions          *stripe.InvoiceStatusTransitions
	Lines                []shownLine
}

type shownLine struct {
	Type, Subscription, Description string
	Amount                          int64
	Proration                       bool
	Period                          *stripe.Period
}

// shownNext is what decides the next invoice.
type shownNext struct {
	Currency     string
	Items        []shownItem
	Discount     *shownDiscount // of the subscription
	ForAll       *shownDiscount // of the customer
	TaxRates     []string
	AutomaticTax bool
	TaxExempt    string
	Pending      int64 // when pending items are billed on their own
	Collection   string
}

type shownItem struct {
	ID, Price, Product, Nickname string
	Currency                     string
	UnitAmount                   float64 // of unit_amount_decimal, which has all digits
	Interval                     string
	Count                        int64
	Quantity                     int64
	TaxRates                     []string
}

type shownDiscount struct {
	ID, Coupon string
	Start, End int64
	AmountOff  int64
	PercentOff float64
}

// mark returns the mark of a subscription with its expansions, whether it was
// listed or read by itself.
func (c *Client) mark(sub *stripe.Subscription) record.Mark {
	if !whole(sub) {
		return ""
	}
	s := shown{
		ID: sub.ID, Customer: sub.Customer.ID, Status: string(sub.Status), Limio: c.statuses[string(sub.Status)],
		Period: [2]int64{sub.CurrentPeriodStart, sub.CurrentPeriodEnd}, Start: sub.StartDate,
		CancelAt: sub.CancelAt, CancelAtPeriodEnd: sub.CancelAtPeriodEnd, Canceled: sub.CanceledAt, Ended: sub.EndedAt,
		Trial: [2]int64{sub.TrialStart, sub.TrialEnd}, Anchor: sub.BillingCycleAnchor, Pause: sub.PauseCollection,
		Metadata: sub.Metadata, Card: c.card(sub), Latest: markInvoice(sub.LatestInvoice), Next: markNext(sub),
		Owes: sub.Customer.Delinquent,
	}
	if sub.Schedule != nil {
		s.Schedule = sub.Schedule.ID
	}
	b, err := json.Marshal(s)
	if err != nil {
		return "" // not a number among the amounts: look at it
	}
	return record.MarkOf(string(b))
}

// whole reports whether nothing that matters is cut off or unknown.
func whole(sub *stripe.Subscription) bool {
	if sub.Customer == nil || sub.Customer.Object == "" { // not expanded
		return false
	}
	if sub.LatestInvoice != nil && sub.LatestInvoice.Object == "" {
		return false
	}
	if sub.Items == nil || sub.Items.HasMore {
		return false
	}
	for _, it := range sub.Items.Data {
		if it == nil || it.Price == nil || it.Price.Recurring != nil && it.Price.Recurring.UsageType == stripe.PriceRecurringUsageTypeMetered {
			return false // what was used moves the next invoice, and nothing here
		}
	}
	return true
}

func markInvoice(inv *stripe.Invoice) *shownInvoice {
	if inv == nil {
		return nil
	}
	out := &shownInvoice{
		ID: inv.ID, Status: string(inv.Status), Currency: string(inv.Currency), Created: inv.Created, Due: inv.DueDate,
		Total: inv.Total, AmountDue: inv.AmountDue, AmountPaid: inv.AmountPaid, Transitions: inv.StatusTransitions,
	}
	if inv.Lines == nil {
		return out
	}
	for _, l := range inv.Lines.Data {
		if l == nil {
			continue
		}
		line := shownLine{Type: string(l.Type), Description: l.Description, Amount: l.Amount, Proration: l.Proration, Period: l.Period}
		if l.Subscription != nil {
			line.Subscription = l.Subscription.ID
		}
		out.Lines = append(out.Lines, line)
	}
	return out
}

func markNext(sub *stripe.Subscription) shownNext {
	out := shownNext{
		Currency: string(sub.Currency), Discount: markDiscount(sub.Discount), ForAll: markDiscount(sub.Customer.Discount),
		TaxRates: rateIDs(sub.DefaultTaxRates), AutomaticTax: sub.AutomaticTax != nil && sub.AutomaticTax.Enabled,
		TaxExempt: string(sub.Customer.TaxExempt), Pending: sub.NextPendingInvoiceItemInvoice, Collection: string(sub.CollectionMethod),
	}
	for _, it := range sub.Items.Data {
		p := it.Price
		item := shownItem{
			ID: it.ID, Price: p.ID, Nickname: p.Nickname, Currency: string(p.Currency), UnitAmount: p.UnitAmountDecimal,
			Quantity: it.Quantity, TaxRates: rateIDs(it.TaxRates),
		}
		if p.Product != nil {
			item.Product = p.Product.ID
		}
		if p.Recurring != nil {
			item.Interval, item.Count = string(p.Recurring.Interval), p.Recurring.IntervalCount
		}
		out.Items = append(out.Items, item)
	}
	return out
}

func markDiscount(d *stripe.Discount) *shownDiscount {
	if d == nil {
		return nil
	}
	out := &shownDiscount{ID: d.ID, Start: d.Start, End: d.End}
	if d.Coupon != nil {
		out.Coupon, out.AmountOff, out.PercentOff = d.Coupon.ID, d.Coupon.AmountOff, d.Coupon.PercentOff
	}
	return out
}

func rateIDs(rates []*stripe.TaxRate) []string {
	var out []string
	for _, r := range rates {
		if r != nil {
			out = append(out, r.ID)
		}
	}
	return out
}
