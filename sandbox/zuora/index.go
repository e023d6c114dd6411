package zuora

import (
	"slices"
	"strings"
)

// fold brings texts that are equal without regard to case to one form.
func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }

// index finds ids by the text of a field, folded, so that a tenant with many
// accounts answers a login's look-up at once. It may find too much; the filter
// has the last word.
type index map[indexKey][]string

type indexKey struct{ field, value string }

func (x index) add(field, text, id string) {
	k := indexKey{strings.ToLower(field), fold(text)}
	x[k] = append(x[k], id)
}

// move takes an account from the custom values it had to those it has.
func (x index) move(id string, old, now map[string]any) {
	for field, v := range old {
		if text, ok := v.(string); ok {
			k := indexKey{strings.ToLower(field), fold(text)}
			x[k] = slices.DeleteFunc(slices.Clone(x[k]), func(other string) bool { return other == id })
			if len(x[k]) == 0 {
				delete(x, k)
			}
		}
	}
	for field, v := range now {
		if text, ok := v.(string); ok {
			x.add(field, text, id)
		}
	}
}

// named visits the records that an index has for an EQ or IN among the filters,
// which may be more than pass. It reports whether there is such a filter.
func (s *Server) named(o *object, filters []string, each func(any)) bool {
	for _, f := range filters {
		head, value, _ := strings.Cut(f, ":")
		name, op, _ := strings.Cut(strings.ToLower(head), ".")
		values := []string{value}
		switch {
		case value == filterNull || value == filterEmpty:
			continue
		case op == "in": // filters() has seen to the brackets
			values = strings.Split(strings.Trim(value, "[]"), ",")
		case op != "eq":
			continue
		}
		var visit func(id string)
		switch {
		case o.byAccount != nil && name == "accountid":
			name, visit = "id", func(id string) { o.byAccount(s, id, each) }
		case o.name == "Account" && (name == "id" || name == "accountnumber" || s.textOnly(name)):
			visit = func(id string) { each(s.accounts[id]) }
		case o.name == "Subscription" && name == "name":
			visit = func(number string) {
				for _, v := range s.visible(number) {
					each(v)
				}
			}
		default:
			continue
		}
		seen := map[string]bool{}
		for _, v := range values {
			for _, id := range s.idsWith(name, v) {
				if !seen[id] {
					seen[id] = true
					visit(id)
				}
			}
		}
		return true
	}
	return false
}

func (s *Server) idsWith(field, text string) []string { return s.byText[indexKey{field, fold(text)}] }

// textOnly reports whether a field is a custom one of accounts that only ever
// had text in it, since the index knows nothing else.
func (s *Server) textOnly(lower string) bool {
	return strings.HasSuffix(lower, "__c") && !s.notText[lower]
}
