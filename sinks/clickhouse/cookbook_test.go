package clickhouse

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"

	"hotsync/event"
	"hotsync/record"
)

// recipe is a question of docs/sql.md.
type recipe struct {
	title   string
	query   string
	columns []string
}

// recipes reads the page: a heading, a block of SQL, a line of columns.
func recipes(tb testing.TB) []recipe {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "sql.md"))
	if err != nil {
		tb.Fatal(err)
	}
	var out []recipe
	column := regexp.MustCompile("`([a-z0-9_]+)`")
	for section := range strings.SplitSeq(string(b), "\n### ") {
		title, rest, _ := strings.Cut(section, "\n")
		_, rest, ok := strings.Cut(rest, "```sql\n")
		if !ok {
			continue
		}
		query, rest, _ := strings.Cut(rest, "```")
		_, named, ok := strings.Cut(rest, "\nColumns: ")
		if !ok {
			tb.Fatalf("%s: no line of columns", title)
		}
		named, _, _ = strings.Cut(named, "\n")
		r := recipe{title: title, query: query}
		for _, m := range column.FindAllStringSubmatch(named, -1) {
			r.columns = append(r.columns, m[1])
		}
		out = append(out, r)
	}
	return out
}

// everyday is what a usual day leaves in the log beside stories.
func everyday(tb testing.TB) []event.Event {
	s := &story{tb: tb, events: stories(tb)}
	login := func(name string, after time.Duration) event.Ref {
		r := ref(name, after)
		r.Cause, r.Type, r.Source.Topic = event.CauseLogin, "login", "auth.logins"
		return r
	}
	minute := time.Minute
	s.add("login1", event.Done, event.Skipped, 1, 10*minute, func(e *event.Event) {
		e.Cause, e.Reason, e.Note = event.CauseLogin, event.ReasonNoMatch, "no account has Email__c = a@example.com"
		e.Key = record.ZuoraLookup("Email__c", "a@example.com")
	}, login("login1", 10*minute))
	s.add("observed", event.Done, event.Observed, 1, 11*minute, func(e *event.Event) {
		e.Reason, e.Mode, e.Changes = event.ReasonWouldApply, "observe", []record.Change{status("active", "cancelled")}
	}, ref("observed", 11*minute))
	s.add("swept", event.Planned, "", 1, 12*minute, changes(status("active", "cancelled")), ref("swept", 12*minute))
	s.add("swept", event.Done, event.Applied, 1, 12*minute+time.Second, func(e *event.Event) {
		e.Cause, e.Related, e.Changes = event.CauseSweep, []string{"sub-1", "cus-1"}, []record.Change{status("active", "cancelled")}
	}, ref("swept", 12*minute))
	s.add("flapping", event.Done, event.Suppressed, 1, 13*minute, reason(event.ReasonFlapping), ref("flapping", 13*minute))
	again := ref("again", 14*minute)
	again.Cause, again.Type, again.Delivery, again.Source = event.CauseReplay, "", replayID, event.Coordinates{}
	s.add("again", event.Done, event.InSync, 1, 14*minute, func(e *event.Event) { e.Cause, e.Reason = event.CauseReplay, event.ReasonEqual }, again)
	asked := again
	asked.ID, asked.Type = "asked", "summary"
	s.add("asked", event.Done, event.Skipped, 1, 13*minute, func(e *event.Event) {
		e.Cause, e.Reason, e.Note = event.CauseReplay, event.ReasonFannedOut, "asked for by ann: sync_id=failed"
		e.Key, e.Stats = record.Key{System: "replay", Kind: "run", ID: strings.TrimPrefix(replayID, "replay/")}, map[string]int64{"matched": 1, "scheduled": 1}
	}, asked)
	return append(s.events, sweeping(tb)...)
}

const replayID = "replay/20270105T121300.000Z-1a2b3c4d"

func TestCookBook(t *testing.T) {
	all := recipes(t)
	if len(all) < 15 {
		t.Fatalf("%d recipes were read from docs/sql.md, want at least 15", len(all))
	}
	st := open(t)
	tell(t, st, everyday(t))
	bad, _, dead := lives()
	bury(t, st, 0, dead...)
	conn := session(t, st)
	ctx := ch.Context(t.Context(), ch.WithParameters(ch.Parameters{
		"since": "2026-12-31", "key": "stripe:subscription:sub_late", "id": "sub-1", "limio_id": "sub-1", "delivery": "evt_pair2", "at_least_ms": "20",
		"run": runID, "replay": replayID, "before": "2027-01-06 00:00:00", "dead_id": bad.Identity(),
	}))
	// How many rows some of the answers have.
	exact := map[string]int{
		"Which differences were these?": 2, "Which failures has nothing repaired since?": 2, "Which work seems lost?": 4,
		"What would a plan write?": 2, "Which dead letters are still open?": 2, "What was decided about dead letters, by whom, and why?": 1,
		"What became of this webhook?": 1, "What became of a replay?": 1, "How did the last runs of the sweeps end?": 3,
	}
	for title := range exact {
		if !slices.ContainsFunc(all, func(r recipe) bool { return r.title == title }) {
			t.Errorf("the page has no question %q", title)
		}
	}
	for _, r := range all {
		t.Run(r.title, func(t *testing.T) {
			query := strings.ReplaceAll(r.query, "{since:DateTime}", "toDateTime({since:Date})") // one value for both
			rows, err := conn.Query(ctx, query)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = rows.Close() }()
			n := 0
			for rows.Next() {
				n++
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
			if want, ok := exact[r.title]; n == 0 || ok && n != want {
				t.Errorf("%d rows, want %d", n, want)
			}
			if diff := cmp.Diff(r.columns, rows.Columns()); diff != "" {
				t.Errorf("columns (-page +server):\n%s", diff)
			}
		})
	}
}
