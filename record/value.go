package record

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Value is one scalar as canonical JSON text: "\"active\"", "3", "true",
// "null". Values of the same kind and content are equal strings. The zero
// Value means that the field is absent.
type Value string

// Null is a field that is present and empty.
const Null Value = "null"

// Text returns s as a Value.
func Text(s string) Value {
	b, _ := json.Marshal(s) // a string always marshals
	return Value(b)
}

// TextOrNull returns Null for an empty string, else Text(s).
func TextOrNull(s string) Value {
	if s == "" {
		return Null
	}
	return Text(s)
}

// Bool returns b as a Value.
func Bool(b bool) Value { return Value(strconv.FormatBool(b)) }

// Int returns n as a Value.
func Int(n int64) Value { return Value(strconv.FormatInt(n, 10)) }

// Day returns t's UTC date (2027-01-05) as a Value, Null for the zero time.
func Day(t time.Time) Value {
	if t.IsZero() {
		return Null
	}
	return Text(t.UTC().Format(time.DateOnly))
}

// Instant returns t as an ISO 8601 UTC timestamp with milliseconds, the form
// of Limio's termStartDate (limio.md 2.1). Null for the zero time.
func Instant(t time.Time) Value {
	if t.IsZero() {
		return Null
	}
	return Text(t.UTC().Format("2006-01-02T15:04:05.000Z"))
}

// String returns the content: a string without its quotes, any other scalar as
// written, and "" for an absent or null value.
func (v Value) String() string {
	if v == "" || v == Null {
		return ""
	}
	if v[0] == '"' {
		var s string
		if json.Unmarshal([]byte(v), &s) == nil {
			return s
		}
	}
	return string(v)
}

// MarshalJSON writes the value as it stands, null when absent.
func (v Value) MarshalJSON() ([]byte, error) {
	if v == "" {
		return []byte("null"), nil
	}
	return []byte(v), nil
}

// UnmarshalJSON keeps the text of any JSON value.
func (v *Value) UnmarshalJSON(b []byte) error {
	*v = Value(strings.TrimSpace(string(b)))
	return nil
}

// Kind says when two values of a field mean the same.
type Kind int

// The kinds. Absent, null and empty mean the same in every kind, since the
// vendors leave out, null and blank fields at will.
const (
	Exact  Kind = iota // byte for byte
	Date               // the same UTC day: Limio mixes dates and timestamps (limio.md 2.1)
	Amount             // the same decimal number: "42.00" is 42
)

// Same reports whether a and b mean the same in kind k.
func Same(k Kind, a, b Value) bool {
	x, y := a.String(), b.String()
	if x == y {
		return true
	}
	switch k {
	case Date:
		return day(x) == day(y)
	case Amount:
		return decimal(x) == decimal(y)
	default:
		return false
	}
}

// day returns the UTC date of a date or timestamp, or the text itself.
func day(s string) string {
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04:05.999", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Format(time.DateOnly)
		}
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC().Format(time.DateOnly)
	}
	return s
}

// ParseDay reads the UTC day of a date or timestamp in any of the forms above.
func ParseDay(s string) (time.Time, bool) {
	t, err := time.Parse(time.DateOnly, day(s))
	return t, err == nil
}

// decimal drops what does not change a decimal number: sign of zero, leading
// zeros and trailing zeros of the fraction. Other text is returned unchanged.
func decimal(s string) string {
	t, negative := strings.CutPrefix(s, "-")
	whole, fraction, _ := strings.Cut(t, ".")
	if !digits(whole) || (fraction != "" && !digits(fraction)) {
		return s
	}
	whole = strings.TrimLeft(whole, "0")
	fraction = strings.TrimRight(fraction, "0")
	out := whole
	if out == "" {
		out = "0"
	}
	if fraction != "" {
		out += "." + fraction
	}
	if negative && out != "0" {
		out = "-" + out
	}
	return out
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
