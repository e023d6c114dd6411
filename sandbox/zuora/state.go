package zuora

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrNotFound is wrapped when a method is given an id or number that the tenant
// does not have.
var ErrNotFound = errors.New("no such object")

// state is the tenant. Slices of versions are ordered oldest first, and what
// is in them is replaced, never changed in place while another reads.
type state struct {
	mu sync.RWMutex

	rnd      *rand.Rand
	seq      int
	counters map[string]int

	accounts      map[string]*Account // by id
	accountByNum  map[string]string
	accountOrder  []string // ids as they were added
	versions      map[string][]*Subscription
	subsOfAccount map[string][]string // numbers as they were added
	numberOfSubID map[string]string
	methods       map[string]*PaymentMethod
	methodsOf     map[string][]string
	orders        map[string][]*Order // by subscription number, oldest first
	customFields  map[string]bool     // "Account.Name__c": set on some object once
	notText       map[string]bool     // lower-case account fields that had other values than text
	byText        index
	contacts      map[string]*Contact
	recents       map[string]*recent // by the name of the type
}

func newState(seed uint64) *state {
	return &state{
		rnd:           rand.New(rand.NewPCG(seed, seed^0x5851f42d4c957f2d)),
		counters:      map[string]int{},
		accounts:      map[string]*Account{},
		accountByNum:  map[string]string{},
		versions:      map[string][]*Subscription{},
		subsOfAccount: map[string][]string{},
		numberOfSubID: map[string]string{},
		methods:       map[string]*PaymentMethod{},
		methodsOf:     map[string][]string{},
		orders:        map[string][]*Order{},
		customFields:  map[string]bool{},
		notText:       map[string]bool{},
		byText:        index{},
		contacts:      map[string]*Contact{},
		recents:       map[string]*recent{"Account": {}, "Contact": {}, "PaymentMethod": {}, "Subscription": {}},
	}
}

// newID returns an id as Zuora makes them: 32 hexadecimal digits, of which the
// first tell the age of the data centre.
func (st *state) newID(prefix string) string {
	return fmt.Sprintf("%s%012x%016x", prefix, st.rnd.Uint64()>>16, st.rnd.Uint64())
}

const (
	idOfAccounts      = "2c92" // accounts, contacts, payment methods
	idOfSubscriptions = "8ad0" // subscriptions, rate plans, charges, orders
)

// number returns the next number of a kind that is not taken.
func (st *state) number(format string, taken func(string) bool) string {
	for {
		st.counters[format]++
		if n := fmt.Sprintf(format, st.counters[format]); taken == nil || !taken(n) {
			return n
		}
	}
}

func (st *state) next() int {
	st.seq++
	return st.seq
}

// note remembers that custom fields exist, so that a filter on a field that
// exists but is not indexed can be told from a misspelt one.
func (st *state) note(object string, fields map[string]any) {
	for name, v := range fields {
		st.customFields[object+"."+name] = true
		if _, text := v.(string); object == "Account" && v != nil && !text {
			st.notText[strings.ToLower(name)] = true
		}
	}
}

// now is the simulated time, in the milliseconds that Zuora keeps.
func (s *Server) now() time.Time { return s.Clock.Now().Truncate(time.Millisecond) }

// today is the tenant's calendar day.
func (s *Server) today() Date { return DateOf(s.now().In(s.cfg.Zone)) }

// AddAccount stores an account and returns it as stored. Empty ID, Number,
// Status (Active), Currency (EUR), Batch, PaymentTerm and BillTo are filled in.
func (s *Server) AddAccount(a Account) (Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a = a.clone()
	a.ID = cmp.Or(a.ID, s.newID(idOfAccounts))
	if a.Number == "" {
		a.Number = s.number("A-%08d", func(n string) bool { return s.accountByNum[n] != "" })
	}
	if _, ok := s.accounts[a.ID]; ok {
		return Account{}, fmt.Errorf("add account %s: the id is taken", a.ID)
	}
	if _, ok := s.accountByNum[a.Number]; ok {
		return Account{}, fmt.Errorf("add account %s: the number %s is taken", a.ID, a.Number)
	}
	a.Status = cmp.Or(a.Status, "Active")
	a.Currency = cmp.Or(a.Currency, "EUR")
	a.Batch = cmp.Or(a.Batch, "Batch1")
	a.PaymentTerm = cmp.Or(a.PaymentTerm, "Due Upon Receipt")
	a.BillCycleDay = cmp.Or(a.BillCycleDay, 1)
	if a.BillTo == nil {
		a.BillTo = &Contact{LastName: cmp.Or(a.Name, a.Number)}
	}
	now := s.now()
	a.CreatedAt, a.UpdatedAt = now, now
	for _, c := range []*Contact{a.BillTo, a.SoldTo, a.ShipTo} {
		s.adopt(c, a.ID, now)
	}
	s.note("Account", a.CustomFields)
	s.keep(nil, &a)
	s.byText.add("id", a.ID, a.ID)
	s.byText.add("accountnumber", a.Number, a.ID)
	s.byText.move(a.ID, nil, a.CustomFields)
	s.accountByNum[a.Number] = a.ID
	s.accountOrder = append(s.accountOrder, a.ID)
	return a.clone(), nil
}

