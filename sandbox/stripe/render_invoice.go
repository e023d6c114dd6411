package stripe

import "strconv"

func (s *Server) invoiceJSON(inv *invoice) obj {
	c := s.customers[inv.Customer]
	out := obj{
		"object": "invoice", "account_country": "US", "account_name": "Sandbox", "account_tax_ids": nil,
		"amount_due": inv.AmountDue(), "amount_paid": inv.AmountPaid, "amount_remaining": inv.AmountRemaining(),
		"amount_shipping": 0, "application": nil, "application_fee_amount": nil,
		"attempt_count": inv.AttemptCount, "attempted": inv.Attempted, "auto_advance": inv.AutoAdvance,
		"automatic_tax":  raw(`{"enabled":false,"liability":null,"status":null}`),
		"billing_reason": inv.BillingReason, "charge": orNull(inv.Charge), "collection_method": inv.CollectionMethod,
		"created": inv.Created.Unix(), "currency": inv.Currency, "custom_fields": nil,
		"customer": inv.Customer, "customer_address": nil, "customer_email": orNull(c.Email),
		"customer_name": orNull(c.Name), "customer_phone": orNull(c.Phone), "customer_shipping": nil,
		"customer_tax_exempt": "none", "customer_tax_ids": []any{}, "default_payment_method": nil,
		"default_source": nil, "default_tax_rates": []any{}, "description": nil, "discount": nil, "discounts": []any{},
		"due_date": unix(inv.DueDate), "effective_at": unix(inv.FinalizedAt), "ending_balance": nil, "footer": nil,
		"from_invoice": nil, "hosted_invoice_url": nil, "invoice_pdf": nil, "issuer": raw(`{"type":"self"}`),
		"last_finalization_error": nil, "latest_revision": nil,
		"lines":    s.linesJSON(inv),
		"livemode": false, "metadata": obj{}, "next_payment_attempt": unix(inv.NextPaymentAttempt),
		"number": orNull(inv.Number), "on_behalf_of": nil, "paid": inv.Status == InvoicePaid,
		"paid_out_of_band": inv.PaidOutOfBand, "payment_intent": orNull(inv.PaymentIntent),
		"payment_settings": raw(`{"default_mandate":null,"payment_method_options":null,"payment_method_types":null}`),
		"period_end":       inv.PeriodEnd.Unix(), "period_start": inv.PeriodStart.Unix(),
		"post_payment_credit_notes_amount": 0, "pre_payment_credit_notes_amount": 0, "quote": nil,
		"receipt_number": nil, "rendering": nil, "shipping_cost": nil, "shipping_details": nil,
		"starting_balance": 0, "statement_descriptor": nil, "status": inv.Status,
		"status_transitions": obj{"finalized_at": unix(inv.FinalizedAt), "paid_at": unix(inv.PaidAt),
			"marked_uncollectible_at": unix(inv.MarkedUncollectibleAt), "voided_at": unix(inv.VoidedAt)},
		"subscription": inv.Subscription, "subscription_details": obj{"metadata": metadataJSON(inv.Metadata)},
		"subtotal": inv.Total, "subtotal_excluding_tax": inv.Total, "tax": nil, "test_clock": nil, "total": inv.Total,
		"total_discount_amounts": []any{}, "total_excluding_tax": inv.Total, "total_tax_amounts": []any{},
		"transfer_data": nil, "webhooks_delivered_at": nil,
	}
	if inv.ID == "" { // an upcoming invoice has no id at all
		return out
	}
	out["id"] = inv.ID
	out["webhooks_delivered_at"] = inv.Created.Unix()
	if !inv.FinalizedAt.IsZero() {
		page := "https://invoice.stripe.com/i/acct_sandbox/test_" + inv.ID
		out["hosted_invoice_url"], out["invoice_pdf"], out["ending_balance"] = page, page+"/pdf", 0
	}
	return out
}

func linesURL(inv *invoice) string {
	if inv.ID == "" {
		return "/v1/invoices/upcoming/lines?customer=" + inv.Customer + "&subscription=" + inv.Subscription
	}
	return "/v1/invoices/" + inv.ID + "/lines"
}

func (s *Server) linesJSON(inv *invoice) obj {
	data := []any{}
	for i := range inv.Lines[:min(len(inv.Lines), inlineLimit)] {
		data = append(data, s.lineJSON(inv, i))
	}
	return listJSON(linesURL(inv), data, len(inv.Lines) > inlineLimit)
}

