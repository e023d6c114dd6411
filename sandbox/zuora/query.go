package zuora

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// view is what the parameters of an Object Query call ask for.
type view struct {
	pageSize int
	nulls    bool
	fields   map[string]map[string]bool // by label, lower case; absent: all
	expands  node
}

// node is a tree of relations to expand, by lower-case name.
type node map[string]node

// parseView reads the parameters that lists and single reads share.
func (s *Server) parseView(o *object, q url.Values) (view, error) {
	v := view{pageSize: 10, fields: map[string]map[string]bool{}, expands: node{}}
	if raw := q.Get("pageSize"); raw != "" {
		n, err := strconv.Atoi(raw)
		if err != nil || n < 1 || n > 99 {
			return v, badFilter(badValue, "pageSize must be between 1 and 99.")
		}
		v.pageSize = n
	}
	v.nulls = q.Get("includeNullFields") == "true"
	for _, list := range q["expand[]"] {
		for path := range strings.SplitSeq(list, ",") {
			if err := v.expands.add(o, strings.ToLower(strings.TrimSpace(path))); err != nil {
				return v, err
			}
		}
	}
	for key, lists := range q {
		label, ok := strings.CutSuffix(key, "fields[]")
		if !ok {
			continue
		}
		label = strings.ToLower(cmp.Or(strings.TrimSuffix(label, "."), o.label))
		if v.fields[label] == nil {
			v.fields[label] = map[string]bool{}
		}
		for _, list := range lists {
			for name := range strings.SplitSeq(list, ",") {
				v.fields[label][strings.ToLower(strings.TrimSpace(name))] = true
			}
		}
	}
	return v, nil
}

func (n node) add(o *object, path string) error {
	for name := range strings.SplitSeq(path, ".") {
		e, ok := o.expands[name]
		if !ok {
			return badFilter(badValue, "Invalid expand '"+path+"' on "+o.label+".")
		}
		if n[name] == nil {
			n[name] = node{}
		}
		n, o = n[name], e.to
	}
	return nil
}

// render writes a record with what the view expands. Expanded lists are cut at
// the page size without a word.
func (s *Server) render(o *object, rec any, v view, label string, n node) fields {
	want, trimmed := v.fields[label]
	if !trimmed {
		want, trimmed = v.fields[o.label]
	}
	out := fields{}
	put := func(name string, value any) {
		if trimmed && !want[strings.ToLower(name)] || value == nil && !v.nulls {
			return
		}
		out[name] = s.asJSON(value)
	}
	for _, f := range o.fields {
		put(f.name, f.get(rec))
	}
	if o.custom != nil {
		values := o.custom(rec)
		if v.nulls {
			for full := range s.customFields {
				if prefix, name, _ := strings.Cut(full, "."); prefix == o.name {
					put(lowerFirst(name), values[name])
				}
			}
		}
		for name, value := range values {
			put(lowerFirst(name), value)
		}
	}
	for name, below := range n {
		e := o.expands[name]
		related := e.get(s, rec)
		if e.many {
			if _, hasTime := e.to.byName["updateddate"]; hasTime {
				related = slices.Clone(related)
				slices.SortStableFunc(related, newestFirst(e.to))
			}
			list := []fields{}
			for _, r := range related[:min(v.pageSize, len(related))] {
				list = append(list, s.render(e.to, r, v, name, below))
			}
			out[e.name] = list
		} else if len(related) > 0 {
			out[e.name] = s.render(e.to, related[0], v, name, below)
		} else if v.nulls {
			out[e.name] = nil
		}
	}
	return out
}

func newestFirst(o *object) func(a, b any) int {
	updated, id := o.byName["updateddate"], o.byName["id"]
	return func(a, b any) int {
		return cmp.Or(compare(updated.get(b), updated.get(a)), compare(id.get(b), id.get(a)))
	}
}

// queryOne answers GET /object-query/{objects}/{key}: the record itself, in no
// envelope.
func (s *Server) queryOne(o *object, r *http.Request) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, err := s.parseView(o, r.URL.Query())
	if err != nil {
		return nil, err
	}
	key := r.PathValue("key")
	rec := o.byKey(s, key)
	if rec == nil {
		return nil, unfound(key)
	}
	return s.render(o, rec, v, o.label, v.expands), nil
}

// queryList answers GET /object-query/{objects}.
func (s *Server) queryList(o *object, r *http.Request) (any, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	q := r.URL.Query()
	v, err := s.parseView(o, q)
	if err != nil {
		return nil, err
	}
	keep, err := s.filters(o, q["filter[]"])
	if err != nil {
		return nil, err
	}
	order, err := s.parseOrder(o, q["sort[]"])
	if err != nil {
		return nil, err
	}
	after, err := order.position(q.Get("cursor"))
	if err != nil {
		return nil, err
	}
	rows := s.rows(o, order, after, v.pageSize+1, q["filter[]"], keep)
	out := fields{}
	if len(rows) > v.pageSize { // one more than the page: there is a next one
		rows = rows[:v.pageSize]
		out["nextPage"] = order.cursor(rows[len(rows)-1])
	}
	data := []fields{}
	for _, rec := range rows {
		data = append(data, s.render(o, rec, v, o.label, v.expands))
	}
	out["data"] = data
	return out, nil
}

