package stripe

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// encoder writes rendered values as encoding/json does, keys sorted, but several
// times faster: rendering is most of what this server does. It remembers the
// sorted keys of each shape of object. It is safe for concurrent use, and the
// zero encoder is one.
type encoder struct{ shapes sync.Map } // shape -> []field

// shape tells objects with different keys apart, nearly always.
type shape struct {
	name string // what "object" says, else the field that holds it
	keys int
}

type field struct{ name, quoted string } // quoted is "name":

// raw is JSON text: a part that is the same in every object of its kind.
type raw string

// MarshalJSON implements json.Marshaler.
func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// append writes v; name is that of the field that holds it.
func (e *encoder) append(b []byte, name string, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case string:
		return appendString(b, v)
	case raw:
		return append(b, v...)
	case obj:
		return e.appendObject(b, name, v)
	case []any:
		b = append(b, '[')
		for i, x := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = e.append(b, name, x)
		}
		return append(b, ']')
	}
	return appendAny(b, v)
}

func (e *encoder) appendObject(b []byte, name string, o obj) []byte {
	if len(o) == 0 {
		return append(b, "{}"...)
	}
	if kind, ok := o["object"].(string); ok {
		name = kind
	}
	if known, ok := e.shapes.Load(shape{name, len(o)}); ok {
		if out, fits := e.appendFields(b, o, known.([]field)); fits {
			return out
		}
	}
	fields := fieldsOf(o)
	e.shapes.Store(shape{name, len(o)}, fields)
	b, _ = e.appendFields(b, o, fields)
	return b
}

// appendFields writes an object, unless its keys are other ones.
func (e *encoder) appendFields(b []byte, o obj, fields []field) (out []byte, fits bool) {
	out = append(b, '{')
	for i, f := range fields {
		v, ok := o[f.name]
		if !ok {
			return b, false
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = e.append(append(out, f.quoted...), f.name, v)
	}
	return append(out, '}'), true
}

func fieldsOf(o obj) []field {
	fields := make([]field, 0, len(o))
	for k := range o {
		fields = append(fields, field{k, string(appendString(nil, k)) + ":"})
	}
	slices.SortFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return fields
}

// appendString writes a string, and leaves those that need escapes to
// encoding/json.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return appendAny(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendAny(b []byte, v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("stripe sandbox: render %T: %v", v, err)) // renderers make nothing that cannot be encoded
	}
	return append(b, raw...)
}
