package world

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
	"hotsync/sandbox/zuora"
)

// cast are records that are equal, for a test to spoil.
type cast struct {
	w        *World
	account  string // migrated, with offers of Zuora's and a Salesforce identity
	customer string
	number   string
	sub      string // its Limio subscription
	stripe   *subscription
}

func equalOnes(t *testing.T) cast {
	t.Helper()
	c := cast{w: New(Config{Seed: 7, Clock: httpsim.FrozenClock(began), Accounts: 10, Subscriptions: 10})}
	for _, a := range c.w.accounts {
		state, _ := c.w.zuora.Account(a.ID)
		if a.Migrated && !a.Drifted && a.role == roleOrder && state.CRMID != nil {
			customer, _ := c.w.limio.CustomerByAccount("zuora", a.ID)
			c.account, c.customer, c.number = a.ID, customer.ID, c.w.zuora.Subscriptions(a.ID)[0].Number
			sub, _ := c.w.limio.SubscriptionByNumber(c.number)
			c.sub = sub.ID
			if !soldByLimio(c.w.limio.Related(c.sub)) {
				break
			}
		}
	}
	for _, s := range c.w.subs {
		if s.role == roleFree && !s.Drifted && s.Limio != "" {
			if upcoming, ok := c.w.stripe.Upcoming(s.ID); ok && upcoming.Currency == "eur" {
				c.stripe = s
			}
		}
	}
	return c
}

// edit has staff change the first object that fits.
func (c cast) edit(t *testing.T, objects []limio.Object, recordType string, fits func(limio.Object) bool, path string, value any) {
	t.Helper()
	i := slices.IndexFunc(objects, func(o limio.Object) bool { return o.RecordType == recordType && (fits == nil || fits(o)) })
	if i < 0 {
		t.Fatalf("there is no such %s", recordType)
	}
	if err := c.w.limio.UpdateAs(limio.ByStaff, objects[i].ID, func(json map[string]any) { set(json, path, value) }); err != nil {
		t.Fatal(err)
	}
}

func is(path, value string) func(limio.Object) bool {
	return func(o limio.Object) bool { return o.Text(path) == value }
}

