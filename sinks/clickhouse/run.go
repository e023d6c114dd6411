package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"hotsync/event"
)

// run is the loading of one partition: a reader that builds the next batch
// while a writer inserts the one before. The channel between them holds none,
// so there are never more than two.
type run struct {
	*Loader
	topic     string
	partition int
	p         Partition
	ready     chan *batch
	stopping  chan struct{} // closed when the end has begun: no more waiting
	stop      func()        // begins the end
	carry     []event.Message
	idle      atomic.Bool // the writer waits for a batch
	next      int64       // the committed offset, the writer's
}

// Run loads one partition until ctx ends, when it returns nil, or until p fails.
// What is in hand then is inserted if that works at once and within StopTimeout;
// else it is left, uncommitted, for the next Run. No failure of ClickHouse ends
// it: it waits, in order, for as long as it takes (Invariant 7).
func (l *Loader) Run(ctx context.Context, topic string, partition int, p Partition) error {
	r := &run{Loader: l, topic: topic, partition: partition, p: p, ready: make(chan *batch), stopping: make(chan struct{})}
	next, metadata := p.Committed()
	r.next = next
	l.enter(r, max(0, next))
	defer l.leave(r)

	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	writing, stopWriting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWriting()
	var timer *time.Timer
	r.stop = sync.OnceFunc(func() {
		timer = time.AfterFunc(l.cfg.StopTimeout, stopWriting)
		close(r.stopping)
	})
	defer func() { r.stop(); timer.Stop() }()
	defer context.AfterFunc(ctx, r.stop)()

	var readErr, writeErr error
	var both sync.WaitGroup
	both.Go(func() {
		readErr = r.read(reading, writing, metadata)
		close(r.ready)
	})
	both.Go(func() {
		writeErr = r.write(writing)
		stopReading() // nobody takes batches any more
		stopWriting()
	})
	both.Wait()
	switch {
	case ctx.Err() != nil:
		return nil
	case readErr == nil || errors.Is(readErr, context.Canceled):
		readErr = writeErr // the reader ended because the writer had
	}
	return fmt.Errorf("load %s/%d: %w", topic, partition, readErr)
}

// read builds batches until p fails or ctx ends. writing is the longer-lived
// context of the writer: what was read is handed over even after ctx ended.
func (r *run) read(ctx, writing context.Context, metadata string) error {
	if entry, ok := parsePending(metadata); ok {
		if err := r.replay(ctx, writing, entry); err != nil {
			return err
		}
	} else if metadata != "" {
		// An entry of another version: all we know is that rows may be there.
		r.count(func(s *LoaderStats) { s.Mismatches++ })
		return r.follow(ctx, writing, true)
	}
	return r.follow(ctx, writing, false)
}

// follow builds batches for ever.
func (r *run) follow(ctx, writing context.Context, doubt bool) error {
	for {
		b, err := r.collect(ctx)
		if err != nil {
			r.stop()
		}
		if b != nil {
			b.doubt, doubt = doubt, false
			if handed := r.hand(writing, b); handed != nil && err == nil {
				err = handed
			}
		}
		if err != nil {
			return err
		}
	}
}

// collect builds one batch: full by rows or bytes, or as old as Flush allows,
// or cut short by an error of p, which is returned with it.
func (r *run) collect(ctx context.Context) (*batch, error) {
	var b *batch
	var opened time.Time
	for {
		if len(r.carry) == 0 {
			err := r.fetch(ctx, b, opened)
			if errors.Is(err, errFlush) {
				return b, nil
			}
			if err != nil {
				return b, err
			}
			if len(r.carry) == 0 {
				continue
			}
		}
		take, bytes := r.portion(b)
		place := bytes > r.cfg.large() && (b == nil || !b.placed)
		if place {
			if err := r.places.Acquire(ctx, 1); err != nil {
				return b, err
			}
		}
		if b == nil {
			b, opened = r.take(place), r.cfg.Now()
		} else if place {
			// It may have waited past its time. There is more to come, and
			// little batches are what makes a backlog slow.
			b.placed, opened = true, r.cfg.Now()
		}
		for _, m := range r.carry[:take] {
			b.add(m)
		}
		r.carry = r.carry[take:]
		if len(b.offsets) >= r.cfg.BatchRows || b.bytes >= r.cfg.BatchBytes {
			return b, nil
		}
	}
}

// errFlush says that the batch is as old as it may get.
var errFlush = errors.New("flush")

