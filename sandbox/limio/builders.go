package limio

import (
	"maps"
	"strings"
	"time"
)

// CustomerParams describe a customer and its owner. What is empty is left out.
type CustomerParams struct {
	Name, FirstName, LastName, Email string
	ZuoraAccount                     string // adds the zuora/zuora/account identity
	SalesforceAccount                string // adds the salesforce/salesforce/account identity
}

// AddCustomer stores a customer with its owner and returns the ids of both
// ("cus-…", "id-…").
func (s *Server) AddCustomer(p CustomerParams) (customer, owner string) {
	_ = s.change(BySeed, "", func(tx *Tx) error {
		customer, owner = tx.addCustomer(p, "id-"+hash(s.rnd))
		return nil
	})
	return customer, owner
}

func (tx *Tx) addCustomer(p CustomerParams, owner string) (string, string) {
	customer := "cus-" + hash(tx.s.rnd)
	tx.must(Object{customer, TypeCustomer, map[string]any{
		"owner": owner, "customer": customer,
		"data": compact(map[string]any{
			"name": p.Name, "firstName": p.FirstName, "lastName": p.LastName, "email": p.Email,
		}),
	}})
	tx.must(Object{owner, TypeIdentity, map[string]any{
		"owner": owner, "customer": customer,
		"data": map[string]any{"service": "limio", "issuer": "limio", "type": "owner", "value": owner},
	}})
	for _, id := range []struct{ service, account string }{
		{"zuora", p.ZuoraAccount}, {"salesforce", p.SalesforceAccount},
	} {
		if id.account != "" {
			tx.addIdentity(IdentityParams{Customer: customer, Owner: owner, Service: id.service, Value: id.account})
		}
	}
	return customer, owner
}

// IdentityParams describe an identity (assumption 7).
type IdentityParams struct {
	Customer, Owner string // an empty Owner is the customer's
	Service         string // "zuora", "salesforce"
	Issuer          string // empty is Service
	Type            string // empty is "account"
	Value           string
}

// AddIdentity stores an identity and returns its id ("id-…").
func (s *Server) AddIdentity(p IdentityParams) (id string) {
	_ = s.change(BySeed, "", func(tx *Tx) error { id = tx.addIdentity(p); return nil })
	return id
}

func (tx *Tx) addIdentity(p IdentityParams) string {
	if p.Issuer == "" {
		p.Issuer = p.Service
	}
	if p.Type == "" {
		p.Type = "account"
	}
	return tx.must(Object{RecordType: TypeIdentity, JSON: compact(map[string]any{
		"customer": p.Customer, "owner": tx.ownerOf(p.Customer, p.Owner),
		"data": map[string]any{"service": p.Service, "issuer": p.Issuer, "type": p.Type, "value": p.Value},
	})})
}

// SubscriptionParams describe a subscription.
type SubscriptionParams struct {
	Customer, Owner string // an empty Owner is the customer's
	// Number is name and reference; empty makes up a 12-character code, as
	// for subscriptions that were born in Limio.
	Number             string
	Name               string // of the plan
	Status             string // empty is "active"
	TermStart, TermEnd time.Time
	Amount             int64 // of a billing period, in minor units
	Currency           string
	Quantity           int // zero is 1
	Country            string
	AutoRenew          bool
	// Imported subscriptions came in by a sync: they have no order, say
	// attributes.external and have their dates in one form.
	Imported bool
	// StripeID is data.stripe.subscription_id (assumption 14).
	StripeID string
	// Data is laid over data as the other fields make it, key by key.
	Data map[string]any
}

// AddSubscription stores a subscription and returns its id ("sub-…"). Those
// that were born in Limio have termStartDate and termEndDate in mixed forms.
func (s *Server) AddSubscription(p SubscriptionParams) (id string) {
	_ = s.change(BySeed, "", func(tx *Tx) error { id = tx.addSubscription(p, ""); return nil })
	return id
}

