package zuora

import (
	"fmt"
	"net/http"
)

// maxPreviewItems bounds a preview with a target date far away.
const maxPreviewItems = 5000

// billingPreview answers POST /v1/operations/billing-preview: what the live
// recurring charges of an account will bill up to a day, in advance.
func (s *Server) billingPreview(r *http.Request) (any, error) {
	var body struct {
		AccountID     string `json:"accountId"`
		AccountNumber string `json:"accountNumber"`
		TargetDate    Date   `json:"targetDate"`
		AssumeRenewal string `json:"assumeRenewal"`
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
		if sub.Status != StatusActive && sub.Status != StatusCancelled {
			continue
		}
		renews := sub.Status == StatusActive && sub.TermType == Termed &&
			(body.AssumeRenewal == "All" || body.AssumeRenewal == "Autorenew" && sub.AutoRenew)
		eachPlanCharge(sub, func(p *RatePlan, c *Charge) {
			items = append(items, s.preview(sub, p, c, body.TargetDate, renews, maxPreviewItems-len(items))...)
		})
	}
	return fields{"success": true, "accountId": a.ID, "invoiceItems": items}, nil
}

// preview lists the periods of one charge that start on or before target and
// were not billed yet.
func (s *Server) preview(sub *Subscription, p *RatePlan, c *Charge, target Date, renews bool, room int) []fields {
	if c.Type != "Recurring" {
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
	var out []fields
	for i := 0; len(out) < room; i++ {
		from, to := c.period(start, i), c.period(start, i+1)
		if from > target || stop != "" && from >= stop {
			break
		}
		until := to
		if stop != "" && stop < to {
			until = stop
		}
		out = append(out, fields{
			"id":             fmt.Sprintf("%s%04x", c.ID[:min(28, len(c.ID))], i),
			"subscriptionId": sub.ID, "subscriptionName": sub.Number, "subscriptionNumber": sub.Number,
			"chargeId": c.ID, "chargeNumber": c.Number, "chargeName": c.Name, "chargeType": c.Type, "chargeDescription": "",
			"chargeDate": s.zoneless(s.now()), "productName": p.ProductName, "quantity": c.Quantity,
			"unitOfMeasure": c.UnitOfMeasure, "processingType": "Charge",
			"serviceStartDate": from, "serviceEndDate": until.AddDays(-1),
			"chargeAmount": decimal(prorate(c.amount(), from, to, stop), c.Currency), "taxAmount": decimal(0, c.Currency),
		})
	}
	return out
}
