package rest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
	"hotsync/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, base string, change func(*rest.Config)) *rest.Client {
	t.Helper()
	u, err := rest.ParseBase(base)
	if err != nil {
		t.Fatal(err)
	}
	cfg := rest.Config{
		Service: "vendor", Base: u, TokenPath: "/token", ClientID: "c", Secret: secret.New("s3cret"), Early: time.Minute,
		Timeout: 10 * time.Second, MaxFlight: 8, UserAgent: "test", Now: time.Now,
	}
	if change != nil {
		change(&cfg)
	}
	c := rest.New(cfg)
	t.Cleanup(c.Close)
	return c
}

// server answers token calls itself and hands the rest to h.
func server(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" || strings.HasSuffix(r.URL.Path, "/base/token") {
			_, _ = io.WriteString(w, `{"access_token":"t","expires_in":3600}`)
			return
		}
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestCallsUnderWayAreBounded(t *testing.T) {
	const limit, calls = 3, 12
	var mu sync.Mutex
	under, most := 0, 0
	full := make(chan struct{})
	base := server(t, func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		under++
		if most = max(most, under); under == limit && most == limit {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		mu.Unlock()
		<-full
		mu.Lock()
		under--
		mu.Unlock()
	})
	c := newClient(t, base, func(cfg *rest.Config) { cfg.MaxFlight = limit })
	errs := make(chan error)
	for range calls {
		go func() {
			_, err := c.Do(t.Context(), rest.Request{Method: "GET", Route: "/x", URL: c.URL(nil, "x")})
			errs <- err
		}()
	}
	for range calls {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if most != limit {
		t.Errorf("%d calls under way at once, want %d", most, limit)
	}
}

func TestWaitingForASlotEndsWithTheContext(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{})
	base := server(t, func(http.ResponseWriter, *http.Request) { close(arrived); <-release })
	c := newClient(t, base, func(cfg *rest.Config) { cfg.MaxFlight = 1 })
	req := rest.Request{Method: "POST", Route: "/x", URL: c.URL(nil, "x"), Writes: true}
	first := make(chan error)
	go func() { _, err := c.Do(t.Context(), req); first <- err }()
	<-arrived
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.Do(ctx, req); fault.Of(err) != fault.Unavailable {
		t.Errorf("a write that waited for its turn: %v, want unavailable", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// Only what a person has to repair ends the work that needed a token.
func TestATokenThatIsRefused(t *testing.T) {
	for status, want := range map[int]fault.Class{
		400: fault.Forbidden, 401: fault.Forbidden, 403: fault.Forbidden, 404: fault.Refused, 405: fault.Refused, 410: fault.Refused,
		408: fault.Unavailable, 409: fault.Locked, 418: fault.Unavailable, 423: fault.Locked, 429: fault.RateLimited, 500: fault.Unavailable,
		502: fault.Unavailable, 503: fault.Unavailable,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		c := newClient(t, s.URL, nil)
		_, err := c.Do(t.Context(), rest.Request{Method: "GET", Route: "/x", URL: c.URL(nil, "x")})
		if fault.Of(err) != want {
			t.Errorf("%d: %v is %s, want %s", status, err, fault.Of(err), want)
		}
		s.Close()
	}
}

func TestOriginIsCheckedBeforeTheToken(t *testing.T) {
	c := newClient(t, "https://API.example.test", func(cfg *rest.Config) {
		cfg.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			body := `{"access_token":"t"}`
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}}, nil
		})
	})
	for address, ok := range map[string]bool{
		"https://api.example.test/x": true, "https://api.example.test:443/x": true, "https://api.example.test:8443/x": false,
		"http://api.example.test/x": false, "https://api.example.test.evil.test/x": false, "https://user@evil.test/x": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Do(t.Context(), rest.Request{Method: "GET", Route: "/x", URL: u})
		if ok != (err == nil) || !ok && fault.Of(err) != fault.Refused {
			t.Errorf("%s: %v", address, err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestSilentTransport: one that does not say whether it sent counts as having
// sent.
func TestSilentTransport(t *testing.T) {
	c := newClient(t, "https://api.example.test", func(cfg *rest.Config) {
		cfg.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/token" {
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(`{"access_token":"t"}`)), Header: http.Header{}}, nil
			}
			return nil, errors.New("broken")
		})
	})
	for writes, want := range map[bool]fault.Class{true: fault.UnknownOutcome, false: fault.Unavailable} {
		_, err := c.Do(t.Context(), rest.Request{Method: "POST", Route: "/x/{id}", URL: c.URL(url.Values{"q": {"ada@example.test"}}, "x", "1"), Writes: writes})
		if fault.Of(err) != want {
			t.Errorf("writes %v: %v, want %s", writes, err, want)
		}
		if strings.Contains(err.Error(), "ada") || !strings.Contains(err.Error(), "POST /x/{id}") {
			t.Errorf("want the route and no address in: %v", err)
		}
	}
}

