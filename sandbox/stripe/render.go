package stripe

import (
	"fmt"
	"strconv"
	"time"
)

// obj is a JSON object as it is rendered. Renderers return fresh ones, so that
// expansion and versions may change them.
type obj = map[string]any

const noAddress raw = `{"city":null,"country":null,"line1":null,"line2":null,"postal_code":null,"state":null}`

const inlineLimit = 10 // items and lines shown within their object

// json renders any object of the account in APIVersion.
func (s *Server) json(x any) obj {
	switch x := x.(type) {
	case *customer:
		return s.customerJSON(x)
	case *paymentMethod:
		return s.methodJSON(x)
	case *subscription:
		return s.subscriptionJSON(x)
	case *invoice:
		return s.invoiceJSON(x)
	case *charge:
		return s.chargeJSON(x)
	case *intent:
		return s.intentJSON(x)
	}
	panic(fmt.Sprintf("stripe sandbox: cannot render %T", x))
}

func orNull(v string) any {
	if v == "" {
		return nil
	}
	return v
}

func unix(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Unix()
}

func metadataJSON(m map[string]string) obj {
	out := make(obj, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func listJSON(url string, data []any, more bool) obj {
	return obj{"object": "list", "url": url, "has_more": more, "data": data}
}

func (s *Server) subscriptionJSON(sub *subscription) obj {
	method, source := any(nil), any(nil)
	if m := s.methods[sub.DefaultPaymentMethod]; m != nil && m.Legacy {
		source = m.ID
	} else {
		method = orNull(sub.DefaultPaymentMethod)
	}
	var pause any
	if sub.Pause != nil {
		pause = obj{"behavior": sub.Pause.Behavior, "resumes_at": unix(sub.Pause.ResumesAt)}
	}
	var due any
	if sub.CollectionMethod == SendInvoice {
		due = sub.DaysUntilDue
	}
	items := []any{}
	for i := range sub.Items[:min(len(sub.Items), inlineLimit)] {
		items = append(items, s.itemJSON(sub, i))
	}
	return obj{
		"id": sub.ID, "object": "subscription", "application": nil, "application_fee_percent": nil,
		"automatic_tax":        raw(`{"enabled":false,"liability":null}`),
		"billing_cycle_anchor": sub.BillingCycleAnchor.Unix(), "billing_cycle_anchor_config": nil, "billing_thresholds": nil,
		"cancel_at": unix(sub.CancelAt), "cancel_at_period_end": sub.CancelAtPeriodEnd, "canceled_at": unix(sub.CanceledAt),
		"cancellation_details": obj{"comment": nil, "feedback": nil, "reason": orNull(sub.CancellationReason)},
		"collection_method":    sub.CollectionMethod, "created": sub.Created.Unix(), "currency": sub.Currency,
		"current_period_end": sub.CurrentPeriodEnd.Unix(), "current_period_start": sub.CurrentPeriodStart.Unix(),
		"customer": sub.Customer, "days_until_due": due,
		"default_payment_method": method, "default_source": source, "default_tax_rates": []any{},
		"description": orNull(sub.Description), "discount": nil, "ended_at": unix(sub.EndedAt),
		"items":          listJSON("/v1/subscription_items?subscription="+sub.ID, items, len(sub.Items) > inlineLimit),
		"latest_invoice": orNull(sub.LatestInvoice), "livemode": false, "metadata": metadataJSON(sub.Metadata),
		"next_pending_invoice_item_invoice": nil, "on_behalf_of": nil, "pause_collection": pause,
		"payment_settings":              raw(`{"payment_method_options":null,"payment_method_types":null,"save_default_payment_method":"off"}`),
		"pending_invoice_item_interval": nil, "pending_setup_intent": nil, "pending_update": nil, "schedule": nil,
		"start_date": sub.StartDate.Unix(), "status": sub.Status, "test_clock": nil, "transfer_data": nil,
		"trial_end": unix(sub.TrialEnd), "trial_start": unix(sub.TrialStart),
		"trial_settings": obj{"end_behavior": obj{"missing_payment_method": sub.MissingPaymentMethod}},
	}
}

func (s *Server) itemJSON(sub *subscription, i int) obj {
	it := sub.Items[i]
	return obj{
		"id": it.ID, "object": "subscription_item", "billing_thresholds": nil, "created": it.Created.Unix(),
		"metadata": metadataJSON(it.Metadata), "price": priceJSON(it.Price), "quantity": it.Quantity,
		"subscription": sub.ID, "tax_rates": []any{},
	}
}

func priceJSON(p Price) obj {
	return obj{
		"id": p.ID, "object": "price", "active": true, "billing_scheme": "per_unit", "created": p.Created.Unix(),
		"currency": p.Currency, "custom_unit_amount": nil, "livemode": false, "lookup_key": nil, "metadata": obj{},
		"nickname": orNull(p.Nickname), "product": p.Product,
		"recurring": obj{"aggregate_usage": nil, "interval": p.Interval, "interval_count": p.IntervalCount,
			"usage_type": "licensed"},
		"tax_behavior": "unspecified", "tiers_mode": nil, "transform_quantity": nil, "type": "recurring",
		"unit_amount": p.UnitAmount, "unit_amount_decimal": strconv.FormatInt(p.UnitAmount, 10),
	}
}

func (s *Server) productJSON(id string) obj {
	p := s.products[id]
	return obj{
		"id": id, "object": "product", "active": true, "created": p.created.Unix(), "default_price": nil,
		"description": nil, "features": []any{}, "images": []any{}, "livemode": false, "metadata": obj{},
		"name": p.name, "package_dimensions": nil, "shippable": nil, "statement_descriptor": nil,
		"tax_code": nil, "unit_label": nil, "updated": p.created.Unix(), "url": nil,
	}
}

func (s *Server) customerJSON(c *customer) obj {
	if c.Deleted {
		return obj{"id": c.ID, "object": "customer", "deleted": true}
	}
	var address any
	if a := c.Address; a != nil {
		address = obj{"line1": orNull(a.Line1), "line2": orNull(a.Line2), "city": orNull(a.City),
			"postal_code": orNull(a.PostalCode), "state": orNull(a.State), "country": orNull(a.Country)}
	}
	return obj{
		"id": c.ID, "object": "customer", "address": address, "balance": 0, "created": c.Created.Unix(),
		"currency": orNull(c.Currency), "default_source": orNull(c.DefaultSource), "delinquent": c.Delinquent,
		"description": orNull(c.Description), "discount": nil, "email": orNull(c.Email),
		"invoice_prefix": c.InvoicePrefix,
		"invoice_settings": obj{"custom_fields": nil, "default_payment_method": orNull(c.DefaultPaymentMethod),
			"footer": nil, "rendering_options": nil},
		"livemode": false, "metadata": metadataJSON(c.Metadata), "name": orNull(c.Name),
		"next_invoice_sequence": c.NextInvoiceSequence, "phone": orNull(c.Phone), "preferred_locales": []any{},
		"shipping": nil, "tax_exempt": "none", "test_clock": nil,
	}
}

func (s *Server) methodJSON(m *paymentMethod) obj {
	if m.Legacy {
		return s.sourceJSON(m)
	}
	out := obj{
		"id": m.ID, "object": "payment_method", "type": m.Type, "created": m.Created.Unix(),
		"customer": orNull(m.Customer), "livemode": false, "metadata": metadataJSON(m.Metadata),
	}
	name, email := orNull(m.name), orNull(m.email)
	out["billing_details"] = obj{"address": noAddress, "email": email, "name": name, "phone": nil}
	switch m.Type {
	case "card":
		out["card"] = cardJSON(m.Card, m.ID)
	case "sepa_debit":
		out["sepa_debit"] = obj{"bank_code": "19043000", "branch_code": "", "country": m.Country,
			"fingerprint": fingerprint(m.ID), "generated_from": obj{"charge": nil, "setup_attempt": nil}, "last4": m.Last4}
	case "us_bank_account":
		out["us_bank_account"] = obj{"account_holder_type": "individual", "account_type": "checking",
			"bank_name": "SANDBOX BANK", "financial_connections_account": nil, "fingerprint": fingerprint(m.ID),
			"last4": m.Last4, "networks": obj{"preferred": "ach", "supported": []any{"ach"}},
			"routing_number": "110000000", "status_details": obj{}}
	case "link":
		out["link"] = obj{"email": email}
	case "paypal":
		out["paypal"] = obj{"payer_email": email, "payer_id": nil}
	}
	return out
}

func cardJSON(c *Card, id string) obj {
	var wallet any
	if c.Wallet != "" {
		wallet = obj{"type": c.Wallet, "dynamic_last4": nil, c.Wallet: obj{}}
	}
	return obj{
		"brand": c.Brand, "country": c.Country, "display_brand": c.Brand,
		"checks":    raw(`{"address_line1_check":null,"address_postal_code_check":null,"cvc_check":"pass"}`),
		"exp_month": c.ExpMonth, "exp_year": c.ExpYear, "fingerprint": fingerprint(id),
		"funding": c.Funding, "generated_from": nil, "last4": c.Last4,
		"networks":             obj{"available": []any{c.Brand}, "preferred": nil},
		"three_d_secure_usage": raw(`{"supported":true}`), "wallet": wallet,
	}
}

// sourceJSON renders a legacy card, whose brands are spelled as names.
func (s *Server) sourceJSON(m *paymentMethod) obj {
	brand := map[string]string{"visa": "Visa", "mastercard": "MasterCard", "amex": "American Express",
		"discover": "Discover", "diners": "Diners Club", "jcb": "JCB", "unionpay": "UnionPay"}[m.Card.Brand]
	if brand == "" {
		brand = "Unknown"
	}
	return obj{
		"id": m.ID, "object": "card", "address_city": nil, "address_country": nil, "address_line1": nil,
		"address_line1_check": nil, "address_line2": nil, "address_state": nil, "address_zip": nil,
		"address_zip_check": nil, "brand": brand, "country": m.Card.Country, "customer": orNull(m.Customer),
		"cvc_check": "pass", "dynamic_last4": nil, "exp_month": m.Card.ExpMonth, "exp_year": m.Card.ExpYear,
		"fingerprint": fingerprint(m.ID), "funding": m.Card.Funding, "last4": m.Card.Last4,
		"metadata": metadataJSON(m.Metadata), "name": nil, "tokenization_method": nil,
	}
}

// fingerprint is a stable 16-character value for an id.
func fingerprint(id string) string {
	const letters = base62
	h := uint64(14695981039346656037)
	out := make([]byte, 16)
	for i := range out {
		h = (h ^ uint64(id[i%len(id)])) * 1099511628211
		out[i] = letters[h>>32%uint64(len(letters))]
	}
	return string(out)
}
