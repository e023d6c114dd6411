package zuora

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"hotsync/internal/rest"
	"hotsync/record"
)

const routePreview = "/v1/operations/billing-preview"

// evergreenCharges is how many upcoming payments a subscription without an end
// shows at most: a set number, as in Limio (limio.md 2.3).
const evergreenCharges = 12

// item is a line of a billing preview (zuora-stripe.md Z7).
type item struct {
	Number       string      `json:"subscriptionNumber"`
	Name         string      `json:"subscriptionName"` // the number too
	Charge       string      `json:"chargeName"`
	ChargeNumber string      `json:"chargeNumber"`
	Start        day         `json:"serviceStartDate"`
	Amount       json.Number `json:"chargeAmount"` // never with tax
	Tax          json.Number `json:"taxAmount"`
}

// schedules fills in the upcoming payments of an account's subscriptions, each
// to the end of its term and to the horizon: one call, none when nothing can be
// due. A subscription without any has an empty list; the list stays nil where
// the payments are not known, as of one that is suspended or not active yet.
//
// The horizon is the end of a month, so that what is shown stays the same from
// day to day; where there is more beyond it, Until is the next month's start.
func (c *Client) schedules(ctx context.Context, acc account, subs []subscription, out *record.Account) error {
	now := c.cfg.Now().In(c.cfg.Zone)
	horizon := time.Date(now.Year(), now.Month()+time.Month(c.cfg.Horizon)+1, 0, 0, 0, 0, 0, time.UTC)
	var target time.Time
	var live []*record.Subscription
	for i := range out.Subscriptions {
		switch s := &out.Subscriptions[i]; {
		case s.Status == record.StatusActive && (s.TermEnd.IsZero() || s.TermEnd.After(now)):
			live, target = append(live, s), later(target, cmp.Or(s.TermEnd, horizon))
		case s.Status == record.StatusActive || s.Status == record.StatusCancelled:
			s.Schedules, s.Through = []record.Schedule{}, s.TermEnd
		}
	}
	if len(live) == 0 {
		return nil
	}
	if target.After(horizon) {
		target = horizon
	}
	items, err := c.preview(ctx, acc, target)
	if err != nil {
		return fmt.Errorf("preview payments of account %s: %w", acc.ID, err)
	}
	currency := map[string]string{}
	for _, s := range subs {
		currency[s.Number] = cmp.Or(s.Currency, acc.Currency)
	}
	nextMonth := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, c.cfg.Zone).UTC()
	for _, s := range live {
		s.Schedules, s.Through = payments(items[s.ID], s.TermEnd, currency[s.ID]), target
		out.Until = sooner(out.Until, s.TermEnd)
		switch n := len(s.Schedules); {
		case !s.TermEnd.IsZero():
			if s.TermEnd.After(horizon) {
				out.Until = sooner(out.Until, nextMonth)
			} else {
				s.Through = s.TermEnd
			}
		case n < evergreenCharges:
			out.Until = sooner(out.Until, nextMonth)
		default:
			s.Schedules = s.Schedules[:evergreenCharges]
			s.Through = s.Schedules[evergreenCharges-1].Date
		}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// preview reads what is to be billed up to a day, by subscription number. It is
// a POST that changes nothing.
func (c *Client) preview(ctx context.Context, acc account, target time.Time) (map[string][]item, error) {
	body := map[string]any{
		"targetDate": target.Format(time.DateOnly), "assumeRenewal": "None", "includingEvergreenSubscription": true,
	}
	if acc.Number != "" {
		body["accountNumber"] = acc.Number
	} else {
		body["accountId"] = acc.ID
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	req := rest.Request{Method: http.MethodPost, Route: routePreview, URL: c.rest.URL(nil, "v1", "operations", "billing-preview"), Body: raw}
	var answer struct {
		Success bool   `json:"success"`
		Items   []item `json:"invoiceItems"`
	}
	if err := c.call(ctx, req, &answer); err != nil {
		return nil, err
	}
	if !answer.Success && answer.Items == nil { // nothing to bill, or no answer at all
		return nil, unreadable(req, rest.Answer{}, fmt.Errorf("there are no items in it, not even none"))
	}
	items := map[string][]item{}
	for _, it := range answer.Items {
		if it.Start.IsZero() {
			return nil, unreadable(req, rest.Answer{}, fmt.Errorf("an item has no start of its service"))
		}
		if it.Amount != "" && decimal(it.Amount) == "" || it.Tax != "" && decimal(it.Tax) == "" {
			return nil, unreadable(req, rest.Answer{}, fmt.Errorf("an item has an amount that is none"))
		}
		number := cmp.Or(it.Number, it.Name)
		items[number] = append(items[number], it)
	}
	return items, nil
}

// payments sums the items of one subscription day by day, oldest first. What
// comes to nothing or less is no payment: a month that a discount covers, a
// credit.
func payments(items []item, end time.Time, currency string) []record.Schedule {
	slices.SortStableFunc(items, func(x, y item) int {
		return cmp.Or(x.Start.Compare(y.Start.Time), cmp.Compare(len(x.ChargeNumber), len(y.ChargeNumber)), cmp.Compare(x.ChargeNumber, y.ChargeNumber))
	})
	out := []record.Schedule{}
	for len(items) > 0 {
		at := items[0].Start.Time
		n := slices.IndexFunc(items, func(it item) bool { return !it.Start.Equal(at) })
		if n < 0 {
			n = len(items)
		}
		if !end.IsZero() && !at.Before(end) {
			break // of the next term, which is not agreed yet
		}
		if sum, names := total(items[:n]); sum.Sign() > 0 {
			digits, _ := sum.FloatPrec()
			out = append(out, record.Schedule{
				State: record.ScheduleUpcoming, Date: at, Amount: record.Decimal(sum.FloatString(digits), currency), Description: names,
			})
		}
		items = items[n:]
	}
	return out
}

// total is the sum of items with their tax, and the names of those that cost
// something.
func total(items []item) (sum *big.Rat, names string) {
	sum = new(big.Rat)
	var charged []string
	for _, it := range items {
		of := new(big.Rat).Add(exact(it.Amount), exact(it.Tax))
		sum.Add(sum, of)
		if of.Sign() > 0 && it.Charge != "" && !slices.Contains(charged, it.Charge) {
			charged = append(charged, it.Charge)
		}
	}
	return sum, strings.Join(charged, ", ")
}

// exact returns a number that decimal takes; 0 for none.
func exact(n json.Number) *big.Rat {
	r := new(big.Rat)
	if s := decimal(n); s != "" {
		r.SetString(s)
	}
	return r
}