// TestTheJudgeSeesEveryFieldAlone spoils one thing at a time: a judge that
// cannot fail, or that shows a difference too many, is worthless.
func TestTheJudgeSeesEveryFieldAlone(t *testing.T) {
	zuoraSide := func(what, recordType string, fits func(limio.Object) bool, path string, value any) func(*testing.T, cast) string {
		return func(t *testing.T, c cast) string {
			c.edit(t, slices.Concat(c.w.limio.OfCustomer(c.customer), c.w.limio.Related(c.sub)), recordType, fits, path, value)
			return what
		}
	}
	stripeSide := func(what, recordType string, fits func(limio.Object) bool, path string, value any) func(*testing.T, cast) string {
		return func(t *testing.T, c cast) string {
			self, _ := c.w.limio.Get(c.stripe.Limio)
			c.edit(t, append(c.w.limio.Related(c.stripe.Limio), self), recordType, fits, path, value)
			return what
		}
	}
	billing, delivery := is("relationship_type", "billing"), is("relationship_type", "delivery")
	upcoming, paid := is("status", "pending-external"), is("status", "active")

	tests := map[string]func(t *testing.T, c cast) (field string){
		"customer name":        zuoraSide("customer data.name", limio.TypeCustomer, nil, "data.name", "Else"),
		"first name":           zuoraSide("customer data.firstName", limio.TypeCustomer, nil, "data.firstName", ""),
		"last name":            zuoraSide("customer data.lastName", limio.TypeCustomer, nil, "data.lastName", nil),
		"e-mail":               zuoraSide("customer data.email", limio.TypeCustomer, nil, "data.email", "x@example.com"),
		"zuora identity":       zuoraSide("customer", limio.TypeIdentity, is("data.service", "zuora"), "data.value", "another"),
		"salesforce identity":  zuoraSide("identity salesforce", limio.TypeIdentity, is("data.service", "salesforce"), "data.value", "another"),
		"status":               zuoraSide("status", limio.TypeSubscription, nil, "status", "cancelled"),
		"term start":           zuoraSide("data.termStartDate", limio.TypeSubscription, nil, "data.termStartDate", "2001-01-01T00:00:00.000Z"),
		"term end":             zuoraSide("data.termEndDate", limio.TypeSubscription, nil, "data.termEndDate", nil),
		"auto-renew":           zuoraSide("data.attributes.autoRenew", limio.TypeSubscription, nil, "data.attributes.autoRenew", "maybe"),
		"offer status":         zuoraSide("status", limio.TypeOffer, nil, "status", "cancelled"),
		"offer name":           zuoraSide("data.name", limio.TypeOffer, nil, "data.name", "Else"),
		"offer start":          zuoraSide("data.start", limio.TypeOffer, nil, "data.start", "2001-01-01"),
		"offer end":            zuoraSide("data.end", limio.TypeOffer, nil, "data.end", "2001-01-01"),
		"offer quantity":       zuoraSide("data.quantity", limio.TypeOffer, nil, "data.quantity", 9.0),
		"offer price":          zuoraSide("data.price.amount", limio.TypeOffer, nil, "data.price.amount", 9.99),
		"offer currency":       zuoraSide("data.price.currency", limio.TypeOffer, nil, "data.price.currency", "XTS"),
		"method status":        zuoraSide("status", limio.TypePaymentMethod, nil, "status", "closed"),
		"method default":       zuoraSide("data.isDefault", limio.TypePaymentMethod, nil, "data.isDefault", false),
		"method type":          zuoraSide("data.zuora.result.Type", limio.TypePaymentMethod, nil, "data.zuora.result.Type", "ACH"),
		"method brand":         zuoraSide("data.zuora.result.CreditCardType", limio.TypePaymentMethod, nil, "data.zuora.result.CreditCardType", "Diners"),
		"method mask":          zuoraSide("data.zuora.result.CreditCardMaskNumber", limio.TypePaymentMethod, nil, "data.zuora.result.CreditCardMaskNumber", "************x"),
		"method month":         zuoraSide("data.zuora.result.CreditCardExpirationMonth", limio.TypePaymentMethod, nil, "data.zuora.result.CreditCardExpirationMonth", 13.0),
		"method year":          zuoraSide("data.zuora.result.CreditCardExpirationYear", limio.TypePaymentMethod, nil, "data.zuora.result.CreditCardExpirationYear", 1999.0),
		"billing street":       zuoraSide("address billing data.address1", limio.TypeAddress, billing, "data.address1", "Else"),
		"billing second line":  zuoraSide("address billing data.address2", limio.TypeAddress, billing, "data.address2", "c/o"),
		"delivery city":        zuoraSide("address delivery data.city", limio.TypeAddress, delivery, "data.city", "Else"),
		"delivery state":       zuoraSide("address delivery data.state", limio.TypeAddress, delivery, "data.state", "Else"),
		"delivery postal code": zuoraSide("address delivery data.postalCode", limio.TypeAddress, delivery, "data.postalCode", "0"),
		"delivery country":     zuoraSide("address delivery data.country", limio.TypeAddress, delivery, "data.country", "ZZ"),
		"delivery first name":  zuoraSide("address delivery data.firstName", limio.TypeAddress, delivery, "data.firstName", "Else"),
		"address gone":         zuoraSide("address delivery", limio.TypeAddress, delivery, "relationship_type", "former"),
		"another customer": func(t *testing.T, c cast) string {
			other, _ := c.w.limio.AddCustomer(limio.CustomerParams{Name: "Else"})
			c.edit(t, c.w.limio.OfCustomer(c.customer), limio.TypeSubscription, nil, "customer", other)
			return "subscription " + c.number + " customer"
		},
		"a second customer": func(_ *testing.T, c cast) string {
			c.w.limio.AddCustomer(limio.CustomerParams{Name: "Twin", ZuoraAccount: c.account})
			return "identity zuora"
		},
		"a second subscription": func(_ *testing.T, c cast) string {
			c.w.limio.AddSubscription(limio.SubscriptionParams{Customer: c.customer, Number: c.number})
			return "subscription " + c.number
		},
		"a second offer": func(t *testing.T, c cast) string {
			offer := with(c.w.limio.Related(c.sub), limio.TypeOffer, "status", "active")[0]
			c.w.limio.AddOffer(limio.OfferParams{Subscription: c.sub, Name: "Twin", ExternalID: offer.Text("data.external_id")})
			return "offer " + offer.Text("data.external_id")
		},
		"an offer too many": func(_ *testing.T, c cast) string {
			c.w.limio.AddOffer(limio.OfferParams{Subscription: c.sub, Name: "Left over", ExternalID: "gone/C-1"})
			return "offer gone/C-1 status"
		},
		"a method too many": func(_ *testing.T, c cast) string {
			c.w.limio.AddPaymentMethod(limio.PaymentMethodParams{Customer: c.customer, Type: "zuora", Result: map[string]any{"Id": "gone"}})
			return "payment method gone status"
		},
		"a method missing": func(t *testing.T, c cast) string {
			m, err := c.w.zuora.AddPaymentMethod(c.account, c.w.zuoraCard())
			if err != nil {
				t.Fatal(err)
			}
			return "payment method " + m.ID
		},
		"a subscription missing": func(t *testing.T, c cast) string {
			s, err := c.w.zuora.AddSubscription(zuora.Subscription{AccountID: c.account}, zuora.Order{})
			if err != nil {
				t.Fatal(err)
			}
			return "subscription " + s.Number
		},

		"stripe status":     stripeSide("subscription status", limio.TypeSubscription, nil, "status", "cancelled"),
		"stripe term start": stripeSide("subscription data.termStartDate", limio.TypeSubscription, nil, "data.termStartDate", "2001-01-01"),
		"stripe term end":   stripeSide("subscription data.termEndDate", limio.TypeSubscription, nil, "data.termEndDate", "2001-01-01"),
		"payment amount":    stripeSide("payment upcoming", limio.TypeSchedule, upcoming, "data.amount", "0.01"),
		"payment status":    stripeSide("payment upcoming", limio.TypeSchedule, upcoming, "status", "pending"),
		"payment cancelled": stripeSide("payment upcoming", limio.TypeSchedule, upcoming, "status", "cancelled"),
		"paid one missing":  stripeSide("payment in_", limio.TypeSchedule, paid, "status", "cancelled"),
		"card brand":        stripeSide("card data.stripe.result.brand", limio.TypePaymentMethod, nil, "data.stripe.result.brand", "diners"),
		"card digits":       stripeSide("card data.stripe.result.last4", limio.TypePaymentMethod, nil, "data.stripe.result.last4", "x"),
		"card month":        stripeSide("card data.stripe.result.exp_month", limio.TypePaymentMethod, nil, "data.stripe.result.exp_month", 13.0),
		"card year":         stripeSide("card data.stripe.result.exp_year", limio.TypePaymentMethod, nil, "data.stripe.result.exp_year", 1999.0),
		"card missing":      stripeSide("card", limio.TypePaymentMethod, nil, "data.type", "invoice"),
		"a payment too many": func(_ *testing.T, c cast) string {
			return "payment " + c.w.limio.AddSchedule(limio.ScheduleParams{Subscription: c.stripe.Limio, Date: began.AddDate(0, 6, 0), Amount: 1, Currency: "EUR"})
		},
		"an unpaid one too many": func(_ *testing.T, c cast) string {
			sub, _ := c.w.stripe.Subscription(c.stripe.ID)
			return "payment " + c.w.limio.AddSchedule(limio.ScheduleParams{
				Subscription: c.stripe.Limio, Status: "pending", Date: sub.CurrentPeriodStart.Add(25 * time.Hour), Amount: 1, Currency: "EUR",
			})
		},
		"an invoice shown twice": func(_ *testing.T, c cast) string {
			inv := c.w.stripe.Invoices(c.stripe.ID)[0]
			shown := len(with(c.w.limio.Related(c.stripe.Limio), limio.TypeSchedule, "data.external_id", inv.ID))
			for range 2 - shown {
				c.w.limio.AddSchedule(limio.ScheduleParams{
					Subscription: c.stripe.Limio, Status: "active", Date: inv.Lines[0].PeriodStart, Amount: inv.Total, Currency: "EUR", ExternalID: inv.ID,
				})
			}
			return "payment schedule-"
		},
		"stripe price": func(t *testing.T, c cast) string {
			if err := c.w.stripe.ChangePlan(c.stripe.ID, stripe.ItemParams{Amount: 77777}, stripe.ByRequest("")); err != nil {
				t.Fatal(err)
			}
			return "payment upcoming"
		},
		"record gone": func(t *testing.T, c cast) string {
			if err := c.w.limio.Remove(limio.ByStaff, c.stripe.Limio); err != nil {
				t.Fatal(err)
			}
			return "subscription " + c.stripe.Limio
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			c := equalOnes(t)
			before := c.w.Drift()
			field := spoil(t, c)
			fresh := slices.DeleteFunc(c.w.Drift(), func(d Difference) bool { return slices.Contains(before, d) })
			if len(fresh) != 1 || !strings.Contains(fresh[0].Field, field) || fresh[0].Want == fresh[0].Have {
				t.Errorf("want one difference in %q, got %v", field, fresh)
			}
		})
	}
}

// TestTheJudgeIsNotPetty: what means the same is no difference.
func TestTheJudgeIsNotPetty(t *testing.T) {
	c := equalOnes(t)
	before := c.w.Drift()
	sub, _ := c.w.limio.Get(c.sub)
	end := dayOf(sub.Text("data.termEndDate"))
	c.edit(t, []limio.Object{sub}, limio.TypeSubscription, nil, "data.termEndDate", end+"T00:00:00.000")
	customer := c.w.limio.OfCustomer(c.customer)
	c.edit(t, customer, limio.TypeAddress, is("relationship_type", "billing"), "data.address2", "")
	related := c.w.limio.Related(c.stripe.Limio)
	c.edit(t, related, limio.TypeSchedule, is("status", "pending-external"), "data.description", "whatever")
	c.w.limio.AddSchedule(limio.ScheduleParams{ // history
		Subscription: c.stripe.Limio, Status: "active", Date: began.AddDate(-3, 0, 0), Amount: 1, Currency: "EUR",
	})
	if after := c.w.Drift(); !slices.Equal(before, after) {
		t.Errorf("before %v\nafter %v", before, after)
	}
}
