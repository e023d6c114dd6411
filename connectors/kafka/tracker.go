package kafka

import "sort"

// tracker is the contiguous low-water mark of one partition (hazard 7: a commit
// keeps only the highest offset, so committing 10 while 7 is in work loses 7).
// Records are delivered in offset order and finished in any order; low is the
// offset below which everything is finished. Offsets may have gaps: compaction
// and transaction markers take some.
type tracker struct {
	low  int64
	open []mark // sorted by offset; the first is never done
}

type mark struct {
	offset int64
	next   int64 // where the log goes on after it
	done   bool
}

func (t *tracker) deliver(offset, next int64) {
	t.open = append(t.open, mark{offset: offset, next: next})
}

// done finishes a record. It reports whether low moved; a record that is not
// open is ignored.
func (t *tracker) done(offset int64) bool {
	i := sort.Search(len(t.open), func(i int) bool { return t.open[i].offset >= offset })
	if i == len(t.open) || t.open[i].offset != offset {
		return false
	}
	t.open[i].done = true
	n := 0
	for n < len(t.open) && t.open[n].done {
		t.low = t.open[n].next
		n++
	}
	t.open = t.open[n:]
	if len(t.open) == 0 {
		t.open = nil
	}
	return n > 0
}

// skip says that the log goes on at next: nothing lies between it and what was
// delivered last.
func (t *tracker) skip(next int64) {
	if len(t.open) == 0 {
		t.low = max(t.low, next)
		return
	}
	last := &t.open[len(t.open)-1]
	last.next = max(last.next, next)
}

// reset starts over at an offset that may lie below low, for a topic that was
// made anew.
func (t *tracker) reset(offset int64) { *t = tracker{low: offset} }
