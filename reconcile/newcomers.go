package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// The modes of Newcomers.
const (
	NewcomersSkip   = "skip"   // leave it: skipped/unknown_subscription
	NewcomersOrder  = "order"  // have Limio sell it too, by its Send Order API
	NewcomersRecord = "record" // make a Limio record of it, of limited use (stripe-sync.txt)
)

// NewcomersConfig says what becomes of a live Stripe subscription that Limio
// does not know.
//
// Order is what Limio recommends (stripe-sync.txt): Limio then has offers, a
// customer and all that hangs on a sale. It also does whatever else the tenant's
// order orchestration does for a sale. Before it is switched on, make sure with
// Limio that an order with this payment type and these offers makes no second
// subscription in Stripe (assumption 20), and that Limio's own sales carry their
// link in Stripe's metadata within Patience, or they are ordered a second time.
//
// Record makes a bare record: Limio allows no commerce actions on it (cancel,
// switch, renew), it has no offer and no customer, and only what shows payments
// works (stripe-sync.txt, assumption 18).
type NewcomersConfig struct {
	Mode string // one of the Newcomers constants; "" is skip
	// Source is source and initiated_source of orders. Default hotsync. Its
	// changes are our own: like those of the shop they are left to settle.
	Source string
	// Prefix begins the external id of an order; the Stripe id follows. It must
	// never change while an order may be under way. Default hotsync-stripe-.
	Prefix string
	// Prices says by Stripe price (price_…, plan_…) which offer was sold. A
	// subscription with a price that is not in it is left alone.
	Prices map[string]CatalogOffer
	// Payment is the payment type of orders: invoice, stripe, …. Required with
	// order. With stripe the order names the customer's default method.
	Payment string
	// Country is the country of purchase, two letters, for customers without an
	// address. "": such a subscription is left alone.
	Country string
	// Patience is how old a subscription must be: a younger one may be Limio's own
	// sale, whose link is not written yet. Default 15 min.
	Patience time.Duration
	// Grace is how long after an order was sent without an answer Limio must show
	// no trace of it before it is sent again. Default 30 min, at least 1 min.
	Grace time.Duration
	// Orders, Records and Writer are required unless the mode is skip.
	Orders  orders
	Records references
	Writer  writer
}

// CatalogOffer is an offer of Limio's catalog. Version "" lets Limio choose.
type CatalogOffer struct{ Offer, Version string }

// orders is Limio, as far as orders go.
type orders interface {
	// SendOrder makes one call and never repeats it. A result with an id says
	// that the order was taken, even beside an error.
	SendOrder(ctx context.Context, externalID string, o record.NewOrder) (record.PlacedOrder, error)
	// OrderByExternalID looks through all orders since a time.
	OrderByExternalID(ctx context.Context, externalID string, since time.Time) (o record.PlacedOrder, found bool, err error)
	// Order says what became of an order.
	Order(ctx context.Context, id string) (record.PlacedOrder, error)
	// SubscriptionOfOrder fails as NotFound as long as there is none.
	SubscriptionOfOrder(ctx context.Context, o record.PlacedOrder) (id string, err error)
}

// references finds the record that was made under a reference.
type references interface {
	SubscriptionByReference(ctx context.Context, reference string) (sub record.Object, found bool, err error)
}

// Claim says that one record is being made in Limio, so that it is made once:
// it is durable before the request goes out, and as long as the answer is not
// known, no second request goes out. Limio knows no idempotency (limio.md 3.3).
type Claim struct {
	Mode         string    `json:"mode"`                   // NewcomersOrder or NewcomersRecord
	ExternalID   string    `json:"external_id"`            // by which it can be found in Limio
	Since        time.Time `json:"since"`                  // before the first request
	ClaimedAt    time.Time `json:"claimed_at"`             // before the last request
	State        string    `json:"state"`                  // one of the Claim constants
	Order        string    `json:"order,omitempty"`        // Limio's order id, once known
	Subscription string    `json:"subscription,omitempty"` // Limio's subscription id, once known
}

// The states of a Claim.
const (
	ClaimClaimed = "claimed" // a request may go out, or has
	ClaimPlaced  = "placed"  // Limio has it; its subscription is not known yet
	ClaimFailed  = "failed"  // Limio has it and could not carry it out
	ClaimDone    = "done"
)

