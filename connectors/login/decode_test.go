package login

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

const account = "2c92a0f9aaa"

func rule(claim string) ClaimRule {
	return ClaimRule{Claim: claim, Service: "zuora", Issuer: "zuora", Type: "account"}
}

func lookup(claim, field string) ClaimRule {
	r := rule(claim)
	r.Lookup, r.LookupField = true, field
	return r
}

func named(v any) map[string]any { return map[string]any{"https://example.test/zuora": v} }

func TestDecodeTrigger(t *testing.T) {
	i := newIssuer(t)
	d := decoder(t, Config{Providers: []Provider{i.provider()}})
	m := login(t, map[string]any{"id_token": i.token(t, named([]string{account, "A-2"})), "source": "Shop"})
	got, err := d.Decode(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	trigger := func(n int, id string) event.Trigger {
		return event.Trigger{
			ID: event.TriggerID(coords, n), Key: record.ZuoraAccount(id), Cause: event.CauseLogin, Origin: event.OriginShop,
			Type: "login", Delivery: "login-1", Source: coords, At: loginTime, Received: loginTime.Add(2 * time.Second),
		}
	}
	want := event.Reading{Triggers: []event.Trigger{trigger(0, account), trigger(1, "A-2")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeAlgorithmsAndKeyFile(t *testing.T) {
	i := newIssuer(t)
	fromFile := i.provider()
	fromFile.JWKSURL, fromFile.JWKSFile = "", i.file(t)
	for _, p := range []Provider{i.provider(), fromFile} {
		d := decoder(t, Config{Providers: []Provider{p}})
		for alg, kid := range map[jose.SignatureAlgorithm]string{
			jose.RS256: "rsa", jose.RS384: "rsa", jose.RS512: "rsa", jose.PS256: "rsa", jose.PS512: "rsa", jose.ES256: "ec", jose.EdDSA: "ed",
		} {
			for _, header := range []string{kid, ""} {
				token := tokenOf(t, alg, header, i.key(t, kid), claims(named(account)))
				got, err := d.Decode(t.Context(), login(t, map[string]any{"id_token": token}))
				if err != nil || len(got.Triggers) != 1 {
					t.Errorf("%s with kid %q: got %+v, %v, want one trigger", alg, header, got, err)
				}
			}
		}
	}
	if i.count() != 1 {
		t.Errorf("key set was read %d times, want 1", i.count())
	}
}

func TestDecodeEnvelopes(t *testing.T) {
	i := newIssuer(t)
	token := i.token(t, named(account))
	at := loginTime.Add(time.Minute).Format(time.RFC3339)
	data := map[string]any{"provider": "auth0", "id_token": token}
	plain, _ := json.Marshal(data)
	structured := func(changes map[string]any) string {
		all := map[string]any{"specversion": "1.0", "id": "ce-1", "source": "https://idp.test", "type": "login", "time": at,
			"datacontenttype": "application/json", "data": data}
		for k, v := range changes {
			if v == nil {
				delete(all, k)
				continue
			}
			all[k] = v
		}
		b, _ := json.Marshal(all)
		return string(b)
	}
	binary := map[string]string{"ce_specversion": "1.0", "ce_id": "ce-1", "ce_time": at, "ce_type": "login", "ce_source": "x", "Content-Type": "application/json; charset=utf-8"}
	with := func(k, v string) map[string]string {
		out := map[string]string{}
		maps.Copy(out, binary)
		out[k] = v
		return out
	}
	tests := []struct {
		name     string
		m        event.Message
		delivery string
		at       string
		origin   event.Origin
		bad      string
	}{
		{"bare", raw(string(plain), nil), "", loginTime.Add(2 * time.Second).Format(time.RFC3339), "", ""},
		{"bare with header", raw(string(plain), map[string]string{"Source": "salesforce"}), "", loginTime.Add(2 * time.Second).Format(time.RFC3339), "salesforce", ""},
		{"structured", raw(structured(nil), nil), "ce-1", at, "", ""},
		{"structured, declared", raw(structured(nil), map[string]string{"content-type": "application/cloudevents+json; charset=UTF-8"}), "ce-1", at, "", ""},
		{"structured, data in base64", raw(structured(map[string]any{"data": nil, "data_base64": base64.StdEncoding.EncodeToString(plain)}), nil), "ce-1", at, "", ""},
		{"structured, no content type", raw(structured(map[string]any{"datacontenttype": nil}), nil), "ce-1", at, "", ""},
		{"structured, own id and time", raw(structured(map[string]any{"data": map[string]any{"id": "login-9", "occurred_at": loginTime.Format(time.RFC3339), "id_token": token, "source": "shop"}}), nil), "login-9", loginTime.Format(time.RFC3339), "shop", ""},
		{"binary", raw(string(plain), binary), "ce-1", at, "", ""},
		{"structured, not JSON inside", raw(structured(map[string]any{"datacontenttype": "text/plain", "data": "x"}), nil), "", "", "", "want application/json"},
		{"structured, no data", raw(structured(map[string]any{"data": nil}), nil), "", "", "", "not a login"},
		{"structured, no id", raw(structured(map[string]any{"id": nil}), nil), "", "", "", "not a CloudEvent"},
		{"structured, other version", raw(structured(map[string]any{"specversion": "0.3"}), nil), "", "", "", "specversion"},
		{"structured, cut off", raw(structured(nil)[:200], map[string]string{"content-type": "application/cloudevents+json"}), "", "", "", "not a CloudEvent"},
		{"binary, other version", raw(string(plain), with("ce_specversion", "0.3")), "", "", "", "specversion"},
		{"binary, other content", raw(string(plain), with("Content-Type", "application/avro")), "", "", "", "want application/json"},
		{"binary, odd time", raw(string(plain), with("ce_time", "yesterday")), "", "", "", "ce_time"},
		{"batch", raw("["+structured(nil)+"]", map[string]string{"content-type": "application/cloudevents-batch+json"}), "", "", "", "one event in each message"},
	}
	d := decoder(t, Config{Providers: []Provider{i.provider()}})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := d.Decode(t.Context(), tt.m)
			if tt.bad != "" {
				wantBad(t, err, event.ReasonUndecodable, tt.bad, token)
				return
			}
			if err != nil || len(got.Triggers) != 1 {
				t.Fatalf("got %+v, %v, want one trigger", got, err)
			}
			tr := got.Triggers[0]
			if tr.Delivery != tt.delivery || tr.At.Format(time.RFC3339) != tt.at || tr.Origin != tt.origin {
				t.Errorf("got delivery %q at %s by %q, want %q at %s by %q", tr.Delivery, tr.At, tr.Origin, tt.delivery, tt.at, tt.origin)
			}
		})
	}
}

// wantBad fails unless err is bad input of a reason, says text, and neither it
// nor what would be stored holds a token that can be used.
func wantBad(t *testing.T, err error, reason event.Reason, text, token string) *event.BadInput {
	t.Helper()
	var bad *event.BadInput
	if !errors.As(err, &bad) || bad.Reason != reason || !strings.Contains(err.Error(), text) {
		t.Fatalf("got error %v, want %s with %q", err, reason, text)
	}
	if token == "" {
		return bad
	}
	parts := strings.SplitN(token, ".", 3)
	for _, secret := range []string{token, parts[len(parts)-1]} {
		if strings.Contains(err.Error(), secret) || strings.Contains(string(bad.Redacted), secret) {
			t.Errorf("the token is in %q or %s", err, bad.Redacted)
		}
	}
	return bad
}

func TestDecodeBadToken(t *testing.T) {
	i, stranger := newIssuer(t), newIssuer(t)
	good := claims(named(account))
	sign := func(changes map[string]any) string {
		all := named(account)
		maps.Copy(all, changes)
		return i.token(t, all)
	}
	rsaKey := i.key(t, "rsa")
	head := func(h string) string { return base64.RawURLEncoding.EncodeToString([]byte(h)) }
	body := strings.Split(sign(nil), ".")
	tests := []struct {
		name  string
		token string
		text  string
	}{
		{"no token at all", "hello", "not a signed JWT"},
		{"alg none", head(`{"alg":"none"}`) + "." + body[1] + ".", `signed with "none"`},
		{"alg none with a signature", head(`{"alg":"none"}`) + "." + body[1] + "." + body[2], `signed with "none"`},
		{"shared secret", tokenOf(t, jose.HS256, "oct", []byte("a secret that everybody can read"), good), `signed with "HS256"`},
		{"encrypted", strings.Join([]string{head(`{"alg":"RSA-OAEP","enc":"A128GCM"}`), "AAAA", "AAAA", "AAAA", "AAAA"}, "."), "encrypted"},
		{"expired at the login", sign(map[string]any{"exp": loginTime.Add(-2 * time.Minute).Unix()}), "expired at 2027-01-05T09:58:00Z"},
		{"never expires", sign(map[string]any{"exp": nil}), "never expires"},
		{"not yet valid", sign(map[string]any{"nbf": loginTime.Add(time.Hour).Unix()}), "is valid from"},
		{"issued later", sign(map[string]any{"iat": loginTime.Add(time.Hour).Unix()}), "was issued at"},
		{"wrong issuer", sign(map[string]any{"iss": "https://evil.test/"}), "issuer is \"https://evil.test/\""},
		{"no issuer", sign(map[string]any{"iss": nil}), "issuer is \"\""},
		{"wrong audience", sign(map[string]any{"aud": []string{"them"}}), "for [\"them\"]"},
		{"exp is a word", sign(map[string]any{"exp": "soon"}), "wrong type"},
		{"stranger's key under our name", tokenOf(t, jose.RS256, "rsa", stranger.key(t, "rsa"), good), "signature is wrong"},
		{"stranger's key without a name", tokenOf(t, jose.RS256, "", stranger.key(t, "rsa"), good), "signature is wrong"},
		{"unknown key", tokenOf(t, jose.RS256, "next", rsaKey, good), `key "next" for RS256, which the provider does not have`},
		{"other algorithm than the key's kind", tokenOf(t, jose.ES256, "rsa", stranger.key(t, "ec"), good), "signature is wrong"},
		{"changed claims", body[0] + "." + head(`{"iss":"`+issuerURL+`"}`) + "." + body[2], "signature is wrong"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decoder(t, Config{Providers: []Provider{i.provider()}})
			_, err := d.Decode(t.Context(), login(t, map[string]any{"id_token": tt.token}))
			secret := tt.token
			if strings.HasSuffix(secret, ".") { // of alg none: there is no signature to hide
				secret = ""
			}
			bad := wantBad(t, err, event.ReasonBadToken, tt.text, secret)
			if bad.Delivery != "login-1" || bad.Type != "login" {
				t.Errorf("delivery %q of type %q, want login-1 of login", bad.Delivery, bad.Type)
			}
			if !strings.Contains(string(bad.Redacted), `"[redacted]"`) && !strings.Contains(string(bad.Redacted), `.[redacted]"`) {
				t.Errorf("redacted message is %s", bad.Redacted)
			}
			if !json.Valid(bad.Redacted) || !strings.Contains(string(bad.Redacted), `"id":"login-1"`) {
				t.Errorf("redacted message lost more than the signature: %s", bad.Redacted)
			}
		})
	}
}

