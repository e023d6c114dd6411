package stripe

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
)

// ItemParams describe one item of a subscription. What is empty takes the
// default named at the field. Items that agree on everything share a price,
// and those that agree on the product's name share the product.
type ItemParams struct {
	PriceID       string // a price that exists already, or the id to give a new one
	Product       string // product name; "Sandbox plan"
	Nickname      string
	Currency      string // lower case; "usd"
	Amount        int64  // per unit, in minor units; yen has none
	Interval      string // "month"
	IntervalCount int    // 1
	Quantity      int64  // 1
	Metadata      map[string]string
}

// SubscriptionParams describe a new subscription. Only Customer is required.
type SubscriptionParams struct {
	ID       string
	Customer string
	// Item is the plan, when there is one; Items are for several, which must
	// agree on currency and interval.
	Item  ItemParams
	Items []ItemParams

	Metadata    map[string]string
	Description string
	// Start is when it is created and first billed; zero means now. With a
	// start in the past its whole billing history up to now is played.
	Start time.Time
	// BackdatedStart is start_date, where it differs from Start.
	BackdatedStart time.Time
	// TrialEnd, when after Start, begins with a trial.
	TrialEnd             time.Time
	DefaultPaymentMethod string // on the subscription itself
	CollectionMethod     string // ChargeAutomatically
	DaysUntilDue         int    // with SendInvoice; 30
	MissingPaymentMethod string // what a trial's end without one does: create_invoice (default), pause, cancel
	// FailFrom is when payments begin to fail; zero means they do not. If the
	// first one fails the subscription is incomplete.
	FailFrom time.Time
	Cause    Cause // zero: an API call
}

// AddSubscription makes a subscription and its first invoice:
// customer.subscription.created, invoice.created, invoice.finalized, the
// payment's events, invoice.paid and invoice.payment_succeeded. A trial starts
// with an invoice of nothing.
func (s *Server) AddSubscription(p SubscriptionParams) (Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, c, err := s.newSubscription(p)
	if err != nil {
		return Subscription{}, fmt.Errorf("add subscription for customer %s: %w", p.Customer, err)
	}
	s.subs[sub.ID] = sub
	s.subList.add(sub.Created, sub.seq, sub.ID, sub)
	c.subs = append(c.subs, sub)
	c.Currency = cmp.Or(c.Currency, sub.Currency)

	s.start(sub, s.created(p.Cause))
	s.catchUp(sub, s.now())
	return sub.copy(), nil
}

func (s *Server) newSubscription(p SubscriptionParams) (*subscription, *customer, error) {
	c, err := s.liveCustomer(p.Customer)
	if err != nil {
		return nil, nil, err
	}
	if p.ID != "" && s.subs[p.ID] != nil {
		return nil, nil, fmt.Errorf("the id %s is taken", p.ID)
	}
	start := s.orNow(p.Start)
	if start.After(s.now()) {
		return nil, nil, fmt.Errorf("start %s is in the future; move the clock first", start.Format(time.RFC3339))
	}
	sub := &subscription{
		Subscription: Subscription{
			ID: cmp.Or(p.ID, s.newID("sub_")), Customer: c.ID, Status: StatusActive,
			Description: p.Description, Metadata: maps.Clone(p.Metadata),
			CollectionMethod:     cmp.Or(p.CollectionMethod, ChargeAutomatically),
			DefaultPaymentMethod: p.DefaultPaymentMethod,
			MissingPaymentMethod: cmp.Or(p.MissingPaymentMethod, "create_invoice"),
			Created:              start, StartDate: start, BillingCycleAnchor: start, CurrentPeriodStart: start,
		},
		failFrom: p.FailFrom.UTC(),
		seq:      s.nextSeq(),
	}
	if p.FailFrom.IsZero() {
		sub.failFrom = time.Time{}
	}
	if !p.BackdatedStart.IsZero() {
		sub.StartDate = p.BackdatedStart.UTC().Truncate(time.Second)
	}
	if err := s.checkSubscription(sub, c); err != nil {
		return nil, nil, err
	}
	if sub.CollectionMethod == SendInvoice {
		sub.DaysUntilDue = cmp.Or(p.DaysUntilDue, 30)
	}
	if sub.Items, err = s.newItems(p, start); err != nil {
		return nil, nil, err
	}
	first := sub.Items[0].Price
	sub.Currency = first.Currency
	if p.TrialEnd.After(start) {
		sub.Status, sub.TrialStart = StatusTrialing, start
		sub.TrialEnd = p.TrialEnd.UTC().Truncate(time.Second)
		sub.BillingCycleAnchor, sub.CurrentPeriodEnd = sub.TrialEnd, sub.TrialEnd
	} else {
		sub.CurrentPeriodEnd = nextBoundary(start, first.Interval, first.IntervalCount, start)
	}
	return sub, c, nil
}

