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

// BenchmarkRead asks what people and replays ask of a log of 600,000 events.
func BenchmarkRead(b *testing.B) {
	st := open(b)
	history(b, st, 360_000)
	find := func(f Filter, page Page) func() (int, error) {
		return func() (int, error) {
			rows, _, err := st.Find(b.Context(), f, page)
			return len(rows), err
		}
	}
	number := func(n int64, err error) (int, error) { return int(n), err }
	failed := Filter{Outcomes: []event.Outcome{event.Failed}}
	run := "stripe-drift/20270120T000000Z-0000"
	for _, c := range []struct {
		name string
		ask  func() (int, error)
	}{
		{"latest", find(Filter{}, Page{Limit: 50})},
		{"a page from the middle", find(Filter{}, Page{Limit: 50, After: cursor{noon.AddDate(0, 0, 15), "8"}.String()})},
		{"a day", find(Filter{ReceivedSince: noon.AddDate(0, 0, 3), ReceivedUntil: noon.AddDate(0, 0, 4)}, Page{Limit: 50})},
		{"key", find(Filter{Keys: []string{"stripe:subscription:sub_1N0000042"}}, Page{})},
		{"failed", find(failed, Page{Limit: 50})},
		{"failed, all", find(failed, Page{Limit: 1000})},
		{"nothing has it", find(Filter{Text: "xyzzy"}, Page{})},
		{"run", find(Filter{Run: run}, Page{})},
		{"count failed", func() (int, error) { return number(st.Count(b.Context(), failed)) }},
		{"count applied", func() (int, error) {
			return number(st.Count(b.Context(), Filter{Outcomes: []event.Outcome{event.Applied}}))
		}},
		{"count a day", func() (int, error) {
			return number(st.Count(b.Context(), Filter{Outcomes: []event.Outcome{event.Applied}, ReceivedSince: noon.AddDate(0, 0, 28)}))
		}},
		{"run progress", func() (int, error) { p, err := st.RunProgress(b.Context(), run); return len(p.Outcomes), err }},
		{"planned", func() (int, error) {
			rows, err := st.Planned(b.Context(), run, "", 1000, event.Applied)
			return len(rows), err
		}},
		{"never finished", func() (int, error) { return number(st.NeverFinishedCount(b.Context(), noon.AddDate(1, 0, 0))) }},
		{"view sweep_runs", func() (int, error) {
			var n uint64
			err := st.conn.QueryRow(b.Context(), st.in("SELECT sum(applied > 0) FROM @sweep_runs")).Scan(&n)
			return int(n), err
		}},
		{"view lost_events", func() (int, error) {
			var n float64
			err := st.conn.QueryRow(b.Context(), st.in("SELECT sum(percent) FROM @lost_events")).Scan(&n)
			return int(n), err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				var err error
				if n, err = c.ask(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n), "found")
		})
	}
}
