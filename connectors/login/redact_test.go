package login

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"hotsync/event"
)

func TestRedact(t *testing.T) {
	const head, body, sig = "eyJhbGciOiJSUzI1NiJ9", "eyJzdWIiOiJhIn0", "c2lnbmF0dXJlLXRoYXQtaXMtbG9uZy1lbm91Z2g"
	const token, kept = head + "." + body + "." + sig, head + "." + body + ".[redacted]"
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	tests := []struct{ name, in, want string }{
		{"nothing to take out", `{"id": "1",  "a": [1, 2.50, null, true], "b": {}}`, ""},
		{"token", `{"id":"1", "id_token" : "` + token + `", "x":[{"y":1}]}`, `{"id":"1", "id_token" : "` + kept + `", "x":[{"y":1}]}`},
		{"twice", `{"id_token":"` + token + `","id_token":"` + token + `"}`, `{"id_token":"` + kept + `","id_token":"` + kept + `"}`},
		{"under any name", `{"a":["x","Bearer ` + token + `"]}`, `{"a":["x","Bearer ` + kept + `"]}`},
		{"as a name", `{"` + token + `":1}`, `{"` + kept + `":1}`},
		{"opaque", `{"access_token":"abc","refreshToken":"d.e"}`, `{"access_token":"[redacted]","refreshToken":"[redacted]"}`},
		{"list of opaque", `{"tokens":["abc",{"v":"def"}],"z":"abc"}`, `{"tokens":["[redacted]",{"v":"[redacted]"}],"z":"abc"}`},
		{"escaped", `{"id_token":"\u0065` + token[1:] + `"}`, `{"id_token":"` + kept + `"}`},
		{"JSON in a string", `{"body":"{\"access_token\":\"abc\",\"t\":\"` + token + `\"}"}`, `{"body":"{\"access_token\":\"[redacted]\",\"t\":\"` + kept + `\"}"}`},
		{"base64", `{"data_base64":"` + b64(`{"id_token":"`+token+`"}`) + `"}`, `{"data_base64":"` + b64(`{"id_token":"`+kept+`"}`) + `"}`},
		{"not base64", `{"data_base64":"!"}`, `{"data_base64":"[redacted]"}`},
		{"bare token", token, kept},
		{"cut off in the signature", `{"id":"1","id_token":"` + token[:len(token)-9], `{"id":"1","id_token":"` + kept},
		{"broken behind it", `{"id_token":"` + token + `",,}`, `{"id_token":"` + kept + `",,}`},
		{"broken before it", `{x:1,"id_token":"` + token + `"}`, `{x:1,"id_token":"` + kept + `"}`},
		{"broken, opaque", `{x, access_token=abc&b=c`, `{x, access_token=[redacted]&b=c`},
		{"broken, escaped", `{x:"` + head + `\u002e` + body + `\u002e` + sig + `"}`, `{x:"` + head + `\u002e` + body + `\[redacted]"}`},
	}
	for _, tt := range tests {
		if got := string(redact([]byte(tt.in), "")); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
	if got := string(redact([]byte(`{"note":"s3cr3t"}`), "s3cr3t")); got != `{"note":"[redacted]"}` {
		t.Errorf("the token under another name: got %s", got)
	}
}

// Whatever comes in, the result is triggers, or a reason, or bad input; and
// what is stored of it holds no token that can be used.
func FuzzDecode(f *testing.F) {
	i := newIssuer(f)
	p := i.provider()
	p.TrustedClaims = true
	p.Claims = []ClaimRule{rule("https://example.test/zuora"), rule("a.b"), lookup("sub", "X__c")}
	token := i.token(f, named(account))
	signature := token[strings.LastIndexByte(token, '.')+1:]
	d := decoder(f, Config{Providers: []Provider{p}})
	for _, seed := range []string{
		`{"id":"1","occurred_at":"2027-01-05T10:00:00Z","provider":"auth0","id_token":"TOKEN","source":"shop"}`,
		`{"provider":"auth0","claims":{"a":{"b":["x",1,null,{}]},"sub":"s"}}`,
		`{"specversion":"1.0","id":"1","source":"x","type":"y","time":"2027-01-05T10:00:00Z","data":{"id_token":"TOKEN"}}`,
		`{"specversion":"1.0","id":"1","source":"x","type":"y","data_base64":"eyJpZF90b2tlbiI6IngifQ=="}`,
		`{"id_token":"TOKEN","id_token":"TOKEN`, `[]`, `null`, `{"claims":null}`, `{}{"id_token":"TOKEN"}`, "\xff\xfe",
	} {
		f.Add(seed, "application/cloudevents+json", "")
		f.Add(seed, "", "1.0")
		f.Add(seed, "", "")
	}
	f.Fuzz(func(t *testing.T, value, contentType, version string) {
		value = strings.ReplaceAll(value, "TOKEN", token)
		got, err := d.Decode(t.Context(), raw(value, map[string]string{"content-type": contentType, "ce_specversion": version}))
		var bad *event.BadInput
		switch isBad := errors.As(err, &bad); {
		case err != nil && (!isBad || bad.Reason == "" || len(got.Triggers) > 0 || got.Reason != ""):
			t.Fatalf("got %+v, %v, want bad input alone", got, err)
		case err == nil && (len(got.Triggers) > 0) == (got.Reason != ""):
			t.Fatalf("got %+v, want triggers or a reason", got)
		}
		for _, tr := range got.Triggers {
			b, err := tr.Encode()
			if err != nil {
				t.Fatalf("encode %+v: %v", tr, err)
			}
			if _, err := event.DecodeTrigger(b); err != nil {
				t.Fatalf("trigger cannot be read back: %v", err)
			}
		}
		if err == nil {
			return
		}
		stored := bad.Redacted
		if stored == nil {
			stored = []byte(value)
		}
		// Only a token that stands there whole can be used.
		if strings.Contains(value, token) && strings.Contains(string(stored), token) || strings.Contains(err.Error(), signature) {
			t.Fatalf("the token is in %s or %q", stored, err)
		}
		if json.Valid([]byte(value)) && !json.Valid(stored) {
			t.Fatalf("redacting broke %s: %s", value, stored)
		}
	})
}
