package limio_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/limio"
)

var start = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

// world is a simulated Limio behind a listener, and a client with a token.
type world struct {
	*limio.Server
	t     *testing.T
	clock *httpsim.Clock
	http  *httptest.Server
	token string
}

func newWorld(t *testing.T, cfg limio.Config) *world {
	t.Helper()
	w := &world{t: t, clock: httpsim.FrozenClock(start)}
	cfg.Clock, cfg.Seed = w.clock, 7
	cfg.ClientID, cfg.ClientSecret = "client", "s3cret"
	w.Server = limio.New(cfg)
	w.http = httptest.NewServer(w.Server)
	t.Cleanup(w.http.Close)
	w.login()
	return w
}

func (w *world) login() {
	w.t.Helper()
	resp, err := w.http.Client().PostForm(w.http.URL+"/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"client"}, "client_secret": {"s3cret"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct {
		AccessToken string `json:"access_token"`
		IDToken     string `json:"id_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		w.t.Fatal(err)
	}
	if out.TokenType != "Bearer" || out.ExpiresIn != 3600 || out.IDToken == "" {
		w.t.Fatalf("token answer: %+v", out)
	}
	w.token = out.AccessToken
}

// raw sends a request and returns the status and the body.
func (w *world) raw(method, path, body string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.http.URL+path, bytes.NewBufferString(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	resp, err := w.http.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// do sends a request that must succeed and returns its answer.
func (w *world) do(method, path, body string) answer {
	w.t.Helper()
	status, text := w.raw(method, path, body)
	if status != http.StatusOK {
		w.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		w.t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
	return answer{limio.Object{JSON: out}}
}

// refused sends a request that must answer status, and returns the body.
func (w *world) refused(status int, method, path, body string) string {
	w.t.Helper()
	got, text := w.raw(method, path, body)
	if got != status {
		w.t.Errorf("%s %s %s: got %d %s, want %d", method, path, body, got, text, status)
	}
	return text
}

// answer is a JSON answer with path access.
type answer struct{ limio.Object }

func (a answer) items() []answer {
	list, _ := a.At("items").([]any)
	out := make([]answer, len(list))
	for i, v := range list {
		out[i] = answer{limio.Object{JSON: v.(map[string]any)}}
	}
	return out
}

func (w *world) mustGet(id string) limio.Object {
	w.t.Helper()
	o, ok := w.Get(id)
	if !ok {
		w.t.Fatalf("no object %s", id)
	}
	return o
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// writes returns the write log as "by op type" lines, events left out.
func (w *world) writes() []string {
	var out []string
	for _, e := range w.Writes() {
		if strings.HasSuffix(e.RecordType, "event") {
			continue
		}
		line := e.By + " " + e.Op + " " + e.RecordType
		if e.Noop {
			line += " noop"
		}
		out = append(out, line)
	}
	return out
}

func TestToken(t *testing.T) {
	w := newWorld(t, limio.Config{})
	w.do("GET", "/api/objects/limio/subscriptions", "")

	post := func(basic bool, form url.Values) int {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), "POST", w.http.URL+"/oauth2/token", strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if basic {
			req.SetBasicAuth("client", "s3cret")
		}
		resp, err := w.http.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	equal(t, "basic", post(true, url.Values{"grant_type": {"client_credentials"}, "scope": {"openid"}}), 200)
	equal(t, "no credentials", post(false, url.Values{"grant_type": {"client_credentials"}}), 401)
	equal(t, "wrong secret", post(false, url.Values{"grant_type": {"client_credentials"}, "client_id": {"client"}, "client_secret": {"x"}}), 401)
	equal(t, "wrong grant", post(true, url.Values{"grant_type": {"password"}}), 400)
	equal(t, "calls", w.Calls()["POST /oauth2/token"], 5)

	w.clock.Advance(time.Hour)
	w.refused(401, "GET", "/api/objects/limio/subscriptions", "")
	w.login()
	w.do("GET", "/api/objects/limio/subscriptions", "")
	w.RevokeTokens()
	w.refused(401, "GET", "/api/objects/limio/subscriptions", "")
	w.login()
	w.token += "x"
	w.refused(401, "POST", "/api/plugins/zuora/sync/subscription/A-S1", "")
	w.token = ""
	w.refused(401, "GET", "/api/no/such/thing", "")
}

func TestErrorsAndFaults(t *testing.T) {
	w := newWorld(t, limio.Config{ErrorStyle: limio.ErrorRotate})
	const path = "/api/objects/limio/subscriptions/sub-0"
	for _, want := range []string{
		`{"message":"limio subscriptions sub-0 not found"}`, `{"error":"limio subscriptions sub-0 not found"}`,
		`{"errors":[{"message":"limio subscriptions sub-0 not found"}]}`, `limio subscriptions sub-0 not found`,
	} {
		equal(t, "body", strings.TrimSpace(w.refused(404, "GET", path, "")), want)
	}
	w.SetErrorStyle(limio.ErrorMessage)

	for code, status := range map[string]int{
		"bad_gateway": 502, "rate_limit": 429, "unavailable": 503, "forbidden": 403, "unauthorized": 401, "internal": 500, "what": 500,
	} {
		remove := w.Inject(httpsim.Fault{Code: code})
		w.refused(status, "GET", path, "")
		remove()
	}
	retryAfter := func(f httpsim.Fault) string {
		defer w.Inject(f)()
		resp, err := w.http.Client().Get(w.http.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		equal(t, "status", resp.StatusCode, 429)
		return resp.Header.Get("Retry-After")
	}
	equal(t, "without header", retryAfter(httpsim.Fault{Code: "rate_limit"}), "")
	equal(t, "with header", retryAfter(httpsim.Fault{Code: "rate_limit", Header: map[string]string{"Retry-After": "3"}}), "3")
	w.refused(404, "PATCH", path, "")
}

// A write whose answer was lost is in the log all the same.
func TestDropAfterWrites(t *testing.T) {
	w := newWorld(t, limio.Config{})
	sub := w.AddSubscription(limio.SubscriptionParams{Name: "Team"})
	w.ResetWrites()
	w.Inject(httpsim.Fault{Route: "PUT /api/objects/{service}/{path_type}/{id}", DropAfter: true, Times: 1})
	req, _ := http.NewRequestWithContext(t.Context(), "PUT", w.http.URL+"/api/objects/limio/subscriptions/"+sub, strings.NewReader(`{"status":"cancelled","data":{}}`))
	req.Header.Set("Authorization", "Bearer "+w.token)
	if resp, err := w.http.Client().Do(req); err == nil {
		_ = resp.Body.Close()
		t.Fatalf("got %s, want a lost answer", resp.Status)
	}
	equal(t, "status", w.mustGet(sub).Text("status"), "cancelled")
	equal(t, "writes", strings.Join(w.writes(), ","), "api update subscription")
}
