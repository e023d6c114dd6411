package world

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
	"hotsync/sandbox/zuora"
)

// ShopOrder is an order placed in the shop for a Stripe subscription or a Zuora
// account. The billing system changes at once, and its echo is in Messages;
// Limio's own record changes when Next is called.
func (w *World) ShopOrder(id string) (Step, error) { return w.order(id, "shop") }

// SalesforceOrder is the same from Salesforce.
func (w *World) SalesforceOrder(id string) (Step, error) { return w.order(id, "salesforce") }

func (w *World) order(id, source string) (Step, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	step, err := Step{}, error(nil)
	if strings.HasPrefix(id, "sub_") {
		step, err = w.stripeOrder(id, source)
	} else {
		step, err = w.zuoraOrder(id, source)
	}
	if err != nil {
		return Step{}, fmt.Errorf("%s order for %s: %w", source, id, err)
	}
	step.After = time.Duration(300+w.rnd.IntN(500)) * time.Millisecond
	return step, nil
}

// begin has Limio take an order and opens the time in which it is busy with it.
// Limio holds the order before it asks the billing system for anything.
func (w *World) begin(limioID, source, typ string) (*busy, error) {
	order, err := w.limio.SubmitOrder(limio.OrderParams{
		Subscription: limioID, Type: typ, Source: source, ExternalID: fmt.Sprintf("order-%d", w.next()), Apply: toldLater,
	})
	if err != nil {
		return nil, fmt.Errorf("%s order of %s in Limio: %w", typ, limioID, err)
	}
	w.windows = append(w.windows, window{sub: limioID, source: source, from: w.clock.Now()})
	return &busy{w: w, order: order, at: len(w.windows) - 1}, nil
}

// toldLater stands for what an order does to Limio's records, which is known
// once the billing system has answered.
func toldLater(*limio.Tx, string) error { return nil }

// busy is an order that Limio is working on.
type busy struct {
	w     *World
	order *limio.Submitted
	at    int // of its window
}

// finish has Limio store what its order did, as its orchestration does once the
// billing system has answered.
func (b *busy) finish(apply func(tx *limio.Tx, sub string) error) (Step, error) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	win := &b.w.windows[b.at]
	order, err := b.order.CarryOut(apply)
	win.until = b.w.clock.Now()
	if err == nil && order.Text("orderState") != "complete" {
		err = fmt.Errorf("its state is %q", order.Text("orderState"))
	}
	if err != nil {
		return Step{}, fmt.Errorf("order of %s in Limio: %w", win.sub, err)
	}
	return Step{}, nil
}

func (w *World) stripeOrder(id, source string) (Step, error) {
	s := w.bySub[id]
	if s == nil || s.Limio == "" {
		return Step{}, fmt.Errorf("no such subscription is linked to Limio")
	}
	if s.ending {
		return Step{}, ErrUnable
	}
	kind := w.rnd.IntN(10)
	order, err := w.begin(s.Limio, source, stripeOrderType(kind))
	if err != nil {
		return Step{}, err
	}
	key := fmt.Sprintf("limio-%d", w.next())
	if err := w.changeForOrder(s, kind, source, key); err != nil {
		return Step{}, err
	}
	return Step{Messages: w.webhooks(source), Next: func() (Step, error) {
		want, _ := w.wantStripe(id)
		return order.finish(func(tx *limio.Tx, sub string) error { return followStripe(tx, sub, want) })
	}}, nil
}

func stripeOrderType(kind int) string {
	switch {
	case kind < 2:
		return "change_payment"
	case kind < 4:
		return "cancel_subscription"
	}
	return "change_offer"
}

// changeForOrder is Limio's call to Stripe. Whatever it touches says who asked.
func (w *World) changeForOrder(s *subscription, kind int, source, key string) error {
	cause, mark := stripe.ByRequest(key), map[string]string{SourceKey: source}
	if kind < 2 {
		if err := w.stripe.UpdateCustomer(s.Customer, stripe.CustomerChange{Metadata: mark}, cause); err != nil {
			return err
		}
		_, err := w.stripe.AddPaymentMethod(stripe.PaymentMethodParams{
			Customer: s.Customer, Card: w.stripeCard(), Default: true, Metadata: mark, Cause: cause,
		})
		return err
	}
	if err := w.stripe.SetMetadata(s.ID, mark, cause); err != nil {
		return err
	}
	switch kind {
	case 2:
		s.ending = true
		return w.stripe.CancelAtPeriodEnd(s.ID, true, cause)
	case 3:
		s.ending = true
		return w.stripe.CancelNow(s.ID, cause)
	default:
		return w.changePlan(s, key)
	}
}

