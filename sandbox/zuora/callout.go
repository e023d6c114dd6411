package zuora

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Events that raise a callout, as the "event" of its body.
const (
	EventAccountEdited        = "AccountEdited"
	EventContactEdited        = "ContactEdited"
	EventPaymentMethodUpdated = "PaymentMethodUpdated" // the default method only
	EventOrderProcessed       = "OrderProcessed"       // subscription created or changed
)

// CalloutTarget says where callouts go. See SetCallouts.
type CalloutTarget struct {
	URL                string
	Username, Password string // empty Username: no authentication
	// Preemptive sends the credentials at once. Otherwise the first request has
	// none and the receiver has to challenge it with 401, which is Zuora's
	// default (zuora-stripe.md Z6).
	Preemptive bool
	Attempts   int           // default 3, at most 5
	Interval   time.Duration // between attempts, simulated time; default 30 min
	Client     *http.Client  // default: one with a time-out of 25 s; never follows redirects
}

// Callout is a notification and how its delivery went.
type Callout struct {
	NotificationID string
	Body           string
	Event          string
	Attempts       int
	NextAt         time.Time // when it is due (again); meaningless once Done
	LastStatus     int       // 0: no answer
	Delivered      bool
	Done           bool // delivered, or given up
}

// keepCallouts is how many callouts are remembered before those that are done
// are forgotten.
const keepCallouts = 20_000

type callouts struct {
	mu     sync.Mutex
	run    sync.Mutex // one delivery round at a time
	rnd    *rand.Rand
	target CalloutTarget
	queue  []*Callout
}

func newCallouts(seed uint64) callouts {
	return callouts{rnd: rand.New(rand.NewPCG(seed, seed^0xda3e39cb94b95bdb))}
}

// SetCallouts sends callouts of all later changes to target; a target without
// a URL ends that. Nothing is sent before DeliverCallouts.
func (s *Server) SetCallouts(target CalloutTarget) {
	if target.Attempts <= 0 {
		target.Attempts = 3
	}
	target.Attempts = min(target.Attempts, 5)
	if target.Interval <= 0 {
		target.Interval = 30 * time.Minute
	}
	client := http.Client{Timeout: 25 * time.Second}
	if target.Client != nil {
		client = *target.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	target.Client = &client
	s.callouts.mu.Lock()
	defer s.callouts.mu.Unlock()
	s.callouts.target = target
}

// announce queues a callout.
func (s *Server) announce(event, account, subscription string) {
	c := &s.callouts
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.target.URL == "" {
		return
	}
	if len(c.queue) >= keepCallouts {
		c.queue = slices.DeleteFunc(c.queue, func(n *Callout) bool { return n.Done })
	}
	body, _ := json.Marshal(map[string]string{"accountId": account, "subscriptionNumber": subscription, "event": event})
	c.queue = append(c.queue, &Callout{
		NotificationID: fmt.Sprintf("%016x%016x", c.rnd.Uint64(), c.rnd.Uint64()),
		Body:           string(body), Event: event, NextAt: s.Clock.Now(),
	})
}

// Callouts returns the callouts, oldest first, with how far they got. After
// some 20,000 those that are done are forgotten.
func (s *Server) Callouts() []Callout {
	s.callouts.mu.Lock()
	defer s.callouts.mu.Unlock()
	out := make([]Callout, len(s.callouts.queue))
	for i, c := range s.callouts.queue {
		out[i] = *c
	}
	return out
}

// DeliverCallouts makes one attempt for every callout that is due, in no
// particular order, and returns how many were delivered. What failed in a way
// that Zuora retries is due again after the interval: move the clock and call
// again. The error is the context's.
func (s *Server) DeliverCallouts(ctx context.Context) (delivered int, err error) {
	c := &s.callouts
	c.run.Lock()
	defer c.run.Unlock()
	now := s.Clock.Now()
	c.mu.Lock()
	target := c.target
	var due []*Callout
	for _, n := range c.queue {
		if !n.Done && !n.NextAt.After(now) {
			due = append(due, n)
		}
	}
	c.rnd.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	c.mu.Unlock()
	if target.URL == "" {
		return 0, nil
	}
	for _, n := range due {
		if err := ctx.Err(); err != nil {
			return delivered, fmt.Errorf("deliver callouts: %w", err)
		}
		status := target.attempt(ctx, n)
		if err := ctx.Err(); err != nil && status == 0 {
			return delivered, fmt.Errorf("deliver callouts: %w", err) // cut off, so it does not count
		}
		c.mu.Lock()
		n.Attempts++
		n.LastStatus = status
		n.Delivered = status == http.StatusOK
		n.Done = n.Delivered || !retried(status) || n.Attempts >= target.Attempts
		n.NextAt = now.Add(target.Interval)
		if n.Delivered {
			delivered++
		}
		c.mu.Unlock()
	}
	return delivered, nil
}

// retried reports whether Zuora tries again after a status; 0 is a connection
// that failed.
func retried(status int) bool {
	switch status {
	case 0, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	return status < 200 || status >= 500
}

// attempt posts a callout and returns the status of the answer, or 0.
func (t CalloutTarget) attempt(ctx context.Context, n *Callout) int {
	id := fmt.Sprintf("%s-%d", n.NotificationID[:8], n.Attempts+1)
	status, challenge := t.post(ctx, n, id, t.Preemptive)
	if status == http.StatusUnauthorized && challenge && t.Username != "" && !t.Preemptive {
		status, _ = t.post(ctx, n, id, true)
	}
	return status
}

func (t CalloutTarget) post(ctx context.Context, n *Callout, requestID string, authenticate bool) (status int, challenge bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader([]byte(n.Body)))
	if err != nil {
		return 0, false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Zuora-Request-Id", requestID)
	req.Header.Set("Zuora-Notification-Id", n.NotificationID)
	if authenticate && t.Username != "" {
		req.SetBasicAuth(t.Username, t.Password)
	}
	resp, err := t.Client.Do(req)
	if err != nil {
		return 0, false
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	scheme, _, _ := strings.Cut(resp.Header.Get("WWW-Authenticate"), " ")
	return resp.StatusCode, strings.EqualFold(scheme, "Basic")
}
