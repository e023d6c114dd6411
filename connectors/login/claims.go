package login

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hotsync/record"
)

// target is an account to look at, and how it was found.
type target struct {
	key record.Key
	via string
}

// targets returns one target for each account that the claims name, in the
// order of the rules, none twice. The note says why there are none, or what in
// a list was left out, without the values, which may be personal.
func (p *provider) targets(claims map[string]any) (out []target, note string) {
	var missing, dropped []string
	for _, rule := range p.Claims {
		if !rule.detected() {
			continue
		}
		values, found := rule.values(claims)
		for _, v := range values {
			t := target{key: record.ZuoraAccount(v)}
			if rule.Lookup {
				t = target{key: record.ZuoraLookup(rule.LookupField, v), via: rule.LookupField + "=" + v}
			}
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
		switch text := rule.String() + ": " + found; {
		case found == "":
		case len(values) > 0:
			dropped = append(dropped, text)
		default:
			missing = append(missing, text)
		}
	}
	switch {
	case len(dropped) > 0:
		return out, fmt.Sprintf("provider %q: left out of %s", p.Name, strings.Join(dropped, "; "))
	case len(out) > 0:
		return out, ""
	case len(missing) > 0:
		return nil, fmt.Sprintf("provider %q: looked for %s", p.Name, strings.Join(missing, "; "))
	}
	return nil, fmt.Sprintf("provider %q has no claim with service zuora, issuer zuora and type account", p.Name)
}

// String says what the rule looks for.
func (r ClaimRule) String() string {
	if r.Lookup {
		return fmt.Sprintf("claim %q (for Zuora field %s)", r.Claim, r.LookupField)
	}
	return fmt.Sprintf("claim %q", r.Claim)
}

// values returns the usable values of the rule's claim; found says what else,
// or what instead, was there.
func (r ClaimRule) values(claims map[string]any) (values []string, found string) {
	v, ok := find(claims, r.Claim)
	if !ok {
		return nil, "absent"
	}
	list, isList := v.([]any)
	if !isList {
		s, problem := r.value(v)
		if problem != "" {
			return nil, problem
		}
		return []string{s}, ""
	}
	if len(list) == 0 {
		return nil, "an empty list"
	}
	var problems []string
	for _, v := range list {
		s, problem := r.value(v)
		switch {
		case problem == "":
			values = append(values, s)
		case !slices.Contains(problems, problem):
			problems = append(problems, problem)
		}
	}
	if len(problems) > 0 {
		found = "in a list: " + strings.Join(problems, ", ")
	}
	return values, found
}

// value returns one value as text, or what is wrong with it. A number is taken
// as it is written.
func (r ClaimRule) value(v any) (s, problem string) {
	switch v := v.(type) {
	case nil:
		return "", "null"
	case string:
		s = v
	case json.Number:
		s = v.String()
	case bool:
		return "", "true or false"
	default:
		return "", "an object or a list"
	}
	switch {
	case s == "":
		return "", "empty"
	case s == "null": // what a template writes for a user without one
		return "", `the word "null"`
	case r.Lookup && !isLookupValue(s):
		return "", "a value that cannot be looked up (control characters, only spaces, or more than 255 characters)"
	case !r.Lookup && !isAccountID(s):
		return "", "a value that is no Zuora account id or number (at most 64 printable characters without spaces, quotes and slashes)"
	}
	return s, ""
}

// isAccountID reports whether s can be the id or the number of a Zuora account.
// Ids are 32 hexadecimal digits, but numbers follow the customer's own pattern.
func isAccountID(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"'`/\\", c) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= 64 && s != "." && s != ".."
}

// isLookupValue reports whether s can be the value of a Zuora custom field.
func isLookupValue(s string) bool {
	return len(s) <= 255 && strings.TrimSpace(s) != "" &&
		!strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || (c >= 0x7f && c < 0xa0) || c == '\ufffd' })
}

// texts returns what a claim holds as text, each element of a list by itself.
func texts(claims map[string]any, name string) (out []string) {
	v, _ := find(claims, name)
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	for _, v := range list {
		switch v := v.(type) {
		case string:
			out = append(out, v)
		case json.Number:
			out = append(out, v.String())
		case bool:
			out = append(out, strconv.FormatBool(v))
		}
	}
	return out
}

// find returns a claim by its exact name, else by a dotted path into objects.
// The exact name comes first, since names such as https://example.com/account
// hold dots themselves.
func find(claims map[string]any, name string) (any, bool) {
	if v, ok := claims[name]; ok {
		return v, true
	}
	for i := len(name) - 1; i > 0; i-- { // the longest name first
		if name[i] != '.' {
			continue
		}
		if inner, ok := claims[name[:i]].(map[string]any); ok {
			if v, found := find(inner, name[i+1:]); found {
				return v, true
			}
		}
	}
	return nil, false
}
