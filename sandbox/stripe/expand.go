package stripe

import (
	"slices"
	"strings"
)

// prop is a property that can be expanded or walked through.
type prop struct {
	kind string
	// part is a hash or list that is always there: it leads further, and only
	// a list or an API object may be where a path ends.
	part bool
	// never is set for what this sandbox always answers null for.
	never bool
}

// expandable says which properties of which kind of object can be expanded.
// "list:x" is a list of x; "customer.invoice_settings" is a hash of customer.
var expandable = map[string]map[string]prop{
	"subscription": {
		"customer": {kind: "customer"}, "default_payment_method": {kind: "payment_method"}, "default_source": {kind: "source"},
		"latest_invoice": {kind: "invoice"}, "items": {kind: "list:subscription_item", part: true},
		"schedule": {never: true}, "pending_setup_intent": {never: true}, "application": {never: true},
		"on_behalf_of": {never: true}, "test_clock": {never: true}, "discounts": {never: true},
	},
	"subscription_item": {"price": {kind: "price", part: true}, "discounts": {never: true}},
	"price":             {"product": {kind: "product"}, "tiers": {never: true}, "currency_options": {never: true}},
	"product":           {"default_price": {never: true}, "tax_code": {never: true}},
	"customer": {
		"invoice_settings": {kind: "customer.invoice_settings", part: true}, "default_source": {kind: "source"},
		"subscriptions": {kind: "list:subscription"}, "sources": {kind: "list:source"},
		"tax": {never: true}, "tax_ids": {never: true}, "cash_balance": {never: true}, "test_clock": {never: true},
		"invoice_credit_balance": {never: true},
	},
	"customer.invoice_settings": {"default_payment_method": {kind: "payment_method"}},
	"payment_method":            {"customer": {kind: "customer"}},
	"source":                    {"customer": {kind: "customer"}},
	"invoice": {
		"customer": {kind: "customer"}, "subscription": {kind: "subscription"}, "charge": {kind: "charge"},
		"payment_intent": {kind: "payment_intent"}, "lines": {kind: "list:line_item", part: true},
		"default_payment_method": {never: true}, "default_source": {never: true}, "quote": {never: true},
		"test_clock": {never: true}, "account_tax_ids": {never: true}, "application": {never: true},
		"discounts": {never: true}, "latest_revision": {never: true}, "on_behalf_of": {never: true},
	},
	"line_item": {"price": {kind: "price", part: true}, "subscription": {kind: "subscription"},
		"invoice_item": {never: true}, "discounts": {never: true}},
	"charge": {
		"customer": {kind: "customer"}, "invoice": {kind: "invoice"}, "payment_intent": {kind: "payment_intent"},
		"balance_transaction": {never: true}, "application": {never: true}, "application_fee": {never: true},
		"on_behalf_of": {never: true}, "review": {never: true}, "source_transfer": {never: true}, "transfer": {never: true},
	},
	"payment_intent": {
		"customer": {kind: "customer"}, "invoice": {kind: "invoice"}, "latest_charge": {kind: "charge"},
		"payment_method": {kind: "payment_method"}, "application": {never: true}, "on_behalf_of": {never: true},
		"review": {never: true}, "source": {never: true},
	},
}

func propOf(kind, name string) (prop, bool) {
	if element, ok := strings.CutPrefix(kind, "list:"); ok {
		return prop{kind: element, part: true}, name == "data"
	}
	p, ok := expandable[kind][name]
	return p, ok
}

// parseExpand splits and checks the paths of an expand parameter for an
// answer of a kind.
func parseExpand(paths []string, kind string) ([][]string, *apiError) {
	var out [][]string
	for _, path := range paths {
		segments := strings.Split(path, ".")
		if len(segments) > 4 {
			return nil, invalid("", "expand", "You cannot expand more than 4 levels of a property. Property: %s", path)
		}
		if !canExpand(kind, segments) {
			hint := ""
			if strings.HasPrefix(kind, "list:") && len(segments) < 4 && canExpand(kind, append([]string{"data"}, segments...)) {
				hint = " You may want to try expanding 'data." + path + "' instead."
			}
			return nil, invalid("", "expand", "This property cannot be expanded (%s).%s", path, hint)
		}
		out = append(out, segments)
	}
	return out, nil
}

func canExpand(kind string, segments []string) bool {
	for i, name := range segments {
		p, ok := propOf(kind, name)
		if !ok {
			return false
		}
		if i == len(segments)-1 {
			// A plain hash is always shown, and is nothing to expand.
			return !(p.part && strings.Contains(p.kind, "."))
		}
		if p.never {
			return true // what lies beneath is unknown here and null anyway
		}
		kind = p.kind
	}
	return true
}

// expand follows one path into a rendered object and replaces ids by objects.
func (s *Server) expand(v any, kind string, path []string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			s.expand(e, kind, path)
		}
	case obj:
		if len(path) == 0 || v["deleted"] == true {
			return
		}
		p, ok := propOf(kind, path[0])
		if !ok || p.never {
			return
		}
		name := path[0]
		if id, isID := v[name].(string); isID && !p.part {
			v[name] = s.byID(p.kind, id)
		}
		if _, there := v[name]; !there && kind == "customer" {
			v[name] = s.included(v["id"].(string), name)
		}
		s.expand(v[name], p.kind, path[1:])
	}
}

// byID renders the object an id points to.
func (s *Server) byID(kind, id string) obj {
	switch kind {
	case "customer":
		return s.customerJSON(s.customers[id])
	case "payment_method", "source":
		return s.methodJSON(s.methods[id])
	case "subscription":
		return s.subscriptionJSON(s.subs[id])
	case "invoice":
		return s.invoiceJSON(s.invoices[id])
	case "charge":
		return s.chargeJSON(s.charges[id])
	case "payment_intent":
		return s.intentJSON(s.intents[id])
	case "product":
		return s.productJSON(id)
	}
	panic("stripe sandbox: expand knows no kind " + kind)
}

// included renders a list that a customer shows only when it is expanded.
func (s *Server) included(customerID, name string) any {
	c := s.customers[customerID]
	data := []any{}
	switch name {
	case "subscriptions":
		for _, v := range slices.Backward(c.subs) {
			if v.Status != StatusCanceled {
				data = append(data, s.subscriptionJSON(v))
			}
		}
	case "sources":
		for _, m := range c.methods {
			if m.Legacy && m.Customer != "" {
				data = append(data, s.sourceJSON(m))
			}
		}
	default:
		return nil
	}
	return listJSON("/v1/customers/"+customerID+"/"+name, data[:min(len(data), inlineLimit)], len(data) > inlineLimit)
}
