package stripe

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"hotsync/event"
	"hotsync/internal/secret"
	"hotsync/record"
)

const defaultMaxBytes = 1 << 20

// Decoder makes triggers of webhooks. It is safe for concurrent use.
type Decoder struct{ cfg DecoderConfig }

// NewDecoder returns a decoder, or an error that names what is wrong with cfg.
func NewDecoder(cfg DecoderConfig) (*Decoder, error) {
	cfg.Secrets = slices.DeleteFunc(slices.Clone(cfg.Secrets), secret.Value.IsZero)
	if cfg.Policy == "" {
		cfg.Policy = SignatureOff
		if len(cfg.Secrets) > 0 {
			cfg.Policy = SignatureRequired
		}
	}
	switch cfg.Policy {
	case SignatureOff:
	case SignatureRequired, SignatureIfPresent:
		if len(cfg.Secrets) == 0 {
			return nil, fmt.Errorf("signature policy %q needs at least one signing secret (whsec_…)", cfg.Policy)
		}
	default:
		return nil, fmt.Errorf("signature policy %q: must be %s, %s or %s", cfg.Policy, SignatureRequired, SignatureIfPresent, SignatureOff)
	}
	if cfg.Tolerance < 0 {
		return nil, fmt.Errorf("signature tolerance %s: must not be negative", cfg.Tolerance)
	}
	for _, t := range cfg.IgnoreTypes {
		if t == "" || strings.Contains(strings.TrimSuffix(t, "*"), "*") {
			return nil, fmt.Errorf("ignored type %q: must be an event type, or a prefix that ends in one star", t)
		}
	}
	if cfg.MetadataSourceKeys == nil {
		cfg.MetadataSourceKeys = []string{"limio_source", "source"}
	}
	if cfg.HeaderSource == "" {
		cfg.HeaderSource = "source"
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Decoder{cfg: cfg}, nil
}

// webhookEvent is what is read of an event: ids, and who asked for the change.
// Everything else stays behind, since it may be out of date (zuora-stripe.md
// S1: order is not guaranteed).
type webhookEvent struct {
	ID      string          `json:"id"`
	Object  string          `json:"object"`
	Type    string          `json:"type"`
	Created int64           `json:"created"`
	Request json.RawMessage `json:"request"`
	Data    struct {
		Object             *object        `json:"object"`
		PreviousAttributes previousValues `json:"previous_attributes"`
	} `json:"data"`
}

// object is the part of data.object that says what it belongs to.
type object struct {
	ID                   ref        `json:"id"`
	Customer             ref        `json:"customer"`
	Subscription         ref        `json:"subscription"`
	ReleasedSubscription ref        `json:"released_subscription"`
	Metadata             stringMap  `json:"metadata"`
	SubscriptionDetails  subDetails `json:"subscription_details"`
	Parent               struct {   // since 2025-03-31.basil
		SubscriptionDetails subDetails `json:"subscription_details"`
	} `json:"parent"`
}

type subDetails struct {
	Subscription ref       `json:"subscription"`
	Metadata     stringMap `json:"metadata"`
}

type previousValues struct {
	Customer ref `json:"customer"`
}

// ref is an id, or the id of an expanded object; anything else is no id.
type ref string

// UnmarshalJSON implements json.Unmarshaler.
func (r *ref) UnmarshalJSON(b []byte) error {
	*r = ""
	var s string
	if json.Unmarshal(b, &s) == nil {
		*r = ref(s)
		return nil
	}
	var o struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(b, &o) == nil {
		*r = ref(o.ID)
	}
	return nil
}

// stringMap is metadata. Values that are not strings are dropped: an odd one
// is no reason to lose the event.
type stringMap map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (m *stringMap) UnmarshalJSON(b []byte) error {
	*m = nil
	var raw map[string]json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		return nil
	}
	*m = make(stringMap, len(raw))
	for k, v := range raw {
		var s string
		if json.Unmarshal(v, &s) == nil && s != "" {
			(*m)[k] = s
		}
	}
	return nil
}

