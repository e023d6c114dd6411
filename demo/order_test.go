package demo_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"hotsync/connectors/kafka"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
	"hotsync/sandbox/world"
)

const orderPath = "/api/order"

// door stands before Limio and can hold one order back from the world, or its
// answer from whoever sent it, until the caller is gone.
type door struct {
	mu      sync.Mutex
	reached chan struct{} // closed when an order is held; nil: none is to be
	applied bool          // it is carried out first
}

// hold has the next order held and returns what tells of it.
func (d *door) hold(applied bool) (reached <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reached, d.applied = make(chan struct{}), applied
	return d.reached
}

func (d *door) take() (reached chan struct{}, applied bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	reached, d.reached = d.reached, nil
	return reached, d.applied
}

func (d *door) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodPost || req.URL.Path != orderPath {
			next.ServeHTTP(w, req)
			return
		}
		reached, applied := d.take()
		if reached == nil {
			next.ServeHTTP(w, req)
			return
		}
		body, err := io.ReadAll(req.Body) // or the server would not see the caller go
		if err == nil && applied {
			req.Body = io.NopCloser(bytes.NewReader(body))
			next.ServeHTTP(httptest.NewRecorder(), req)
		}
		close(reached)
		<-req.Context().Done()
		panic(http.ErrAbortHandler)
	})
}

// A daemon is killed with SIGKILL while its order to Limio is under way. The one
// that comes after it knows only what is durable, and the same Stripe
// subscription has one order and one subscription in Limio in the end.
func TestKilledWhileAnOrderIsUnderWay(t *testing.T) {
	for _, tt := range []struct {
		name    string
		applied bool
		ahead   string // of the second one's clock: what was not carried out must be missing for the whole grace
	}{
		{"and its answer is not delivered", true, "0s"},
		{"and it is not carried out yet", false, "61s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, world.Config{Seed: 9, Accounts: 1, Subscriptions: 1})
			n := &r.cfg.Stripe.Newcomers
			n.Mode, n.Payment, n.Prices = "order", "invoice", map[string]string{"price_gold": "offer-gold@v1"}
			n.Patience, n.Grace = time.Second, time.Minute
			r.cfg.Sweeps.StripeEvents.Schedule, r.cfg.Sweeps.ZuoraChanged.Schedule = "", ""
			path, before := r.configFile(), len(r.world.Limio().Objects(limio.TypeSubscription))
			sub := r.newcomer()
			held := r.door.hold(tt.applied)

			first := spawn(t, path)
			r.renew(sub)
			select {
			case <-held:
			case <-time.After(time.Minute):
				first.kill(t)
				t.Fatalf("no order was sent:\n%s", first.errs)
			}
			first.kill(t)
			r.checkOrders(sub, before, tt.applied)

			second := spawn(t, path, aheadEnv+"="+tt.ahead)
			r.awaitFollowed(sub)
			r.renew(sub) // whatever comes later finds it
			r.awaitFollowed(sub)
			must(t, r.judge.AwaitEmpty(t.Context()))
			second.stop(t)
			r.checkOrders(sub, before, true)
			if calls := r.world.Limio().Calls()["POST "+orderPath]; calls != 1 {
				t.Errorf("Limio had %d calls for one order", calls)
			}
			if t.Failed() {
				r.history(sub)
			}
		})
	}
}

// newcomer makes a Stripe subscription that Limio does not know, and of which
// nobody has told yet.
func (r *rig) newcomer() (id string) {
	r.t.Helper()
	s := r.world.Stripe()
	c, err := s.AddCustomer(stripe.CustomerParams{Name: "Cy Newcomer", Email: "cy@example.test", Address: &stripe.Address{Country: "IE"}})
	must(r.t, err)
	_, err = s.AddPaymentMethod(stripe.PaymentMethodParams{Customer: c.ID, Default: true})
	must(r.t, err)
	sub, err := s.AddSubscription(stripe.SubscriptionParams{
		Customer: c.ID, Item: stripe.ItemParams{PriceID: "price_gold", Currency: "eur", Amount: 4200}, Start: r.world.Clock().Now().Add(-time.Hour),
	})
	must(r.t, err)
	s.TakeEvents()
	return sub.ID
}

// renew renews a Stripe subscription and sends all that Stripe tells of it.
func (r *rig) renew(sub string) {
	r.t.Helper()
	s := r.world.Stripe()
	must(r.t, s.RenewNow(sub, true))
	for _, e := range s.TakeEvents() {
		signature := kafka.Header{Key: "Stripe-Signature", Value: []byte(s.Sign(e.Body, time.Now()))}
		must(r.t, r.writer.Write(r.t.Context(), kafka.Record{Topic: r.cfg.Kafka.StripeTopic, Value: e.Body, Headers: []kafka.Header{signature}}))
	}
}

// awaitFollowed waits until Limio's record is linked to a Stripe subscription
// and has its term.
func (r *rig) awaitFollowed(sub string) {
	r.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; wait(r.t, 50*time.Millisecond) {
		in, _ := r.world.Stripe().Subscription(sub)
		end := in.CurrentPeriodEnd.UTC().Format(time.DateOnly)
		if slices.ContainsFunc(r.world.Limio().Objects(limio.TypeSubscription), func(o limio.Object) bool {
			return o.Text("data.stripe.subscription_id") == sub && o.Text("data.termEndDate") == end
		}) {
			return
		}
		if time.Now().After(deadline) {
			r.history(sub)
			r.t.Fatalf("Limio never followed %s up to %s", sub, end)
		}
	}
}

// checkOrders counts what Limio has of a Stripe subscription.
func (r *rig) checkOrders(sub string, before int, ordered bool) {
	r.t.Helper()
	want := 0
	if ordered {
		want = 1
	}
	if got := len(r.world.Limio().OrdersByExternalID("hotsync-stripe-" + sub)); got != want {
		r.t.Errorf("Limio has %d orders for %s, want %d", got, sub, want)
	}
	if got := len(r.world.Limio().Objects(limio.TypeSubscription)) - before; got != want {
		r.t.Errorf("Limio has %d more subscriptions than before, want %d", got, want)
	}
}
