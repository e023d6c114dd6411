package stripe

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

func (s *Server) endpoints() []endpoint {
	one := func(kind string) func(*call) string { return func(*call) string { return kind } }
	status := func(values ...string) params { return params{"status": {kind: textOrIn, oneOf: values}} }
	method := param{kind: textOrIn, oneOf: []string{ChargeAutomatically, SendInvoice}}
	preview := params{"customer": {}, "subscription": {}}
	for _, name := range []string{"automatic_tax", "coupon", "currency", "customer_details", "discounts", "invoice_items",
		"issuer", "on_behalf_of", "preview_mode", "schedule", "subscription_billing_cycle_anchor", "subscription_cancel_at",
		"subscription_cancel_at_period_end", "subscription_cancel_now", "subscription_default_tax_rates",
		"subscription_items", "subscription_proration_behavior", "subscription_proration_date", "subscription_resume_at",
		"subscription_start_date", "subscription_trial_end", "subscription_trial_from_plan"} {
		preview[name] = param{kind: whatIf}
	}
	return []endpoint{
		{"GET /v1/subscriptions", listing.with(params{
			"customer": {}, "price": {}, "plan": {}, "created": {kind: dates}, "current_period_start": {kind: dates},
			"current_period_end": {kind: dates}, "collection_method": method,
		}).with(status("active", "past_due", "unpaid", "canceled", "incomplete", "incomplete_expired", "trialing",
			"paused", "all", "ended")), one("list:subscription"), s.listSubscriptions},
		{"GET /v1/subscriptions/search", params{"query": {}, "page": {}, "limit": {kind: limit}, "expand": {kind: array}},
			one("list:subscription"), s.searchSubscriptions},
		{"GET /v1/subscriptions/{id}", retrieving, one("subscription"), s.getSubscription},
		{"GET /v1/subscription_items", listing.with(params{"subscription": {}}), one("list:subscription_item"), s.listItems},
		{"GET /v1/customers/{id}", retrieving, one("customer"), s.getCustomer},
		{"GET /v1/customers/{id}/payment_methods", listing.with(params{"type": {}}), one("list:payment_method"), s.listMethods},
		{"GET /v1/payment_methods", listing.with(params{"type": {}, "customer": {}}), one("list:payment_method"), s.listMethods},
		{"GET /v1/payment_methods/{id}", retrieving, one("payment_method"), s.getMethod},
		{"GET /v1/invoices", listing.with(params{
			"customer": {}, "subscription": {}, "created": {kind: dates}, "due_date": {kind: dates}, "collection_method": method,
		}).with(status("draft", "open", "paid", "uncollectible", "void")), one("list:invoice"), s.listInvoices},
		{"GET /v1/invoices/upcoming", retrieving.with(preview), one("invoice"), s.getUpcoming},
		{"GET /v1/invoices/upcoming/lines", listing.with(preview), one("list:line_item"), s.listUpcomingLines},
		{"GET /v1/invoices/{id}", retrieving, one("invoice"), s.getInvoice},
		{"GET /v1/invoices/{id}/lines", listing, one("list:line_item"), s.listLines},
		{"GET /v1/events", listing.with(params{
			"type": {}, "types": {kind: array}, "created": {kind: dates}, "delivery_success": {kind: flag},
		}), one("list:event"), s.listEvents},
		{"GET /v1/events/{id}", retrieving, one("event"), s.getEvent},
	}
}

func (s *Server) listSubscriptions(c *call) (obj, *apiError) {
	q := c.query
	if id := q.text("customer"); id != "" && s.customers[id] == nil {
		return nil, badReference("customer", id, "customer")
	}
	keep := func(sub *subscription) bool {
		want := q.text("status")
		switch want {
		case "":
			if sub.Status == StatusCanceled {
				return false
			}
		case "all":
		case "ended":
			if !sub.Ended() {
				return false
			}
		default:
			if sub.Status != want {
				return false
			}
		}
		return fits(q.text("customer"), sub.Customer) && fits(q.text("collection_method"), sub.CollectionMethod) &&
			hasPrice(sub, q.text("price")) && hasPrice(sub, q.text("plan")) &&
			q.within("created", sub.Created.Unix()) &&
			q.within("current_period_start", sub.CurrentPeriodStart.Unix()) &&
			q.within("current_period_end", sub.CurrentPeriodEnd.Unix())
	}
	found, more, e := s.subList.page(q.page(), "subscription", keep)
	if e != nil {
		return nil, e
	}
	return listJSON("/v1/subscriptions", s.renderAll(found), more), nil
}

func fits(want, is string) bool { return want == "" || want == is }