// keep stores an account with its contacts, in place of what it was.
func (s *Server) keep(old, a *Account) {
	if old != nil {
		for _, c := range []*Contact{old.BillTo, old.SoldTo, old.ShipTo} {
			if c != nil {
				delete(s.contacts, c.ID)
				s.recents["Contact"].note(c.ID, c.UpdatedAt)
			}
		}
	}
	s.accounts[a.ID] = a
	s.recents["Account"].note(a.ID, a.UpdatedAt)
	for _, c := range []*Contact{a.BillTo, a.SoldTo, a.ShipTo} {
		if c != nil {
			s.contacts[c.ID] = c
			s.recents["Contact"].note(c.ID, c.UpdatedAt)
		}
	}
}

// adopt makes c a contact of the account.
func (s *Server) adopt(c *Contact, account string, now time.Time) {
	if c == nil {
		return
	}
	c.ID = cmp.Or(c.ID, s.newID(idOfAccounts))
	c.AccountID = account
	c.CreatedAt, c.UpdatedAt = now, now
	s.note("Contact", c.CustomFields)
}

// UpdateAccount lets change edit an account and its contacts. What did not
// change keeps its update time: an edited contact does not touch its account's
// (zuora-stripe.md Z6), and an edit without effect raises no callout. ID,
// Number and the times cannot be edited. The tenant is locked while change
// runs, here and in the other methods that take a function.
func (s *Server) UpdateAccount(id string, change func(*Account)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.accounts[id]
	if !ok {
		return fmt.Errorf("update account %s: %w", id, ErrNotFound)
	}
	a := old.clone()
	change(&a)
	a.ID, a.Number, a.CreatedAt, a.UpdatedAt = old.ID, old.Number, old.CreatedAt, old.UpdatedAt
	if a.BillTo == nil {
		return fmt.Errorf("update account %s: an account needs a bill-to contact", id)
	}
	now := s.now()
	contacts := false
	for _, p := range []struct{ old, new *Contact }{{old.BillTo, a.BillTo}, {old.SoldTo, a.SoldTo}, {old.ShipTo, a.ShipTo}} {
		switch {
		case p.new == nil:
			contacts = contacts || p.old != nil
		case p.old == nil || p.old.ID != p.new.ID:
			s.adopt(p.new, id, now)
			contacts = true
		default:
			p.new.AccountID, p.new.CreatedAt, p.new.UpdatedAt = id, p.old.CreatedAt, p.old.UpdatedAt
			if !reflect.DeepEqual(p.old, p.new) {
				p.new.UpdatedAt = now
				s.note("Contact", p.new.CustomFields)
				contacts = true
			}
		}
	}
	account := !sameAccount(*old, a)
	if account {
		a.UpdatedAt = now
		s.note("Account", a.CustomFields)
	}
	s.keep(old, &a)
	s.byText.move(id, old.CustomFields, a.CustomFields)
	switch {
	case account:
		s.announce(EventAccountEdited, id, "")
	case contacts:
		s.announce(EventContactEdited, id, "")
	}
	return nil
}

// sameAccount reports whether two accounts are equal but for the content of
// their contacts. Another contact in a role is a change of the account.
func sameAccount(a, b Account) bool {
	role := func(c *Contact) *Contact {
		if c == nil {
			return nil
		}
		return &Contact{ID: c.ID}
	}
	for _, p := range []*Account{&a, &b} {
		p.BillTo, p.SoldTo, p.ShipTo = role(p.BillTo), role(p.SoldTo), role(p.ShipTo)
	}
	return reflect.DeepEqual(a, b)
}

// Account returns a copy of the account with this id or number.
func (s *Server) Account(key string) (Account, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a := s.account(key)
	if a == nil {
		return Account{}, false
	}
	return a.clone(), true
}

// account finds an account by id or number. The caller holds the lock.
func (s *Server) account(key string) *Account {
	if a, ok := s.accounts[key]; ok {
		return a
	}
	return s.accounts[s.accountByNum[key]]
}

// Accounts returns copies of all accounts, in the order they were added.
func (s *Server) Accounts() []Account {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]Account, len(s.accountOrder))
	for i, id := range s.accountOrder {
		out[i] = s.accounts[id].clone()
	}
	return out
}

