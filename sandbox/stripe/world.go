package stripe

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"time"
)

// Cause says who makes a change, which an event shows in its request field.
// The zero Cause is Stripe itself.
type Cause struct {
	// ByRequest is set when an API call made the change: a shop, the
	// dashboard, Limio.
	ByRequest bool
	// RequestID is that call's id; made up when empty.
	RequestID string
	// IdempotencyKey is the caller's key, empty for none. Without ByRequest it
	// gives the null id with a key that is seen after 3-D Secure.
	IdempotencyKey string
}

// ByStripe is the cause of a renewal, of dunning, of an automatic card update.
func ByStripe() Cause { return Cause{} }

// ByRequest is the cause of a change made by an API call with this idempotency
// key (empty for none).
func ByRequest(idempotencyKey string) Cause {
	return Cause{ByRequest: true, IdempotencyKey: idempotencyKey}
}

// settled fills in the request id, so that all events of one call share it.
func (s *Server) settled(c Cause) Cause {
	if c.ByRequest && c.RequestID == "" {
		c.RequestID = s.newID("req_")
	}
	return c
}

// CustomerParams describe a new customer. Nothing is required.
type CustomerParams struct {
	ID                 string
	Name, Email, Phone string
	Description        string
	Metadata           map[string]string
	Address            *Address
	Created            time.Time // zero: now
	Cause              Cause     // zero: an API call
}

// AddCustomer makes a customer: customer.created.
func (s *Server) AddCustomer(p CustomerParams) (Customer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := cmp.Or(p.ID, s.newID("cus_"))
	if s.customers[id] != nil {
		return Customer{}, fmt.Errorf("add customer %s: that id is taken", id)
	}
	at := s.orNow(p.Created)
	c := &customer{Customer: Customer{
		ID: id, Name: p.Name, Email: p.Email, Phone: p.Phone, Description: p.Description,
		Metadata: maps.Clone(p.Metadata), InvoicePrefix: fmt.Sprintf("%08X", s.ids.Uint32()),
		NextInvoiceSequence: 1, Created: at,
	}}
	if p.Address != nil {
		a := *p.Address
		c.Address = &a
	}
	s.customers[id] = c
	s.tell(at, s.created(p.Cause), "customer.created", c)
	return c.copy(), nil
}

// PaymentMethodParams describe a payment method that is attached at once.
type PaymentMethodParams struct {
	ID       string
	Customer string // required
	Card     Card   // for type card; what is empty is filled in (visa 4242, 12/three years on)
	// Type is "card" when empty; or sepa_debit, us_bank_account, link, paypal.
	Type     string
	Last4    string // of a bank account
	Country  string // of a bank account
	Legacy   bool   // a card_… source instead of a payment method
	Metadata map[string]string
	Default  bool // make it the customer's default as well
	Created  time.Time
	Cause    Cause // zero: an API call
}

// AddPaymentMethod attaches a payment method to a customer:
// payment_method.attached (customer.source.created for a legacy card) and,
// with Default, customer.updated.
func (s *Server) AddPaymentMethod(p PaymentMethodParams) (PaymentMethod, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fail := func(err error) (PaymentMethod, error) {
		return PaymentMethod{}, fmt.Errorf("add payment method to customer %s: %w", p.Customer, err)
	}
	c, err := s.liveCustomer(p.Customer)
	if err != nil {
		return fail(err)
	}
	kind := cmp.Or(p.Type, "card")
	switch kind {
	case "card", "sepa_debit", "us_bank_account", "link", "paypal":
	default:
		return fail(fmt.Errorf("type %q is not simulated: use card, sepa_debit, us_bank_account, link or paypal", kind))
	}
	if p.Legacy && kind != "card" {
		return fail(fmt.Errorf("a legacy source must be a card, not %q", kind))
	}
	prefix := "pm_"
	if p.Legacy {
		prefix = "card_"
	}
	id := cmp.Or(p.ID, s.newID(prefix))
	if s.methods[id] != nil {
		return fail(fmt.Errorf("the id %s is taken", id))
	}
	at := s.orNow(p.Created)
	m := &paymentMethod{PaymentMethod: PaymentMethod{
		ID: id, Type: kind, Customer: c.ID, Legacy: p.Legacy, Metadata: maps.Clone(p.Metadata), Created: at,
		Last4: cmp.Or(p.Last4, "6789"), Country: cmp.Or(p.Country, "US"),
	}, name: c.Name, email: c.Email}
	if kind == "card" {
		m.Card = fullCard(p.Card, at)
		m.Last4, m.Country = "", ""
	}
	s.methods[id] = m
	c.methods = append(c.methods, m)

	cause := s.created(p.Cause)
	if m.Legacy {
		s.tell(at, cause, "customer.source.created", m)
	} else {
		s.tell(at, cause, "payment_method.attached", m)
	}
	if p.Default || (m.Legacy && c.DefaultSource == "") {
		s.setCustomerDefault(c, m, at, cause)
	}
	return m.copy(), nil
}

