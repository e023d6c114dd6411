package daemon_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hotsync/api"
	"hotsync/connectors/kafka"
	"hotsync/daemon/sweep"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
	"hotsync/sandbox/zuora"
)

// topicLedger is the ledger as any instance sees it: through the topic.
type topicLedger struct{ r *road }

func (l topicLedger) Get(k record.Key) (value []byte) {
	topic := l.r.cfg.Kafka.Prefix + ".state"
	for p := range l.r.cfg.Kafka.Partitions {
		l.r.must(l.r.client.ReadAll(l.r.t.Context(), topic, p, 0, -1, func(_ context.Context, rec kafka.Record) error {
			if string(rec.Key) == k.String() {
				value = slices.Clone(rec.Value)
			}
			return nil
		}))
	}
	return value
}

func (l topicLedger) Put(ctx context.Context, k record.Key, value []byte) error {
	return l.r.writer.Write(ctx, kafka.Record{Topic: l.r.cfg.Kafka.Prefix + ".state", Key: []byte(k.String()), Value: value})
}

// sweep has a sweep run and returns the run when it has ended.
func (r *road) sweep(name string, ask sweep.Ask) sweep.Run {
	r.t.Helper()
	return r.swept(name, r.request(name, ask))
}

func (r *road) status(name string) sweep.Status {
	r.t.Helper()
	st, err := sweep.StatusOf(topicLedger{r}, name, r.clock.Now())
	r.must(err)
	return st
}

// request asks for a run and returns the id of the request.
func (r *road) request(name string, ask sweep.Ask) string {
	r.t.Helper()
	r.eventually("the planner has the sweep", func() bool { return r.status(name).Planned })
	ask.Action, ask.By, ask.At = sweep.Start, "test", r.clock.Now()
	id, err := sweep.Request(r.t.Context(), topicLedger{r}, name, ask)
	r.must(err)
	return id
}

// swept waits until the run that was asked for has ended.
func (r *road) swept(name, id string) sweep.Run {
	r.t.Helper()
	var run sweep.Run
	r.eventually("the sweep has run", func() bool {
		st := r.status(name)
		if st.Handled.ID != id {
			return false
		}
		if st.Handled.Run == "" {
			r.t.Fatalf("no run: %s", st.Handled.Answer)
		}
		i := slices.IndexFunc(st.Last, func(x sweep.Run) bool { return x.ID == st.Handled.Run && x.Status.Ended() })
		if i >= 0 {
			run = st.Last[i]
		}
		return i >= 0
	})
	// The rows of what it led to.
	r.eventually("the run's summary is a row", func() bool {
		return r.query("SELECT count() FROM {db}.syncs WHERE key = 'sweep:run:"+run.ID+"'") == "1"
	})
	return run
}

// ended returns how the records ended that a run handed on.
func (r *road) ended(run sweep.Run) map[string]int {
	r.t.Helper()
	out := map[string]int{}
	r.eventually("what the run handed on has ended", func() bool {
		clear(out)
		n := 0
		rows := r.query("SELECT concat(outcome, '/', reason), count() FROM {db}.trigger_outcomes WHERE delivery = '" + run.ID + "' AND type != 'summary' AND outcome NOT IN ('', 'deferred') GROUP BY 1 FORMAT TSV")
		for line := range strings.Lines(rows) {
			var name string
			var count int
			if _, err := fmt.Sscan(line, &name, &count); err == nil {
				out[name] = count
				n += count
			}
		}
		return n >= int(run.Stats.HandedOn)
	})
	return out
}

// subscriptions makes n Stripe subscriptions with their Limio records.
func (r *road) subscriptions(n int) (subs []stripe.Subscription, ids []string) {
	for range n {
		s, id := r.stripeSubscription()
		subs, ids = append(subs, s), append(ids, id)
	}
	return subs, ids
}

func (r *road) resetCalls() {
	r.zuora.ResetCalls()
	r.stripe.ResetCalls()
	r.limio.ResetCalls()
}

// edit cancels a subscription in Limio by hand.
func (r *road) edit(id string) {
	r.t.Helper()
	_, err := r.limio.PlaceOrder(limio.OrderParams{
		Subscription: id, Type: "update_subscription", Source: "backoffice",
		Apply: func(tx *limio.Tx, sub string) error {
			_, err := tx.Update(sub, func(json map[string]any) { json["status"] = "cancelled" })
			return err
		},
	})
	r.must(err)
}