func (s *Server) checkSubscription(sub *subscription, c *customer) error {
	if sub.DefaultPaymentMethod != "" {
		if _, err := s.methodOf(c, sub.DefaultPaymentMethod); err != nil {
			return err
		}
	}
	switch sub.CollectionMethod {
	case ChargeAutomatically, SendInvoice:
	default:
		return fmt.Errorf("collection method %q: must be charge_automatically or send_invoice", sub.CollectionMethod)
	}
	switch sub.MissingPaymentMethod {
	case "create_invoice", "pause", "cancel":
	default:
		return fmt.Errorf("missing payment method behaviour %q: must be create_invoice, pause or cancel", sub.MissingPaymentMethod)
	}
	return nil
}

func (s *Server) newItems(p SubscriptionParams, at time.Time) ([]Item, error) {
	list := p.Items
	if len(list) == 0 {
		list = []ItemParams{p.Item}
	}
	var items []Item
	for i, ip := range list {
		price, err := s.priceFor(ip, at)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		if ip.Quantity < 0 {
			return nil, fmt.Errorf("item %d: quantity %d is negative", i, ip.Quantity)
		}
		if first := items; len(first) > 0 {
			f := first[0].Price
			if f.Currency != price.Currency || f.Interval != price.Interval || f.IntervalCount != price.IntervalCount {
				return nil, fmt.Errorf("item %d: currency and interval differ from the first item's", i)
			}
		}
		items = append(items, Item{
			ID: s.newID("si_"), Price: price, Quantity: cmp.Or(ip.Quantity, 1),
			Metadata: maps.Clone(ip.Metadata), Created: at,
		})
	}
	return items, nil
}

// priceFor finds the price that ip asks for, or makes it and its product.
func (s *Server) priceFor(ip ItemParams, at time.Time) (Price, error) {
	if pr, ok := s.prices[ip.PriceID]; ok {
		return pr, nil
	}
	pr := Price{
		ID: ip.PriceID, ProductName: cmp.Or(ip.Product, "Sandbox plan"), Nickname: ip.Nickname,
		Currency: strings.ToLower(cmp.Or(ip.Currency, "usd")), UnitAmount: ip.Amount,
		Interval: cmp.Or(ip.Interval, "month"), IntervalCount: cmp.Or(ip.IntervalCount, 1), Created: at,
	}
	if err := checkInterval(pr.Interval, pr.IntervalCount); err != nil {
		return Price{}, err
	}
	if pr.UnitAmount < 0 {
		return Price{}, fmt.Errorf("amount %d is negative", pr.UnitAmount)
	}
	if len(pr.Currency) != 3 {
		return Price{}, fmt.Errorf("currency %q: must have three letters", pr.Currency)
	}
	key := fmt.Sprintf("%s|%s|%s|%d|%s|%d", pr.ProductName, pr.Nickname, pr.Currency, pr.UnitAmount, pr.Interval, pr.IntervalCount)
	if pr.ID == "" {
		if found, ok := s.priceKeys[key]; ok {
			return s.prices[found], nil
		}
		pr.ID = s.newID("price_")
	}
	if pr.Product = s.productID[pr.ProductName]; pr.Product == "" {
		pr.Product = s.newID("prod_")
		s.productID[pr.ProductName] = pr.Product
		s.products[pr.Product] = product{name: pr.ProductName, created: at}
	}
	s.prices[pr.ID] = pr
	if _, ok := s.priceKeys[key]; !ok {
		s.priceKeys[key] = pr.ID
	}
	return pr, nil
}

// start bills a new subscription for the first time.
func (s *Server) start(sub *subscription, cause Cause) {
	at := sub.Created
	inv := s.newInvoice(sub, "subscription_create", at, at, at)
	sub.LatestInvoice = inv.ID
	if inv.Total > 0 && sub.CollectionMethod == ChargeAutomatically && !s.wouldPay(sub, at) {
		sub.Status = StatusIncomplete
	}
	s.tell(at, cause, "customer.subscription.created", sub)
	s.tell(at, cause, "invoice.created", inv)
	s.finalize(sub, inv, at, asItGoes, cause)
	s.schedule(sub)
}

// wouldPay says whether an attempt at this time would be paid.
func (s *Server) wouldPay(sub *subscription, at time.Time) bool {
	failing := !sub.failFrom.IsZero() && !at.Before(sub.failFrom)
	return !failing && s.methodFor(sub) != nil
}

// methodFor is the payment method that is charged: the subscription's own,
// else the customer's, a legacy source last.
func (s *Server) methodFor(sub *subscription) *paymentMethod {
	c := s.customers[sub.Customer]
	for _, id := range []string{sub.DefaultPaymentMethod, c.DefaultPaymentMethod, c.DefaultSource} {
		if m := s.methods[id]; m != nil && m.Customer == c.ID {
			return m
		}
	}
	return nil
}

// live finds a subscription that has not ended, billed up to now.
func (s *Server) live(id string) (*subscription, error) {
	sub := s.subs[id]
	if sub == nil {
		return nil, errors.New("there is no such subscription")
	}
	s.catchUp(sub, s.now())
	if sub.Ended() {
		return nil, fmt.Errorf("it is %s", sub.Status)
	}
	return sub, nil
}
