package world

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// loginOfMessage reads a login with plain encoding/json, whatever its form.
func loginOfMessage(t *testing.T, m Message) (provider string, header, claims map[string]any) {
	t.Helper()
	var body struct {
		Provider string          `json:"provider"`
		Token    string          `json:"id_token"`
		Data     json.RawMessage `json:"data"`
		ID       string          `json:"id"`
		At       string          `json:"occurred_at"`
		Time     string          `json:"time"`
	}
	if err := json.Unmarshal(m.Value, &body); err != nil {
		t.Fatalf("login %s: %v", m.Value, err)
	}
	if body.ID == "" && m.Headers["ce_id"] == "" || body.At == "" && body.Time == "" && m.Headers["ce_time"] == "" {
		t.Errorf("a login without id or time: %s %v", m.Value, m.Headers)
	}
	if body.Data != nil {
		if err := json.Unmarshal(body.Data, &body); err != nil {
			t.Fatalf("data of %s: %v", m.Value, err)
		}
	}
	parts := strings.Split(body.Token, ".")
	if len(parts) != 3 || m.Topic != TopicLogins {
		t.Fatalf("token %q on topic %s", body.Token, m.Topic)
	}
	for i, into := range []*map[string]any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(raw, into)
		}
		if err != nil {
			t.Fatalf("token part %d: %v", i, err)
		}
	}
	return body.Provider, header, claims
}

type webhookBody struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Created int64  `json:"created"`
	Request struct {
		ID *string `json:"id"`
	} `json:"request"`
	Data struct {
		Object struct {
			ID       string            `json:"id"`
			Customer any               `json:"customer"`
			Metadata map[string]string `json:"metadata"`
			Parent   *struct {
				Details struct {
					Subscription string `json:"subscription"`
				} `json:"subscription_details"`
			} `json:"parent"`
		} `json:"object"`
	} `json:"data"`
}

// webhookOf reads a webhook in any of its wrappings and checks its signature.
func webhookOf(t *testing.T, w *World, m Message) webhookBody {
	t.Helper()
	raw, signature := m.Value, m.Headers["Stripe-Signature"]
	var wrapped struct {
		Body    *string        `json:"body"`
		Base64  bool           `json:"isBase64Encoded"`
		Headers map[string]any `json:"headers"`
	}
	if err := json.Unmarshal(m.Value, &wrapped); err != nil {
		t.Fatalf("webhook %.200s: %v", m.Value, err)
	}
	if wrapped.Body != nil {
		raw = []byte(*wrapped.Body)
		if wrapped.Base64 {
			var err error
			if raw, err = base64.StdEncoding.DecodeString(*wrapped.Body); err != nil {
				t.Fatal(err)
			}
		}
		for _, v := range wrapped.Headers {
			if list, ok := v.([]any); ok {
				v = list[0]
			}
			signature = v.(string)
		}
	}
	if want := w.stripe.Sign(raw, w.clock.Now()); signature != want || m.Topic != TopicStripe {
		t.Errorf("signature %q on topic %s, want %q", signature, m.Topic, want)
	}
	var body webhookBody
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Fatal(err)
	}
	if body.ID == "" || body.Type == "" || body.Created == 0 {
		t.Errorf("an event without id, type or time: %.200s", raw)
	}
	return body
}
