package login

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// algorithms are the signatures that are believed: never none, and never one
// with a shared secret, for which a public key could be passed off.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// badToken is why a token is not believed. Its text never holds the token.
type badToken struct{ err error }

func (b *badToken) Error() string { return b.err.Error() }
func (b *badToken) Unwrap() error { return b.err }

func badTokenf(format string, args ...any) error { return &badToken{fmt.Errorf(format, args...)} }

// verify checks a token as of the time of the login and returns its claims.
// Errors are *badToken, or say that the keys cannot be had.
func (p *provider) verify(ctx context.Context, raw string, login, received time.Time) (map[string]any, error) {
	if p.keys == nil {
		return nil, badTokenf("the message has an id_token, and no key set is configured to check it with")
	}
	token, err := jwt.ParseSigned(raw, algorithms())
	if err != nil {
		return nil, p.unreadable(raw, err)
	}
	registered, claims, err := p.authentic(ctx, token, received)
	if err != nil {
		return nil, err
	}
	return claims, p.valid(registered, login)
}

// unreadable says why a token could not be taken apart, without any of it.
func (p *provider) unreadable(raw string, err error) error {
	var alg *jose.ErrUnexpectedSignatureAlgorithm
	switch {
	case errors.As(err, &alg):
		return badTokenf("the token is signed with %.20q; allowed are %v", string(alg.Got), algorithms())
	case strings.Count(raw, ".") == 4:
		return badTokenf("the token is encrypted; have the provider send signed tokens")
	}
	return badTokenf("the token is not a signed JWT (three parts in base64url with dots in between)")
}

// authentic returns the claims of a token that one of the provider's keys has
// signed.
func (p *provider) authentic(ctx context.Context, token *jwt.JSONWebToken, received time.Time) (jwt.Claims, map[string]any, error) {
	head := token.Headers[0] // the compact form has exactly one
	keys, err := p.keys.current(ctx)
	if err != nil {
		return jwt.Claims{}, nil, err
	}
	registered, claims, candidates, err := check(token, keys)
	if candidates == 0 || (err != nil && head.KeyID == "") {
		// The key may be newer than our copy of the set.
		if keys, err = p.keys.newerThan(ctx, received); err != nil {
			return jwt.Claims{}, nil, err
		}
		registered, claims, candidates, err = check(token, keys)
	}
	switch {
	case candidates == 0 && head.KeyID == "":
		return jwt.Claims{}, nil, badTokenf("the token names no key, and the provider has none for %s", head.Algorithm)
	case candidates == 0:
		return jwt.Claims{}, nil, badTokenf("the token is signed with the key %.60q for %s, which the provider does not have", head.KeyID, head.Algorithm)
	}
	return registered, claims, err
}

// check tries the keys that a token may be signed with; candidates is how many
// there are.
func check(token *jwt.JSONWebToken, keys []jose.JSONWebKey) (registered jwt.Claims, claims map[string]any, candidates int, err error) {
	head := token.Headers[0]
	for _, k := range keys {
		if (head.KeyID != "" && k.KeyID != head.KeyID) || (k.Algorithm != "" && k.Algorithm != head.Algorithm) {
			continue
		}
		candidates++
		var raw json.RawMessage
		if token.Claims(k, &raw) != nil {
			continue
		}
		if claims, err = decodeClaims(raw); err != nil || claims == nil {
			return registered, nil, candidates, badTokenf("the token's claims are not a JSON object")
		}
		if err := token.Claims(k, &registered); err != nil {
			return registered, nil, candidates, badTokenf("one of the token's claims iss, sub, aud, exp, nbf, iat is of the wrong type")
		}
		return registered, claims, candidates, nil
	}
	return registered, nil, candidates, badTokenf("the token's signature is wrong")
}

// valid checks issuer, audience and times.
func (p *provider) valid(c jwt.Claims, login time.Time) error {
	if c.Expiry == nil {
		return badTokenf("the token never expires (no exp)")
	}
	at := login.Format(time.RFC3339)
	switch err := c.ValidateWithLeeway(jwt.Expected{Issuer: p.Issuer, AnyAudience: jwt.Audience(p.Audience), Time: login}, p.ClockSkew); {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return badTokenf("the token's issuer is %.120q, want %q", c.Issuer, p.Issuer)
	case errors.Is(err, jwt.ErrInvalidAudience):
		return badTokenf("the token is for %.200q, want one of %q", []string(c.Audience), p.Audience)
	case errors.Is(err, jwt.ErrExpired):
		return badTokenf("the token expired at %s, before the login at %s (leeway %s)", when(c.Expiry), at, p.ClockSkew)
	case errors.Is(err, jwt.ErrNotValidYet):
		return badTokenf("the token is valid from %s, after the login at %s (leeway %s)", when(c.NotBefore), at, p.ClockSkew)
	case errors.Is(err, jwt.ErrIssuedInTheFuture):
		return badTokenf("the token was issued at %s, after the login at %s (leeway %s)", when(c.IssuedAt), at, p.ClockSkew)
	default:
		return &badToken{err}
	}
}

func when(d *jwt.NumericDate) string { return d.Time().UTC().Format(time.RFC3339) }

// unverifiedIssuer returns the iss of a token nobody has checked yet, only to
// find out whose keys to check it with.
func unverifiedIssuer(raw string) string {
	token, err := jwt.ParseSigned(raw, algorithms())
	if err != nil {
		return ""
	}
	var c jwt.Claims
	if token.UnsafeClaimsWithoutVerification(&c) != nil {
		return ""
	}
	return c.Issuer
}

// decodeClaims reads a JSON object and keeps its numbers as they are written.
// A null is a nil map.
func decodeClaims(raw []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var claims map[string]any
	err := dec.Decode(&claims)
	return claims, err
}

// usable returns the keys of a set that can check a signature.
func usable(keys []jose.JSONWebKey) []jose.JSONWebKey {
	var out []jose.JSONWebKey
	for _, k := range keys {
		public := k.Public() // of a shared secret: an invalid key
		if public.Valid() && k.Use != "enc" {
			out = append(out, public)
		}
	}
	return slices.Clip(out)
}
