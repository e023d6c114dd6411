package limio

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hotsync/record"
)

func TestDecodeObject(t *testing.T) {
	for body, want := range map[string]record.Object{
		`{"record_type":"subscription","id":"sub-1","customer":"cus-1","reference":"","name":"N","data":{"a":{"b":1.50,"c":null},"list":[1],"none":{},"x.y":1,"html":"<&>"}}`: {
			Type: record.SubscriptionType, ID: "sub-1", Ref: "N", Parent: "cus-1", Fields: record.Fields{
				"record_type": `"subscription"`, "id": `"sub-1"`, "customer": `"cus-1"`, "reference": `""`, "name": `"N"`,
				"data.a.b": "1.50", "data.a.c": "null", "data.html": record.Text("<&>"),
			}},
		`{"record_type":"payment_method","id":"pm-1","customer":"cus-1","related":"pm-1"}`: {
			Type: record.PaymentMethodType, ID: "pm-1", Parent: "cus-1", Fields: record.Fields{
				"record_type": `"payment_method"`, "id": `"pm-1"`, "customer": `"cus-1"`, "related": `"pm-1"`,
			}},
		`{"record_type":"order","id":"order-1","related":"sub-1","customer":"cus-1","source":"shop"}`: {
			Type: record.OrderType, ID: "order-1", Ref: "order-1", Parent: "sub-1", Fields: record.Fields{
				"record_type": `"order"`, "id": `"order-1"`, "customer": `"cus-1"`, "related": `"sub-1"`, "source": `"shop"`,
			}},
	} {
		got, known, err := decodeObject([]byte(body))
		if err != nil || !known {
			t.Errorf("%s: %v %v", body, known, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if _, known, err := decodeObject([]byte(`{"record_type":"event","id":"event-1"}`)); known || err != nil {
		t.Errorf("an event is followed: %v", err)
	}
	for _, body := range []string{"", "{", "[]", `"x"`, `{"a":tru}`} {
		if _, _, err := decodeObject([]byte(body)); err == nil {
			t.Errorf("%q is taken for an object", body)
		}
	}
}

func FuzzDecodeObject(f *testing.F) {
	names, err := filepath.Glob(filepath.Join("testdata", "answers", "*.json"))
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, known, err := decodeObject(body)
		if err != nil || !known {
			return
		}
		var changes []record.FieldChange
		for path, v := range o.Fields {
			if !json.Valid([]byte(v)) {
				t.Fatalf("%s is %q, which is no JSON", path, v)
			}
			if strings.HasPrefix(path, "data.") {
				changes = append(changes, record.FieldChange{Field: path, After: v})
			}
		}
		// What was read can be written, and reads the same again.
		raw, err := encode(changes, map[string]any{"record_type": "order", "id": "order-1"})
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := decodeObject(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if again.Fields[c.Field] != c.After {
				t.Fatalf("%s was %s, came back as %s", c.Field, c.After, again.Fields[c.Field])
			}
		}
	})
}