// Decode reads a message. Its errors are *event.BadInput.
//
// The message is either the body that Stripe sent, untouched, with the
// signature in the Kafka header Stripe-Signature, or a JSON object around it:
//
//	{"body": "<the body as a string>", "headers": {"Stripe-Signature": "t=…,v1=…"},
//	 "isBase64Encoded": false, "source": "shop"}
//
// of which only body is required. Names of headers are compared without regard
// to case; a value may be a list, as API gateways write them.
func (d *Decoder) Decode(_ context.Context, m event.Message) (event.Reading, error) {
	if len(m.Value) > d.cfg.MaxBytes {
		return event.Reading{}, &event.BadInput{
			Reason: event.ReasonTooLarge, Redacted: redact(m.Value),
			Err: fmt.Errorf("message of %d bytes: at most %d are read (max_bytes)", len(m.Value), d.cfg.MaxBytes),
		}
	}
	env, err := unwrap(m)
	if err != nil {
		return event.Reading{}, &event.BadInput{Reason: event.ReasonUndecodable, Err: err, Redacted: redact(m.Value)}
	}
	w, parseErr := parse(env.body)
	bad := func(reason event.Reason, err error) error {
		return &event.BadInput{Reason: reason, Type: w.Type, Delivery: w.ID, Err: err, Redacted: redact(m.Value)}
	}
	// The signature comes first: what a forger wrote is not worth an opinion.
	if err := d.verify(env, m.Time); err != nil {
		return event.Reading{}, bad(event.ReasonBadSignature, err)
	}
	if parseErr != nil {
		return event.Reading{}, bad(event.ReasonUndecodable, parseErr)
	}
	at := time.Unix(w.Created, 0).UTC()
	nothing := func(note string) (event.Reading, error) {
		return event.Reading{Reason: event.ReasonIrrelevantType, Note: note, Type: w.Type, Delivery: w.ID, At: at}, nil
	}
	if d.ignored(w.Type) {
		return nothing(fmt.Sprintf("events of type %s are ignored by configuration", w.Type))
	}
	key, note, err := target(w)
	if err != nil {
		return event.Reading{}, bad(event.ReasonUndecodable, err)
	}
	if key.IsZero() {
		return nothing(note)
	}
	received := m.Time
	if received.IsZero() {
		received = d.cfg.Now()
	}
	return event.Reading{Triggers: []event.Trigger{{
		ID: event.TriggerID(m.Coordinates, 0), Key: key,
		Cause: event.CauseStripe, Origin: d.origin(m, env, w),
		Type: w.Type, Delivery: w.ID, Source: m.Coordinates,
		At: at, Received: received,
	}}}, nil
}

// parse reads the body. What could be read is returned with the error, so that
// a rejected event can name the delivery.
func parse(body []byte) (webhookEvent, error) {
	var w webhookEvent
	if err := json.Unmarshal(body, &w); err != nil {
		return webhookEvent{}, fmt.Errorf("the body is not a Stripe event: %w", err)
	}
	id, typ := w.ID, w.Type
	if !isID(id) {
		w.ID = ""
	}
	if !isType(typ) {
		w.Type = ""
	}
	switch {
	case w.Object != "" && w.Object != "event":
		return w, fmt.Errorf("the body is a Stripe object of type %.40q, want an event", w.Object)
	case w.ID == "":
		return w, fmt.Errorf("the body is not a Stripe event: its id is %.40q", id)
	case w.Type == "":
		return w, fmt.Errorf("the body is not a Stripe event: the type of %s is %.40q", w.ID, typ)
	case w.Data.Object == nil:
		return w, fmt.Errorf("event %s of type %s has no data.object (thin events are not supported; send snapshot events)", w.ID, w.Type)
	case w.Created <= 0 || w.Created > maxUnix:
		return w, fmt.Errorf("event %s of type %s: created is %d, want seconds since 1970", w.ID, w.Type, w.Created)
	}
	return w, nil
}

