package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// trace notes what happened, in order.
type trace struct {
	mu    sync.Mutex
	lines []string
}

func (t *trace) add(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, s)
}

func (t *trace) obedient(name string) part {
	return part{name, func(ctx context.Context) error {
		<-ctx.Done()
		t.add(name)
		return nil
	}}
}

func TestPartsStopNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trace
		ctx, stop := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, stop)
		err := runAll(ctx, time.Minute, []part{tr.obedient("memory"), tr.obedient("workers"), tr.obedient("intake")})
		if err != nil || !slices.Equal(tr.lines, []string{"intake", "workers", "memory"}) {
			t.Errorf("stopped %v, error %v", tr.lines, err)
		}
	})
}

func TestAFailingPartStopsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trace
		broken := part{"workers", func(context.Context) error { return errors.New("no permission") }}
		err := runAll(context.Background(), time.Minute, []part{tr.obedient("memory"), broken, tr.obedient("intake")})
		if err == nil || err.Error() != "workers: no permission" || !slices.Equal(tr.lines, []string{"intake", "memory"}) {
			t.Errorf("stopped %v, error %v", tr.lines, err)
		}
	})
}

func TestAPartThatEndsUnaskedIsAnError(t *testing.T) {
	err := runAll(context.Background(), time.Minute, []part{{"loader", func(context.Context) error { return nil }}})
	if err == nil || !strings.Contains(err.Error(), "loader: ended unasked") {
		t.Errorf("got %v", err)
	}
}

func TestStoppingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tr trace
		release := make(chan struct{})
		stuck := part{"workers", func(context.Context) error { <-release; return nil }}
		ctx, stop := context.WithCancel(context.Background())
		stop()
		start := time.Now()
		err := runAll(ctx, 10*time.Second, []part{tr.obedient("memory"), stuck, tr.obedient("intake")})
		if err == nil || !strings.Contains(err.Error(), "workers: did not stop within 10s") || time.Since(start) != 10*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		synctest.Wait()
		if !slices.Contains(tr.lines, "memory") {
			t.Error("a part behind the stuck one was not told to stop")
		}
		close(release)
	})
}
