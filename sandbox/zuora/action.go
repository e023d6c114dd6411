package zuora

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxBatch    = 2000
	locatorLife = 15 * time.Minute
)

// locator is an open cursor: what a query found and was not handed out yet.
type locator struct {
	records []fields
	total   int
	batch   int
	dies    time.Time
}

type locators struct {
	mu    sync.Mutex
	open  map[string]*locator
	count int
}

// zoqlFault is a failure in the shape of the Actions: HTTP 200.
func zoqlFault(code, message string) error {
	return &fail{category: badValue, action: code, message: message}
}

// actionQuery answers POST /v1/action/query.
func (s *Server) actionQuery(r *http.Request) (any, error) {
	var body struct {
		QueryString string
		Conf        struct{ BatchSize *int }
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	batch := maxBatch
	if n := body.Conf.BatchSize; n != nil {
		batch = *n
	}
	if batch < 1 || batch > maxBatch {
		return nil, zoqlFault("INVALID_VALUE", "batchSize must be between 1 and 2000.")
	}
	st, err := parseZOQL(body.QueryString)
	if err != nil {
		return nil, err
	}
	records, err := s.run(st)
	if err != nil {
		return nil, err
	}
	return s.hand(&locator{records: records, total: len(records), batch: batch}), nil
}

// actionQueryMore answers POST /v1/action/queryMore. A locator can be used
// again until it expires.
func (s *Server) actionQueryMore(r *http.Request) (any, error) {
	var body struct{ QueryLocator string }
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	now := s.Clock.Now()
	s.locators.mu.Lock()
	l := s.locators.open[body.QueryLocator]
	for name, other := range s.locators.open {
		if !now.Before(other.dies) {
			delete(s.locators.open, name)
		}
	}
	s.locators.mu.Unlock()
	if l == nil || !now.Before(l.dies) {
		return nil, zoqlFault("INVALID_QUERY_LOCATOR", "The query locator is not known or has expired.")
	}
	return s.hand(l), nil
}

// hand returns the next batch of l and keeps the rest under a new locator.
func (s *Server) hand(l *locator) any {
	n := min(l.batch, len(l.records))
	out := fields{"size": l.total, "done": n == len(l.records)}
	if n > 0 {
		out["records"] = l.records[:n]
	}
	if n < len(l.records) {
		s.locators.mu.Lock()
		defer s.locators.mu.Unlock()
		s.locators.count++
		name := fmt.Sprintf("2c92%020x%08x-%d", s.cfg.Seed, s.locators.count, l.batch)
		s.locators.open[name] = &locator{
			records: l.records[n:], total: l.total, batch: l.batch, dies: s.Clock.Now().Add(locatorLife),
		}
		out["queryLocator"] = name
	}
	return out
}

// run evaluates a statement. Fields that are null are missing from a record.
func (s *Server) run(st statement) ([]fields, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	o := s.objects[strings.ToLower(st.object)]
	if o == nil || o.rows == nil {
		return nil, zoqlFault("INVALID_TYPE", "invalid type: "+st.object)
	}
	type column struct {
		name string
		field
	}
	var columns []column
	for _, name := range st.fields {
		f, custom, ok := s.lookup(o, name)
		if !ok {
			return nil, zoqlFault("INVALID_FIELD", "invalid field for query: "+st.object+"."+name)
		}
		c := column{f.name, f}
		if !custom {
			c.name = upperFirst(f.name)
		}
		columns = append(columns, c)
	}
	where, err := s.compile(o, st.where)
	if err != nil {
		return nil, err
	}
	records := []fields{}
	o.rows(s, func(rec any) {
		if !where(rec) {
			return
		}
		out := fields{}
		for _, c := range columns {
			if v := c.get(rec); v != nil {
				out[c.name] = s.asSOAP(v)
			}
		}
		records = append(records, out)
	})
	return records, nil
}

// asSOAP is a field's value as the Actions send it: times always with
// milliseconds and offset.
func (s *Server) asSOAP(v any) any {
	if t, ok := v.(time.Time); ok {
		return t.In(s.cfg.Zone).Format("2006-01-02T15:04:05.000-07:00")
	}
	return v
}

func (s *Server) compile(o *object, where [][]condition) (func(any) bool, error) {
	if len(where) == 0 {
		return func(any) bool { return true }, nil
	}
	var anyOf [][]func(any) bool
	for _, conjunction := range where {
		var all []func(any) bool
		for _, c := range conjunction {
			test, err := s.condition(o, c)
			if err != nil {
				return nil, err
			}
			all = append(all, test)
		}
		anyOf = append(anyOf, all)
	}
	return func(rec any) bool {
	alternatives:
		for _, all := range anyOf {
			for _, test := range all {
				if !test(rec) {
					continue alternatives
				}
			}
			return true
		}
		return false
	}, nil
}

// condition compiles one comparison. Unlike Object Query's, it regards case.
func (s *Server) condition(o *object, c condition) (func(any) bool, error) {
	f, _, ok := s.lookup(o, c.field)
	if !ok {
		return nil, zoqlFault("INVALID_FIELD", "invalid field for query: "+o.name+"."+c.field)
	}
	if !c.value.quoted && strings.EqualFold(c.value.text, filterNull) {
		switch c.op {
		case "=":
			return func(rec any) bool { return f.get(rec) == nil }, nil
		case "!=":
			return func(rec any) bool { return f.get(rec) != nil }, nil
		}
		return nil, badZOQL("null can be compared by = and != only")
	}
	if sample := f.get(o.zero); sample != nil {
		if _, err := s.ordered(sample, c.value); err != nil {
			return nil, zoqlFault("INVALID_VALUE", "invalid value for field "+o.name+"."+c.field+": "+err.Error())
		}
	}
	return func(rec any) bool {
		v := f.get(rec)
		if v == nil {
			return false
		}
		n, err := s.ordered(v, c.value)
		if err != nil {
			return false
		}
		switch c.op {
		case "=":
			return n == 0
		case "!=":
			return n != 0
		case "<":
			return n < 0
		case "<=":
			return n <= 0
		case ">":
			return n > 0
		default:
			return n >= 0
		}
	}, nil
}

// ordered orders a field's value and a literal.
func (s *Server) ordered(v any, l literal) (int, error) {
	switch v := v.(type) {
	case time.Time:
		t, err := s.parseTime(l.text)
		return v.Compare(t), err
	case bool:
		b, err := strconv.ParseBool(l.text)
		return cmp.Compare(b2i(v), b2i(b)), err
	case int, float64, json.Number:
		n, _ := number(v)
		want, err := strconv.ParseFloat(l.text, 64)
		return cmp.Compare(n, want), err
	}
	if _, isDate := v.(Date); !isDate && !l.quoted {
		return 0, fmt.Errorf("text must be in single quotes")
	}
	return cmp.Compare(fmt.Sprint(v), l.text), nil
}