// Newcomers has Limio know subscriptions that it does not know.
type Newcomers struct{ cfg NewcomersConfig }

// NewNewcomers returns what cfg says, or an error that joins all that is wrong
// with it.
func NewNewcomers(cfg NewcomersConfig) (*Newcomers, error) {
	cfg.Mode = cmp.Or(cfg.Mode, NewcomersSkip)
	cfg.Source = cmp.Or(cfg.Source, "hotsync")
	cfg.Prefix = cmp.Or(cfg.Prefix, "hotsync-stripe-")
	cfg.Patience = cmp.Or(cfg.Patience, 15*time.Minute)
	cfg.Grace = cmp.Or(cfg.Grace, 30*time.Minute)
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	need(slices.Contains([]string{NewcomersSkip, NewcomersOrder, NewcomersRecord}, cfg.Mode),
		"mode %q: must be skip, order or record", cfg.Mode)
	need(cfg.Patience > 0, "patience %s: must be positive", cfg.Patience)
	need(cfg.Grace >= time.Minute, "grace %s: must be a minute or more, since Limio's lists lag behind", cfg.Grace)
	if cfg.Mode == NewcomersOrder {
		errs = append(errs, cfg.checkOrders()...)
		need(cfg.Orders != nil, "orders: Limio's orders are required")
	}
	if cfg.Mode == NewcomersRecord {
		need(cfg.Records != nil && cfg.Writer != nil, "records: a way to find and to write Limio's records is required")
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Newcomers{cfg}, nil
}

func (cfg NewcomersConfig) checkOrders() (errs []error) {
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	need(cfg.Source != string(event.OriginShop) && cfg.Source != string(event.OriginSalesforce),
		"source %q: means that Limio itself sold it; choose a word of your own, such as hotsync", cfg.Source)
	need(!strings.ContainsAny(cfg.Prefix, "/?#% "), "prefix %q: must have no space and none of / ? # %%", cfg.Prefix)
	need(cfg.Payment != "", "payment: required, the payment type of the orders, such as invoice; ask Limio which one makes no second Stripe subscription")
	need(cfg.Country == "" || isCountry(cfg.Country), "country %q: must be a code of two capital letters, such as IE", cfg.Country)
	need(len(cfg.Prices) > 0, "prices: required, which Stripe price is which offer, or nothing could be ordered")
	for _, price := range slices.Sorted(maps.Keys(cfg.Prices)) {
		need(strings.HasPrefix(price, "price_") || strings.HasPrefix(price, "plan_"),
			"prices: %q: is no Stripe price; they begin with price_ (old ones with plan_)", price)
		need(cfg.Prices[price].Offer != "", "prices: %q: names no offer", price)
	}
	return errs
}

func isCountry(code string) bool {
	return len(code) == 2 && strings.ToUpper(code) == code && strings.ToLower(code) != code
}

// write is the one write that makes Limio know a subscription, or a *Nothing
// that says why there is none.
func (n *Newcomers) write(nc Newcomer) (record.Write, error) {
	sub := nc.Subscription
	no := func(why string) (record.Write, error) {
		return record.Write{}, skip(event.ReasonUnknownSubscription, nc.Note+"; "+why)
	}
	switch {
	case n == nil || n.cfg.Mode == NewcomersSkip:
		return record.Write{}, skip(event.ReasonUnknownSubscription, nc.Note)
	case sub.Status == record.StatusLeave:
		return record.Write{}, skip(event.ReasonNotStarted, "the subscription is "+sub.SourceStatus+"; nothing is billed yet")
	case sub.Status != record.StatusActive:
		return no("it is " + sub.SourceStatus + ", and only live subscriptions are made known to Limio")
	case n.cfg.Mode == NewcomersRecord:
		return recordWrite(sub), nil
	}
	order := record.NewOrder{
		Source: n.cfg.Source, Buyer: sub.Buyer, Payment: n.cfg.Payment,
		Country: cmp.Or(sub.Buyer.Country, n.cfg.Country), Start: sub.Start,
	}
	if n.cfg.Payment == "stripe" {
		order.Method = sub.PaymentMethod
	}
	for _, item := range sub.Items {
		offer, known := n.cfg.Prices[item.Price]
		if !known {
			return no("its price " + item.Price + " is not in the map of prices to offers")
		}
		// A metered price has no quantity.
		order.Items = append(order.Items, record.OrderItem{Offer: offer.Offer, Version: offer.Version, Quantity: max(1, item.Quantity)})
	}
	if err := order.Validate(); err != nil {
		return no("it cannot be ordered: " + strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return record.Write{
		Op: record.OpOrder, Type: record.OrderType, Ref: n.cfg.Prefix + sub.ID, Fields: order.Fields(), Order: &order,
	}, nil
}

// recordWrite makes a bare record, which Limio knows by the Stripe id.
func recordWrite(sub record.Subscription) record.Write {
	o := record.Object{Type: record.SubscriptionType, Fields: record.Fields{
		"status": record.Text(string(sub.Status)), "start": record.Instant(sub.Start),
		"data.termStartDate": record.Instant(sub.TermStart), "data.termEndDate": record.Day(sub.TermEnd),
		"data.attributes.external": record.Bool(true), linkField: record.Text(sub.ID),
	}}
	w := record.Write{Op: record.OpCreate, Type: o.Type, Ref: sub.ID}
	for _, path := range slices.Sorted(maps.Keys(o.Fields)) {
		w.Fields = append(w.Fields, record.FieldChange{Field: path, After: o.Fields[path]})
	}
	return w
}

// made is what Limio has of a claim.
type made struct {
	order        string // "" for a record
	subscription string // "" while there is none
	problem      string // why it failed
	failed       bool
}

// find looks for what a claim may have made, through the whole of Limio since
// the claim's first request.
func (n *Newcomers) find(ctx context.Context, c Claim) (m made, found bool, err error) {
	if c.Mode == NewcomersRecord {
		if n.cfg.Records == nil {
			return made{}, false, fault.Newf(fault.Refused, "a record %s may have been made, and nothing is configured to look for it", c.ExternalID)
		}
		sub, found, err := n.cfg.Records.SubscriptionByReference(ctx, c.ExternalID)
		return made{subscription: sub.ID}, found, err
	}
	if n.cfg.Orders == nil {
		return made{}, false, fault.Newf(fault.Refused, "an order %s may have been sent, and nothing is configured to look for it", c.ExternalID)
	}
	if c.Order != "" {
		m, err := n.became(ctx, record.PlacedOrder{ID: c.Order})
		return m, err == nil, err
	}
	placed, found, err := n.cfg.Orders.OrderByExternalID(ctx, c.ExternalID, c.Since)
	if err != nil || !found {
		return made{}, false, err
	}
	m, err = n.subscription(ctx, placed)
	return m, true, err
}

// became says what became of an order that Limio is known to have.
func (n *Newcomers) became(ctx context.Context, placed record.PlacedOrder) (made, error) {
	now, err := n.cfg.Orders.Order(ctx, placed.ID)
	switch {
	case fault.Of(err) == fault.NotFound:
		return made{}, fault.As(fault.Refused, fmt.Errorf("order %s is gone from Limio; it is not sent again: %w", placed.ID, err))
	case err != nil:
		return made{}, fmt.Errorf("read order %s: %w", placed.ID, err)
	}
	now.SubscriptionReference = cmp.Or(now.SubscriptionReference, placed.SubscriptionReference)
	return n.subscription(ctx, now)
}

func (n *Newcomers) subscription(ctx context.Context, placed record.PlacedOrder) (made, error) {
	m := made{order: placed.ID, problem: placed.Problem, failed: placed.State == record.OrderFailed}
	if m.failed {
		return m, nil
	}
	id, err := n.cfg.Orders.SubscriptionOfOrder(ctx, placed)
	if err != nil && fault.Of(err) != fault.NotFound {
		return m, fmt.Errorf("find the subscription of order %s: %w", placed.ID, err)
	}
	m.subscription = id
	return m, nil
}

// send makes the one request. taken says that Limio has it, whatever the error.
func (n *Newcomers) send(ctx context.Context, w record.Write) (m made, taken bool, err error) {
	if w.Op == record.OpCreate {
		id, err := n.cfg.Writer.Apply(ctx, w)
		return made{subscription: id}, err == nil, err
	}
	placed, err := n.cfg.Orders.SendOrder(ctx, w.Ref, *w.Order)
	m = made{order: placed.ID, failed: placed.State == record.OrderFailed, problem: placed.Problem}
	return m, placed.ID != "", err
}
