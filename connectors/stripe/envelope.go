package stripe

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v76/webhook"

	"hotsync/event"
)

const signatureHeader = "Stripe-Signature"

// envelope is the body that Stripe signed and what the producer put around it.
type envelope struct {
	body      []byte
	signature string
	source    string
}

// unwrap finds the body in a message: the message itself, or the field body of
// a JSON object around it.
func unwrap(m event.Message) (envelope, error) {
	env := envelope{body: m.Value, signature: header(m.Headers, signatureHeader)}
	var w struct {
		Object  string          `json:"object"`
		Body    json.RawMessage `json:"body"`
		Base64  bool            `json:"isBase64Encoded"`
		Headers json.RawMessage `json:"headers"`
		Source  json.RawMessage `json:"source"`
	}
	// What is not an object of this shape is left to parse, which says what is
	// wrong with it.
	if json.Unmarshal(m.Value, &w) != nil || w.Body == nil || w.Object == "event" {
		return env, nil
	}
	env.body = w.Body // an object in place of the string: as it stands
	if w.Body[0] == '"' {
		var s string
		if err := json.Unmarshal(w.Body, &s); err != nil {
			return envelope{}, fmt.Errorf("read field body: %w", err)
		}
		env.body = []byte(s)
		if w.Base64 {
			b, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				return envelope{}, fmt.Errorf("field body is not base64, though isBase64Encoded is true: %w", err)
			}
			env.body = b
		}
	}
	if s := wrappedHeader(w.Headers, signatureHeader); s != "" {
		env.signature = s
	}
	_ = json.Unmarshal(w.Source, &env.source) // not a string: no source
	return env, nil
}

// header returns a header of a message without regard to the case of its name.
func header(headers map[string]string, name string) string {
	if v, ok := headers[name]; ok {
		return v
	}
	for k, v := range headers {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

// wrappedHeader returns a header from a JSON object whose values are strings or
// lists of strings.
func wrappedHeader(raw json.RawMessage, name string) string {
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		return ""
	}
	for k, v := range all {
		if !strings.EqualFold(k, name) {
			continue
		}
		var one string
		if json.Unmarshal(v, &one) == nil {
			return one
		}
		var many []string
		if json.Unmarshal(v, &many) == nil && len(many) > 0 {
			return many[0]
		}
	}
	return ""
}

// verify checks the signature as the policy asks: any of the secrets may have
// made any of its v1 parts (zuora-stripe.md S1).
func (d *Decoder) verify(env envelope, taken time.Time) error {
	if d.cfg.Policy == SignatureOff {
		return nil
	}
	if env.signature == "" {
		if d.cfg.Policy == SignatureIfPresent {
			return nil
		}
		return errors.New("the message has no header Stripe-Signature: have the producer copy it, or set the signature policy to if_present or off")
	}
	signature := strings.ReplaceAll(env.signature, " ", "")
	var last error
	for _, s := range d.cfg.Secrets {
		if last = webhook.ValidatePayloadIgnoringTolerance(env.body, signature, s.Reveal()); last == nil {
			return d.checkAge(signature, taken)
		}
	}
	if errors.Is(last, webhook.ErrInvalidHeader) || errors.Is(last, webhook.ErrNotSigned) {
		return errors.New("header Stripe-Signature is not of the form t=…,v1=…")
	}
	return fmt.Errorf("no v1 signature was made with any of the %d configured secrets: the secret is of another endpoint, or the producer changed the body", len(d.cfg.Secrets))
}

// checkAge compares the time of signing with the time the message was put into
// Kafka, not with now: how long it lay in Kafka says nothing about forgery.
func (d *Decoder) checkAge(signature string, taken time.Time) error {
	if d.cfg.Tolerance == 0 {
		return nil
	}
	if taken.IsZero() {
		taken = d.cfg.Now()
	}
	for part := range strings.SplitSeq(signature, ",") { // every t, should there be two
		t, ok := strings.CutPrefix(part, "t=")
		if !ok {
			continue
		}
		seconds, err := strconv.ParseInt(t, 10, 64)
		if err != nil || seconds > maxUnix || seconds < 0 {
			return errors.New("header Stripe-Signature has no readable time")
		}
		if age := taken.Sub(time.Unix(seconds, 0)); age > d.cfg.Tolerance || age < -d.cfg.Tolerance {
			return fmt.Errorf("signed %s before it reached Kafka, at most %s is allowed (signature tolerance)", age.Round(time.Second), d.cfg.Tolerance)
		}
	}
	return nil
}

// origin says who made the change: what the producer says, else what Stripe's
// metadata says of a change made over the API, else Stripe itself when no
// request made it (zuora-stripe.md S1, who caused it).
func (d *Decoder) origin(m event.Message, env envelope, w webhookEvent) event.Origin {
	for _, s := range []string{header(m.Headers, d.cfg.HeaderSource), env.source} {
		if o := originOf(s); o != "" {
			return o
		}
	}
	if !w.requested() {
		return event.OriginStripe
	}
	o := w.Data.Object
	for _, key := range d.cfg.MetadataSourceKeys {
		for _, md := range []stringMap{o.Metadata, o.SubscriptionDetails.Metadata, o.Parent.SubscriptionDetails.Metadata} {
			if s := originOf(md[key]); s != "" {
				return s
			}
		}
	}
	return ""
}

// originOf returns a name as an origin, in lower case, or "" for one that is
// no word at all.
func originOf(s string) event.Origin {
	s = strings.ToLower(strings.TrimSpace(s))
	if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) {
		return ""
	}
	return event.Origin(s)
}

// requested reports whether an API request made the change: request.id is not
// null. Versions before 2017-05-25 have the id itself in request.
func (w webhookEvent) requested() bool {
	var id string
	if json.Unmarshal(w.Request, &id) == nil {
		return id != ""
	}
	var r struct {
		ID string `json:"id"`
	}
	return json.Unmarshal(w.Request, &r) == nil && r.ID != ""
}

var clientSecret = regexp.MustCompile(`(client_secret\\?"\s*:\s*\\?")[^"\\]+`)

// redact returns b without the client secrets that payment and setup intents
// carry, or nil when it has none (Invariant 8).
func redact(b []byte) []byte {
	if !clientSecret.Match(b) {
		return nil
	}
	return clientSecret.ReplaceAll(b, []byte("${1}[redacted]"))
}
