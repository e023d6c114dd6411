package stripe

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Sign makes a Stripe-Signature header for a body sent at a time: one v1 for
// each webhook secret.
func (s *Server) Sign(body []byte, at time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "t=%d", at.Unix())
	for _, secret := range s.secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "%d.", at.Unix())
		mac.Write(body)
		b.WriteString(",v1=" + hex.EncodeToString(mac.Sum(nil)))
	}
	return b.String()
}

// Delivery is what one call of Deliver did.
type Delivery struct {
	Delivered int // answered 2xx
	Failed    int // answered otherwise or not at all; they are tried again
	GivenUp   int // failed for the last time
	Waiting   int // left on the outbox, those that failed included
}

// Deliver sends what is due on the outbox to url, one by one in order, signed
// with the clock's time. Anything but a 2xx, a redirect too, is a failure and
// is tried again by a later call, once the clock has passed the next of
// Config.RetryDelays; so an event may overtake an earlier one. A nil client
// means one with Stripe's patience of 20 seconds. The error is the context's.
func (s *Server) Deliver(ctx context.Context, client *http.Client, url string) (Delivery, error) {
	once := http.Client{Timeout: 20 * time.Second}
	if client != nil {
		once = *client
	}
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	var d Delivery
	var kept []*event
	batch := s.takeDue()
	for i, e := range batch {
		if ctx.Err() != nil {
			kept = append(kept, batch[i:]...)
			break
		}
		err := s.send(ctx, &once, url, e)
		if ctx.Err() != nil && err != nil {
			kept = append(kept, batch[i:]...)
			break
		}
		switch s.noteAttempt(e, err == nil) {
		case attemptDone:
			d.Delivered++
		case attemptAgain:
			d.Failed++
			kept = append(kept, e)
		case attemptOver:
			d.Failed++
			d.GivenUp++
		}
	}
	d.Waiting = s.putBack(kept)
	if ctx.Err() != nil {
		return d, fmt.Errorf("deliver webhooks: %w", ctx.Err())
	}
	return d, nil
}

// takeDue takes those events off the outbox whose time has come.
func (s *Server) takeDue() []*event {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Clock.Now()
	var due, rest []*event
	for _, e := range s.outbox {
		if e.nextTry.After(now) {
			rest = append(rest, e)
		} else {
			due = append(due, e)
		}
	}
	s.outbox = rest
	return due
}

func (s *Server) putBack(events []*event) (waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbox = append(events, s.outbox...)
	return len(s.outbox)
}

func (s *Server) send(ctx context.Context, client *http.Client, url string, e *event) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(e.Body))
	if err != nil {
		return fmt.Errorf("send event %s: %w", e.ID, err)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
	req.Header.Set("Stripe-Signature", s.Sign(e.Body, s.Clock.Now()))
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("send event %s: %w", e.ID, err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("send event %s: read the answer: %w", e.ID, err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("send event %s: answered %s", e.ID, resp.Status)
	}
	return nil
}

type attemptResult int

const (
	attemptDone attemptResult = iota
	attemptAgain
	attemptOver
)

func (s *Server) noteAttempt(e *event, ok bool) attemptResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok {
		e.delivered = true
		return attemptDone
	}
	e.delivered = false
	if e.attempts == len(s.cfg.RetryDelays) {
		return attemptOver
	}
	e.nextTry = s.Clock.Now().Add(s.cfg.RetryDelays[e.attempts])
	e.attempts++
	return attemptAgain
}
