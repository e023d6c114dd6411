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

// Deferred counts the triggers that were put off at least once, whatever became
// of them, and why.
func (s *Store) Deferred(ctx context.Context) (triggers int64, reasons map[string]int64, err error) {
	reasons = map[string]int64{}
	rows, err := s.conn.Query(ctx, s.in(`SELECT toString(reason) AS why, toInt64(uniqExact(id)), toInt64(any(all))
		FROM (SELECT reason, arrayJoin(triggers.id) AS id FROM @sync_events WHERE toString(outcome) = 'deferred') AS d
		CROSS JOIN (SELECT uniqExact(arrayJoin(triggers.id)) AS all FROM @sync_events WHERE toString(outcome) = 'deferred') AS t
		GROUP BY why`))
	if err != nil {
		return 0, nil, fmt.Errorf("count deferred triggers: %w", classify(err))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var why string
		var n int64
		if err := rows.Scan(&why, &n, &triggers); err != nil {
			return 0, nil, fmt.Errorf("count deferred triggers: %w", classify(err))
		}
		reasons[why] = n
	}
	if err := rows.Err(); err != nil {
		return 0, nil, fmt.Errorf("count deferred triggers: %w", classify(err))
	}
	return triggers, reasons, nil
}
