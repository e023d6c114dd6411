package world

import (
	"slices"
	"time"
)

// story is one thing that may happen during a run.
type story struct {
	weight float64
	tell   func(r *run) (Step, error)
	order  bool // counts as an order
	poison bool // its messages count as poison
}

// gap is how long a record is left alone after a story.
const gap = 2 * time.Second

// stories is the mix of a day. Weights are how often a story begins, and a
// renewal has ten messages.
func stories() []story {
	return []story{
		{weight: 58, tell: func(r *run) (Step, error) { return r.w.Login(r.user(false)) }},
		{weight: 0.1, tell: func(r *run) (Step, error) { return r.w.Login(r.user(true)) }},
		{weight: 4, tell: func(r *run) (Step, error) { return r.w.OddLogin(r.odd(false)) }},
		{weight: 3, tell: func(r *run) (Step, error) { return r.w.OddLogin(r.odd(true)) }, poison: true},
		{weight: 0.8, poison: true, tell: func(r *run) (Step, error) {
			topic, kind := one(r.rnd, []string{TopicLogins, TopicStripe}), one(r.rnd, Poisons())
			if kind == TwoMegabytes && r.rnd.IntN(4) > 0 || kind == WrongSignature {
				topic, kind = TopicStripe, WrongSignature // the large one is rare
			}
			return r.w.Poison(topic, kind)
		}},
		{weight: 7, tell: func(r *run) (Step, error) { return r.w.IrrelevantEvent() }},
		{weight: 2, tell: func(r *run) (Step, error) { return r.w.UnknownSubscription() }},

		onSubscription(1.2, roleFree, (*World).RenewSubscription),
		onSubscription(0.15, roleWatch, (*World).RenewSubscription),
		onSubscription(0.1, roleWatch, (*World).ChangeCard),
		onSubscription(0.15, roleFree, (*World).Basil),
		onSubscription(0.15, roleFree, (*World).Dunning),
		onSubscription(0.6, roleFree, (*World).ChangeCard),
		onSubscription(0.6, roleFree, (*World).UpdateExpiry),
		onSubscription(0.6, roleFree, (*World).ChangePlanInStripe),
		onSubscription(0.15, roleFree, (*World).CancelAtPeriodEnd),
		onSubscription(0.04, roleFree, (*World).DeleteCustomer),
		onSubscription(0.1, roleDenied, (*World).Refused),

		onAccount(0.7, (*World).ChangePlanInZuora),
		onAccount(0.5, (*World).RenewInZuora),
		onAccount(0.15, (*World).CancelInZuora),
		onAccount(0.5, (*World).ChangePaymentInZuora),
		onAccount(0.5, (*World).MoveInZuora),

		onOrders(1.0, (*World).ShopOrder),
		onOrders(0.5, (*World).SalesforceOrder),
	}
}

func onSubscription(weight float64, role role, do func(*World, string) (Step, error)) story {
	return story{weight: weight, tell: func(r *run) (Step, error) {
		hold := gap
		if role == roleDenied {
			hold = 10 * time.Second
		}
		id, ok := r.subscription(role, hold)
		if !ok {
			return Step{}, ErrUnable
		}
		return do(r.w, id)
	}}
}

func onAccount(weight float64, do func(*World, string) (Step, error)) story {
	return story{weight: weight, tell: func(r *run) (Step, error) {
		id, ok := r.account(roleFree, gap)
		if !ok {
			return Step{}, ErrUnable
		}
		return do(r.w, id)
	}}
}

// onOrders places an order where none is under way, and nothing else is either.
func onOrders(weight float64, do func(*World, string) (Step, error)) story {
	return story{weight: weight, order: true, tell: func(r *run) (Step, error) {
		hold := r.w.cfg.Settle + 3*time.Second
		pick := r.subscription
		if r.rnd.IntN(2) == 0 {
			pick = r.account
		}
		id, ok := pick(roleOrder, hold)
		if !ok {
			return Step{}, ErrUnable
		}
		return do(r.w, id)
	}}
}

// user picks somebody; denied says whether Zuora refuses to show the account.
func (r *run) user(denied bool) string {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	for {
		u := one(r.rnd, r.w.users)
		if (r.w.byID[u.Accounts[0]].role == roleDenied) == denied {
			return u.ID
		}
	}
}

func (r *run) odd(bad bool) OddLogin {
	return one(r.rnd, slices.DeleteFunc(OddLogins(), func(o OddLogin) bool { return o.Bad() != bad }))
}

// subscription picks a linked Stripe subscription that may be changed, and
// holds it for a while.
func (r *run) subscription(role role, hold time.Duration) (string, bool) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	now := r.w.clock.Now()
	var free []*subscription
	for _, s := range r.w.subs {
		if s.role == role && s.Limio != "" && !s.ending && !s.free.After(now) {
			free = append(free, s)
		}
	}
	if len(free) == 0 {
		return "", false
	}
	s := one(r.rnd, free)
	s.free = now.Add(hold)
	return s.ID, true
}

// account picks a Zuora account with a user that may be changed, and holds it
// for a while.
func (r *run) account(role role, hold time.Duration) (string, bool) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	now := r.w.clock.Now()
	var free []*account
	for _, a := range r.w.accounts {
		if a.role == role && a.User != "" && !a.free.After(now) {
			free = append(free, a)
		}
	}
	if len(free) == 0 {
		return "", false
	}
	a := one(r.rnd, free)
	a.free = now.Add(hold)
	return a.ID, true
}