// AddPaymentMethod stores a payment method of an account and returns it as
// stored. It does not become the default one.
func (s *Server) AddPaymentMethod(account string, p PaymentMethod) (PaymentMethod, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(account)
	if a == nil {
		return PaymentMethod{}, fmt.Errorf("add payment method to account %s: %w", account, ErrNotFound)
	}
	p = p.clone()
	p.ID = cmp.Or(p.ID, s.newID(idOfAccounts))
	if _, ok := s.methods[p.ID]; ok {
		return PaymentMethod{}, fmt.Errorf("add payment method %s: the id is taken", p.ID)
	}
	if p.Type == "" {
		return PaymentMethod{}, fmt.Errorf("add payment method %s: it has no type", p.ID)
	}
	p.AccountID = a.ID
	p.Status = cmp.Or(p.Status, PaymentMethodActive)
	p.CreatedAt, p.UpdatedAt = s.now(), s.now()
	s.methods[p.ID] = &p
	s.recents["PaymentMethod"].note(p.ID, p.UpdatedAt)
	s.methodsOf[a.ID] = append(s.methodsOf[a.ID], p.ID)
	return p.clone(), nil
}

// UpdatePaymentMethod lets change edit a payment method. Only the default one
// raises a callout (zuora-stripe.md Z6).
func (s *Server) UpdatePaymentMethod(id string, change func(*PaymentMethod)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.methods[id]
	if !ok {
		return fmt.Errorf("update payment method %s: %w", id, ErrNotFound)
	}
	p := old.clone()
	change(&p)
	p.ID, p.AccountID, p.CreatedAt, p.UpdatedAt = old.ID, old.AccountID, old.CreatedAt, old.UpdatedAt
	if reflect.DeepEqual(*old, p) {
		return nil
	}
	p.UpdatedAt = s.now()
	s.methods[id] = &p
	s.recents["PaymentMethod"].note(id, p.UpdatedAt)
	if s.accounts[p.AccountID].DefaultPaymentMethodID == id {
		s.announce(EventPaymentMethodUpdated, p.AccountID, "")
	}
	return nil
}

// SetDefaultPaymentMethod makes a payment method the default of its account;
// an empty method leaves the account without one.
func (s *Server) SetDefaultPaymentMethod(account, method string) error {
	s.mu.RLock()
	a, p := s.account(account), s.methods[method]
	s.mu.RUnlock()
	if a == nil {
		return fmt.Errorf("set default payment method of account %s: %w", account, ErrNotFound)
	}
	if method != "" && (p == nil || p.AccountID != a.ID) {
		return fmt.Errorf("set default payment method of account %s to %s: %w", account, method, ErrNotFound)
	}
	return s.UpdateAccount(a.ID, func(a *Account) { a.DefaultPaymentMethodID = method })
}

// PaymentMethods returns copies of an account's payment methods, oldest first.
func (s *Server) PaymentMethods(account string) []PaymentMethod {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a := s.account(account)
	if a == nil {
		return nil
	}
	var out []PaymentMethod
	for _, id := range s.methodsOf[a.ID] {
		out = append(out, s.methods[id].clone())
	}
	return out
}

// Subscriptions returns copies of the latest versions of an account's
// subscriptions, in the order they were added.
func (s *Server) Subscriptions(account string) []Subscription {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a := s.account(account)
	if a == nil {
		return nil
	}
	var out []Subscription
	for _, number := range s.subsOfAccount[a.ID] {
		out = append(out, s.latest(number).clone())
	}
	return out
}

// Subscription returns a copy of the latest version of a subscription.
func (s *Server) Subscription(number string) (Subscription, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sub := s.latest(number)
	if sub == nil {
		return Subscription{}, false
	}
	return sub.clone(), true
}

// Versions returns copies of all versions of a subscription, oldest first.
func (s *Server) Versions(number string) []Subscription {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []Subscription
	for _, v := range s.versions[number] {
		out = append(out, v.clone())
	}
	return out
}

// Orders returns copies of the orders of a subscription, oldest first.
func (s *Server) Orders(number string) []Order {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []Order
	for _, o := range s.orders[number] {
		out = append(out, o.clone())
	}
	return out
}

// latest returns the newest version of a subscription. The caller holds the
// lock.
func (s *Server) latest(number string) *Subscription {
	v := s.versions[number]
	if len(v) == 0 {
		return nil
	}
	return v[len(v)-1]
}

// version returns the version of a subscription that has this id. The caller
// holds the lock.
func (s *Server) version(id string) *Subscription {
	for _, v := range s.versions[s.numberOfSubID[id]] {
		if v.ID == id {
			return v
		}
	}
	return nil
}

// latestOf returns the newest versions of an account's subscriptions, newest
// update first.
func (s *Server) latestOf(account string) []*Subscription {
	out := make([]*Subscription, 0, len(s.subsOfAccount[account]))
	for _, number := range s.subsOfAccount[account] {
		out = append(out, s.latest(number))
	}
	slices.SortFunc(out, func(a, b *Subscription) int {
		return cmp.Or(b.UpdatedAt.Compare(a.UpdatedAt), cmp.Compare(b.seq, a.seq))
	})
	return out
}
