package zuora_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/zuora"
)

const (
	v2024 = "2024-05-20"
	v2025 = "2025-08-12"
)

var start = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// tenant is a simulated tenant behind a real HTTP server, with a signed-in
// client.
type tenant struct {
	*zuora.Server
	t       *testing.T
	clock   *httpsim.Clock
	url     string
	token   string
	version string // Zuora-Version of the calls; empty sends none
}

func open(t *testing.T, cfg zuora.Config) *tenant {
	t.Helper()
	cfg.Clock = httpsim.FrozenClock(start)
	if cfg.Seed == 0 {
		cfg.Seed = 7
	}
	s := zuora.New(cfg)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	te := &tenant{Server: s, t: t, clock: cfg.Clock, url: srv.URL, version: v2025}
	te.signIn()
	return te
}

func (te *tenant) signIn() {
	te.t.Helper()
	r := te.form("/oauth/token", url.Values{"client_id": {"id"}, "client_secret": {"secret"}, "grant_type": {"client_credentials"}})
	te.token, _ = r.body["access_token"].(string)
	if te.token == "" {
		te.t.Fatalf("no token: %d %v", r.status, r.body)
	}
}

// answer is a decoded answer. Numbers stay as they were written.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

func (te *tenant) form(path string, v url.Values) answer {
	te.t.Helper()
	req, err := http.NewRequestWithContext(te.t.Context(), http.MethodPost, te.url+path, strings.NewReader(v.Encode()))
	if err != nil {
		te.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return te.do(req)
}

func (te *tenant) do(req *http.Request) answer {
	te.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		te.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		te.t.Fatal(err)
	}
	out := answer{status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	_ = d.Decode(&out.body) // gateway answers are no JSON
	return out
}

func (te *tenant) request(method, path string, body any) *http.Request {
	te.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		te.t.Fatal(err)
	}
	if !strings.HasPrefix(path, "http") {
		path = te.url + path
	}
	req, err := http.NewRequestWithContext(te.t.Context(), method, path, bytes.NewReader(raw))
	if err != nil {
		te.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+te.token)
	if te.version != "" {
		req.Header.Set("Zuora-Version", te.version)
	}
	return req
}

func (te *tenant) get(path string) answer {
	te.t.Helper()
	return te.do(te.request(http.MethodGet, path, nil))
}

func (te *tenant) post(path string, body any) answer {
	te.t.Helper()
	return te.do(te.request(http.MethodPost, path, body))
}

// query calls an Object Query list; params are name, value, name, value.
func (te *tenant) query(objects string, params ...string) answer {
	te.t.Helper()
	q := url.Values{}
	for i := 0; i < len(params); i += 2 {
		q.Add(params[i], params[i+1])
	}
	return te.get("/object-query/" + objects + "?" + q.Encode())
}

// at walks into an answer: keys of objects and indexes of lists, by dots.
func at(v any, path string) any {
	if a, ok := v.(answer); ok {
		v = a.body
	}
	for key := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

func str(v any, path string) string {
	if x := at(v, path); x != nil {
		return fmt.Sprint(x)
	}
	return "<null>"
}

func list(v any, path string) []any {
	x, _ := at(v, path).([]any)
	return x
}

// column is one field of every element of a list.
func column(v any, path, field string) []string {
	var out []string
	for _, x := range list(v, path) {
		out = append(out, str(x, field))
	}
	return out
}

func (te *tenant) account(a zuora.Account) zuora.Account {
	te.t.Helper()
	return must(te.AddAccount(a))
}

// digital is a plain yearly subscription with one charge.
func digital(account string) zuora.Subscription {
	return zuora.Subscription{
		AccountID: account, StartDate: "2026-01-01", InitialTerm: 12, AutoRenew: true,
		RatePlans: []zuora.RatePlan{{
			ProductName: "Digital", ProductRatePlanID: "2c92prp1", ProductSKU: "SKU-1", Name: "Annual",
			Charges: []zuora.Charge{{Name: "Fee", Price: 11988, BillingPeriod: "Annual"}},
		}},
	}
}

func (te *tenant) subscribe(account string) zuora.Subscription {
	te.t.Helper()
	return must(te.AddSubscription(digital(account), zuora.Order{}))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func wantCode(t *testing.T, a answer, status int, suffix string) {
	t.Helper()
	if code := str(a, "reasons.0.code"); a.status != status || !strings.HasSuffix(code, suffix) {
		t.Fatalf("got %d %s, want %d with a code ending in %s", a.status, a.raw, status, suffix)
	}
}
