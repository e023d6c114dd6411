package zuora

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
)

// recent orders the records of one type by their last update, oldest first, so
// that a page of a sweep costs what is on it and not what the tenant holds.
//
// What changes is only noted, and sorted in when somebody asks. Two locks:
// notes are made with the tenant locked for writing, questions come from many
// readers at once.
type recent struct {
	mu     sync.Mutex
	sorted []stamp // replaced as a whole: a reader keeps what it got
	notes  []stamp
}

// stamp is where a record stands, or stood before it changed again.
type stamp struct {
	at time.Time
	id string
}

func (a stamp) compare(b stamp) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id)) }

// note says that a record was written at a time, or is gone.
func (r *recent) note(id string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, stamp{at, id})
}

// all returns the stamps of all records, each once. current tells whether a
// stamp still is its record's; only those of records that were noted can be not.
func (r *recent) all(current func(stamp) bool) []stamp {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.notes) == 0 {
		return r.sorted
	}
	noted := map[string]bool{}
	for _, p := range r.notes {
		noted[p.id] = true
	}
	slices.SortFunc(r.notes, stamp.compare)
	fresh := slices.DeleteFunc(slices.CompactFunc(r.notes, func(a, b stamp) bool { return a.compare(b) == 0 }),
		func(p stamp) bool { return !current(p) })
	merged := make([]stamp, 0, len(r.sorted)+len(fresh))
	for _, p := range r.sorted {
		if noted[p.id] {
			continue // what it is now is among the fresh ones
		}
		for len(fresh) > 0 && fresh[0].compare(p) < 0 {
			merged, fresh = append(merged, fresh[0]), fresh[1:]
		}
		merged = append(merged, p)
	}
	r.sorted, r.notes = append(merged, fresh...), nil
	return r.sorted
}

// byUpdate visits the records of a type in the order of their updates, from
// after a position, within the bounds that filters set on the update, until
// each returns false. It reports whether it can: the order must be that of
// updates, and so must the position.
func (s *Server) byUpdate(o *object, ord order, after *position, filters []string, each func(rec any) bool) bool {
	if o.find == nil || ord.key.name != "updatedDate" {
		return false
	}
	stamps := s.recents[o.name].all(func(p stamp) bool {
		rec := o.find(s, p.id)
		return rec != nil && ord.key.get(rec).(time.Time).Equal(p.at)
	})
	from, to := s.within(stamps, filters)
	if after != nil {
		at, ok := after.key.(time.Time)
		if !ok {
			return false
		}
		i, found := slices.BinarySearchFunc(stamps, stamp{at, after.id}, stamp.compare)
		switch {
		case !ord.asc:
			to = min(to, i)
		case found:
			from = max(from, i+1)
		default:
			from = max(from, i)
		}
	}
	for from < to {
		i := from
		if ord.asc {
			from++
		} else {
			to--
			i = to
		}
		if !each(o.find(s, stamps[i].id)) {
			break
		}
	}
	return true
}

// within returns the range of stamps that may pass the filters. It may hold too
// much; the filters have the last word.
func (s *Server) within(stamps []stamp, filters []string) (from, to int) {
	to = len(stamps)
	for _, f := range filters {
		head, value, _ := strings.Cut(f, ":")
		name, op, _ := strings.Cut(strings.ToLower(head), ".")
		t, err := s.parseTime(value)
		if name != "updateddate" || err != nil {
			continue
		}
		switch op {
		case "ge", "gt":
			i, _ := slices.BinarySearchFunc(stamps, t, func(p stamp, t time.Time) int { return p.at.Compare(t) })
			from = max(from, i)
		case "le", "lt":
			i, _ := slices.BinarySearchFunc(stamps, t, func(p stamp, t time.Time) int {
				if p.at.After(t) {
					return 1
				}
				return -1
			})
			to = min(to, i)
		}
	}
	return from, to
}
