package record

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Type is a Limio record type (limio.md 2).
type Type string

// The record types hotsync reads and writes.
const (
	Customer          Type = "customer"
	Identity          Type = "identity"
	SubscriptionType  Type = "subscription"
	SubscriptionOffer Type = "subscription_offer"
	ScheduleType      Type = "schedule"
	PaymentMethodType Type = "payment_method"
	AddressType       Type = "address"
	OrderType         Type = "order"
)

// Object is a Limio record, or what one should be: a type and scalar fields
// under dotted paths ("data.attributes.autoRenew"). A wanted object has no ID
// until it is matched with a record that exists.
type Object struct {
	Type   Type
	ID     string // Limio's id
	Ref    string // natural key in its parent: Zuora number, "billing", invoice id
	Parent string // Ref of the subscription it belongs to; "" when it hangs on the customer
	Fields Fields
}

// Fields maps a path to its value.
type Fields map[string]Value

// Op says what a Write does.
type Op string

// The operations.
const (
	OpCreate Op = "create"
	OpUpdate Op = "update"
	OpCancel Op = "cancel" // an update that ends the object; nothing is ever deleted
	OpImport Op = "import" // Limio is asked to make the record by its own Zuora sync
	// OpDelegate asks Limio to make a subscription true by its own sync endpoint
	// (Via). Its Fields say what is expected to change; none of them is sent.
	OpDelegate Op = "delegate"
	// OpOrder sends Order, once. Ref is its external id. It is the one write that
	// must never be repeated before it was looked for.
	OpOrder Op = "order"
)

// Write is one call that makes one Limio object true, with the fields it
// changes in the order of their paths.
type Write struct {
	Op     Op
	Type   Type
	ID     string // "" for create, import and order
	Ref    string
	Parent string // Limio id of the object it belongs to; required for create, but not of a subscription
	Fields []FieldChange
	Via    string    // for delegate: the billing system whose sync endpoint is asked: zuora (by Ref), stripe (by ID)
	Order  *NewOrder // for order only
}

// FieldChange is one field before and after.
type FieldChange struct {
	Field  string
	Before Value
	After  Value
}

// Change is a FieldChange with its place: the flat form that events carry.
type Change struct {
	Object Type   `json:"object"`
	ID     string `json:"id,omitempty"`
	Ref    string `json:"ref,omitempty"`
	Field  string `json:"field"`
	Op     Op     `json:"op"`
	Before Value  `json:"before"`
	After  Value  `json:"after"`
}

// Changes flattens writes, in their order.
func Changes(writes []Write) []Change {
	var out []Change
	for _, w := range writes {
		if len(w.Fields) == 0 {
			out = append(out, Change{Object: w.Type, ID: w.ID, Ref: w.Ref, Op: w.Op})
		}
		for _, f := range w.Fields {
			out = append(out, Change{w.Type, w.ID, w.Ref, f.Field, w.Op, f.Before, f.After})
		}
	}
	return out
}

// Rule is one line of an authority table: a field that hotsync owns, and when
// two of its values mean the same.
type Rule struct {
	Type  Type
	Field string
	Kind  Kind
	// Personal marks a name, an e-mail address or a street, which events show
	// masked unless configured otherwise.
	Personal bool
}

// Authority says which fields a reconciler may touch. A field that is not in
// it never enters a plan (Invariant 2).
type Authority []Rule

// Compare returns the owned fields in which have differs from want, sorted by
// path. A field that want does not mention is left alone.
func (a Authority) Compare(want, have Object) []FieldChange {
	var out []FieldChange
	for _, r := range a {
		if r.Type != want.Type {
			continue
		}
		w, wanted := want.Fields[r.Field]
		if !wanted || Same(r.Kind, w, have.Fields[r.Field]) {
			continue
		}
		out = append(out, FieldChange{Field: r.Field, Before: have.Fields[r.Field], After: w})
	}
	slices.SortFunc(out, func(x, y FieldChange) int { return cmp.Compare(x.Field, y.Field) })
	return out
}

// Owned returns the fields of o that the table names: what a create sends.
func (a Authority) Owned(o Object) []FieldChange { return a.Compare(o, Object{Type: o.Type}) }

// Fingerprint identifies a whole wanted state. Equal states have equal
// fingerprints whatever the order of their objects.
type Fingerprint string

// FingerprintOf returns the fingerprint of objects: type, natural key, parent
// and fields, but not Limio's ids, which the wanted side does not know.
func FingerprintOf(objects []Object) Fingerprint {
	lines := make([]string, 0, len(objects))
	for _, o := range objects {
		var line strings.Builder
		line.WriteString(strconv.Quote(string(o.Type)) + strconv.Quote(o.Parent) + strconv.Quote(o.Ref))
		for _, path := range slices.Sorted(maps.Keys(o.Fields)) {
			_, _ = fmt.Fprintf(&line, "%q=%q", path, string(o.Fields[path]))
		}
		lines = append(lines, line.String())
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, l := range lines {
		_, _ = fmt.Fprintln(h, l)
	}
	return Fingerprint(hex.EncodeToString(h.Sum(nil)[:16]))
}
