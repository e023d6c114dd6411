package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	gojson "github.com/goccy/go-json"
	kafkago "github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"hotsync/event"
)

// columns of sync_events, in the order of row.
var columns = strings.Fields(`id sync_id phase at received outcome reason note key key_system key_kind key_id related cause origin mode attempt next
	triggers.id triggers.cause triggers.origin triggers.type triggers.delivery triggers.topic triggers.partition triggers.offset triggers.at triggers.received
	changes.object changes.id changes.ref changes.field changes.op changes.before changes.after
	callouts.at callouts.service callouts.method callouts.route callouts.status callouts.ms callouts.error
	error_class error waited_ms worked_ms instance build format _topic _partition _offset _version`)

// runPlain is the loop that somebody would write: one for each partition.
func runPlain(ctx context.Context, o options) (int, time.Duration, error) {
	conn, err := ch.Open(&ch.Options{
		Addr: []string{o.clickhouse}, Auth: ch.Auth{Database: o.database}, Compression: &ch.Compression{Method: ch.CompressionLZ4}, MaxOpenConns: o.partitions + 1, MaxIdleConns: o.partitions + 1,
	})
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = conn.Close() }()
	var first atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for partition := range o.partitions {
		group.Go(func() error { return plainLoop(ctx, o, conn, partition, &first) })
	}
	if err := group.Wait(); err != nil {
		return 0, 0, err
	}
	return o.rows, time.Since(time.Unix(0, first.Load())), nil
}

func plainLoop(ctx context.Context, o options, conn driver.Conn, partition int, first *atomic.Int64) error {
	brokers := strings.Split(o.brokers, ",")
	leader, err := kafkago.DialLeader(ctx, "tcp", brokers[0], o.topic, partition)
	if err != nil {
		return err
	}
	end, err := leader.ReadLastOffset()
	if err != nil {
		return err
	}
	_ = leader.Close()
	// A reader without a group cannot commit, so this one does less work than
	// it would have to.
	reader := kafkago.NewReader(kafkago.ReaderConfig{Brokers: brokers, Topic: o.topic, Partition: partition, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 500 * time.Millisecond})
	defer func() { _ = reader.Close() }()
	statement := "INSERT INTO sync_events (`" + strings.Join(columns, "`, `") + "`)"
	// The same part size and the same work for the server.
	settings := ch.Context(ctx, ch.WithSettings(ch.Settings{"async_insert": 0, "optimize_on_insert": 0}))
	for next := int64(0); next < end; {
		batch, err := conn.PrepareBatch(settings, statement)
		if err != nil {
			return err
		}
		// As in the loader a batch is full or a second old: neither knows that
		// the topic ends.
		flush, cancel := context.WithTimeout(ctx, time.Second)
		for batch.Rows() < o.batch {
			m, err := reader.ReadMessage(flush)
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				break
			}
			if err != nil {
				cancel()
				return err
			}
			first.CompareAndSwap(0, time.Now().UnixNano())
			var e event.Event
			if err := gojson.Unmarshal(m.Value, &e); err != nil {
				cancel()
				return fmt.Errorf("offset %d: %w", m.Offset, err)
			}
			if err := batch.Append(row(&e, m)...); err != nil {
				cancel()
				return err
			}
			next = m.Offset + 1
		}
		cancel()
		if err := batch.Send(); err != nil {
			return err
		}
	}
	return nil
}

// row is an event as the driver takes a row.
func row(e *event.Event, m kafkago.Message) []any {
	var next *time.Time
	if !e.Next.IsZero() {
		next = &e.Next
	}
	n := len(e.Triggers)
	id, cause, origin, kind, delivery, topic := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	partition, offset, at, received := make([]int32, n), make([]int64, n), make([]time.Time, n), make([]time.Time, n)
	for i, t := range e.Triggers {
		id[i], cause[i], origin[i], kind[i], delivery[i], topic[i] = t.ID, string(t.Cause), string(t.Origin), t.Type, t.Delivery, t.Source.Topic
		partition[i], offset[i], at[i], received[i] = int32(t.Source.Partition), t.Source.Offset, t.At, t.Received
	}
	n = len(e.Changes)
	object, cid, cref, field, op, before, after := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	for i, c := range e.Changes {
		object[i], cid[i], cref[i], field[i], op[i], before[i], after[i] = string(c.Object), c.ID, c.Ref, c.Field, string(c.Op), string(c.Before), string(c.After)
	}
	n = len(e.Callouts)
	oat, service, method, route, status, ms, failure := make([]time.Time, n), make([]string, n), make([]string, n), make([]string, n), make([]uint16, n), make([]int64, n), make([]string, n)
	for i, c := range e.Callouts {
		oat[i], service[i], method[i], route[i], status[i], ms[i], failure[i] = c.At, c.Service, c.Method, c.Route, uint16(c.Status), c.Duration, c.Error
	}
	return []any{
		e.ID, e.SyncID, string(e.Phase), e.At, e.Triggers[0].Received, string(e.Outcome), string(e.Reason), e.Note, e.Key.String(), e.Key.System, e.Key.Kind, e.Key.ID, e.Related, string(e.Cause), string(e.Origin), e.Mode, uint32(e.Attempt), next,
		id, cause, origin, kind, delivery, topic, partition, offset, at, received,
		object, cid, cref, field, op, before, after,
		oat, service, method, route, status, ms, failure,
		e.Class, e.Error, e.Waited, e.Worked, e.Instance, e.Build, uint16(e.Version), m.Topic, int32(m.Partition), m.Offset, uint64(9) << 56,
	}
}
