// Package fault names what can go wrong with a call to another system. It
// promises that whoever made the call decides the class, once; everybody above
// reads it with Of and never looks at a status code or a message.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Class says what kind of failure it is and so what may be done about it.
type Class string

// The classes.
const (
	NotFound       Class = "not_found"       // the thing is not there
	Refused        Class = "refused"         // the request itself is wrong: a bug or configuration
	Forbidden      Class = "forbidden"       // credentials or permissions: a person must act
	RateLimited    Class = "rate_limited"    // wait, then again
	Locked         Class = "locked"          // somebody else holds it: again soon
	Unavailable    Class = "unavailable"     // no answer, or a passing fault of theirs
	UnknownOutcome Class = "unknown_outcome" // a write was sent and its answer lost: read before writing again
	Ambiguous      Class = "ambiguous"       // more than one match where exactly one is required
	Stopped        Class = "stopped"         // we are shutting down or lost the partition
	Bug            Class = "bug"             // anything that nobody classified
)

// Passing reports whether trying again later may help without a person.
func (c Class) Passing() bool {
	switch c {
	case RateLimited, Locked, Unavailable, UnknownOutcome:
		return true
	}
	return false
}

type classified struct {
	class Class
	wait  time.Duration
	err   error
}

func (c *classified) Error() string { return c.err.Error() }
func (c *classified) Unwrap() error { return c.err }

// As returns err with a class. The text stays that of err.
func As(class Class, err error) error { return &classified{class: class, err: err} }

// Newf returns a new error of a class.
func Newf(class Class, format string, args ...any) error {
	return &classified{class: class, err: fmt.Errorf(format, args...)}
}

// After returns err with a class and the wait the other side asked for.
func After(class Class, wait time.Duration, err error) error {
	return &classified{class: class, wait: wait, err: err}
}

// Of returns the class of err: that of the outermost classified error in its
// chain, Stopped for a cancelled context, Unavailable for an exceeded
// deadline, and Bug for anything else. Of(nil) is "".
func Of(err error) Class {
	var c *classified
	switch {
	case err == nil:
		return ""
	case errors.As(err, &c):
		return c.class
	case errors.Is(err, context.Canceled):
		return Stopped
	case errors.Is(err, context.DeadlineExceeded):
		return Unavailable
	}
	return Bug
}

// Wait returns how long the other side asked to wait, 0 when it did not say.
func Wait(err error) time.Duration {
	var c *classified
	if errors.As(err, &c) {
		return c.wait
	}
	return 0
}
