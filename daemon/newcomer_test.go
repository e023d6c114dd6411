package daemon_test

import (
	"testing"
	"time"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
)

const orderRoute = "POST /api/order"

// newcomer makes a Stripe subscription that Limio does not know.
func (r *road) newcomer() stripe.Subscription {
	r.t.Helper()
	c, err := r.stripe.AddCustomer(stripe.CustomerParams{Name: "Cy Newcomer", Email: "cy@example.test", Address: &stripe.Address{Country: "IE"}})
	r.must(err)
	_, err = r.stripe.AddPaymentMethod(stripe.PaymentMethodParams{Customer: c.ID, Default: true})
	r.must(err)
	s, err := r.stripe.AddSubscription(stripe.SubscriptionParams{
		Customer: c.ID, Item: stripe.ItemParams{PriceID: "price_gold", Currency: "eur", Amount: 4200}, Start: r.clock.Now().Add(-time.Hour),
	})
	r.must(err)
	return s
}

func (r *road) ordering() {
	n := &r.cfg.Stripe.Newcomers
	n.Mode, n.Payment, n.Prices = "order", "invoice", map[string]string{"price_gold": "offer-gold@v1"}
	n.Patience, n.Grace = time.Second, time.Minute
	r.cfg.Retry.MemoryTries, r.cfg.Retry.First, r.cfg.Retry.FirstTries = 0, time.Second, 5 // each try survives a restart
}

func (r *road) announce(s stripe.Subscription) {
	r.t.Helper()
	r.must(r.stripe.RenewNow(s.ID, true))
	r.webhooks()
}

// The same subscription is ordered once in Limio whatever becomes of the answer,
// of the request, and of the process, and is followed from then on.
func TestOrderIsSentOnce(t *testing.T) {
	for name, fault := range map[string]*httpsim.Fault{
		"nothing is lost":   nil,
		"the answer is":     {Route: orderRoute, DropAfter: true, Times: 1},
		"Limio answers 502": {Route: orderRoute, Code: "bad_gateway", Times: 1},
		"the request is":    {Route: orderRoute, Drop: true, Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoad(t)
			r.ordering()
			s := r.newcomer()
			r.stripe.TakeEvents()
			if fault != nil {
				r.limio.Inject(*fault)
			}
			r.start()
			r.announce(s)
			lost := fault != nil && !fault.DropAfter
			if fault != nil {
				r.eventually("the request has gone out", func() bool { return r.limio.Calls()[orderRoute] == 1 })
				r.eventually("its loss is known", func() bool {
					return r.query("SELECT count() FROM {db}.sync_events WHERE outcome = 'deferred'") != "0"
				})
				r.stop() // whoever takes over knows only what is durable
				r.start()
			}
			if lost {
				r.clock.Advance(61 * time.Second) // Limio shows no trace of it for the whole grace
			}
			r.eventually("Limio follows it", func() bool {
				return r.query("SELECT count() FROM {db}.syncs WHERE key = 'stripe:subscription:"+s.ID+"' AND outcome = 'applied'") != "0"
			})
			orders := r.limio.OrdersByExternalID("hotsync-stripe-" + s.ID)
			if len(orders) != 1 {
				t.Fatalf("%d orders in Limio", len(orders))
			}
			if got := r.limio.Count(limio.TypeSubscription); got != 1 {
				t.Errorf("%d subscriptions in Limio", got)
			}
			// Whatever comes later finds it.
			r.announce(s)
			r.eventually("the second renewal is in Limio", func() bool {
				want, _ := r.stripe.Subscription(s.ID)
				end := want.CurrentPeriodEnd.UTC().Format("2006-01-02")
				return r.limioTermEnds(end)
			})
			if got := len(r.limio.OrdersByExternalID("hotsync-stripe-" + s.ID)); got != 1 {
				t.Errorf("%d orders in Limio after the second look", got)
			}
		})
	}
}

// A record of limited use is made once, says that it is one, and is followed from
// then on like any other.
func TestNewcomerIsRecorded(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	r.ordering()
	r.cfg.Stripe.Newcomers.Mode = "record"
	s := r.newcomer()
	r.stripe.TakeEvents()
	r.start()
	for range 2 {
		r.announce(s)
		r.eventually("the renewal is in Limio", func() bool {
			want, _ := r.stripe.Subscription(s.ID)
			return r.limioTermEnds(want.CurrentPeriodEnd.UTC().Format("2006-01-02"))
		})
	}
	if subs := r.limio.Objects(limio.TypeSubscription); len(subs) != 1 || subs[0].Text("data.stripe.subscription_id") != s.ID {
		t.Errorf("%d subscriptions in Limio: %+v", len(subs), subs)
	}
	if got := r.limio.Calls()[orderRoute]; got != 0 {
		t.Errorf("%d orders were sent", got)
	}
	r.eventually("one sync says that it created it", func() bool {
		return r.query("SELECT countIf(outcome = 'applied' AND reason = 'created') FROM {db}.syncs WHERE key = 'stripe:subscription:"+s.ID+"'") == "1"
	})
}

// limioTermEnds reports whether Limio's only subscription ends its term on a day.
func (r *road) limioTermEnds(day string) bool {
	for _, o := range r.limio.Objects(limio.TypeSubscription) {
		if o.Text("data.termEndDate") == day {
			return true
		}
	}
	return false
}
