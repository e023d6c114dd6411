package api

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// Query returns f as the parameters of a GET.
func (f Filter) Query() url.Values { return queryOf(f) }

// String returns f for a person: its conditions, one after the other.
func (f Filter) String() string { return conditions(f) }

// Query returns f as the parameters of a GET.
func (f DeadFilter) Query() url.Values { return queryOf(f) }

// String returns f for a person: its conditions, one after the other.
func (f DeadFilter) String() string { return conditions(f) }

// parameter is one field of a filter under its name in a query.
type parameter struct {
	name   string
	values []string
}

// parameters lists the fields that are set. Filters are made of strings, lists
// of strings, truths and times; anything else is a mistake in this package.
func parameters(filter any) (out []parameter) {
	v := reflect.ValueOf(filter)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("query"), ",")
		if v.Field(i).IsZero() {
			continue
		}
		switch x := v.Field(i).Interface().(type) {
		case string:
			out = append(out, parameter{name, []string{x}})
		case []string:
			out = append(out, parameter{name, x})
		case bool:
			out = append(out, parameter{name, []string{"true"}})
		case time.Time:
			out = append(out, parameter{name, []string{x.UTC().Format(time.RFC3339Nano)}})
		default:
			panic(fmt.Sprintf("api: filter field %s is a %T", name, x))
		}
	}
	return out
}

func queryOf(filter any) url.Values {
	out := url.Values{}
	for _, p := range parameters(filter) {
		out[p.name] = p.values
	}
	return out
}

func conditions(filter any) string {
	var out []string
	for _, p := range parameters(filter) {
		const most = 5
		text := strings.Join(p.values[:min(most, len(p.values))], "|")
		if more := len(p.values) - most; more > 0 {
			text += fmt.Sprintf("|… (%d more)", more)
		}
		out = append(out, p.name+"="+text)
	}
	if out == nil {
		return "no condition"
	}
	return strings.Join(out, " ")
}