// A message may be read long after the login: what counts is that the token was
// valid then.
func TestDecodeJudgesTheTokenAsOfTheLogin(t *testing.T) {
	i := newIssuer(t)
	d := decoder(t, Config{Providers: []Provider{i.provider()}, Now: (&clock{at: loginTime.AddDate(0, 0, 3)}).now})
	got, err := d.Decode(t.Context(), login(t, map[string]any{"id_token": i.token(t, named(account))}))
	if err != nil || len(got.Triggers) != 1 {
		t.Errorf("read three days later: got %+v, %v, want one trigger", got, err)
	}
	m := login(t, map[string]any{"id_token": i.token(t, named(account)), "occurred_at": nil})
	m.Time = loginTime.Add(2 * time.Hour) // the only time there is
	_, err = d.Decode(t.Context(), m)
	wantBad(t, err, event.ReasonBadToken, "expired", "")
	within := i.token(t, map[string]any{"exp": loginTime.Add(-30 * time.Second).Unix(), "https://example.test/zuora": account})
	if got, err = d.Decode(t.Context(), login(t, map[string]any{"id_token": within})); err != nil || len(got.Triggers) != 1 {
		t.Errorf("within the leeway: got %+v, %v, want one trigger", got, err)
	}
}

func TestDecodeProviders(t *testing.T) {
	i := newIssuer(t)
	second := i.provider()
	second.Name, second.Issuer, second.TrustedClaims = "entra", "https://entra.test/", true
	two := Config{Providers: []Provider{i.provider(), second}}
	keyless := Config{Providers: []Provider{{Name: "auth0", TrustedClaims: true, Claims: []ClaimRule{rule("acc")}}}}
	token := i.token(t, named(account))
	tests := []struct {
		name   string
		cfg    Config
		fields map[string]any
		reason event.Reason // "" for one trigger
		text   string
	}{
		{"by name", two, map[string]any{"id_token": token}, "", ""},
		{"by issuer", two, map[string]any{"id_token": token, "provider": nil}, "", ""},
		{"the only one", Config{Providers: []Provider{i.provider()}}, map[string]any{"id_token": token, "provider": nil}, "", ""},
		{"unknown name", two, map[string]any{"id_token": token, "provider": "okta"}, event.ReasonBadToken, `unknown provider "okta"; configured are "auth0", "entra"`},
		{"unknown issuer", two, map[string]any{"id_token": i.token(t, map[string]any{"iss": "https://x.test/"}), "provider": nil}, event.ReasonBadToken, "no provider has the issuer"},
		{"no name and no token", two, map[string]any{"claims": named(account), "provider": nil}, event.ReasonBadToken, "names no provider"},
		{"wrong name", two, map[string]any{"id_token": token, "provider": "entra"}, event.ReasonBadToken, "issuer is"},
		{"claims, trusted", two, map[string]any{"claims": named(account), "provider": "entra"}, "", ""},
		{"claims, not trusted", two, map[string]any{"claims": named(account)}, event.ReasonBadToken, "trusted_claims"},
		{"a bad token is not saved by claims", two, map[string]any{"claims": named(account), "id_token": "x.y.z", "provider": "entra"}, event.ReasonBadToken, "not a signed JWT"},
		{"token without a key set", keyless, map[string]any{"id_token": token}, event.ReasonBadToken, "no key set"},
		{"claims are a list", keyless, map[string]any{"claims": []string{"x"}}, event.ReasonUndecodable, "JSON object"},
		{"neither", two, nil, event.ReasonUndecodable, "neither id_token nor claims"},
		{"null claims", two, map[string]any{"claims": json.RawMessage("null")}, event.ReasonUndecodable, "neither id_token nor claims"},
		{"odd time", two, map[string]any{"id_token": token, "occurred_at": "10:00"}, event.ReasonUndecodable, "occurred_at"},
		{"token is a number", two, map[string]any{"id_token": 7}, event.ReasonUndecodable, "not a login"},
		{"long id", two, map[string]any{"id_token": token, "id": strings.Repeat("x", 201)}, event.ReasonUndecodable, "field id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decoder(t, tt.cfg).Decode(t.Context(), login(t, tt.fields))
			if tt.reason != "" {
				wantBad(t, err, tt.reason, tt.text, token)
				return
			}
			if err != nil || len(got.Triggers) != 1 || got.Triggers[0].Key != record.ZuoraAccount(account) {
				t.Errorf("got %+v, %v, want one trigger", got, err)
			}
		})
	}
}

