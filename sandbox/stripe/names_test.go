package stripe_test

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	stripego "github.com/stripe/stripe-go/v76"
)

// kinds are the stripe-go types of the objects that the sandbox shows.
var kinds = map[string]reflect.Type{
	"subscription": reflect.TypeFor[stripego.Subscription](), "subscription_item": reflect.TypeFor[stripego.SubscriptionItem](),
	"price": reflect.TypeFor[stripego.Price](), "product": reflect.TypeFor[stripego.Product](),
	"customer": reflect.TypeFor[stripego.Customer](), "payment_method": reflect.TypeFor[stripego.PaymentMethod](),
	"card": reflect.TypeFor[stripego.Card](), "invoice": reflect.TypeFor[stripego.Invoice](),
	"line_item": reflect.TypeFor[stripego.InvoiceLineItem](), "charge": reflect.TypeFor[stripego.Charge](),
	"payment_intent": reflect.TypeFor[stripego.PaymentIntent](), "event": reflect.TypeFor[stripego.Event](),
	"subscription_schedule": reflect.TypeFor[stripego.SubscriptionSchedule](),
}

func fixtures(t *testing.T) map[string]json.RawMessage {
	t.Helper()
	raw, err := os.ReadFile("testdata/stripe-fixtures-2023-10-16.json")
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]json.RawMessage
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// decodeAs decodes an object into stripe-go's type for it.
func decodeAs(t *testing.T, raw []byte) any {
	t.Helper()
	var head struct{ Object string }
	if err := json.Unmarshal(raw, &head); err != nil {
		t.Fatal(err)
	}
	kind, ok := kinds[head.Object]
	if !ok {
		t.Fatalf("object %q is of no kind that the sandbox shows: %.200s", head.Object, raw)
	}
	v := reflect.New(kind).Interface()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("stripe-go does not decode %s: %v", raw, err)
	}
	return v
}

// samples are the fixtures as plain values, and the line of its invoice.
var samples = sync.OnceValues(func() (map[string]any, error) {
	raw, err := os.ReadFile("testdata/stripe-fixtures-2023-10-16.json")
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, err
	}
	out["line_item"] = out["invoice"].(map[string]any)["lines"].(map[string]any)["data"].([]any)[0]
	return out, nil
})

// checkNames fails on every field name, at any depth, that neither stripe-go
// nor Stripe's own fixtures know of an object.
func checkNames(t *testing.T, o map[string]any) {
	t.Helper()
	fix, err := samples()
	if err != nil {
		t.Fatal(err)
	}
	var walk func(path string, v any, typ reflect.Type, sample any)
	walk = func(path string, v any, typ reflect.Type, sample any) {
		for typ != nil && typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		switch v := v.(type) {
		case []any:
			var element any
			if s, ok := sample.([]any); ok && len(s) > 0 {
				element = s[0]
			}
			for _, e := range v {
				if typ != nil && typ.Kind() == reflect.Slice {
					walk(path+"[]", e, typ.Elem(), element)
				} else {
					walk(path+"[]", e, nil, element)
				}
			}
		case map[string]any:
			if kind, ok := v["object"].(string); ok && kind != "list" && kinds[kind] != nil {
				typ, sample = kinds[kind], fix[kind]
			}
			known, _ := sample.(map[string]any)
			for name, child := range v {
				f, inGo := fieldNamed(typ, name)
				s, inFix := known[name]
				if !inGo && !inFix && !strings.HasSuffix(path, "metadata") {
					t.Errorf("%s.%s: neither stripe-go v76 nor the fixtures know that name", path, name)
				}
				walk(path+"."+name, child, f, s)
			}
		}
	}
	kind, _ := o["object"].(string)
	walk(kind, o, kinds[kind], fix[kind])
}

// fieldNamed finds the field with a JSON name, in embedded structs too.
func fieldNamed(typ reflect.Type, name string) (reflect.Type, bool) {
	if typ == nil || typ.Kind() == reflect.Map {
		return nil, typ != nil
	}
	if typ.Kind() != reflect.Struct {
		return nil, false
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == name {
			return f.Type, true
		}
		if f.Anonymous && tag == "" {
			if t, ok := fieldNamed(f.Type, name); ok {
				return t, ok
			}
		}
	}
	return nil, false
}

func TestStripesOwnFixturesDecode(t *testing.T) {
	seen := 0
	for name, raw := range fixtures(t) {
		if _, ok := kinds[name]; !ok {
			t.Errorf("fixture %s has no type in this test", name)
			continue
		}
		decodeAs(t, raw)
		seen++
	}
	if seen < 11 {
		t.Errorf("%d fixtures were decoded, want at least 11", seen)
	}
}

// A name that only we know must be found, or the test above proves nothing.
func TestNameCheckSeesUnknownNames(t *testing.T) {
	for _, typ := range []reflect.Type{kinds["subscription"], kinds["invoice"]} {
		if _, ok := fieldNamed(typ, "no_such_field"); ok {
			t.Errorf("%v knows no_such_field", typ)
		}
		if _, ok := fieldNamed(typ, "status"); !ok {
			t.Errorf("%v does not know status", typ)
		}
	}
}

// What the fixtures show of an object, ours shows too.
func TestObjectsAreComplete(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	_, _, subJSON := w.get("/v1/subscriptions/" + sub.ID)
	_, _, invJSON := w.get("/v1/invoices/" + sub.LatestInvoice + "?expand[]=charge&expand[]=payment_intent")
	_, _, cusJSON := w.get("/v1/customers/" + sub.Customer)
	cus, _ := w.Customer(sub.Customer)
	_, _, pmJSON := w.get("/v1/payment_methods/" + cus.DefaultPaymentMethod)
	for name, ours := range map[string]map[string]any{
		"subscription": subJSON, "invoice": invJSON, "customer": cusJSON, "payment_method": pmJSON,
		"subscription_item": subJSON["items"].(map[string]any)["data"].([]any)[0].(map[string]any),
		"charge":            invJSON["charge"].(map[string]any), "payment_intent": invJSON["payment_intent"].(map[string]any),
	} {
		checkNames(t, ours)
		var theirs map[string]any
		if err := json.Unmarshal(fixtures(t)[name], &theirs); err != nil {
			t.Fatal(err)
		}
		for field := range theirs {
			if _, ok := ours[field]; !ok && field != "refunds" {
				t.Errorf("%s lacks %s, which Stripe's fixture has", name, field)
			}
		}
	}
}
