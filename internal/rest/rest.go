// Package rest makes calls to an HTTP API that is opened with OAuth 2.0 client
// credentials. It promises that a token goes to the configured origin only, that
// concurrent needs of a token cost one token call, that a write is sent once (and
// once more after a 401, with a new token), and that what went wrong below HTTP
// comes back as a class of package fault. What a status or a body means is the
// caller's to say.
//
// Texts of errors name routes, never addresses: a query may hold a person's
// e-mail address.
package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"hotsync/internal/callout"
	"hotsync/internal/fault"
	"hotsync/internal/secret"
)

// maxBody is the size of an answer, unpacked, that is still read. The largest
// honest ones are lists of a hundred records, some hundred kilobytes.
const maxBody = 16 << 20

// Config says how to reach an API. All fields are required unless they say
// otherwise.
type Config struct {
	Service   string // for notes and texts: zuora, limio
	Base      *url.URL
	TokenPath string // below Base
	ClientID  string
	Secret    secret.Value
	Scope     string        // optional; sent with the token call
	Early     time.Duration // how long before it dies a token is renewed
	Timeout   time.Duration // of one call, from its start to the end of its answer
	MaxFlight int           // calls under way at once, token calls not counted
	UserAgent string
	RequestID string // optional; the response header that holds the vendor's own id of a call
	// Unauthorized reports whether an answer means that the token is no
	// longer good. Nil: status 401.
	Unauthorized func(Answer) bool
	// Gate, when set, admits each exchange, token calls too, and takes the
	// place of MaxFlight.
	Gate callout.Gate
	// Health says what an answer means to the Gate: a passing class, or any
	// other one for a healthy vendor. Nil: what Class says of the status.
	Health    func(Answer) fault.Class
	Transport http.RoundTripper  // nil: a transport of the client's own
	Observe   func(callout.Call) // optional
	Now       func() time.Time
}

// Client calls one API. It is safe for concurrent use.
type Client struct {
	cfg    Config
	http   *http.Client
	idle   interface{ CloseIdleConnections() } // the transport's, if it has that
	tokens *tokens
}

// New returns a client. It dials nothing.
func New(cfg Config) *Client {
	next := cfg.Transport
	if next == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = cfg.MaxFlight
		next = t
	}
	if cfg.Unauthorized == nil {
		cfg.Unauthorized = func(a Answer) bool { return a.Status == http.StatusUnauthorized }
	}
	if cfg.Gate == nil {
		cfg.Gate = callout.Slots(cfg.MaxFlight)
	}
	if cfg.Health == nil {
		cfg.Health = func(a Answer) fault.Class { return Class(a.Status, false) }
	}
	c := &Client{cfg: cfg}
	c.idle, _ = next.(interface{ CloseIdleConnections() })
	c.http = &http.Client{
		// An API does not redirect; following would repeat the call elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &callout.Transport{
			Service: cfg.Service, Next: next, Now: cfg.Now, Observe: cfg.Observe,
			Route: func(r *http.Request) string { s, _ := r.Context().Value(routeKey{}).(string); return s },
		},
	}
	c.tokens = &tokens{fetch: c.fetchToken, now: cfg.Now, early: cfg.Early}
	return c
}

// Close closes idle connections. The client can still be used.
func (c *Client) Close() {
	if c.idle != nil {
		c.idle.CloseIdleConnections()
	}
}

// Ping returns nil when there is a token or one can be had.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.tokens.get(ctx)
	return err
}

type routeKey struct{}

// Request is one call.
type Request struct {
	Method string
	Route  string // path with placeholders instead of ids, for notes and texts
	URL    *url.URL
	Header http.Header // optional
	Body   []byte      // JSON; nil: no body
	Writes bool        // it changes something: a lost answer is fault.UnknownOutcome
}

// String names the call in texts, without ids.
func (r Request) String() string { return r.Method + " " + r.Route }

// Answer is a complete answer of any status.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// URL returns the address of a path below the base. Segments are escaped; the
// caller checks with Segment those that come from outside.
func (c *Client) URL(query url.Values, segments ...string) *url.URL {
	u := *c.cfg.Base
	var path strings.Builder
	path.WriteString(u.EscapedPath())
	for _, s := range segments {
		path.WriteString("/" + url.PathEscape(s))
	}
	u.RawPath = path.String()
	u.Path, _ = url.PathUnescape(path.String()) // it was escaped right here
	u.RawQuery = query.Encode()
	return &u
}