func fullCard(c Card, at time.Time) *Card {
	c.Brand = cmp.Or(c.Brand, "visa")
	c.Last4 = cmp.Or(c.Last4, "4242")
	c.ExpMonth = cmp.Or(c.ExpMonth, 12)
	c.ExpYear = cmp.Or(c.ExpYear, at.Year()+3)
	c.Funding = cmp.Or(c.Funding, "credit")
	c.Country = cmp.Or(c.Country, "US")
	return &c
}

// SetCustomerDefaultPaymentMethod sets invoice_settings.default_payment_method
// (default_source for a legacy card): customer.updated. An empty id clears
// both.
func (s *Server) SetCustomerDefaultPaymentMethod(customerID, methodID string, cause Cause) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.liveCustomer(customerID)
	if err != nil {
		return fmt.Errorf("set default payment method of customer %s: %w", customerID, err)
	}
	var m *paymentMethod
	if methodID != "" {
		if m, err = s.methodOf(c, methodID); err != nil {
			return fmt.Errorf("set default payment method of customer %s: %w", customerID, err)
		}
	}
	s.setCustomerDefault(c, m, s.now(), s.settled(cause))
	return nil
}

func (s *Server) setCustomerDefault(c *customer, m *paymentMethod, at time.Time, cause Cause) {
	s.change(at, cause, "customer.updated", c, func() {
		switch {
		case m == nil:
			c.DefaultPaymentMethod, c.DefaultSource = "", ""
		case m.Legacy:
			c.DefaultSource = m.ID
		default:
			c.DefaultPaymentMethod = m.ID
		}
	})
}

// CustomerChange says what to change of a customer; nil fields stay.
type CustomerChange struct {
	Name, Email, Phone, Description *string
	Address                         *Address
	Metadata                        map[string]string // merged; an empty value removes the key
}

// UpdateCustomer changes a customer: customer.updated.
func (s *Server) UpdateCustomer(id string, ch CustomerChange, cause Cause) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.liveCustomer(id)
	if err != nil {
		return fmt.Errorf("update customer %s: %w", id, err)
	}
	s.change(s.now(), s.settled(cause), "customer.updated", c, func() {
		set := func(to *string, v *string) {
			if v != nil {
				*to = *v
			}
		}
		set(&c.Name, ch.Name)
		set(&c.Email, ch.Email)
		set(&c.Phone, ch.Phone)
		set(&c.Description, ch.Description)
		if ch.Address != nil {
			a := *ch.Address
			c.Address = &a
		}
		c.Metadata = merged(c.Metadata, ch.Metadata)
	})
	return nil
}

// CardChange says what to change of a card; zero fields stay.
type CardChange struct {
	Brand, Last4      string
	ExpMonth, ExpYear int
}

