package world

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/zuora"
)

// account is a Zuora account with what the world knows of it.
type account struct {
	Account
	role     role
	loggedIn bool      // a login led to it
	changed  bool      // since the world began, by whoever
	free     time.Time // from when on it may be changed again
}

// role says which stories a record takes part in. Orders have records of their
// own, so that no other change is on its way while Limio is busy with one.
type role int

const (
	roleFree  role = iota // whatever happens in the billing system
	roleOrder             // orders placed in the shop or in Salesforce
	roleQuiet             // nothing but logins
	roleRenew             // Stripe: renews by the clock
	roleWatch             // Stripe: observed
	roleFlap              // Stripe: undone by staff
	roleDenied
)

type plan struct {
	id, name string
	price    int64 // minor units of euro
}

// plans is the product catalogue of both billing systems.
var plans = []plan{
	{"8ad09b7d8b1c0001018b1d0000000001", "Digital", 1290}, {"8ad09b7d8b1c0001018b1d0000000002", "Digital Plus", 1990},
	{"8ad09b7d8b1c0001018b1d0000000003", "Print and Digital", 4200}, {"8ad09b7d8b1c0001018b1d0000000004", "Weekend", 990},
	{"8ad09b7d8b1c0001018b1d0000000005", "Team", 9900}, {"8ad09b7d8b1c0001018b1d0000000006", "Archive", 590},
}

var (
	firstNames = []string{"Ada", "Björn", "Chloé", "Dmitri", "Élodie", "Fatima", "Grace", "Hans", "Inès", "Jun", "Kwame", "Lina"}
	lastNames  = []string{"Adler", "Brontë", "Çelik", "Dupont", "Eriksson", "Fischer", "García", "Hopper", "O'Neill", "Jansen", "Krüger", "Mori"}
	places     = []struct{ city, state, postal, country string }{
		{"Berlin", "", "10115", "Germany"}, {"Hamburg", "", "20095", "Germany"}, {"Lyon", "", "69001", "France"}, {"London", "", "EC1A 1BB", "United Kingdom"},
		{"Portland", "Oregon", "97201", "United States"}, {"Kyoto", "Kyoto", "600-8001", "Japan"}, {"Utrecht", "", "3511", "Netherlands"},
	}
	streets = []string{"Main Street", "Lindenallee", "Rue de la Paix", "Station Road", "Karasuma-dori", "Oudegracht"}
)

func (w *World) contact() zuora.Contact {
	place := one(w.rnd, places)
	first, last := one(w.rnd, firstNames), one(w.rnd, lastNames)
	return zuora.Contact{
		FirstName: first, LastName: last, Address1: fmt.Sprintf("%d %s", w.next(), one(w.rnd, streets)),
		City: place.city, State: place.state, PostalCode: place.postal, Country: place.country,
		WorkEmail: fmt.Sprintf("reader%d@example.com", w.next()),
	}
}

// accountSeed says what is special about an account.
type accountSeed struct {
	crm       *string
	currency  string
	external  string // value of LookupField
	subs      int
	migrated  bool
	sold      bool // by Limio: its offers are Limio's own
	drifted   bool
	role      role
	shipping  bool // a sold-to contact of its own
	methods   []zuora.PaymentMethod
	shape     func(n int, s *zuora.Subscription)
	after     func(a zuora.Account) error // changes made before Limio is told
	unlisted  bool                        // no login leads to it
	shared    bool                        // its user has other accounts too, and is added later
	providerB bool                        // its user is found by external
}

func (w *World) today() zuora.Date { return zuora.DateOf(w.clock.Now()) }

// ratePlan is a fresh rate plan with one recurring charge.
func ratePlan(p plan, currency string, start zuora.Date) zuora.RatePlan {
	price := p.price
	if currency == "JPY" {
		price = p.price / 100 * 150
	}
	return zuora.RatePlan{
		ProductID: strings.Replace(p.id, "1d", "2d", 1), ProductName: p.name, ProductRatePlanID: p.id, Name: p.name + " monthly",
		Charges: []zuora.Charge{{Name: "Subscription fee", Price: price, EffectiveStartDate: start}},
	}
}

