package limio

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Object is one stored object. JSON is the whole object as the objects API
// answers it: the envelope (id, record_type, service, status, mode, owner,
// customer, related, reference, created, updated) and data. An Object that a
// Server returns is a deep copy; numbers in it are float64.
type Object struct {
	ID         string
	RecordType string
	JSON       map[string]any
}

// At returns the value at a dotted path ("data.price.amount"), or nil.
func (o Object) At(path string) any {
	var v any = o.JSON
	for part := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[part]
	}
	return v
}

// Text returns the string at a dotted path, or "" when there is none.
func (o Object) Text(path string) string {
	text, _ := o.At(path).(string)
	return text
}

// Record types, as record_type spells them (limio.md 2).
const (
	TypeSubscription  = "subscription"
	TypeOffer         = "subscription_offer"
	TypeSchedule      = "schedule"
	TypeCustomer      = "customer"
	TypeIdentity      = "identity"
	TypePaymentMethod = "payment_method"
	TypeAddress       = "address"
	TypeOrder         = "order"
	TypeEvent         = "event"
	TypeProcessEvent  = "process_event"
)

// kind is what the API knows of a record type.
type kind struct {
	recordType string
	prefix     string // of its ids
	creatable  bool   // with POST /api/objects/limio/{path_type}
}

var kinds = []kind{
	{TypeSubscription, "sub-", true},
	{TypeOffer, "subscription_offer-", true},
	{TypeSchedule, "schedule-", true},
	{TypeCustomer, "cus-", false},
	{TypeIdentity, "id-", true},
	{TypePaymentMethod, "pm-", true},
	{TypeAddress, "address-", true},
	{TypeOrder, "order-", false},
	{TypeEvent, "event-", false},
	{TypeProcessEvent, "process_event-", false},
	{"user_entitlement", "user_entitlement-", true},
	{"gift_code", "gift_code-", true},
	{"promo_code", "promo_code-", true},
}

// pathKind returns the kind that a path_type names, in plural or singular
// (limio.md 3.1).
func pathKind(pathType string) (kind, bool) {
	var want string
	switch pathType {
	case "identities":
		want = TypeIdentity
	case "process", "process_events":
		want = TypeProcessEvent
	case "addresses":
		want = TypeAddress
	case "promo_codes_v2":
		want = "promo_code"
	default:
		want = strings.TrimSuffix(pathType, "s")
		if pathType == "address" {
			want = TypeAddress
		}
	}
	return kindOf(want)
}

func kindOf(recordType string) (kind, bool) {
	for _, k := range kinds {
		if k.recordType == recordType {
			return k, true
		}
	}
	return kind{}, false
}

// stamp is a time as the envelope has it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// zoneless is a time as schedules have it (limio.md 2.3).
func zoneless(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000") }

// day returns the calendar day of a date or time stamp in any of Limio's
// forms.
func day(v any) string {
	text, _ := v.(string)
	if len(text) > len(time.DateOnly) {
		return text[:len(time.DateOnly)]
	}
	return text
}

// hash returns the 32 lower-case hex digits of an id.
func hash(rnd *rand.Rand) string { return fmt.Sprintf("%016x%016x", rnd.Uint64(), rnd.Uint64()) }

// reference returns a 12-character code over [0-9A-V].
func reference(rnd *rand.Rand) string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
	code := make([]byte, 12)
	for i := range code {
		code[i] = alphabet[rnd.IntN(len(alphabet))]
	}
	return string(code)
}

// uuid returns an order item's id.
func uuid(rnd *rand.Rand) string {
	h := hash(rnd)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

// clone returns a deep copy of v in plain JSON types: map, slice, string,
// float64, bool, nil. It panics on what JSON cannot hold, which only Go code
// can hand in.
func clone(v any) any {
	switch v := v.(type) {
	case nil, string, bool, float64:
		return v
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case map[string]any:
		return cloneMap(v)
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = clone(item)
		}
		return out
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("limio: store a %T: %v", v, err))
	}
	var out any
	if err := json.Unmarshal(text, &out); err != nil {
		panic(fmt.Sprintf("limio: store a %T: %v", v, err))
	}
	return out
}

func cloneMap(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, item := range m {
		out[k] = clone(item)
	}
	return out
}

// pack writes plain JSON types as text. It panics on a number that JSON does not
// have, which only Go code can hand in.
func pack(m map[string]any) []byte {
	text, err := json.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("limio: store an object: %v", err))
	}
	return text
}

func unpack(text []byte) map[string]any {
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil { // pack wrote it
		panic(fmt.Sprintf("limio: read a stored object: %v", err))
	}
	return m
}

// child returns the object under key, and makes it when it is not one.
func child(m map[string]any, key string) map[string]any {
	c, ok := m[key].(map[string]any)
	if !ok {
		c = map[string]any{}
		m[key] = c
	}
	return c
}

// str returns the string under key, or "".
func str(m map[string]any, key string) string {
	text, _ := m[key].(string)
	return text
}

// obj returns the object under key, or nil, which reads as empty.
func obj(m map[string]any, key string) map[string]any {
	c, _ := m[key].(map[string]any)
	return c
}