func TestURL(t *testing.T) {
	c := newClient(t, "https://api.example.test/base/", nil)
	got := c.URL(url.Values{"filter[]": {"a.EQ:x y"}}, "v1", "a b", "c%2F?d").String()
	if want := "https://api.example.test/base/v1/a%20b/c%252F%3Fd?filter%5B%5D=a.EQ%3Ax+y"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestParseBase(t *testing.T) {
	for raw, ok := range map[string]bool{
		"https://a.test": true, "https://a.test/base/": true, "http://localhost:1": true, "http://127.0.0.1:1": true, "http://10.1.2.3": true,
		"http://[::1]:1": true, "http://sandbox:80": true, "http://zuora.test": true, "http://8.8.8.8": false, "http://a.example.com": false,
		"a.test": false, "": false, "ftp://a.test": false, "https://": false, "https://a.test?x=1": false, "https://u:s3cret@a.test": false,
		"https://u:s3cret@a b.test": false, "mailto:x@y": false,
	} {
		_, err := rest.ParseBase(raw)
		if (err == nil) != ok {
			t.Errorf("%q: %v", raw, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: the error tells the password: %v", raw, err)
		}
	}
}

func TestSegment(t *testing.T) {
	for id, ok := range map[string]bool{
		"A-S00012": true, "zoë 1": true, "a:b|c": true, "": false, ".": false, "..": false, "a/b": false, `a\b`: false, "a\tb": false,
		"\xff": false, "a\u200bb": false, strings.Repeat("x", 201): false,
	} {
		if rest.Segment(id) != ok {
			t.Errorf("%q: %v", id, !ok)
		}
	}
}

func TestFailureWaits(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		class  fault.Class
		header http.Header
		want   time.Duration
	}{
		"seconds":              {fault.RateLimited, http.Header{"Retry-After": {"5"}}, 5 * time.Second},
		"fraction":             {fault.RateLimited, http.Header{"Retry-After": {"0.5"}}, 500 * time.Millisecond},
		"date":                 {fault.Unavailable, http.Header{"Retry-After": {"Tue, 10 Mar 2026 12:00:30 GMT"}}, 30 * time.Second},
		"past":                 {fault.Unavailable, http.Header{"Retry-After": {"Tue, 10 Mar 2026 11:00:00 GMT"}}, 0},
		"for ever":             {fault.RateLimited, http.Header{"Retry-After": {"1e300"}}, time.Hour},
		"nonsense":             {fault.RateLimited, http.Header{"Retry-After": {"NaN"}}, 0},
		"negative":             {fault.RateLimited, http.Header{"Retry-After": {"-5"}}, 0},
		"reset":                {fault.RateLimited, http.Header{"Ratelimit-Reset": {"41"}}, 41 * time.Second},
		"nothing remains":      {fault.RateLimited, http.Header{"Ratelimit-Reset": {"41"}, "Ratelimit-Remaining": {"0"}}, 41 * time.Second},
		"another limit":        {fault.RateLimited, http.Header{"Ratelimit-Reset": {"41"}, "Ratelimit-Remaining": {"49873"}}, 0},
		"reset is about rates": {fault.Unavailable, http.Header{"Ratelimit-Reset": {"41"}}, 0},
		"not passing":          {fault.Forbidden, http.Header{"Retry-After": {"5"}}, 0},
	} {
		err := rest.Failure(tt.class, rest.Answer{Header: tt.header}, now, "x")
		if fault.Of(err) != tt.class || fault.Wait(err) != tt.want {
			t.Errorf("%s: %s %s, want %s %s", name, fault.Of(err), fault.Wait(err), tt.class, tt.want)
		}
	}
}

func TestClass(t *testing.T) {
	for status := 300; status < 600; status++ {
		read, write := rest.Class(status, false), rest.Class(status, true)
		if read == "" || read == fault.Bug || (read != write) != (status == 504) {
			t.Errorf("%d: %s and %s", status, read, write)
		}
	}
}

func FuzzSnippet(f *testing.F) {
	f.Add("a\nb\x00c\xff zoë", 6)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = limit&255 + 1
		got := rest.Snippet(s, limit)
		if len(got) > limit+len("…") || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\x00\x1b") {
			t.Fatalf("%q at %d became %q", s, limit, got)
		}
	})
}
