package zuora

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fields is a JSON object.
type fields = map[string]any

// orNull is v, or JSON null for the zero value.
func orNull[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

// zoneless is the form of times in the v1 API: the tenant's clock, no zone.
func (s *Server) zoneless(t time.Time) string { return t.In(s.cfg.Zone).Format(time.DateTime) }

// find returns the account that the path names.
func (s *Server) find(r *http.Request) (*Account, error) {
	key := r.PathValue("key")
	if a := s.account(key); a != nil {
		return a, nil
	}
	return nil, unfound(key)
}

func (s *Server) getAccount(r *http.Request) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a, err := s.find(r)
	if err != nil {
		return nil, err
	}
	basic := fields{
		"id": a.ID, "accountNumber": a.Number, "name": a.Name, "status": a.Status, "batch": a.Batch,
		"crmId": a.CRMID, "parentId": orNull(a.ParentID), "notes": a.Notes,
	}
	maps.Copy(basic, a.CustomFields)
	var mrr int64
	for _, sub := range s.latestOf(a.ID) {
		mrr += contractedMRR(sub)
	}
	out := fields{
		"success": true, "basicInfo": basic,
		"billingAndPayment": fields{
			"currency": a.Currency, "autoPay": a.AutoPay, "billCycleDay": a.BillCycleDay, "paymentTerm": a.PaymentTerm,
			"paymentGateway": orNull(a.PaymentGateway), "defaultPaymentMethodId": orNull(a.DefaultPaymentMethodID),
			"additionalEmailAddresses": []string{},
		},
		"metrics": fields{
			"balance": decimal(a.Balance, a.Currency), "totalInvoiceBalance": decimal(a.Balance, a.Currency),
			"creditBalance": decimal(0, a.Currency), "contractedMrr": decimal(mrr, a.Currency),
		},
		"billToContact": contactV1(a.BillTo), "soldToContact": contactV1(cmp.Or(a.SoldTo, a.BillTo)),
	}
	if a.ShipTo != nil {
		out["shipToContact"] = contactV1(a.ShipTo)
	}
	return out, nil
}

func contactV1(c *Contact) fields {
	out := fields{
		"id": c.ID, "firstName": c.FirstName, "lastName": c.LastName, "nickname": c.Nickname,
		"address1": c.Address1, "address2": c.Address2, "city": c.City, "county": c.County, "state": c.State,
		"zipCode": c.PostalCode, "country": c.Country, "workEmail": c.WorkEmail, "personalEmail": c.PersonalEmail,
		"workPhone": c.WorkPhone, "homePhone": c.HomePhone, "mobilePhone": c.MobilePhone, "taxRegion": c.TaxRegion,
	}
	maps.Copy(out, c.CustomFields)
	return out
}

// summaryRows is how many subscriptions an account summary lists.
const summaryRows = 6

func (s *Server) getSummary(r *http.Request) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a, err := s.find(r)
	if err != nil {
		return nil, err
	}
	basic := fields{
		"id": a.ID, "accountNumber": a.Number, "name": a.Name, "status": a.Status, "batch": a.Batch,
		"balance": decimal(a.Balance, a.Currency), "currency": a.Currency, "billCycleDay": a.BillCycleDay,
		"defaultPaymentMethod": nil,
	}
	maps.Copy(basic, a.CustomFields)
	if p := s.methods[a.DefaultPaymentMethodID]; p != nil {
		basic["defaultPaymentMethod"] = fields{
			"id": p.ID, "paymentMethodType": p.Type, "creditCardType": orNull(p.CardType),
			"creditCardNumber":          orNull(p.CardNumber),
			"creditCardExpirationMonth": orNull(p.ExpMonth), "creditCardExpirationYear": orNull(p.ExpYear),
		}
	}
	rows := []fields{}
	latest := s.latestOf(a.ID)
	for _, sub := range latest[:min(summaryRows, len(latest))] {
		plans := []fields{}
		for _, p := range unordered(sub.RatePlans) {
			plans = append(plans, fields{
				"productId": p.ProductID, "productName": p.ProductName, "productRatePlanId": p.ProductRatePlanID,
				"productSku": p.ProductSKU, "ratePlanName": p.Name,
			})
		}
		rows = append(rows, fields{
			"id": sub.ID, "subscriptionNumber": sub.Number, "status": unspaced(sub.Status), "termType": sub.TermType,
			"autoRenew": sub.AutoRenew, "initialTerm": sub.InitialTerm, "renewalTerm": sub.RenewalTerm,
			"subscriptionStartDate": orNull(sub.StartDate), "termStartDate": orNull(sub.TermStartDate),
			"termEndDate": orNull(sub.TermEndDate), "ratePlans": plans,
		})
	}
	out := fields{
		"success": true, "basicInfo": basic, "subscriptions": rows, "invoices": []any{}, "payments": []any{},
		"billToContact": contactV1(a.BillTo), "soldToContact": contactV1(cmp.Or(a.SoldTo, a.BillTo)),
	}
	if r.URL.Query().Get("excludeUsage") != "true" {
		out["usage"] = []any{}
	}
	return out, nil
}

