package zuora_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/zuora"
)

func TestTokenTakesTheFormAndTheRightSecretOnly(t *testing.T) {
	te := open(t, zuora.Config{ClientID: "id", ClientSecret: "secret"})
	good := url.Values{"client_id": {"id"}, "client_secret": {"secret"}, "grant_type": {"client_credentials"}}

	a := te.form("/oauth/token", good)
	if a.status != 200 || str(a, "token_type") != "bearer" || str(a, "expires_in") != "3598" {
		t.Fatalf("good credentials: %d %s", a.status, a.raw)
	}
	bad := url.Values{"client_id": {"id"}, "client_secret": {"wrong"}, "grant_type": {"client_credentials"}}
	if a := te.form("/oauth/token", bad); a.status != 401 {
		t.Fatalf("bad secret: %d %s", a.status, a.raw)
	}
	if a := te.post("/oauth/token", map[string]string{"client_id": "id", "client_secret": "secret"}); a.status != 415 {
		t.Fatalf("JSON body: %d %s", a.status, a.raw)
	}
	good.Del("grant_type")
	if a := te.form("/oauth/token", good); a.status != 400 {
		t.Fatalf("no grant type: %d %s", a.status, a.raw)
	}
}

func TestTokensExpireEverywhere(t *testing.T) {
	te := open(t, zuora.Config{TokenLife: 10 * time.Minute})
	acc := te.account(zuora.Account{})
	te.subscribe(acc.ID)
	calls := []func() answer{
		func() answer { return te.get("/v1/accounts/" + acc.ID) },
		func() answer { return te.query("accounts") },
		func() answer {
			return te.post("/v1/action/query", map[string]string{"queryString": "select Id from Account"})
		},
	}
	for _, version := range []string{"", v2024, v2025} {
		te.version = version
		te.signIn()
		te.clock.Advance(9 * time.Minute)
		for i, call := range calls {
			if a := call(); a.status != 200 {
				t.Fatalf("version %q call %d with a fresh token: %d %s", version, i, a.status, a.raw)
			}
		}
		te.clock.Advance(time.Minute)
		for _, call := range calls {
			wantCode(t, call(), 401, "11")
		}
	}
	te.signIn()
	te.RevokeTokens()
	wantCode(t, calls[0](), 401, "11")
}

func TestTokenLimitPerMinute(t *testing.T) {
	te := open(t, zuora.Config{TokensPerMinute: 1})
	v := url.Values{"client_id": {"id"}, "client_secret": {"secret"}, "grant_type": {"client_credentials"}}
	if a := te.form("/oauth/token", v); a.status != 429 {
		t.Fatalf("second token of the minute: %d", a.status)
	}
	te.clock.Advance(time.Minute)
	if a := te.form("/oauth/token", v); a.status != 200 {
		t.Fatalf("next minute: %d", a.status)
	}
}

func TestVersionsDecideHowFailuresLook(t *testing.T) {
	te := open(t, zuora.Config{})
	for _, c := range []struct {
		version, path string
		status        int
		shape         string // keys of the body
	}{
		{"", "/v1/accounts/A-404", 200, "processId reasons requestId success"},
		{"186.0", "/v1/accounts/A-404", 200, "processId reasons requestId success"},
		{"2023-10-24", "/v1/subscriptions/A-S404", 200, "processId reasons requestId success"},
		{v2024, "/v1/accounts/A-404", 404, "processId reasons requestId success"},
		{v2025, "/v1/payment-methods/x", 404, "processId reasons requestId success"},
		{"186.0", "/object-query/accounts/A-404", 200, "processId reasons requestId success"},
		{v2024, "/object-query/accounts/A-404", 404, "processId reasons requestId success"},
		{v2025, "/object-query/accounts/A-404", 404, "reasons requestId"},
	} {
		te.version = c.version
		a := te.get(c.path)
		wantCode(t, a, c.status, "40")
		if got := keys(a.body); got != c.shape {
			t.Errorf("%s %s: keys %s, want %s", c.version, c.path, got, c.shape)
		}
	}
}

func TestCodesAsNumbersAndAsStrings(t *testing.T) {
	te := open(t, zuora.Config{})
	if a := te.get("/v1/accounts/x"); !strings.Contains(a.raw, `"code":50000040`) {
		t.Fatal(a.raw)
	}
	te.SetStringCodes(true)
	if a := te.get("/v1/accounts/x"); !strings.Contains(a.raw, `"code":"50000040"`) {
		t.Fatal(a.raw)
	}
}

