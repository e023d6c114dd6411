package record

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestNewOrder(t *testing.T) {
	good := NewOrder{
		Source: "hotsync", Buyer: Address{Email: "ann@example.test", FirstName: "Ann"}, Payment: "invoice", Country: "IE",
		Items: []OrderItem{{Offer: "o1", Quantity: 2}, {Offer: "o2", Version: "v", Quantity: 1}},
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	err := NewOrder{Country: "IRL", Items: []OrderItem{{}}}.Validate()
	for _, word := range []string{"source", "e-mail", "IRL", "payment", "offer id", "quantity"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("nothing about %s in: %v", word, err)
		}
	}
	if err := (NewOrder{}).Validate(); err == nil || !strings.Contains(err.Error(), "no items") {
		t.Errorf("nothing about items in: %v", err)
	}
	got := map[string]Value{}
	fields := good.Fields()
	for _, f := range fields {
		got[f.Field] = f.After
		if strings.Contains(string(f.After), "nn") {
			t.Errorf("%s tells of the buyer: %s", f.Field, f.After)
		}
	}
	want := map[string]Value{
		"order_type": `"new"`, "source": `"hotsync"`, "initiated_source": `"hotsync"`, "country": `"IE"`, "payment.type": `"invoice"`,
		"orderItems.0.offer.id": `"o1"`, "orderItems.0.quantity": "2", "orderItems.1.offer.id": `"o2"`, "orderItems.1.quantity": "1",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !slices.IsSortedFunc(fields, func(a, b FieldChange) int { return strings.Compare(a.Field, b.Field) }) {
		t.Error("the fields are not sorted")
	}
}
