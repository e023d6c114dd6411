package zuora

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"mime"
	"net/http"
	"sync"
	"time"
)

// tokens are the access tokens that were issued, with the time they die.
type tokens struct {
	mu     sync.Mutex
	issued map[string]time.Time
	count  int
	minute time.Time
	inMin  int
}

func (t *tokens) valid(token string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	dies, ok := t.issued[token]
	return ok && now.Before(dies)
}

// issue makes a token, or none when the minute's share is used up.
func (t *tokens) issue(seed uint64, now, dies time.Time, perMinute int) (token string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := now.Truncate(time.Minute); !m.Equal(t.minute) {
		t.minute, t.inMin = m, 0
	}
	t.inMin++
	if perMinute > 0 && t.inMin > perMinute {
		return "", false
	}
	for old, at := range t.issued {
		if !now.Before(at) {
			delete(t.issued, old)
		}
	}
	t.count++
	sum := sha256.Sum256(fmt.Appendf(nil, "token/%d/%d", seed, t.count))
	token = fmt.Sprintf("%x", sum[:16])
	t.issued[token] = dies
	return token, true
}

// RevokeTokens makes every token that was issued so far invalid.
func (s *Server) RevokeTokens() {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	clear(s.tokens.issued)
}

// token answers POST /oauth/token. The body of a refusal is not documented;
// this is OAuth's.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code, description string) {
		answer(w, r, status, map[string]any{"error": code, "error_description": description})
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		refuse(http.StatusUnsupportedMediaType, "invalid_request", "the body must be a form")
		return
	}
	if err := r.ParseForm(); err != nil {
		refuse(http.StatusBadRequest, "invalid_request", "the form cannot be read")
		return
	}
	form := r.PostForm
	if form.Get("grant_type") != "client_credentials" {
		refuse(http.StatusBadRequest, "unsupported_grant_type", "grant_type must be client_credentials")
		return
	}
	if !matches(form.Get("client_id"), s.cfg.ClientID) || !matches(form.Get("client_secret"), s.cfg.ClientSecret) {
		refuse(http.StatusUnauthorized, "invalid_client", "Invalid client id or secret")
		return
	}
	now := s.Clock.Now()
	token, ok := s.tokens.issue(s.cfg.Seed, now, now.Add(s.cfg.TokenLife), s.cfg.TokensPerMinute)
	if !ok {
		refuse(http.StatusTooManyRequests, "rate_limited", "too many tokens")
		return
	}
	expires := int(s.cfg.TokenLife.Seconds())
	if expires > 2 {
		expires -= 2
	}
	answer(w, r, http.StatusOK, map[string]any{
		"access_token": token, "token_type": "bearer", "expires_in": expires, "jti": token,
		"scope": "entity.00000000-0000-0000-0000-000000000001 service.usage.write",
	})
}

// matches reports whether got is want; any non-empty value is when want is "".
func matches(got, want string) bool {
	if want == "" {
		return got != ""
	}
	return subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}
