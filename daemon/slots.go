package daemon

import "sync"

// slots bounds the syncs under way on this instance, over all partitions. A
// quarter is kept for the live work of each billing system that is followed: syncs
// that wait for one vendor, because it is slow or its budget is used up, hold back
// nobody who needs another (Invariant 7).
//
// Bulk work has half of them at most, and shrinks as live work grows: beyond its
// first it takes one only while another quarter stays free for each billing
// system. So live work finds a slot as if no sweep were running.
type slots struct {
	all, bulk, quarter int
	kept               []string // the systems for whose live work slots are kept

	mu    sync.Mutex
	taken map[class]int
	freed chan struct{} // closed and replaced when one is given back
}

// class is a kind of work that shares slots.
type class struct {
	system string // of the key
	bulk   bool
}

func newSlots(n int, systems []string) *slots {
	return &slots{kept: systems, all: n, bulk: max(1, n/2), quarter: n / 4, taken: map[class]int{}, freed: make(chan struct{})}
}

// take takes a slot, if there is one for c.
func (s *slots) take(c class) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	used, bulk := 0, 0
	for of, n := range s.taken {
		used += n
		if of.bulk {
			bulk += n
		}
	}
	for _, system := range s.kept {
		switch live := (class{system: system}); {
		case c.bulk && bulk > 0:
			used += s.quarter
		case live != c:
			used += max(0, s.quarter-s.taken[live])
		}
	}
	if used >= s.all || c.bulk && bulk >= s.bulk {
		return false
	}
	s.taken[c]++
	return true
}

// give gives a slot back.
func (s *slots) give(c class) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken[c]--
	close(s.freed)
	s.freed = make(chan struct{})
}

// change returns a channel that is closed when a slot is given back after this
// call.
func (s *slots) change() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.freed
}
