package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Range is a run of offsets of one partition: First included, Next not.
type Range struct {
	First int64 `json:"first"`
	Next  int64 `json:"next"`
}

// PartitionCheck is what a check found in one partition.
type PartitionCheck struct {
	Topic      string `json:"topic"`
	Partition  int    `json:"partition"`
	Range             // the offsets that were looked for
	Expected   int64  `json:"expected"`   // Next - First
	Found      int64  `json:"found"`      // offsets that have a row
	Dead       int64  `json:"dead"`       // offsets that have none but a dead letter
	Lost       int64  `json:"lost"`       // offsets that have neither
	Duplicates int64  `json:"duplicates"` // rows beyond the first of an offset
	// Gaps is where the lost ones are: the first 20 runs.
	Gaps []Range `json:"gaps,omitempty"`
}

// OutcomeCount is how many triggers ended in one way.
type OutcomeCount struct {
	Outcome  string `json:"outcome"` // "" for a trigger that is in flight
	Reason   string `json:"reason"`
	Triggers int64  `json:"triggers"`
}

// Latency holds quantiles of the time from a trigger's reception to its
// outcome, in milliseconds. They are 0 when there is no trigger.
type Latency struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// Report holds the numbers of a run, all computed by ClickHouse.
type Report struct {
	Triggers   int64            `json:"triggers"`
	Outcomes   map[string]int64 `json:"outcomes"`
	Reasons    map[string]int64 `json:"reasons"`
	Unanswered int64            `json:"unanswered"`
	Lost       int64            `json:"lost"`
	Duplicates int64            `json:"duplicates"`
	LatencyMS  Latency          `json:"latency_ms"`
}

// source says where the offsets of a check are found in the tables.
type source struct{ topic, partition, offset, from string }

// Verify looks for the row of every message of the events topic in ranges, by
// partition. A message that has none but is a dead letter is not lost. An empty
// range yields a check that expects nothing.
func (s *Store) Verify(ctx context.Context, topic string, ranges map[int]Range) ([]PartitionCheck, error) {
	return s.verify(ctx, topic, ranges, source{"_topic", "_partition", "_offset", s.in("@sync_events")})
}

// VerifySource looks for an event about every message of a source topic in
// ranges, by partition, among the triggers that events cite and the dead
// letters. It holds while messages that ask for nothing are recorded too. Its
// Duplicates is always 0: several events may cite one message.
func (s *Store) VerifySource(ctx context.Context, topic string, ranges map[int]Range) ([]PartitionCheck, error) {
	return s.verify(ctx, topic, ranges, source{"t", "p", "o", s.in("@sync_events ARRAY JOIN triggers.topic AS t, triggers.partition AS p, triggers.offset AS o")})
}

func (s *Store) verify(ctx context.Context, topic string, ranges map[int]Range, src source) ([]PartitionCheck, error) {
	out := make([]PartitionCheck, 0, len(ranges))
	for _, partition := range slices.Sorted(maps.Keys(ranges)) {
		c, err := s.verifyPartition(ctx, topic, partition, ranges[partition], src)
		if err != nil {
			return nil, fmt.Errorf("verify %s/%d: %w", topic, partition, err)
		}
		out = append(out, c)
	}
	return out, nil
}

func (s *Store) verifyPartition(ctx context.Context, topic string, partition int, r Range, src source) (PartitionCheck, error) {
	c := PartitionCheck{Topic: topic, Partition: partition, Range: r, Expected: max(0, r.Next-r.First)}
	if c.Expected == 0 {
		return c, nil
	}
	args := []any{topic, int32(partition), r.First, r.Next}
	where := fmt.Sprintf("%s = $1 AND %s = $2 AND %s >= $3 AND %s < $4", src.topic, src.partition, src.offset, src.offset)
	dead := s.in("SELECT source_offset FROM @dead_letters WHERE source_topic = $1 AND source_partition = $2 AND source_offset >= $3 AND source_offset < $4")
	var rows, found, either uint64
	err := s.conn.QueryRow(ctx, fmt.Sprintf(`SELECT
		(SELECT count() FROM %[1]s WHERE %[2]s),
		(SELECT uniqExact(%[3]s) FROM %[1]s WHERE %[2]s),
		(SELECT uniqExact(x) FROM (SELECT %[3]s AS x FROM %[1]s WHERE %[2]s UNION ALL %[4]s))`,
		src.from, where, src.offset, dead), args...).Scan(&rows, &found, &either)
	if err != nil {
		return c, classify(err)
	}
	c.Found, c.Dead, c.Lost = int64(found), int64(either-found), c.Expected-int64(either)
	if src.offset == "_offset" {
		c.Duplicates = int64(rows - found)
	}
	if c.Lost == 0 {
		return c, nil
	}
	c.Gaps, err = s.gaps(ctx, fmt.Sprintf("SELECT %s AS x FROM %s WHERE %s UNION ALL %s", src.offset, src.from, where, dead), args)
	return c, err
}

