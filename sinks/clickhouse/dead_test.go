package clickhouse

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/event"
	"hotsync/internal/fault"
)

// bury loads dead letters as messages of two partitions, in this order, twice
// each.
func bury(tb testing.TB, st *Store, offset int64, letters ...event.DeadLetter) {
	tb.Helper()
	b := newBatch(DeadLetters)
	for i, d := range letters {
		b.add(event.Message{Coordinates: event.Coordinates{Topic: "hotsync.dead", Partition: len(d.Key) % 2, Offset: offset + int64(i)}, Key: []byte(d.Key), Value: encode(tb, d), Time: noon})
	}
	_, rows := b.byMonth()
	for m, s := range rows {
		for i := range 2 { // as if a token had failed
			if err := st.insert(tb.Context(), b.rows, s, fmt.Sprintf("dead-%d-%d-%d", offset, m, i)); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// lives are dead letters and what became of them.
func lives() (bad, work event.DeadLetter, all []event.DeadLetter) {
	bad = event.DeadLetter{
		Source: event.Coordinates{Topic: "auth.logins", Partition: 3, Offset: 17}, Key: "login:message:1", Reason: event.ReasonUndecodable, Class: "refused", Error: "unexpected END",
		Attempts: 1, First: noon, Last: noon, Headers: map[string]string{"a": "b"}, Original: bytes.Repeat([]byte("x"), 5000), SyncID: "s0",
	}
	work = event.DeadLetter{
		Source: event.Coordinates{Topic: "billing.stripe.events", Offset: 18}, Key: "stripe:subscription:sub_1", Reason: event.ReasonExhausted, Class: "unavailable", Error: "limio is away",
		Attempts: 9, First: noon, Last: noon.Add(time.Hour), SyncID: "s1",
		Trigger: &event.Trigger{ID: "t1", Cause: event.CauseStripe, Origin: event.OriginStripe, Type: "invoice.paid", Delivery: "evt_1", At: noon, Received: noon.Add(time.Second)},
	}
	other := work
	other.Source.Offset, other.SyncID, other.Key = 19, "s2", "stripe:subscription:sub_2"
	decided := func(d event.DeadLetter, state string, after time.Duration) event.DeadLetter {
		d.State, d.By, d.Why, d.At = state, "ann", "limio is back", noon.Add(after)
		d.Trigger, d.Original, d.Headers = nil, nil, nil
		d.Identify()
		return d
	}
	again := work
	again.Last, again.Error, again.Attempts = noon.Add(3*time.Hour), "limio is away again", 18
	return bad, again, []event.DeadLetter{
		bad, work, other,
		decided(work, event.DeadReplayed, 2*time.Hour),
		decided(other, event.DeadReplayed, 2*time.Hour),
		decided(other, event.DeadDiscarded, 4*time.Hour),
		again, // it was replayed, and given up again
	}
}

func TestDead(t *testing.T) {
	st := open(t)
	bad, work, all := lives()
	bury(t, st, 100, all...)
	rows, next, err := st.Dead(t.Context(), DeadFilter{}, Page{})
	if err != nil || next != "" {
		t.Fatal(next, err)
	}
	trigger := work.Trigger.Ref()
	trigger.Source = event.Coordinates{}
	letter := func(key string, offset int64) event.Coordinates {
		return event.Coordinates{Topic: "hotsync.dead", Partition: len(key) % 2, Offset: offset}
	}
	badRow := DeadRow{
		ID: bad.Identity(), State: DeadOpen, Source: bad.Source, Key: bad.Key, Reason: bad.Reason, Class: "refused", Error: bad.Error, Attempts: 1,
		First: noon, Last: noon, SyncID: "s0", Size: 5000, Letter: letter(bad.Key, 100),
	}
	want := []DeadRow{
		{
			ID: work.Identity(), State: DeadOpen, Work: true, Source: work.Source, Key: work.Key, Reason: work.Reason, Class: "unavailable", Error: "limio is away again", Attempts: 18,
			First: noon, Last: noon.Add(3 * time.Hour), SyncID: "s1", Trigger: trigger, Letter: letter(work.Key, 106),
		},
		{
			ID: event.Digest("dead", "billing.stripe.events/0/19", "s2"), State: event.DeadDiscarded, By: "ann", Why: "limio is back", At: noon.Add(4 * time.Hour),
			Work: true, Source: event.Coordinates{Topic: "billing.stripe.events", Offset: 19}, Key: "stripe:subscription:sub_2", Reason: work.Reason, Class: "unavailable", Error: "limio is away", Attempts: 9,
			First: noon, Last: noon.Add(time.Hour), SyncID: "s2", Trigger: trigger, Letter: letter(work.Key, 102),
		},
		badRow,
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	badRow.Headers, badRow.Original = bad.Headers, bad.Original[:keepOriginal]
	one, err := st.DeadLetter(t.Context(), bad.Identity())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(badRow, one); diff != "" {
		t.Errorf("one (-want +got):\n%s", diff)
	}
	if _, err := st.DeadLetter(t.Context(), "nobody"); fault.Of(err) != fault.NotFound {
		t.Errorf("a letter that there is not: %v", err)
	}
}

func TestDeadFilter(t *testing.T) {
	st := open(t)
	_, _, all := lives()
	bury(t, st, 100, all...)
	for name, c := range map[string]struct {
		filter DeadFilter
		want   []string // sync ids
	}{
		"all":      {DeadFilter{}, []string{"s1", "s2", "s0"}},
		"open":     {DeadFilter{States: []string{DeadOpen}}, []string{"s1", "s0"}},
		"decided":  {DeadFilter{States: []string{event.DeadReplayed, event.DeadDiscarded}}, []string{"s2"}},
		"replayed": {DeadFilter{States: []string{event.DeadReplayed}}, nil},
		"id":       {DeadFilter{IDs: []string{all[0].Identity(), "x"}}, []string{"s0"}},
		"reason":   {DeadFilter{Reasons: []event.Reason{event.ReasonUndecodable}}, []string{"s0"}},
		"class":    {DeadFilter{Classes: []string{"unavailable"}}, []string{"s1", "s2"}},
		"cause":    {DeadFilter{Causes: []event.Cause{event.CauseStripe}}, []string{"s1", "s2"}},
		"topic":    {DeadFilter{Topics: []string{"auth.logins"}}, []string{"s0"}},
		"key":      {DeadFilter{Keys: []string{"stripe:subscription:sub_2"}}, []string{"s2"}},
		"text":     {DeadFilter{Text: "unexpected end"}, []string{"s0"}},
		"since":    {DeadFilter{Since: noon.Add(time.Hour)}, []string{"s1", "s2"}},
		"until":    {DeadFilter{Until: noon.Add(time.Hour)}, []string{"s0"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, limit := range []int{1, 2, 100} {
				var got []string
				page := Page{Limit: limit}
				for {
					rows, next, err := st.Dead(t.Context(), c.filter, page)
					if err != nil {
						t.Fatal(err)
					}
					for _, r := range rows {
						got = append(got, r.SyncID)
					}
					if next == "" {
						break
					}
					page.After = next
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("in pages of %d (-want +got):\n%s", limit, diff)
				}
			}
			if n, err := st.DeadCount(t.Context(), c.filter); err != nil || int(n) != len(c.want) {
				t.Errorf("counted %d, %v, want %d", n, err, len(c.want))
			}
		})
	}
}

// Rows that were written before letters had ids get the same ones, so that what
// is decided about them has its effect.
func TestDeadLettersOfBefore(t *testing.T) {
	st := open(t)
	_, _, all := lives()
	other := all[2]
	bury(t, st, 100, all[:3]...)
	if err := session(t, st).Exec(t.Context(), "ALTER TABLE dead_letters UPDATE dead_id = '' WHERE 1 SETTINGS mutations_sync = 1"); err != nil {
		t.Fatal(err)
	}
	if n := count(t, st, "SELECT count() AS x FROM dead_letters WHERE dead_id = ''"); n == 0 {
		t.Fatal("no row is as it was before")
	}
	for _, d := range all[:3] {
		row, err := st.DeadLetter(t.Context(), d.Identity())
		if err != nil || row.SyncID != d.SyncID {
			t.Errorf("letter of sync %s: %+v, %v", d.SyncID, row, err)
		}
	}
	other.State, other.At = event.DeadDiscarded, noon.Add(5*time.Hour)
	other.Identify()
	bury(t, st, 200, other)
	if row, err := st.DeadLetter(t.Context(), other.ID); err != nil || row.State != event.DeadDiscarded {
		t.Errorf("%+v, %v", row, err)
	}
}
