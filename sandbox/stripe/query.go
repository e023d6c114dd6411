package stripe

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// kindOf a parameter: how its value is checked.
type kindOf int

const (
	text kindOf = iota
	limit
	flag
	dates    // 123 or [gt]=, [gte]=, [lt]=, [lte]=
	array    // [0]=, []=
	whatIf   // of the upcoming invoice: known to Stripe, not simulated
	textOrIn // a text with a fixed choice; see oneOf
)

// params are the parameters of a route.
type params map[string]param

type param struct {
	kind  kindOf
	oneOf []string
}

// with returns p and what is in more.
func (p params) with(more params) params {
	out := maps.Clone(p)
	maps.Copy(out, more)
	return out
}

var (
	retrieving = params{"expand": {kind: array}}
	listing    = params{"expand": {kind: array}, "limit": {kind: limit}, "starting_after": {}, "ending_before": {}}
)

// query holds the parameters of a call, checked.
type query struct {
	texts  map[string]string
	arrays map[string][]string
	ranges map[string][]bound
}

type bound struct {
	op string // gt, gte, lt, lte, or empty for equality
	at int64
}

func (q query) text(name string) string    { return q.texts[name] }
func (q query) array(name string) []string { return q.arrays[name] }

// within says whether a time is in the range that was asked for, if any.
func (q query) within(name string, t int64) bool {
	for _, b := range q.ranges[name] {
		var ok bool
		switch b.op {
		case "gt":
			ok = t > b.at
		case "gte":
			ok = t >= b.at
		case "lt":
			ok = t < b.at
		case "lte":
			ok = t <= b.at
		default:
			ok = t == b.at
		}
		if !ok {
			return false
		}
	}
	return true
}

func (q query) page() pageQuery {
	n := 10
	if v := q.texts["limit"]; v != "" {
		n, _ = strconv.Atoi(v) // checked by parseQuery
	}
	return pageQuery{limit: n, startingAfter: q.texts["starting_after"], endingBefore: q.texts["ending_before"]}
}

// parseQuery checks a query string against the parameters of a route. Array
// elements keep the order they are written in.
func parseQuery(raw string, known params) (query, *apiError) {
	q := query{texts: map[string]string{}, arrays: map[string][]string{}, ranges: map[string][]bound{}}
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(k)
		if err != nil {
			return q, invalid("", "", "Invalid query string: %s", pair)
		}
		value, err := url.QueryUnescape(v)
		if err != nil {
			return q, invalid("", key, "Invalid query string: %s", pair)
		}
		if e := q.take(key, value, known); e != nil {
			return q, e
		}
	}
	if q.texts["starting_after"] != "" && q.texts["ending_before"] != "" {
		return q, invalid("", "", "Received both starting_after and ending_before parameters. Please pass in only one.")
	}
	return q, nil
}

func (q query) take(key, value string, known params) *apiError {
	name, rest, bracket := strings.Cut(key, "[")
	p, ok := known[name]
	if !ok {
		return invalid("parameter_unknown", name, "Received unknown parameter: %s", name)
	}
	sub := strings.TrimSuffix(rest, "]")
	if bracket && p.kind != array && p.kind != dates && p.kind != whatIf {
		return invalid("", name, "Invalid string: {\"%s\"=>\"%s\"}", sub, value)
	}
	if value == "" && p.kind != array {
		return invalid("parameter_invalid_empty", key, "You passed an empty string for '%s'. We assume empty values are an "+
			"attempt to unset a parameter; however '%s' cannot be unset. You should remove '%s' from your request or supply "+
			"a non-empty value.", key, key, key)
	}
	switch p.kind {
	case whatIf:
		return invalid("", name, "The sandbox does not simulate the parameter %s.", name)
	case limit:
		n, err := strconv.Atoi(value)
		switch {
		case err != nil:
			return invalid("parameter_invalid_integer", name, "Invalid integer: %s", value)
		case n < 1:
			return invalid("parameter_invalid_integer", name, "This value must be greater than or equal to 1.")
		case n > 100:
			return invalid("parameter_invalid_integer", name, "This value must be less than or equal to 100 (it currently is '%d').", n)
		}
	case flag:
		if value != "true" && value != "false" {
			return invalid("", name, "Invalid boolean: %s", value)
		}
	case textOrIn:
		if !slices.Contains(p.oneOf, value) {
			return invalid("", name, "Invalid %s: must be one of %s", name, strings.Join(p.oneOf, ", "))
		}
	case dates:
		return q.takeDate(name, sub, key, value)
	case array:
		if _, err := strconv.Atoi(sub); !bracket || (err != nil && sub != "") {
			return invalid("", name, "Invalid array")
		}
		q.arrays[name] = append(q.arrays[name], value)
		return nil
	}
	q.texts[name] = value
	return nil
}

func (q query) takeDate(name, op, key, value string) *apiError {
	if !slices.Contains([]string{"", "gt", "gte", "lt", "lte"}, op) {
		return invalid("parameter_unknown", key, "Received unknown parameter: %s", key)
	}
	at, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return invalid("parameter_invalid_integer", key, "Invalid integer: %s", value)
	}
	q.ranges[name] = append(q.ranges[name], bound{op, at})
	return nil
}
