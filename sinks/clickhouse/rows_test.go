package clickhouse

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/event"
)

// A row holds everything that its event says.
func TestRowHoldsTheEvent(t *testing.T) {
	st := open(t)
	e := sample(7)
	e.Outcome, e.Reason, e.Next = event.Deferred, event.ReasonLocked, e.At.Add(time.Minute)
	e.Class, e.Error, e.Callouts[1].Status, e.Callouts[1].Error = "locked", "limio is busy: 世界", 0, "connection reset"
	e.Plan, e.Stats = "feed", map[string]int64{"pages": 3, "listed": 300, "calls.zuora": -1}
	tell(t, st, []event.Event{e})
	got := lines(t, st, `SELECT [id, sync_id, toString(phase), toString(at), toString(received), toString(outcome), toString(reason), note, key, toString(key_system), toString(key_kind), key_id,
		toString(related), toString(cause), toString(origin), toString(mode), toString(attempt), toString(next),
		toString(triggers.id), toString(triggers.cause), toString(triggers.origin), toString(triggers.type), toString(triggers.delivery), toString(triggers.topic), toString(triggers.partition), toString(triggers.offset), toString(triggers.at), toString(triggers.received),
		toString(changes.object), toString(changes.id), toString(changes.ref), toString(changes.field), toString(changes.op), toString(changes.before), toString(changes.after),
		toString(callouts.at), toString(callouts.service), toString(callouts.method), toString(callouts.route), toString(callouts.status), toString(callouts.ms), toString(callouts.error),
		toString(error_class), error, toString(waited_ms), toString(worked_ms), toString(instance), toString(build), toString(format), plan, toString(stats), toString(_topic), toString(_partition), toString(_offset)] AS x FROM sync_events LIMIT 1`)
	want := []string{strings.Join([]string{
		e.ID, e.SyncID, "done 2027-01-05 12:00:00.519 2027-01-05 12:00:00.159 deferred locked", e.Note, "stripe:subscription:sub_1N0000007 stripe subscription sub_1N0000007",
		"['sub-000007','cus-1'] stripe stripe write 1 2027-01-05 12:01:00.519",
		"['" + e.SyncID + "'] ['stripe'] ['stripe'] ['invoice.paid'] ['evt_7'] ['billing.stripe.events'] [3] [1] ['2027-01-05 12:00:00.119'] ['2027-01-05 12:00:00.159']",
		`['subscription','schedule'] ['sub-1','sch-1'] ['','in_1'] ['status','data.amount'] ['update','update'] ['"pending"','12'] ['"active"','14']`,
		"['2027-01-05 12:00:00.219','2027-01-05 12:00:00.319','2027-01-05 12:00:00.419'] ['stripe','stripe','limio'] ['GET','GET','PUT'] ['/v1/subscriptions/{id}','/v1/invoices','/api/objects/limio/{type}/{id}'] [200,0,200] [80,70,90] ['','connection reset','']",
		"locked limio is busy: 世界 12 360 hotsync-0 v1.0.0 1 feed {'calls.zuora':-1,'listed':300,'pages':3} hotsync.events 0 0",
	}, " ")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDeadLetterRows(t *testing.T) {
	st := open(t)
	l, err := NewLoader(LoaderConfig{Store: st, Into: DeadLetters, Group: "loader", Flush: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var all []event.Message
	for i, v := range deadLetters(t) {
		all = append(all, event.Message{Coordinates: event.Coordinates{Topic: "hotsync.dead", Offset: int64(i)}, Key: []byte("k"), Value: v, Time: noon})
	}
	p := newFakePartition(all...)
	stop := start(t, l, p)
	eventually(t, "all is committed", committed(p, 3))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	got := lines(t, st, `SELECT [toString(_offset), toString(at), toString(source_topic), toString(source_offset), key, toString(reason), toString(error_class), toString(attempts), sync_id, trigger_id, toString(trigger_cause),
		toString(ifNull(toString(trigger_at), '-')), toString(headers), toString(length(original)), toString(original_bytes), dead_id, toString(state), by, why, toString(ifNull(toString(decided), '-'))] AS x FROM dead_letters ORDER BY _offset`)
	id := func(source, sync string) string { return event.Digest("dead", source, sync) }
	want := []string{
		"0 2027-01-05 12:00:00.000 auth.logins 17 zuora:account:1 undecodable  1    - {'a':'b'} 4096 5000 " + id("auth.logins/3/17", "") + "    -",
		"1 2027-01-05 13:00:00.000 billing.stripe.events 18 stripe:subscription:sub_1 exhausted unavailable 9 s1 t1 stripe 2027-01-05 12:00:00.000 {} 0 0 " + id("billing.stripe.events/0/18", "s1") + " discarded ann not worth it 2027-01-05 12:00:00.000",
		"2 2027-01-05 12:00:00.000 hotsync.dead 2 k undecodable  1    - {} 9 9 " + id("hotsync.dead/0/2", "") + "    -",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// deadLetters is a bad message, given-up work, and something else.
func deadLetters(tb testing.TB) [][]byte {
	tb.Helper()
	var out [][]byte
	for _, d := range []event.DeadLetter{
		{Source: event.Coordinates{Topic: "auth.logins", Partition: 3, Offset: 17}, Key: "zuora:account:1", Reason: event.ReasonUndecodable, Error: "unexpected end", Attempts: 1, First: noon, Last: noon, Headers: map[string]string{"a": "b"}, Original: make([]byte, 5000)},
		{
			Source: event.Coordinates{Topic: "billing.stripe.events", Offset: 18}, Key: "stripe:subscription:sub_1", Reason: event.ReasonExhausted, Class: "unavailable", Error: "limio is away", Attempts: 9, First: noon, Last: noon.Add(time.Hour), SyncID: "s1",
			Trigger: &event.Trigger{ID: "t1", Cause: event.CauseStripe, At: noon, Received: noon},
			State:   event.DeadDiscarded, By: "ann", Why: "not worth it", // without a time: that of its message
		},
	} {
		out = append(out, encode(tb, d))
	}
	return append(out, []byte("not json!"))
}
