package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// zuora is Zuora, as the account reconciler reads it. Account and AccountBy
// return a complete account; AccountBy compares exactly and fails as NotFound
// or Ambiguous unless one account matches.
type zuora interface {
	Account(ctx context.Context, id string) (record.Account, error)
	AccountBy(ctx context.Context, field, value string) (record.Account, error)
	Orders(ctx context.Context, number string) ([]record.Order, error)
}

// customers is Limio, as the account reconciler reads it.
type customers interface {
	CustomerByAccount(ctx context.Context, account string) (record.Object, error)
	Customer(ctx context.Context, id string) ([]record.Object, error)
	Related(ctx context.Context, subscription string) ([]record.Object, error)
}

// AccountAuthority lists every field that the account reconciler may touch.
func AccountAuthority() record.Authority {
	return record.Authority{
		{Type: record.Customer, Field: "data.name", Personal: true},
		{Type: record.Customer, Field: "data.firstName", Personal: true},
		{Type: record.Customer, Field: "data.lastName", Personal: true},
		{Type: record.Customer, Field: "data.email", Personal: true},

		{Type: record.Identity, Field: "data.service"},
		{Type: record.Identity, Field: "data.issuer"},
		{Type: record.Identity, Field: "data.type"},
		{Type: record.Identity, Field: "data.value"},

		{Type: record.SubscriptionType, Field: "status"},
		{Type: record.SubscriptionType, Field: "data.termStartDate", Kind: record.Date},
		{Type: record.SubscriptionType, Field: "data.termEndDate", Kind: record.Date},
		{Type: record.SubscriptionType, Field: "data.attributes.autoRenew"},

		{Type: record.SubscriptionOffer, Field: "status"},
		{Type: record.SubscriptionOffer, Field: "data.name"},
		{Type: record.SubscriptionOffer, Field: "data.start", Kind: record.Date},
		{Type: record.SubscriptionOffer, Field: "data.end", Kind: record.Date},
		{Type: record.SubscriptionOffer, Field: "data.quantity", Kind: record.Amount},
		{Type: record.SubscriptionOffer, Field: "data.price.amount", Kind: record.Amount},
		{Type: record.SubscriptionOffer, Field: "data.price.currency"},
		{Type: record.SubscriptionOffer, Field: "data.record_subtype"},
		{Type: record.SubscriptionOffer, Field: "data.external_id"},

		{Type: record.PaymentMethodType, Field: "status"},
		{Type: record.PaymentMethodType, Field: "data.type"},
		{Type: record.PaymentMethodType, Field: "data.isDefault"},
		{Type: record.PaymentMethodType, Field: "data.zuora.result.Id"},
		{Type: record.PaymentMethodType, Field: "data.zuora.result.Type"},
		{Type: record.PaymentMethodType, Field: "data.zuora.result.CreditCardType"},
		{Type: record.PaymentMethodType, Field: "data.zuora.result.CreditCardMaskNumber"},
		{Type: record.PaymentMethodType, Field: "data.zuora.result.CreditCardExpirationMonth"},
		{Type: record.PaymentMethodType, Field: "data.zuora.result.CreditCardExpirationYear"},

		{Type: record.AddressType, Field: "relationship_type"},
		{Type: record.AddressType, Field: "data.firstName", Personal: true},
		{Type: record.AddressType, Field: "data.lastName", Personal: true},
		{Type: record.AddressType, Field: "data.address1", Personal: true},
		{Type: record.AddressType, Field: "data.address2", Personal: true},
		{Type: record.AddressType, Field: "data.city"},
		{Type: record.AddressType, Field: "data.state"},
		{Type: record.AddressType, Field: "data.postalCode"},
		{Type: record.AddressType, Field: "data.country"},
	}
}

// Accounts makes Limio follow Zuora accounts: hot sync (hot-sync.txt).
type Accounts struct {
	zuora     zuora
	limio     customers
	cfg       AccountsConfig
	authority record.Authority
}