func TestDecodeDisabled(t *testing.T) {
	i := newIssuer(t)
	on := false
	d := decoder(t, Config{Providers: []Provider{i.provider()}, Enabled: func() bool { return on }})
	m := login(t, map[string]any{"id_token": i.token(t, named(account))})
	got, err := d.Decode(t.Context(), m)
	want := event.Reading{Reason: event.ReasonDisabled, Note: "hot sync is switched off", Type: "login", Delivery: "login-1", At: loginTime}
	if diff := cmp.Diff(want, got); err != nil || diff != "" || i.count() != 0 {
		t.Errorf("%v, %d readings of keys (-want +got):\n%s", err, i.count(), diff)
	}
	on = true
	if got, err = d.Decode(t.Context(), m); err != nil || len(got.Triggers) != 1 {
		t.Errorf("switched on: got %+v, %v, want one trigger", got, err)
	}
}

func TestDecodeTooLarge(t *testing.T) {
	i := newIssuer(t)
	d := decoder(t, Config{Providers: []Provider{i.provider()}, MaxBytes: 100})
	token := i.token(t, nil)
	_, err := d.Decode(t.Context(), login(t, map[string]any{"id_token": token}))
	wantBad(t, err, event.ReasonTooLarge, "max_bytes", token)
}

func TestDecodeKeysUnavailable(t *testing.T) {
	i := newIssuer(t)
	i.answer(http.StatusServiceUnavailable)
	c := &clock{at: loginTime.Add(time.Minute)}
	d := decoder(t, Config{Providers: []Provider{i.provider()}, Now: c.now})
	m := login(t, map[string]any{"id_token": i.token(t, named(account))})
	for n := range 2 { // the second time within the pause: nobody is asked
		_, err := d.Decode(t.Context(), m)
		var bad *event.BadInput
		if fault.Of(err) != fault.Unavailable || errors.As(err, &bad) || !strings.Contains(err.Error(), "503") || i.count() != 1 {
			t.Fatalf("try %d: got %v (%s) after %d readings, want unavailable", n, err, fault.Of(err), i.count())
		}
	}
	if err := d.Check(t.Context()); fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), "auth0") {
		t.Errorf("check: got %v, want unavailable and the provider's name", err)
	}
	i.answer(0)
	c.advance(2 * time.Second)
	if got, err := d.Decode(t.Context(), m); err != nil || len(got.Triggers) != 1 {
		t.Errorf("back again: got %+v, %v, want one trigger", got, err)
	}
	if err := d.Check(t.Context()); err != nil {
		t.Error(err)
	}
}
