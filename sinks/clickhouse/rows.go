package clickhouse

import (
	"time"

	"hotsync/event"
)

// table builds the rows of one of the tables from messages. A row is a pure
// function of its message: no clock, no configuration, no memory of others
// (Invariant 6), so that a batch built again is the same batch.
type table interface {
	name() string
	columns() []column
	// add makes a message the next row. An error says why it can be none;
	// then no row was added.
	add(m event.Message) error
	// months holds, for each row, the partition of the table it belongs to.
	months() []int32
	// received holds, for each row, the time its partition and its place in
	// the sorting key derive from.
	received() []time.Time
	reset()
}

// Times outside of what the sorting key and the retention can compute with are
// moved to its ends: a wrong clock must not make a row impossible.
var (
	epoch  = time.Unix(0, 0).UTC()
	latest = time.Date(2105, 12, 31, 23, 59, 59, 0, time.UTC)
)

// clamp returns t as a column can hold it; the zero time becomes 1970-01-01,
// the column's own zero.
func clamp(t time.Time) time.Time {
	switch {
	case t.Before(epoch):
		return epoch
	case t.After(latest):
		return latest
	}
	return t
}

func month(t time.Time) int32 {
	t = t.UTC()
	return int32(t.Year()*100 + int(t.Month()))
}

// rank orders the outcomes that several events with one id may have: whatever
// says that something was done, or could not be, before what says that there
// was nothing to do.
func rank(o event.Outcome) uint64 {
	switch o {
	case event.Applied:
		return 9
	case event.Failed:
		return 8
	case event.Observed:
		return 7
	case event.Suppressed:
		return 6
	case event.Rejected:
		return 5
	case event.Skipped:
		return 4
	case event.InSync:
		return 3
	case event.Deferred:
		return 2
	}
	return 1
}

// version is what _version holds: the rank, then the offset, so that of two
// events that say the same the later one holds.
func version(o event.Outcome, offset int64) uint64 {
	return rank(o)<<56 | uint64(offset)&(1<<56-1)
}

// newTable returns the builder of t's rows.
func newTable(t Table) table {
	if t == DeadLetters {
		return newDeadRows()
	}
	return newEventRows()
}

// String returns the table's name.
func (t Table) String() string {
	switch t {
	case Events:
		return "sync_events"
	case DeadLetters:
		return "dead_letters"
	}
	return "unknown table"
}
