package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/event"
	"hotsync/sinks/clickhouse"
)

// loading runs the loader on every partition of one log topic that is ours.
type loading struct {
	loader *clickhouse.Loader
	topic  string
	log    zerolog.Logger
}

// Assigned implements kafka.Handler.
func (l *loading) Assigned(ctx context.Context, gen *kafka.Generation, part *kafka.Assignment) error {
	run, stop := untilEnding(ctx, gen)
	defer stop()
	err := l.loader.Run(run, l.topic, part.Index(), &logPartition{part: part, topic: l.topic})
	if run.Err() != nil || errors.Is(err, kafka.ErrGenerationEnded) {
		return nil // handed over; what is uncommitted is loaded by the next owner
	}
	if err != nil {
		return fmt.Errorf("load %s/%d: %w", l.topic, part.Index(), err)
	}
	return nil
}

// untilEnding returns a context that also ends when the hand-over of a
// generation begins.
func untilEnding(ctx context.Context, gen *kafka.Generation) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	go func() {
		select {
		case <-gen.Ending():
			stop()
		case <-ctx.Done():
		}
	}()
	return ctx, stop
}

// logPartition is an assigned partition as the loader reads it.
type logPartition struct {
	part  *kafka.Assignment
	topic string
}

// perNext bounds how many messages one Next returns.
const perNext = 500

// Next implements clickhouse.Partition.
func (p *logPartition) Next(ctx context.Context) ([]event.Message, error) {
	first, err := p.part.Next(ctx)
	if err != nil {
		return nil, err
	}
	out := append(make([]event.Message, 0, perNext), message(first))
	for len(out) < perNext {
		r, ok := p.part.TryNext()
		if !ok {
			break
		}
		out = append(out, message(r))
	}
	return out, nil
}

// Commit implements clickhouse.Partition. A broker that does not answer is
// asked again for as long as the partition is ours: the commit says the same
// however often it is made.
func (p *logPartition) Commit(ctx context.Context, next int64, metadata string) error {
	backoff := 100 * time.Millisecond
	for {
		err := p.part.CommitWithMetadata(ctx, p.topic, next, metadata)
		if err == nil || errors.Is(err, kafka.ErrGenerationEnded) || errors.Is(err, kafka.ErrRewind) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(backoff):
			backoff = min(2*backoff, 5*time.Second)
		}
	}
}

// Committed implements clickhouse.Partition.
func (p *logPartition) Committed() (int64, string) { return p.part.Committed(p.topic) }

// reread reads one message of a log topic again: what was refused as a row goes
// into its dead letter whole.
func reread(ctx context.Context, client *kafka.Client, at event.Coordinates) (m event.Message, err error) {
	found := false
	err = client.ReadAll(ctx, at.Topic, at.Partition, at.Offset, at.Offset+1, func(_ context.Context, r kafka.Record) error {
		m, found = message(r), true
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("read %s again: it is not there any more", at)
	}
	return m, err
}

// migrate brings ClickHouse's schema up to date, for as long as that takes:
// ClickHouse away means that rows wait in Kafka, not that syncing does
// (Invariant 7).
func migrate(ctx context.Context, store *clickhouse.Store, log zerolog.Logger) error {
	backoff := 200 * time.Millisecond
	for {
		err := store.Migrate(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		log.Warn().Err(err).Dur("again_in", backoff).Msg("ClickHouse is not ready; events wait in Kafka")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(backoff):
			backoff = min(2*backoff, 15*time.Second)
		}
	}
}
