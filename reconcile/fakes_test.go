package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// fakeLimio is Limio in memory: it applies writes to objects the way the
// documented API does, and imports accounts from fakeZuora.
type fakeLimio struct {
	objects []record.Object
	zuora   *fakeZuora
	writes  []record.Write
	fail    map[record.Op]error // the next write of an op fails with it
	deaf    bool                // writes are answered and not stored
	next    int
	onWrite func(record.Write)  // before a write is carried out
	sync    func(record.Write)  // Limio's own sync
	lose    map[record.Op]error // the answer to the next write of an op, after it was carried out
}

func (l *fakeLimio) id(prefix string) string {
	l.next++
	return fmt.Sprintf("%s-%04d", prefix, l.next)
}

func (l *fakeLimio) Apply(_ context.Context, w record.Write) (string, error) {
	if err := l.fail[w.Op]; err != nil {
		delete(l.fail, w.Op)
		return "", err
	}
	l.writes = append(l.writes, w)
	if l.onWrite != nil {
		l.onWrite(w)
	}
	if l.deaf {
		return w.ID, nil
	}
	if err := l.lose[w.Op]; err != nil {
		delete(l.lose, w.Op)
		return "", err
	}
	switch w.Op {
	case record.OpDelegate:
		l.sync(w)
		return w.ID, nil
	case record.OpImport:
		return l.importSub(w.Ref), nil
	case record.OpCreate:
		o := record.Object{Type: w.Type, ID: l.id(string(w.Type)), Ref: w.Ref, Parent: w.Parent, Fields: record.Fields{}}
		set(o.Fields, w.Fields)
		if w.Type == record.ScheduleType {
			o.Ref = o.Fields["data.external_id"].String()
		}
		l.objects = append(l.objects, o)
		return o.ID, nil
	}
	for _, o := range l.objects {
		if o.ID == w.ID {
			set(o.Fields, w.Fields)
			return w.ID, nil
		}
	}
	return "", fault.Newf(fault.NotFound, "no object %s", w.ID)
}

func set(f record.Fields, changes []record.FieldChange) {
	for _, c := range changes {
		f[c.Field] = c.After
	}
}

// importSub does what Limio's own sync does: customer, account identity and
// subscription, but no offers and no payment methods.
func (l *fakeLimio) importSub(number string) string {
	account := ""
	for id, a := range l.zuora.accounts {
		if slices.ContainsFunc(a.Subscriptions, func(s record.Subscription) bool { return s.ID == number }) {
			account = id
		}
	}
	customer, err := l.CustomerByAccount(context.Background(), account)
	if err != nil {
		customer = record.Object{Type: record.Customer, ID: l.id("cus"), Fields: record.Fields{}}
		customer.Ref = customer.ID
		l.objects = append(l.objects, customer)
		identity := wantIdentity("zuora", account)
		identity.ID, identity.Parent = l.id("id"), customer.ID
		l.objects = append(l.objects, identity)
	}
	for _, o := range l.objects {
		if o.Type == record.SubscriptionType && o.Ref == number {
			return o.ID
		}
	}
	sub := record.Object{Type: record.SubscriptionType, ID: l.id("sub"), Ref: number, Parent: customer.ID, Fields: record.Fields{}}
	l.objects = append(l.objects, sub)
	return sub.ID
}

func (l *fakeLimio) CustomerByAccount(_ context.Context, account string) (record.Object, error) {
	for _, o := range l.objects {
		if o.Type == record.Identity && o.Ref == "zuora/zuora/account/"+account {
			return l.get(o.Parent), nil
		}
	}
	return record.Object{}, fault.Newf(fault.NotFound, "no customer of account %s", account)
}

func (l *fakeLimio) get(id string) record.Object {
	for _, o := range l.objects {
		if o.ID == id {
			return clone(o)
		}
	}
	return record.Object{}
}

func clone(o record.Object) record.Object {
	o.Fields = maps.Clone(o.Fields)
	return o
}

func (l *fakeLimio) Customer(_ context.Context, id string) ([]record.Object, error) {
	if l.get(id).ID == "" {
		return nil, fault.Newf(fault.NotFound, "no customer %s", id)
	}
	return append([]record.Object{l.get(id)}, l.under(id)...), nil
}

func (l *fakeLimio) Related(_ context.Context, id string) ([]record.Object, error) {
	return l.under(id), nil
}

func (l *fakeLimio) Subscription(_ context.Context, id string) ([]record.Object, error) {
	if l.get(id).ID == "" {
		return nil, fault.Newf(fault.NotFound, "no subscription %s", id)
	}
	return append([]record.Object{l.get(id)}, l.under(id)...), nil
}

func (l *fakeLimio) under(id string) (out []record.Object) {
	for _, o := range l.objects {
		if o.Parent == id {
			out = append(out, clone(o))
		}
	}
	return out
}

// fakeZuora holds accounts by id.
type fakeZuora struct {
	accounts map[string]record.Account
	fields   map[string][]string // field=value to account ids
	orders   map[string][]record.Order
	err      error
	reads    int
}

func (z *fakeZuora) Account(_ context.Context, id string) (record.Account, error) {
	z.reads++
	if z.err != nil {
		return record.Account{}, z.err
	}
	a, ok := z.accounts[id]
	if !ok {
		return record.Account{}, fault.Newf(fault.NotFound, "no account %s", id)
	}
	return a, nil
}

