package clickhouse

import (
	"fmt"
	"time"

	"hotsync/event"
	"hotsync/record"
)

// sample is an event of a usual shape: one trigger, two changes, three calls.
func sample(i int) event.Event {
	at := time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC).Add(time.Duration(i) * 17 * time.Millisecond)
	ref := event.Ref{
		ID: event.Digest("t", fmt.Sprint(i)), Cause: event.CauseStripe, Origin: event.OriginStripe, Type: "invoice.paid", Delivery: fmt.Sprintf("evt_%d", i),
		Source: event.Coordinates{Topic: "billing.stripe.events", Partition: i % 4, Offset: int64(i / 4)}, At: at, Received: at.Add(40 * time.Millisecond),
	}
	e := event.Event{
		SyncID: ref.ID, Phase: event.Done, At: at.Add(400 * time.Millisecond), Outcome: event.Applied, Reason: event.ReasonDriftRepaired,
		Note: "2 fields of subscription sub-7f3a brought up to date", Key: record.StripeSubscription(fmt.Sprintf("sub_1N%07d", i%5000)),
		Related: []string{fmt.Sprintf("sub-%06d", i%5000), "cus-1"}, Cause: ref.Cause, Origin: ref.Origin, Mode: "write", Triggers: []event.Ref{ref}, Attempt: 1,
		Changes: []record.Change{
			{Object: record.SubscriptionType, ID: "sub-1", Field: "status", Op: record.OpUpdate, Before: record.Text("pending"), After: record.Text("active")},
			{Object: record.ScheduleType, ID: "sch-1", Ref: "in_1", Field: "data.amount", Op: record.OpUpdate, Before: record.Int(12), After: record.Int(14)},
		},
		Callouts: []event.Callout{
			{At: at.Add(100 * time.Millisecond), Service: "stripe", Method: "GET", Route: "/v1/subscriptions/{id}", Status: 200, Duration: 80},
			{At: at.Add(200 * time.Millisecond), Service: "stripe", Method: "GET", Route: "/v1/invoices", Status: 200, Duration: 70},
			{At: at.Add(300 * time.Millisecond), Service: "limio", Method: "PUT", Route: "/api/objects/limio/{type}/{id}", Status: 200, Duration: 90},
		},
		Waited: 12, Worked: 360, Instance: "hotsync-0", Build: "v1.0.0",
	}
	if i%20 == 0 {
		e.Plan, e.Stats = event.Digest("plan", ref.ID), map[string]int64{"pages": 3, "listed": int64(i), "equal": 1, "calls.limio": 2}
	}
	if err := e.Identify(); err != nil {
		panic(err)
	}
	return e
}
