package world

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// PoisonKind is a kind of message that nobody can read or believe.
type PoisonKind string

// The poison.
const (
	NotJSON        PoisonKind = "not_json"
	TruncatedJSON  PoisonKind = "truncated_json"
	TwoMegabytes   PoisonKind = "two_megabytes"
	Binary         PoisonKind = "binary"
	WrongSignature PoisonKind = "wrong_signature" // Stripe only
	EmptyValue     PoisonKind = "empty_value"
	JSONArray      PoisonKind = "json_array"
)

// Poisons lists all kinds.
func Poisons() []PoisonKind {
	return []PoisonKind{NotJSON, TruncatedJSON, TwoMegabytes, Binary, WrongSignature, EmptyValue, JSONArray}
}

// Poison is a message of a kind on a topic. The largest has two megabytes, so
// the topic must take that much. Half of what comes from Stripe is signed.
func (w *World) Poison(topic string, kind PoisonKind) (Step, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if topic != TopicLogins && topic != TopicStripe {
		return Step{}, fmt.Errorf("poison: topic %q is neither %s nor %s", topic, TopicLogins, TopicStripe)
	}
	if kind == WrongSignature && topic != TopicStripe {
		return Step{}, fmt.Errorf("poison: only Stripe signs")
	}
	good := w.event("invoice.paid", map[string]any{"id": "in_1" + w.alnum(23), "object": "invoice", "subscription": one(w.rnd, w.subs).ID})
	if topic == TopicLogins {
		u := one(w.rnd, w.users)
		good = w.loginMessage(u.Provider, w.token(u.Provider, w.claims(w.provider(u.Provider), u.ID), byProvider), "").Value
	}
	m := Message{Topic: topic, Headers: map[string]string{}}
	switch kind {
	case NotJSON:
		m.Value = []byte("Dear hotsync, please sync everything. Regards, <b>a person</b>")
	case TruncatedJSON:
		m.Value = good[:len(good)*2/3]
	case TwoMegabytes:
		m.Value = slices.Concat([]byte(`{"padding":"`), bytes.Repeat([]byte("x"), 2<<20), []byte(`",`), good[1:])
	case Binary:
		m.Value = make([]byte, 512)
		for i := range m.Value {
			m.Value[i] = byte(w.rnd.UintN(256))
		}
	case WrongSignature:
		m.Value = good
		m.Headers["Stripe-Signature"] = fmt.Sprintf("t=%d,v1=%s", w.clock.Now().Unix(), strings.Repeat("0", 64))
	case EmptyValue:
		m.Value = []byte{}
	case JSONArray:
		m.Value = slices.Concat([]byte("["), good, []byte("]"))
	default:
		return Step{}, fmt.Errorf("poison: there is no kind %q", kind)
	}
	if topic == TopicStripe && kind != WrongSignature && w.rnd.IntN(2) == 0 {
		m.Headers["Stripe-Signature"] = w.stripe.Sign(m.Value, w.clock.Now())
	}
	return Step{Messages: []Message{m}}, nil
}
