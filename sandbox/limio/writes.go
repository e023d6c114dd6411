package limio

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Who wrote, in Write.By, apart from the source given to UpdateAs.
const (
	ByAPI   = "api"   // an API client's PUT, POST or DELETE
	BySync  = "sync"  // a sync endpoint or the Zuora event handler
	ByOrder = "order" // an order that was carried out
	ByStaff = "staff" // somebody in Limio's own app
	BySeed  = "seed"  // a builder such as AddCustomer
)

// Write is one entry of the write log.
type Write struct {
	At    time.Time // simulated time
	Seq   int       // from 1, without gaps
	By    string    // ByAPI, BySync, ByOrder, BySeed, or the source given to UpdateAs
	Route string    // as registered, such as "PUT /api/objects/{service}/{path_type}/{id}"; empty for writes from Go
	Op    string    // "create", "update" or "delete"

	ObjectID   string
	RecordType string

	// Changed are the changed values by path, without created and updated.
	// It is empty for objects that a builder made, and with
	// Config.ForgetChanges.
	Changed []FieldChange
	// Noop says that an update changed nothing.
	Noop bool
}

// FieldChange is one changed value. Arrays are one value.
type FieldChange struct {
	Path   string // dotted, "data.price.amount"
	Before string // JSON text, or "" when there was no value
	After  string // JSON text, or "" when there is none any more
}

// writeLog keeps the most recent writes.
type writeLog struct {
	keep   int
	forget bool // what was changed
	seq    int
	writes []Write
}

func (l *writeLog) add(w Write) {
	l.seq++
	w.Seq = l.seq
	if l.forget {
		w.Changed = nil
	}
	if l.keep < 1 {
		return
	}
	if len(l.writes) >= l.keep {
		l.writes = slices.Clone(l.writes[(l.keep+1)/2:])
	}
	l.writes = append(l.writes, w)
}

// Writes returns the write log, oldest first.
func (s *Server) Writes() []Write { return s.WritesSince(0) }

// WritesSince returns the entries of the write log whose Seq is above seq,
// oldest first.
func (s *Server) WritesSince(seq int) []Write {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.store.log.writes
	from, _ := slices.BinarySearchFunc(log, seq+1, func(w Write, want int) int { return w.Seq - want })
	out := slices.Clone(log[from:])
	for i := range out {
		out[i].Changed = slices.Clone(out[i].Changed)
	}
	return out
}

// WriteCount returns how many writes there were, the Seq of the last one; those
// that the log does not hold any more count.
func (s *Server) WriteCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.log.seq
}

// ResetWrites empties the write log. Seq goes on.
func (s *Server) ResetWrites() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store.log.writes = nil
}

// changes returns what differs between two objects, sorted by path.
func changes(before, after map[string]any) []FieldChange {
	was, is := map[string]string{}, map[string]string{}
	flatten("", before, was)
	flatten("", after, is)
	var out []FieldChange
	for path, b := range was {
		if a := is[path]; a != b && !(b == "{}" && a == "" && hasChildren(path, is)) {
			out = append(out, FieldChange{path, b, a})
		}
	}
	for path, a := range is {
		if _, ok := was[path]; !ok && !(a == "{}" && hasChildren(path, was)) {
			out = append(out, FieldChange{path, "", a})
		}
	}
	out = slices.DeleteFunc(out, func(c FieldChange) bool { return c.Path == "created" || c.Path == "updated" })
	slices.SortFunc(out, func(a, b FieldChange) int { return strings.Compare(a.Path, b.Path) })
	return out
}

func hasChildren(path string, flat map[string]string) bool {
	for other := range flat {
		if strings.HasPrefix(other, path+".") {
			return true
		}
	}
	return false
}

func flatten(path string, v any, out map[string]string) {
	if m, ok := v.(map[string]any); ok && (len(m) > 0 || path == "") {
		for k, item := range m {
			if path != "" {
				k = path + "." + k
			}
			flatten(k, item, out)
		}
		return
	}
	text, _ := json.Marshal(v) // stored values are plain JSON types
	out[path] = string(text)
}
