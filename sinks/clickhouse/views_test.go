package clickhouse

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/event"
	"hotsync/record"
)

var update = flag.Bool("update", false, "write golden files")

var noon = time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC)

// story makes the events of a sync.
type story struct {
	tb     testing.TB
	events []event.Event
}

func ref(name string, after time.Duration) event.Ref {
	return event.Ref{
		ID: name, Cause: event.CauseStripe, Origin: event.OriginStripe, Type: "invoice.paid", Delivery: "evt_" + name,
		Source: event.Coordinates{Topic: "billing.stripe.events", Partition: 1, Offset: int64(after / time.Second)}, At: noon.Add(after), Received: noon.Add(after + 100*time.Millisecond),
	}
}

func (s *story) add(sync string, phase event.Phase, outcome event.Outcome, attempt int, after time.Duration, change func(*event.Event), triggers ...event.Ref) {
	s.tb.Helper()
	e := event.Event{
		SyncID: sync, Phase: phase, At: noon.Add(after), Outcome: outcome, Key: record.StripeSubscription("sub_" + sync),
		Cause: event.CauseStripe, Origin: event.OriginStripe, Mode: "write", Triggers: triggers, Attempt: attempt, Instance: "a", Build: "test",
	}
	if phase == event.Done {
		e.Callouts = []event.Callout{{At: e.At, Service: "stripe", Method: "GET", Route: "/v1/subscriptions/{id}", Status: 200, Duration: 30}}
		e.Worked = 50
	}
	if change != nil {
		change(&e)
	}
	if err := e.Identify(); err != nil {
		s.tb.Fatal(err)
	}
	s.events = append(s.events, e)
}

func reason(r event.Reason) func(*event.Event) { return func(e *event.Event) { e.Reason = r } }

func changes(c ...record.Change) func(*event.Event) {
	return func(e *event.Event) {
		e.Changes = c
		if e.Outcome == event.Applied {
			e.Reason = event.ReasonDriftRepaired
		}
	}
}

func status(before, after string) record.Change {
	return record.Change{Object: record.SubscriptionType, ID: "sub-1", Field: "status", Op: record.OpUpdate, Before: record.Text(before), After: record.Text(after)}
}

