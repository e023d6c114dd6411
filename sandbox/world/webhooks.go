package world

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"hotsync/sandbox/stripe"
)

// webhooks takes what Stripe has to tell and makes messages of it. A source,
// when there is one, is named in a header now and then, as a producer does that
// knows who asked for the change.
func (w *World) webhooks(source string) []Message {
	named := source != "" && w.rnd.IntN(3) == 0
	var out []Message
	for _, e := range w.stripe.TakeEvents() {
		w.note(e)
		m := w.webhook(e.Body)
		if named {
			m.Headers["source"] = source
		}
		out = append(out, m)
	}
	return out
}

// note remembers the newest event of each subscription.
func (w *World) note(e stripe.Event) {
	var body struct {
		Data struct {
			Object struct {
				ID           string `json:"id"`
				Customer     string `json:"customer"`
				Subscription string `json:"subscription"`
				Parent       struct {
					Details struct {
						Subscription string `json:"subscription"`
					} `json:"subscription_details"`
				} `json:"parent"`
			} `json:"object"`
			Previous struct {
				Customer string `json:"customer"`
			} `json:"previous_attributes"`
		} `json:"data"`
	}
	_ = json.Unmarshal(e.Body, &body) // some objects spell these otherwise: they are of no subscription
	o := body.Data.Object
	for _, id := range []string{o.ID, o.Subscription, o.Parent.Details.Subscription} {
		if s := w.bySub[id]; s != nil {
			s.last, s.changed = e.ID, true
		}
	}
	if !strings.HasPrefix(e.Type, "customer.") && !strings.HasPrefix(e.Type, "payment_method.") {
		return
	}
	for _, s := range w.subs {
		if s.Customer == o.Customer || s.Customer == o.ID || s.Customer == body.Data.Previous.Customer {
			s.last, s.changed = e.ID, true
		}
	}
}

// webhook makes a message of a body: as it came, or in an object as API
// gateways write it.
func (w *World) webhook(body []byte) Message {
	signature := w.stripe.Sign(body, w.clock.Now())
	m := Message{Topic: TopicStripe, Value: body, Headers: map[string]string{}}
	if w.rnd.IntN(3) > 0 {
		m.Key = fmt.Appendf(nil, "%s", w.hex(8))
	}
	switch form := w.rnd.IntN(10); {
	case form < 7:
		m.Headers["Stripe-Signature"] = signature
	case form < 9:
		m.Value = encode(map[string]any{"body": string(body), "headers": map[string]string{"stripe-signature": signature}})
	default:
		m.Value = encode(map[string]any{
			"body": base64.StdEncoding.EncodeToString(body), "isBase64Encoded": true,
			"headers": map[string][]string{"Stripe-Signature": {signature}},
		})
	}
	return m
}

// event makes an event by hand, for what the simulated Stripe does not send.
func (w *World) event(typ string, object map[string]any) []byte {
	return encode(map[string]any{
		"id": "evt_1" + w.alnum(23), "object": "event", "api_version": stripe.APIVersion, "created": w.clock.Now().Unix(),
		"livemode": false, "pending_webhooks": 1, "request": map[string]any{"id": nil, "idempotency_key": nil},
		"type": typ, "data": map[string]any{"object": object},
	})
}

// announce is an event that points at a subscription, as if somebody had asked
// Stripe to send it once more.
func (w *World) announce(s *subscription) Message {
	typ, status := "customer.subscription.updated", "active"
	if sub, _ := w.stripe.Subscription(s.ID); sub.Ended() {
		typ, status = "customer.subscription.deleted", "canceled"
	}
	return w.webhook(w.event(typ, map[string]any{
		"id": s.ID, "object": "subscription", "customer": s.Customer, "status": status, "metadata": map[string]string{LinkKey: s.Limio},
	}))
}
