package clickhouse

import (
	"context"
	"errors"
	"time"
)

// Loader puts the messages of a topic into a table.
type Loader struct{ cfg LoaderConfig }

// NewLoader returns a Loader, or everything that is wrong with cfg. It starts
// nothing.
func NewLoader(cfg LoaderConfig) (*Loader, error) { return &Loader{cfg}, errors.ErrUnsupported }

// Run loads one partition until ctx ends, when it returns nil, or until p fails.
func (l *Loader) Run(ctx context.Context, topic string, partition int, p Partition) error {
	return errors.ErrUnsupported
}

// Stats returns what the loader did so far.
func (l *Loader) Stats() LoaderStats { return LoaderStats{} }

// Migrate brings the database to the schema of this build.
func (s *Store) Migrate(ctx context.Context) error { return errors.ErrUnsupported }

// SchemaVersion returns the version the database has and the one this build wants.
func (s *Store) SchemaVersion(ctx context.Context) (have, want int, err error) {
	return 0, 0, errors.ErrUnsupported
}

// Verify looks for a row of every offset in ranges, by partition, of the events topic.
func (s *Store) Verify(ctx context.Context, topic string, ranges map[int]Range) ([]PartitionCheck, error) {
	return nil, errors.ErrUnsupported
}

// VerifySource looks for an outcome of every offset in ranges, by partition, of a source topic.
func (s *Store) VerifySource(ctx context.Context, topic string, ranges map[int]Range) ([]PartitionCheck, error) {
	return nil, errors.ErrUnsupported
}

// OutcomeCounts counts triggers by outcome and reason.
func (s *Store) OutcomeCounts(ctx context.Context) ([]OutcomeCount, error) {
	return nil, errors.ErrUnsupported
}

// UnansweredTriggers counts triggers received since then that have no outcome yet.
func (s *Store) UnansweredTriggers(ctx context.Context, since time.Time) (int64, error) {
	return 0, errors.ErrUnsupported
}

// Latency returns quantiles over all triggers that have a final outcome.
func (s *Store) Latency(ctx context.Context) (Latency, error) {
	return Latency{}, errors.ErrUnsupported
}

// Report returns the numbers of a run. Verify's checks, if given, add lost and duplicates.
func (s *Store) Report(ctx context.Context, checks ...PartitionCheck) (Report, error) {
	return Report{}, errors.ErrUnsupported
}