// stories are all the ways a sync and its triggers can go, crashes included.
func stories(tb testing.TB) []event.Event {
	s := &story{tb: tb}
	sec := time.Second
	// A plain one.
	s.add("applied", event.Planned, "", 1, 1*sec, changes(status("pending", "active")), ref("applied", sec))
	s.add("applied", event.Done, event.Applied, 1, 2*sec, changes(status("pending", "active")), ref("applied", sec))
	// Killed between its two phases; the second time there was nothing to do.
	s.add("recovered", event.Planned, "", 1, 2*sec, changes(status("pending", "active")), ref("recovered", 2*sec))
	s.add("recovered", event.Done, event.InSync, 1, 60*sec, reason(event.ReasonEqual), ref("recovered", 2*sec))
	// Killed after its event was durable and before its offset was.
	s.add("repeated", event.Planned, "", 1, 3*sec, changes(status("pending", "active")), ref("repeated", 3*sec))
	s.add("repeated", event.Done, event.Applied, 1, 4*sec, changes(status("pending", "active")), ref("repeated", 3*sec))
	s.add("repeated", event.Done, event.InSync, 1, 61*sec, reason(event.ReasonEqual), ref("repeated", 3*sec))
	// Half written, killed, planned again with what was left.
	s.add("halves", event.Planned, "", 1, 4*sec, changes(status("pending", "active"), record.Change{Object: record.Customer, ID: "cus-1", Field: "name", Op: record.OpUpdate, Before: record.Null, After: record.Text("A•••")}), ref("halves", 4*sec))
	s.add("halves", event.Planned, "", 1, 62*sec, changes(status("pending", "active")), ref("halves", 4*sec))
	s.add("halves", event.Done, event.Applied, 1, 63*sec, changes(status("pending", "active")), ref("halves", 4*sec))
	// In flight.
	s.add("flying", event.Planned, "", 1, 5*sec, changes(status("pending", "active")), ref("flying", 5*sec))
	// Deferred, then applied.
	s.add("late", event.Done, event.Deferred, 1, 6*sec, func(e *event.Event) { e.Reason, e.Next = event.ReasonLocked, noon.Add(5*time.Minute) }, ref("late", 6*sec))
	s.add("late", event.Planned, "", 2, 300*sec, changes(status("pending", "active")), ref("late", 6*sec))
	s.add("late", event.Done, event.Applied, 2, 301*sec, changes(status("pending", "active")), ref("late", 6*sec))
	// Deferred after a write; the next attempt finds nothing left.
	s.add("cut", event.Planned, "", 1, 7*sec, changes(status("pending", "active")), ref("cut", 7*sec))
	s.add("cut", event.Done, event.Deferred, 1, 8*sec, reason(event.ReasonUnknownOutcome), ref("cut", 7*sec))
	s.add("cut", event.Done, event.InSync, 2, 308*sec, reason(event.ReasonEqual), ref("cut", 7*sec))
	// Deferred, and waiting.
	s.add("waiting", event.Done, event.Deferred, 1, 9*sec, func(e *event.Event) { e.Reason, e.Next = event.ReasonRateLimited, noon.Add(5*time.Minute) }, ref("waiting", 9*sec))
	// Deferred, delivered again and found equal, then again by its retry.
	s.add("twice", event.Done, event.Deferred, 1, 10*sec, reason(event.ReasonLocked), ref("twice", 10*sec))
	s.add("twice", event.Done, event.InSync, 1, 64*sec, reason(event.ReasonEqual), ref("twice", 10*sec))
	s.add("twice", event.Done, event.InSync, 2, 310*sec, reason(event.ReasonFingerprint), ref("twice", 10*sec))
	// Two triggers in one sync; after a crash each gets its own.
	s.add("pair1", event.Planned, "", 1, 11*sec, changes(status("pending", "active")), ref("pair1", 11*sec), ref("pair2", 12*sec))
	s.add("pair1", event.Done, event.InSync, 1, 65*sec, reason(event.ReasonEqual), ref("pair1", 11*sec))
	s.add("pair2", event.Done, event.InSync, 1, 66*sec, reason(event.ReasonEqual), ref("pair2", 12*sec))
	// As above, but the first sync had ended.
	s.add("both1", event.Planned, "", 1, 13*sec, changes(status("pending", "active")), ref("both1", 13*sec), ref("both2", 14*sec))
	s.add("both1", event.Done, event.Applied, 1, 15*sec, changes(status("pending", "active")), ref("both1", 13*sec), ref("both2", 14*sec))
	s.add("both1", event.Done, event.InSync, 1, 67*sec, reason(event.ReasonEqual), ref("both1", 13*sec))
	s.add("both2", event.Done, event.InSync, 1, 68*sec, reason(event.ReasonEqual), ref("both2", 14*sec))
	// Failed for good, suppressed, ignored.
	s.add("failed", event.Planned, "", 1, 16*sec, changes(status("pending", "active")), ref("failed", 16*sec))
	s.add("failed", event.Done, event.Failed, 1, 17*sec, func(e *event.Event) {
		e.Reason, e.Class, e.Error = event.ReasonForbidden, "forbidden", "limio answered 403"
		e.Callouts[0].Status = 403
	}, ref("failed", 16*sec))
	s.add("suppressed", event.Done, event.Suppressed, 1, 18*sec, func(e *event.Event) {
		e.Reason, e.Origin, e.Changes = event.ReasonOrigin, event.OriginShop, []record.Change{status("active", "cancelled")}
	}, ref("suppressed", 18*sec))
	s.add("ignored", event.Done, event.Skipped, 1, 19*sec, reason(event.ReasonNoClaim), ref("ignored", 19*sec))
	return s.events
}

