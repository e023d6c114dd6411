package zuora

import (
	"cmp"
	"fmt"
	"time"
)

// AddSubscription stores version 1 of a subscription with the order that made
// it, and returns it as stored. AccountID may be an id or a number; Number, ids,
// dates, terms and status are filled in where they are empty.
func (s *Server) AddSubscription(sub Subscription, order Order) (Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(sub.AccountID)
	if a == nil {
		return Subscription{}, fmt.Errorf("add subscription to account %s: %w", sub.AccountID, ErrNotFound)
	}
	sub = sub.clone()
	sub.AccountID = a.ID
	if sub.Number == "" {
		sub.Number = s.number("A-S%08d", func(n string) bool { return s.latest(n) != nil })
	}
	if s.latest(sub.Number) != nil {
		return Subscription{}, fmt.Errorf("add subscription %s: the number is taken", sub.Number)
	}
	sub.Currency = cmp.Or(sub.Currency, a.Currency)
	sub.Version, sub.PreviousID, sub.OriginalID = 1, "", ""
	s.defaults(&sub)
	if _, taken := s.numberOfSubID[sub.ID]; taken {
		return Subscription{}, fmt.Errorf("add subscription %s: the id %s is taken", sub.Number, sub.ID)
	}
	return s.store(nil, sub, order, OrderAction{Type: "CreateSubscription"})
}

// defaults fills in the terms of a new subscription.
func (s *Server) defaults(sub *Subscription) {
	sub.Status = cmp.Or(sub.Status, StatusActive)
	sub.TermType = cmp.Or(sub.TermType, Termed)
	sub.ContractEffectiveDate = cmp.Or(sub.ContractEffectiveDate, sub.StartDate, s.today())
	if sub.Status != StatusDraft && sub.Status != StatusPendingActivation {
		sub.ServiceActivationDate = cmp.Or(sub.ServiceActivationDate, sub.ContractEffectiveDate)
		if sub.Status != StatusPendingAcceptance {
			sub.CustomerAcceptanceDate = cmp.Or(sub.CustomerAcceptanceDate, sub.ServiceActivationDate)
		}
	}
	sub.StartDate = cmp.Or(sub.StartDate, sub.ContractEffectiveDate)
	sub.TermStartDate = cmp.Or(sub.TermStartDate, sub.StartDate)
	sub.RenewalSetting = cmp.Or(sub.RenewalSetting, "RENEW_WITH_SPECIFIC_TERM")
	if sub.TermType == Evergreen {
		return
	}
	sub.InitialTerm = cmp.Or(sub.InitialTerm, 12)
	sub.InitialTermPeriodType = cmp.Or(sub.InitialTermPeriodType, "Month")
	sub.CurrentTerm = cmp.Or(sub.CurrentTerm, sub.InitialTerm)
	sub.CurrentTermPeriodType = cmp.Or(sub.CurrentTermPeriodType, sub.InitialTermPeriodType)
	sub.RenewalTerm = cmp.Or(sub.RenewalTerm, sub.InitialTerm)
	sub.RenewalTermPeriodType = cmp.Or(sub.RenewalTermPeriodType, sub.InitialTermPeriodType)
	sub.TermEndDate = cmp.Or(sub.TermEndDate, sub.TermStartDate.addPeriod(sub.CurrentTerm, sub.CurrentTermPeriodType))
	sub.EndDate = cmp.Or(sub.EndDate, sub.TermEndDate)
}

// ChangeSubscription makes a new version of a subscription: change edits a copy
// of the latest one, then the version, its rate plans and its charges get new
// ids while number, charge numbers and original ids stay. The order that did it
// is recorded; without Actions it is one of TermsAndConditions. Rate plans and
// charges that change adds need no ids.
func (s *Server) ChangeSubscription(number string, order Order, change func(*Subscription)) (Subscription, error) {
	return s.change(number, order, OrderAction{Type: "TermsAndConditions"}, func(sub *Subscription) error {
		change(sub)
		return nil
	})
}

// EditSubscription edits the latest version of a subscription in place, as an
// update of custom fields does: id and version stay, only the update time tells.
func (s *Server) EditSubscription(number string, change func(*Subscription)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.latest(number)
	if old == nil {
		return fmt.Errorf("edit subscription %s: %w", number, ErrNotFound)
	}
	sub := old.clone()
	change(&sub)
	sub.ID, sub.Number, sub.AccountID, sub.Version, sub.LatestVersion = old.ID, old.Number, old.AccountID, old.Version, true
	if err := check(&sub); err != nil {
		return fmt.Errorf("edit subscription %s: %w", number, err)
	}
	sub.UpdatedAt, sub.seq = s.now(), s.next()
	s.note("Subscription", sub.CustomFields)
	s.versions[number][len(s.versions[number])-1] = &sub
	s.recents["Subscription"].note(sub.ID, sub.UpdatedAt)
	return nil
}

