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
	"net/http"
	"time"
)

// Config configures NewDecoder.
type Config struct {
	// Providers are the identity providers whose logins are followed.
	Providers []Provider
	// Enabled is the hot-sync toggle, asked for every message. Nil means on.
	Enabled func() bool
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
	// Name is what messages call it in their field provider.
	Name string
	// Issuer must equal the token's iss.
	Issuer string
	// Audience lists the client ids of which the token's aud must hold one.
	Audience []string
	// JWKSURL or JWKSFile says where its public keys are.
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