// gaps returns the first runs of offsets of r that a query does not return.
func (s *Store) gaps(ctx context.Context, query string, args []any) ([]Range, error) {
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT previous + 1, x FROM
		(SELECT x, lagInFrame(x, 1, $3 - 1) OVER (ORDER BY x) AS previous FROM (SELECT x FROM (%s) UNION ALL SELECT $4))
		WHERE x > previous + 1 ORDER BY x LIMIT 20`, query), args...)
	if err != nil {
		return nil, classify(err)
	}
	defer func() { _ = rows.Close() }() // nothing is lost: the rows were read
	var out []Range
	for rows.Next() {
		var g Range
		if err := rows.Scan(&g.First, &g.Next); err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, classify(rows.Err())
}

// OutcomeCounts counts triggers by outcome and reason, the most frequent first.
func (s *Store) OutcomeCounts(ctx context.Context) ([]OutcomeCount, error) {
	rows, err := s.conn.Query(ctx, s.in(`SELECT toString(outcome), toString(reason), count() AS n
		FROM @trigger_outcomes GROUP BY outcome, reason ORDER BY n DESC, outcome, reason`))
	if err != nil {
		return nil, fmt.Errorf("count outcomes: %w", classify(err))
	}
	defer func() { _ = rows.Close() }() // nothing is lost: the rows were read
	var out []OutcomeCount
	for rows.Next() {
		var c OutcomeCount
		var n uint64
		if err := rows.Scan(&c.Outcome, &c.Reason, &n); err != nil {
			return nil, fmt.Errorf("count outcomes: %w", err)
		}
		c.Triggers = int64(n)
		out = append(out, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count outcomes: %w", classify(err))
	}
	return out, nil
}

// UnansweredTriggers counts triggers received since a time whose sync was
// planned and has not ended. The zero time counts all. A deferred trigger is
// answered. What was never planned is not known here: VerifySource finds it.
func (s *Store) UnansweredTriggers(ctx context.Context, since time.Time) (int64, error) {
	var n uint64
	err := s.conn.QueryRow(ctx, s.in("SELECT count() FROM @trigger_outcomes WHERE outcome = '' AND received >= fromUnixTimestamp64Milli($1, 'UTC')"),
		clamp(since).UnixMilli()).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count unanswered triggers: %w", classify(err))
	}
	return int64(n), nil
}

// Latency returns quantiles over all triggers that have a final outcome.
func (s *Store) Latency(ctx context.Context) (Latency, error) {
	var q []float64
	err := s.conn.QueryRow(ctx, s.in("SELECT quantilesExactInclusive(0.5, 0.95, 0.99)(latency_ms) FROM @trigger_outcomes WHERE isNotNull(latency_ms)")).Scan(&q)
	if err != nil {
		return Latency{}, fmt.Errorf("compute latency: %w", classify(err))
	}
	for i, v := range q {
		if math.IsNaN(v) { // no trigger
			q[i] = 0
		}
	}
	if len(q) != 3 {
		return Latency{}, nil
	}
	return Latency{q[0], q[1], q[2]}, nil
}

// Report returns the numbers of everything in the database. The checks, which
// Verify and VerifySource made, add what is lost and what is duplicate.
func (s *Store) Report(ctx context.Context, checks ...PartitionCheck) (Report, error) {
	out := Report{Outcomes: map[string]int64{}, Reasons: map[string]int64{}}
	counts, err := s.OutcomeCounts(ctx)
	if err != nil {
		return Report{}, err
	}
	for _, c := range counts {
		out.Triggers += c.Triggers
		if c.Outcome == "" {
			out.Unanswered += c.Triggers
			continue
		}
		out.Outcomes[c.Outcome] += c.Triggers
		if c.Reason != "" {
			out.Reasons[c.Reason] += c.Triggers
		}
	}
	for _, c := range checks {
		out.Lost += c.Lost
		out.Duplicates += c.Duplicates
	}
	if out.LatencyMS, err = s.Latency(ctx); err != nil {
		return Report{}, err
	}
	return out, nil
}
