package fault

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestOf(t *testing.T) {
	cases := map[string]struct {
		err  error
		want Class
	}{
		"nil":                          {nil, ""},
		"classified":                   {Newf(Locked, "x"), Locked},
		"wrapped":                      {fmt.Errorf("read: %w", Newf(NotFound, "x")), NotFound},
		"the outermost class decides":  {As(Refused, fmt.Errorf("again: %w", Newf(Locked, "x"))), Refused},
		"our own stop":                 {fmt.Errorf("read: %w", context.Canceled), Stopped},
		"no answer in time":            {fmt.Errorf("read: %w", context.DeadlineExceeded), Unavailable},
		"nobody looked at it":          {errors.New("x"), Bug},
		"a class of a cancelled write": {As(UnknownOutcome, context.Canceled), UnknownOutcome},
	}
	for name, c := range cases {
		if got := Of(c.err); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestWaitAndText(t *testing.T) {
	cause := errors.New("429")
	err := fmt.Errorf("read account: %w", After(RateLimited, 3*time.Second, cause))
	if Wait(err) != 3*time.Second || Wait(cause) != 0 {
		t.Errorf("waits %s and %s", Wait(err), Wait(cause))
	}
	if err.Error() != "read account: 429" || !errors.Is(err, cause) {
		t.Errorf("the class changed the error: %v", err)
	}
}

func TestPassing(t *testing.T) {
	passing := map[Class]bool{RateLimited: true, Locked: true, Unavailable: true, UnknownOutcome: true}
	for _, c := range []Class{NotFound, Refused, Forbidden, RateLimited, Locked, Unavailable, UnknownOutcome, Ambiguous, Stopped, Bug} {
		if c.Passing() != passing[c] {
			t.Errorf("%s: passing %v", c, c.Passing())
		}
	}
}