// idlePoll is how soon a batch that is due notices that the writer is free.
const idlePoll = 10 * time.Millisecond

// fetch waits for messages, but no longer than b may wait.
func (r *run) fetch(ctx context.Context, b *batch, opened time.Time) error {
	wait, cancel := ctx, context.CancelFunc(func() {})
	if b != nil {
		left := r.cfg.Flush - r.cfg.Now().Sub(opened)
		if left <= 0 && r.idle.Load() {
			return errFlush
		}
		// While the writer is busy a batch that is due had better grow.
		left = max(left, idlePoll)
		wait, cancel = context.WithTimeout(ctx, left)
	}
	defer cancel()
	messages, err := r.p.Next(wait)
	switch {
	case len(messages) > 0:
		r.carry = messages
		r.seen(messages)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case wait.Err() != nil:
		return nil
	case err == nil:
		return errors.New("partition returned neither messages nor an error")
	}
	return fmt.Errorf("read: %w", err)
}

// portion is how many of the messages in hand fit into b, at least one, and how
// many bytes b then has.
func (r *run) portion(b *batch) (n, bytes int) {
	rows := 0
	if b != nil {
		rows, bytes = len(b.offsets), b.bytes
	}
	for n < len(r.carry) && (n == 0 || rows < r.cfg.BatchRows && bytes < r.cfg.BatchBytes) {
		bytes += len(r.carry[n].Value)
		rows++
		n++
	}
	return n, bytes
}

// replay builds the batch of a journal entry again, whatever its size, and
// hands it over.
func (r *run) replay(ctx, writing context.Context, entry pending) error {
	if err := r.places.Acquire(ctx, 1); err != nil {
		return err
	}
	b := r.take(true)
	b.replay, b.journaled, b.doubt = true, true, true
	for done := false; !done; {
		if len(r.carry) == 0 {
			if err := r.fetch(ctx, nil, time.Time{}); err != nil {
				r.stop()
				r.release(b) // part of a batch is none: leave it all
				return err
			}
		}
		for len(r.carry) > 0 && !done {
			m := r.carry[0]
			// An offset outside of the entry: the log was cut, or is another
			// one of the same name. What is left of the entry is all there is.
			if done = m.Offset > entry.last || m.Offset < entry.first; done {
				break
			}
			b.add(m)
			r.carry = r.carry[1:]
			done = m.Offset == entry.last
		}
	}
	if len(b.offsets) == 0 {
		r.count(func(s *LoaderStats) { s.Mismatches++ })
		r.release(b)
		return nil
	}
	b.close()
	if b.entry != entry {
		r.count(func(s *LoaderStats) { s.Mismatches++ })
	}
	r.count(func(s *LoaderStats) { s.Replayed += int64(len(b.source)) })
	b.replayed = entry
	return r.give(writing, b)
}

// hand completes a batch and gives it to the writer.
func (r *run) hand(writing context.Context, b *batch) error {
	if len(b.offsets) == 0 {
		r.release(b)
		return nil
	}
	b.close()
	return r.give(writing, b)
}

func (r *run) give(writing context.Context, b *batch) error {
	select {
	case r.ready <- b:
		return nil
	case <-writing.Done():
		r.release(b)
		return writing.Err()
	}
}

// take returns an empty batch. Those that were large once serve large ones
// again, so that there are no more of that size than places.
func (r *run) take(placed bool) *batch {
	pool := &r.small
	if placed {
		pool = &r.big
	}
	b := pool.Get().(*batch)
	b.placed = placed
	return b
}

// release gives the memory of a batch back.
func (r *run) release(b *batch) {
	pool := &r.small
	if b.placed {
		r.places.Release(1)
		pool = &r.big
	}
	b.reset()
	pool.Put(b)
}

// enter, leave, seen and passed keep the statistics of a partition.
func (l *Loader) enter(r *run, next int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts[r] = PartitionStats{Topic: r.topic, Partition: r.partition, Next: next, Read: next}
}

func (l *Loader) leave(r *run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.parts, r)
	delete(l.ages, r)
}

func (r *run) seen(messages []event.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.parts[r]
	if p.Read <= p.Next {
		r.ages[r] = messages[0].Time
	}
	p.Read = messages[len(messages)-1].Offset + 1
	r.parts[r] = p
}

func (r *run) passed(b *batch, next int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.parts[r]
	p.Next = next
	r.parts[r] = p
	// The oldest of what is left is not older than the newest of what went.
	r.ages[r] = b.newest
}