// CancelSubscription cancels a subscription. The status changes at once, the
// service ends on effective, which may lie in the future; an empty effective is
// today.
func (s *Server) CancelSubscription(number string, effective Date, order Order) (Subscription, error) {
	effective = cmp.Or(effective, s.today())
	action := OrderAction{Type: "CancelSubscription", EffectiveDate: effective}
	return s.change(number, order, action, func(sub *Subscription) error {
		if sub.Status == StatusCancelled {
			return fmt.Errorf("it is cancelled already")
		}
		sub.Status = StatusCancelled
		sub.CancelledDate, sub.TermEndDate, sub.EndDate = effective, effective, effective
		sub.CancelReason = cmp.Or(sub.CancelReason, "Cancelled by order")
		eachCharge(sub, func(c *Charge) {
			if c.EffectiveEndDate == "" || c.EffectiveEndDate > effective {
				c.EffectiveEndDate = max(effective, c.EffectiveStartDate)
			}
		})
		return nil
	})
}

// RenewSubscription renews a termed subscription: the next term starts where
// the current one ends.
func (s *Server) RenewSubscription(number string, order Order) (Subscription, error) {
	return s.change(number, order, OrderAction{Type: "RenewSubscription"}, func(sub *Subscription) error {
		if sub.TermType == Evergreen {
			return fmt.Errorf("an evergreen subscription has no term to renew")
		}
		if sub.Status == StatusCancelled {
			return fmt.Errorf("it is cancelled")
		}
		old := sub.TermEndDate
		sub.TermStartDate = old
		sub.CurrentTerm, sub.CurrentTermPeriodType = sub.RenewalTerm, sub.RenewalTermPeriodType
		sub.TermEndDate = old.addPeriod(sub.RenewalTerm, sub.RenewalTermPeriodType)
		sub.EndDate = sub.TermEndDate
		eachCharge(sub, func(c *Charge) {
			if c.EffectiveEndDate == old {
				c.EffectiveEndDate = sub.TermEndDate
			}
		})
		return nil
	})
}

// RemoveRatePlan removes a rate plan, given by its id or by its product rate
// plan's. It stays listed with LastChangeType ChangeRemove, as in Zuora.
func (s *Server) RemoveRatePlan(number, plan string, order Order) (Subscription, error) {
	return s.change(number, order, OrderAction{Type: "RemoveProduct"}, func(sub *Subscription) error {
		for i := range sub.RatePlans {
			p := &sub.RatePlans[i]
			if p.LastChangeType == ChangeRemove || p.ID != plan && p.ProductRatePlanID != plan {
				continue
			}
			p.LastChangeType = ChangeRemove
			for j := range p.Charges {
				p.Charges[j].EffectiveEndDate = max(s.today(), p.Charges[j].EffectiveStartDate)
			}
			return nil
		}
		return fmt.Errorf("rate plan %s: %w", plan, ErrNotFound)
	})
}

// eachPlanCharge visits the charges of rate plans that are not removed.
func eachPlanCharge(sub *Subscription, do func(*RatePlan, *Charge)) {
	for i := range sub.RatePlans {
		p := &sub.RatePlans[i]
		for j := range p.Charges {
			if p.LastChangeType != ChangeRemove {
				do(p, &p.Charges[j])
			}
		}
	}
}

func eachCharge(sub *Subscription, do func(*Charge)) {
	eachPlanCharge(sub, func(_ *RatePlan, c *Charge) { do(c) })
}

func (s *Server) change(number string, order Order, action OrderAction, edit func(*Subscription) error) (Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.latest(number)
	if old == nil {
		return Subscription{}, fmt.Errorf("change subscription %s: %w", number, ErrNotFound)
	}
	sub := old.clone()
	if err := edit(&sub); err != nil {
		return Subscription{}, fmt.Errorf("change subscription %s: %w", number, err)
	}
	sub.Number, sub.AccountID, sub.Version = old.Number, old.AccountID, old.Version+1
	sub.OriginalID, sub.PreviousID = old.OriginalID, old.ID
	return s.store(old, sub, order, action)
}

// store makes sub the latest version, with new ids. The caller holds the lock.
func (s *Server) store(old *Subscription, sub Subscription, order Order, action OrderAction) (Subscription, error) {
	if err := check(&sub); err != nil {
		return Subscription{}, fmt.Errorf("store subscription %s: %w", sub.Number, err)
	}
	now := s.now()
	if sub.Version > 1 || sub.ID == "" {
		sub.ID = s.newID(idOfSubscriptions)
	}
	sub.OriginalID = cmp.Or(sub.OriginalID, sub.ID)
	sub.LatestVersion, sub.UpdatedAt, sub.seq = true, now, s.next()
	sub.CreatedAt = now // each version is a record of its own
	if old == nil {
		s.subsOfAccount[sub.AccountID] = append(s.subsOfAccount[sub.AccountID], sub.Number)
		s.byText.add("name", sub.Number, sub.Number)
	} else {
		prior := *old
		prior.LatestVersion, prior.UpdatedAt = false, now
		s.versions[sub.Number][len(s.versions[sub.Number])-1] = &prior
		s.recents["Subscription"].note(prior.ID, now)
	}
	for i := range sub.RatePlans {
		s.renumber(&sub, &sub.RatePlans[i], now)
	}
	s.note("Subscription", sub.CustomFields)
	s.versions[sub.Number] = append(s.versions[sub.Number], &sub)
	s.numberOfSubID[sub.ID] = sub.Number
	s.recents["Subscription"].note(sub.ID, now)
	s.record(&sub, order, action, now)
	s.announce(EventOrderProcessed, sub.AccountID, sub.Number)
	return sub.clone(), nil
}

