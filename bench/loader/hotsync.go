package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"hotsync/connectors/kafka"
	"hotsync/event"
	"hotsync/sinks/clickhouse"
)

// runHotsync loads the topic as the daemon does: a member of a consumer group,
// a loader on each partition.
func runHotsync(ctx context.Context, o options) (rows int, took time.Duration, err error) {
	client, err := kafka.New(kafka.Config{Brokers: strings.Split(o.brokers, ",")})
	if err != nil {
		return 0, 0, err
	}
	defer client.Close()
	st, err := clickhouse.Open(clickhouse.Config{Addr: []string{o.clickhouse}, Database: o.database})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	l, err := clickhouse.NewLoader(clickhouse.LoaderConfig{
		Store: st, Into: clickhouse.Events, Group: o.database, BatchRows: o.batch,
		Reread: func(context.Context, event.Coordinates) (event.Message, error) {
			return event.Message{}, errors.New("nothing is refused here")
		},
		Reject: func(_ context.Context, d event.DeadLetter) error { return fmt.Errorf("rejected: %s", d.Error) },
	})
	if err != nil {
		return 0, 0, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	h := &lanes{loader: l, topic: o.topic, left: int64(o.rows), done: stop}
	consumer, err := kafka.NewConsumer(client, kafka.ConsumerConfig{
		Group: o.database, Topics: []string{o.topic},
		// Each partition holds one and a half of it.
		MaxBytes: max(256<<10, min(1<<20, 1<<20/o.partitions)),
	})
	if err != nil {
		return 0, 0, err
	}
	if err := consumer.Run(ctx, h); err != nil {
		return 0, 0, err
	}
	return o.rows, time.Unix(0, h.last.Load()).Sub(time.Unix(0, h.first.Load())), nil
}

// lanes runs the loader on each partition until all rows are committed.
type lanes struct {
	loader      *clickhouse.Loader
	topic       string
	left        int64 // atomic
	done        func()
	first, last atomic.Int64 // times
}

// Assigned implements kafka.Handler.
func (h *lanes) Assigned(ctx context.Context, gen *kafka.Generation, part *kafka.Assignment) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-gen.Ending():
			stop()
		case <-ctx.Done():
		}
	}()
	at, _ := part.Committed(h.topic)
	return h.loader.Run(ctx, h.topic, part.Index(), &lane{lanes: h, part: part, at: max(0, at)})
}

// lane is an assigned partition as the loader reads it.
type lane struct {
	*lanes
	part *kafka.Assignment
	at   int64
}

// Next implements clickhouse.Partition.
func (p *lane) Next(ctx context.Context) ([]event.Message, error) {
	const most = 500
	r, err := p.part.Next(ctx)
	if err != nil {
		return nil, err
	}
	p.first.CompareAndSwap(0, time.Now().UnixNano())
	out := make([]event.Message, 0, most)
	for ok := true; ok; {
		out = append(out, event.Message{Coordinates: event.Coordinates{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}, Key: r.Key, Value: r.Value, Time: r.Time})
		if len(out) == most {
			break
		}
		r, ok = p.part.TryNext()
	}
	return out, nil
}

// Commit implements clickhouse.Partition.
func (p *lane) Commit(ctx context.Context, next int64, metadata string) error {
	if err := p.part.CommitWithMetadata(ctx, p.topic, next, metadata); err != nil {
		return err
	}
	left := atomic.AddInt64(&p.left, p.at-next)
	p.at = next
	if left == 0 {
		p.last.Store(time.Now().UnixNano())
		p.done()
	}
	return nil
}

// Committed implements clickhouse.Partition.
func (p *lane) Committed() (int64, string) { return p.part.Committed(p.topic) }
