package callout

import (
	"context"
	"net/http"
	"time"

	"hotsync/internal/fault"
)

// Gate admits calls to one vendor: the place for budgets and breakers. A client
// asks it before each exchange, outside the call's own time-out.
type Gate interface {
	// Enter waits until a call may go out. leave must be called once when the
	// exchange is over. It fails when ctx ends, or with a class of package fault
	// and a wait when no call is worth making now; then nothing was sent.
	Enter(ctx context.Context) (leave func(Result), err error)
}

// Result is what an exchange says about the vendor's health and limits.
type Result struct {
	// Class is RateLimited, Locked, Unavailable or UnknownOutcome; Stopped for
	// a call that we ended ourselves, which says nothing; "" for every answer
	// of a healthy vendor, one that says no among them.
	Class fault.Class
	// Wait is what the vendor asked for, 0 when it did not say.
	Wait   time.Duration
	Header http.Header // of the answer; nil when there was none
}

// ResultOf returns what the error of a call made with ctx says about the
// vendor. A nil error is that of a healthy one.
func ResultOf(ctx context.Context, err error) Result {
	class := fault.Of(err)
	switch {
	case err == nil:
		return Result{}
	case ctx.Err() != nil || class == fault.Stopped || class == fault.Bug:
		return Result{Class: fault.Stopped}
	case class.Passing():
		return Result{Class: class, Wait: fault.Wait(err)}
	}
	return Result{}
}

type aheadKey struct{}

// Ahead returns a context for a call that all others wait for, such as one for a
// token: a gate lets it go before them, whoever happened to ask first and however
// little urgent that one is.
func Ahead(ctx context.Context) context.Context { return context.WithValue(ctx, aheadKey{}, true) }

// IsAhead reports whether ctx is from Ahead.
func IsAhead(ctx context.Context) bool { return ctx.Value(aheadKey{}) != nil }

type endingKey struct{}

// Ending returns a context for a call that ends what others began, such as a
// write that was planned from reads: they grow old while it waits. Among calls
// that are as urgent a gate lets it go first. It makes no call more urgent than
// what it is for, and takes a place as any other.
func Ending(ctx context.Context) context.Context { return context.WithValue(ctx, endingKey{}, true) }

// IsEnding reports whether ctx is from Ending.
func IsEnding(ctx context.Context) bool { return ctx.Value(endingKey{}) != nil }

// Slots returns a gate that admits n calls at once and looks at nothing else.
// Calls that go ahead need no slot.
func Slots(n int) Gate { return slots(make(chan struct{}, n)) }

type slots chan struct{}

// Enter implements Gate.
func (s slots) Enter(ctx context.Context) (func(Result), error) {
	if IsAhead(ctx) {
		return func(Result) {}, nil
	}
	select {
	case s <- struct{}{}:
		return func(Result) { <-s }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