func (s *Server) lineJSON(inv *invoice, i int) obj {
	l := inv.Lines[i]
	unit := l.Price.UnitAmount
	if l.Amount == 0 {
		unit = 0
	}
	out := obj{
		"id": l.ID, "object": "line_item", "amount": l.Amount, "amount_excluding_tax": l.Amount,
		"currency": inv.Currency, "description": l.Description, "discount_amounts": []any{}, "discountable": true,
		"discounts": []any{}, "livemode": false, "metadata": metadataJSON(inv.Metadata),
		"period": obj{"start": l.PeriodStart.Unix(), "end": l.PeriodEnd.Unix()},
		"price":  priceJSON(l.Price), "proration": l.Proration, "proration_details": raw(`{"credited_items":null}`),
		"quantity": l.Quantity, "subscription": inv.Subscription, "subscription_item": l.Item,
		"tax_amounts": []any{}, "tax_rates": []any{}, "type": "subscription",
		"unit_amount_excluding_tax": strconv.FormatInt(unit, 10),
	}
	if inv.ID != "" {
		out["invoice"] = inv.ID
	}
	return out
}

func (s *Server) chargeJSON(ch *charge) obj {
	captured, status, failure, message := ch.amount, "succeeded", any(nil), any(nil)
	outcome := obj{"network_status": "approved_by_network", "reason": nil, "risk_level": "normal",
		"seller_message": "Payment complete.", "type": "authorized"}
	if ch.failed {
		captured, status, failure, message = 0, "failed", "card_declined", "Your card was declined."
		outcome = obj{"network_status": "declined_by_network", "reason": "insufficient_funds", "risk_level": "normal",
			"seller_message": "The bank returned the decline code `insufficient_funds`.", "type": "issuer_declined"}
	}
	details := obj{"type": "card"}
	if m := s.methods[ch.method]; m != nil {
		details["type"] = m.Type
		details[m.Type] = obj{}
		if c := m.Card; c != nil {
			details["card"] = obj{"brand": c.Brand, "country": c.Country, "exp_month": c.ExpMonth, "exp_year": c.ExpYear,
				"fingerprint": fingerprint(m.ID), "funding": c.Funding, "installments": nil, "last4": c.Last4,
				"mandate": nil, "network": c.Brand, "three_d_secure": nil, "wallet": nil,
				"checks": obj{"address_line1_check": nil, "address_postal_code_check": nil, "cvc_check": nil}}
		}
	}
	return obj{
		"id": ch.id, "object": "charge", "amount": ch.amount, "amount_captured": captured, "amount_refunded": 0,
		"application": nil, "application_fee": nil, "application_fee_amount": nil, "balance_transaction": nil,
		"billing_details":                 obj{"address": noAddress, "email": nil, "name": nil, "phone": nil},
		"calculated_statement_descriptor": nil, "captured": !ch.failed, "created": ch.created.Unix(),
		"currency": ch.currency, "customer": ch.customer, "description": ch.description, "disputed": false,
		"failure_balance_transaction": nil, "failure_code": failure, "failure_message": message,
		"fraud_details": obj{}, "invoice": ch.invoice, "livemode": false, "metadata": obj{}, "on_behalf_of": nil,
		"outcome": outcome, "paid": !ch.failed, "payment_intent": ch.intent, "payment_method": ch.method,
		"payment_method_details": details, "receipt_email": nil, "receipt_number": nil, "receipt_url": nil,
		"refunded": false, "review": nil, "shipping": nil, "source": nil, "source_transfer": nil,
		"statement_descriptor": nil, "statement_descriptor_suffix": nil, "status": status,
		"transfer_data": nil, "transfer_group": nil,
	}
}

func (s *Server) intentJSON(pi *intent) obj {
	received, failure := int64(0), any(nil)
	if pi.status == "succeeded" {
		received = pi.amount
	} else if pi.charge != "" {
		failure = obj{"charge": pi.charge, "code": "card_declined", "decline_code": "insufficient_funds",
			"doc_url": "https://stripe.com/docs/error-codes/card-declined", "message": "Your card was declined.",
			"type": "card_error"}
	}
	return obj{
		"id": pi.id, "object": "payment_intent", "amount": pi.amount, "amount_capturable": 0,
		"amount_details": obj{"tip": obj{}}, "amount_received": received, "application": nil,
		"application_fee_amount": nil, "automatic_payment_methods": nil, "canceled_at": nil,
		"cancellation_reason": nil, "capture_method": "automatic",
		"client_secret": pi.id + "_secret_sandbox", "confirmation_method": "automatic", "created": pi.created.Unix(),
		"currency": pi.currency, "customer": pi.customer, "description": pi.description, "invoice": pi.invoice,
		"last_payment_error": failure, "latest_charge": orNull(pi.charge), "livemode": false, "metadata": obj{},
		"next_action": nil, "on_behalf_of": nil, "payment_method": orNull(pi.method),
		"payment_method_configuration_details": nil, "payment_method_options": obj{},
		"payment_method_types": []any{"card"}, "processing": nil, "receipt_email": nil, "review": nil,
		"setup_future_usage": "off_session", "shipping": nil, "source": nil, "statement_descriptor": nil,
		"statement_descriptor_suffix": nil, "status": pi.status, "transfer_data": nil, "transfer_group": nil,
	}
}
