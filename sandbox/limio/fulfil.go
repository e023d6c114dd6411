package limio

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// item is an order item with its price.
type item struct {
	offer    string
	quantity int
	CatalogOffer
}

func (s *Server) items(body map[string]any) []item {
	list, _ := body["orderItems"].([]any)
	var out []item
	for _, v := range list {
		m, _ := v.(map[string]any)
		it := item{offer: str(obj(m, "offer"), "id"), quantity: 1}
		if n, ok := m["quantity"].(float64); ok && n >= 1 {
			it.quantity = int(n)
		}
		offer, ok := s.cfg.Catalog[it.offer]
		if !ok {
			offer = CatalogOffer{Name: it.offer, Currency: "EUR"}
		}
		if offer.Months == 0 {
			offer.Months = 12
		}
		it.CatalogOffer = offer
		out = append(out, it)
	}
	return out
}

func (it item) total() int64 { return it.Amount * int64(it.quantity) }

// orderNew makes the customer, unless the e-mail is known, the subscription
// with its offers, the coming payments, addresses and the payment method.
func (tx *Tx) orderNew(p *placed) error {
	details := obj(p.body, "customerDetails")
	customer := str(p.body, "customer")
	if tx.s.store.entries[customer] == nil {
		customer = tx.newCustomer(p.owner, details)
	}
	items := tx.s.items(p.body)
	main := items[0]
	end := tx.now.AddDate(0, main.Months, 0)
	p.sub = tx.addSubscription(SubscriptionParams{
		Customer: customer, Number: p.number, Name: main.Name, TermStart: tx.now, TermEnd: end, AutoRenew: true,
		Amount: main.Amount, Currency: main.Currency, Quantity: main.quantity, Country: str(p.body, "country"),
	}, p.id)
	tx.addItems(p.sub, items)
	for i := 1; i <= main.Months; i++ {
		tx.addSchedule(ScheduleParams{
			Subscription: p.sub, Date: tx.now.AddDate(0, i, 0), Amount: main.total(), Currency: main.Currency, Description: main.Name,
		})
	}
	tx.orderAddresses(customer, p.body)
	if payment := obj(p.body, "payment"); str(payment, "type") != "invoice" {
		tx.orderPayment(p.sub, customer, payment)
	}
	return nil
}

// newCustomer makes a customer whose owner has the id that was promised when
// the order was taken.
func (tx *Tx) newCustomer(owner string, details map[string]any) string {
	first, last := str(details, "firstName"), str(details, "lastName")
	name := first
	if first != "" && last != "" {
		name += " "
	}
	if owner == "" || tx.s.store.entries[owner] != nil { // left behind by a customer that was deleted
		owner = "id-" + hash(tx.s.rnd)
	}
	customer, _ := tx.addCustomer(CustomerParams{
		Name: name + last, FirstName: first, LastName: last, Email: str(details, "email"),
	}, owner)
	return customer
}

func (tx *Tx) addItems(sub string, items []item) {
	for _, it := range items {
		tx.addOffer(OfferParams{
			Subscription: sub, Name: it.Name, Start: tx.now, Amount: it.Amount, Currency: it.Currency,
			Quantity: it.quantity, OfferID: it.offer,
		})
	}
}

// orderAddresses makes the customer's addresses be those of the order.
func (tx *Tx) orderAddresses(customer string, body map[string]any) {
	for _, relationship := range []string{"billing", "delivery"} {
		if d := obj(body, relationship+"Details"); d != nil {
			_ = tx.applyAddress(customer, relationship, Address{ // it updates what it just found
				FirstName: str(d, "firstName"), LastName: str(d, "lastName"), Address1: str(d, "address1"),
				Address2: str(d, "address2"), City: str(d, "city"), State: str(d, "state"),
				PostalCode: str(d, "postalCode"), Country: str(d, "country"),
			})
		}
	}
}

func (tx *Tx) orderPayment(sub, customer string, payment map[string]any) {
	typ := str(payment, "type")
	params := PaymentMethodParams{Customer: customer, Type: typ, Default: true, Result: obj(obj(payment, typ), "result")}
	if typ == "stripe" {
		params.Subscription = sub
	}
	tx.addPaymentMethod(params)
}

// running refuses orders on a subscription that has ended.
func (tx *Tx) running(p *placed) error {
	if status := str(tx.s.store.entries[p.sub].json(), "status"); status == "cancelled" || status == "expired" {
		return fmt.Errorf("subscription %s is %s", p.sub, status)
	}
	return nil
}

