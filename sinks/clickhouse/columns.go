package clickhouse

import (
	"strings"
	"unsafe"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// column is one column of a table while its rows are being built. Rows are kept
// by column, since that is how they are sent: no row is ever an object. What is
// kept is as small as it can be, since all of two batches is in memory: texts
// one after the other in one slice of bytes, few distinct words as numbers,
// times as milliseconds. A row of sync_events takes about 0.7 kB, half of its
// message.
type column interface {
	name() string
	// send appends rows [from, to) to the driver's column.
	send(dst driver.BatchColumn, from, to int) error
	// sum adds rows [from, to) to a hash.
	sum(h *rowHash, from, to int)
	reset()
}

// scratch is what the columns of a table share while they send.
type scratch struct{ texts []string }

// arena holds texts. What it returns is valid until it is reset.
type arena struct {
	bytes []byte
	ends  []uint32
}

func (a *arena) add(s string) {
	a.bytes = append(a.bytes, s...)
	a.ends = append(a.ends, uint32(len(a.bytes)))
}

func (a *arena) get(i int) string {
	start := uint32(0)
	if i > 0 {
		start = a.ends[i-1]
	}
	b := a.bytes[start:a.ends[i]]
	// No copy: the driver makes one, at once.
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (a *arena) reset() { a.bytes, a.ends = a.bytes[:0], a.ends[:0] }

// glossary holds words as numbers. Words live on when the rows are gone, since
// the next batch has the same ones.
type glossary struct {
	numbers map[string]uint32
	words   []string
	boxes   []any // the words as the driver takes them
	values  []uint32
}

func (g *glossary) add(s string) {
	n, ok := g.numbers[s]
	if !ok {
		if g.numbers == nil {
			g.numbers = map[string]uint32{}
		}
		s = strings.Clone(s) // it is part of a message
		n = uint32(len(g.words))
		g.numbers[s] = n
		g.words, g.boxes = append(g.words, s), append(g.boxes, s)
	}
	g.values = append(g.values, n)
}

func (g *glossary) reset() {
	g.values = g.values[:0]
	if len(g.words) > 2000 { // not so few after all
		g.numbers, g.words, g.boxes = nil, nil, nil
	}
}

// ends says where the elements of each row end, for columns of arrays.
type ends []uint32

func (e ends) row(i int) (from, to int) {
	if i > 0 {
		from = int(e[i-1])
	}
	return from, int(e[i])
}

// text is a column of strings.
type text struct {
	label   string
	values  arena
	scratch *scratch
}

func (c *text) name() string { return c.label }
func (c *text) add(v string) { c.values.add(v) }
func (c *text) reset()       { c.values.reset() }

func (c *text) send(dst driver.BatchColumn, from, to int) error {
	s := c.scratch.texts[:0]
	for i := from; i < to; i++ {
		s = append(s, c.values.get(i))
	}
	c.scratch.texts = s
	return dst.Append(s)
}

func (c *text) sum(h *rowHash, from, to int) {
	for i := from; i < to; i++ {
		h.text(c.values.get(i))
	}
}

// texts is a column of arrays of strings.
type texts struct {
	text
	ends ends
}

func (c *texts) end()   { c.ends = append(c.ends, uint32(len(c.values.ends))) }
func (c *texts) reset() { c.values.reset(); c.ends = c.ends[:0] }

func (c *texts) send(dst driver.BatchColumn, from, to int) error {
	for i := from; i < to; i++ {
		first, end := c.ends.row(i)
		s := c.scratch.texts[:0]
		for n := first; n < end; n++ {
			s = append(s, c.values.get(n))
		}
		c.scratch.texts = s
		if err := dst.AppendRow(s); err != nil {
			return err
		}
	}
	return nil
}

func (c *texts) sum(h *rowHash, from, to int) {
	for i := from; i < to; i++ {
		first, end := c.ends.row(i)
		h.number(int64(end - first))
		c.text.sum(h, first, end)
	}
}

// word is a column of few distinct strings, LowCardinality in the table. The
// driver takes those as interfaces only, so each becomes one once.
type word struct {
	label   string
	values  glossary
	scratch *scratch
}

func (c *word) name() string { return c.label }
func (c *word) add(v string) { c.values.add(v) }
func (c *word) reset()       { c.values.reset() }

func (c *word) send(dst driver.BatchColumn, from, to int) error {
	for _, n := range c.values.values[from:to] {
		if err := dst.AppendRow(c.values.boxes[n]); err != nil {
			return err
		}
	}
	return nil
}

func (c *word) sum(h *rowHash, from, to int) {
	for _, n := range c.values.values[from:to] {
		h.text(c.values.words[n])
	}
}

// words is a column of arrays of few distinct strings.
type words struct {
	word
	ends ends
}

func (c *words) end()   { c.ends = append(c.ends, uint32(len(c.values.values))) }
func (c *words) reset() { c.values.reset(); c.ends = c.ends[:0] }

func (c *words) send(dst driver.BatchColumn, from, to int) error {
	for i := from; i < to; i++ {
		first, end := c.ends.row(i)
		s := c.scratch.texts[:0]
		for _, n := range c.values.values[first:end] {
			s = append(s, c.values.words[n])
		}
		c.scratch.texts = s
		if err := dst.AppendRow(s); err != nil {
			return err
		}
	}
	return nil
}

func (c *words) sum(h *rowHash, from, to int) {
	for i := from; i < to; i++ {
		first, end := c.ends.row(i)
		h.number(int64(end - first))
		c.word.sum(h, first, end)
	}
}

type integer interface {
	~int32 | ~int64 | ~uint16 | ~uint32 | ~uint64
}

// number is a column of numbers, or of times in milliseconds, which the driver
// takes for a DateTime64(3).
type number[T integer] struct {
	label  string
	values []T
}

func (c *number[T]) name() string { return c.label }
func (c *number[T]) add(v T)      { c.values = append(c.values, v) }
func (c *number[T]) reset()       { c.values = c.values[:0] }

func (c *number[T]) send(dst driver.BatchColumn, from, to int) error {
	return dst.Append(c.values[from:to])
}

func (c *number[T]) sum(h *rowHash, from, to int) {
	for _, v := range c.values[from:to] {
		h.number(int64(v))
	}
}

// numbers is a column of arrays of numbers.
type numbers[T integer] struct {
	number[T]
	ends ends
}

func (c *numbers[T]) end()   { c.ends = append(c.ends, uint32(len(c.values))) }
func (c *numbers[T]) reset() { c.values, c.ends = c.values[:0], c.ends[:0] }

func (c *numbers[T]) send(dst driver.BatchColumn, from, to int) error {
	for i := from; i < to; i++ {
		first, end := c.ends.row(i)
		if err := dst.AppendRow(c.values[first:end:end]); err != nil {
			return err
		}
	}
	return nil
}

func (c *numbers[T]) sum(h *rowHash, from, to int) {
	for i := from; i < to; i++ {
		first, end := c.ends.row(i)
		h.number(int64(end - first))
		c.number.sum(h, first, end)
	}
}

// noTime is a time that is not there.
const noTime = int64(-1 << 62)

// maybe is a column of times, Nullable in the table.
type maybe struct{ number[int64] }

func (c *maybe) send(dst driver.BatchColumn, from, to int) error {
	pointers := make([]*int64, 0, to-from)
	for i := from; i < to; i++ {
		if c.values[i] == noTime {
			pointers = append(pointers, nil)
		} else {
			pointers = append(pointers, &c.values[i])
		}
	}
	return dst.Append(pointers)
}

// pairs is a column of maps. Few rows have any.
type pairs struct {
	label  string
	values []map[string]string
}

func (c *pairs) name() string            { return c.label }
func (c *pairs) add(v map[string]string) { c.values = append(c.values, v) }
func (c *pairs) reset()                  { clear(c.values); c.values = c.values[:0] }

func (c *pairs) send(dst driver.BatchColumn, from, to int) error {
	return dst.Append(c.values[from:to])
}

func (c *pairs) sum(h *rowHash, from, to int) {
	for _, v := range c.values[from:to] {
		h.pairs(v)
	}
}
