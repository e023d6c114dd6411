package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
)

const (
	defaultMaxBytes = 1 << 20
	defaultSkew     = time.Minute
	typeLogin       = "login"
)

// Decoder makes triggers of login messages. It is safe for concurrent use.
type Decoder struct {
	cfg       Config
	providers []*provider
}

// provider is a Provider with its keys.
type provider struct {
	Provider
	keys *keySet // nil: tokens cannot be checked
}

// NewDecoder returns a decoder, or an error that names everything that is wrong
// with cfg. It reads no file and dials nothing.
func NewDecoder(cfg Config) (*Decoder, error) {
	if _, err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Enabled == nil {
		cfg.Enabled = func() bool { return true }
	}
	if cfg.HeaderSource == "" {
		cfg.HeaderSource = "source"
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = &http.Client{Timeout: 10 * time.Second}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Decoder{cfg: cfg}
	for _, p := range cfg.Providers {
		if p.ClockSkew == 0 {
			p.ClockSkew = defaultSkew
		}
		one := &provider{Provider: p}
		switch {
		case p.JWKSURL != "":
			one.keys = newKeySet(p.JWKSURL, fromURL(cfg.HTTPClient, p.JWKSURL), cfg.Now)
		case p.JWKSFile != "":
			one.keys = newKeySet(p.JWKSFile, fromFile(p.JWKSFile), cfg.Now)
		}
		d.providers = append(d.providers, one)
	}
	return d, nil
}

// Check reads the key set of every provider anew, for a doctor or a readiness
// probe. Its errors are of class fault.Unavailable and name the provider.
func (d *Decoder) Check(ctx context.Context) error {
	var errs []error
	for _, p := range d.providers {
		if p.keys == nil {
			continue
		}
		if err := p.keys.reload(ctx); err != nil {
			errs = append(errs, fmt.Errorf("provider %q: %w", p.Name, err))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fault.As(fault.Of(errs[0]), errors.Join(errs...))
}

// message is a login as its producer tells it.
type message struct {
	ID         string          `json:"id"`
	OccurredAt string          `json:"occurred_at"` // RFC 3339
	Provider   string          `json:"provider"`
	IDToken    string          `json:"id_token"`
	Claims     json.RawMessage `json:"claims"`
	Source     string          `json:"source"`
}

// Decode reads a message:
//
//	{"id": "login-1", "occurred_at": "2027-01-05T10:00:00Z", "provider": "auth0",
//	 "id_token": "eyJ…", "source": "shop"}
//
// bare, or as the data of a CloudEvents 1.0 message, structured or binary
// (headers ce_…), whose id and time stand in for id and occurred_at. Only
// id_token is required; with trusted_claims the field claims, an object, may
// take its place. A token is believed over claims.
//
// The token must have been valid when the login happened (occurred_at, else the
// time of the message), and not when it is read, which may be hours later. So
// whoever may write to the topic can still use an old token, and learns
// nothing by it: all it causes is a sync.
//
// Errors are *event.BadInput for a message that can never be read, and of class
// fault.Unavailable when the provider's keys cannot be had now: wait and decode
// again.
func (d *Decoder) Decode(ctx context.Context, m event.Message) (event.Reading, error) {
	r := reading{d: d, m: m}
	if len(m.Value) > d.cfg.MaxBytes {
		return r.bad(event.ReasonTooLarge, fmt.Errorf("message of %d bytes: at most %d are read (max_bytes)", len(m.Value), d.cfg.MaxBytes))
	}
	if err := r.parse(); err != nil {
		return r.bad(event.ReasonUndecodable, err)
	}
	if !d.cfg.Enabled() {
		return r.nothing(event.ReasonDisabled, "hot sync is switched off")
	}
	p, err := d.provider(r.msg)
	if err != nil {
		return r.bad(event.ReasonBadToken, err)
	}
	claims, err := r.claims(ctx, p)
	var bad *badToken
	switch {
	case errors.As(err, &bad):
		return r.bad(event.ReasonBadToken, fmt.Errorf("provider %q: %w", p.Name, bad))
	case errors.Is(err, errClaims):
		return r.bad(event.ReasonUndecodable, err)
	case err != nil: // the keys cannot be had: not the message's fault
		return event.Reading{}, fmt.Errorf("check the token of a login with provider %q: %w", p.Name, err)
	}
	targets, note := p.targets(claims)
	if len(targets) == 0 {
		return r.nothing(event.ReasonNoClaim, note)
	}
	var rule string
	if d.cfg.Scope != nil {
		in, why := d.cfg.Scope(func(name string) []string { return texts(claims, name) })
		if !in {
			return r.nothing(event.ReasonOutOfScope, why)
		}
		rule = why
	}
	out := event.Reading{Note: note}
	for n, t := range targets {
		out.Triggers = append(out.Triggers, event.Trigger{
			ID: event.TriggerID(m.Coordinates, n), Key: t.key, Via: t.via,
			Cause: event.CauseLogin, Origin: r.origin(), Type: typeLogin, Delivery: r.msg.ID,
			Source: m.Coordinates, At: r.at, Received: r.received, Scope: rule,
		})
	}
	return out, nil
}

// reading is one message on its way through Decode.
type reading struct {
	d        *Decoder
	m        event.Message
	msg      message
	at       time.Time // when the login happened
	received time.Time
}

func (r *reading) parse() error {
	r.received = r.m.Time
	if r.received.IsZero() {
		r.received = r.d.cfg.Now()
	}
	env, err := unwrap(r.m)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(env.data, &r.msg); err != nil {
		r.msg = message{} // what was read so far may be anything
		return fmt.Errorf("the message is not a login in JSON (fields id, occurred_at, provider, id_token): %w", err)
	}
	if r.msg.ID == "" {
		r.msg.ID = env.id
	}
	if len(r.msg.ID) > 200 {
		r.msg.ID = ""
		return errors.New("field id: at most 200 characters")
	}
	r.at = r.received
	switch {
	case r.msg.OccurredAt != "":
		t, err := time.Parse(time.RFC3339, r.msg.OccurredAt)
		if err != nil || t.Year() < 1970 {
			return fmt.Errorf("field occurred_at is %.40q, want a time such as 2027-01-05T10:00:00Z", r.msg.OccurredAt)
		}
		r.at = t.UTC()
	case !env.at.IsZero():
		r.at = env.at
	}
	if r.msg.IDToken == "" && isAbsent(r.msg.Claims) {
		return errors.New("the message has neither id_token nor claims")
	}
	return nil
}

func isAbsent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// errClaims marks a field claims that is no object.
var errClaims = errors.New("field claims must be a JSON object of claims")

// claims returns what is known of who logged in.
func (r *reading) claims(ctx context.Context, p *provider) (map[string]any, error) {
	if r.msg.IDToken != "" {
		return p.verify(ctx, r.msg.IDToken, r.at, r.received)
	}
	if !p.TrustedClaims {
		return nil, &badToken{errors.New("the message has claims and no id_token; that is only taken when trusted_claims is on")}
	}
	claims, err := decodeClaims(r.msg.Claims)
	if err != nil || claims == nil {
		return nil, errClaims
	}
	return claims, nil
}

// provider returns the provider a message is about.
func (d *Decoder) provider(msg message) (*provider, error) {
	names := make([]string, 0, len(d.providers))
	issuer := ""
	if msg.Provider == "" {
		if len(d.providers) == 1 {
			return d.providers[0], nil
		}
		issuer = unverifiedIssuer(msg.IDToken)
	}
	for _, p := range d.providers {
		if (msg.Provider != "" && p.Name == msg.Provider) || (issuer != "" && p.Issuer == issuer) {
			return p, nil
		}
		names = append(names, fmt.Sprintf("%q", p.Name))
	}
	known := strings.Join(names, ", ")
	switch {
	case msg.Provider != "":
		return nil, fmt.Errorf("unknown provider %.60q; configured are %s", msg.Provider, known)
	case issuer != "":
		return nil, fmt.Errorf("the message names no provider, and no provider has the issuer %.120q; configured are %s", issuer, known)
	}
	return nil, fmt.Errorf("the message names no provider; configured are %s", known)
}

func (r *reading) bad(reason event.Reason, err error) (event.Reading, error) {
	return event.Reading{}, &event.BadInput{
		Reason: reason, Type: typeLogin, Delivery: r.msg.ID, Err: err,
		Redacted: redact(r.m.Value, r.msg.IDToken),
	}
}

func (r *reading) nothing(reason event.Reason, note string) (event.Reading, error) {
	return event.Reading{Reason: reason, Note: note, Type: typeLogin, Delivery: r.msg.ID, At: r.at}, nil
}

// origin says who made the login happen, by the producer's header or field.
func (r *reading) origin() event.Origin {
	for _, s := range []string{header(r.m.Headers, r.d.cfg.HeaderSource), r.msg.Source} {
		s = strings.ToLower(strings.TrimSpace(s))
		if s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\ufffd' }) {
			return event.Origin(s)
		}
	}
	return ""
}
