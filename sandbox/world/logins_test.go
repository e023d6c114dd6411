package world

import (
	"strings"
	"testing"
)

func TestLoginsNameTheAccountsOfTheirUser(t *testing.T) {
	w := small(t)
	several := 0
	for _, u := range w.Users() {
		step := must(t)(w.Login(u.ID))
		provider, header, claims := loginOfMessage(t, step.Messages[0])
		p := w.provider(u.Provider)
		if provider != p.Name || claims["iss"] != p.Issuer || claims["sub"] != u.ID {
			t.Errorf("login of %s: provider %s, claims %v", u.ID, provider, claims)
		}
		if p.Lookup {
			account, _ := w.zuora.Account(u.Accounts[0])
			if header["alg"] != "ES256" || account.CustomFields[LookupField] != claims["sub"] {
				t.Errorf("%s leads to nothing: %v", u.ID, account.CustomFields)
			}
			continue
		}
		var named []string
		switch v := claims[claimA].(type) {
		case string:
			named = []string{v}
		case []any:
			for _, id := range v {
				named = append(named, id.(string))
			}
		}
		if header["alg"] != "RS256" || strings.Join(named, " ") != strings.Join(u.Accounts, " ") {
			t.Errorf("%s names %v, want %v", u.ID, named, u.Accounts)
		}
		if len(named) > 1 {
			several++
		}
	}
	if several == 0 {
		t.Error("nobody has several accounts")
	}
	for _, a := range w.accounts {
		if a.User != "" && !a.loggedIn {
			t.Errorf("account %s is not known to have been logged in to", a.ID)
		}
	}
}

// TestALoginMakesAnUnknownAccountCount: from then on it must be in Limio.
func TestALoginMakesAnUnknownAccountCount(t *testing.T) {
	w := small(t)
	unknown := w.accounts[0] // with 45 subscriptions
	before := len(w.Drift())
	must(t)(w.Login(unknown.User))
	if after := w.Drift(); len(after) != before+1 || after[0].ID != unknown.ID || after[0].Field != "customer" {
		t.Errorf("%d differences before, then %v", before, after)
	}
	if n := len(w.zuora.Subscriptions(unknown.ID)); n <= 40 {
		t.Errorf("the large account has %d subscriptions", n)
	}
}

func TestOddLogins(t *testing.T) {
	w := small(t)
	before := len(w.Drift())
	for _, kind := range OddLogins() {
		provider, header, claims := loginOfMessage(t, must(t)(w.OddLogin(kind)).Messages[0])
		value, there := claims[claimA]
		ok := true
		switch kind {
		case NoClaim:
			ok = !there
		case ClaimNull:
			ok = there && value == nil
		case ClaimEmpty:
			ok = value == ""
		case ClaimNoneOf:
			ok = len(value.([]any)) == 0
		case ClaimQuotes:
			ok = strings.Contains(claims["sub"].(string), "'")
		case ClaimControl:
			ok = strings.Contains(value.([]any)[0].(string), "\x00")
		case Ambiguous:
			ok = claims["sub"] == "okta|twice"
		case Expired:
			ok = claims["exp"].(float64) < float64(began.Unix())
		case AlgNone:
			ok = header["alg"] == "none"
		case WrongAudience:
			ok = claims["aud"] == "somebody-else"
		case UnknownProvider:
			ok = provider == "ghost"
		}
		if !ok {
			t.Errorf("%s: provider %s, header %v, claims %v", kind, provider, header, claims)
		}
	}
	if after := len(w.Drift()); after != before {
		t.Errorf("odd logins made %d differences of %d", after, before)
	}
}