// addAccount makes an account with everything in it, its user, and Limio's
// side of it when it was migrated.
func (w *World) addAccount(seed accountSeed) (*account, error) {
	bill := w.contact()
	in := zuora.Account{
		Name: bill.FirstName + " " + bill.LastName, CRMID: seed.crm, Currency: seed.currency, AutoPay: true,
		BillTo: &bill, CustomFields: map[string]any{LookupField: nil},
	}
	if seed.external != "" {
		in.CustomFields[LookupField] = seed.external
	}
	if seed.shipping {
		sold := w.contact()
		in.SoldTo = &sold
	}
	state, err := w.zuora.AddAccount(in)
	if err != nil {
		return nil, err
	}
	if err := w.addMethods(state.ID, seed.methods); err != nil {
		return nil, err
	}
	for n := range seed.subs {
		if err := w.addZuoraSubscription(state, n, seed.shape); err != nil {
			return nil, err
		}
	}
	if seed.after != nil {
		if err := seed.after(state); err != nil {
			return nil, err
		}
	}
	a := &account{Account: Account{ID: state.ID, Migrated: seed.migrated, Drifted: seed.drifted}, role: seed.role}
	w.accounts = append(w.accounts, a)
	w.byID[a.ID] = a
	if seed.migrated {
		w.migrateAccount(a.ID, seed.sold)
	}
	if seed.drifted {
		if err := w.driftAccount(a.ID); err != nil {
			return nil, err
		}
	}
	switch {
	case seed.unlisted, seed.shared:
	case seed.providerB:
		w.addUser(&User{ID: seed.external, Provider: providerB, Accounts: []string{a.ID}})
	default:
		w.addUser(&User{ID: "auth0|" + w.hex(24), Provider: providerA, Accounts: []string{a.ID}})
	}
	return a, nil
}

func (w *World) addUser(u *User) {
	w.users = append(w.users, u)
	for _, id := range u.Accounts {
		if a := w.byID[id]; a.User == "" {
			a.User = u.ID
		}
	}
}

