package zuora

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"hotsync/record"
)

// mapAccount turns Zuora's shapes into ours. Lists are ordered by their keys.
func (c *Client) mapAccount(a account, subs []subscription) record.Account {
	now := c.cfg.Now().UTC()
	out := record.Account{
		ID: a.ID, Number: a.Number, Name: a.Name, Status: a.Status, CRMID: strings.TrimSpace(a.CRMID), Currency: a.Currency,
		BillTo: c.address(a.ID, a.BillTo), SoldTo: c.address(a.ID, a.SoldTo), DefaultMethod: a.DefaultMethod,
	}
	for _, m := range a.PaymentMethods {
		out.PaymentMethods = append(out.PaymentMethods, m.record())
	}
	for _, s := range subs {
		out.Subscriptions = append(out.Subscriptions, s.record(a, now))
		out.Until = sooner(out.Until, s.until(now))
	}
	slices.SortFunc(out.PaymentMethods, func(x, y record.PaymentMethod) int { return cmp.Compare(x.ID, y.ID) })
	slices.SortFunc(out.Subscriptions, func(x, y record.Subscription) int { return cmp.Compare(x.ID, y.ID) })
	return out
}

func (c *Client) address(account string, from *contact) record.Address {
	if from == nil {
		return record.Address{}
	}
	country, ok := countryCode(from.Country)
	if !ok {
		c.cfg.Notice("account " + account + ": the country " + quote(from.Country) + " has no ISO code; it is left out")
	}
	return record.Address{
		FirstName: from.FirstName, LastName: from.LastName, Email: cmp.Or(from.WorkEmail, from.PersonalEmail),
		Line1: from.Address1, Line2: from.Address2, City: from.City, State: from.State,
		PostalCode: from.PostalCode, Country: country,
		Phone: cmp.Or(from.WorkPhone, from.MobilePhone, from.HomePhone),
	}
}

func (m method) record() record.PaymentMethod {
	out := record.PaymentMethod{
		ID: m.ID, Type: m.Type, Brand: cmp.Or(m.Brand, m.GoogleType, m.AppleType),
		Last4:    last4(cmp.Or(m.Mask, m.Card, m.GoogleCard, m.AppleCard, m.IBAN, m.ACHMask, m.Bank, m.Account, m.AccountV)),
		ExpMonth: cmp.Or(m.Month.number(), m.MonthV1.number()), ExpYear: cmp.Or(m.Year.number(), m.YearV1.number()),
	}
	switch status := cmp.Or(m.Status, m.StatusV1); {
	case status != "":
		out.Active = strings.EqualFold(status, "Active")
	case m.Active != nil:
		out.Active = *m.Active
	}
	if out.ExpYear == 0 {
		out.ExpMonth, out.ExpYear = expiry(cmp.Or(m.GoogleExpiry, m.AppleExpiry))
	}
	return out
}

// last4 returns the digits at the end of a mask, four at most (Invariant 8).
func last4(mask string) string {
	mask = strings.TrimSpace(mask)
	digits := mask[len(strings.TrimRight(mask, "0123456789")):]
	return digits[max(0, len(digits)-4):]
}

var yearMonth = regexp.MustCompile(`^(\d{4})-(\d{1,2})(?:-\d{1,2})?$|^(\d{1,2})[/-](\d{4})$`)

// expiry reads the dates of wallet cards, whose form is not documented: 2028-09,
// 2028-09-30, 09/2028.
func expiry(s string) (month, year int) {
	m := yearMonth.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return 0, 0
	}
	month, year = word(m[2]+m[3]).number(), word(m[1]+m[4]).number()
	if month < 1 || month > 12 {
		return 0, 0
	}
	return month, year
}

// Statuses as they are compared: without spaces, in lower case, since Zuora
// spells them both ways (zuora-stripe.md Z4).
const (
	statusActive            = "active"
	statusCancelled         = "cancelled"
	statusPendingActivation = "pendingactivation"
	statusPendingAcceptance = "pendingacceptance"
)

func normalised(status string) string {
	return strings.ToLower(strings.ReplaceAll(status, " ", ""))
}

