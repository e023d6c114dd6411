package rest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hotsync/internal/callout"
	"hotsync/internal/fault"
	"hotsync/internal/rest"
)

// gate notes who comes and what they tell when they leave.
type gate struct {
	closed error
	mu     sync.Mutex
	ahead  []bool
	told   []callout.Result
}

func (g *gate) Enter(ctx context.Context) (func(callout.Result), error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		return nil, g.closed
	}
	g.ahead = append(g.ahead, callout.IsAhead(ctx))
	return func(r callout.Result) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.told = append(g.told, r)
	}, nil
}

func TestGateHearsOfEachExchange(t *testing.T) {
	tokens, calls := 0, 0
	g := &gate{}
	c := newClient(t, server(t, func(w http.ResponseWriter, _ *http.Request) {
		switch calls++; calls {
		case 1:
			w.WriteHeader(http.StatusUnauthorized)
		case 2:
			w.Header().Set("X", "2")
			w.WriteHeader(http.StatusNotFound)
		case 3:
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		case 4:
			_, _ = io.WriteString(w, "busy")
		case 5:
			panic(http.ErrAbortHandler)
		}
	}), func(cfg *rest.Config) {
		cfg.Gate, cfg.MaxFlight = g, 0 // the gate's place
		cfg.Health = func(a rest.Answer) fault.Class {
			if string(a.Body) == "busy" {
				return fault.Locked
			}
			return rest.Class(a.Status, false)
		}
		cfg.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/token" {
				tokens++
			}
			return http.DefaultTransport.RoundTrip(r)
		})
	})
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	for _, writes := range []bool{false, false, false, true} {
		_, err := c.Do(t.Context(), rest.Request{Method: "POST", Route: "/x", URL: c.URL(nil, "x"), Writes: writes})
		if (err != nil) != writes {
			t.Errorf("%d calls: %v", calls, err)
		}
	}
	// A token, a 401, another token, and four answers, of which one never came.
	if want := []bool{true, false, true, false, false, false, false}; !slices.Equal(g.ahead, want) || tokens != 2 {
		t.Errorf("ahead %v, want %v; %d tokens", g.ahead, want, tokens)
	}
	want := []callout.Result{
		{}, {}, {}, {}, {Class: fault.RateLimited, Wait: 7 * time.Second}, {Class: fault.Locked}, {Class: fault.UnknownOutcome},
	}
	if len(g.told) != len(want) {
		t.Fatalf("%d left, want %d", len(g.told), len(want))
	}
	for i, r := range g.told {
		if r.Class != want[i].Class || r.Wait != want[i].Wait || (r.Header != nil) != (i < 6) {
			t.Errorf("exchange %d: %+v, want %+v", i, r, want[i])
		}
	}
	if g.told[3].Header.Get("X") != "2" {
		t.Errorf("headers %v", g.told[3].Header)
	}
}

// When the gate says no, nothing was sent, not even a write.
func TestAClosedGate(t *testing.T) {
	sent := 0
	g := &gate{closed: fault.After(fault.Unavailable, time.Minute, errors.New("vendor is away"))}
	c := newClient(t, "https://api.example.test", func(cfg *rest.Config) {
		cfg.Gate = g
		cfg.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
			sent++
			return nil, errors.New("sent")
		})
	})
	req := rest.Request{Method: "POST", Route: "/x", URL: c.URL(nil, "x"), Writes: true}
	_, err := c.Do(t.Context(), req)
	if fault.Of(err) != fault.Unavailable || fault.Wait(err) != time.Minute || sent != 0 {
		t.Errorf("no token: %v, %d sent", err, sent)
	}
	g.closed = context.DeadlineExceeded
	if _, err := c.Do(t.Context(), req); fault.Of(err) != fault.Unavailable || sent != 0 {
		t.Errorf("no time: %v, %d sent", err, sent)
	}
}

// The time that a call has begins when the gate has let it in, and a write that
// gave up before was never sent.
func TestWaitingAtTheGateIsNoLostCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(waitFor)
		c := newClient(t, "https://api.example.test", func(cfg *rest.Config) {
			cfg.Gate, cfg.Timeout = open, time.Second
			cfg.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				body := `{"access_token":"t"}`
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}}, r.Context().Err()
			})
		})
		do := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := c.Do(ctx, rest.Request{Method: "POST", Route: "/x", URL: c.URL(nil, "x"), Writes: true})
				done <- err
			}()
			return done
		}
		hurried, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := <-do(hurried); fault.Of(err) != fault.Unavailable {
			t.Errorf("a write that never got in: %v", err)
		}
		patient := do(t.Context())
		time.Sleep(time.Hour) // of the bubble
		close(open)
		if err := <-patient; err != nil {
			t.Errorf("an hour later: %v", err)
		}
	})
}

type waitFor chan struct{}

func (w waitFor) Enter(ctx context.Context) (func(callout.Result), error) {
	select {
	case <-w:
		return func(callout.Result) {}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