// addSubscription stores a subscription; order is the id of the order that it
// was born of, or empty to make one up.
func (tx *Tx) addSubscription(p SubscriptionParams, order string) string {
	rnd := tx.s.rnd
	if p.Number == "" {
		p.Number = reference(rnd)
	}
	attributes := map[string]any{"gift": false, "external": p.Imported, "autoRenew": p.AutoRenew}
	data := map[string]any{
		"name": p.Name, "quantity": max(p.Quantity, 1), "purchaseCountry": p.Country, "attributes": attributes,
		"addOns": []any{},
	}
	json := map[string]any{
		"customer": p.Customer, "owner": tx.ownerOf(p.Customer, p.Owner), "status": p.Status,
		"name": p.Number, "reference": p.Number, "data": data,
	}
	if p.Currency != "" {
		data["price"] = price(p.Amount, p.Currency)
	}
	if p.StripeID != "" {
		data["stripe"] = map[string]any{"subscription_id": p.StripeID}
	}
	if !p.TermStart.IsZero() {
		json["start"], data["startDate"], data["termStartDate"] = stamp(p.TermStart), stamp(p.TermStart), stamp(p.TermStart)
	}
	if !p.TermEnd.IsZero() {
		data["termEndDate"] = p.TermEnd.UTC().Format(time.DateOnly)
	}
	if !p.Imported {
		if order == "" {
			order = "order-" + hash(rnd)
		}
		item := uuid(rnd)
		json["ref"], data["id"] = order+"/"+item, item
		switch rnd.IntN(4) { // the sample's form is the usual one
		case 0:
			if !p.TermEnd.IsZero() {
				data["termEndDate"] = stamp(p.TermEnd)
			}
		case 1:
			if !p.TermStart.IsZero() {
				data["termStartDate"] = p.TermStart.UTC().Format(time.DateOnly)
			}
		}
	}
	json["data"] = compact(data)
	merge(obj(json, "data"), p.Data)
	return tx.must(Object{RecordType: TypeSubscription, JSON: compact(json)})
}

// OfferParams describe a subscription offer.
type OfferParams struct {
	Subscription string
	Name         string
	Status       string    // empty is "active"
	Start, End   time.Time // a zero End is left out
	Amount       int64
	Currency     string
	Quantity     int    // zero is 1
	Subtype      string // empty is "base"
	ExternalID   string // data.external_id, as hotsync writes it (assumption 10)
	OfferID      string // data.offer.id, for offers of Limio's own catalog
}

// AddOffer stores a subscription offer and returns its id
// ("subscription_offer-…").
func (s *Server) AddOffer(p OfferParams) (id string) {
	_ = s.change(BySeed, "", func(tx *Tx) error { id = tx.addOffer(p); return nil })
	return id
}

func (tx *Tx) addOffer(p OfferParams) string {
	if p.Subtype == "" {
		p.Subtype = "base"
	}
	data := map[string]any{
		"name": p.Name, "quantity": max(p.Quantity, 1), "record_subtype": p.Subtype, "external_id": p.ExternalID,
	}
	if p.Currency != "" {
		data["price"] = price(p.Amount, p.Currency)
	}
	if p.OfferID != "" {
		data["offer"] = map[string]any{"id": p.OfferID, "name": p.Name}
	}
	if !p.Start.IsZero() {
		data["start"] = stamp(p.Start)
	}
	if !p.End.IsZero() {
		data["end"] = stamp(p.End)
	}
	return tx.must(tx.under(p.Subscription, TypeOffer, p.Status, data))
}

// ScheduleParams describe a payment schedule.
type ScheduleParams struct {
	Subscription string
	Status       string // empty is "pending-external"
	Date         time.Time
	Amount       int64 // minor units
	Currency     string
	Description  string
	ExternalID   string // data.external_id, as hotsync writes it (assumption 13)
}

// AddSchedule stores a payment schedule and returns its id ("schedule-…").
func (s *Server) AddSchedule(p ScheduleParams) (id string) {
	_ = s.change(BySeed, "", func(tx *Tx) error { id = tx.addSchedule(p); return nil })
	return id
}

func (tx *Tx) addSchedule(p ScheduleParams) string {
	if p.Status == "" {
		p.Status = "pending-external"
	}
	o := tx.under(p.Subscription, TypeSchedule, p.Status, scheduleData(p))
	o.ID = "schedule-" + hash(tx.s.rnd)
	o.JSON["process_hash"] = "limio/production/limio/" + p.Status
	o.JSON["process_key"] = p.Status + "/" + zoneless(p.Date) + "/limio/" + o.ID
	return tx.must(o)
}