// Webhooks are lost, and somebody edits Limio by hand. A plan lists exactly
// those records and writes nothing; a sweep repairs them; the next one costs the
// lists and nothing else.
func TestStripeDrift(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	r.cfg.Reconcile.Loop.Window = time.Second // or the edit below is held back as flapping
	subs, ids := r.subscriptions(12)
	r.start()
	if run := r.sweep(sweep.StripeDrift, sweep.Ask{}); run.Status != sweep.Done || run.Stats.HandedOn != 12 {
		t.Fatalf("the first sweep: %+v", run)
	}
	r.resetCalls()
	run := r.sweep(sweep.StripeDrift, sweep.Ask{})
	if run.Stats.HandedOn != 0 {
		t.Errorf("handed on %+v although nothing changed", run.Stats)
	}
	lists := map[string]int{"GET /v1/subscriptions": 1}
	if got := r.stripe.Calls(); total(got) != 1 || got["GET /v1/subscriptions"] != 1 {
		t.Errorf("Stripe calls %v, want %v", got, lists)
	}
	if got := total(r.limio.Calls()); got != 1 {
		t.Errorf("Limio calls %v, want 1 list", r.limio.Calls())
	}

	// What nothing announces.
	r.must(r.stripe.RenewNow(subs[0].ID, true))
	r.must(r.stripe.CancelNow(subs[1].ID, stripe.ByStripe()))
	r.stripe.TakeEvents() // lost
	r.edit(ids[2])
	want := []string{"stripe:subscription:" + subs[0].ID, "stripe:subscription:" + subs[1].ID, "stripe:subscription:" + subs[2].ID}
	slices.Sort(want)
	wrote := len(r.limio.Writes())

	plan := r.sweep(sweep.StripeDrift, sweep.Ask{Mode: sweep.Plan})
	if got := r.ended(plan); got["observed/would_apply"] != 3 || plan.Stats.HandedOn != 3 {
		t.Errorf("the plan ended %v, handed on %d", got, plan.Stats.HandedOn)
	}
	got := strings.Fields(r.query("SELECT DISTINCT key FROM {db}.trigger_outcomes WHERE delivery = '" + plan.ID + "' AND outcome = 'observed' AND type != 'summary' ORDER BY key"))
	if !slices.Equal(got, want) {
		t.Errorf("the plan lists %v, want %v", got, want)
	}
	if n := len(r.limio.Writes()); n != wrote {
		t.Errorf("the plan made %d writes in Limio", n-wrote)
	}

	r.resetCalls()
	run = r.sweep(sweep.StripeDrift, sweep.Ask{})
	if got := r.ended(run); got["applied/drift_repaired"] != 3 || len(got) != 1 {
		t.Errorf("the sweep ended %v", got)
	}
	// One list, and three for each that differs (two when it has ended).
	if got := total(r.stripe.Calls()); got != 1+3+2+3 {
		t.Errorf("%d Stripe calls: %v", got, r.stripe.Calls())
	}
	if sub, _ := r.limio.Get(ids[1]); sub.Text("status") != "cancelled" {
		t.Errorf("a cancelled subscription is %s in Limio", sub.Text("status"))
	}
	if sub, _ := r.limio.Get(ids[2]); sub.Text("status") != "active" {
		t.Errorf("an edited subscription is %s in Limio", sub.Text("status"))
	}
	r.resetCalls()
	if run = r.sweep(sweep.StripeDrift, sweep.Ask{}); run.Stats.HandedOn != 0 || total(r.stripe.Calls())+total(r.limio.Calls()) != 2 {
		t.Errorf("the sweep after it: %+v, calls %v %v", run.Stats, r.stripe.Calls(), r.limio.Calls())
	}
	// The metric of lost events and the view of them agree: twelve that were never
	// seen, and two webhooks. The plan found them too, and the edit is no event.
	if got := r.query("SELECT sum(lost) FROM {db}.lost_events"); got != "14" || !strings.Contains(r.get("/metrics"), `hotsync_lost_events_total{sweep="stripe-drift"} 14`+"\n") {
		t.Errorf("the view says that %s events were lost", got)
	}
}

