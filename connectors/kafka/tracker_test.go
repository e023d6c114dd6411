package kafka

import (
	"testing"

	"pgregory.net/rapid"
)

// Hazard 7: committing 10 while 7 is in work loses 7.
func TestTrackerStaysBelowOpenWork(t *testing.T) {
	var tr tracker
	tr.reset(5)
	for o := int64(5); o < 11; o++ {
		tr.deliver(o, o+1)
	}
	for _, o := range []int64{5, 6, 8, 9, 10, 10} {
		tr.done(o)
	}
	if tr.low != 7 {
		t.Fatalf("low-water mark %d, want 7: 7 is in work", tr.low)
	}
	if !tr.done(7) || tr.low != 11 {
		t.Fatalf("low-water mark %d, want 11", tr.low)
	}
	if tr.done(7) || tr.done(99) {
		t.Fatal("a record that is not open moved the mark")
	}
}

func TestTrackerPassesGaps(t *testing.T) {
	var tr tracker
	tr.reset(0)
	tr.skip(3) // nothing delivered yet: markers at 0 to 2
	tr.deliver(3, 4)
	tr.skip(9) // compacted away
	if tr.low != 3 {
		t.Fatalf("low %d, want 3", tr.low)
	}
	if tr.done(3); tr.low != 9 {
		t.Fatalf("low %d, want 9", tr.low)
	}
	tr.reset(0)
	if tr.low != 0 {
		t.Fatalf("low %d after a reset, want 0", tr.low)
	}
}

// Whatever the order in which records finish, the mark is the first unfinished
// one, it never goes back, and at the end it is the end of the log.
func TestTrackerModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tr tracker
		offset := rapid.Int64Range(0, 100).Draw(t, "start")
		tr.reset(offset)
		open := map[int64]bool{}
		end := offset
		low := func() int64 {
			at := end
			for o := range open {
				at = min(at, o)
			}
			return at
		}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			before := tr.low
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				tr.skip(end + rapid.Int64Range(0, 3).Draw(t, "gap"))
				if len(tr.open) == 0 {
					end = max(end, tr.low)
				} else {
					end = max(end, tr.open[len(tr.open)-1].next)
				}
				tr.deliver(end, end+1)
				open[end] = true
				end++
			default:
				if len(open) == 0 {
					continue
				}
				keys := make([]int64, 0, len(open))
				for o := range end {
					if open[o] {
						keys = append(keys, o)
					}
				}
				o := rapid.SampledFrom(keys).Draw(t, "done")
				delete(open, o)
				tr.done(o)
			}
			if tr.low < before {
				t.Fatalf("the mark went back from %d to %d", before, tr.low)
			}
			if first := low(); tr.low > first {
				t.Fatalf("the mark %d is above the open record %d", tr.low, first)
			}
		}
		for o := range open {
			tr.done(o)
		}
		if tr.low != end {
			t.Fatalf("all done: mark %d, want %d", tr.low, end)
		}
	})
}
