package zuora

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Special values of a filter (zuora-stripe.md Z3).
const (
	filterNull  = "null"
	filterEmpty = "\x02\x03"
)

// filters compiles filter[] parameters. Several are joined by AND.
func (s *Server) filters(o *object, params []string) (func(rec any) bool, error) {
	var tests []func(any) bool
	for _, p := range params {
		test, err := s.filter(o, p)
		if err != nil {
			return nil, err
		}
		tests = append(tests, test)
	}
	return func(rec any) bool {
		for _, t := range tests {
			if !t(rec) {
				return false
			}
		}
		return true
	}, nil
}

// filter compiles one "field.OP:value". The value is all that follows the
// first colon.
func (s *Server) filter(o *object, param string) (func(any) bool, error) {
	head, value, ok := strings.Cut(param, ":")
	name, op, ok2 := strings.Cut(head, ".")
	if !ok || !ok2 {
		return nil, badFilter(badValue, "Invalid filter '"+param+"': it must be field.OP:value.")
	}
	f, custom, ok := s.lookup(o, name)
	switch {
	case !ok:
		return nil, badFilter(unknownField, "Unknown field '"+name+"' in filter on "+o.label+".")
	case custom && !s.indexed[strings.ToLower(o.name+"."+f.name)]:
		return nil, badFilter(badValue, "Field '"+name+"' is not indexed and cannot be filtered by.")
	case !custom && !o.filterable[strings.ToLower(name)]:
		return nil, badFilter(badValue, "Field '"+name+"' cannot be filtered by; these can: "+o.knownFilters()+".")
	}
	op = strings.ToUpper(op)
	literals := []string{value}
	if op == "IN" {
		list, ok := strings.CutPrefix(value, "[")
		list, ok2 := strings.CutSuffix(list, "]")
		if !ok || !ok2 {
			return nil, badFilter(badValue, "IN takes a list: field.IN:[a,b].")
		}
		literals = strings.Split(list, ",")
	}
	if op != "SW" && value != filterNull {
		for _, l := range literals {
			if err := s.fits(o, f, l); err != nil {
				return nil, badFilter(badValue, "Invalid value for field '"+name+"': "+err.Error()+".")
			}
		}
	}
	switch op {
	case "EQ", "NE":
		return s.equality(f, op == "NE", value), nil
	case "IN":
		return s.anyOf(f, literals), nil
	case "LT", "GT", "LE", "GE":
		return s.inequality(f, op, value), nil
	case "SW":
		return func(rec any) bool {
			v, ok := text(f.get(rec))
			return ok && len(v) >= len(value) && strings.EqualFold(v[:len(value)], value)
		}, nil
	default:
		return nil, badFilter(badValue, "Unknown operator '"+op+"'.")
	}
}

// equality compares without regard to case, which is why a client must look at
// what it gets.
func (s *Server) equality(f field, negate bool, value string) func(any) bool {
	if value == filterNull {
		return func(rec any) bool { return (f.get(rec) == nil) != negate }
	}
	if value == filterEmpty {
		value = ""
	}
	return func(rec any) bool {
		v := f.get(rec)
		return v != nil && s.equal(v, value) != negate
	}
}

func (s *Server) anyOf(f field, values []string) func(any) bool {
	return func(rec any) bool {
		v := f.get(rec)
		if v == nil {
			return false
		}
		for _, want := range values {
			if s.equal(v, want) {
				return true
			}
		}
		return false
	}
}

// fits reports why a literal is not of a field's type. The type is that of the
// field in an empty record; dates are null there.
func (s *Server) fits(o *object, f field, literal string) error {
	sample := f.get(o.zero)
	if sample == nil && strings.HasSuffix(f.name, "Date") {
		return Date(literal).valid()
	}
	if sample == nil || literal == filterEmpty {
		return nil
	}
	_, err := s.against(sample, literal)
	return err
}

// equal compares a field that is not null with a literal, by the field's type.
func (s *Server) equal(v any, literal string) bool {
	if c, err := s.against(v, literal); err == nil {
		return c == 0
	}
	return false
}

func (s *Server) inequality(f field, op, value string) func(any) bool {
	return func(rec any) bool {
		v := f.get(rec)
		if v == nil {
			return false
		}
		c, err := s.against(v, value)
		if err != nil {
			return false
		}
		switch op {
		case "LT":
			return c < 0
		case "GT":
			return c > 0
		case "LE":
			return c <= 0
		default:
			return c >= 0
		}
	}
}

// against orders a field's value and a literal. Text ignores case.
func (s *Server) against(v any, literal string) (int, error) {
	switch v := v.(type) {
	case time.Time:
		t, err := s.parseTime(literal)
		return v.Compare(t), err
	case bool:
		b, err := strconv.ParseBool(literal)
		return cmp.Compare(b2i(v), b2i(b)), err
	case Date:
		return cmp.Compare(string(v), literal), Date(literal).valid()
	}
	if n, ok := number(v); ok {
		want, err := strconv.ParseFloat(literal, 64)
		return cmp.Compare(n, want), err
	}
	have, _ := text(v)
	if strings.EqualFold(have, literal) {
		return 0, nil
	}
	return cmp.Compare(strings.ToLower(have), strings.ToLower(literal)), nil
}

// parseTime reads a time with or without an offset; without, it is the
// tenant's.
func (s *Server) parseTime(literal string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05-0700"} {
		if t, err := time.Parse(layout, literal); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, literal, s.cfg.Zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", literal)
}

// text is a field's value as characters; false for null.
func text(v any) (string, bool) {
	if v == nil {
		return "", false
	}
	return fmt.Sprint(v), true
}
