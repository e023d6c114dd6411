package login

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"hotsync/event"
)

var (
	coords    = event.Coordinates{Topic: "auth.logins", Partition: 2, Offset: 17}
	loginTime = time.Date(2027, 1, 5, 10, 0, 0, 0, time.UTC)
)

const (
	issuerURL = "https://tenant.idp.test/"
	clientID  = "client-1"
)

// issuer is an identity provider with a key set on a server.
type issuer struct {
	url string

	mu     sync.Mutex
	keys   []jose.JSONWebKey // private
	status int               // 0: answers
	hits   int
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.hits++
		if i.status != 0 {
			w.WriteHeader(i.status)
			return
		}
		_, _ = w.Write(i.set(t))
	}))
	t.Cleanup(srv.Close)
	i.url = srv.URL
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.add("rsa", rsaKey)
	i.add("ec", ecKey)
	i.add("ed", edKey)
	return i
}

func (i *issuer) add(kid string, key crypto.Signer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, jose.JSONWebKey{Key: key, KeyID: kid, Use: "sig"})
}

func (i *issuer) answer(status int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status = status
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.hits
}

// set returns the public key set, with a shared secret and a key of an unknown
// kind in it, which must be of no use.
func (i *issuer) set(t testing.TB) []byte {
	var all []any
	for _, k := range i.keys {
		all = append(all, k.Public())
	}
	all = append(all, jose.JSONWebKey{Key: []byte("a secret that everybody can read"), KeyID: "oct"},
		map[string]string{"kty": "FUTURE", "kid": "future"})
	b, err := json.Marshal(map[string]any{"keys": all})
	if err != nil {
		t.Error(err)
	}
	return b
}

func (i *issuer) file(t testing.TB) string {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, i.set(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (i *issuer) key(t testing.TB, kid string) any {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.keys {
		if k.KeyID == kid {
			return k.Key
		}
	}
	t.Fatalf("no key %s", kid)
	return nil
}

// claims returns a good token's claims with changes; a nil value removes one.
func claims(changes map[string]any) map[string]any {
	out := map[string]any{
		"iss": issuerURL, "aud": clientID, "sub": "auth0|77",
		"iat": loginTime.Unix(), "exp": loginTime.Add(time.Hour).Unix(),
	}
	for k, v := range changes {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = v
	}
	return out
}

func tokenOf(t testing.TB, alg jose.SignatureAlgorithm, kid string, key any, c map[string]any) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		opts = opts.WithHeader(jose.HeaderKey("kid"), kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jwt.Signed(signer).Claims(c).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// token returns a token of the RSA key.
func (i *issuer) token(t testing.TB, changes map[string]any) string {
	t.Helper()
	return tokenOf(t, jose.RS256, "rsa", i.key(t, "rsa"), claims(changes))
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func (i *issuer) provider() Provider {
	return Provider{
		Name: "auth0", Issuer: issuerURL, Audience: []string{"other", clientID}, JWKSURL: i.url,
		Claims: []ClaimRule{{Claim: "https://example.test/zuora", Service: "zuora", Issuer: "zuora", Type: "account"}},
	}
}

func decoder(t testing.TB, cfg Config) *Decoder {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = (&clock{at: loginTime.Add(time.Minute)}).now
	}
	d, err := NewDecoder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// login returns a message with changes; a nil value removes a field.
func login(t testing.TB, fields map[string]any) event.Message {
	t.Helper()
	all := map[string]any{"id": "login-1", "occurred_at": loginTime.Format(time.RFC3339), "provider": "auth0"}
	for k, v := range fields {
		if v == nil {
			delete(all, k)
			continue
		}
		all[k] = v
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return raw(string(b), nil)
}

func raw(value string, headers map[string]string) event.Message {
	return event.Message{Coordinates: coords, Value: []byte(value), Headers: headers, Time: loginTime.Add(2 * time.Second)}
}
