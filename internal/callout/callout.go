// Package callout notes every HTTP call made to a vendor on behalf of one
// sync. It promises to note calls only: methods, routes, statuses and times,
// never a header or a body.
//
// The log travels in the context, as a trace does: nothing that a call needs
// to work is in it. Beside it stands Gate, which admits calls.
package callout

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Call is one finished call.
type Call struct {
	At       time.Time
	Service  string
	Method   string
	Route    string
	Status   int // 0: no answer
	Duration time.Duration
	Err      error
}

// Log collects the calls of one sync. The zero Log is ready for use.
type Log struct {
	mu    sync.Mutex
	calls []Call
}

// Calls returns what was noted so far, in the order in which calls ended.
func (l *Log) Calls() []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Call(nil), l.calls...)
}

func (l *Log) add(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
}

type key struct{}

// Into returns a context whose calls are noted in l.
func Into(ctx context.Context, l *Log) context.Context { return context.WithValue(ctx, key{}, l) }

// Transport is a http.RoundTripper that notes each call in the Log of its
// request's context, if there is one, and tells Observe, if that is set.
type Transport struct {
	Service string
	Next    http.RoundTripper
	// Route names the route of a request: its path with placeholders instead
	// of ids.
	Route   func(*http.Request) string
	Now     func() time.Time
	Observe func(Call)
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	start := t.Now()
	resp, err := t.Next.RoundTrip(r)
	c := Call{At: start, Service: t.Service, Method: r.Method, Route: t.Route(r), Duration: t.Now().Sub(start), Err: err}
	if resp != nil {
		c.Status = resp.StatusCode
	}
	if l, ok := r.Context().Value(key{}).(*Log); ok {
		l.add(c)
	}
	if t.Observe != nil {
		t.Observe(c)
	}
	return resp, err
}
