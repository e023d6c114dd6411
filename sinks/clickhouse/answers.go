package clickhouse

import (
	"context"
	"fmt"
)

// Answered calls fn with the id of every trigger that has a final outcome, in
// no order.
func (s *Store) Answered(ctx context.Context, fn func(trigger string)) error {
	rows, err := s.conn.Query(ctx, s.in("SELECT trigger_id FROM @trigger_outcomes WHERE toString(outcome) NOT IN ('', 'deferred')"))
	if err != nil {
		return fmt.Errorf("read answered triggers: %w", classify(err))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return fmt.Errorf("read answered triggers: %w", classify(err))
		}
		fn(id)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read answered triggers: %w", classify(err))
	}
	return nil
}

// ShownTwice counts the syncs and triggers that a view shows beyond their first
// row. It is 0 (Invariant 4).
func (s *Store) ShownTwice(ctx context.Context) (int64, error) {
	var syncs, triggers int64
	err := s.conn.QueryRow(ctx, s.in(`SELECT
		(SELECT toInt64(count()) - toInt64(uniqExact(sync_id)) FROM @syncs),
		(SELECT toInt64(count()) - toInt64(uniqExact(trigger_id)) FROM @trigger_outcomes)`)).Scan(&syncs, &triggers)
	if err != nil {
		return 0, fmt.Errorf("count what views show twice: %w", classify(err))
	}
	return syncs + triggers, nil
}
