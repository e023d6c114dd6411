package clickhouse

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// ids are the syncs of all pages, each page of limit rows.
func ids(t *testing.T, st *Store, f Filter, limit int) []string {
	t.Helper()
	var out []string
	page := Page{Limit: limit}
	for {
		rows, next, err := st.Find(t.Context(), f, page)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) > limit {
			t.Fatalf("%d rows in a page of %d", len(rows), limit)
		}
		for _, r := range rows {
			out = append(out, r.SyncID)
		}
		if next == "" {
			return out
		}
		page.After = next
	}
}

// One predicate, the same for lists and counts, on the final state of syncs.
func TestFilter(t *testing.T) {
	st := open(t)
	tell(t, st, everyday(t))
	day := noon.Add(24 * time.Hour)
	for name, c := range map[string]struct {
		filter Filter
		where  string // the same, asked of the view
	}{
		"all":                   {Filter{}, "1"},
		"sync ids":              {Filter{SyncIDs: []string{"late", "cut", "nobody"}}, "sync_id IN ('late', 'cut')"},
		"key":                   {Filter{Keys: []string{"stripe:subscription:sub_late"}}, "sync_id = 'late'"},
		"key prefix":            {Filter{KeyPrefix: "stripe:subscription:sub_pair"}, "sync_id IN ('pair1', 'pair2')"},
		"system":                {Filter{Systems: []string{"zuora"}}, "key LIKE 'zuora:%'"},
		"kind":                  {Filter{Kinds: []string{"lookup", "run"}}, "key_kind IN ('lookup', 'run')"},
		"not deferred any more": {Filter{Outcomes: []event.Outcome{event.Deferred}}, "sync_id IN ('waiting', 'run-waits')"},
		"recovered too":         {Filter{Outcomes: []event.Outcome{event.Applied}}, "outcome = 'applied'"},
		"under way":             {Filter{Outcomes: []event.Outcome{""}}, "sync_id IN ('flying', 'run-begun')"},
		"several outcomes":      {Filter{Outcomes: []event.Outcome{event.Failed, event.Suppressed, event.Observed}}, "outcome IN ('failed', 'suppressed', 'observed')"},
		"reason":                {Filter{Reasons: []event.Reason{event.ReasonEqual}}, "reason = 'equal'"},
		"reason of recovered":   {Filter{Reasons: []event.Reason{event.ReasonDriftRepaired}}, "reason = 'drift_repaired'"},
		"cause":                 {Filter{Causes: []event.Cause{event.CauseLogin}}, "sync_id = 'login1'"},
		"origin":                {Filter{Origins: []event.Origin{event.OriginShop}}, "sync_id = 'suppressed'"},
		"class":                 {Filter{Classes: []string{"forbidden"}}, "sync_id = 'failed'"},
		"delivery":              {Filter{Delivery: "evt_pair2"}, "sync_id IN ('pair1', 'pair2')"},
		"run":                   {Filter{Run: runID}, "sync_id LIKE 'run-%'"},
		"related":               {Filter{Related: "cus-1"}, "sync_id = 'swept'"},
		"field":                 {Filter{Field: "name"}, "sync_id = 'halves'"},
		"text of a note":        {Filter{Text: "NO ACCOUNT"}, "sync_id = 'login1'"},
		"text of an error":      {Filter{Text: "answered 403"}, "sync_id = 'failed'"},
		"text of a key":         {Filter{Text: "SUB_cut"}, "sync_id = 'cut'"},
		"text of an id":         {Filter{Text: "Cus-1"}, "sync_id = 'swept'"},
		"quotes":                {Filter{Text: `'?@\`, Keys: []string{"'"}}, "0"},
		"received since":        {Filter{ReceivedSince: noon.Add(5*time.Minute + time.Nanosecond)}, "received > '2027-01-05 12:05:00'"},
		"received until":        {Filter{ReceivedUntil: noon.Add(5100 * time.Millisecond)}, "received < '2027-01-05 12:00:05.1'"},
		"received between":      {Filter{ReceivedSince: noon.Add(5100 * time.Millisecond), ReceivedUntil: noon.Add(10 * time.Second)}, "received >= '2027-01-05 12:00:05.1' AND received < '2027-01-05 12:00:10'"},
		"at since":              {Filter{AtSince: noon.Add(300 * time.Second)}, "at >= '2027-01-05 12:05:00'"},
		"at until":              {Filter{AtUntil: noon.Add(300 * time.Second)}, "at < '2027-01-05 12:05:00'"},
		"everything at once":    {Filter{Outcomes: []event.Outcome{event.Applied}, Reasons: []event.Reason{event.ReasonDriftRepaired}, Field: "status", Systems: []string{"stripe"}, AtSince: noon.Add(300 * time.Second), ReceivedUntil: day}, "outcome = 'applied' AND reason = 'drift_repaired' AND at >= '2027-01-05 12:05:00' AND change_count > 0"},
		"nothing":               {Filter{ReceivedSince: day.AddDate(1, 0, 0)}, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			want := lines(t, st, "SELECT [sync_id] AS x FROM syncs WHERE "+c.where+" ORDER BY received DESC, sync_id DESC")
			if len(want) == 0 && c.where != "0" {
				t.Error("no sync shows that the condition works")
			}
			for _, limit := range []int{3, 1000} {
				if diff := cmp.Diff(want, ids(t, st, c.filter, limit)); diff != "" {
					t.Errorf("in pages of %d (-want +got):\n%s", limit, diff)
				}
			}
			if n, err := st.Count(t.Context(), c.filter); err != nil || int(n) != len(want) {
				t.Errorf("counted %d, %v, want %d", n, err, len(want))
			}
		})
	}
}

// As many values as are allowed fit into a query.
func TestLongFilter(t *testing.T) {
	st := open(t)
	tell(t, st, stories(t))
	var many []string
	for i := range mostValues - 1 {
		many = append(many, fmt.Sprintf("stripe:subscription:sub_%0100d", i))
	}
	keys := append([]string{"stripe:subscription:sub_late"}, many...)
	f := Filter{Keys: keys, SyncIDs: append([]string{"late"}, many...)}
	if diff := cmp.Diff([]string{"late"}, ids(t, st, f, 10)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n, err := st.Count(t.Context(), f); n != 1 || err != nil {
		t.Errorf("counted %d, %v", n, err)
	}
	if n, err := st.DeadCount(t.Context(), DeadFilter{Keys: keys, IDs: many}); n != 0 || err != nil {
		t.Errorf("counted %d dead letters, %v", n, err)
	}
	if rows, _, err := st.Dead(t.Context(), DeadFilter{Keys: keys, IDs: many}, Page{}); len(rows) != 0 || err != nil {
		t.Errorf("found %d dead letters, %v", len(rows), err)
	}
}

// Pages hold together whatever comes in and whatever becomes of syncs meanwhile.
func TestPagesOverManyDays(t *testing.T) {
	st := open(t)
	history(t, st, 2000)
	want := lines(t, st, "SELECT [sync_id] AS x FROM syncs ORDER BY received DESC, sync_id DESC")
	if diff := cmp.Diff(want, ids(t, st, Filter{}, 700)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	rows, next, err := st.Find(t.Context(), Filter{}, Page{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	// The oldest of the page ends in another way, and a newer sync comes in.
	oldest := rows[9]
	s := &story{tb: t}
	r := ref("new", 40*24*time.Hour)
	s.add("new", event.Done, event.InSync, 1, 40*24*time.Hour, reason(event.ReasonEqual), r)
	r = ref(oldest.SyncID, 0)
	r.Received = oldest.Received
	s.add(oldest.SyncID, event.Done, event.Failed, 9, 40*24*time.Hour, func(e *event.Event) { e.Key, e.Reason = oldest.Key, event.ReasonBug }, r)
	for i, e := range s.events {
		b := newBatch(Events)
		b.add(message(t, e, int64(100_000+i)))
		if err := st.insert(t.Context(), b.rows, spans{{0, 1}}, fmt.Sprint("late", i)); err != nil {
			t.Fatal(err)
		}
	}
	rows, _, err = st.Find(t.Context(), Filter{}, Page{Limit: 10, After: next})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, r.SyncID)
	}
	if diff := cmp.Diff(want[10:20], got); diff != "" {
		t.Errorf("second page (-want +got):\n%s", diff)
	}
}

// A replay goes on with a sync that never ended: it stays one, in its place.
func TestASyncThatAReplayTakesUp(t *testing.T) {
	st := open(t)
	key := record.StripeSubscription("sub_1")
	r := ref("first", 0)
	id := event.Digest("sync", r.ID, key.String())
	later := 20 * 24 * time.Hour
	replay := event.Ref{ID: "again", Cause: event.CauseReplay, Delivery: "replay/20270125T120000Z-0001", At: noon.Add(later), Received: noon.Add(later)}
	of := func(e *event.Event) { e.Key = key }
	s := &story{tb: t}
	s.add(id, event.Planned, "", 1, time.Second, of, r, ref("second", time.Second))
	s.add(id, event.Done, event.InSync, 1, later+time.Second, of, replay, r, ref("second", time.Second))
	s.add("between", event.Done, event.InSync, 1, later/2, nil, ref("between", later/2))
	tell(t, st, s.events)
	rows, next, err := st.Find(t.Context(), Filter{}, Page{Limit: 2})
	if err != nil || next != "" || len(rows) != 2 {
		t.Fatalf("%d rows, next %q, %v", len(rows), next, err)
	}
	if got := rows[1]; rows[0].SyncID != "between" || got.SyncID != id || got.Outcome != event.Applied || !got.Recovered || !got.Received.Equal(r.Received) || got.Delivery != r.Delivery {
		t.Errorf("%+v", rows)
	}
	// A replay's sync of its own is where the replay is, whoever else joined it.
	for name, e := range map[string]event.Event{
		"alone":  {SyncID: "s", Key: key, Triggers: []event.Ref{replay}},
		"joined": {SyncID: event.Digest("sync", replay.ID, key.String()), Key: key, Triggers: []event.Ref{replay, r}},
	} {
		if got := began(&e); !got.Equal(replay.Received) {
			t.Errorf("%s: began %v", name, got)
		}
	}
}

func TestRowsOfFind(t *testing.T) {
	st := open(t)
	tell(t, st, everyday(t))
	rows, next, err := st.Find(t.Context(), Filter{SyncIDs: []string{"waiting", "swept", "flying", "pair1"}}, Page{})
	if err != nil || next != "" {
		t.Fatal(next, err)
	}
	second, sub := time.Second, record.StripeSubscription
	source := func(offset int64) event.Coordinates {
		return event.Coordinates{Topic: "billing.stripe.events", Partition: 1, Offset: offset}
	}
	want := []SyncRow{
		{
			SyncID: "swept", Key: sub("sub_swept"), Outcome: event.Applied, Cause: event.CauseStripe, Origin: event.OriginStripe, Mode: "write",
			Received: noon.Add(12*time.Minute + 100*time.Millisecond), At: noon.Add(12*time.Minute + second), Attempts: 1, Changes: 1, Related: []string{"cus-1", "sub-1"},
			Triggers: []string{"swept"}, Type: "invoice.paid", Delivery: "evt_swept", Source: source(720),
		},
		{
			SyncID: "pair1", Key: sub("sub_pair1"), Outcome: event.Applied, Reason: event.ReasonDriftRepaired, Cause: event.CauseStripe, Origin: event.OriginStripe, Mode: "write",
			Received: noon.Add(11100 * time.Millisecond), At: noon.Add(65 * second), Attempts: 1, Changes: 1, Recovered: true,
			Triggers: []string{"pair1", "pair2"}, Type: "invoice.paid", Delivery: "evt_pair1", Source: source(11),
		},
		{
			SyncID: "waiting", Key: sub("sub_waiting"), Outcome: event.Deferred, Reason: event.ReasonRateLimited, Cause: event.CauseStripe, Origin: event.OriginStripe, Mode: "write",
			Received: noon.Add(9100 * time.Millisecond), At: noon.Add(9 * second), Next: noon.Add(5 * time.Minute), Attempts: 1,
			Triggers: []string{"waiting"}, Type: "invoice.paid", Delivery: "evt_waiting", Source: source(9),
		},
		{
			SyncID: "flying", Key: sub("sub_flying"), Cause: event.CauseStripe, Origin: event.OriginStripe, Mode: "write",
			Received: noon.Add(5100 * time.Millisecond), At: noon.Add(5 * second), Attempts: 1, Changes: 1,
			Triggers: []string{"flying"}, Type: "invoice.paid", Delivery: "evt_flying", Source: source(5),
		},
	}
	if diff := cmp.Diff(want, rows, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFilterValidate(t *testing.T) {
	if err := (Filter{Outcomes: []event.Outcome{"", event.Failed}, ReceivedSince: noon, ReceivedUntil: noon.Add(1)}).Validate(); err != nil {
		t.Error(err)
	}
	err := Filter{Outcomes: []event.Outcome{"done"}, Keys: []string{""}, SyncIDs: slices.Repeat([]string{"x"}, mostValues+1), AtSince: noon, AtUntil: noon}.Validate()
	for _, want := range []string{`outcome "done"`, "keys has an empty value", "sync_ids has 5001 values", "no time at all"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word about %q in: %v", want, err)
		}
	}
	if fault.Of(err) != fault.Refused {
		t.Errorf("class %s", fault.Of(err))
	}
	err = DeadFilter{States: []string{"gone"}, IDs: slices.Repeat([]string{"x"}, mostValues+1), Since: noon, Until: noon}.Validate()
	for _, want := range []string{`state "gone"`, "5001 values", "no time at all"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word about %q in: %v", want, err)
		}
	}
	st := open(t)
	for _, after := range []string{"?", "bm9uZQ", "MSwy"} {
		if _, _, err := st.Find(t.Context(), Filter{}, Page{After: after}); fault.Of(err) != fault.Refused {
			t.Errorf("after %q: %v", after, err)
		}
	}
	if rows, next, err := st.Find(t.Context(), Filter{}, Page{}); len(rows) != 0 || next != "" || err != nil {
		t.Errorf("of an empty log: %v, %q, %v", rows, next, err)
	}
}