// rows returns the n first records after a position that pass the filters, in
// the cheapest way there is.
func (s *Server) rows(o *object, ord order, after *position, n int, filters []string, keep func(any) bool) []any {
	var few []any
	if s.named(o, filters, func(rec any) { few = append(few, rec) }) {
		return ord.first(n, after, slices.Values(slices.DeleteFunc(few, func(rec any) bool { return !keep(rec) })))
	}
	var rows []any
	if s.byUpdate(o, ord, after, filters, func(rec any) bool {
		if keep(rec) {
			rows = append(rows, rec)
		}
		return len(rows) < n
	}) {
		return rows
	}
	return ord.first(n, after, func(yield func(any) bool) {
		o.rows(s, func(rec any) {
			if keep(rec) {
				yield(rec) // first takes them all
			}
		})
	})
}

// order is a sort order with the id as its tie breaker.
type order struct {
	key, id field
	asc     bool
}

// position is where a record stands in an order.
type position struct {
	key any
	id  string
}

func (s *Server) parseOrder(o *object, params []string) (order, error) {
	out := order{key: *o.byName["updateddate"], id: *o.byName["id"]}
	if len(params) == 0 {
		return out, nil
	}
	name, direction, _ := strings.Cut(params[0], ".")
	f, _, ok := s.lookup(o, name)
	if len(params) > 1 || !ok || !strings.EqualFold(direction, "asc") && !strings.EqualFold(direction, "desc") {
		return out, badFilter(badValue, "sort[] takes one field with .ASC or .DESC.")
	}
	out.key, out.asc = f, strings.EqualFold(direction, "asc")
	return out, nil
}

func (o order) of(rec any) position {
	id, _ := o.id.get(rec).(string)
	return position{o.key.get(rec), id}
}

// first returns the n first records after a position. It keeps no more than
// those sorted, since a sweep asks this of every record for every page.
func (o order) first(n int, after *position, all iter.Seq[any]) []any {
	type kept struct {
		position
		rec any
	}
	var rows []kept
	for rec := range all {
		p := o.of(rec)
		if after != nil && o.compare(p, *after) <= 0 || len(rows) == n && o.compare(p, rows[n-1].position) >= 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(rows, p, func(have kept, p position) int { return o.compare(have.position, p) })
		rows = slices.Insert(rows, at, kept{p, rec})
		rows = rows[:min(len(rows), n)]
	}
	out := make([]any, len(rows))
	for i, r := range rows {
		out[i] = r.rec
	}
	return out
}

func (o order) compare(a, b position) int {
	c := compare(a.key, b.key)
	if c == 0 {
		c = cmp.Compare(a.id, b.id)
	}
	if o.asc {
		return c
	}
	return -c
}

// cursor names the place after rec. Clients must not look inside.
func (o order) cursor(rec any) string {
	p := o.of(rec)
	kind := "s"
	value := fmt.Sprint(p.key)
	switch k := p.key.(type) {
	case time.Time:
		kind, value = "t", k.UTC().Format(time.RFC3339Nano)
	case nil:
		kind = "z"
	default:
		if _, ok := number(k); ok {
			kind = "n"
		}
	}
	raw, _ := json.Marshal([]any{map[string]any{"kind": kind, "value": value}, map[string]any{"value": p.id}})
	return base64.RawURLEncoding.EncodeToString(raw)
}

func (o order) position(cursor string) (*position, error) {
	if cursor == "" {
		return nil, nil
	}
	bad := badFilter(badValue, "Invalid cursor.")
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	var parts []struct{ Kind, Value string }
	if err != nil || json.Unmarshal(raw, &parts) != nil || len(parts) != 2 {
		return nil, bad
	}
	p := position{key: parts[0].Value, id: parts[1].Value}
	switch parts[0].Kind {
	case "t":
		t, err := time.Parse(time.RFC3339Nano, parts[0].Value)
		if err != nil {
			return nil, bad
		}
		p.key = t
	case "n":
		p.key = json.Number(parts[0].Value)
	case "z":
		p.key = nil
	}
	return &p, nil
}

// compare orders two field values of one kind; null comes first.
func compare(a, b any) int {
	if a == nil || b == nil {
		return cmp.Compare(b2i(a != nil), b2i(b != nil))
	}
	if ta, ok := a.(time.Time); ok {
		if tb, ok := b.(time.Time); ok {
			return ta.Compare(tb)
		}
	}
	if na, ok := number(a); ok {
		if nb, ok := number(b); ok {
			return cmp.Compare(na, nb)
		}
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// knownFilters lists what a type can be filtered by, for the error text.
func (o *object) knownFilters() string {
	return strings.Join(slices.Sorted(maps.Keys(o.filterable)), ", ")
}