func unspaced(status string) string { return strings.ReplaceAll(status, " ", "") }

func (s *Server) getSubscriptionsOfAccount(r *http.Request) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a, err := s.find(r)
	if err != nil {
		return nil, err
	}
	rows, next, err := page(r, s.latestOf(a.ID))
	if err != nil {
		return nil, err
	}
	list := []fields{}
	for _, sub := range rows {
		list = append(list, s.subscriptionV1(r, sub))
	}
	out := fields{"success": true, "subscriptions": list}
	if next != "" {
		out["nextPage"] = next
	}
	return out, nil
}

func (s *Server) getSubscription(r *http.Request) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	key := r.PathValue("key")
	sub := s.latest(key)
	if sub == nil {
		for _, v := range s.versions[s.numberOfSubID[key]] {
			if v.ID == key {
				sub = v
			}
		}
	}
	if sub == nil {
		return nil, unfound(key)
	}
	out := s.subscriptionV1(r, sub)
	out["success"] = true
	return out, nil
}

func (s *Server) getSubscriptionVersion(r *http.Request) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	key := r.PathValue("key")
	versions := s.versions[key]
	if len(versions) == 0 {
		versions = s.versions[s.numberOfSubID[key]]
	}
	n, err := strconv.Atoi(r.PathValue("version"))
	if err != nil {
		return nil, fault(badValue, "The version must be a number.")
	}
	for _, v := range versions {
		if v.Version == n {
			out := s.subscriptionV1(r, v)
			out["success"] = true
			return out, nil
		}
	}
	return nil, unfound(key + " version " + r.PathValue("version"))
}

// unordered returns rate plans in an order that means nothing, as Zuora does.
func unordered(plans []RatePlan) []RatePlan {
	return slices.SortedFunc(slices.Values(plans), func(a, b RatePlan) int { return cmp.Compare(a.ID, b.ID) })
}

func contractedMRR(sub *Subscription) int64 {
	var sum int64
	eachCharge(sub, func(c *Charge) { sum += c.mrr() })
	return sum
}

func (s *Server) subscriptionV1(r *http.Request, sub *Subscription) fields {
	noCharges := r.URL.Query().Get("exclude-rate-plans-with-no-charges") == "true"
	plans := []fields{}
	var tcv int64
	for _, p := range unordered(sub.RatePlans) {
		if noCharges && len(p.Charges) == 0 {
			continue
		}
		plans = append(plans, ratePlanV1(&p))
	}
	eachCharge(sub, func(c *Charge) { tcv += c.tcv() })
	out := fields{
		"id": sub.ID, "subscriptionNumber": sub.Number, "version": sub.Version,
		"accountId": sub.AccountID, "accountNumber": s.accounts[sub.AccountID].Number, "accountName": s.accounts[sub.AccountID].Name,
		"status": sub.Status, "termType": sub.TermType,
		"contractEffectiveDate": orNull(sub.ContractEffectiveDate), "serviceActivationDate": orNull(sub.ServiceActivationDate),
		"customerAcceptanceDate": orNull(sub.CustomerAcceptanceDate),
		"subscriptionStartDate":  orNull(sub.StartDate), "subscriptionEndDate": orNull(sub.EndDate),
		"termStartDate": orNull(sub.TermStartDate), "termEndDate": orNull(sub.TermEndDate),
		"initialTerm": sub.InitialTerm, "initialTermPeriodType": orNull(sub.InitialTermPeriodType),
		"currentTerm": sub.CurrentTerm, "currentTermPeriodType": orNull(sub.CurrentTermPeriodType),
		"renewalTerm": sub.RenewalTerm, "renewalTermPeriodType": orNull(sub.RenewalTermPeriodType),
		"renewalSetting": sub.RenewalSetting, "autoRenew": sub.AutoRenew, "currency": sub.Currency,
		"contractedMrr": decimal(contractedMRR(sub), sub.Currency), "totalContractedValue": decimal(tcv, sub.Currency),
		"cancelReason": orNull(sub.CancelReason), "notes": orNull(sub.Notes), "ratePlans": plans,
	}
	maps.Copy(out, sub.CustomFields)
	return out
}

