package clickhouse

import (
	"fmt"
	"testing"
	"time"

	"hotsync/event"
	"hotsync/record"
)

// history loads n syncs of two events or one, spread over thirty days, a part of
// them asked for by sweeps.
func history(tb testing.TB, st *Store, n int) {
	tb.Helper()
	const days = 30
	b := newBatch(Events)
	flush := func() {
		_, rows := b.byMonth()
		for m, s := range rows {
			if err := st.insert(tb.Context(), b.rows, s, fmt.Sprintf("history-%d-%d", m, b.offsets[0])); err != nil {
				tb.Fatal(err)
			}
		}
		b.reset()
	}
	offset := int64(0)
	for i := range n {
		for _, e := range past(tb, i, noon.Add(time.Duration(i)*(days*24*time.Hour/time.Duration(n)))) {
			b.add(message(tb, e, offset))
			offset++
		}
		if len(b.offsets) >= 10_000 {
			flush()
		}
	}
	if len(b.offsets) > 0 {
		flush()
	}
}

// past is the i-th sync of a history.
func past(tb testing.TB, i int, at time.Time) []event.Event {
	done := sample(i)
	done.SyncID = event.Digest("past", fmt.Sprint(i))
	done.Key = record.StripeSubscription(fmt.Sprintf("sub_1N%07d", i%20_000))
	ref := done.Triggers[0]
	ref.ID, ref.Delivery, ref.At, ref.Received = done.SyncID, fmt.Sprintf("evt_%d", i), at, at.Add(40*time.Millisecond)
	done.At = ref.Received.Add(500 * time.Millisecond)
	switch {
	case i%10 == 3:
		ref.Cause, ref.Type, ref.Delivery = event.CauseSweep, "billing_changed", "stripe-drift/"+at.Format("20060102T150405Z")+"-0000"
		if i%100 != 3 {
			ref.Delivery = "stripe-drift/" + at.Format("20060102") + "T000000Z-0000"
		}
	case i%1000 == 7:
		done.Outcome, done.Reason, done.Class, done.Error = event.Failed, event.ReasonForbidden, "forbidden", "limio answered 403"
	case i%3 == 0:
		done.Outcome, done.Reason, done.Changes = event.InSync, event.ReasonEqual, nil
	}
	done.Cause, done.Triggers = ref.Cause, []event.Ref{ref}
	events := []event.Event{done}
	if done.Outcome == event.Applied {
		planned := done
		planned.Phase, planned.Outcome, planned.Reason, planned.Callouts = event.Planned, "", "", nil
		events = []event.Event{planned, done}
	}
	for i := range events {
		if err := events[i].Identify(); err != nil {
			tb.Fatal(err)
		}
	}
	return events
}
