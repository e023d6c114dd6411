package stripe

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	vendor "github.com/stripe/stripe-go/v76"

	"hotsync/internal/fault"
	"hotsync/internal/secret"
	"hotsync/sandbox/httpsim"
	sandbox "hotsync/sandbox/stripe"
)

func TestFaultClasses(t *testing.T) {
	answer := func(status int, body string, header map[string]string) httpsim.Fault {
		return httpsim.Fault{Status: status, Body: body, Header: header}
	}
	tests := []struct {
		name  string
		fault httpsim.Fault
		want  fault.Class
		wait  time.Duration
	}{
		{"rate limit", httpsim.Fault{Code: "rate_limit"}, fault.RateLimited, 0},
		{"rate limit with Retry-After", httpsim.Fault{Code: "rate_limit", Header: map[string]string{"Retry-After": "7"}}, fault.RateLimited, 7 * time.Second},
		{"rate limit with a date", httpsim.Fault{Code: "rate_limit", Header: map[string]string{"Retry-After": start.Add(9 * time.Second).Format(http.TimeFormat)}}, fault.RateLimited, 9 * time.Second},
		{"lock", httpsim.Fault{Code: "lock_timeout"}, fault.Locked, 0},
		{"conflict", answer(409, `{"error":{"type":"idempotency_error","message":"x"}}`, nil), fault.Locked, 0},
		{"internal", httpsim.Fault{Code: "internal"}, fault.Unavailable, 0},
		{"unavailable", httpsim.Fault{Code: "unavailable"}, fault.Unavailable, 0},
		{"a proxy's page", answer(502, "<html>Bad Gateway</html>", nil), fault.Unavailable, 0},
		{"a proxy's rate limit", answer(429, "slow down", map[string]string{"Retry-After": "3"}), fault.RateLimited, 3 * time.Second},
		{"a page in place of an answer", answer(200, "<html>Log in</html>", nil), fault.Unavailable, 0},
		{"another API", answer(200, `{"id":"someone else"}`, nil), fault.Refused, 0},
		{"dropped", httpsim.Fault{Drop: true}, fault.Unavailable, 0},
		{"forbidden", httpsim.Fault{Code: "forbidden"}, fault.Forbidden, 0},
		{"bad request", answer(400, `{"error":{"type":"invalid_request_error","code":"parameter_unknown","message":"x"}}`, nil), fault.Refused, 0},
		{"redirect", answer(302, "", map[string]string{"Location": "/elsewhere"}), fault.Refused, 0},
	}
	w := newWorld(t)
	id := w.subscribe(t, sandbox.SubscriptionParams{})
	c := w.client(t, ClientConfig{Now: func() time.Time { return start }})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.ResetCalls()
			defer w.Inject(tt.fault)()
			_, err := c.Subscription(t.Context(), id)
			if fault.Of(err) != tt.want || fault.Wait(err) != tt.wait {
				t.Errorf("got %v (%s, wait %s), want %s, wait %s", err, fault.Of(err), fault.Wait(err), tt.want, tt.wait)
			}
			if strings.Contains(err.Error(), "<html>") || !strings.Contains(err.Error(), id) {
				t.Errorf("text %q, want the subscription in it and no body", err)
			}
			// net/http itself sends a GET again when a kept connection turns
			// out to be closed.
			if n := w.Calls()[getSub]; n != 1 && !(tt.fault.Drop && n == 2) {
				t.Errorf("%d calls, want 1: nothing is retried here", n)
			}
		})
	}
	t.Run("unknown", func(t *testing.T) {
		if _, err := c.Subscription(t.Context(), "sub_missing"); fault.Of(err) != fault.NotFound {
			t.Errorf("got %v (%s), want not_found", err, fault.Of(err))
		}
	})
	t.Run("later call", func(t *testing.T) {
		defer w.Inject(httpsim.Fault{Route: getUpcoming, Code: "lock_timeout"})()
		if _, err := c.Subscription(t.Context(), id); fault.Of(err) != fault.Locked || !strings.Contains(err.Error(), "upcoming") {
			t.Errorf("got %v (%s), want locked at the upcoming invoice", err, fault.Of(err))
		}
	})
	t.Run("wrong key", func(t *testing.T) {
		_, err := w.client(t, ClientConfig{Key: secret.New("sk_test_other_key")}).Subscription(t.Context(), id)
		if fault.Of(err) != fault.Forbidden || strings.Contains(err.Error(), "other") {
			t.Errorf("got %v (%s), want forbidden without the key", err, fault.Of(err))
		}
	})
	t.Run("time-out", func(t *testing.T) {
		defer w.Inject(httpsim.Fault{Delay: 10 * time.Second})()
		_, err := w.client(t, ClientConfig{Timeout: 50 * time.Millisecond}).Subscription(t.Context(), id)
		if fault.Of(err) != fault.Unavailable {
			t.Errorf("got %v (%s), want unavailable", err, fault.Of(err))
		}
	})
	t.Run("stopped", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Subscription(ctx, id); fault.Of(err) != fault.Stopped {
			t.Errorf("got %v (%s), want stopped", err, fault.Of(err))
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Never more calls at one time than configured, and waiting ends with the
// context.
func TestMaxInFlight(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	c, err := NewClient(ClientConfig{Key: secret.New("sk_1"), MaxInFlight: 1, Transport: transport(func(r *http.Request) (*http.Response, error) {
		if got := r.Header.Get("Stripe-Version"); got != APIVersion || vendor.APIVersion != APIVersion {
			t.Errorf("version %q, want %s", got, APIVersion)
		}
		if r.Header.Get("X-Stripe-Client-Telemetry") != "" {
			t.Error("telemetry is sent")
		}
		entered <- struct{}{}
		<-leave
		return &http.Response{StatusCode: 200, Request: r, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"object":"list","data":[],"has_more":false}`))}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() { first <- c.Ping(t.Context()) }()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() { second <- c.Ping(ctx) }()
	cancel()
	if err := <-second; fault.Of(err) != fault.Stopped {
		t.Errorf("got %v, want stopped while waiting for its turn", err)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// A list that says it goes on but never moves is a failed read, not a whole
// one and not an endless one.
func TestListThatDoesNotMove(t *testing.T) {
	for name, data := range map[string]string{"same page": `[{"id":"sub_1","object":"subscription"}]`, "empty page": `[]`} {
		c, err := NewClient(ClientConfig{Key: secret.New("sk_1"), Transport: transport(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Request: r, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"object":"list","has_more":true,"data":` + data + `}`))}, nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		if ids, err := c.SubscriptionsOf(t.Context(), "cus_1"); fault.Of(err) != fault.Unavailable {
			t.Errorf("%s: got %v, %v (%s), want unavailable", name, ids, err, fault.Of(err))
		}
	}
}

func TestErrorsKeepTheirCause(t *testing.T) {
	cause := errors.New("no route to host")
	c, err := NewClient(ClientConfig{Key: secret.New("sk_1"), Transport: transport(func(*http.Request) (*http.Response, error) { return nil, cause })})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subscription(t.Context(), "sub_1"); !errors.Is(err, cause) || fault.Of(err) != fault.Unavailable {
		t.Errorf("got %v (%s), want unavailable because of %v", err, fault.Of(err), cause)
	}
}
