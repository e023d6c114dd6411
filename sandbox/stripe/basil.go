package stripe

import "regexp"

var versionForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(\.[a-z]+)?$`)

// isBasil says whether a version has the shapes of 2025-03-31 or later.
// Versions begin with their date.
func isBasil(version string) bool { return version >= "2025-03-31" }

// toBasil rewrites a rendered object, and all within it, into the shape of
// 2025-03-31.basil.
func toBasil(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			toBasil(e)
		}
	case obj:
		switch v["object"] {
		case "subscription":
			basilSubscription(v)
		case "invoice":
			basilInvoice(v)
		case "line_item":
			basilLine(v)
		case "charge", "payment_intent":
			delete(v, "invoice")
		}
		for _, e := range v {
			toBasil(e)
		}
	}
}

// basilSubscription moves the period from the subscription to its items.
func basilSubscription(sub obj) {
	if items, ok := sub["items"].(obj); ok {
		for _, it := range items["data"].([]any) {
			it := it.(obj)
			it["current_period_start"], it["current_period_end"] = sub["current_period_start"], sub["current_period_end"]
		}
	}
	delete(sub, "current_period_start")
	delete(sub, "current_period_end")
}

// basilInvoice replaces the link to the subscription by parent, and drops what
// moved to invoice payments.
func basilInvoice(inv obj) {
	if sub, ok := inv["subscription"]; ok {
		details, _ := inv["subscription_details"].(obj)
		inv["parent"] = obj{"type": "subscription_details", "quote_details": nil,
			"subscription_details": obj{"subscription": sub, "metadata": details["metadata"]}}
		inv["total_taxes"] = []any{}
	}
	for _, gone := range []string{"subscription", "subscription_details", "charge", "payment_intent", "paid",
		"paid_out_of_band", "tax", "total_tax_amounts", "quote", "discount", "transfer_data", "application_fee_amount"} {
		delete(inv, gone)
	}
}

// basilLine moves a line's price to pricing and its origin to parent.
func basilLine(l obj) {
	price, _ := l["price"].(obj)
	l["pricing"] = obj{"type": "price_details", "unit_amount_decimal": price["unit_amount_decimal"],
		"price_details": obj{"price": price["id"], "product": price["product"]}}
	l["parent"] = obj{"type": "subscription_item_details", "invoice_item_details": nil,
		"subscription_item_details": obj{"invoice_item": nil, "proration": l["proration"],
			"proration_details": l["proration_details"], "subscription": l["subscription"],
			"subscription_item": l["subscription_item"]}}
	l["taxes"] = []any{}
	for _, gone := range []string{"price", "type", "subscription", "subscription_item", "proration", "proration_details",
		"tax_amounts", "tax_rates", "amount_excluding_tax", "unit_amount_excluding_tax"} {
		delete(l, gone)
	}
}
