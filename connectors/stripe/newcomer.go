package stripe

import (
	"strings"

	"github.com/stripe/stripe-go/v76"

	"hotsync/record"
)

// itemsOf returns what a subscription consists of; nil when there is more than the
// answer shows (ten), since a part must not pass for the whole. A metered price
// has the quantity 0.
func itemsOf(sub *stripe.Subscription) []record.Item {
	if sub.Items == nil || sub.Items.HasMore {
		return nil
	}
	var out []record.Item
	for _, it := range sub.Items.Data {
		if it == nil || it.Price == nil {
			return nil
		}
		out = append(out, record.Item{Price: it.Price.ID, Quantity: it.Quantity})
	}
	return out
}

// buyerOf returns what Stripe knows of a customer, for an order in Limio. The last
// word of the name is the family name: Stripe has one field for both.
func buyerOf(cus *stripe.Customer) record.Address {
	if cus == nil || cus.Deleted {
		return record.Address{}
	}
	out := record.Address{Email: cus.Email, Phone: cus.Phone}
	name := strings.Join(strings.Fields(cus.Name), " ")
	if i := strings.LastIndexByte(name, ' '); i >= 0 {
		out.FirstName, out.LastName = name[:i], name[i+1:]
	} else {
		out.LastName = name
	}
	if a := cus.Address; a != nil {
		out.Line1, out.Line2, out.City, out.State = a.Line1, a.Line2, a.City, a.State
		out.PostalCode, out.Country = a.PostalCode, strings.ToUpper(a.Country)
	}
	return out
}