// Do makes a call. The error is about getting an answer, never about what the
// answer says; it has a class and names the call.
func (c *Client) Do(ctx context.Context, req Request) (Answer, error) {
	if have, want := origin(req.URL), origin(c.cfg.Base); have != want {
		return Answer{}, fault.Newf(fault.Refused, "%s points at %s, but base_url is at %s: the token stays there", req, have, want)
	}
	for retried := false; ; retried = true {
		token, err := c.tokens.get(ctx)
		if err != nil {
			return Answer{}, fmt.Errorf("%s: %w", req, err)
		}
		answer, err := c.send(ctx, req, "Bearer "+token)
		if err != nil {
			return Answer{}, fmt.Errorf("%s: %w", req, err)
		}
		if retried || !c.cfg.Unauthorized(answer) {
			return answer, nil
		}
		c.tokens.drop(token)
	}
}

// send makes one exchange with a token.
func (c *Client) send(ctx context.Context, req Request, authorization string) (Answer, error) {
	header := http.Header{"Accept": {"application/json"}, "Authorization": {authorization}}
	if req.Body != nil {
		header.Set("Content-Type", "application/json")
	}
	maps.Copy(header, req.Header)
	return c.pass(ctx, req, header)
}

// pass makes one exchange when the gate admits it, and tells the gate how it
// went.
func (c *Client) pass(ctx context.Context, req Request, header http.Header) (answer Answer, err error) {
	leave, err := c.cfg.Gate.Enter(ctx)
	if err != nil {
		return Answer{}, err
	}
	said := callout.Result{Class: fault.Stopped} // in case of a panic
	defer func() { leave(said) }()
	if answer, err = c.exchange(ctx, req, header); err != nil {
		said = callout.ResultOf(ctx, err)
		return Answer{}, err
	}
	said = callout.Result{Header: answer.Header}
	if class := c.cfg.Health(answer); class.Passing() {
		said.Class, said.Wait = class, wait(class, answer, c.cfg.Now())
	}
	return answer, nil
}

// exchange sends a request and reads its answer, within the time of one call.
func (c *Client) exchange(parent context.Context, req Request, header http.Header) (Answer, error) {
	ctx, cancel := context.WithTimeout(context.WithValue(parent, routeKey{}, req.Route), c.cfg.Timeout)
	defer cancel()
	var s sent
	hr, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, s.trace()), req.Method, req.URL.String(), bytes.NewReader(req.Body))
	if err != nil {
		return Answer{}, fault.As(fault.Refused, plain(err))
	}
	hr.Header = header
	hr.Header.Set("User-Agent", c.cfg.UserAgent)
	resp, err := c.http.Do(hr)
	if err != nil {
		return Answer{}, c.lost(parent, req, err, s.maybe())
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return Answer{}, c.lost(parent, req, fmt.Errorf("read the answer (status %d): %w", resp.StatusCode, err), true)
	case len(body) > maxBody && req.Writes:
		return Answer{}, fault.Newf(fault.UnknownOutcome, "the answer (status %d) is over %d bytes", resp.StatusCode, maxBody)
	case len(body) > maxBody:
		return Answer{}, fault.Newf(fault.Refused, "the answer (status %d) is over %d bytes: no honest one is", resp.StatusCode, maxBody)
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// lost classifies a call without a whole answer. A write that may have left is
// never called plainly unavailable.
func (c *Client) lost(parent context.Context, req Request, err error, sent bool) error {
	err = plain(err)
	if errors.Is(err, context.DeadlineExceeded) && parent.Err() == nil {
		err = fmt.Errorf("no answer within %s", c.cfg.Timeout)
	}
	switch {
	case errors.Is(parent.Err(), context.Canceled):
		return fmt.Errorf("stopped before the answer was there: %w", context.Canceled)
	case req.Writes && sent:
		return fault.As(fault.UnknownOutcome, fmt.Errorf("sent, but its answer was lost: %w", err))
	}
	return fault.As(fault.Unavailable, err)
}

// plain takes the address off an error of net/http.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// sent watches whether a request has gone out.
type sent struct{ watched, wrote atomic.Bool }

func (s *sent) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		// net/http repeats a write on another connection only when nothing of
		// it went out on the first, so each connection starts anew.
		GetConn:      func(string) { s.watched.Store(true); s.wrote.Store(false) },
		WroteHeaders: func() { s.wrote.Store(true) },
	}
}

// maybe reports whether the other side may have the request. A transport that
// tells nothing counts as having sent it.
func (s *sent) maybe() bool { return s.wrote.Load() || !s.watched.Load() }