// zuoraOrder: the order that Limio makes in Zuora carries its source
// (zuora-stripe.md), and the user, who is logged in, logs in once more.
func (w *World) zuoraOrder(id, source string) (Step, error) {
	a := w.byID[id]
	if a == nil {
		return Step{}, fmt.Errorf("there is no such account")
	}
	sub, err := w.running(id, func(s zuora.Subscription) bool {
		_, known := w.limio.SubscriptionByNumber(s.Number)
		return known && termed(s)
	})
	if err != nil {
		return Step{}, err
	}
	inLimio, _ := w.limio.SubscriptionByNumber(sub.Number)
	order := zuora.Order{Source: source, InitiatedSource: source, Description: "placed in Limio"}
	typ := []string{"renew", "change_offer", "cancel_subscription"}[w.draw(6, 3, 1)]
	in, err := w.begin(inLimio.ID, source, typ)
	if err != nil {
		return Step{}, err
	}
	switch typ {
	case "renew":
		_, err = w.zuora.RenewSubscription(sub.Number, order)
	case "change_offer":
		err = w.replaceRatePlan(sub.Number, order)
	default:
		_, err = w.zuora.CancelSubscription(sub.Number, w.today().AddDays(30*w.rnd.IntN(2)), order)
	}
	if err != nil {
		return Step{}, err
	}
	a.changed = true
	login, err := w.loginOf(id)
	if err != nil {
		return Step{}, err
	}
	return Step{Messages: []Message{login}, Next: func() (Step, error) {
		now, _ := w.zuora.Subscription(sub.Number)
		want := wantSubscription(now, w.clock.Now())
		return in.finish(func(tx *limio.Tx, sub string) error { return followZuora(tx, sub, want, typ) })
	}}, nil
}

// draw returns an index with the odds given by weights.
func (w *World) draw(weights ...int) int {
	total := 0
	for _, n := range weights {
		total += n
	}
	at := w.rnd.IntN(total)
	for i, n := range weights {
		if at -= n; at < 0 {
			return i
		}
	}
	return 0
}

// followStripe makes Limio's record what Stripe says, as Limio's orchestration
// leaves it behind: whole, so that nobody has anything to add.
func followStripe(tx *limio.Tx, sub string, want wantStripe) error {
	if err := update(tx, sub, want.fields); err != nil {
		return err
	}
	related := tx.Related(sub)
	schedules := make([]limio.Object, 0, len(related))
	for _, o := range related {
		if o.RecordType == limio.TypeSchedule {
			schedules = append(schedules, o)
		}
	}
	found, spare := pairs(want.payments, schedules)
	for i, p := range want.payments {
		if !p.live() {
			continue
		}
		f := fields{
			"status": p.status, "data.type": "payment", "data.date": stampOf(p.date), "data.schedule_date": stampOf(p.date),
			"data.amount": limio.FormatAmount(p.amount, p.currency), "data.currency": p.currency,
			"data.description": p.description, "data.external_id": p.invoice,
		}
		if o, ok := found[i]; ok {
			if err := update(tx, o.ID, f); err != nil {
				return err
			}
			continue
		}
		if err := insertUnder(tx, sub, limio.TypeSchedule, f); err != nil {
			return err
		}
	}
	for _, o := range spare {
		if mustGo(o, want, tx.Now()) {
			if err := update(tx, o.ID, fields{"status": "cancelled"}); err != nil {
				return err
			}
		}
	}
	if want.card == nil {
		return nil
	}
	if card, ok := newest(related, isStripeMethod); ok {
		return update(tx, card.ID, want.card)
	}
	return insertUnder(tx, sub, limio.TypePaymentMethod, want.card)
}

// followZuora makes Limio's record what Zuora says after an order. A changed
// offer is Limio's own from then on.
func followZuora(tx *limio.Tx, sub string, want wantSub, typ string) error {
	if err := update(tx, sub, want.fields); err != nil {
		return err
	}
	related := tx.Related(sub)
	sold := soldByLimio(related)
	for _, o := range related {
		if o.RecordType != limio.TypeOffer {
			continue
		}
		f := fields{"status": "cancelled"}
		if typ != "change_offer" {
			if sold {
				continue
			}
			for _, offer := range want.offers {
				if offer.external == o.Text("data.external_id") {
					f = offer.fields
				}
			}
		}
		if err := update(tx, o.ID, f); err != nil {
			return err
		}
	}
	if typ != "change_offer" || len(want.offers) == 0 {
		return nil
	}
	f := fields{"data.offer.id": "offer-new", "data.record_subtype": "base"}
	maps.Copy(f, want.offers[len(want.offers)-1].fields)
	return insertUnder(tx, sub, limio.TypeOffer, f)
}

// update writes what differs, and nothing if nothing does.
func update(tx *limio.Tx, id string, want fields) error {
	o, ok := tx.Get(id)
	if !ok {
		return fmt.Errorf("update %s: there is no such object", id)
	}
	if len(differences("", "", "", want, o)) == 0 {
		return nil
	}
	_, err := tx.Update(id, func(json map[string]any) { fill(json, want) })
	return err
}

func insertUnder(tx *limio.Tx, sub, recordType string, f fields) error {
	parent, _ := tx.Get(sub)
	json := map[string]any{"related": sub, "customer": parent.JSON["customer"], "owner": parent.JSON["owner"]}
	fill(json, f)
	if recordType == limio.TypePaymentMethod {
		json["start"] = tx.Now().UTC().Format(time.RFC3339)
	}
	_, err := tx.Insert(limio.Object{RecordType: recordType, JSON: json})
	return err
}

// stampOf is a day as Limio's schedules have it: without a zone.
func stampOf(t time.Time) string { return t.UTC().Format("2006-01-02T00:00:00.000") }