// A reviewed plan is applied to the records that did not move since.
func TestApplyOfAReviewedPlan(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	subs, ids := r.subscriptions(3)
	r.start()
	r.sweep(sweep.StripeDrift, sweep.Ask{})
	for _, s := range subs {
		r.must(r.stripe.RenewNow(s.ID, true))
	}
	r.stripe.TakeEvents()
	plan := r.sweep(sweep.StripeDrift, sweep.Ask{Mode: sweep.Plan})
	r.must(r.stripe.CancelNow(subs[2].ID, stripe.ByStripe())) // it moves
	r.stripe.TakeEvents()
	run := r.sweep(sweep.StripeDrift, sweep.Ask{Mode: sweep.Apply, PlanOf: plan.ID})
	if got := r.ended(run); got["applied/drift_repaired"] != 2 || got["skipped/base_moved"] != 1 {
		t.Errorf("ended %v", got)
	}
	if sub, _ := r.limio.Get(ids[2]); sub.Text("status") != "active" {
		t.Error("a record whose base had moved was written")
	}
	// What is no plan is refused, and says why.
	for _, of := range []string{run.ID, "stripe-drift/20990101T000000Z-abcd"} {
		_, err := sweep.Request(t.Context(), topicLedger{r}, sweep.StripeDrift, sweep.Ask{Action: sweep.Start, Mode: sweep.Apply, PlanOf: of, By: "test", At: r.clock.Now()})
		if err == nil || !strings.Contains(err.Error(), "run") {
			t.Errorf("an application of %s: %v", of, err)
		}
	}
}

// A replay of a plan is a plan, and that of an application of one does not write
// what nobody reviewed.
func TestReplayOfARunWidensNothing(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	subs, _ := r.subscriptions(2)
	r.start()
	r.sweep(sweep.StripeDrift, sweep.Ask{})
	for _, s := range subs {
		r.must(r.stripe.RenewNow(s.ID, true))
	}
	r.stripe.TakeEvents()
	plan := r.sweep(sweep.StripeDrift, sweep.Ask{Mode: sweep.Plan})
	r.ended(plan)
	for _, s := range subs {
		r.must(r.stripe.CancelNow(s.ID, stripe.ByStripe())) // they move
	}
	r.stripe.TakeEvents()
	apply := r.sweep(sweep.StripeDrift, sweep.Ask{Mode: sweep.Apply, PlanOf: plan.ID})
	if got := r.ended(apply); got["skipped/base_moved"] != 2 {
		t.Fatalf("the plan was applied: %v", got)
	}
	wrote := len(r.limio.Writes())
	replay := func(run string) (a api.ReplayAnswer) {
		r.ask("/api/replay", api.ReplayAsk{Asker: api.Asker{By: "ann"}, Filter: &api.Filter{Run: run}}, &a)
		return a
	}
	if a := replay(apply.ID); a.Matched != 2 || a.Scheduled != 0 || a.Reviewed != 2 {
		t.Errorf("a replay of the application: %+v", a)
	}
	a := replay(plan.ID)
	if a.Scheduled != 2 || a.Planned != 2 {
		t.Errorf("a replay of the plan: %+v", a)
	}
	r.eventually("the replay has been worked", func() bool {
		return r.query("SELECT count() FROM {db}.trigger_outcomes WHERE delivery = '"+a.Run+"' AND type != 'summary' AND outcome = 'observed'") == "2"
	})
	if n := len(r.limio.Writes()); n != wrote {
		t.Errorf("replays of a plan and of its application made %d writes in Limio", n-wrote)
	}
}

// Stripe's events that no webhook brought lead to one look at each record they
// name, unless it was looked at since.
func TestStripeEvents(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	subs, _ := r.subscriptions(3)
	r.start()
	r.sweep(sweep.StripeDrift, sweep.Ask{})
	r.must(r.stripe.RenewNow(subs[0].ID, true))
	r.stripe.TakeEvents() // the daemon was down
	run := r.sweep(sweep.StripeEvents, sweep.Ask{})
	if got := r.ended(run); got["applied/drift_repaired"] < 1 {
		t.Errorf("ended %v", got)
	}
	r.eventually("looks lie a second behind", func() bool {
		return r.sweep(sweep.StripeEvents, sweep.Ask{}).Stats.HandedOn == 0
	})
}