func (z *fakeZuora) Find(_ context.Context, field, value string) (string, error) {
	ids := z.fields[field+"="+value]
	switch len(ids) {
	case 0:
		return "", fault.Newf(fault.NotFound, "no account")
	case 1:
		return ids[0], nil
	}
	return "", fault.Newf(fault.Ambiguous, "accounts %v share the value", ids)
}

func (z *fakeZuora) AccountBy(ctx context.Context, field, value string) (record.Account, error) {
	id, err := z.Find(ctx, field, value)
	if err != nil {
		return record.Account{}, err
	}
	return z.Account(ctx, id)
}

func (z *fakeZuora) Orders(_ context.Context, number string) ([]record.Order, error) {
	return z.orders[number], nil
}

// fakeStripe holds subscriptions by id.
type fakeStripe struct {
	subs map[string]record.Subscription
	err  error
}

func (s *fakeStripe) Subscription(_ context.Context, id string) (record.Subscription, error) {
	if s.err != nil {
		return record.Subscription{}, s.err
	}
	sub, ok := s.subs[id]
	if !ok {
		return record.Subscription{}, fault.Newf(fault.NotFound, "no subscription %s", id)
	}
	return sub, nil
}

func (s *fakeStripe) SubscriptionsOf(_ context.Context, customer string) (out []string, err error) {
	for id, sub := range s.subs {
		if sub.Customer == customer {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out, nil
}

// journal keeps planned events, and can refuse them.
type journal struct {
	events []event.Event
	err    error
	writes func() int // writes made when an event came in
	before []int
}

func (j *journal) Record(_ context.Context, e event.Event) error {
	if j.err != nil {
		return j.err
	}
	j.events = append(j.events, e)
	if j.writes != nil {
		j.before = append(j.before, j.writes())
	}
	return nil
}

var today = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func date(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

func account() record.Account {
	return record.Account{
		ID: "2c92aa", Number: "A-1", Name: "Ada Reader", Status: "Active", CRMID: "001A", Currency: "EUR",
		BillTo:        record.Address{FirstName: "Ada", LastName: "Reader", Email: "ada@example.test", Line1: "1 Quay St", City: "Galway", Country: "IE"},
		SoldTo:        record.Address{FirstName: "Ada", LastName: "Reader", City: "Cork", Country: "IE"},
		DefaultMethod: "pm1",
		PaymentMethods: []record.PaymentMethod{
			{ID: "pm1", Type: "CreditCard", Active: true, Brand: "Visa", Last4: "4242", ExpMonth: 9, ExpYear: 2028},
			{ID: "pm2", Type: "PayPalNativeEC", Active: true},
			{ID: "pm3", Type: "CreditCard", Active: false, Last4: "1111"},
		},
		Subscriptions: []record.Subscription{
			{
				ID: "A-S1", Status: record.StatusActive, TermStart: date("2026-01-01"), TermEnd: date("2027-01-01"), AutoRenew: true,
				Offers: []record.Offer{{ID: "prp1/C-1", Name: "Digital", Start: date("2026-01-01"), Quantity: "1", Price: record.Decimal("119.88", "EUR")}},
			},
			{ID: "A-S2", Status: record.StatusActive, TermStart: date("2025-06-01"), AutoRenew: true}, // evergreen
		},
	}
}

func stripeSub() record.Subscription {
	return record.Subscription{
		ID: "sub_1", Customer: "cus_1", Status: record.StatusActive, SourceStatus: "active",
		TermStart: date("2026-03-05"), TermEnd: date("2026-04-05"), AutoRenew: true,
		Metadata:      map[string]string{"limio_subscription_id": "sub-1"},
		PaymentMethod: &record.PaymentMethod{ID: "pm_1", Type: "card", Active: true, Brand: "visa", Last4: "4242", ExpMonth: 1, ExpYear: 2030},
		Schedules: []record.Schedule{
			{ID: "in_1", State: record.SchedulePaid, Date: date("2026-02-05"), Amount: record.Minor(4200, 2, "eur")},
			{ID: "in_2", State: record.SchedulePaid, Date: date("2026-03-05"), Amount: record.Minor(4200, 2, "eur")},
			{State: record.ScheduleUpcoming, Date: date("2026-04-05"), Amount: record.Minor(4200, 2, "eur")},
		},
	}
}

// limioSub is a Limio-born subscription as the shop left it: an entry for the
// first payment and the next one, without invoice ids.
func limioSub() []record.Object {
	schedule := func(id, day, status string) record.Object {
		return record.Object{Type: record.ScheduleType, ID: id, Parent: "sub-1", Fields: record.Fields{
			"status": record.Text(status), "data.type": record.Text("payment"), "data.date": record.Text(day + "T00:00:00.000"),
			"data.schedule_date": record.Text(day + "T00:00:00.000"), "data.amount": record.Text("42.00"), "data.currency": record.Text("EUR"),
		}}
	}
	return []record.Object{
		{Type: record.SubscriptionType, ID: "sub-1", Ref: "LIM1", Fields: record.Fields{
			"status": record.Text("active"), "data.termStartDate": record.Text("2026-02-05T09:00:00.000Z"), "data.termEndDate": record.Text("2026-03-05"),
		}},
		schedule("schedule-1", "2026-02-05", "pending-external"),
		schedule("schedule-2", "2026-03-05", "pending-external"),
	}
}
