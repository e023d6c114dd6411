package embedded

import (
	"context"
	"fmt"
	"os"
	"time"
)

// lockPoll is how often a lock that is held is tried again.
const lockPoll = 50 * time.Millisecond

// waitLock takes the lock on path, waiting until ctx ends for whoever has it.
// The error is ErrInUse when the wait was in vain.
func waitLock(ctx context.Context, path string) (*os.File, error) {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		f, ok, err := tryLock(path)
		if err != nil || ok {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: %w", path, ErrInUse)
		case <-tick.C:
		}
	}
}