// UpdateCard changes a card. Caused by Stripe it is the card network's
// updater (payment_method.automatically_updated), else
// payment_method.updated; for a legacy card customer.source.updated. No
// subscription event follows, as at Stripe.
func (s *Server) UpdateCard(methodID string, ch CardChange, cause Cause) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.methods[methodID]
	if m == nil || m.Card == nil {
		return fmt.Errorf("update card %s: there is no such card", methodID)
	}
	at, cause := s.now(), s.settled(cause)
	kind := "payment_method.updated"
	switch {
	case m.Legacy:
		kind = "customer.source.updated"
	case !cause.ByRequest:
		kind = "payment_method.automatically_updated"
	}
	s.change(at, cause, kind, m, func() {
		m.Card.Brand = cmp.Or(ch.Brand, m.Card.Brand)
		m.Card.Last4 = cmp.Or(ch.Last4, m.Card.Last4)
		m.Card.ExpMonth = cmp.Or(ch.ExpMonth, m.Card.ExpMonth)
		m.Card.ExpYear = cmp.Or(ch.ExpYear, m.Card.ExpYear)
	})
	return nil
}

// DetachPaymentMethod takes a payment method from its customer:
// payment_method.detached (customer and its id only in previous_attributes),
// and customer.updated and customer.subscription.updated where it was the
// default.
func (s *Server) DetachPaymentMethod(methodID string, cause Cause) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.methods[methodID]
	if m == nil || m.Customer == "" {
		return fmt.Errorf("detach payment method %s: it is not attached to a customer", methodID)
	}
	at, cause := s.now(), s.settled(cause)
	c := s.customers[m.Customer]
	for _, sub := range c.subs {
		s.catchUp(sub, at)
	}
	if m.Legacy {
		s.tell(at, cause, "customer.source.deleted", m)
		m.Customer = ""
	} else {
		s.change(at, cause, "payment_method.detached", m, func() { m.Customer = "" })
	}
	s.change(at, cause, "customer.updated", c, func() {
		if c.DefaultPaymentMethod == m.ID {
			c.DefaultPaymentMethod = ""
		}
		if c.DefaultSource == m.ID {
			c.DefaultSource = ""
		}
	})
	for _, sub := range c.subs {
		if sub.DefaultPaymentMethod == m.ID && !sub.Ended() {
			s.change(at, cause, "customer.subscription.updated", sub, func() { sub.DefaultPaymentMethod = "" })
		}
	}
	return nil
}

// DeleteCustomer deletes a customer and ends its subscriptions at once:
// customer.subscription.deleted for each, then customer.deleted. What it
// leaves answers {id, object, deleted}.
func (s *Server) DeleteCustomer(id string, cause Cause) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.liveCustomer(id)
	if err != nil {
		return fmt.Errorf("delete customer %s: %w", id, err)
	}
	at, cause := s.now(), s.settled(cause)
	for _, sub := range c.subs {
		s.catchUp(sub, at)
		if !sub.Ended() {
			s.end(sub, at, "cancellation_requested", cause)
		}
	}
	s.tell(at, cause, "customer.deleted", c)
	for _, m := range c.methods {
		m.Customer = ""
	}
	c.Deleted, c.DefaultPaymentMethod, c.DefaultSource = true, "", ""
	return nil
}

var errDeleted = errors.New("it is deleted")

func (s *Server) liveCustomer(id string) (*customer, error) {
	c := s.customers[id]
	switch {
	case c == nil:
		return nil, errors.New("there is no such customer")
	case c.Deleted:
		return nil, errDeleted
	}
	return c, nil
}

func (s *Server) methodOf(c *customer, id string) (*paymentMethod, error) {
	m := s.methods[id]
	if m == nil || m.Customer != c.ID {
		return nil, fmt.Errorf("payment method %q is not attached to customer %s", id, c.ID)
	}
	return m, nil
}

func (s *Server) orNow(t time.Time) time.Time {
	if t.IsZero() {
		return s.now()
	}
	return t.UTC().Truncate(time.Second)
}

// created is the cause of an Add: an API call unless another one is given.
func (s *Server) created(c Cause) Cause {
	if c == (Cause{}) {
		c.ByRequest = true
	}
	return s.settled(c)
}

// merged returns the union of two metadata maps, the second one wins and an
// empty value removes its key. Maps of metadata are never changed: invoices
// share those of their subscription.
func merged(was, with map[string]string) map[string]string {
	out := make(map[string]string, len(was)+len(with))
	maps.Copy(out, was)
	for k, v := range with {
		if v == "" {
			delete(out, k)
		} else {
			out[k] = v
		}
	}
	return out
}