// Zuora accounts change without a login: the cheap sweep finds them, the full
// one finds what the cheap one cannot, and neither imports anybody.
func TestZuoraSweeps(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	var known []zuora.Account
	for i := range 3 {
		known = append(known, r.zuoraAccount(fmt.Sprintf("user-%d", i), 2))
	}
	r.zuoraAccount("user-9", 1) // has never logged in
	r.start()
	for _, a := range known {
		r.login(map[string]any{"zuora_accounts": a.ID})
	}
	r.outcomes(3)
	run := r.sweep(sweep.ZuoraFull, sweep.Ask{})
	if got := r.ended(run); got["skipped/unknown_account"] != 1 || len(got) != 1 {
		t.Fatalf("the first full sweep: %v, %+v", got, run.Stats)
	}
	r.sweep(sweep.ZuoraChanged, sweep.Ask{})
	r.resetCalls()
	if run := r.sweep(sweep.ZuoraFull, sweep.Ask{}); run.Stats.HandedOn != 0 || total(r.zuora.Calls()) != 1 {
		t.Errorf("an idle full sweep: %+v, %v", run.Stats, r.zuora.Calls())
	}
	subs := r.zuora.Subscriptions(known[1].ID)
	_, err := r.zuora.CancelSubscription(subs[0].Number, zuora.DateOf(r.clock.Now()), zuora.Order{})
	r.must(err)
	run = r.sweep(sweep.ZuoraChanged, sweep.Ask{})
	if got := r.ended(run); got["applied/drift_repaired"] != 1 || len(got) != 1 {
		t.Errorf("the sweep of changes ended %v", got)
	}
	if got := r.limio.Count(limio.TypeSubscription); got != 6 {
		t.Errorf("%d subscriptions in Limio, want those of the 3 known accounts", got)
	}
}

// A Limio record that nobody is known to own leads to its owner, or is shown as
// an orphan, once.
func TestOrphans(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	a := r.zuoraAccount("user-1", 1)
	cus, _ := r.limio.AddCustomer(limio.CustomerParams{Name: "Ada Reader"})
	r.limio.AddSubscription(limio.SubscriptionParams{Customer: cus, Number: "NOBODYS", TermStart: r.clock.Now(), Amount: 4200, Currency: "EUR"})
	r.limio.AddIdentity(limio.IdentityParams{Customer: cus, Service: "zuora", Issuer: "zuora", Type: "account", Value: a.ID})
	r.limio.AddSubscription(limio.SubscriptionParams{
		Customer: cus, Number: r.zuora.Subscriptions(a.ID)[0].Number, TermStart: r.clock.Now(), Amount: 11988, Currency: "EUR", Imported: true,
	})
	r.start()
	run := r.sweep(sweep.LimioOrphans, sweep.Ask{})
	if got := r.ended(run); got["skipped/orphan"] != 1 || got["skipped/fanned_out"] != 1 {
		t.Errorf("ended %v", got)
	}
	r.eventually("the owner was synced", func() bool {
		return r.query("SELECT count() FROM {db}.syncs WHERE key = 'zuora:account:"+a.ID+"' AND outcome = 'applied'") == "1"
	})
	if run := r.sweep(sweep.LimioOrphans, sweep.Ask{}); run.Stats.HandedOn != 0 {
		t.Errorf("asked again: %+v", run.Stats)
	}
}

// A page that cannot be read makes the run fail and say where; what was found
// before is repaired, and the next run is whole.
func TestSweepThatCannotReadEverything(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	r.cfg.Sweeps.Patience = time.Second
	r.subscriptions(3)
	r.start()
	heal := r.limio.Inject(httpsim.Fault{Route: "GET /api/objects/{service}/{path_type}", Code: "unavailable"})
	run := r.sweep(sweep.StripeDrift, sweep.Ask{})
	if run.Status != sweep.Failed || !strings.Contains(run.Error, "page") {
		t.Errorf("ended %s: %s", run.Status, run.Error)
	}
	if got := r.query("SELECT concat(outcome, '/', reason) FROM {db}.syncs WHERE key = 'sweep:run:" + run.ID + "'"); got != "failed/incomplete" {
		t.Errorf("its summary says %s", got)
	}
	heal()
	if run := r.sweep(sweep.StripeDrift, sweep.Ask{}); run.Status != sweep.Done {
		t.Errorf("the next run ended %s: %s", run.Status, run.Error)
	}
}