func ratePlanV1(p *RatePlan) fields {
	charges := []fields{}
	for i := range p.Charges {
		c := &p.Charges[i]
		f := fields{
			"id": c.ID, "originalChargeId": c.OriginalID, "number": c.Number, "name": c.Name, "type": c.Type, "model": c.Model,
			"productRatePlanChargeId": c.ProductChargeID,
			"price":                   decimal(c.Price, c.Currency), "currency": c.Currency, "quantity": c.Quantity,
			"uom": orNull(c.UnitOfMeasure), "billingPeriod": orNull(c.BillingPeriod),
			"effectiveStartDate": orNull(c.EffectiveStartDate), "effectiveEndDate": orNull(c.EffectiveEndDate),
			"chargedThroughDate": orNull(c.ChargedThroughDate), "processedThroughDate": orNull(c.ProcessedThroughDate),
			"segment": c.Segment, "mrr": decimal(c.mrr(), c.Currency), "tcv": decimal(c.tcv(), c.Currency),
		}
		maps.Copy(f, c.CustomFields)
		charges = append(charges, f)
	}
	out := fields{
		"id": p.ID, "originalRatePlanId": p.OriginalID, "productId": p.ProductID, "productName": p.ProductName,
		"productRatePlanId": p.ProductRatePlanID, "productSku": p.ProductSKU, "ratePlanName": p.Name,
		"lastChangeType": p.LastChangeType, "ratePlanCharges": charges,
	}
	maps.Copy(out, p.CustomFields)
	return out
}

func (s *Server) getOrders(r *http.Request) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	number := r.PathValue("number")
	if s.latest(number) == nil {
		return nil, unfound(number)
	}
	all := slices.Clone(s.orders[number])
	slices.SortFunc(all, func(a, b *Order) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.seq, a.seq))
	})
	rows, next, err := page(r, all)
	if err != nil {
		return nil, err
	}
	list := []fields{}
	for _, o := range rows {
		list = append(list, s.orderV1(o))
	}
	out := fields{"success": true, "orders": list}
	if next != "" {
		out["nextPage"] = next
	}
	return out, nil
}

func (s *Server) orderV1(o *Order) fields {
	custom := fields{}
	maps.Copy(custom, o.CustomFields)
	if o.Source != "" {
		custom["Source__c"] = o.Source
	}
	if o.InitiatedSource != "" {
		custom["InitiatedSource__c"] = o.InitiatedSource
	}
	actions := []fields{}
	for i, a := range o.Actions {
		dates := []fields{}
		for _, name := range []string{"ContractEffective", "ServiceActivation", "CustomerAcceptance"} {
			dates = append(dates, fields{"name": name, "triggerDate": a.EffectiveDate})
		}
		actions = append(actions, fields{"id": a.ID, "type": a.Type, "sequence": i, "triggerDates": dates})
	}
	return fields{
		"orderNumber": o.Number, "orderDate": o.Date, "status": o.Status, "description": orNull(o.Description),
		"existingAccountNumber": o.AccountNumber, "customFields": custom,
		"createdDate": s.zoneless(o.CreatedAt), "updatedDate": s.zoneless(o.CreatedAt),
		"subscriptions": []fields{{
			"subscriptionNumber": o.SubscriptionNumber, "subscriptionOwnerAccountNumber": o.AccountNumber, "sequence": 0,
			"baseVersion": o.BaseVersion, "newVersion": o.NewVersion, "orderActions": actions,
		}},
	}
}
