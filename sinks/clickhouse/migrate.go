package clickhouse

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"text/template"

	ch "github.com/ClickHouse/clickhouse-go/v2"
)

// The schema is numbered files that are run in order, each once. They are run
// by us and not by a migration library because those keep their version in a
// table of one server: here the version table is replicated with the rest, and
// two instances that start at once need no lock, since every statement can be
// run twice.
//
//go:embed schema/*.sql
var schemaFiles embed.FS

// migration is one file of the schema.
type migration struct {
	version  int
	name     string
	text     string // before its template is filled in
	checksum string
}

// loadMigrations reads files named 0001_name.sql. A gap in the numbers or a
// number used twice is an error.
func loadMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "schema/*.sql")
	if err != nil {
		return nil, fmt.Errorf("clickhouse: list schema: %w", err)
	}
	var out []migration
	for i, path := range names { // Glob sorts
		base := strings.TrimSuffix(strings.TrimPrefix(path, "schema/"), ".sql")
		number, name, _ := strings.Cut(base, "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("clickhouse: schema file %s: want number %04d", path, i+1)
		}
		b, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, fmt.Errorf("clickhouse: read schema: %w", err)
		}
		sum := sha256.Sum256(b)
		out = append(out, migration{version, name, string(b), hex.EncodeToString(sum[:8])})
	}
	return out, nil
}

// dialect fills the schema's templates.
type dialect struct {
	Database string
	cluster  string
}

// OnCluster is the ON CLUSTER clause, or nothing.
func (d dialect) OnCluster() string {
	if d.cluster == "" {
		return ""
	}
	return "ON CLUSTER '" + d.cluster + "'"
}

// Replacing is the engine of a table whose rows are replaced by the highest
// version, or by the latest inserted when there is no version.
func (d dialect) Replacing(version string) string {
	engine := "ReplacingMergeTree"
	if d.cluster != "" {
		engine = "ReplicatedReplacingMergeTree"
	}
	return engine + "(" + version + ")"
}

// DedupWindow is the setting without which a table forgets every token at once
// (peers.md 3). It counts inserts into one table: 10,000 are some hours of one
// busy loader. A loader that comes back later looks into the table instead.
func (d dialect) DedupWindow() string {
	if d.cluster != "" {
		return "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800"
	}
	return "non_replicated_deduplication_window = 10000"
}

// render returns the statements of a migration for a dialect.
func (m migration) render(d dialect) ([]string, error) {
	t, err := template.New(m.name).Option("missingkey=error").Parse(m.text)
	if err != nil {
		return nil, fmt.Errorf("clickhouse: schema %04d_%s: %w", m.version, m.name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("clickhouse: schema %04d_%s: %w", m.version, m.name, err)
	}
	return statements(b.String()), nil
}

// statements splits SQL at semicolons that end a line and drops comment lines.
func statements(text string) []string {
	var out []string
	var cur strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "--") {
			continue
		}
		cur.WriteString(line)
		if strings.HasSuffix(strings.TrimSpace(line), ";") {
			if s := strings.TrimSuffix(strings.TrimSpace(cur.String()), ";"); s != "" {
				out = append(out, s)
			}
			cur.Reset()
		}
	}
	if s := strings.TrimSpace(cur.String()); s != "" {
		out = append(out, s)
	}
	return out
}

