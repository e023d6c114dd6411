package daemon

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A planner is done when its time is over, even when ClickHouse never answers.
func TestPromptly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		frozen := make(chan struct{})
		defer close(frozen)
		began := time.Now()
		if _, err := promptly(ctx, func() (int, error) { <-frozen; return 1, nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a frozen server: %v", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it was waited for for %s", took)
		}
		if n, err := promptly(t.Context(), func() (int, error) { return 7, nil }); n != 7 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}