func (tx *Tx) orderChangeOffer(p *placed) error {
	if err := tx.running(p); err != nil {
		return err
	}
	if err := tx.endOffers(p.sub); err != nil {
		return err
	}
	items := tx.s.items(p.body)
	tx.addItems(p.sub, items)
	main := items[0]
	_, err := tx.Update(p.sub, func(json map[string]any) {
		data := child(json, "data")
		data["name"], data["quantity"], data["price"] = main.Name, main.quantity, price(main.Amount, main.Currency)
	})
	return err
}

// endOffers ends the offers of a subscription that are running.
func (tx *Tx) endOffers(sub string) error {
	for _, e := range tx.s.store.find(key{"related", sub}) {
		if e.recordType != TypeOffer || str(e.json(), "status") != "active" {
			continue
		}
		if _, err := tx.Update(e.id, func(json map[string]any) {
			json["status"], child(json, "data")["end"] = "cancelled", stamp(tx.now)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) orderAddOffer(p *placed) error {
	if err := tx.running(p); err != nil {
		return err
	}
	tx.addItems(p.sub, tx.s.items(p.body))
	return nil
}

// orderCancel ends a subscription at once: status, offers, coming payments.
func (tx *Tx) orderCancel(p *placed) error {
	if err := tx.running(p); err != nil {
		return err
	}
	if _, err := tx.Update(p.sub, func(json map[string]any) {
		json["status"], child(json, "data")["termEndDate"] = "cancelled", day(stamp(tx.now))
	}); err != nil {
		return err
	}
	if err := tx.endOffers(p.sub); err != nil {
		return err
	}
	return tx.applySchedules(p.sub, []ScheduleEntry{}, false)
}

func (tx *Tx) orderChangePayment(p *placed) error {
	tx.orderPayment(p.sub, str(p.body, "customer"), obj(p.body, "payment"))
	return nil
}

func (tx *Tx) orderChangeAddress(p *placed) error {
	if obj(p.body, "billingDetails") == nil && obj(p.body, "deliveryDetails") == nil {
		return errors.New("the order has neither billingDetails nor deliveryDetails")
	}
	tx.orderAddresses(str(p.body, "customer"), p.body)
	return nil
}

// orderRenew adds a term as long as the last one.
func (tx *Tx) orderRenew(p *placed) error {
	if err := tx.running(p); err != nil {
		return err
	}
	data := obj(tx.s.store.entries[p.sub].json(), "data")
	start, err := time.Parse(time.DateOnly, day(data["termStartDate"]))
	if err != nil {
		return fmt.Errorf("renew %s: term start: %w", p.sub, err)
	}
	end, err := time.Parse(time.DateOnly, day(data["termEndDate"]))
	if err != nil {
		return fmt.Errorf("renew %s: term end: %w", p.sub, err)
	}
	months := (end.Year()-start.Year())*12 + int(end.Month()) - int(start.Month())
	_, err = tx.Update(p.sub, func(json map[string]any) { setTerms(child(json, "data"), end, end.AddDate(0, max(months, 1), 0)) })
	return err
}

// orderUpdate lays the order's data over the subscription's.
func (tx *Tx) orderUpdate(p *placed) error {
	if err := tx.running(p); err != nil {
		return err
	}
	patch := obj(p.body, "data")
	_, err := tx.Update(p.sub, func(json map[string]any) { merge(child(json, "data"), patch) })
	return err
}

// previewOrder answers what an order would cost and stores nothing
// (limio.md 3.3).
func (s *Server) previewOrder(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	if err == nil {
		err = onlyQuery(r)
	}
	if err == nil {
		err = s.checkItems(body)
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	now := s.Clock.Now()
	invoiceItems, schedule := []any{}, []any{}
	var total int64
	currency := ""
	for _, it := range s.items(body) {
		total, currency = total+it.total(), it.Currency
		invoiceItems = append(invoiceItems, map[string]any{
			"chargeName": it.Name, "quantity": it.quantity, "amountWithoutTax": FormatAmount(it.total(), it.Currency),
		})
		for i := range it.Months {
			schedule = append(schedule, scheduleData(ScheduleParams{
				Date: now.AddDate(0, i, 0), Amount: it.total(), Currency: it.Currency, Description: it.Name,
			}))
		}
	}
	s.answer(w, map[string]any{
		"preview": map[string]any{"success": true, "previewResult": map[string]any{"invoices": []any{map[string]any{
			"amount": FormatAmount(total, currency), "amountWithoutTax": FormatAmount(total, currency), "taxAmount": "0.00",
			"targetDate": day(stamp(now)), "invoiceItems": invoiceItems,
		}}}},
		"schedule": schedule,
	}, nil)
}