// renumber gives a rate plan and its charges the ids of a new version.
func (s *Server) renumber(sub *Subscription, p *RatePlan, now time.Time) {
	p.ID, p.SubscriptionID = s.newID(idOfSubscriptions), sub.ID
	p.OriginalID = cmp.Or(p.OriginalID, p.ID)
	p.LastChangeType = cmp.Or(p.LastChangeType, ChangeAdd)
	p.ProductID = cmp.Or(p.ProductID, s.newID(idOfAccounts))
	p.ProductRatePlanID = cmp.Or(p.ProductRatePlanID, s.newID(idOfAccounts))
	p.CreatedAt, p.UpdatedAt = now, now
	s.note("RatePlan", p.CustomFields)
	for i := range p.Charges {
		c := &p.Charges[i]
		c.ID, c.RatePlanID = s.newID(idOfSubscriptions), p.ID
		c.OriginalID = cmp.Or(c.OriginalID, c.ID)
		if c.Number == "" {
			c.Number = s.number("C-%08d", nil)
		}
		c.ProductChargeID = cmp.Or(c.ProductChargeID, s.newID(idOfAccounts))
		c.Type = cmp.Or(c.Type, "Recurring")
		c.Model = cmp.Or(c.Model, "FlatFee")
		c.Currency = cmp.Or(c.Currency, sub.Currency)
		c.Quantity = cmp.Or(c.Quantity, 1)
		if c.Type == "Recurring" {
			c.BillingPeriod = cmp.Or(c.BillingPeriod, "Month")
		}
		c.EffectiveStartDate = cmp.Or(c.EffectiveStartDate, sub.StartDate)
		if sub.TermType != Evergreen {
			c.EffectiveEndDate = cmp.Or(c.EffectiveEndDate, sub.TermEndDate)
		}
		c.Segment = cmp.Or(c.Segment, 1)
		c.CreatedAt, c.UpdatedAt = now, now
		s.note("RatePlanCharge", c.CustomFields)
	}
}

// record keeps the order that made a version.
func (s *Server) record(sub *Subscription, o Order, action OrderAction, now time.Time) {
	o = o.clone()
	o.ID = cmp.Or(o.ID, s.newID(idOfSubscriptions))
	if o.Number == "" {
		o.Number = s.number("O-%08d", nil)
	}
	o.AccountNumber = s.accounts[sub.AccountID].Number
	o.Date = cmp.Or(o.Date, s.today())
	o.Status = cmp.Or(o.Status, "Completed")
	if len(o.Actions) == 0 {
		o.Actions = []OrderAction{action}
	}
	for i := range o.Actions {
		o.Actions[i].ID = cmp.Or(o.Actions[i].ID, s.newID(idOfSubscriptions))
		o.Actions[i].EffectiveDate = cmp.Or(o.Actions[i].EffectiveDate, o.Date)
	}
	o.SubscriptionNumber = sub.Number
	o.BaseVersion, o.NewVersion = sub.Version-1, sub.Version
	o.CreatedAt, o.seq = now, sub.seq
	s.orders[sub.Number] = append(s.orders[sub.Number], &o)
}

// check refuses what would make the simulator answer nonsense.
func check(sub *Subscription) error {
	switch sub.Status {
	case StatusDraft, StatusPendingActivation, StatusPendingAcceptance, StatusActive, StatusCancelled, StatusSuspended:
	default:
		return fmt.Errorf("status %q is none of Zuora's; use the Status constants", sub.Status)
	}
	if sub.TermType != Termed && sub.TermType != Evergreen {
		return fmt.Errorf("term type %q is neither TERMED nor EVERGREEN", sub.TermType)
	}
	for _, d := range []Date{sub.ContractEffectiveDate, sub.ServiceActivationDate, sub.CustomerAcceptanceDate, sub.StartDate,
		sub.EndDate, sub.TermStartDate, sub.TermEndDate, sub.CancelledDate} {
		if err := d.valid(); err != nil {
			return err
		}
	}
	for _, p := range sub.RatePlans {
		for _, c := range p.Charges {
			if !knownBillingPeriod(c.BillingPeriod) {
				return fmt.Errorf("charge %s: billing period %q is not one this simulator knows", c.Name, c.BillingPeriod)
			}
			for _, d := range []Date{c.EffectiveStartDate, c.EffectiveEndDate, c.ChargedThroughDate, c.ProcessedThroughDate} {
				if err := d.valid(); err != nil {
					return fmt.Errorf("charge %s: %w", c.Name, err)
				}
			}
		}
	}
	return nil
}