func scheduleData(p ScheduleParams) map[string]any {
	amount := FormatAmount(p.Amount, p.Currency)
	return compact(map[string]any{
		"type": "payment", "description": p.Description, "currency": p.Currency, "quantity": 1,
		"date": zoneless(p.Date), "schedule_date": zoneless(p.Date), "external_id": p.ExternalID,
		"amount": amount, "amountWithoutTax": amount, "unit_amount": amount, "taxAmount": 0,
		"lineItems": []any{map[string]any{
			"productName": p.Description, "chargeName": p.Description, "processingType": "Charge", "quantity": 1,
			"amountWithoutTax": amount, "taxAmount": FormatAmount(0, p.Currency),
		}},
	})
}

// PaymentMethodParams describe a payment method.
type PaymentMethodParams struct {
	Customer     string // for type "zuora"
	Subscription string // for type "stripe" (assumption 11)
	Type         string // "zuora", "stripe", "invoice"
	Status       string // empty is "active"
	Start        time.Time
	Default      bool           // data.isDefault
	Result       map[string]any // data.<type>.result
}

// AddPaymentMethod stores a payment method and returns its id ("pm-…").
func (s *Server) AddPaymentMethod(p PaymentMethodParams) (id string) {
	_ = s.change(BySeed, "", func(tx *Tx) error { id = tx.addPaymentMethod(p); return nil })
	return id
}

func (tx *Tx) addPaymentMethod(p PaymentMethodParams) string {
	data := map[string]any{"type": p.Type, "isDefault": p.Default}
	if p.Result != nil {
		data[p.Type] = map[string]any{"result": p.Result}
	}
	o := tx.under(p.Subscription, TypePaymentMethod, p.Status, data)
	o.ID = "pm-" + hash(tx.s.rnd)
	if p.Customer != "" {
		o.JSON["customer"], o.JSON["owner"] = p.Customer, tx.ownerOf(p.Customer, "")
	}
	if p.Subscription == "" {
		o.JSON["related"] = o.ID
	}
	o.JSON["type"], o.JSON["relationship_id"] = p.Type, "rel-"+hash(tx.s.rnd)
	if p.Start.IsZero() {
		p.Start = tx.now
	}
	o.JSON["start"] = stamp(p.Start)
	return tx.must(o)
}

// AddressParams describe an address (assumption 12).
type AddressParams struct {
	Customer     string
	Subscription string // optional
	Relationship string // "billing" or "delivery"
	Status       string // empty is "active"
	Address
}

// AddAddress stores an address and returns its id ("address-…").
func (s *Server) AddAddress(p AddressParams) (id string) {
	_ = s.change(BySeed, "", func(tx *Tx) error { id = tx.addAddress(p); return nil })
	return id
}

func (tx *Tx) addAddress(p AddressParams) string {
	o := tx.under(p.Subscription, TypeAddress, p.Status, p.data())
	if p.Customer != "" {
		o.JSON["customer"], o.JSON["owner"] = p.Customer, tx.ownerOf(p.Customer, "")
	}
	o.JSON["relationship_type"], o.JSON["start"] = p.Relationship, stamp(tx.now)
	return tx.must(o)
}

// under returns an object that is related to a subscription, if one is given,
// and belongs to its customer and owner.
func (tx *Tx) under(subscription, recordType, status string, data map[string]any) Object {
	json := map[string]any{"related": subscription, "status": status, "data": compact(data)}
	if sub := tx.s.store.entries[subscription]; sub != nil {
		json["customer"], json["owner"] = sub.json()["customer"], sub.json()["owner"]
	}
	return Object{RecordType: recordType, JSON: compact(json)}
}

func (tx *Tx) ownerOf(customer, owner string) string {
	if e := tx.s.store.entries[customer]; owner == "" && e != nil {
		return str(e.json(), "owner")
	}
	return owner
}

// must inserts an object whose type and id are known to be good.
func (tx *Tx) must(o Object) string {
	stored, err := tx.Insert(o)
	if err != nil {
		panic("limio: " + strings.TrimSpace(err.Error()))
	}
	return stored.ID
}

// compact removes what is empty text or nil.
func compact(m map[string]any) map[string]any {
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil || v == "" })
	return m
}