// record maps a subscription. The package comment says what is decided here.
func (s subscription) record(a account, now time.Time) record.Subscription {
	evergreen := strings.EqualFold(s.TermType, "EVERGREEN")
	out := record.Subscription{
		ID: s.Number, Customer: a.ID, SourceStatus: s.Status,
		Start: cmp.Or(s.Start, s.Contract).Time, TermStart: cmp.Or(s.TermStart, s.Start, s.Contract).Time,
		AutoRenew: s.AutoRenew, Metadata: maps.Clone(s.custom),
	}
	if !evergreen {
		out.TermEnd = s.TermEnd.Time
		out.Ending = !s.AutoRenew
	}
	switch normalised(s.Status) {
	case statusActive:
		out.Status = record.StatusActive
	case statusPendingActivation, statusPendingAcceptance:
		out.Status = record.StatusPending
	case statusCancelled:
		// There is no cancelledDate in v1: the end says when it takes effect.
		out.TermEnd, out.AutoRenew, out.Ending = cmp.Or(s.End, s.TermEnd).Time, false, true
		out.Status = record.StatusCancelled
		if out.TermEnd.After(now) {
			out.Status = record.StatusActive
		}
	default:
		out.Status = record.StatusLeave
	}
	for _, p := range s.RatePlans {
		if o, live := p.offer(cmp.Or(s.Currency, a.Currency), out, now); live {
			out.Offers = append(out.Offers, o)
		}
	}
	slices.SortFunc(out.Offers, func(x, y record.Offer) int { return cmp.Compare(x.ID, y.ID) })
	return out
}

// until returns when record begins to return something else although the
// subscription is the same: the next time that one of the ends it compares with
// now has come. Zero when none lies ahead.
func (s subscription) until(now time.Time) time.Time {
	ends := []time.Time{}
	if normalised(s.Status) == statusCancelled {
		ends = append(ends, cmp.Or(s.End, s.TermEnd).Time)
	}
	for _, p := range s.RatePlans {
		if p.removed() {
			continue
		}
		for _, c := range p.Charges {
			ends = append(ends, c.End.Time)
		}
	}
	var next time.Time
	for _, end := range ends {
		if end.After(now) {
			next = sooner(next, end)
		}
	}
	return next
}

// sooner returns the earlier of two times, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// removed reports whether the plan is listed only for the record.
func (p ratePlan) removed() bool { return normalised(p.LastChange) == "remove" }

// offer maps a rate plan; false when it was removed or all its charges ended.
func (p ratePlan) offer(currency string, s record.Subscription, now time.Time) (record.Offer, bool) {
	if p.removed() {
		return record.Offer{}, false
	}
	spans := p.spans(now)
	out := record.Offer{Name: cmp.Or(p.ProductName, p.Name), Start: s.Start, Quantity: "1"}
	if len(spans) == 0 { // a plan without charges is live until it is removed
		out.ID = p.Product + "/"
		return out, true
	}
	// The first number of all that are listed: it stays when a charge ends.
	out.ID = p.Product + "/" + spans[0].Number
	i := slices.IndexFunc(spans, func(sp span) bool { return sp.recurring() && !sp.ended(now) })
	if i < 0 {
		i = slices.IndexFunc(spans, func(sp span) bool { return !sp.ended(now) })
	}
	if i < 0 {
		return record.Offer{}, false
	}
	sp := spans[i]
	out.Start, out.End = sp.start, sp.end
	if s.AutoRenew && !s.TermEnd.IsZero() && !sp.end.Before(s.TermEnd) {
		out.End = time.Time{} // it ends with a term that will be renewed
	}
	if q := decimal(sp.Quantity); q != "" {
		out.Quantity = q
	}
	if price := decimal(sp.Price); price != "" {
		out.Price = record.Decimal(price, cmp.Or(sp.Currency, currency))
	}
	return out, true
}

// span is a charge over all its segments, with the fields of the one that
// counts now: the current one, else the next, else the last.
type span struct {
	charge
	start, end time.Time // end zero: open
}

// spans joins the segments of each charge, in the order of their numbers.
func (p ratePlan) spans(now time.Time) []span {
	byNumber := map[string][]charge{}
	for _, c := range p.Charges {
		byNumber[c.Number] = append(byNumber[c.Number], c)
	}
	var out []span
	for _, segments := range byNumber {
		slices.SortStableFunc(segments, func(x, y charge) int {
			return cmp.Or(x.Start.Compare(y.Start.Time), cmp.Compare(x.Segment, y.Segment))
		})
		sp := span{charge: segments[len(segments)-1], start: segments[0].Start.Time, end: segments[0].End.Time}
		for _, c := range segments[1:] {
			if c.End.IsZero() || !sp.end.IsZero() && c.End.After(sp.end) {
				sp.end = c.End.Time
			}
		}
		for _, c := range segments {
			if c.End.IsZero() || c.End.After(now) {
				sp.charge = c
				break
			}
		}
		out = append(out, sp)
	}
	slices.SortFunc(out, func(x, y span) int {
		return cmp.Or(cmp.Compare(len(x.Number), len(y.Number)), cmp.Compare(x.Number, y.Number))
	})
	return out
}

func (s span) recurring() bool { return normalised(s.Type) == "recurring" }

// ended reports whether the charge is over. A recurring one that ends where it
// starts was taken back before it began.
func (s span) ended(now time.Time) bool {
	return !s.end.IsZero() && (!s.end.After(now) || s.recurring() && !s.end.After(s.start))
}