// NewAccounts returns the reconciler of zuora:account keys.
func NewAccounts(z zuora, l customers, cfg AccountsConfig) *Accounts {
	a := &Accounts{zuora: z, limio: l, cfg: cfg, authority: AccountAuthority()}
	if cfg.Schedules {
		a.authority = append(a.authority, scheduleAuthority()...)
	}
	return a
}

// Want implements Reconciler. With a lookup, the lookup is the read: its answer
// must still be this account.
func (a *Accounts) Want(ctx context.Context, r Request) (Want, error) {
	if r.Via == "" {
		acc, err := a.zuora.Account(ctx, r.Key.ID)
		if fault.Of(err) == fault.NotFound {
			return Want{}, skip(event.ReasonUnknownAccount, "Zuora has no account "+r.Key.ID)
		}
		if err != nil {
			return Want{}, err
		}
		return a.want(acc), nil
	}
	field, value, _ := strings.Cut(r.Via, "=")
	acc, err := a.zuora.AccountBy(ctx, field, value)
	if err != nil {
		return Want{}, matchError(field, err)
	}
	if acc.ID != r.Key.ID {
		return Want{}, &Nothing{
			Outcome: event.Skipped, Reason: event.ReasonFannedOut,
			Note:    fmt.Sprintf("%s now leads to account %s", field, acc.ID),
			Forward: []Request{{Key: record.ZuoraLookup(field, value), Via: r.Via}},
		}
	}
	return a.want(acc), nil
}

// matchError turns the failure of a lookup into its outcome: strictly one
// account, or none at all (hot-sync.txt, option B).
func matchError(field string, err error) error {
	switch fault.Of(err) {
	case fault.NotFound:
		return skip(event.ReasonNoMatch, fmt.Sprintf("no Zuora account has this value in %s", field))
	case fault.Ambiguous:
		return skip(event.ReasonAmbiguousMatch, err.Error())
	}
	return err
}

func (a *Accounts) want(acc record.Account) Want {
	w := Want{
		Label: acc.Number, Mark: acc.Mark, Until: acc.Until, Related: []string{acc.ID},
		Source: Source{Key: record.ZuoraAccount(acc.ID), Account: acc.Number}, Horizons: map[string]horizon{},
	}
	add := func(o record.Object) { w.Objects = append(w.Objects, o) }

	add(record.Object{Type: record.Customer, Ref: acc.ID, Fields: record.Fields{
		"data.name": record.Text(acc.Name), "data.firstName": record.TextOrNull(acc.BillTo.FirstName),
		"data.lastName": record.TextOrNull(acc.BillTo.LastName), "data.email": record.TextOrNull(acc.BillTo.Email),
	}})
	add(wantIdentity("zuora", acc.ID))
	if acc.CRMID != "" {
		add(wantIdentity("salesforce", acc.CRMID))
	}
	for _, s := range acc.Subscriptions {
		if strings.EqualFold(s.SourceStatus, "draft") {
			continue // not sold yet: nobody should see it
		}
		add(wantSubscription(s))
		for _, o := range s.Offers {
			add(a.wantOffer(s.ID, o))
		}
		if payments, d, known := wantDue(s); known && a.cfg.Schedules {
			w.Horizons[s.ID] = d
			w.Objects = append(w.Objects, payments...)
		}
	}
	for _, m := range acc.PaymentMethods {
		add(wantZuoraMethod(m, m.ID == acc.DefaultMethod))
	}
	if !acc.BillTo.IsZero() {
		add(wantAddress("billing", acc.BillTo))
	}
	if !acc.SoldTo.IsZero() {
		add(wantAddress("delivery", acc.SoldTo))
	}
	// That no payments are due says something else than that they are not known.
	all := slices.Clone(w.Objects)
	for number, d := range w.Horizons {
		all = append(all, record.Object{Type: record.ScheduleType, Ref: "due", Parent: number, Fields: record.Fields{"end": record.Day(d.end)}})
	}
	w.Fingerprint = record.FingerprintOf(all)
	return w
}

