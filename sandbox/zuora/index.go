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

// candidates visits every record that may pass the filters: those that an index
// has for an EQ, and else all.
func (s *Server) candidates(o *object, filters []string, each func(any)) {
	for _, f := range filters {
		head, value, _ := strings.Cut(f, ":")
		name, op, _ := strings.Cut(strings.ToLower(head), ".")
		if op != "eq" || value == filterNull || value == filterEmpty {
			continue
		}
		switch {
		case o.byAccount != nil && name == "accountid":
			for _, id := range s.idsWith("id", value) {
				o.byAccount(s, id, each)
			}
			return
		case o.name == "Account" && (name == "id" || name == "accountnumber" || s.textOnly(name)):
			for _, id := range s.idsWith(name, value) {
				each(s.accounts[id])
			}
			return
		case o.name == "Subscription" && name == "name":
			for _, number := range s.idsWith("name", value) {
				for _, v := range s.visible(number) {
					each(v)
				}
			}
			return
		}
	}
	o.rows(s, each)
}

func (s *Server) idsWith(field, text string) []string { return s.byText[indexKey{field, fold(text)}] }

// textOnly reports whether a field is a custom one of accounts that only ever
// had text in it, since the index knows nothing else.
func (s *Server) textOnly(lower string) bool {
	return strings.HasSuffix(lower, "__c") && !s.notText[lower]
}
