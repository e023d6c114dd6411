package clickhouse

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"hotsync/embedded/embeddedtest"
	"hotsync/event"
	"hotsync/internal/fault"
)

func TestMigrateTwiceAndTogether(t *testing.T) {
	server := embeddedtest.ClickHouse(t)
	cfg := Config{Addr: []string{server.Addr}, Database: server.Database + "_new"}
	errs := make(chan error, 6)
	for range cap(errs) {
		st, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		go func() { errs <- st.Migrate(t.Context()) }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE IF EXISTS "+cfg.Database+" SYNC") })
	st, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	have, want, err := st.SchemaVersion(t.Context())
	if err != nil || have != want || want < 3 {
		t.Errorf("version %d of %d, %v", have, want, err)
	}
	tell(t, st, stories(t))
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, st, "SELECT count() AS x FROM syncs"); n != 16 {
		t.Errorf("%d syncs after migrating again, want 16", n)
	}
}

// A database of the first release gets what came later, and keeps its rows.
func TestMigrateFromTheFirstRelease(t *testing.T) {
	server := embeddedtest.ClickHouse(t)
	st, err := Open(Config{Addr: []string{server.Addr}, Database: server.Database})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	all, err := loadMigrations(schemaFiles)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all[:3] {
		texts, err := m.render(dialect{st.cfg.Database, ""})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.runAll(t.Context(), texts...); err != nil {
			t.Fatal(err)
		}
	}
	letter := deadLetters(t)[1]
	for _, insert := range []string{
		"INSERT INTO @sync_events (id, sync_id, phase, outcome, key, received, at, `triggers.id`, `triggers.received`, _topic, _version) VALUES ('e', 's', 'done', 'observed', 'stripe:subscription:sub_1', now64(3), now64(3), ['t'], [now64(3)], 'hotsync.events', 1)",
		"INSERT INTO @dead_letters (at, source_topic, source_offset, sync_id, key, error, _topic) VALUES (now64(3), 'billing.stripe.events', 18, 's1', 'stripe:subscription:sub_1', 'limio is away', 'hotsync.dead')",
	} {
		if err := session(t, st).Exec(t.Context(), st.in(insert)); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, _, err := st.Find(t.Context(), Filter{}, Page{})
	if err != nil || len(rows) != 1 || rows[0].Outcome != "observed" || rows[0].Plan != "" {
		t.Errorf("syncs %+v, %v", rows, err)
	}
	var d event.DeadLetter
	if err := json.Unmarshal(letter, &d); err != nil {
		t.Fatal(err)
	}
	if row, err := st.DeadLetter(t.Context(), d.Identity()); err != nil || row.State != DeadOpen || row.Error != "limio is away" {
		t.Errorf("dead letter %+v, %v", row, err)
	}
	tell(t, st, stories(t)) // by this build
	if n := count(t, st, "SELECT count() AS x FROM syncs"); n != 17 {
		t.Errorf("%d syncs, want 17", n)
	}
}

func TestMigrateRefusesAnEditedFile(t *testing.T) {
	st := open(t)
	if err := session(t, st).Exec(t.Context(), "INSERT INTO schema_migrations (version, name, checksum, applied) VALUES (1, 'sync_events', 'feed', now64(3) + 1)"); err != nil {
		t.Fatal(err)
	}
	if err := st.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "never changes") {
		t.Errorf("Migrate returned %v", err)
	}
}

func TestSchemaVersionOfNothing(t *testing.T) {
	server := embeddedtest.ClickHouse(t)
	for _, database := range []string{server.Database, server.Database + "_missing"} {
		st, err := Open(Config{Addr: []string{server.Addr}, Database: database})
		if err != nil {
			t.Fatal(err)
		}
		if have, want, err := st.SchemaVersion(t.Context()); have != 0 || want < 3 || err != nil {
			t.Errorf("%s: version %d of %d, %v", database, have, want, err)
		}
		if err := st.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := st.OutcomeCounts(t.Context()); fault.Of(err) != fault.NotFound {
			t.Errorf("outcomes of no table: %v, class %s", err, fault.Of(err))
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRetention(t *testing.T) {
	st := open(t)
	ttl := func() []string {
		return lines(t, st, "SELECT [extract(engine_full, 'TTL (.*) SETTINGS')] AS x FROM system.tables WHERE database = '"+st.Database()+"' AND name IN ('sync_events', 'dead_letters') ORDER BY name DESC")
	}
	if diff := cmp.Diff([]string{"", ""}, ttl()); diff != "" {
		t.Error(diff)
	}
	for _, days := range []int{90, 90, 30, 0} {
		st.cfg.RetentionDays = days
		if err := st.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []string{fmt.Sprintf("toDateTime(received) + toIntervalDay(%d)", days), fmt.Sprintf("toDateTime(at) + toIntervalDay(%d)", days)}
		if days == 0 {
			want = []string{"", ""}
		}
		if diff := cmp.Diff(want, ttl()); diff != "" {
			t.Errorf("%d days (-want +got):\n%s", days, diff)
		}
	}
}

// There is no cluster here, but the server can read what would be sent to one.
func TestClusterDialect(t *testing.T) {
	st := open(t)
	all, err := loadMigrations(schemaFiles)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		texts, err := m.render(dialect{"hotsync", "{cluster}"})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			var formatted string
			if err := session(t, st).QueryRow(t.Context(), "SELECT formatQuerySingleLine(?)", text).Scan(&formatted); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if !strings.Contains(formatted, "ON CLUSTER `{cluster}`") && !strings.Contains(formatted, "ON CLUSTER '{cluster}'") {
				t.Errorf("not on the cluster: %.120s", formatted)
			}
			if strings.HasPrefix(text, "CREATE TABLE") && (!strings.Contains(formatted, "ENGINE = ReplicatedReplacingMergeTree") || !strings.Contains(formatted, " replicated_deduplication_window = 10000")) {
				t.Errorf("not replicated: %s", formatted)
			}
		}
	}
}

func TestSchemaFilesAreNumbered(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"gap":   {"schema/0001_a.sql": {}, "schema/0003_b.sql": {}},
		"twice": {"schema/0001_a.sql": {}, "schema/0001_b.sql": {}},
		"words": {"schema/first.sql": {}},
	} {
		if _, err := loadMigrations(files); err == nil || !strings.Contains(err.Error(), "want number") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	if err := (Config{Addr: []string{"127.0.0.1:9000", "ch.example.com:9440"}, Database: "hotsync", Cluster: "{cluster}", RetentionDays: 400}).Validate(); err != nil {
		t.Error(err)
	}
	err := Config{Addr: []string{"nowhere"}, Database: "1; DROP", Cluster: "a b", RetentionDays: -1, MaxConns: -1, DialTimeout: -1, TLS: TLS{CertFile: "x"}}.Validate()
	for _, want := range []string{`addr "nowhere"`, "database", "cluster", "retention_days", "max_conns", "dial_timeout", "cert_file and key_file", "enabled is false"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word about %q in: %v", want, err)
		}
	}
	if err := (Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "addr is empty") {
		t.Errorf("empty: %v", err)
	}
	if _, err := Open(Config{Addr: []string{"127.0.0.1:1"}, TLS: TLS{Enabled: true, CAFile: "/does/not/exist"}}); err == nil {
		t.Error("Open took a CA file that is not there")
	}
	_, err = NewLoader(LoaderConfig{Group: "a/b", Into: 7, BatchRows: -1, BatchBytes: -1, Flush: -1})
	for _, want := range []string{"no store", `group "a/b"`, "into is 7", "batch_rows", "batch_bytes", "flush"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word about %q in: %v", want, err)
		}
	}
}
