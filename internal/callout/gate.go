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
	// and a wait when no call is worth making now.
	Enter(ctx context.Context) (leave func(Result), err error)
}

// Result is what an exchange says about the vendor's health and limits.
type Result struct {
	// Class is RateLimited, Locked, Unavailable or UnknownOutcome; "" for every
	// answer of a healthy vendor, one that says no among them.
	Class fault.Class
	// Wait is what the vendor asked for, 0 when it did not say.
	Wait   time.Duration
	Header http.Header // of the answer; nil when there was none
}