// maxUnix is the end of the year 9999, the last that JSON timestamps can say.
const maxUnix = 253402300799

// isID reports whether s can be a Stripe id. It goes into addresses, so it may
// hold no slash, space or control character.
func isID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 255
}

// isType reports whether s can be the type of an event, such as invoice.paid.
func isType(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 200
}

func (d *Decoder) ignored(typ string) bool {
	return slices.ContainsFunc(d.cfg.IgnoreTypes, func(p string) bool {
		prefix, star := strings.CutSuffix(p, "*")
		return typ == p || star && strings.HasPrefix(typ, prefix)
	})
}

// The prefixes of the types that can
// change what Limio shows (zuora-stripe.md S1).
const (
	prefixSubscription = "customer.subscription."
	prefixSchedule     = "subscription_schedule."
	prefixInvoice      = "invoice."
	prefixMethod       = "payment_method."
	prefixCustomer     = "customer."
)

// target returns the key an event points at, or why it points at none.
func target(w webhookEvent) (key record.Key, note string, err error) {
	o := w.Data.Object
	subscription := func(ids ...ref) (record.Key, string, error) {
		id := firstRef(ids...)
		if id == "" {
			return record.Key{}, fmt.Sprintf("%s %s belongs to no subscription", objectOf(w.Type), orNoID(o.ID)), nil
		}
		if !isID(string(id)) {
			return record.Key{}, "", fmt.Errorf("event %s of type %s: %.40q is not a Stripe id", w.ID, w.Type, string(id))
		}
		return record.StripeSubscription(string(id)), "", nil
	}
	customer := func(ids ...ref) (record.Key, string, error) {
		id := firstRef(ids...)
		if id == "" {
			return record.Key{}, fmt.Sprintf("%s %s belongs to no customer", objectOf(w.Type), orNoID(o.ID)), nil
		}
		if !isID(string(id)) {
			return record.Key{}, "", fmt.Errorf("event %s of type %s: %.40q is not a Stripe id", w.ID, w.Type, string(id))
		}
		return record.StripeCustomer(string(id)), "", nil
	}
	switch {
	case strings.HasPrefix(w.Type, prefixSubscription):
		if o.ID == "" {
			return record.Key{}, "", fmt.Errorf("event %s of type %s: data.object.id is missing", w.ID, w.Type)
		}
		return subscription(o.ID)
	case strings.HasPrefix(w.Type, prefixSchedule):
		return subscription(o.Subscription, o.ReleasedSubscription)
	case strings.HasPrefix(w.Type, prefixInvoice):
		return subscription(o.Subscription, o.Parent.SubscriptionDetails.Subscription)
	case strings.HasPrefix(w.Type, prefixMethod):
		return customer(o.Customer, w.Data.PreviousAttributes.Customer)
	case strings.HasPrefix(w.Type, prefixCustomer):
		if strings.Count(w.Type, ".") == 1 { // customer.updated: the object is the customer
			return customer(o.ID)
		}
		// customer.source.updated and the like: the object belongs to one. A
		// discount may belong to one subscription only.
		if o.Subscription != "" {
			return subscription(o.Subscription)
		}
		return customer(o.Customer, w.Data.PreviousAttributes.Customer)
	}
	return record.Key{}, fmt.Sprintf("events of type %s change nothing that Limio shows", w.Type), nil
}

func firstRef(ids ...ref) ref {
	for _, id := range ids {
		if id != "" {
			return id
		}
	}
	return ""
}

// objectOf returns what an event type is about: its name without the verb.
func objectOf(typ string) string { return typ[:strings.LastIndexByte(typ, '.')] }

func orNoID(id ref) string {
	if !isID(string(id)) {
		return "(without id)"
	}
	return string(id)
}