func TestRequestAndTrackIDs(t *testing.T) {
	te := open(t, zuora.Config{})
	call := func(track string) answer {
		req := te.request(http.MethodGet, "/v1/accounts/x", nil)
		req.Header.Set("Zuora-Track-Id", track)
		return te.do(req)
	}
	a, b := call("login-7"), call("a:b")
	if a.header.Get("Zuora-Track-Id") != "login-7" || b.header.Get("Zuora-Track-Id") != "" {
		t.Fatalf("track ids: %q, %q", a.header.Get("Zuora-Track-Id"), b.header.Get("Zuora-Track-Id"))
	}
	id := a.header.Get("Zuora-Request-Id")
	if id == "" || id == b.header.Get("Zuora-Request-Id") || str(a, "requestId") != id || str(a, "processId") == "<null>" {
		t.Fatalf("request id %q in %s", id, a.raw)
	}
}

func TestFaultsSpeakTheAskedVersion(t *testing.T) {
	te := open(t, zuora.Config{})
	acc := te.account(zuora.Account{})
	for _, c := range []struct {
		code, suffix string
		mapped       int
	}{
		{"forbidden", "10", 403}, {"session", "11", 401}, {"lock", "50", 409}, {"internal", "60", 500},
		{"temporary", "61", 500}, {"rate_limit", "70", 429}, {"integration", "99", 500},
	} {
		remove := te.Inject(httpsim.Fault{Code: c.code})
		te.version = "186.0"
		a := te.get("/v1/accounts/" + acc.ID)
		wantCode(t, a, 200, c.suffix)
		if str(a, "success") != "false" {
			t.Errorf("%s: %s", c.code, a.raw)
		}
		te.version = v2024
		wantCode(t, te.get("/v1/accounts/"+acc.ID), c.mapped, c.suffix)
		te.version = v2025
		wantCode(t, te.query("accounts"), c.mapped, c.suffix)
		remove()
	}
	for code, status := range map[string]int{"unavailable": 503, "timeout": 504} {
		remove := te.Inject(httpsim.Fault{Code: code})
		te.version = "186.0"
		if a := te.get("/v1/accounts/" + acc.ID); a.status != status || a.body != nil {
			t.Errorf("%s: %d %s", code, a.status, a.raw)
		}
		remove()
	}
	if a := te.get("/v1/accounts/" + acc.ID); str(a, "success") != "true" {
		t.Errorf("after the faults: %s", a.raw)
	}
}

