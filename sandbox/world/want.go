package world

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"hotsync/sandbox/limio"
)

// fields are the values that a Limio object must have, by dotted path, in the
// form that text gives a stored value.
type fields map[string]string

// The paths whose values are not compared letter by letter.
var (
	datePaths   = []string{"data.termStartDate", "data.termEndDate", "data.start", "data.end", "data.date", "data.schedule_date"}
	numberPaths = []string{"data.quantity", "data.price.amount", "data.amount"}
)

// text is what a stored value means: a date its day in UTC, an amount its
// number, nothing and null and the empty text the same.
func text(path string, v any) string {
	var s string
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		s = v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		s = strconv.FormatFloat(v, 'f', -1, 64)
	default:
		b, _ := json.Marshal(v) // a stored value always marshals
		s = string(b)
	}
	switch {
	case slices.Contains(datePaths, path):
		return dayOf(s)
	case slices.Contains(numberPaths, path):
		return number(s)
	}
	return s
}

// dayOf returns the UTC day of any of Limio's date forms (limio.md 2.1).
func dayOf(s string) string {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return day(t)
	}
	if len(s) > len(time.DateOnly) {
		return s[:len(time.DateOnly)]
	}
	return s
}

// day is a time's UTC day, empty for the zero time.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

// number writes a decimal number in one way.
func number(s string) string {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil {
		return s
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// differences compares an object with what it must be.
func differences(system, id, what string, want fields, have limio.Object) []Difference {
	var out []Difference
	for _, path := range slices.Sorted(maps.Keys(want)) {
		w, h := text(path, want[path]), text(path, have.At(path))
		if w != h {
			out = append(out, Difference{System: system, ID: id, Field: what + " " + path, Want: w, Have: h})
		}
	}
	return out
}

// set writes value at a dotted path of an object's JSON.
func set(json map[string]any, path string, value any) {
	parts := strings.Split(path, ".")
	for _, p := range parts[:len(parts)-1] {
		next, ok := json[p].(map[string]any)
		if !ok {
			next = map[string]any{}
			json[p] = next
		}
		json = next
	}
	json[parts[len(parts)-1]] = value
}

// stored is the form in which a value of fields is kept: numbers and truth
// values as such on the paths where Limio has them, everything else as text.
func stored(path, value string) any {
	switch path {
	case "data.attributes.autoRenew", "data.isDefault":
		return value == "true"
	case "data.quantity", "data.price.amount", "data.zuora.result.CreditCardExpirationMonth", "data.zuora.result.CreditCardExpirationYear",
		"data.stripe.result.exp_month", "data.stripe.result.exp_year":
		if f, err := strconv.ParseFloat(value, 64); err == nil {
			return f
		}
	}
	if value == "" {
		return nil
	}
	return value
}

// fill writes those fields that an object does not have yet.
func fill(json map[string]any, want fields) {
	have := limio.Object{JSON: json}
	for path, value := range want {
		if text(path, value) != text(path, have.At(path)) {
			set(json, path, stored(path, value))
		}
	}
}

// count reads a whole number, 0 for none.
func count(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
