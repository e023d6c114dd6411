package stripe

import (
	"cmp"
	"slices"
	"time"
)

// timeline keeps things by the time they were made, and pages through them
// newest first. Adding is cheap; the first read after an addition out of order
// sorts.
type timeline[T any] struct {
	list  []dated[T]
	dirty bool
	keys  map[string]dateKey
}

type dateKey struct {
	at  int64
	seq uint64
}

type dated[T any] struct {
	dateKey
	id string
	v  T
}

func (k dateKey) compare(o dateKey) int {
	return cmp.Or(cmp.Compare(k.at, o.at), cmp.Compare(k.seq, o.seq))
}

func (t *timeline[T]) add(at time.Time, seq uint64, id string, v T) {
	d := dated[T]{dateKey{at.Unix(), seq}, id, v}
	if n := len(t.list); n > 0 && t.list[n-1].compare(d.dateKey) > 0 {
		t.dirty = true
	}
	if t.keys == nil {
		t.keys = map[string]dateKey{}
	}
	t.list = append(t.list, d)
	t.keys[id] = d.dateKey
}

// sorted returns everything, oldest first. The caller must not keep it.
func (t *timeline[T]) sorted() []dated[T] {
	if t.dirty {
		slices.SortFunc(t.list, func(a, b dated[T]) int { return a.compare(b.dateKey) })
		t.dirty = false
	}
	return t.list
}

func (t *timeline[T]) dropOldest(n int) {
	if n == 0 {
		return
	}
	list := t.sorted()
	for _, d := range list[:n] {
		delete(t.keys, d.id)
	}
	t.list = slices.Clone(list[n:])
}

// pageQuery is what a list call asks for.
type pageQuery struct {
	limit         int
	startingAfter string
	endingBefore  string
}

// page returns a page of what keep lets through, newest first, and whether
// there is more in the direction of paging.
func (t *timeline[T]) page(q pageQuery, kind string, keep func(T) bool) ([]T, bool, *apiError) {
	list := t.sorted()
	step, i := -1, len(list)-1
	if cursor := cmp.Or(q.startingAfter, q.endingBefore); cursor != "" {
		key, ok := t.keys[cursor]
		if !ok {
			return nil, false, missingCursor(q, kind, cursor)
		}
		i, _ = slices.BinarySearchFunc(list, key, func(d dated[T], k dateKey) int { return d.compare(k) })
		if q.startingAfter == "" {
			step = 1
		}
		i += step
	}
	var out []T
	more := false
	for ; i >= 0 && i < len(list); i += step {
		if !keep(list[i].v) {
			continue
		}
		if len(out) == q.limit {
			more = true
			break
		}
		out = append(out, list[i].v)
	}
	if step > 0 {
		slices.Reverse(out)
	}
	return out, more, nil
}

// pageOf pages through a short list that is in the order in which it is shown.
func pageOf[T any](list []T, q pageQuery, kind string, id func(T) string) ([]T, bool, *apiError) {
	from, to := 0, len(list)
	if cursor := cmp.Or(q.startingAfter, q.endingBefore); cursor != "" {
		i := slices.IndexFunc(list, func(v T) bool { return id(v) == cursor })
		if i < 0 {
			return nil, false, missingCursor(q, kind, cursor)
		}
		if q.startingAfter != "" {
			from = i + 1
		} else {
			to = i
		}
	}
	more := to-from > q.limit
	if q.endingBefore != "" {
		return list[max(from, to-q.limit):to], more, nil
	}
	return list[from:min(to, from+q.limit)], more, nil
}

func missingCursor(q pageQuery, kind, cursor string) *apiError {
	param := "starting_after"
	if q.startingAfter == "" {
		param = "ending_before"
	}
	e := missing(kind, cursor, param)
	e.status = 400
	return e
}
