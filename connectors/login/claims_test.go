package login

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hotsync/event"
)

func TestDecodeClaims(t *testing.T) {
	i := newIssuer(t)
	const field = "LimioExternalId__c"
	wrongType := rule("acc")
	wrongType.Type = "Account"
	long := strings.Repeat("x", 65)
	a, b := []ClaimRule{rule("acc")}, []ClaimRule{lookup("sub", field)}
	tests := []struct {
		name   string
		rules  []ClaimRule
		claims map[string]any
		want   []string // keys
		note   string   // part of it
	}{
		{"A: id", a, map[string]any{"acc": account}, []string{"zuora:account:" + account}, ""},
		{"A: list, one twice", a, map[string]any{"acc": []any{"a1", "a2", "a1"}}, []string{"zuora:account:a1", "zuora:account:a2"}, ""},
		{"A: several claims", []ClaimRule{rule("acc"), rule("acc2")}, map[string]any{"acc": "a1", "acc2": []any{"a2"}}, []string{"zuora:account:a1", "zuora:account:a2"}, ""},
		{"A: one of several claims", []ClaimRule{rule("acc"), rule("acc2")}, map[string]any{"acc2": "a2"}, []string{"zuora:account:a2"}, ""},
		{"A: number as it is written", a, map[string]any{"acc": 12345678901234567}, []string{"zuora:account:12345678901234567"}, ""},
		{"A: account number", a, map[string]any{"acc": "A-00001"}, []string{"zuora:account:A-00001"}, ""},
		{"A: name with dots", []ClaimRule{rule("https://example.test/zuora.id")}, map[string]any{"https://example.test/zuora.id": "a1", "https://example": map[string]any{"test/zuora": map[string]any{"id": "a2"}}}, []string{"zuora:account:a1"}, ""},
		{"A: path", []ClaimRule{rule("app.ids.zuora")}, map[string]any{"app": map[string]any{"ids": map[string]any{"zuora": "a1"}}}, []string{"zuora:account:a1"}, ""},
		{"A: path below a name with dots", []ClaimRule{rule("https://example.test/app.zuora")}, map[string]any{"https://example.test/app": map[string]any{"zuora": "a1"}}, []string{"zuora:account:a1"}, ""},
		{"A: exact null is not searched further", []ClaimRule{rule("a.b")}, map[string]any{"a.b": json0, "a": map[string]any{"b": "a1"}}, nil, `claim "a.b": null`},
		{"A: absent", a, nil, nil, `provider "auth0": looked for claim "acc": absent`},
		{"A: empty", a, map[string]any{"acc": ""}, nil, "empty"},
		{"A: empty list", a, map[string]any{"acc": []any{}}, nil, "an empty list"},
		{"A: list of nothing", a, map[string]any{"acc": []any{"", json0, true, []any{}}}, nil, "in a list: empty, null, true or false, an object or a list"},
		{"A: object", a, map[string]any{"acc": map[string]any{"id": "a1"}}, nil, "an object"},
		{"A: the word null", a, map[string]any{"acc": "null"}, nil, `the word "null"`},
		{"A: quotes", a, map[string]any{"acc": `a' or name != '`}, nil, "no Zuora account id"},
		{"A: slash", a, map[string]any{"acc": "a/b"}, nil, "no Zuora account id"},
		{"A: dots", a, map[string]any{"acc": ".."}, nil, "no Zuora account id"},
		{"A: space", a, map[string]any{"acc": "a b"}, nil, "no Zuora account id"},
		{"A: control", a, map[string]any{"acc": "a\n"}, nil, "no Zuora account id"},
		{"A: long", a, map[string]any{"acc": long}, nil, "no Zuora account id"},
		{"A: part of a list", a, map[string]any{"acc": []any{"a1", "a b"}}, []string{"zuora:account:a1"}, "left out of"},
		{"B: sub", b, nil, []string{"zuora:lookup:" + field + "=auth0|77"}, ""},
		{"B: quotes are data", []ClaimRule{lookup("email", field)}, map[string]any{"email": `o'hara+"x"@example.test`}, []string{"zuora:lookup:" + field + `=o'hara+"x"@example.test`}, ""},
		{"B: equals sign", []ClaimRule{lookup("email", field)}, map[string]any{"email": "a=b"}, []string{"zuora:lookup:" + field + "=a=b"}, ""},
		{"B: control", []ClaimRule{lookup("email", field)}, map[string]any{"email": "a\x00b"}, nil, "cannot be looked up"},
		{"B: spaces", []ClaimRule{lookup("email", field)}, map[string]any{"email": "  "}, nil, "cannot be looked up"},
		{"B: the word null", []ClaimRule{lookup("email", field)}, map[string]any{"email": "null"}, nil, `(for Zuora field LimioExternalId__c): the word "null"`},
		{"B: absent", []ClaimRule{lookup("email", field)}, nil, nil, "absent"},
		{"A and B", []ClaimRule{rule("acc"), lookup("sub", field)}, map[string]any{"acc": "a1"}, []string{"zuora:account:a1", "zuora:lookup:" + field + "=auth0|77"}, ""},
		{"wrong type is not detected", []ClaimRule{wrongType}, map[string]any{"acc": "a1"}, nil, "has no claim with service zuora"},
		{"no rules", nil, map[string]any{"acc": "a1"}, nil, "has no claim with service zuora"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := i.provider()
			p.Claims = tt.rules
			all := claims(nil)
			for k, v := range tt.claims {
				if v == json0 {
					v = nil
				}
				all[k] = nulled(v)
			}
			token := tokenOf(t, "RS256", "rsa", i.key(t, "rsa"), all)
			got, err := decoder(t, Config{Providers: []Provider{p}}).Decode(t.Context(), login(t, map[string]any{"id_token": token}))
			if err != nil {
				t.Fatal(err)
			}
			var keys []string
			for n, tr := range got.Triggers {
				keys = append(keys, tr.Key.String())
				if tr.ID != event.TriggerID(coords, n) {
					t.Errorf("trigger %d has id %s", n, tr.ID)
				}
				if via := tr.Key.ID; tr.Key.Kind == "lookup" && tr.Via != via {
					t.Errorf("via %q, want %q", tr.Via, via)
				}
			}
			if diff := cmp.Diff(tt.want, keys); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			if (got.Reason == event.ReasonNoClaim) != (len(tt.want) == 0) {
				t.Errorf("reason %q with %d triggers", got.Reason, len(got.Triggers))
			}
			if (tt.note == "") != (got.Note == "") || !strings.Contains(got.Note, tt.note) {
				t.Errorf("note %q, want %q in it", got.Note, tt.note)
			}
			if strings.Contains(got.Note, "a b") || strings.Contains(got.Note, "name !=") {
				t.Errorf("note %q repeats a value", got.Note)
			}
		})
	}
}

