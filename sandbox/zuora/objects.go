package zuora

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// object describes a record type to Object Query and to ZOQL, which share
// names but for the case of the first letter.
type object struct {
	name       string // as ZOQL writes it, and the prefix of custom fields
	label      string // how a path or a fields[] parameter names it
	fields     []field
	byName     map[string]*field // lower case
	filterable map[string]bool   // lower case
	expands    map[string]expand // lower case
	custom     func(rec any) map[string]any
	rows       func(s *Server, each func(rec any))
	byKey      func(s *Server, key string) any // nil when there is none
	find       func(s *Server, id string) any  // by id alone; nil when there is none, and the func nil when the type cannot be listed
	zero       any                             // an empty record
	byAccount  func(s *Server, account string, each func(rec any))
}

// field is one column. get returns a string, bool, int, float64, json.Number,
// Date or time.Time, and nil for null.
type field struct {
	name string // as Object Query writes it
	get  func(rec any) any
}

// expand is a relation that expand[] can follow.
type expand struct {
	name string // key in the answer
	many bool
	to   *object
	get  func(s *Server, rec any) []any
}

// columns makes fields of T from pairs of name and getter.
func columns[T any](pairs ...any) []field {
	out := make([]field, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		get := pairs[i+1].(func(*T) any)
		out = append(out, field{pairs[i].(string), func(rec any) any { return get(rec.(*T)) }})
	}
	return out
}

// null is v, or nil for the zero value.
func null[T comparable](v T) any { return orNull(v) }

// describe builds the record types of one tenant.
func (s *Server) describe() map[string]*object {
	account, contact, method := describeAccount(), describeContact(), describeMethod()
	sub, plan, charge, tier := s.describeSubscription(), describePlan(), describeCharge(), describeTier()

	account.expands = map[string]expand{
		"billto": {"billTo", false, contact, func(_ *Server, r any) []any { return one(r.(*Account).BillTo) }},
		"soldto": {"soldTo", false, contact, func(_ *Server, r any) []any { return one(cmp.Or(r.(*Account).SoldTo, r.(*Account).BillTo)) }},
		"shipto": {"shipTo", false, contact, func(_ *Server, r any) []any { return one(r.(*Account).ShipTo) }},
		"defaultpaymentmethod": {"defaultPaymentMethod", false, method, func(s *Server, r any) []any {
			return one(s.methods[r.(*Account).DefaultPaymentMethodID])
		}},
		"paymentmethods": {"paymentMethods", true, method, func(s *Server, r any) (out []any) {
			method.byAccount(s, r.(*Account).ID, func(p any) { out = append(out, p) })
			return out
		}},
		"subscriptions": {"subscriptions", true, sub, func(s *Server, r any) (out []any) {
			sub.byAccount(s, r.(*Account).ID, func(v any) { out = append(out, v) })
			return out
		}},
	}
	owner := func(id func(any) string) expand {
		return expand{"account", false, account, func(s *Server, r any) []any { return one(s.accounts[id(r)]) }}
	}
	method.expands = map[string]expand{"account": owner(func(r any) string { return r.(*PaymentMethod).AccountID })}
	sub.expands = map[string]expand{
		"account": owner(func(r any) string { return r.(*Subscription).AccountID }),
		"rateplans": {"ratePlans", true, plan, func(_ *Server, r any) (out []any) {
			for _, p := range unordered(r.(*Subscription).RatePlans) {
				out = append(out, &p)
			}
			return out
		}},
	}
	plan.expands = map[string]expand{"rateplancharges": {"ratePlanCharges", true, charge, func(_ *Server, r any) (out []any) {
		for i := range r.(*RatePlan).Charges {
			out = append(out, &r.(*RatePlan).Charges[i])
		}
		return out
	}}}
	charge.expands = map[string]expand{"rateplanchargetiers": {"ratePlanChargeTiers", true, tier, func(_ *Server, r any) []any {
		return one(r.(*Charge))
	}}}

	all := map[string]*object{}
	for _, o := range []*object{account, contact, method, sub, plan, charge, tier} {
		o.byName = map[string]*field{}
		for i := range o.fields {
			o.byName[strings.ToLower(o.fields[i].name)] = &o.fields[i]
		}
		all[strings.ToLower(o.name)] = o
	}
	return all
}

// found is rec, or nil when there is none: a nil pointer in an interface is not
// nil.
func found[T any](rec *T) any {
	if rec == nil {
		return nil
	}
	return rec
}

func one[T any](rec *T) []any {
	if rec == nil {
		return nil
	}
	return []any{rec}
}

// visible are the rows of a subscription: every version on a versioned tenant.
func (s *Server) visible(number string) []*Subscription {
	v := s.versions[number]
	if s.cfg.SingleVersioned {
		return v[len(v)-1:]
	}
	return v
}

func (s *Server) eachVersion(do func(*Subscription)) {
	for _, account := range s.accountOrder {
		s.eachVersionOf(account, do)
	}
}

func (s *Server) eachVersionOf(account string, do func(*Subscription)) {
	for _, number := range s.subsOfAccount[account] {
		for _, v := range s.visible(number) {
			do(v)
		}
	}
}

func set(names ...string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}

// lookup finds a field by its name without regard to case: a standard one, or
// a custom one that exists somewhere in the tenant. ok is false when there is
// no such field.
func (s *Server) lookup(o *object, name string) (f field, custom, ok bool) {
	lower := strings.ToLower(name)
	if std := o.byName[lower]; std != nil {
		return *std, false, true
	}
	if o.custom == nil {
		return field{}, false, false
	}
	for full := range s.customFields {
		prefix, exact, _ := strings.Cut(full, ".")
		if prefix != o.name || strings.ToLower(exact) != lower {
			continue
		}
		return field{exact, func(rec any) any {
			values := o.custom(rec)
			if v, ok := values[exact]; ok {
				return plain(v)
			}
			return nil
		}}, true, true
	}
	return field{}, false, false
}

// plain brings the number types of Go's callers down to those of field.get.
func plain(v any) any {
	switch v := v.(type) {
	case int64:
		return int(v)
	case float32:
		return float64(v)
	default:
		return v
	}
}

// lowerFirst is how Object Query writes a custom field's name.
func lowerFirst(name string) string {
	r, n := utf8.DecodeRuneInString(name)
	return string(unicode.ToLower(r)) + name[n:]
}

// upperFirst is how ZOQL writes a field's name.
func upperFirst(name string) string {
	r, n := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(r)) + name[n:]
}

// timestamp renders a time of Object Query: in the tenant's offset, with
// milliseconds only where there are some, since clients meet both.
func (s *Server) timestamp(t time.Time) string {
	t = t.In(s.cfg.Zone)
	if t.Nanosecond() == 0 {
		return t.Format("2006-01-02T15:04:05Z07:00")
	}
	return t.Format("2006-01-02T15:04:05.000Z07:00")
}

// asJSON is a field's value as Object Query sends it.
func (s *Server) asJSON(v any) any {
	if t, ok := v.(time.Time); ok {
		return s.timestamp(t)
	}
	return v
}

// number reads a numeric field value.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	}
	return 0, false
}
