package stripe

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76"

	"hotsync/record"
)

func TestItems(t *testing.T) {
	of := func(more bool, items ...*stripe.SubscriptionItem) *stripe.Subscription {
		list := &stripe.SubscriptionItemList{Data: items}
		list.HasMore = more
		return &stripe.Subscription{Items: list}
	}
	a := &stripe.SubscriptionItem{Price: &stripe.Price{ID: "price_a"}, Quantity: 2}
	metered := &stripe.SubscriptionItem{Price: &stripe.Price{ID: "price_m"}}
	want := []record.Item{{Price: "price_a", Quantity: 2}, {Price: "price_m"}}
	if diff := cmp.Diff(want, itemsOf(of(false, a, metered))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, sub := range map[string]*stripe.Subscription{
		"more than is shown": of(true, a), "no list": {}, "no price": of(false, a, &stripe.SubscriptionItem{}),
	} {
		if got := itemsOf(sub); got != nil {
			t.Errorf("%s: %+v passes for all of it", name, got)
		}
	}
}

func TestBuyer(t *testing.T) {
	for name, tt := range map[string]struct {
		cus  *stripe.Customer
		want record.Address
	}{
		"nobody":  {nil, record.Address{}},
		"deleted": {&stripe.Customer{Deleted: true, Email: "a@example.test"}, record.Address{}},
		"known": {
			&stripe.Customer{Name: " Ada  Maria Reader ", Email: "ada@example.test", Phone: "+353", Address: &stripe.Address{
				Line1: "1 Quay St", Line2: "Flat 2", City: "Galway", State: "G", PostalCode: "H91", Country: "ie",
			}},
			record.Address{
				FirstName: "Ada Maria", LastName: "Reader", Email: "ada@example.test", Phone: "+353",
				Line1: "1 Quay St", Line2: "Flat 2", City: "Galway", State: "G", PostalCode: "H91", Country: "IE",
			},
		},
		"one word": {&stripe.Customer{Name: "Reader", Email: "r@example.test"}, record.Address{LastName: "Reader", Email: "r@example.test"}},
	} {
		if diff := cmp.Diff(tt.want, buyerOf(tt.cus)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