// Migrate creates the database and brings its schema to what this build needs.
// It may be run at every start and by several instances at once. It never drops
// a table. It refuses when a file that was already run has changed since.
func (s *Store) Migrate(ctx context.Context) error {
	all, err := loadMigrations(schemaFiles)
	if err != nil {
		return err
	}
	d := dialect{s.cfg.Database, s.cfg.Cluster}
	err = s.runAll(ctx,
		fmt.Sprintf("CREATE DATABASE IF NOT EXISTS %s %s", d.Database, d.OnCluster()),
		fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s.schema_migrations %s
			(version UInt32, name String, checksum String, applied DateTime64(3, 'UTC') DEFAULT now64(3))
			ENGINE = %s ORDER BY version`, d.Database, d.OnCluster(), d.Replacing("")))
	if err != nil {
		return fmt.Errorf("clickhouse: create database %s: %w", d.Database, classify(err))
	}
	applied, err := s.applied(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		if sum, done := applied[m.version]; done {
			if sum != m.checksum {
				return fmt.Errorf("clickhouse: schema %04d_%s was run as %s on database %s and is %s in this build: a schema file never changes once it was released", m.version, m.name, sum, d.Database, m.checksum)
			}
			continue
		}
		if err := s.apply(ctx, m, d); err != nil {
			return err
		}
	}
	return s.retain(ctx, d)
}

func (s *Store) apply(ctx context.Context, m migration, d dialect) error {
	texts, err := m.render(d)
	if err != nil {
		return err
	}
	if err := s.runAll(ctx, texts...); err != nil {
		return fmt.Errorf("clickhouse: schema %04d_%s: %w", m.version, m.name, classify(err))
	}
	err = s.conn.Exec(ch.Context(ctx, ch.WithSettings(ch.Settings{"async_insert": 0})),
		s.in("INSERT INTO @schema_migrations (version, name, checksum) VALUES (?, ?, ?)"), uint32(m.version), m.name, m.checksum)
	if err != nil {
		return fmt.Errorf("clickhouse: record schema %04d_%s: %w", m.version, m.name, classify(err))
	}
	return nil
}

// runAll runs statements in order. One that meets the same statement of another
// instance half way is run again.
func (s *Store) runAll(ctx context.Context, texts ...string) error {
	for _, text := range texts {
		for try := 1; ; try++ {
			err := s.conn.Exec(ctx, text)
			var ex *ch.Exception
			// Already exists, being dropped or renamed, or does not exist any
			// more: the other instance is between two steps.
			if errors.As(err, &ex) && try < 20 && ctx.Err() == nil &&
				(ex.Code == 57 || ex.Code == 60 || ex.Code == 82 || ex.Code == 218 || ex.Code == 219 || ex.Code == 473 || ex.Code == 517) {
				continue
			}
			if err != nil {
				return err
			}
			break
		}
	}
	return nil
}

// applied returns the checksums of the migrations that were run.
func (s *Store) applied(ctx context.Context) (map[int]string, error) {
	rows, err := s.conn.Query(ctx, s.in("SELECT version, argMax(checksum, applied) FROM @schema_migrations GROUP BY version"))
	if err != nil {
		return nil, fmt.Errorf("clickhouse: read schema version: %w", classify(err))
	}
	defer func() { _ = rows.Close() }() // nothing is lost: the rows were read
	out := map[int]string{}
	for rows.Next() {
		var version uint32
		var sum string
		if err := rows.Scan(&version, &sum); err != nil {
			return nil, fmt.Errorf("clickhouse: read schema version: %w", err)
		}
		out[int(version)] = sum
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("clickhouse: read schema version: %w", classify(err))
	}
	return out, nil
}

// SchemaVersion returns the version that the database has, 0 for none, and the
// one that this build needs.
func (s *Store) SchemaVersion(ctx context.Context) (have, want int, err error) {
	all, err := loadMigrations(schemaFiles)
	if err != nil {
		return 0, 0, err
	}
	var n uint64
	err = s.conn.QueryRow(ctx, "SELECT count() FROM system.tables WHERE database = ? AND name = 'schema_migrations'", s.cfg.Database).Scan(&n)
	if err != nil {
		return 0, 0, fmt.Errorf("clickhouse: read schema version: %w", classify(err))
	}
	if n == 0 {
		return 0, len(all), nil
	}
	applied, err := s.applied(ctx)
	if err != nil {
		return 0, 0, err
	}
	for v := range applied {
		have = max(have, v)
	}
	return have, len(all), nil
}

// retain makes the tables keep rows for as long as the configuration says. It
// changes a table only when that is not so already: on a large table the
// change is work.
func (s *Store) retain(ctx context.Context, d dialect) error {
	for table, column := range map[string]string{"sync_events": "received", "dead_letters": "at"} {
		var engine string
		err := s.conn.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = ? AND name = ?", d.Database, table).Scan(&engine)
		if err != nil {
			return fmt.Errorf("clickhouse: read the retention of %s: %w", table, classify(err))
		}
		want := fmt.Sprintf("toDateTime(%s) + toIntervalDay(%d)", column, s.cfg.RetentionDays)
		var change string
		switch has := strings.Contains(engine, " TTL "); {
		case s.cfg.RetentionDays == 0 && has:
			change = "REMOVE TTL"
		case s.cfg.RetentionDays > 0 && !strings.Contains(engine, " TTL "+want+" "):
			change = "MODIFY TTL " + want
		default:
			continue
		}
		if err := s.conn.Exec(ctx, fmt.Sprintf("ALTER TABLE %s.%s %s %s", d.Database, table, d.OnCluster(), change)); err != nil {
			return fmt.Errorf("clickhouse: set the retention of %s: %w", table, classify(err))
		}
	}
	return nil
}
