package zuora

import (
	"fmt"
	"math"
	"net/http"
)

// maxPreviewItems bounds a preview with a target date far away.
const maxPreviewItems = 5000

// billingPreview answers POST /v1/operations/billing-preview: what the live
// charges of an account will bill up to a day. Evergreen subscriptions are left
// out unless includingEvergreenSubscription asks for them.
func (s *Server) billingPreview(r *http.Request) (any, error) {
	var body struct {
		AccountID     string `json:"accountId"`
		AccountNumber string `json:"accountNumber"`
		TargetDate    Date   `json:"targetDate"`
		AssumeRenewal string `json:"assumeRenewal"`
		Evergreen     bool   `json:"includingEvergreenSubscription"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	refuse := func(category int, message string) error {
		return &fail{category: category, resource: 584000, message: message}
	}
	key := body.AccountID
	if key == "" {
		key = body.AccountNumber
	}
	switch {
	case key == "":
		return nil, refuse(missingField, "accountId or accountNumber is required.")
	case body.TargetDate == "":
		return nil, refuse(missingField, "targetDate is required.")
	case body.TargetDate.valid() != nil:
		return nil, refuse(badValue, "targetDate must be YYYY-MM-DD.")
	}
	switch body.AssumeRenewal {
	case "", "None", "All", "Autorenew":
	default:
		return nil, refuse(badValue, "assumeRenewal must be All, None or Autorenew.")
	}
	a := s.account(key)
	if a == nil {
		return nil, refuse(notFound, "Cannot find entity by key: '"+key+"'.")
	}
	items := []fields{}
	for _, number := range s.subsOfAccount[a.ID] {
		sub := s.latest(number)
		if !billable(sub) || sub.TermType == Evergreen && !body.Evergreen {
			continue
		}
		renews := sub.Status == StatusActive && sub.TermType == Termed &&
			(body.AssumeRenewal == "All" || body.AssumeRenewal == "Autorenew" && sub.AutoRenew)
		eachPlanCharge(sub, func(p *RatePlan, c *Charge) {
			for i, d := range dues(sub, c, body.TargetDate, renews, maxPreviewItems-len(items)) {
				items = append(items, s.preview(sub, p, c, d, i))
			}
		})
	}
	return fields{"success": true, "accountId": a.ID, "invoiceItems": items}, nil
}

// preview is the i-th item of a charge.
func (s *Server) preview(sub *Subscription, p *RatePlan, c *Charge, d due, i int) fields {
	return fields{
		"id":             fmt.Sprintf("%s%04x", c.ID[:min(28, len(c.ID))], i),
		"subscriptionId": sub.ID, "subscriptionName": sub.Number, "subscriptionNumber": sub.Number,
		"chargeId": c.ID, "chargeNumber": c.Number, "chargeName": c.Name, "chargeType": c.Type, "chargeDescription": "",
		"chargeDate": s.zoneless(s.now()), "productName": p.ProductName, "quantity": c.Quantity,
		"unitOfMeasure": c.UnitOfMeasure, "processingType": "Charge",
		"serviceStartDate": d.from, "serviceEndDate": max(d.until.AddDays(-1), d.from),
		"chargeAmount": decimal(d.amount, c.Currency),
		"taxAmount":    decimal(int64(math.Round(float64(d.amount)*c.TaxPercent/100)), c.Currency),
	}
}

// due is one period of a charge that was not billed yet.
type due struct {
	from, until Date // until: the first day that is not in it
	amount      int64
}

// billable reports whether a subscription has anything to bill.
func billable(sub *Subscription) bool {
	return sub.Status == StatusActive || sub.Status == StatusCancelled
}

// dues lists what a charge has to bill that starts on or before target.
func dues(sub *Subscription, c *Charge, target Date, renews bool, room int) []due {
	switch {
	case c.Type == "OneTime":
		if c.ChargedThroughDate != "" || c.EffectiveStartDate > target || room < 1 {
			return nil
		}
		return []due{{c.EffectiveStartDate, c.EffectiveStartDate.AddDays(1), c.amount()}}
	case c.Type != "Recurring":
		return nil
	}
	stop := c.EffectiveEndDate
	if renews && stop == sub.TermEndDate {
		stop = "" // the charge lives on with the next term
	}
	start := c.EffectiveStartDate
	if c.ChargedThroughDate != "" {
		start = c.ChargedThroughDate
	}
	var out []due
	for i := 0; len(out) < room; i++ {
		from, to := c.period(start, i), c.period(start, i+1)
		if from > target || stop != "" && from >= stop {
			break
		}
		until := to
		if stop != "" && stop < to {
			until = stop
		}
		out = append(out, due{from, until, prorate(c.amount(), from, to, stop)})
	}
	return out
}

// Bill makes a bill run over an account: all that has to be billed and starts
// on or before through is invoiced and paid. It returns how many items that
// were. Neither a new version nor a new update time comes of it; only the
// charges' ChargedThroughDate and the account's LastInvoiceDate tell.
func (s *Server) Bill(account string, through Date) (items int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(account)
	if a == nil {
		return 0, fmt.Errorf("bill account %s: %w", account, ErrNotFound)
	}
	for _, number := range s.subsOfAccount[a.ID] {
		sub := s.latest(number).clone()
		if !billable(&sub) {
			continue
		}
		before := items
		eachCharge(&sub, func(c *Charge) {
			if d := dues(&sub, c, through, false, maxPreviewItems); len(d) > 0 {
				c.ChargedThroughDate = d[len(d)-1].until
				items += len(d)
			}
		})
		if items > before {
			s.versions[number][len(s.versions[number])-1] = &sub
		}
	}
	if items > 0 {
		billed := a.clone()
		billed.LastInvoiceDate = s.today()
		s.keep(a, &billed)
	}
	return items, nil
}