// addMethods stores payment methods, of which the first is the default one.
// Without any, the account gets a card.
func (w *World) addMethods(account string, methods []zuora.PaymentMethod) error {
	if methods == nil {
		methods = []zuora.PaymentMethod{w.zuoraCard()}
	}
	for i, m := range methods {
		stored, err := w.zuora.AddPaymentMethod(account, m)
		if err == nil && i == 0 {
			err = w.zuora.SetDefaultPaymentMethod(account, stored.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *World) zuoraCard() zuora.PaymentMethod {
	return zuora.PaymentMethod{
		Type: "CreditCard", CardNumber: fmt.Sprintf("************%04d", w.rnd.IntN(10000)), CardType: one(w.rnd, []string{"Visa", "MasterCard"}),
		ExpMonth: 1 + w.rnd.IntN(12), ExpYear: w.clock.Now().Year() + 2 + w.rnd.IntN(4), LastTransactionStatus: "Approved",
	}
}

// addZuoraSubscription makes a subscription whose term is not over for weeks,
// so that no status changes by the mere passing of time.
func (w *World) addZuoraSubscription(a zuora.Account, n int, shape func(int, *zuora.Subscription)) error {
	start := w.today().AddDays(-10 - w.rnd.IntN(300))
	sub := zuora.Subscription{
		AccountID: a.ID, ContractEffectiveDate: start, AutoRenew: w.rnd.IntN(3) > 0,
		RatePlans: []zuora.RatePlan{ratePlan(one(w.rnd, plans), a.Currency, start)},
	}
	if shape != nil {
		shape(n, &sub)
	}
	_, err := w.zuora.AddSubscription(sub, zuora.Order{})
	return err
}

func (w *World) seed() error {
	if err := errors.Join(w.seedHardAccounts(), w.seedAccounts(), w.seedStripe()); err != nil {
		return err
	}
	writes := w.limio.Writes()
	if len(writes) > 0 {
		w.seeded = writes[len(writes)-1].Seq
	}
	w.stripe.TakeEvents() // its past is nobody's business
	return nil
}

// seedAccounts makes the ordinary accounts, half of them migrated.
func (w *World) seedAccounts() error {
	var claimed []string // accounts that the next user of several owns
	for n := range w.cfg.Accounts {
		crm := "001" + w.alnum(15)
		s := accountSeed{crm: &crm, subs: 1 + w.rnd.IntN(3)}
		switch n % 10 {
		case 0:
			s.migrated = true
		case 2:
			s.migrated, s.sold, s.role = true, true, roleOrder
		case 4, 9:
			s.migrated, s.drifted, s.crm = true, true, nil
		case 6:
			s.migrated, s.role = true, roleOrder
		case 7:
			s.role = roleQuiet
		case 8:
			s.migrated, s.sold, s.shipping = true, true, true
		}
		s.shared = s.role == roleFree && n%20 < 6
		switch {
		case s.shared:
		case n%4 == 3:
			s.providerB, s.external = true, "okta|"+w.hex(16)
		}
		a, err := w.addAccount(s)
		if err != nil {
			return fmt.Errorf("account %d: %w", n, err)
		}
		if s.shared {
			claimed = append(claimed, a.ID)
		}
		if len(claimed) == 3 || n == w.cfg.Accounts-1 && len(claimed) > 0 {
			w.addUser(&User{ID: "auth0|" + w.hex(24), Provider: providerA, Accounts: claimed})
			claimed = nil
		}
	}
	return nil
}

// seedHardAccounts makes one account for each hard case.
func (w *World) seedHardAccounts() error {
	empty, blank := "", " "
	seeds := []accountSeed{
		{subs: 45, crm: &empty, role: roleQuiet}, // over Zuora's page of 40
		{subs: 2, shape: func(_ int, s *zuora.Subscription) { s.TermType = zuora.Evergreen }},
		{subs: 2, role: roleQuiet, after: func(a zuora.Account) error {
			subs := w.zuora.Subscriptions(a.ID)
			_, err := w.zuora.CancelSubscription(subs[0].Number, w.today().AddDays(20), zuora.Order{})
			_, err2 := w.zuora.CancelSubscription(subs[1].Number, w.today().AddDays(-3), zuora.Order{})
			return errors.Join(err, err2)
		}},
		{subs: 1, shape: twoPlans, after: func(a zuora.Account) error {
			sub := w.zuora.Subscriptions(a.ID)[0]
			_, err := w.zuora.RemoveRatePlan(sub.Number, sub.RatePlans[0].ID, zuora.Order{})
			return err
		}},
		{subs: 1, after: w.manyVersions},
		{subs: 1, crm: &blank, methods: w.oddMethods()},
		{subs: 1, crm: &empty, currency: "JPY", shipping: true},
		{subs: 0, role: roleQuiet},
		{subs: 4, role: roleQuiet, shape: func(n int, s *zuora.Subscription) {
			s.Status = []string{zuora.StatusPendingActivation, zuora.StatusPendingAcceptance, zuora.StatusSuspended, zuora.StatusDraft}[n]
		}},
		{subs: 1, methods: []zuora.PaymentMethod{}}, // none at all
		{subs: 1, shape: withSetupFee},
		// Two accounts with one external id: never synced.
		{subs: 1, role: roleQuiet, external: "okta|twice", unlisted: true},
		{subs: 1, role: roleQuiet, external: "okta|twice", unlisted: true},
		// Two that differ in case only: two users.
		{subs: 1, external: "okta|Ada.Case", providerB: true},
		{subs: 1, external: "okta|ada.case", providerB: true},
	}
	for i, s := range seeds {
		if _, err := w.addAccount(s); err != nil {
			return fmt.Errorf("hard account %d: %w", i, err)
		}
	}
	denied, err := w.addAccount(accountSeed{subs: 1, migrated: true, role: roleDenied})
	if err != nil {
		return fmt.Errorf("denied account: %w", err)
	}
	w.zuora.Inject(httpsim.Fault{Path: denied.ID, Code: "forbidden"})
	// One account that both providers lead to.
	both, err := w.addAccount(accountSeed{subs: 1, external: "okta|" + w.hex(16)})
	if err != nil {
		return fmt.Errorf("account with two logins: %w", err)
	}
	state, _ := w.zuora.Account(both.ID)
	w.addUser(&User{ID: state.CustomFields[LookupField].(string), Provider: providerB, Accounts: []string{both.ID}})
	return nil
}

func twoPlans(_ int, s *zuora.Subscription) {
	s.RatePlans = append(s.RatePlans, ratePlan(plans[5], s.Currency, s.ContractEffectiveDate))
}

func withSetupFee(_ int, s *zuora.Subscription) {
	p := &s.RatePlans[0]
	p.Charges = append([]zuora.Charge{{Name: "Set-up fee", Type: "OneTime", Price: 500, EffectiveStartDate: s.ContractEffectiveDate,
		EffectiveEndDate: s.ContractEffectiveDate.AddDays(1)}}, p.Charges...)
}

func (w *World) manyVersions(a zuora.Account) error {
	number := w.zuora.Subscriptions(a.ID)[0].Number
	for range 3 {
		if _, err := w.zuora.ChangeSubscription(number, zuora.Order{}, func(s *zuora.Subscription) { s.RatePlans[0].Charges[0].Quantity++ }); err != nil {
			return err
		}
	}
	return nil
}

// oddMethods are a card whose number is null, a direct debit, a bank account,
// PayPal, and two that are closed.
func (w *World) oddMethods() []zuora.PaymentMethod {
	closed, scrubbed := w.zuoraCard(), w.zuoraCard()
	closed.Status, scrubbed.Status = zuora.PaymentMethodClosed, zuora.PaymentMethodScrubbed
	scrubbed.CardNumber = ""
	return []zuora.PaymentMethod{
		{Type: "CreditCardReferenceTransaction", CardType: "Visa"},
		{Type: "BankTransfer", BankTransferType: "SEPA", IBAN: "DE****************3000", MandateID: "M-1"},
		{Type: "ACH", BankAccountNumber: "*****6789", BankABACode: "110000000", BankName: "First Bank"},
		{Type: "PayPalNativeEC", BAID: "B-1234", Email: "payer@example.com"},
		closed, scrubbed,
	}
}
