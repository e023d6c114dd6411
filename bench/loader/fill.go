package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"hotsync/connectors/kafka"
	"hotsync/event"
	"hotsync/record"
)

// fill makes the topic and writes the events, in a few goroutines.
func fill(ctx context.Context, client *kafka.Client, o options) error {
	if err := client.EnsureTopics(ctx, []kafka.Topic{{Name: o.topic, Partitions: o.partitions}}); err != nil {
		return err
	}
	w := kafka.NewWriter(client, kafka.WriterConfig{})
	group, ctx := errgroup.WithContext(ctx)
	const writers, portion = 4, 500
	for n := range writers {
		group.Go(func() error {
			for from := n * portion; from < o.rows; from += writers * portion {
				var records []kafka.Record
				for i := from; i < min(from+portion, o.rows); i++ {
					e, err := sample(i)
					if err != nil {
						return err
					}
					b, err := e.Encode()
					if err != nil {
						return err
					}
					records = append(records, kafka.Record{Topic: o.topic, Key: []byte(e.Key.String()), Value: b})
				}
				if err := w.Write(ctx, records...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("fill %s: %w", o.topic, err)
	}
	w.Close()
	return nil
}

// sample is an event of the usual shape: one trigger, two changes, three calls,
// about 1.3 kB.
func sample(i int) (event.Event, error) {
	at := time.Date(2026, 6, 5, 12, 0, 0, 0, time.UTC).Add(time.Duration(i) * 17 * time.Millisecond)
	ref := event.Ref{
		ID: event.Digest("bench", fmt.Sprint(i)), Cause: event.CauseStripe, Origin: event.OriginStripe, Type: "invoice.paid", Delivery: fmt.Sprintf("evt_%d", i),
		Source: event.Coordinates{Topic: "billing.stripe.events", Partition: i % 12, Offset: int64(i / 12)}, At: at, Received: at.Add(40 * time.Millisecond),
	}
	e := event.Event{
		SyncID: ref.ID, Phase: event.Done, At: at.Add(400 * time.Millisecond), Outcome: event.Applied, Reason: event.ReasonDriftRepaired,
		Note: "2 fields of subscription sub-7f3a brought up to date", Key: record.StripeSubscription(fmt.Sprintf("sub_1N%07d", i%50_000)),
		Related: []string{fmt.Sprintf("sub-%06d", i%50_000), "cus-1"}, Cause: ref.Cause, Origin: ref.Origin, Mode: "write", Triggers: []event.Ref{ref}, Attempt: 1,
		Changes: []record.Change{
			{Object: record.SubscriptionType, ID: "sub-1", Field: "status", Op: record.OpUpdate, Before: record.Text("pending"), After: record.Text("active")},
			{Object: record.ScheduleType, ID: "sch-1", Ref: fmt.Sprintf("in_%d", i), Field: "data.amount", Op: record.OpUpdate, Before: record.Int(12), After: record.Int(int64(i))},
		},
		Callouts: []event.Callout{
			{At: at.Add(100 * time.Millisecond), Service: "stripe", Method: "GET", Route: "/v1/subscriptions/{id}", Status: 200, Duration: int64(60 + i%90)},
			{At: at.Add(200 * time.Millisecond), Service: "stripe", Method: "GET", Route: "/v1/invoices", Status: 200, Duration: int64(40 + i%70)},
			{At: at.Add(300 * time.Millisecond), Service: "limio", Method: "PUT", Route: "/api/objects/limio/{type}/{id}", Status: 200, Duration: int64(80 + i%110)},
		},
		Waited: int64(i % 40), Worked: 360, Instance: "hotsync-0", Build: "v1.0.0",
	}
	return e, e.Identify()
}
