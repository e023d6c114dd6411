package stripe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/stripe/stripe-go/v76"

	"hotsync/internal/fault"
)

var errRedirect = errors.New("stripe answered with a redirect: the base URL is wrong")

// answer is what of a response stripe-go's errors do not keep.
type answer struct {
	status     int
	retryAfter string
	limit      string // Stripe-Rate-Limited-Reason
}

type answerKey struct{}

// answers notes status and headers of each response for classify.
type answers struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.next.RoundTrip(r)
	if got, ok := r.Context().Value(answerKey{}).(*answer); ok && resp != nil {
		*got = answer{resp.StatusCode, resp.Header.Get("Retry-After"), resp.Header.Get("Stripe-Rate-Limited-Reason")}
	}
	return resp, err
}

// classify turns an error of stripe-go into one with a class and a text of our
// own: stripe-go's texts hold whole bodies, with whatever is in them.
func classify(ctx context.Context, err error, got answer, now time.Time) error {
	if ctx.Err() != nil {
		return ctx.Err() // ours: we stopped, or our time is up
	}
	if errors.Is(err, errRedirect) {
		return fault.As(fault.Refused, errRedirect)
	}
	var se *stripe.Error
	if !errors.As(err, &se) {
		if got.status >= 400 { // an answer, but not in Stripe's words: a proxy's
			return got.as(now, fmt.Errorf("stripe answered %d without an error object", got.status))
		}
		if got.status != 0 {
			return fault.Newf(fault.Unavailable, "stripe answered %d with a body that cannot be read", got.status)
		}
		return fault.As(fault.Unavailable, fmt.Errorf("no answer from stripe: %w", err))
	}
	got.status = se.HTTPStatusCode
	text := fmt.Sprintf("stripe answered %d", got.status)
	for _, word := range []string{string(se.Type), string(se.Code), got.limit} {
		if word != "" {
			text += " " + word
		}
	}
	if se.RequestID != "" {
		text += " (request " + se.RequestID + ")"
	}
	switch {
	case got.status == http.StatusUnauthorized:
		// Stripe's message repeats a part of the key (Invariant 8).
		return fault.Newf(fault.Forbidden, "%s: the API key is not accepted", text)
	case se.Msg != "":
		text += ": " + se.Msg
	}
	switch {
	case se.Code == codeUpcomingNone:
		return fault.As(fault.NotFound, fmt.Errorf("%s: %w", text, errUpcomingNone))
	case se.Code == stripe.ErrorCodeResourceMissing:
		// 400 when the missing thing is a parameter, 404 when it is the path.
		return fault.Newf(fault.NotFound, "%s", text)
	case got.status == http.StatusTooManyRequests && se.Code == stripe.ErrorCodeLockTimeout:
		return fault.After(fault.Locked, got.wait(now), errors.New(text))
	}
	return got.as(now, errors.New(text))
}

const codeUpcomingNone stripe.ErrorCode = "invoice_upcoming_none"

// errUpcomingNone marks the 404 that says that nothing is due.
var errUpcomingNone = errors.New("no upcoming invoice")

// as returns err with the class of the status.
func (a answer) as(now time.Time, err error) error {
	switch a.status {
	case http.StatusNotFound:
		return fault.As(fault.NotFound, err)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.As(fault.Forbidden, err)
	case http.StatusConflict:
		return fault.After(fault.Locked, a.wait(now), err)
	case http.StatusTooManyRequests:
		return fault.After(fault.RateLimited, a.wait(now), err)
	case http.StatusRequestTimeout:
		return fault.As(fault.Unavailable, err)
	}
	if a.status >= 500 {
		return fault.After(fault.Unavailable, a.wait(now), err)
	}
	return fault.As(fault.Refused, err)
}

// wait reads Retry-After, in seconds or as a date. Stripe documents none, but
// what stands in front of it may send one.
func (a answer) wait(now time.Time) time.Duration {
	if n, err := strconv.Atoi(a.retryAfter); err == nil {
		return min(max(0, time.Duration(n)*time.Second), time.Hour)
	}
	if t, err := http.ParseTime(a.retryAfter); err == nil {
		return min(max(0, t.Sub(now)), time.Hour)
	}
	return 0
}