// json0 stands for a JSON null in a table, where nil would mean no claim.
const json0 = "\x00null"

func nulled(v any) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	out := make([]any, len(list))
	for n, e := range list {
		if e != json0 {
			out[n] = e
		}
	}
	return out
}

func TestValidate(t *testing.T) {
	good := func() Provider {
		return Provider{Name: "auth0", Issuer: issuerURL, Audience: []string{clientID}, JWKSURL: "https://idp.test/jwks", Claims: []ClaimRule{rule("acc")}}
	}
	change := func(f func(*Provider)) Config {
		p := good()
		f(&p)
		return Config{Providers: []Provider{p}}
	}
	tests := []struct {
		name    string
		cfg     Config
		warning string
		err     string
	}{
		{"good", change(func(*Provider) {}), "", ""},
		{"no provider", Config{}, "", "at least one"},
		{"no name", change(func(p *Provider) { p.Name = "" }), "", "provider number 1: a name"},
		{"same name", Config{Providers: []Provider{good(), good()}}, "has the issuer of provider", "used twice"},
		{"two key sets", change(func(p *Provider) { p.JWKSFile = "x" }), "", "not both"},
		{"no key set", change(func(p *Provider) { p.JWKSURL = "" }), "", "trusted_claims"},
		{"no issuer", change(func(p *Provider) { p.Issuer = "" }), "", "an issuer is required"},
		{"no audience", change(func(p *Provider) { p.Audience = nil }), "", "an audience is required"},
		{"odd URL", change(func(p *Provider) { p.JWKSURL = "idp.test/jwks" }), "", "http or https URL"},
		{"without TLS", change(func(p *Provider) { p.JWKSURL = "http://idp.test/jwks" }), "without TLS", ""},
		{"without TLS at home", change(func(p *Provider) { p.JWKSURL = "http://127.0.0.1:8080/jwks" }), "", ""},
		{"negative skew", change(func(p *Provider) { p.ClockSkew = -1 }), "", "clock skew"},
		{"trusted claims", change(func(p *Provider) { p.TrustedClaims = true }), "whoever can write", ""},
		{"wrong service", change(func(p *Provider) { p.Claims[0].Service = "Zuora" }), "these values are incorrect, the claim will not be detected", ""},
		{"no claims", change(func(p *Provider) { p.Claims = nil }), "never cause a sync", ""},
		{"no claim name", change(func(p *Provider) { p.Claims[0].Claim = " " }), "", "a name without spaces"},
		{"lookup without field", change(func(p *Provider) { p.Claims[0].Lookup = true }), "", "account lookup field"},
		{"field that is none", change(func(p *Provider) { p.Claims[0].Lookup, p.Claims[0].LookupField = true, "a=b" }), "", "account lookup field"},
		{"field without lookup", change(func(p *Provider) { p.Claims[0].LookupField = "X__c" }), "", "while account lookup is off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			warnings, err := tt.cfg.Validate()
			text := strings.Join(warnings, "\n")
			if (tt.warning == "") != (text == "") || !strings.Contains(text, tt.warning) {
				t.Errorf("warnings %q, want %q", text, tt.warning)
			}
			if (tt.err == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if _, newErr := NewDecoder(tt.cfg); (newErr == nil) != (err == nil) {
				t.Errorf("NewDecoder says %v, Validate %v", newErr, err)
			}
		})
	}
}

func TestFindDoesNotInvent(t *testing.T) {
	for _, name := range []string{"", ".", "a.", ".a", "a..b", "a.b.c.d"} {
		if v, ok := find(map[string]any{"a": map[string]any{"b": "x"}}, name); ok {
			t.Errorf("%q: found %v", name, v)
		}
	}
}
