package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// part is something that runs until its context ends.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// runAll starts parts in order and blocks. When ctx ends or a part returns, it
// stops them newest first, each before the next, so that what feeds others
// stops before what it feeds. Every part is waited for, within grace for all of
// them together; one that does not stop in time is named in the error.
func runAll(ctx context.Context, grace time.Duration, parts []part) error {
	type running struct {
		part
		stop context.CancelFunc
		done chan struct{}
	}
	var mu sync.Mutex
	var errs []error
	fell := make(chan struct{}, len(parts))
	all := make([]running, 0, len(parts))
	for _, p := range parts {
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		r := running{p, stop, make(chan struct{})}
		all = append(all, r)
		go func() {
			defer close(r.done)
			err := p.run(own)
			if own.Err() == nil { // it ended by itself
				if err == nil {
					err = errors.New("ended unasked")
				}
				fell <- struct{}{}
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				mu.Lock()
				errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
				mu.Unlock()
			}
		}()
	}
	select {
	case <-ctx.Done():
	case <-fell:
	}
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	late := false
	for _, a := range slices.Backward(all) {
		a.stop()
		if late {
			continue
		}
		select {
		case <-a.done:
		case <-deadline.C:
			late = true
			mu.Lock()
			errs = append(errs, fmt.Errorf("%s: did not stop within %s", a.name, grace))
			mu.Unlock()
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return errors.Join(errs...)
}