func hasPrice(sub *subscription, id string) bool {
	return id == "" || slices.ContainsFunc(sub.Items, func(it Item) bool { return it.Price.ID == id })
}

// badReference is the answer to a parameter that names nothing: 400, where a
// path that names nothing is 404.
func badReference(kind, id, param string) *apiError {
	e := missing(kind, id, param)
	e.status = 400
	return e
}

func (s *Server) getSubscription(c *call) (obj, *apiError) {
	sub := s.subs[c.PathValue("id")]
	if sub == nil {
		return nil, missing("subscription", c.PathValue("id"), "id")
	}
	return s.subscriptionJSON(sub), nil
}

func (s *Server) listItems(c *call) (obj, *apiError) {
	id := c.query.text("subscription")
	if id == "" {
		return nil, invalid("parameter_missing", "subscription", "Missing required param: subscription.")
	}
	sub := s.subs[id]
	if sub == nil {
		return nil, badReference("subscription", id, "subscription")
	}
	found, more, e := pageOf(sub.Items, c.query.page(), "subscription item", func(it Item) string { return it.ID })
	if e != nil {
		return nil, e
	}
	data := []any{}
	for _, it := range found {
		i := slices.IndexFunc(sub.Items, func(o Item) bool { return o.ID == it.ID })
		item := s.itemJSON(sub, i)
		if isBasil(c.version) {
			item["current_period_start"], item["current_period_end"] = sub.CurrentPeriodStart.Unix(), sub.CurrentPeriodEnd.Unix()
		}
		data = append(data, item)
	}
	return listJSON("/v1/subscription_items", data, more), nil
}

func (s *Server) getCustomer(c *call) (obj, *apiError) {
	cus := s.customers[c.PathValue("id")]
	if cus == nil {
		return nil, missing("customer", c.PathValue("id"), "id")
	}
	return s.customerJSON(cus), nil
}

func (s *Server) getMethod(c *call) (obj, *apiError) {
	m := s.methods[c.PathValue("id")]
	if m == nil || m.Legacy {
		return nil, missing("PaymentMethod", c.PathValue("id"), "payment_method")
	}
	return s.methodJSON(m), nil
}

// listMethods answers both the list of a customer and the flat one.
func (s *Server) listMethods(c *call) (obj, *apiError) {
	id, url := c.PathValue("id"), "/v1/payment_methods"
	if id == "" {
		if id = c.query.text("customer"); id == "" {
			return nil, invalid("parameter_missing", "customer", "Missing required param: customer.")
		}
	} else {
		url = "/v1/customers/" + id + "/payment_methods"
	}
	cus := s.customers[id]
	if cus == nil || cus.Deleted {
		return nil, missing("customer", id, "customer")
	}
	var all []*paymentMethod // newest first
	for _, m := range slices.Backward(cus.methods) {
		if m.Customer == id && !m.Legacy && fits(c.query.text("type"), m.Type) {
			all = append(all, m)
		}
	}
	found, more, e := pageOf(all, c.query.page(), "PaymentMethod", func(m *paymentMethod) string { return m.ID })
	if e != nil {
		return nil, e
	}
	data := []any{}
	for _, m := range found {
		data = append(data, s.methodJSON(m))
	}
	return listJSON(url, data, more), nil
}

func (s *Server) listInvoices(c *call) (obj, *apiError) {
	q := c.query
	keep := func(inv *invoice) bool {
		return fits(q.text("status"), inv.Status) && fits(q.text("customer"), inv.Customer) &&
			fits(q.text("collection_method"), inv.CollectionMethod) && q.within("created", inv.Created.Unix()) &&
			(len(q.ranges["due_date"]) == 0 || !inv.DueDate.IsZero() && q.within("due_date", inv.DueDate.Unix()))
	}
	if id := q.text("customer"); id != "" && s.customers[id] == nil {
		return nil, badReference("customer", id, "customer")
	}
	var found []*invoice
	var more bool
	var e *apiError
	if id := q.text("subscription"); id != "" {
		sub := s.subs[id]
		if sub == nil {
			return nil, badReference("subscription", id, "subscription")
		}
		var all []*invoice
		for _, inv := range slices.Backward(sub.invoices) {
			if keep(inv) {
				all = append(all, inv)
			}
		}
		found, more, e = pageOf(all, q.page(), "invoice", func(inv *invoice) string { return inv.ID })
	} else {
		found, more, e = s.invoiceList.page(q.page(), "invoice", keep)
	}
	if e != nil {
		return nil, e
	}
	data := []any{}
	for _, inv := range found {
		data = append(data, s.invoiceJSON(inv))
	}
	return listJSON("/v1/invoices", data, more), nil
}

