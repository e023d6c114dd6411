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

// millis returns t as a column holds it.
func millis(t time.Time) int64 { return clamp(t).UnixMilli() }

// maybeMillis is millis for a time that may be missing.
func maybeMillis(t time.Time) int64 {
	if t.IsZero() {
		return noTime
	}
	return millis(t)
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

// version is what _version holds: of the events of a sync, and of those with one
// id, the highest one decides. From the top: whether something was applied,
// whether it is final, the attempt, the rank of the outcome, the offset.
func version(e *event.Event, offset int64) uint64 {
	v := uint64(min(max(0, e.Attempt), 1<<14-1))<<48 | rank(e.Outcome)<<44 | uint64(offset)&(1<<44-1)
	if e.Outcome == event.Applied {
		v |= 1 << 63
	}
	if e.Outcome.Final() {
		v |= 1 << 62
	}
	return v
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

// builder holds the columns of a table.
type builder struct {
	all     []column
	parts   []int32
	scratch scratch
}

func (b *builder) columns() []column { return b.all }
func (b *builder) months() []int32   { return b.parts }

// enter begins a row that belongs to the partition of a time.
func (b *builder) enter(at time.Time) { b.parts = append(b.parts, month(at)) }

// end ends the arrays of a row.
func (b *builder) end(columns ...interface{ end() }) {
	for _, c := range columns {
		c.end()
	}
}

func (b *builder) reset() {
	for _, c := range b.all {
		c.reset()
	}
	clear(b.scratch.texts)
	b.parts = b.parts[:0]
}

// add gives b a column, and returns it.
func add[C column](b *builder, c C) C {
	b.all = append(b.all, c)
	return c
}

func (b *builder) text(name string) *text {
	return add(b, &text{label: name, scratch: &b.scratch})
}

func (b *builder) texts(name string) *texts {
	return add(b, &texts{text: text{label: name, scratch: &b.scratch}})
}

func (b *builder) word(name string) *word {
	return add(b, &word{label: name, scratch: &b.scratch})
}

func (b *builder) words(name string) *words {
	return add(b, &words{word: word{label: name, scratch: &b.scratch}})
}

func (b *builder) int64(name string) *number[int64] { return add(b, &number[int64]{label: name}) }

func (b *builder) int64s(name string) *numbers[int64] {
	return add(b, &numbers[int64]{number: number[int64]{label: name}})
}

func (b *builder) maybe(name string) *maybe {
	return add(b, &maybe{number: number[int64]{label: name}})
}
