package clickhouse

// Range is a run of offsets of one partition: First included, Next not.
type Range struct {
	First int64 `json:"first"`
	Next  int64 `json:"next"`
}

// PartitionCheck is what Verify found in one partition.
type PartitionCheck struct {
	Topic      string  `json:"topic"`
	Partition  int     `json:"partition"`
	Range              // the offsets that were looked for
	Expected   int64   `json:"expected"`       // Next - First
	Found      int64   `json:"found"`          // offsets that have a row
	Dead       int64   `json:"dead"`           // offsets that have none but a dead letter
	Lost       int64   `json:"lost"`           // offsets that have neither
	Duplicates int64   `json:"duplicates"`     // rows beyond the first of an offset
	Gaps       []Range `json:"gaps,omitempty"` // where the lost ones are, the first 20 runs
}

// OutcomeCount is how many triggers ended in one way.
type OutcomeCount struct {
	Outcome  string `json:"outcome"` // "" for a trigger that is in flight
	Reason   string `json:"reason"`
	Triggers int64  `json:"triggers"`
}

// Latency holds quantiles of the time from a trigger's reception to its
// outcome, in milliseconds.
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
