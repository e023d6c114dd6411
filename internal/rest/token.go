package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"hotsync/internal/callout"
	"hotsync/internal/fault"
)

// tokens holds the one access token and renews it.
type tokens struct {
	fetch func(context.Context) (value string, life time.Duration, err error)
	now   func() time.Time
	early time.Duration

	group singleflight.Group

	mu    sync.Mutex
	value string    // "" when there is none
	renew time.Time // from here on a new one is asked for
	dies  time.Time
}

// renewPause is waited between attempts to renew a token that is still good.
const renewPause = 10 * time.Second

// get returns a token. Whoever comes while one is being fetched waits for that
// one, whoever gives up waiting stops nobody else.
func (t *tokens) get(ctx context.Context) (string, error) {
	if value, ok := t.current(); ok {
		return value, nil
	}
	// The call outlives the caller that happened to start it, but is noted
	// in that caller's log.
	shared := context.WithoutCancel(ctx)
	done := t.group.DoChan("token", func() (any, error) {
		if value, ok := t.current(); ok { // fetched between our look and our turn
			return value, nil
		}
		return t.refresh(shared)
	})
	select {
	case r := <-done:
		value, _ := r.Val.(string)
		return value, r.Err
	case <-ctx.Done():
		return "", fmt.Errorf("wait for a token: %w", ctx.Err())
	}
}

// current returns the token unless it is time for another.
func (t *tokens) current() (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.value, t.value != "" && t.now().Before(t.renew)
}

// refresh fetches a token. One that is still good bridges a failure.
func (t *tokens) refresh(ctx context.Context) (string, error) {
	value, life, err := t.fetch(ctx)
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.value, t.dies = value, now.Add(life)
		t.renew = t.dies.Add(-min(t.early, life/5))
	case t.value != "" && now.Before(t.dies):
		t.renew = now.Add(renewPause)
	default:
		t.value = ""
		return "", err
	}
	return t.value, nil
}

// drop forgets a token that was refused. A newer one stays.
func (t *tokens) drop(value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value == value {
		t.value = ""
	}
}

// defaultLife is assumed of a token whose answer does not say.
const defaultLife = 5 * time.Minute

// fetchToken asks for a token: a form, and no Authorization header.
func (c *Client) fetchToken(ctx context.Context) (string, time.Duration, error) {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.cfg.ClientID}, "client_secret": {c.cfg.Secret.Reveal()},
	}
	if c.cfg.Scope != "" {
		form.Set("scope", c.cfg.Scope)
	}
	req := Request{
		Method: http.MethodPost, Route: c.cfg.TokenPath, Body: []byte(form.Encode()),
		URL: c.URL(nil, strings.Split(strings.Trim(c.cfg.TokenPath, "/"), "/")...),
	}
	answer, err := c.pass(callout.Ahead(ctx), req, http.Header{
		"Accept": {"application/json"}, "Content-Type": {"application/x-www-form-urlencoded"},
	})
	if err != nil {
		return "", 0, fmt.Errorf("get a token: %w", err)
	}
	if answer.Status != http.StatusOK {
		return "", 0, c.tokenRefused(answer)
	}
	var body struct {
		AccessToken string      `json:"access_token"`
		ExpiresIn   json.Number `json:"expires_in"`
	}
	if err := json.Unmarshal(answer.Body, &body); err != nil || body.AccessToken == "" {
		// The body is not shown: it may be a token in a form we do not know.
		return "", 0, fault.Newf(fault.Unavailable, "get a token: %s answered status 200, but no access_token can be read from it%s",
			c.cfg.Service, c.requestID(answer))
	}
	life := defaultLife
	if seconds, err := body.ExpiresIn.Float64(); err == nil && seconds > 0 {
		life = time.Duration(min(seconds, 86400) * float64(time.Second))
	}
	return body.AccessToken, life, nil
}

// oauthCode is what RFC 6749 lets an error code look like, for our purposes.
var oauthCode = regexp.MustCompile(`^[a-z_]{1,40}$`)

// tokenRefused tells why there is no token, with no more of the body than a
// word that cannot be a secret.
func (c *Client) tokenRefused(a Answer) error {
	var body struct {
		Error any `json:"error"`
	}
	_ = json.Unmarshal(a.Body, &body) // the shape is not documented
	code, _ := body.Error.(string)
	if oauthCode.MatchString(code) {
		code = " " + code
	} else {
		code = ""
	}
	said := fmt.Sprintf("status %d%s%s", a.Status, code, c.requestID(a))
	switch a.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return fault.Newf(fault.Forbidden, "get a token: %s refuses the credentials (%s): check client_id and client_secret", c.cfg.Service, said)
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return fault.Newf(fault.Refused, "get a token: %s has no token endpoint at %s%s (%s): check base_url",
			c.cfg.Service, origin(c.cfg.Base), c.cfg.TokenPath, said)
	}
	// Work is not given up for an answer that says nothing of it.
	class := Class(a.Status, false)
	if !class.Passing() {
		class = fault.Unavailable
	}
	return Failure(class, a, c.cfg.Now(), fmt.Sprintf("get a token: %s answered %s", c.cfg.Service, said))
}

func (c *Client) requestID(a Answer) string {
	if id := a.Header.Get(c.cfg.RequestID); c.cfg.RequestID != "" && id != "" {
		return ", request " + id
	}
	return ""
}