func (s *Server) getInvoice(c *call) (obj, *apiError) {
	inv := s.invoices[c.PathValue("id")]
	if inv == nil {
		return nil, missing("invoice", c.PathValue("id"), "invoice")
	}
	return s.invoiceJSON(inv), nil
}

func (s *Server) listLines(c *call) (obj, *apiError) {
	inv := s.invoices[c.PathValue("id")]
	if inv == nil {
		return nil, missing("invoice", c.PathValue("id"), "invoice")
	}
	return s.pageOfLines(inv, c)
}

func (s *Server) pageOfLines(inv *invoice, c *call) (obj, *apiError) {
	found, more, e := pageOf(inv.Lines, c.query.page(), "invoice line item", func(l Line) string { return l.ID })
	if e != nil {
		return nil, e
	}
	data := []any{}
	for _, l := range found {
		i := slices.IndexFunc(inv.Lines, func(o Line) bool { return o.ID == l.ID })
		data = append(data, s.lineJSON(inv, i))
	}
	return listJSON(linesURL(inv), data, more), nil
}

func (s *Server) getUpcoming(c *call) (obj, *apiError) {
	inv, e := s.findUpcoming(c)
	if e != nil {
		return nil, e
	}
	return s.invoiceJSON(inv), nil
}

func (s *Server) listUpcomingLines(c *call) (obj, *apiError) {
	inv, e := s.findUpcoming(c)
	if e != nil {
		return nil, e
	}
	return s.pageOfLines(inv, c)
}

// findUpcoming finds the next invoice of a subscription, or of the customer's
// subscription that is billed first.
func (s *Server) findUpcoming(c *call) (*invoice, *apiError) {
	if isBasil(c.version) {
		return nil, unrecognized(c.Request)
	}
	subID, cusID := c.query.text("subscription"), c.query.text("customer")
	var candidates []*subscription
	switch {
	case subID != "":
		sub := s.subs[subID]
		if sub == nil || !fits(cusID, sub.Customer) {
			return nil, missing("subscription", subID, "subscription")
		}
		candidates, cusID = []*subscription{sub}, sub.Customer
	case cusID != "":
		cus := s.customers[cusID]
		if cus == nil || cus.Deleted {
			return nil, missing("customer", cusID, "customer")
		}
		candidates = cus.subs
	default:
		return nil, invalid("parameter_missing", "customer", "Missing required param: customer.")
	}
	var first *invoice
	for _, sub := range candidates {
		if inv := s.upcoming(sub); inv != nil && (first == nil || inv.Created.Before(first.Created)) {
			first = inv
		}
	}
	if first == nil {
		e := invalid("invoice_upcoming_none", "", "No upcoming invoices for customer: %s", cusID)
		e.status = 404
		return nil, e
	}
	return first, nil
}

func (s *Server) listEvents(c *call) (obj, *apiError) {
	q := c.query
	types, pattern := q.array("types"), q.text("type")
	switch {
	case len(types) > 20:
		return nil, invalid("", "types", "You cannot specify more than 20 types.")
	case len(types) > 0 && pattern != "":
		return nil, invalid("", "types", "You may only specify one of these parameters: type, types.")
	}
	oldest := s.now().Add(-eventsFor)
	found, more, e := s.eventList.page(q.page(), "event", func(e *event) bool {
		return !e.Created.Before(oldest) && q.within("created", e.Created.Unix()) &&
			(len(types) == 0 || slices.Contains(types, e.Type)) && matchesType(pattern, e.Type) &&
			fits(q.text("delivery_success"), fmt.Sprint(e.delivered))
	})
	if e != nil {
		return nil, e
	}
	data := []any{}
	for _, e := range found {
		data = append(data, e.json())
	}
	return listJSON("/v1/events", data, more), nil
}

// matchesType knows one wildcard, at the end: invoice.*.
func matchesType(pattern, is string) bool {
	if prefix, wild := strings.CutSuffix(pattern, "*"); wild {
		return strings.HasPrefix(is, prefix)
	}
	return fits(pattern, is)
}

func (s *Server) getEvent(c *call) (obj, *apiError) {
	e := s.events[c.PathValue("id")]
	if e == nil || e.Created.Before(s.now().Add(-eventsFor)) {
		return nil, missing("event", c.PathValue("id"), "id")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(e.json()), &fields); err != nil {
		panic(fmt.Sprintf("stripe sandbox: read back event %s: %v", e.ID, err)) // it was made by post
	}
	out := obj{}
	for k, v := range fields {
		out[k] = raw(v)
	}
	return out, nil
}