func TestFaultsOfActionsHaveTheirOwnShape(t *testing.T) {
	te := open(t, zuora.Config{})
	q := map[string]string{"queryString": "select Id from Account"}
	te.Inject(httpsim.Fault{Code: "lock", Times: 1})
	if a := te.post("/v1/action/query", q); a.status != 200 || str(a, "Success") != "false" || str(a, "Errors.0.Code") != "LOCK_COMPETITION" {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	te.Inject(httpsim.Fault{Code: "rate_limit", Times: 1})
	if a := te.post("/v1/action/query", q); a.status != 429 {
		t.Fatalf("%d %s", a.status, a.raw)
	}
}

func TestRetryAfterOnlyWhenTheFaultSetsIt(t *testing.T) {
	te := open(t, zuora.Config{})
	te.Inject(httpsim.Fault{Code: "rate_limit", Times: 1})
	if a := te.query("accounts"); a.status != 429 || a.header.Get("Retry-After") != "" {
		t.Fatalf("%d %v", a.status, a.header)
	}
	te.Inject(httpsim.Fault{Code: "rate_limit", Times: 1, Header: map[string]string{"Retry-After": "7"}})
	if a := te.query("accounts"); a.status != 429 || a.header.Get("Retry-After") != "7" {
		t.Fatalf("%d %v", a.status, a.header)
	}
}

func TestLimitHeadersAndEnforcedLimits(t *testing.T) {
	te := open(t, zuora.Config{CallsPerMinute: 2})
	te.clock.Advance(19 * time.Second)
	a := te.query("accounts")
	got := map[string]string{}
	for _, h := range []string{"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset",
		"Concurrency-Limit-Type", "Concurrency-Limit-Limit", "Concurrency-Limit-Remaining"} {
		got[h] = a.header.Get(h)
	}
	want := map[string]string{
		"ratelimit-limit": "2250000, 2;w=60, 2250000;w=3600, 27000000;w=86400", "ratelimit-remaining": "1", "ratelimit-reset": "41",
		"Concurrency-Limit-Type": "Object Query", "Concurrency-Limit-Limit": "80", "Concurrency-Limit-Remaining": "79",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	if a := te.get("/v1/accounts/x"); a.status != 404 || a.header.Get("Concurrency-Limit-Limit") != "40" {
		t.Fatalf("%d %v", a.status, a.header)
	}
	wantCode(t, te.get("/v1/accounts/x"), 429, "70") // failed calls count too
	te.clock.Advance(41 * time.Second)
	if a := te.query("accounts"); a.status != 200 {
		t.Fatalf("next minute: %d", a.status)
	}
}

func TestConcurrencyLimit(t *testing.T) {
	te := open(t, zuora.Config{ObjectQueryConcurrency: 1})
	remove := te.Inject(httpsim.Fault{Delay: time.Hour, Times: 1})
	defer remove()
	req := te.request(http.MethodGet, "/object-query/accounts", nil)
	ctx, cancel := contextOf(t)
	var wg sync.WaitGroup
	wg.Go(func() { // hangs in the delay until it is cancelled
		if resp, err := http.DefaultClient.Do(req.WithContext(ctx)); err == nil {
			resp.Body.Close()
		}
	})
	eventually(t, func() bool { return te.Calls()["GET /object-query/accounts"] == 1 })
	wantCode(t, te.query("accounts"), 429, "70")
	if a := te.get("/v1/accounts/x"); a.status != 404 { // another pool
		t.Fatalf("default pool: %d", a.status)
	}
	cancel()
	wg.Wait()
	eventually(t, func() bool { return te.query("accounts").status == 200 })
}

func TestCallsAreCountedByRoute(t *testing.T) {
	te := open(t, zuora.Config{})
	te.ResetCalls()
	acc := te.account(zuora.Account{})
	te.get("/v1/accounts/" + acc.ID)
	te.get("/v1/accounts/" + acc.Number)
	te.query("accounts")
	te.get("/v1/nonsense")
	want := map[string]int{"GET /v1/accounts/{key}": 2, "GET /object-query/accounts": 1, "/": 1}
	if d := cmp.Diff(want, te.Calls()); d != "" {
		t.Fatal(d)
	}
}

func TestLargeAnswersAreCompressed(t *testing.T) {
	te := open(t, zuora.Config{})
	acc := te.account(zuora.Account{Notes: strings.Repeat("n", 2000)})
	for path, want := range map[string]string{"/v1/accounts/" + acc.ID: "gzip", "/v1/accounts/x": ""} {
		req := te.request(http.MethodGet, path, nil)
		req.Header.Set("Accept-Encoding", "gzip") // set by hand: the transport leaves the answer alone
		if a := te.do(req); a.header.Get("Content-Encoding") != want {
			t.Errorf("%s: encoding %q, want %q", path, a.header.Get("Content-Encoding"), want)
		}
	}
	if a := te.get("/v1/accounts/" + acc.ID); len(str(a, "basicInfo.notes")) != 2000 {
		t.Error(a.raw)
	}
}

func TestSeedDecidesIDs(t *testing.T) {
	ids := func(seed uint64) []string {
		s := zuora.New(zuora.Config{Seed: seed, Clock: httpsim.FrozenClock(start)})
		a := must(s.AddAccount(zuora.Account{}))
		sub := must(s.AddSubscription(digital(a.ID), zuora.Order{}))
		return []string{a.ID, a.BillTo.ID, sub.ID, sub.RatePlans[0].ID, sub.RatePlans[0].Charges[0].ID}
	}
	a, b, c := ids(1), ids(1), ids(2)
	if cmp.Diff(a, b) != "" || cmp.Diff(a, c) == "" {
		t.Fatalf("%v %v %v", a, b, c)
	}
	for i, id := range a {
		prefix := "2c92"
		if i >= 2 {
			prefix = "8ad0"
		}
		if len(id) != 32 || !strings.HasPrefix(id, prefix) {
			t.Errorf("id %q", id)
		}
	}
}
