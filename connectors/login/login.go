// Package login makes triggers of login messages. It promises that a claim is
// believed only when an identity provider signed it (or the configuration says
// that the producer is to be trusted), that every account named in a token
// gets a trigger of its own, and that no token that could still be used is
// stored or printed.
//
// What a claim must look like is the vendor's article, hot-sync.txt, options A
// and B.
package login

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Config configures NewDecoder.
type Config struct {
	// Providers are the identity providers whose logins are followed.
	Providers []Provider
	// Enabled is the hot-sync toggle, asked for every message. Nil means on.
	Enabled func() bool
	// Scope, when set, is asked whether a login is to be followed, by its claims.
	// values returns what a claim holds, as text: each element of a list by
	// itself, a number or truth value as it is written, nothing for a claim that
	// is absent, null or an object. A claim is named as in ClaimRule. With in, why
	// is the rule that the claims met, if any, and goes with the triggers; else it
	// says for a person why not.
	Scope func(values func(claim string) []string) (in bool, why string)
	// HeaderSource is the Kafka header that says who caused the login, for the
	// origin of the triggers. Default source.
	HeaderSource string
	// MaxBytes bounds a message. Default 1 MiB.
	MaxBytes int
	// HTTPClient fetches key sets. Default: a client with a time-out of 10 s.
	HTTPClient *http.Client
	// Now defaults to time.Now.
	Now func() time.Time
}

// Provider is one identity provider.
type Provider struct {
	// Name is what messages call it in their field provider. A message without
	// that field is of the only provider, or of the one whose Issuer its token
	// names.
	Name string
	// Issuer must equal the token's iss.
	Issuer string
	// Audience lists the client ids of which the token's aud must hold one.
	Audience []string
	// JWKSURL or JWKSFile says where its public keys are. They are read when
	// first needed, again after an hour, and when a token names a key that is
	// not among them (at most every 10 s).
	JWKSURL  string
	JWKSFile string
	// ClockSkew is the leeway for exp, nbf and iat. Default 1 min.
	ClockSkew time.Duration
	// TrustedClaims takes the field claims of a message without a token.
	TrustedClaims bool
	// Claims say which claims name a Zuora account.
	Claims []ClaimRule
}

// ClaimRule is one identity claim. Service, Issuer and Type must be zuora,
// zuora and account, or the claim is not detected (hot-sync.txt).
type ClaimRule struct {
	Claim   string // its name, or a dotted path when no claim has that very name
	Service string
	Issuer  string
	Type    string
	// Lookup selects option B: the value is looked up in LookupField, a custom
	// field of the Zuora account. Else, option A, the value is the account id.
	Lookup      bool
	LookupField string
}

// Validate returns everything that is wrong with c, joined, and warnings about
// what is allowed but may not do what was meant.
func (c Config) Validate() (warnings []string, err error) {
	var errs []error
	if len(c.Providers) == 0 {
		errs = append(errs, errors.New("at least one identity provider is required"))
	}
	names, issuers := map[string]bool{}, map[string]string{}
	for i, p := range c.Providers {
		where := fmt.Sprintf("provider %q", p.Name)
		if p.Name == "" {
			where = fmt.Sprintf("provider number %d", i+1)
			errs = append(errs, fmt.Errorf("%s: a name is required", where))
		} else if names[p.Name] {
			errs = append(errs, fmt.Errorf("%s: the name is used twice", where))
		}
		names[p.Name] = true
		if other, taken := issuers[p.Issuer]; taken && p.Issuer != "" {
			warnings = append(warnings, fmt.Sprintf("%s: has the issuer of provider %q; a message without the field provider goes to the first of them", where, other))
		}
		issuers[p.Issuer] = p.Name
		w, e := p.validate()
		for _, text := range w {
			warnings = append(warnings, where+": "+text)
		}
		for _, one := range e {
			errs = append(errs, fmt.Errorf("%s: %w", where, one))
		}
	}
	return warnings, errors.Join(errs...)
}

func (p Provider) validate() (warnings []string, errs []error) {
	switch {
	case p.JWKSURL != "" && p.JWKSFile != "":
		errs = append(errs, errors.New("give the key set's URL or its file, not both"))
	case p.hasKeys():
		if p.Issuer == "" {
			errs = append(errs, errors.New("an issuer is required: what the tokens have as iss"))
		}
		if len(p.Audience) == 0 {
			errs = append(errs, errors.New("an audience is required: the client ids that the tokens have as aud, or a token made for any other application would do"))
		}
	case !p.TrustedClaims:
		errs = append(errs, errors.New("give the key set's URL or file, so that tokens can be checked, or switch trusted_claims on"))
	}
	if p.JWKSURL != "" {
		u, err := url.Parse(p.JWKSURL)
		switch {
		case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
			errs = append(errs, fmt.Errorf("key set %q: must be an http or https URL", p.JWKSURL))
		case u.Scheme == "http" && !loopback(u.Hostname()):
			warnings = append(warnings, fmt.Sprintf("key set %s is read without TLS: whoever sits in between can sign tokens", p.JWKSURL))
		}
	}
	if p.ClockSkew < 0 {
		errs = append(errs, fmt.Errorf("clock skew %s: must not be negative", p.ClockSkew))
	}
	if p.TrustedClaims {
		warnings = append(warnings, "trusted_claims is on: whoever can write to the topic can name any account")
	}
	detected := 0
	for _, r := range p.Claims {
		if !r.detected() {
			warnings = append(warnings, fmt.Sprintf("claim %q: service %q, issuer %q, type %q: these values are incorrect, the claim will not be detected (want zuora, zuora, account)", r.Claim, r.Service, r.Issuer, r.Type))
			continue
		}
		detected++
		if err := r.validate(); err != nil {
			errs = append(errs, fmt.Errorf("claim %q: %w", r.Claim, err))
		}
	}
	if detected == 0 {
		warnings = append(warnings, "no claim names a Zuora account: its logins will never cause a sync")
	}
	return warnings, errs
}

func (p Provider) hasKeys() bool { return p.JWKSURL != "" || p.JWKSFile != "" }

// fieldName is the form of a Zuora field. It also keeps the first equals sign
// of a lookup key the one behind the field.
var fieldName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

func (r ClaimRule) validate() error {
	switch {
	case r.Claim == "" || r.Claim != strings.TrimSpace(r.Claim):
		return errors.New("a name without spaces around it is required")
	case r.Lookup && !fieldName.MatchString(r.LookupField):
		return fmt.Errorf("account lookup field %q: must name a custom field of the Zuora account, such as LimioExternalId__c", r.LookupField)
	case !r.Lookup && r.LookupField != "":
		return fmt.Errorf("account lookup field %q is set while account lookup is off", r.LookupField)
	}
	return nil
}

// detected reports whether the rule has the values that hot-sync.txt asks for,
// exactly.
func (r ClaimRule) detected() bool {
	return r.Service == "zuora" && r.Issuer == "zuora" && r.Type == "account"
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
