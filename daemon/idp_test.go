package daemon_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"hotsync/daemon/config"
)

// idp is an identity provider with an RSA and an EC key.
type idp struct {
	t    *testing.T
	keys map[jose.SignatureAlgorithm]crypto.Signer
	url  string
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{t: t, keys: map[jose.SignatureAlgorithm]crypto.Signer{jose.RS256: r, jose.ES256: e}}
	set := jose.JSONWebKeySet{}
	for alg, k := range p.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: string(alg), Algorithm: string(alg), Use: "sig"})
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(set) }))
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

func (p *idp) provider() config.Provider {
	return config.Provider{
		Name: "signed", Issuer: "https://signed.example.test/", Audience: []string{"shop"}, JWKSURL: p.url,
		Claims: []config.Claim{
			{Claim: "zuora_accounts", Service: "zuora", Issuer: "zuora", Type: "account"},
			{Claim: "sub", Service: "zuora", Issuer: "zuora", Type: "account", Lookup: true, LookupField: "LimioExternalId__c"},
		},
	}
}

// token signs claims over sound defaults.
func (p *idp) token(alg jose.SignatureAlgorithm, key crypto.Signer, claims map[string]any) string {
	p.t.Helper()
	if key == nil {
		key = p.keys[alg]
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: string(alg)}}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	all := map[string]any{
		"iss": "https://signed.example.test/", "aud": "shop",
		"iat": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	maps.Copy(all, claims)
	out, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// unsigned is a token whose header says alg none.
func (p *idp) unsigned(claims map[string]any) string {
	b, err := json.Marshal(claims)
	if err != nil {
		p.t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + enc(b) + "."
}
