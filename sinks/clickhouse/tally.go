package clickhouse

import (
	"maps"
	"slices"

	proto "github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// tally is a column of maps of numbers. Few rows have any, so only those are
// kept.
type tally struct {
	label string
	rows  int
	of    map[int]map[string]int64 // by row
}

func (c *tally) name() string { return c.label }

func (c *tally) add(v map[string]int64) {
	if len(v) > 0 {
		if c.of == nil {
			c.of = map[int]map[string]int64{}
		}
		c.of[c.rows] = v
	}
	c.rows++
}

func (c *tally) reset() { clear(c.of); c.rows = 0 }

func (c *tally) send(dst driver.BatchColumn, from, to int) error {
	var none any = map[string]int64(nil)
	for i := from; i < to; i++ {
		row := none
		if m := c.of[i]; m != nil {
			row = sorted(m)
		}
		if err := dst.AppendRow(row); err != nil {
			return err
		}
	}
	return nil
}

func (c *tally) sum(h *rowHash, from, to int) {
	for i := from; i < to; i++ {
		h.tally(c.of[i])
	}
}

// sorted is a map that the driver sends in the order of its keys, so that not
// even the order in a row depends on chance.
type sorted map[string]int64

// Iterator implements column.IterableOrderedMap.
func (s sorted) Iterator() proto.MapIterator {
	return &sortedIterator{of: s, left: slices.Sorted(maps.Keys(s))}
}

// Put implements column.IterableOrderedMap, for which a map can be read too.
func (s sorted) Put(key, value any) {
	if k, ok := key.(string); ok {
		s[k], _ = value.(int64)
	}
}

type sortedIterator struct {
	of   sorted
	at   string
	left []string
}

// Next implements column.MapIterator.
func (i *sortedIterator) Next() bool {
	if len(i.left) == 0 {
		return false
	}
	i.at, i.left = i.left[0], i.left[1:]
	return true
}

// Key implements column.MapIterator.
func (i *sortedIterator) Key() any { return i.at }

// Value implements column.MapIterator.
func (i *sortedIterator) Value() any { return i.of[i.at] }
