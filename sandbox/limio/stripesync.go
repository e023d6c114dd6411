package limio

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// stripeSync is POST /api/plugins/stripe/sync/subscription/{id}, with a Limio
// id (limio.md 3.6).
func (s *Server) stripeSync(w http.ResponseWriter, r *http.Request) {
	if err := onlyQuery(r); err != nil {
		s.answer(w, nil, err)
		return
	}
	id := r.PathValue("id")
	from, readErr := s.readStripe(r.Context(), id)
	var sub Object
	err := s.change(BySync, r.Pattern, func(tx *Tx) (err error) {
		ev := syncEvent{typ: s.cfg.SyncEventType, message: "Stripe subscription sync", target: id}
		if readErr != nil {
			sub, _ = tx.Get(id)
			tx.addSyncEvents(ev, sub, readErr)
			return readErr
		}
		if sub, err = tx.applyStripe(id, from); err != nil {
			return err
		}
		tx.addSyncEvents(ev, sub, nil)
		return nil
	})
	s.answer(w, synced(sub), err)
}

func (s *Server) readStripe(ctx context.Context, id string) (StripeSubscription, error) {
	sub, ok := s.Get(id)
	if !ok || sub.RecordType != TypeSubscription {
		return StripeSubscription{}, refuse(s.cfg.UnknownStatus, "subscription %s not found", id)
	}
	if s.cfg.Stripe == nil {
		return StripeSubscription{}, refuse(http.StatusBadGateway, "the stripe plugin is not configured")
	}
	from, err := s.cfg.Stripe(ctx, id, sub.Text("data.stripe.subscription_id"))
	return from, s.sourceProblem("stripe subscription of "+id, err)
}

// applyStripe touches status, terms, schedules and the card, nothing else.
func (tx *Tx) applyStripe(id string, from StripeSubscription) (Object, error) {
	before := tx.s.store.log.seq
	err := tx.refresh(id, func(json map[string]any) {
		if status := stripeStatus(from.Status); status != "" {
			json["status"] = status
		}
		setTerms(child(json, "data"), from.TermStart, from.TermEnd)
	})
	if err != nil {
		return Object{}, err
	}
	if from.Schedules != nil {
		if err := tx.applySchedules(id, from.Schedules, tx.s.cfg.RecreateSchedules); err != nil {
			return Object{}, err
		}
	}
	if from.Card != nil {
		if err := tx.applyCard(id, *from.Card); err != nil {
			return Object{}, err
		}
	}
	sub, _ := tx.Get(id)
	if tx.s.store.log.seq == before {
		tx.noop(sub)
	}
	return sub, nil
}

func stripeStatus(status string) string {
	switch status {
	case "trialing", "active", "past_due", "unpaid", "paused":
		return "active"
	case "canceled", "incomplete_expired":
		return "cancelled"
	}
	return "" // incomplete: leave it
}

// setTerms writes term dates that mean another day than what is stored. A
// start has a time, an end has none (limio.md 2.1).
func setTerms(data map[string]any, start, end time.Time) {
	if !start.IsZero() && day(data["termStartDate"]) != day(stamp(start)) {
		data["termStartDate"] = stamp(start)
	}
	if !end.IsZero() && day(data["termEndDate"]) != day(stamp(end)) {
		data["termEndDate"] = day(stamp(end))
	}
}

// applyCard refreshes the newest Stripe payment method of a subscription, or
// makes one (assumption 11).
func (tx *Tx) applyCard(sub string, card Card) error {
	result := map[string]any{
		"id": card.ID, "brand": card.Brand, "last4": card.Last4, "exp_month": card.ExpMonth, "exp_year": card.ExpYear,
	}
	var newest *entry
	for _, e := range tx.s.store.find(key{"related", sub}) {
		if e.recordType == TypePaymentMethod && str(obj(e.json(), "data"), "type") == "stripe" &&
			(newest == nil || str(e.json(), "start") >= str(newest.json(), "start")) {
			newest = e
		}
	}
	if newest == nil {
		tx.addPaymentMethod(PaymentMethodParams{Subscription: sub, Type: "stripe", Result: result, Default: true})
		return nil
	}
	err := tx.refresh(newest.id, func(json map[string]any) {
		merge(child(child(child(json, "data"), "stripe"), "result"), result)
	})
	return err
}

// applySchedules makes the live schedules of a subscription be the wanted
// ones. What no longer holds is cancelled, never deleted (limio.md 2.3): what
// lies ahead, and what a wanted entry of the same day replaces. Past payments
// stay. With recreate even what is right is made anew, unless it is paid.
func (tx *Tx) applySchedules(sub string, wanted []ScheduleEntry, recreate bool) error {
	missing := slices.Clone(wanted)
	for i := range missing {
		missing[i].Status = orElse(missing[i].Status, "pending-external")
	}
	today := day(stamp(tx.now))
	for _, e := range tx.s.store.find(key{"related", sub}) {
		if e.recordType != TypeSchedule || str(e.json(), "status") == "cancelled" {
			continue
		}
		same := slices.IndexFunc(missing, func(w ScheduleEntry) bool { return w.is(e) })
		if same >= 0 && (!recreate || missing[same].Status == "active") {
			missing = slices.Delete(missing, same, same+1)
			continue
		}
		on := day(obj(e.json(), "data")["date"])
		replaced := slices.ContainsFunc(missing, func(w ScheduleEntry) bool { return day(stamp(w.Date)) == on })
		if on < today && !replaced {
			continue
		}
		if _, err := tx.Update(e.id, func(json map[string]any) { json["status"] = "cancelled" }); err != nil {
			return err
		}
	}
	for _, w := range missing {
		tx.addSchedule(ScheduleParams{
			Subscription: sub, Status: w.Status, Date: w.Date, Amount: w.Amount, Currency: w.Currency,
			Description: w.Description, ExternalID: w.InvoiceID,
		})
	}
	return nil
}

// is reports whether a stored schedule already says what w says.
func (w ScheduleEntry) is(e *entry) bool {
	data := obj(e.json(), "data")
	return str(e.json(), "status") == w.Status && day(data["date"]) == day(stamp(w.Date)) &&
		str(data, "amount") == FormatAmount(w.Amount, w.Currency) && str(data, "currency") == w.Currency &&
		(w.InvoiceID == "" || str(data, "external_id") == "" || str(data, "external_id") == w.InvoiceID)
}
