package world

import (
	"fmt"
	"slices"

	"hotsync/sandbox/zuora"
)

// zuoraStep makes a change in Zuora, which tells nobody; the login that follows
// does.
func (w *World) zuoraStep(what, id string, change func(a *account) error) (Step, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.byID[id]
	if a == nil {
		return Step{}, fmt.Errorf("%s: there is no account %s", what, id)
	}
	if err := change(a); err != nil {
		return Step{}, fmt.Errorf("%s of account %s: %w", what, id, err)
	}
	a.changed = true
	m, err := w.loginOf(id)
	if err != nil {
		return Step{}, fmt.Errorf("%s: %w", what, err)
	}
	return Step{Messages: []Message{m}}, nil
}

// running picks an active subscription of an account.
func (w *World) running(account string, fits func(zuora.Subscription) bool) (zuora.Subscription, error) {
	var found []zuora.Subscription
	for _, s := range w.zuora.Subscriptions(account) {
		if s.Status == zuora.StatusActive && fits(s) {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		return zuora.Subscription{}, ErrUnable
	}
	return one(w.rnd, found), nil
}

func anyOne(zuora.Subscription) bool { return true }

func termed(s zuora.Subscription) bool { return s.TermType == zuora.Termed }

// ChangePlanInZuora replaces a rate plan of an account, or changes its price;
// its user logs in.
func (w *World) ChangePlanInZuora(id string) (Step, error) {
	return w.zuoraStep("plan change", id, func(a *account) error { return w.changeRatePlan(a.ID, zuora.Order{}) })
}

// changeRatePlan replaces a rate plan, or gives it a price that it never had.
func (w *World) changeRatePlan(account string, order zuora.Order) error {
	s, err := w.running(account, anyOne)
	if err != nil {
		return err
	}
	if w.rnd.IntN(2) == 0 {
		return w.replaceRatePlan(s.Number, order)
	}
	price := int64(1000 + w.next())
	_, err = w.zuora.ChangeSubscription(s.Number, order, func(s *zuora.Subscription) {
		for i := range s.RatePlans {
			if p := &s.RatePlans[i]; p.LastChangeType != zuora.ChangeRemove {
				p.LastChangeType = zuora.ChangeUpdate
				p.Charges[len(p.Charges)-1].Price = price
				return
			}
		}
	})
	return err
}

// replaceRatePlan removes the first live rate plan and adds another.
func (w *World) replaceRatePlan(number string, order zuora.Order) error {
	to := ratePlan(one(w.rnd, plans), "", w.today())
	to.Charges[0].Price = int64(1000 + w.next())
	_, err := w.zuora.ChangeSubscription(number, order, func(s *zuora.Subscription) {
		for i := range s.RatePlans {
			if p := &s.RatePlans[i]; p.LastChangeType != zuora.ChangeRemove {
				p.LastChangeType = zuora.ChangeRemove
				break
			}
		}
		s.RatePlans = append(s.RatePlans, to)
	})
	return err
}

// RenewInZuora renews a subscription of an account; its user logs in.
func (w *World) RenewInZuora(id string) (Step, error) {
	return w.zuoraStep("renewal", id, func(a *account) error {
		s, err := w.running(a.ID, termed)
		if err != nil {
			return err
		}
		_, err = w.zuora.RenewSubscription(s.Number, zuora.Order{})
		return err
	})
}

// CancelInZuora cancels a subscription of an account, today or in the future;
// its user logs in.
func (w *World) CancelInZuora(id string) (Step, error) {
	return w.zuoraStep("cancellation", id, func(a *account) error { return w.cancelOne(a.ID, zuora.Order{}) })
}

func (w *World) cancelOne(account string, order zuora.Order) error {
	s, err := w.running(account, anyOne)
	if err != nil {
		return err
	}
	effective := w.today()
	if w.rnd.IntN(2) == 0 {
		effective = effective.AddDays(30)
	}
	_, err = w.zuora.CancelSubscription(s.Number, effective, order)
	return err
}

// ChangePaymentInZuora gives an account a new default payment method, extends
// the default card, or closes an old one; its user logs in.
func (w *World) ChangePaymentInZuora(id string) (Step, error) {
	return w.zuoraStep("payment change", id, func(a *account) error {
		state, _ := w.zuora.Account(a.ID)
		methods := w.zuora.PaymentMethods(a.ID)
		switch kind := w.rnd.IntN(4); {
		case kind == 0 && slices.ContainsFunc(methods, func(m zuora.PaymentMethod) bool { return m.ID == state.DefaultPaymentMethodID && m.ExpYear > 0 }):
			return w.zuora.UpdatePaymentMethod(state.DefaultPaymentMethodID, func(m *zuora.PaymentMethod) { m.ExpYear++ })
		case kind == 1:
			for _, m := range methods {
				if m.ID != state.DefaultPaymentMethodID && m.Status == zuora.PaymentMethodActive {
					return w.zuora.UpdatePaymentMethod(m.ID, func(m *zuora.PaymentMethod) { m.Status = zuora.PaymentMethodClosed })
				}
			}
		}
		m, err := w.zuora.AddPaymentMethod(a.ID, w.zuoraCard())
		if err != nil {
			return err
		}
		return w.zuora.SetDefaultPaymentMethod(a.ID, m.ID)
	})
}

// MoveInZuora changes the name and address of an account; its user logs in.
func (w *World) MoveInZuora(id string) (Step, error) {
	return w.zuoraStep("move", id, func(a *account) error {
		to := w.contact()
		return w.zuora.UpdateAccount(a.ID, func(x *zuora.Account) {
			x.Name = fmt.Sprintf("%s %s %d", to.FirstName, to.LastName, w.next())
			x.BillTo.Address1, x.BillTo.City, x.BillTo.State = to.Address1, to.City, to.State
			x.BillTo.PostalCode, x.BillTo.Country = to.PostalCode, to.Country
		})
	})
}
