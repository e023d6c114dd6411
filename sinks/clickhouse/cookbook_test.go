package clickhouse

import (
	"os"
	"path/filepath"
	"regexp"
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
	return s.events
}

func TestCookBook(t *testing.T) {
	all := recipes(t)
	if len(all) < 15 {
		t.Fatalf("%d recipes were read from docs/sql.md, want at least 15", len(all))
	}
	st := open(t)
	tell(t, st, everyday(t))
	dead := newBatch(DeadLetters)
	for i, v := range deadLetters(t) {
		dead.add(event.Message{Coordinates: event.Coordinates{Topic: "hotsync.dead", Offset: int64(i)}, Value: v, Time: noon})
	}
	if err := st.insert(t.Context(), dead.rows, spans{{0, 3}}, "dead"); err != nil {
		t.Fatal(err)
	}
	conn := session(t, st)
	ctx := ch.Context(t.Context(), ch.WithParameters(ch.Parameters{
		"since": "2026-12-31", "key": "stripe:subscription:sub_late", "id": "sub-1", "limio_id": "sub-1", "delivery": "evt_pair2", "at_least_ms": "20",
	}))
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
			if n == 0 {
				t.Error("no row")
			}
			if diff := cmp.Diff(r.columns, rows.Columns()); diff != "" {
				t.Errorf("columns (-page +server):\n%s", diff)
			}
		})
	}
}
