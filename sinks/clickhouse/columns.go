package clickhouse

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// column is one column of a table while its rows are being built. Rows are kept
// by column, since that is how they are sent: no row is ever an object.
type column interface {
	name() string
	// send appends rows [from, to) to the driver's column.
	send(dst driver.BatchColumn, from, to int) error
	// sum adds rows [from, to) to a hash.
	sum(h *rowHash, from, to int)
	reset()
}

// scalar is a column of one value a row.
type scalar[T any] struct {
	label  string
	values []T
	write  func(*rowHash, T)
}

func (c *scalar[T]) name() string { return c.label }
func (c *scalar[T]) add(v T)      { c.values = append(c.values, v) }
func (c *scalar[T]) reset()       { clear(c.values); c.values = c.values[:0] }

func (c *scalar[T]) send(dst driver.BatchColumn, from, to int) error {
	return dst.Append(c.values[from:to])
}

func (c *scalar[T]) sum(h *rowHash, from, to int) {
	for _, v := range c.values[from:to] {
		c.write(h, v)
	}
}

// word is a column of few distinct strings, LowCardinality in the table. The
// driver takes those as interfaces only, so each string becomes one once.
type word struct {
	label  string
	values []string
	boxes  map[string]any
}

func (c *word) name() string { return c.label }
func (c *word) add(v string) { c.values = append(c.values, v) }

func (c *word) reset() {
	clear(c.values)
	c.values = c.values[:0]
	if len(c.boxes) > 1000 { // not so few after all
		clear(c.boxes)
	}
}

func (c *word) send(dst driver.BatchColumn, from, to int) error {
	if c.boxes == nil {
		c.boxes = map[string]any{}
	}
	for _, v := range c.values[from:to] {
		boxed, ok := c.boxes[v]
		if !ok {
			boxed = v
			c.boxes[v] = boxed
		}
		if err := dst.AppendRow(boxed); err != nil {
			return err
		}
	}
	return nil
}

func (c *word) sum(h *rowHash, from, to int) {
	for _, v := range c.values[from:to] {
		h.text(v)
	}
}

// list is a column of arrays. All elements are in one slice; ends says where
// each row's end.
type list[T any] struct {
	label  string
	values []T
	ends   []int
	write  func(*rowHash, T)
	none   any // an empty []T as an interface, made once
}

func (c *list[T]) name() string { return c.label }
func (c *list[T]) add(v T)      { c.values = append(c.values, v) }
func (c *list[T]) end()         { c.ends = append(c.ends, len(c.values)) }

func (c *list[T]) reset() {
	clear(c.values)
	c.values, c.ends = c.values[:0], c.ends[:0]
}

func (c *list[T]) row(i int) []T {
	start := 0
	if i > 0 {
		start = c.ends[i-1]
	}
	return c.values[start:c.ends[i]:c.ends[i]]
}

func (c *list[T]) send(dst driver.BatchColumn, from, to int) error {
	if c.none == nil {
		c.none = []T{}
	}
	for i := from; i < to; i++ {
		v := c.none
		if row := c.row(i); len(row) > 0 {
			v = row
		}
		if err := dst.AppendRow(v); err != nil {
			return err
		}
	}
	return nil
}

func (c *list[T]) sum(h *rowHash, from, to int) {
	for i := from; i < to; i++ {
		row := c.row(i)
		h.number(int64(len(row)))
		for _, v := range row {
			c.write(h, v)
		}
	}
}

func newText(label string) *scalar[string] {
	return &scalar[string]{label: label, write: (*rowHash).text}
}
func newWord(label string) *word { return &word{label: label} }
func newTime(label string) *scalar[time.Time] {
	return &scalar[time.Time]{label: label, write: (*rowHash).time}
}
func newMaybeTime(label string) *scalar[*time.Time] {
	return &scalar[*time.Time]{label: label, write: (*rowHash).maybeTime}
}
func newTexts(label string) *list[string] {
	return &list[string]{label: label, write: (*rowHash).text}
}
func newTimes(label string) *list[time.Time] {
	return &list[time.Time]{label: label, write: (*rowHash).time}
}
func newMap(label string) *scalar[map[string]string] {
	return &scalar[map[string]string]{label: label, write: (*rowHash).pairs}
}

type integer interface {
	~int32 | ~int64 | ~uint16 | ~uint32 | ~uint64
}

func newInt[T integer](label string) *scalar[T] {
	return &scalar[T]{label: label, write: func(h *rowHash, v T) { h.number(int64(v)) }}
}
func newInts[T integer](label string) *list[T] {
	return &list[T]{label: label, write: func(h *rowHash, v T) { h.number(int64(v)) }}
}

// rowHash hashes rows, so that a batch that is built again can be told from one
// that differs.
type rowHash struct {
	h   hash.Hash
	buf []byte
}

func newRowHash() *rowHash { return &rowHash{h: sha256.New(), buf: make([]byte, 0, 32<<10)} }

func (r *rowHash) flush() {
	if len(r.buf) > cap(r.buf)-256 {
		_, _ = r.h.Write(r.buf) // a hash never fails
		r.buf = r.buf[:0]
	}
}

func (r *rowHash) number(v int64) {
	r.flush()
	r.buf = binary.AppendVarint(r.buf, v)
}

func (r *rowHash) text(s string) {
	r.number(int64(len(s)))
	for len(s) > 0 {
		r.flush()
		n := min(len(s), cap(r.buf)-len(r.buf))
		r.buf = append(r.buf, s[:n]...)
		s = s[n:]
	}
}

func (r *rowHash) time(t time.Time) { r.number(t.UnixMilli()) }

func (r *rowHash) maybeTime(t *time.Time) {
	if t == nil {
		r.number(-1 << 62)
		return
	}
	r.time(*t)
}

func (r *rowHash) pairs(m map[string]string) {
	// Order-free and without a sorted copy: maps are small and rare.
	var sum uint64
	for k, v := range m {
		p := sha256.Sum256([]byte(k + "\x00" + v))
		sum += binary.LittleEndian.Uint64(p[:8])
	}
	r.number(int64(len(m)))
	r.number(int64(sum))
}

// String returns the hash so far.
func (r *rowHash) String() string {
	_, _ = r.h.Write(r.buf)
	r.buf = r.buf[:0]
	return fmt.Sprintf("sha256:%x", r.h.Sum(nil)[:16])
}