// Limio's cursors are good for a while only (limio.md 3.1): the list is then read
// from its beginning, and nothing is handed on twice.
func TestSweepOutlivesACursor(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	cus, _ := r.limio.AddCustomer(limio.CustomerParams{Name: "Ada Reader"})
	for i := range 150 { // a page has a hundred
		r.limio.AddSubscription(limio.SubscriptionParams{Customer: cus, Number: fmt.Sprintf("NOBODYS-%d", i), TermStart: r.clock.Now(), Amount: 4200, Currency: "EUR"})
	}
	r.limio.Inject(httpsim.Fault{Route: "GET /api/objects/{service}/{path_type}", Query: "queryMore", Times: 1, Status: 400, Body: `{"message":"No search context found for id [1]"}`})
	r.start()
	run := r.sweep(sweep.LimioOrphans, sweep.Ask{})
	if run.Status != sweep.Done || run.Stats.HandedOn != 150 || run.Stats.Again != 100 || run.Stats.Records() != 150 || !strings.Contains(run.Note, "from its beginning again") {
		t.Errorf("ended %s (%s): %s, %+v", run.Status, run.Error, run.Note, run.Stats)
	}
	if got := r.ended(run); got["skipped/orphan"] != 150 || len(got) != 1 {
		t.Errorf("ended %v", got)
	}
}

// While a vendor is away, bulk work waits as it is instead of being deferred one
// by one; once it is back, everything is worked.
func TestBulkWaitsForAVendorThatIsAway(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	r.cfg.Retry.First = 10 * time.Second // it waits no longer than it would be put off for
	r.subscriptions(60)
	r.start()
	heal := r.stripe.Inject(httpsim.Fault{Route: "GET /v1/subscriptions/{id}", Code: "unavailable"})
	id := r.request(sweep.StripeDrift, sweep.Ask{})
	r.eventually("the breaker is open", func() bool { return strings.Contains(r.get("/readyz"), "stripe is away") })
	heal()
	run := r.swept(sweep.StripeDrift, id)
	if got := r.ended(run); got["applied/drift_repaired"] != 60 {
		t.Errorf("ended %v", got)
	}
	deferred := r.query("SELECT uniqExact(key) FROM {db}.sync_events WHERE outcome = 'deferred'")
	if n, err := strconv.Atoi(deferred); err != nil || n >= 40 {
		t.Errorf("%s of 60 keys were deferred, although the vendor was known to be away", deferred)
	}
}

// Stripe wants to be left alone for an hour. A sweep of Zuora's accounts ends
// meanwhile; what Stripe's sweep handed on waits, and ends when Stripe is back.
func TestBulkForAnotherVendorGoesOn(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	r.subscriptions(12)
	a := r.zuoraAccount("user-1", 1)
	r.start()
	r.login(map[string]any{"zuora_accounts": a.ID})
	r.outcomes(1)

	heal := r.stripe.Inject(httpsim.Fault{Route: "GET /v1/subscriptions/{id}", Status: 429, Header: map[string]string{"Retry-After": "3600"}})
	drift := r.request(sweep.StripeDrift, sweep.Ask{})
	r.eventually("Stripe is left alone", func() bool { return strings.Contains(r.get("/readyz"), "a limit of stripe is reached") })
	_, err := r.zuora.CancelSubscription(r.zuora.Subscriptions(a.ID)[0].Number, zuora.DateOf(r.clock.Now()), zuora.Order{})
	r.must(err)
	if got := r.ended(r.sweep(sweep.ZuoraFull, sweep.Ask{})); got["applied/drift_repaired"] != 1 || len(got) != 1 {
		t.Errorf("while Stripe is away the sweep of Zuora's accounts ended %v", got)
	}
	run := r.swept(sweep.StripeDrift, drift)
	if n := r.query("SELECT count() FROM {db}.trigger_outcomes WHERE delivery = '" + run.ID + "' AND type != 'summary' AND outcome NOT IN ('', 'deferred')"); n != "0" {
		t.Errorf("%s syncs of Stripe's records ended while Stripe was away", n)
	}
	heal()
	r.stop()
	r.clock.Advance(2 * time.Hour)
	r.start()
	if got := r.ended(run); got["applied/drift_repaired"] != 12 || len(got) != 1 {
		t.Errorf("once Stripe was back, its sweep ended %v", got)
	}
}
