package clickhouse

import (
	"context"
	"fmt"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"
)

// insert sends rows of t as one block, which becomes one part or nothing. A
// block whose token the table remembers is dropped by the server: it is there
// already. No setting that matters here is left to the server's defaults,
// which changed in 2026 (peers.md 3).
func (s *Store) insert(ctx context.Context, t table, rows spans, token string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	ctx = ch.Context(ctx, ch.WithSettings(ch.Settings{
		"async_insert":               0,
		"insert_deduplicate":         1,
		"insert_deduplication_token": token,
		// A batch never holds one message twice, so there is nothing to
		// collapse in it; looking for it is most of an insert's work
		// (17 µs of the server's processor time a row, 7 without).
		"optimize_on_insert": 0,
		// A view that somebody hangs below the table is retried with it.
		"deduplicate_blocks_in_dependent_materialized_views": 1,
	}))
	columns := t.columns()
	batch, err := s.conn.PrepareBatch(ctx, s.insertInto(t))
	if err != nil {
		return fmt.Errorf("insert into %s: %w", t.name(), err)
	}
	for i, c := range columns {
		dst := batch.Column(i)
		for _, r := range rows {
			if err := c.send(dst, r.from, r.to); err != nil {
				_ = batch.Abort() // the error that matters is err
				return fmt.Errorf("insert into %s: column %s: %w: %w", t.name(), c.name(), ch.ErrBatchInvalid, err)
			}
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert into %s: %w", t.name(), err)
	}
	return nil
}

// insertInto is the statement for all columns of t.
func (s *Store) insertInto(t table) string {
	var b strings.Builder
	b.WriteString(s.in("INSERT INTO @" + t.name()))
	for i, c := range t.columns() {
		b.WriteString(map[bool]string{true: " (", false: ", "}[i == 0])
		b.WriteString("`" + c.name() + "`")
	}
	b.WriteString(")")
	return b.String()
}

// present returns which offsets of [first, last] have a row in a table.
func (s *Store) present(ctx context.Context, t table, topic string, partition int, first, last int64) (map[int64]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	rows, err := s.conn.Query(ctx,
		s.in("SELECT DISTINCT _offset FROM @"+t.name()+" WHERE _topic = ? AND _partition = ? AND _offset BETWEEN ? AND ?"),
		topic, int32(partition), first, last)
	if err != nil {
		return nil, fmt.Errorf("look for offsets %d-%d of %s/%d: %w", first, last, topic, partition, err)
	}
	defer func() { _ = rows.Close() }() // nothing is lost: the rows were read
	out := map[int64]bool{}
	for rows.Next() {
		var offset int64
		if err := rows.Scan(&offset); err != nil {
			return nil, fmt.Errorf("look for offsets %d-%d of %s/%d: %w", first, last, topic, partition, err)
		}
		out[offset] = true
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for offsets %d-%d of %s/%d: %w", first, last, topic, partition, err)
	}
	return out, nil
}
