package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// FollowerConfig describes a Follower.
type FollowerConfig struct {
	Topic string
	// MaxBytes and MaxWait are as in ConsumerConfig. Defaults 1 MiB and 500 ms.
	MaxBytes int
	MaxWait  time.Duration
	// StallAfter is as in ConsumerConfig. Default 30 s.
	StallAfter time.Duration
	// Notify is told what a person may want to know. It must be quick. Optional.
	Notify func(Notice)
}

// Follower reads every partition of a topic from its start and goes on for ever,
// without a group and without commits: for a compacted topic that is a table.
type Follower struct {
	client *Client
	cfg    FollowerConfig

	mu      sync.Mutex
	at      map[int]int64 // next offset to hand over
	changed chan struct{} // closed and replaced when at changes
}

// NewFollower returns a follower. It dials nothing and starts nothing.
func NewFollower(client *Client, cfg FollowerConfig) *Follower {
	setDefault(&cfg.MaxBytes, 1<<20)
	setDefault(&cfg.MaxWait, 500*time.Millisecond)
	setDefault(&cfg.StallAfter, 30*time.Second)
	if cfg.Notify == nil {
		cfg.Notify = func(Notice) {}
	}
	return &Follower{client: client, cfg: cfg, at: map[int]int64{}, changed: make(chan struct{})}
}

// Run hands every record to fn until ctx ends (nil) or fn fails (its error). One
// partition's records come in order and one at a time, several partitions' at
// the same time. Partitions that are added later are not seen.
func (f *Follower) Run(ctx context.Context, fn func(context.Context, Record) error) error {
	var first map[int]int64
	err := retry(ctx, time.Hour, func(ctx context.Context) (err error) {
		first, err = f.client.LowWatermarks(ctx, f.cfg.Topic)
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("follow topic %s: %w", f.cfg.Topic, err)
	}
	transport := f.client.newTransport()
	defer f.client.drop(transport)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	failed := make(chan error, len(first))
	for part, offset := range first {
		f.reach(part, offset)
		r := &reader{
			client: f.client, topic: f.cfg.Topic, part: part, offset: offset, shared: transport, notify: f.cfg.Notify,
			fetch: fetchConfig{minBytes: 1, maxBytes: f.cfg.MaxBytes, maxWait: f.cfg.MaxWait, stallAfter: f.cfg.StallAfter},
		}
		all.Go(func() {
			err := r.run(ctx, func(ctx context.Context, got chunk) error {
				for _, rec := range got.records {
					if err := fn(ctx, rec); err != nil {
						return fmt.Errorf("topic %s partition %d offset %d: %w", rec.Topic, rec.Partition, rec.Offset, err)
					}
					f.reach(part, rec.Offset+1)
				}
				f.reach(part, got.next)
				return nil
			})
			if err != nil {
				failed <- err
				stop()
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return fmt.Errorf("follow: %w", err)
	default:
		return nil
	}
}

func (f *Follower) reach(part int, next int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if have, ok := f.at[part]; ok && have == next {
		return
	}
	f.at[part] = next
	close(f.changed)
	f.changed = make(chan struct{})
}

// Positions returns for each partition the offset of the next record to be
// handed over. It is empty until Run knows where the partitions start.
func (f *Follower) Positions() map[int]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.at)
}

// Reached waits until fn has returned for every record of a partition below
// offset. It needs Run to be running.
func (f *Follower) Reached(ctx context.Context, partition int, offset int64) error {
	for {
		f.mu.Lock()
		at, ok := f.at[partition]
		changed := f.changed
		f.mu.Unlock()
		if ok && at >= offset {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for topic %s partition %d to reach offset %d, now at %d: %w", f.cfg.Topic, partition, offset, at, ctx.Err())
		}
	}
}

// CaughtUp waits until fn has returned for every record that was in the topic
// when CaughtUp was called.
func (f *Follower) CaughtUp(ctx context.Context) error {
	ends, err := f.client.HighWatermarks(ctx, f.cfg.Topic)
	if err != nil {
		return err
	}
	for part, end := range ends {
		if err := f.Reached(ctx, part, end); err != nil {
			return err
		}
	}
	return nil
}

// ReadAll hands the records of one partition with offsets in [from, to) to fn, in
// order, and returns nil after the last. A negative from is the first kept
// record; a negative to is the end of the partition as of the call. It returns
// fn's error when it fails.
func (c *Client) ReadAll(ctx context.Context, topic string, partition int, from, to int64, fn func(context.Context, Record) error) error {
	var first, end int64
	err := retry(ctx, lookLimit, func(ctx context.Context) (err error) {
		first, end, err = c.bounds(ctx, topic, partition)
		return err
	})
	if err != nil {
		return fmt.Errorf("read topic %s partition %d: %w", topic, partition, err)
	}
	if to < 0 || to > end {
		to = end
	}
	if from = max(from, first); from >= to {
		return nil
	}
	transport := c.newTransport()
	defer c.drop(transport)
	r := &reader{
		client: c, topic: topic, part: partition, offset: from, shared: transport, notify: func(Notice) {},
		fetch: fetchConfig{minBytes: 1, maxBytes: 1 << 20, maxWait: 500 * time.Millisecond, stallAfter: 30 * time.Second},
	}
	finished := errors.New("read to the end")
	err = r.run(ctx, func(ctx context.Context, got chunk) error {
		for _, rec := range got.records {
			if rec.Offset >= to {
				return finished
			}
			if err := fn(ctx, rec); err != nil {
				return err
			}
		}
		if got.next >= to {
			return finished
		}
		return nil
	})
	switch {
	case errors.Is(err, finished):
		return nil
	case err == nil: // run ends without one when ctx does
		err = ctx.Err()
	}
	return fmt.Errorf("read topic %s partition %d: %w", topic, partition, err)
}