// tell loads events as messages in this order, with every row there twice in
// parts that are not merged, as if tokens had failed.
func tell(tb testing.TB, st *Store, events []event.Event) {
	tb.Helper()
	if err := session(tb, st).Exec(tb.Context(), "SYSTEM STOP MERGES sync_events"); err != nil {
		tb.Fatal(err)
	}
	b := newBatch(Events)
	for i, e := range events {
		b.add(message(tb, e, int64(i)))
	}
	if len(b.bad) > 0 {
		tb.Fatal(b.bad[0].err)
	}
	_, rows := b.byMonth()
	for m, s := range rows {
		for i := range 2 {
			if err := st.insert(tb.Context(), b.rows, s, fmt.Sprintf("%d-%d", m, i)); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// lines returns the rows of a query with their columns joined by blanks.
func lines(tb testing.TB, st *Store, query string) []string {
	tb.Helper()
	rows, err := session(tb, st).Query(context.Background(), "SELECT arrayStringConcat(arrayMap(x -> x, x), ' ') FROM ("+query+")")
	if err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			tb.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	return out
}

const syncLines = `SELECT [sync_id, if(outcome = '', '-', toString(outcome)), if(reason = '', '-', toString(reason)), 'attempts=' || toString(attempts), 'changes=' || toString(change_count),
	'callouts=' || toString(callouts), if(recovered, 'recovered', '-'), if(isNull(latency_ms), '-', toString(latency_ms)), 'triggers=' || arrayStringConcat(trigger_ids, ',')] AS x FROM syncs ORDER BY received, sync_id`

const triggerLines = `SELECT [trigger_id, sync_id, if(outcome = '', '-', toString(outcome)), if(reason = '', '-', toString(reason)), if(recovered, 'recovered', '-'), if(isNull(latency_ms), '-', toString(latency_ms))] AS x FROM trigger_outcomes ORDER BY received, trigger_id`

// Invariant 4, and 6: whatever order messages are in, however often they are
// there, whatever is merged.
func TestViews(t *testing.T) {
	wantSyncs := []string{
		"applied applied drift_repaired attempts=1 changes=1 callouts=1 - 900 triggers=applied",
		"recovered applied drift_repaired attempts=1 changes=1 callouts=1 recovered 57900 triggers=recovered",
		"repeated applied drift_repaired attempts=1 changes=1 callouts=2 - 900 triggers=repeated",
		"halves applied drift_repaired attempts=1 changes=2 callouts=1 - 58900 triggers=halves",
		"flying - - attempts=1 changes=1 callouts=0 - - triggers=flying",
		"late applied drift_repaired attempts=2 changes=1 callouts=2 - 294900 triggers=late",
		"cut applied drift_repaired attempts=2 changes=1 callouts=2 recovered 300900 triggers=cut",
		"waiting deferred rate_limited attempts=1 changes=0 callouts=1 - - triggers=waiting",
		"twice in_sync fingerprint attempts=2 changes=0 callouts=3 - 299900 triggers=twice",
		"pair1 applied drift_repaired attempts=1 changes=1 callouts=1 recovered 53900 triggers=pair1,pair2",
		"pair2 in_sync equal attempts=1 changes=0 callouts=1 - 53900 triggers=pair2",
		"both1 applied drift_repaired attempts=1 changes=1 callouts=2 - 1900 triggers=both1,both2",
		"both2 in_sync equal attempts=1 changes=0 callouts=1 - 53900 triggers=both2",
		"failed failed forbidden attempts=1 changes=1 callouts=1 - 900 triggers=failed",
		"suppressed suppressed origin attempts=1 changes=1 callouts=1 - 0 triggers=suppressed",
		"ignored skipped no_claim attempts=1 changes=0 callouts=1 - 0 triggers=ignored",
	}
	wantTriggers := []string{
		"applied applied applied drift_repaired - 900",
		"recovered recovered applied drift_repaired recovered 57900",
		"repeated repeated applied drift_repaired - 900",
		"halves halves applied drift_repaired - 58900",
		"flying flying - - - -",
		"late late applied drift_repaired - 294900",
		"cut cut applied drift_repaired recovered 300900",
		"waiting waiting deferred rate_limited - -",
		"twice twice in_sync fingerprint - 299900",
		"pair1 pair1 applied drift_repaired recovered 53900",
		"pair2 pair1 applied drift_repaired recovered 53900",
		"both1 both1 applied drift_repaired - 1900",
		"both2 both1 applied drift_repaired - 900",
		"failed failed failed forbidden - 900",
		"suppressed suppressed suppressed origin - 0",
		"ignored ignored skipped no_claim - 0",
	}
	check := func(t *testing.T, st *Store) {
		t.Helper()
		if diff := cmp.Diff(wantSyncs, lines(t, st, syncLines)); diff != "" {
			t.Errorf("syncs (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(wantTriggers, lines(t, st, triggerLines)); diff != "" {
			t.Errorf("trigger_outcomes (-want +got):\n%s", diff)
		}
	}
	st := open(t)
	events := stories(t)
	tell(t, st, events)
	if n := count(t, st, "SELECT count() AS x FROM sync_events"); n != int64(2*len(events)) {
		t.Fatalf("%d rows, want each of %d twice", n, len(events))
	}
	check(t, st)
	wantUsage := []string{"stripe GET /v1/subscriptions/{id} 21 1 0"}
	usage := "SELECT [toString(service), toString(method), toString(route), toString(sum(calls)), toString(sum(errors)), toString(sum(rate_limited))] AS x FROM api_usage GROUP BY service, method, route"
	if diff := cmp.Diff(wantUsage, lines(t, st, usage)); diff != "" {
		t.Errorf("api_usage (-want +got):\n%s", diff)
	}
	for _, statement := range []string{"SYSTEM START MERGES sync_events", "OPTIMIZE TABLE sync_events FINAL"} {
		if err := session(t, st).Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, st, "SELECT count() AS x FROM sync_events"); n != int64(len(events)) {
		t.Errorf("%d rows once merged, want one of each of %d messages", n, len(events))
	}
	check(t, st)
	if diff := cmp.Diff(wantUsage, lines(t, st, usage)); diff != "" {
		t.Errorf("api_usage once merged (-want +got):\n%s", diff)
	}
}

// Events reach the table in the order of their partition, but a view must not
// need that of rows: parts are read in any order.
func TestViewsInAnyOrderOfRows(t *testing.T) {
	st := open(t)
	b := newBatch(Events)
	for i, e := range stories(t) {
		b.add(message(t, e, int64(i)))
	}
	want := func() []string {
		if err := st.insert(t.Context(), b.rows, spans{{0, len(b.source)}}, "all"); err != nil {
			t.Fatal(err)
		}
		return append(lines(t, st, syncLines), lines(t, st, triggerLines)...)
	}()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		if err := session(t, st).Exec(t.Context(), "TRUNCATE TABLE sync_events"); err != nil {
			t.Fatal(err)
		}
		for _, i := range rng.Perm(len(b.source)) { // a part for every row
			if err := st.insert(t.Context(), b.rows, spans{{i, i + 1}}, fmt.Sprint("row", i)); err != nil {
				t.Fatal(err)
			}
		}
		got := append(lines(t, st, syncLines), lines(t, st, triggerLines)...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-in order +shuffled):\n%s", diff)
		}
	}
}

// Names and types of tables and views are public contract.
func TestContract(t *testing.T) {
	st := open(t)
	var out strings.Builder
	for _, table := range []string{"sync_events", "dead_letters", "syncs", "trigger_outcomes", "sync_changes", "sync_daily", "drift_by_field", "api_usage", "sweep_runs", "lost_events", "dead"} {
		fmt.Fprintf(&out, "%s\n", table)
		for _, l := range lines(t, st, "SELECT ['   ', name, type] AS x FROM system.columns WHERE database = '"+st.Database()+"' AND table = '"+table+"' ORDER BY position") {
			fmt.Fprintln(&out, l)
		}
	}
	golden := filepath.Join("testdata", "contract.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("the contract changed (-want +got); if that is meant, run with -update and say so in the change log:\n%s", diff)
	}
}

func TestReport(t *testing.T) {
	st := open(t)
	empty, err := st.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Report{Outcomes: map[string]int64{}, Reasons: map[string]int64{}}, empty); diff != "" {
		t.Errorf("empty (-want +got):\n%s", diff)
	}
	events := stories(t)
	tell(t, st, slices.Delete(slices.Clone(events), 8, 9)) // offsets move up: what is missing is missing at the end
	checks, err := st.Verify(t.Context(), "hotsync.events", map[int]Range{0: {0, int64(len(events))}, 7: {5, 5}})
	if err != nil {
		t.Fatal(err)
	}
	n := int64(len(events))
	want := []PartitionCheck{
		{Topic: "hotsync.events", Partition: 0, Range: Range{0, n}, Expected: n, Found: n - 1, Lost: 1, Duplicates: n - 1, Gaps: []Range{{n - 1, n}}},
		{Topic: "hotsync.events", Partition: 7, Range: Range{5, 5}},
	}
	if diff := cmp.Diff(want, checks); diff != "" {
		t.Errorf("verify (-want +got):\n%s", diff)
	}
	// The sources were offsets 1 to 19 of partition 1, less 8, 15 and 17.
	checks, err = st.VerifySource(t.Context(), "billing.stripe.events", map[int]Range{1: {1, 20}})
	if err != nil {
		t.Fatal(err)
	}
	want = []PartitionCheck{{Topic: "billing.stripe.events", Partition: 1, Range: Range{1, 20}, Expected: 19, Found: 16, Lost: 3, Gaps: []Range{{8, 9}, {15, 16}, {17, 18}}}}
	if diff := cmp.Diff(want, checks); diff != "" {
		t.Errorf("verify source (-want +got):\n%s", diff)
	}
	report, err := st.Report(t.Context(), checks...)
	if err != nil {
		t.Fatal(err)
	}
	if report.Triggers != 16 || report.Unanswered != 1 || report.Outcomes["applied"] != 10 || report.Reasons["drift_repaired"] != 10 || report.Lost != 3 || report.LatencyMS.P99 <= report.LatencyMS.P50 {
		t.Errorf("report %+v", report)
	}
	if n, err := st.ShownTwice(t.Context()); err != nil || n != 0 {
		t.Errorf("shown twice: %d, %v", n, err)
	}
	answered := 0
	if err := st.Answered(t.Context(), func(string) { answered++ }); err != nil || answered != 14 {
		t.Errorf("answered: %d, %v, want 14", answered, err)
	}
	if n, reasons, err := st.Deferred(t.Context()); err != nil || n != 4 || reasons["locked"] != 2 {
		t.Errorf("deferred: %d, %v, %v", n, reasons, err)
	}
	for since, want := range map[time.Time]int64{{}: 1, noon: 1, noon.Add(6 * time.Second): 0} {
		if n, err := st.UnansweredTriggers(t.Context(), since); err != nil || n != want {
			t.Errorf("unanswered since %v: %d, %v, want %d", since, n, err, want)
		}
	}
}
