package limio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"hotsync/record"
)

// decodeObject reads one stored object; false for a record type that is not
// followed.
func decodeObject(raw []byte) (o record.Object, known bool, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var fields map[string]any
	if err := dec.Decode(&fields); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return record.Object{}, false, errors.New("the object is cut off")
		}
		return record.Object{}, false, fmt.Errorf("not a JSON object: %w", err)
	}
	o.Fields = record.Fields{}
	flatten(o.Fields, "", fields)
	o.Type, o.ID = record.Type(o.Fields["record_type"].String()), o.Fields["id"].String()
	if !followed(o.Type) {
		return record.Object{}, false, nil
	}
	o.Ref, o.Parent = ref(o), parent(o)
	return o, true, nil
}

// followed reports whether a record type is one that hotsync knows.
func followed(t record.Type) bool {
	switch t {
	case record.Customer, record.Identity, record.SubscriptionType, record.SubscriptionOffer,
		record.ScheduleType, record.PaymentMethodType, record.AddressType, record.OrderType:
		return true
	}
	return false
}

// flatten notes the scalars below v by their dotted paths. A key that holds a
// dot itself could not be told from a nested one, nor be written: it is left
// out.
func flatten(out record.Fields, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, below := range v {
			switch {
			case key == "" || strings.Contains(key, "."):
			case path == "":
				flatten(out, key, below)
			default:
				flatten(out, path+"."+key, below)
			}
		}
	case string:
		out[path] = record.Text(v)
	case bool:
		out[path] = record.Bool(v)
	case json.Number:
		out[path] = record.Value(v)
	case nil:
		if path != "" {
			out[path] = record.Null
		}
	}
}

// ref is the natural key of an object; the package comment has the table.
func ref(o record.Object) string {
	switch o.Type {
	case record.SubscriptionType:
		return first(o.Fields, "reference", "name")
	case record.Identity:
		f := o.Fields
		return f["data.service"].String() + "/" + f["data.issuer"].String() + "/" + f["data.type"].String() + "/" + f["data.value"].String()
	case record.PaymentMethodType:
		return first(o.Fields, "data.zuora.result.Id", "data.stripe.result.id")
	case record.AddressType:
		return first(o.Fields, "relationship_type")
	case record.SubscriptionOffer, record.ScheduleType:
		return first(o.Fields, "data.external_id")
	}
	return o.ID
}

// parent is the object that another hangs on; "" when there is none. Payment
// methods name themselves as related, and customers themselves as customer
// (limio.md 2.5).
func parent(o record.Object) string {
	for _, path := range []string{"related", "customer"} {
		if id := o.Fields[path].String(); id != "" && id != o.ID {
			return id
		}
	}
	return ""
}

// first returns the content of the first of some fields that has any.
func first(f record.Fields, paths ...string) string {
	for _, p := range paths {
		if s := f[p].String(); s != "" {
			return s
		}
	}
	return ""
}
