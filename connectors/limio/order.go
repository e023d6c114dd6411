package limio

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
	"hotsync/record"
)

// SendOrder sends an order and returns what Limio says of it: one call, carried
// out before Limio answers. Limio takes the same external id twice and makes two
// subscriptions of it (limio.md 3.3), so whoever calls this must know that the
// order is not there.
//
// UnknownOutcome: the answer was lost, or Limio answered with a fault of its
// own (5xx), which does not tell whether the order was taken. Look for it with
// OrderByExternalID before anything else. Refused: the order is wrong; or, when
// the result has an id, it was taken and failed. An order without an error is
// taken; Order says what became of it.
func (c *Client) SendOrder(ctx context.Context, externalID string, o record.NewOrder) (record.PlacedOrder, error) {
	if !rest.Segment(externalID) {
		return record.PlacedOrder{}, fault.Newf(fault.Bug, "%q is no external id for an order", rest.Snippet(externalID, 80))
	}
	if err := o.Validate(); err != nil {
		return record.PlacedOrder{}, fault.As(fault.Refused, fmt.Errorf("order %s is not sent: %w", externalID, err))
	}
	body, err := json.Marshal(orderBody(externalID, o))
	if err != nil {
		return record.PlacedOrder{}, fault.As(fault.Bug, fmt.Errorf("encode order %s: %w", externalID, err))
	}
	req := rest.Request{
		Method: http.MethodPost, Route: "/api/order", URL: c.rest.URL(nil, "api", "order"), Writes: true, Body: body,
	}
	answer, err := c.once(ctx, req)
	if err != nil {
		return record.PlacedOrder{}, err
	}
	var taken struct {
		ID        string `json:"id"`
		Status    string `json:"status"`
		Reference string `json:"subscriptionReference"`
	}
	if err := json.Unmarshal(answer.Body, &taken); err != nil || !strings.HasPrefix(taken.ID, "order-") {
		return record.PlacedOrder{}, fault.Newf(fault.UnknownOutcome, "%s: limio answered %d, but without the id of an order", req, answer.Status)
	}
	placed := record.PlacedOrder{
		ID: taken.ID, ExternalID: externalID, State: orderState(taken.Status), SubscriptionReference: taken.Reference, Created: c.cfg.Now().UTC(),
	}
	if placed.State == record.OrderFailed {
		return placed, fault.Newf(fault.Refused, "%s: limio took the order as %s, but could not carry it out", req, taken.ID)
	}
	return placed, nil
}

// order is SendOrder for Apply.
func (c *Client) order(ctx context.Context, w record.Write) (string, error) {
	if w.Type != record.OrderType || w.Order == nil {
		return "", fault.Newf(fault.Bug, "a %q cannot be ordered, or there is nothing to order", w.Type)
	}
	taken, err := c.SendOrder(ctx, w.Ref, *w.Order)
	return taken.ID, err
}

// orderBody is a request of order type new (limio.md 3.3).
func orderBody(externalID string, o record.NewOrder) map[string]any {
	items := make([]map[string]any, len(o.Items))
	for i, item := range o.Items {
		items[i] = map[string]any{"offer": filled(map[string]string{"id": item.Offer, "version": item.Version}), "quantity": item.Quantity}
	}
	payment := map[string]any{"type": o.Payment}
	if o.Method != nil && (o.Payment == "stripe" || o.Payment == "zuora") {
		payment[o.Payment] = map[string]any{"result": methodResult(o.Payment, *o.Method)}
	}
	b := o.Buyer
	body := map[string]any{
		"order_type": "new", "external_id": externalID, "process_immediately": true,
		"source": o.Source, "initiated_source": cmp.Or(o.InitiatedSource, o.Source),
		"orderItems": items, "payment": payment, "country": o.Country, "checkoutId": basket(externalID),
		"customerDetails": filled(map[string]string{"firstName": b.FirstName, "lastName": b.LastName, "email": b.Email, "phone": b.Phone}),
	}
	if !o.Start.IsZero() {
		body["orderDate"] = o.Start.UTC().Format(time.RFC3339)
	}
	if b.Line1+b.Line2+b.City+b.State+b.PostalCode != "" {
		body["billingDetails"] = filled(map[string]string{
			"firstName": b.FirstName, "lastName": b.LastName, "email": b.Email, "phone": b.Phone, "address1": b.Line1,
			"address2": b.Line2, "city": b.City, "state": b.State, "postalCode": b.PostalCode, "country": b.Country,
		})
	}
	return body
}

// methodResult is a means of payment in the words of its service (assumption
// 11).
func methodResult(service string, m record.PaymentMethod) map[string]any {
	if service == "zuora" {
		return map[string]any{"Id": m.ID, "Type": m.Type}
	}
	return map[string]any{"id": m.ID, "brand": m.Brand, "last4": m.Last4, "exp_month": m.ExpMonth, "exp_year": m.ExpYear}
}

func filled(fields map[string]string) map[string]string {
	for name, value := range fields {
		if value == "" {
			delete(fields, name)
		}
	}
	return fields
}

// basket is the checkout id of an order that no basket led to: always the same
// for one external id, a UUID made of its hash (RFC 9562, version 8).
func basket(externalID string) string {
	h := sha256.Sum256([]byte("hotsync order " + externalID))
	h[6] = h[6]&0x0f | 0x80
	h[8] = h[8]&0x3f | 0x80
	x := hex.EncodeToString(h[:16])
	return "basket-" + x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// orderState reads orderState of an order and status of an answer.
func orderState(s string) record.OrderState {
	switch strings.ToLower(s) {
	case "complete", "completed":
		return record.OrderComplete
	case "failed", "error":
		return record.OrderFailed
	}
	return record.OrderSubmitted
}
