package world

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// OddLogin is a login from which nothing must follow.
type OddLogin string

// The odd logins. Those from Forged on are bad input, the others are good
// messages without a target.
const (
	NoClaim      OddLogin = "no_claim"
	ClaimNull    OddLogin = "claim_null"
	ClaimEmpty   OddLogin = "claim_empty"
	ClaimNoneOf  OddLogin = "claim_empty_array"
	ClaimQuotes  OddLogin = "claim_quotes"
	ClaimControl OddLogin = "claim_control_characters"
	NoMatch      OddLogin = "no_match"
	Ambiguous    OddLogin = "ambiguous_match"

	Forged          OddLogin = "forged"
	Expired         OddLogin = "expired"
	AlgNone         OddLogin = "alg_none"
	WrongAudience   OddLogin = "wrong_audience"
	UnknownProvider OddLogin = "unknown_provider"
)

// OddLogins lists them all.
func OddLogins() []OddLogin {
	return []OddLogin{
		NoClaim, ClaimNull, ClaimEmpty, ClaimNoneOf, ClaimQuotes, ClaimControl, NoMatch, Ambiguous,
		Forged, Expired, AlgNone, WrongAudience, UnknownProvider,
	}
}

// Bad reports whether the message must be rejected.
func (o OddLogin) Bad() bool {
	return slices.Contains([]OddLogin{Forged, Expired, AlgNone, WrongAudience, UnknownProvider}, o)
}

// Login is a login of a user (User.ID).
func (w *World) Login(user string) (Step, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m, err := w.login(user)
	if err != nil {
		return Step{}, err
	}
	return Step{Messages: []Message{m}}, nil
}

func (w *World) login(user string) (Message, error) {
	i := slices.IndexFunc(w.users, func(u *User) bool { return u.ID == user })
	if i < 0 {
		return Message{}, fmt.Errorf("log in: there is no user %s", user)
	}
	u := w.users[i]
	for _, id := range u.Accounts {
		w.byID[id].loggedIn = true
	}
	claims := w.claims(w.provider(u.Provider), u.ID)
	if u.Provider == providerA {
		claims[claimA] = u.Accounts
		if len(u.Accounts) == 1 && w.rnd.IntN(2) == 0 {
			claims[claimA] = u.Accounts[0]
		}
	}
	return w.loginMessage(u.Provider, w.token(u.Provider, claims, byProvider), u.ID), nil
}

// claims are those of every token.
func (w *World) claims(p Provider, sub string) map[string]any {
	now := w.clock.Now()
	out := map[string]any{
		"iss": p.Issuer, "aud": p.Audience, "sub": sub, "iat": now.Add(-time.Second).Unix(), "exp": now.Add(time.Hour).Unix(),
		"nonce": w.hex(16),
	}
	if w.rnd.IntN(3) == 0 {
		out["aud"] = []string{"another-app", p.Audience}
	}
	return out
}

// loginOf is a login of the user behind an account.
func (w *World) loginOf(account string) (Message, error) {
	a := w.byID[account]
	if a == nil || a.User == "" {
		return Message{}, fmt.Errorf("log in to account %s: no user leads to it", account)
	}
	return w.login(a.User)
}

// OddLogin is a login from which nothing must follow.
func (w *World) OddLogin(kind OddLogin) (Step, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, how := w.provider(providerA), byProvider
	if kind == NoMatch || kind == Ambiguous || kind == ClaimQuotes && w.rnd.IntN(2) == 0 {
		p = w.provider(providerB)
	}
	sub := fmt.Sprintf("%s|stranger-%d", p.Name, w.next())
	claims := w.claims(p, sub)
	now, name := w.clock.Now(), p.Name
	switch kind {
	case NoClaim:
	case ClaimNull:
		claims[claimA] = nil
	case ClaimEmpty:
		claims[claimA] = ""
	case ClaimNoneOf:
		claims[claimA] = []string{}
	case ClaimQuotes:
		claims["sub"], claims[claimA] = `x' or Id != '`, `8a" OR "1"="1`
	case ClaimControl:
		claims[claimA] = []string{"8a\x00\x07", "line\nbreak"}
	case NoMatch:
	case Ambiguous:
		claims["sub"] = "okta|twice"
	case Forged:
		how = byForger
	case Expired:
		claims["iat"], claims["exp"] = now.Add(-2*time.Hour).Unix(), now.Add(-time.Hour).Unix()
	case AlgNone:
		how = byNobody
	case WrongAudience:
		claims["aud"] = "somebody-else"
	case UnknownProvider:
		name = "ghost"
	default:
		return Step{}, fmt.Errorf("odd login: there is no kind %q", kind)
	}
	if kind.Bad() { // it asks for a real account, so that believing it would show
		claims[claimA] = w.accounts[w.rnd.IntN(len(w.accounts))].ID
	}
	return Step{Messages: []Message{w.loginMessage(name, w.token(p.Name, claims, how), sub)}}, nil
}

// loginMessage tells of a login in one of the three forms: bare, or as a
// CloudEvent in structured or binary mode.
func (w *World) loginMessage(provider, token, key string) Message {
	id := fmt.Sprintf("login-%08d", w.next())
	at := w.clock.Now().UTC().Format(time.RFC3339Nano)
	data := map[string]any{"provider": provider, "id_token": token}
	form := w.rnd.IntN(10)
	m := Message{Topic: TopicLogins, Headers: map[string]string{}}
	if w.rnd.IntN(4) > 0 {
		m.Key = []byte(key)
	}
	switch {
	case form < 7:
		maps.Copy(data, map[string]any{"id": id, "occurred_at": at})
		m.Value = encode(data)
	case form < 9:
		m.Headers["content-type"] = "application/cloudevents+json; charset=UTF-8"
		m.Value = encode(map[string]any{
			"specversion": "1.0", "id": id, "source": "/auth", "type": "com.acme.login", "time": at,
			"datacontenttype": "application/json", "data": data,
		})
	default:
		maps.Copy(m.Headers, map[string]string{
			"ce_specversion": "1.0", "ce_id": id, "ce_source": "/auth", "ce_type": "com.acme.login", "ce_time": at,
			"content-type": "application/json",
		})
		m.Value = encode(data)
	}
	return m
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("world: encode message: %v", err))
	}
	return b
}