// subtypeAddOn marks an offer that comes on top of another.
const subtypeAddOn = "add_on"

func wantIdentity(service, value string) record.Object {
	return record.Object{
		Type: record.Identity, Ref: service + "/" + service + "/account/" + value,
		Fields: record.Fields{
			"data.service": record.Text(service), "data.issuer": record.Text(service),
			"data.type": record.Text("account"), "data.value": record.Text(value),
		},
	}
}

func wantSubscription(s record.Subscription) record.Object {
	f := record.Fields{
		"data.termStartDate":        record.Instant(s.TermStart),
		"data.termEndDate":          record.Day(s.TermEnd),
		"data.attributes.autoRenew": record.Bool(s.AutoRenew),
	}
	if s.Status != record.StatusLeave {
		f["status"] = record.Text(string(s.Status))
	}
	return record.Object{Type: record.SubscriptionType, Ref: s.ID, Fields: f}
}

func (a *Accounts) wantOffer(number string, o record.Offer) record.Object {
	subtype := "base"
	if slices.ContainsFunc(a.cfg.AddOns, func(pattern string) bool { return fits(pattern, o.Name) }) {
		subtype = subtypeAddOn
	}
	f := record.Fields{
		"status": record.Text("active"), "data.name": record.Text(o.Name),
		"data.start": record.Day(o.Start), "data.end": record.Day(o.End),
		"data.quantity": numeral(o.Quantity), "data.price.amount": numeral(o.Price.Amount),
		"data.price.currency": record.TextOrNull(o.Price.Currency),
		"data.record_subtype": record.Text(subtype), "data.external_id": record.Text(o.ID),
	}
	return record.Object{Type: record.SubscriptionOffer, Ref: o.ID, Parent: number, Fields: f}
}

// numeral is a decimal number as Limio stores it on offers: a JSON number.
func numeral(decimal string) record.Value {
	if decimal == "" {
		return record.Null
	}
	return record.Value(decimal)
}

func wantZuoraMethod(m record.PaymentMethod, isDefault bool) record.Object {
	status := "active"
	if !m.Active {
		status = "closed"
	}
	mask := record.Null
	if m.Last4 != "" {
		mask = record.Text("************" + m.Last4)
	}
	return record.Object{Type: record.PaymentMethodType, Ref: m.ID, Fields: record.Fields{
		"status": record.Text(status), "data.type": record.Text("zuora"), "data.isDefault": record.Bool(isDefault),
		"data.zuora.result.Id": record.Text(m.ID), "data.zuora.result.Type": record.Text(m.Type),
		"data.zuora.result.CreditCardType":            record.TextOrNull(m.Brand),
		"data.zuora.result.CreditCardMaskNumber":      mask,
		"data.zuora.result.CreditCardExpirationMonth": intOrNull(m.ExpMonth),
		"data.zuora.result.CreditCardExpirationYear":  intOrNull(m.ExpYear),
	}}
}

func intOrNull(n int) record.Value {
	if n == 0 {
		return record.Null
	}
	return record.Int(int64(n))
}

func wantAddress(relationship string, a record.Address) record.Object {
	return record.Object{Type: record.AddressType, Ref: relationship, Fields: record.Fields{
		"relationship_type": record.Text(relationship),
		"data.firstName":    record.TextOrNull(a.FirstName), "data.lastName": record.TextOrNull(a.LastName),
		"data.address1": record.TextOrNull(a.Line1), "data.address2": record.TextOrNull(a.Line2),
		"data.city": record.TextOrNull(a.City), "data.state": record.TextOrNull(a.State),
		"data.postalCode": record.TextOrNull(a.PostalCode), "data.country": record.TextOrNull(a.Country),
	}}
}

