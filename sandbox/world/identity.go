package world

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/http"

	"github.com/go-jose/go-jose/v4"
)

// The two identity providers. Their keys are in one set.
const (
	providerA = "auth0"
	providerB = "okta"
	audience  = "acme-shop"
	// claimA names the accounts themselves. Names that are addresses hold dots,
	// which a reader must not take for paths.
	claimA = "https://acme.example/zuora_account"
)

// Providers returns the identity providers: first one that names account ids,
// then one whose sub is looked up.
func (w *World) Providers() []Provider {
	return []Provider{
		{Name: providerA, Issuer: "https://login.acme.example/", Audience: audience, Claim: claimA},
		{Name: providerB, Issuer: "https://id.acme.example", Audience: audience, Claim: "sub", Lookup: true, LookupField: LookupField},
	}
}

func (w *World) provider(name string) Provider {
	for _, p := range w.Providers() {
		if p.Name == name {
			return p
		}
	}
	return Provider{}
}

// keys sign the tokens: RS256 for the first provider, ES256 for the second.
type keys struct {
	rsa    *rsa.PrivateKey
	forger *rsa.PrivateKey // signs with the first one's key id
	ec     *ecdsa.PrivateKey
	public []byte
}

const (
	rsaKeyID = "world-rs256"
	ecKeyID  = "world-es256"
)

// newKeys makes keys that follow the seed. They protect nothing.
func newKeys(seed uint64) keys {
	rnd := rand.New(rand.NewPCG(seed, 0x6b657973))
	k := keys{rsa: rsaKey(rnd), forger: rsaKey(rnd), ec: ecKey(rnd)}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: k.rsa.Public(), KeyID: rsaKeyID, Algorithm: "RS256", Use: "sig"},
		{Key: k.ec.Public(), KeyID: ecKeyID, Algorithm: "ES256", Use: "sig"},
	}}
	var err error
	if k.public, err = json.Marshal(set); err != nil {
		panic(fmt.Sprintf("world: key set: %v", err))
	}
	return k
}

// rsaKey makes a key of 2048 bits. The library's own way does not follow a
// seed.
func rsaKey(rnd *rand.Rand) *rsa.PrivateKey {
	e := big.NewInt(65537)
	for {
		p, q := prime(rnd), prime(rnd)
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(e, phi)
		if d == nil || p.Cmp(q) == 0 {
			continue
		}
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, D: d, Primes: []*big.Int{p, q}}
		key.Precompute()
		if key.Validate() == nil {
			return key
		}
	}
}

// prime returns a prime of 1024 bits whose two highest bits are set, so that
// the product of two has 2048.
func prime(rnd *rand.Rand) *big.Int {
	b := make([]byte, 128)
	for i := range b {
		b[i] = byte(rnd.UintN(256))
	}
	b[0] |= 0xc0
	b[127] |= 1
	two := big.NewInt(2)
	n := new(big.Int).SetBytes(b)
	for !n.ProbablyPrime(10) {
		n.Add(n, two)
	}
	return n
}

func ecKey(rnd *rand.Rand) *ecdsa.PrivateKey {
	for {
		b := make([]byte, 32)
		for i := range b {
			b[i] = byte(rnd.UintN(256))
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), b); err == nil {
			return key
		}
	}
}

// JWKS returns the public keys of all providers as a JSON Web Key Set.
func (w *World) JWKS() []byte { return bytes.Clone(w.keys().public) }

// JWKSHandler serves JWKS at every path.
func (w *World) JWKSHandler() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = rw.Write(w.keys().public) // the caller went away
	})
}

// How a token is signed.
type signer int

const (
	byProvider signer = iota
	byForger
	byNobody // alg none
)

// token makes an ID token of a provider. Signatures are deterministic (ES256 as
// in RFC 6979), so that the same world says the same twice.
func (w *World) token(provider string, claims map[string]any, how signer) string {
	header := map[string]string{"alg": "RS256", "kid": rsaKeyID, "typ": "JWT"}
	if provider == providerB {
		header["alg"], header["kid"] = "ES256", ecKeyID
	}
	if how == byNobody {
		header = map[string]string{"alg": "none", "typ": "JWT"}
	}
	signed := segment(header) + "." + segment(claims)
	digest := sha256.Sum256([]byte(signed))
	var signature []byte
	var err error
	switch {
	case how == byNobody:
	case how == byForger && header["alg"] == "RS256":
		signature, err = rsa.SignPKCS1v15(nil, w.keys().forger, crypto.SHA256, digest[:])
	case header["alg"] == "RS256":
		signature, err = rsa.SignPKCS1v15(nil, w.keys().rsa, crypto.SHA256, digest[:])
	default:
		if signature, err = w.signES256(digest[:]); how == byForger {
			signature[10] ^= 0xff
		}
	}
	if err != nil {
		panic(fmt.Sprintf("world: sign token: %v", err))
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (w *World) signES256(digest []byte) ([]byte, error) {
	der, err := w.keys().ec.Sign(nil, digest, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		return nil, err
	}
	out := make([]byte, 64)
	rs.R.FillBytes(out[:32])
	rs.S.FillBytes(out[32:])
	return out, nil
}

func segment(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("world: token: %v", err))
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
