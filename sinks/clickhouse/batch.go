package clickhouse

import (
	"slices"
	"time"

	"hotsync/event"
)

// batch is a run of messages of one partition and the rows they make.
type batch struct {
	rows    table
	offsets []int64 // of all messages
	source  []int32 // the message of each row
	bad     []badMessage
	bytes   int       // of all messages' values
	newest  time.Time // Kafka's time of the last message
	// kept holds all messages, when keep is set.
	kept []event.Message
	keep bool

	entry    pending
	replayed pending // of a replay: the entry that was found
	// replay is set when the journal entry was there before the batch.
	replay bool
	// journaled is set once the entry is committed.
	journaled bool
	// doubt is set while nobody knows whether rows are in the table already.
	doubt  bool
	placed bool // it has one of the places for large batches
}

// badMessage is a message that can be no row.
type badMessage struct {
	message event.Message
	err     error
}

func newBatch(t Table) *batch { return &batch{rows: newTable(t)} }

func (b *batch) reset() {
	rows, offsets, source, bad, kept := b.rows, b.offsets, b.source, b.bad, b.kept
	rows.reset()
	clear(kept)
	clear(bad)
	*b = batch{rows: rows, offsets: offsets[:0], source: source[:0], bad: bad[:0], kept: kept[:0], keep: b.keep}
}

func (b *batch) add(m event.Message) {
	if err := b.rows.add(m); err != nil {
		b.bad = append(b.bad, badMessage{m, err})
	} else {
		b.source = append(b.source, int32(len(b.offsets)))
	}
	if b.keep {
		b.kept = append(b.kept, m)
	}
	b.offsets = append(b.offsets, m.Offset)
	b.bytes += len(m.Value)
	b.newest = m.Time
}

// close computes the journal entry: what the batch is, to be recognised by.
func (b *batch) close() {
	h := newRowHash()
	for _, c := range b.rows.columns() {
		h.text(c.name())
		c.sum(h, 0, len(b.source))
	}
	b.entry = pending{b.offsets[0], b.offsets[len(b.offsets)-1], len(b.source), h.String()}
}

// offset is the offset of a row.
func (b *batch) offset(row int) int64 { return b.offsets[b.source[row]] }

// span is the rows [from, to) of a batch.
type span struct{ from, to int }

// spans are rows of a batch, in order.
type spans []span

func (s spans) len() int {
	n := 0
	for _, x := range s {
		n += x.to - x.from
	}
	return n
}

// halve cuts s in two of about equal length.
func (s spans) halve() (a, b spans) {
	left := s.len() / 2
	for _, x := range s {
		n := min(left, x.to-x.from)
		left -= n
		if n > 0 {
			a = append(a, span{x.from, x.from + n})
		}
		if x.from+n < x.to {
			b = append(b, span{x.from + n, x.to})
		}
	}
	return a, b
}

// byMonth sorts the rows of b by the partition of the table they belong to, so
// that every insert makes one part. There is one entry nearly always.
func (b *batch) byMonth() (months []int32, rows map[int32]spans) {
	return b.group(func(row int) (int32, bool) { return b.rows.months()[row], true })
}

// group sorts the rows of b that keep wants by the month it returns.
func (b *batch) group(keep func(row int) (int32, bool)) (months []int32, rows map[int32]spans) {
	rows = map[int32]spans{}
	for i := range b.source {
		m, ok := keep(i)
		if !ok {
			continue
		}
		s := rows[m]
		if n := len(s); n > 0 && s[n-1].to == i {
			s[n-1].to++
			continue
		}
		if len(s) == 0 {
			months = append(months, m)
		}
		rows[m] = append(s, span{i, i + 1})
	}
	slices.Sort(months)
	return months, rows
}