// Have implements Reconciler: the customer with what hangs on it, and the
// offers of each wanted subscription that Limio has.
func (a *Accounts) Have(ctx context.Context, w Want, m Memory) (Have, error) {
	h := Have{Customer: m.Customer, Subscriptions: map[string]string{}}
	account := w.Objects[0].Ref
	var objects []record.Object
	if h.Customer != "" {
		var err error
		objects, err = a.limio.Customer(ctx, h.Customer)
		if fault.Of(err) == fault.NotFound {
			h.Customer = "" // the index points at nothing: search again
		} else if err != nil {
			return Have{}, fmt.Errorf("read customer %s: %w", h.Customer, err)
		}
	}
	if h.Customer == "" {
		found, err := a.limio.CustomerByAccount(ctx, account)
		if fault.Of(err) == fault.NotFound {
			return h, nil // Limio has never heard of the account
		}
		if err != nil {
			return Have{}, fmt.Errorf("find the customer of account %s: %w", account, err)
		}
		h.Customer = found.ID
		if objects, err = a.limio.Customer(ctx, h.Customer); err != nil {
			return Have{}, fmt.Errorf("read customer %s: %w", h.Customer, err)
		}
	}
	h.Objects = objects
	return h, a.related(ctx, w, &h)
}

// maxReads bounds how many reads of one account are under way at once.
const maxReads = 4

func (a *Accounts) related(ctx context.Context, w Want, h *Have) error {
	var ids []string
	for _, o := range h.Objects {
		if o.Type == record.SubscriptionType && wanted(w, o.Ref) {
			h.Subscriptions[o.Ref] = o.ID
			ids = append(ids, o.ID)
		}
	}
	parts := make([][]record.Object, len(ids))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(maxReads)
	for i, id := range ids {
		g.Go(func() (err error) {
			if parts[i], err = a.limio.Related(gctx, id); err != nil {
				return fmt.Errorf("read what belongs to %s: %w", id, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	h.Objects = slices.Concat(append([][]record.Object{h.Objects}, parts...)...)
	h.Orders = ordersIn(h.Objects)
	h.Updated = newest(h.Objects)
	return nil
}

func wanted(w Want, number string) bool {
	return slices.ContainsFunc(w.Objects, func(o record.Object) bool { return o.Type == record.SubscriptionType && o.Ref == number })
}

// ordersIn reads the orders among Limio's objects. The system that submitted an
// order counts before the place where it began (limio.md 2.7).
func ordersIn(objects []record.Object) []record.Order {
	var out []record.Order
	for _, o := range objects {
		if o.Type != record.OrderType {
			continue
		}
		source := o.Fields["source"].String()
		if source == "" {
			source = o.Fields["initiated_source"].String()
		}
		created, err := time.Parse(time.RFC3339, o.Fields["created"].String())
		if err == nil {
			out = append(out, record.Order{ID: o.ID, Source: source, Created: created.UTC()})
		}
	}
	return out
}

// newest is the latest of Limio's own stamps.
func newest(objects []record.Object) string {
	out := ""
	for _, o := range objects {
		out = max(out, o.Fields["updated"].String())
	}
	return out
}

// Orders implements Originator: the Zuora orders of the subscriptions that
// differ, in themselves or in what they hold.
func (a *Accounts) Orders(ctx context.Context, h Have, writes []record.Write) ([]record.Order, error) {
	differs := map[string]bool{} // by Limio id
	for _, w := range writes {
		differs[w.ID], differs[w.Parent] = true, true
	}
	var numbers []string
	for number, id := range h.Subscriptions {
		if differs[id] {
			numbers = append(numbers, number)
		}
	}
	found := make([][]record.Order, len(numbers))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(maxReads)
	for i, number := range numbers {
		g.Go(func() error {
			orders, err := a.zuora.Orders(gctx, number)
			if fault.Of(err) == fault.NotFound {
				return nil
			}
			found[i] = orders
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("read orders behind the difference: %w", err)
	}
	return slices.Concat(found...), nil
}
