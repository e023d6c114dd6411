package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/daemon"
	"hotsync/daemon/sweep"
	"hotsync/event"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
)

// visit is one call of an instance to a vendor, seen from the vendor's side.
type visit struct {
	instance, vendor, method, path, body string
	from, to                             time.Time
}

// begins reports whether this is the call that a sync of a Stripe subscription
// begins with.
func (v visit) begins() bool {
	return v.vendor == "stripe" && v.method == http.MethodGet && subscriptionPath.MatchString(v.path)
}

func (v visit) writes() bool { return v.vendor == "limio" && v.method != http.MethodGet }

func (v visit) lists() bool {
	return v.method == http.MethodGet && (v.vendor == "stripe" && v.path == "/v1/subscriptions" || v.vendor == "limio" && v.path == "/api/objects/limio/subscriptions")
}

var (
	subscriptionPath = regexp.MustCompile(`^/v1/subscriptions/(sub_\w+)$`)
	stripeID         = regexp.MustCompile(`\bsub_\w+`)
	limioSub         = regexp.MustCompile(`\bsub-[0-9a-f]+`)
)

// fleet is several daemons on one broker. Each has doors of its own to the
// vendors, so that these know who called.
type fleet struct {
	*road
	members map[string]*member

	mu     sync.Mutex
	visits []visit
	plans  []ownership // who had partition 0, oldest first
}

// ownership says that an instance got partition 0 of the trigger topics.
type ownership struct {
	instance string
	at       time.Time
}

type member struct {
	name, stripe, limio string
	stop                func()
}

func newFleet(t *testing.T, names ...string) *fleet {
	f := &fleet{road: newRoad(t), members: map[string]*member{}}
	for _, name := range names {
		door := func(vendor string, h http.Handler) string {
			s := httptest.NewServer(f.door(name, vendor, h))
			t.Cleanup(s.Close)
			return s.URL
		}
		f.members[name] = &member{name: name, stripe: door("stripe", f.stripe), limio: door("limio", f.limio)}
	}
	return f
}

func (f *fleet) door(instance, vendor string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		v := visit{instance: instance, vendor: vendor, method: r.Method, path: r.URL.Path, body: r.URL.RawQuery + " " + string(body), from: time.Now()}
		defer func() {
			v.to = time.Now()
			f.mu.Lock()
			defer f.mu.Unlock()
			f.visits = append(f.visits, v)
		}()
		h.ServeHTTP(w, r)
	})
}

// Write takes a line of an instance's log.
func (m logReader) Write(line []byte) (int, error) {
	var said struct {
		Message    string `json:"message"`
		Group      string `json:"group"`
		Partitions []int  `json:"partitions"`
	}
	if err := json.Unmarshal(line, &said); err != nil {
		return 0, err
	}
	if said.Message == "partitions assigned" && strings.HasSuffix(said.Group, ".workers") && slices.Contains(said.Partitions, 0) {
		m.fleet.mu.Lock()
		defer m.fleet.mu.Unlock()
		m.fleet.plans = append(m.fleet.plans, ownership{m.instance, time.Now()})
	}
	return len(line), nil
}

type logReader struct {
	fleet    *fleet
	instance string
}

// join starts an instance. It may be called from any goroutine.
func (f *fleet) join(name string) {
	m := f.members[name]
	cfg := f.cfg
	cfg.Stripe.BaseURL, cfg.Limio.BaseURL = m.stripe, m.limio
	d, err := daemon.New(cfg, daemon.Options{
		Log: zerolog.New(logReader{f, name}).Level(zerolog.InfoLevel), Now: f.clock.Now, Instance: name, Build: "test",
	})
	if err != nil {
		f.t.Errorf("start %s: %v", name, err)
		m.stop = func() {}
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("%s: %v", name, err)
		}
	})
}

// listed counts the calls that have read a page of a list.
func (f *fleet) listed() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.visits {
		if v.lists() {
			n++
		}
	}
	return n
}

// followed is the ledger as an instance has it: the topic, read as it grows.
type followed struct {
	topicLedger
	mu     sync.Mutex
	values map[string][]byte
}

func (f *fleet) follow() *followed {
	l := &followed{topicLedger: topicLedger{f.road}, values: map[string][]byte{}}
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		follower := kafka.NewFollower(f.client, kafka.FollowerConfig{Topic: f.cfg.Kafka.Prefix + ".state"})
		err := follower.Run(ctx, func(_ context.Context, r kafka.Record) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.values[string(r.Key)] = bytes.Clone(r.Value)
			return nil
		})
		if err != nil {
			f.t.Errorf("follow the ledger: %v", err)
		}
	})
	f.t.Cleanup(func() { stop(); done.Wait() })
	return l
}

// Get implements the ledger of package sweep.
func (l *followed) Get(k record.Key) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.values[k.String()]
}

// planner is who has partition 0, "" when nobody has had it yet.
func (f *fleet) planner() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.plans) == 0 {
		return ""
	}
	return f.plans[len(f.plans)-1].instance
}

// wait waits for a condition, longer than a single instance needs.
func (f *fleet) wait(what string, ok func() bool) {
	f.t.Helper()
	if !f.await(what, ok) {
		f.t.FailNow()
	}
}

// await waits for a condition from any goroutine, and reports whether it came.
func (f *fleet) await(what string, ok func() bool) bool {
	deadline := time.Now().Add(3 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			f.t.Errorf("never happened: %s", what)
			return false
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-f.t.Context().Done():
			return false
		}
	}
	return true
}

// shake stops and starts instances, those that plan and others, while a sweep
// runs.
func (f *fleet) shake() {
	for range 2 {
		planner := f.planner()
		f.members[planner].stop()
		if !f.await("somebody else plans", func() bool { return f.planner() != planner }) {
			return
		}
		f.join(planner)
		other := ""
		for name := range f.members {
			if name != planner && name != f.planner() {
				other = name
			}
		}
		f.members[other].stop()
		f.join(other)
	}
}

// Three instances share a deep sweep, webhooks and logins while instances come
// and go, also the one that plans: no key is ever handled by two, no write is
// made twice, every trigger ends once, and the sweep is one sweep.
func TestFleet(t *testing.T) {
	f := newFleet(t, "ada", "bo", "cy")
	f.cfg.Kafka.Partitions = 6
	f.cfg.Sweeps.ZuoraChanged.Schedule, f.cfg.Sweeps.StripeEvents.Schedule = "", ""
	const many = 300
	subs, ids := f.subscriptions(many)
	for _, s := range subs[:many/2] {
		f.must(f.stripe.RenewNow(s.ID, true))
	}
	f.stripe.TakeEvents() // lost
	// Lists take a while, so that instances come and go in the middle of them.
	f.stripe.Inject(httpsim.Fault{Route: "GET /v1/subscriptions", Delay: 2500 * time.Millisecond})
	f.limio.Inject(httpsim.Fault{Route: "GET /api/objects/{service}/{path_type}", Delay: time.Second})
	f.stripe.Inject(httpsim.Fault{Route: "GET /v1/subscriptions/{id}", Delay: 60 * time.Millisecond})
	for name := range f.members {
		f.join(name)
	}
	t.Cleanup(func() {
		for _, m := range f.members {
			m.stop()
		}
	})

	f.wait("somebody plans", func() bool { return f.planner() != "" })
	ledger := f.follow()
	status := func() sweep.Status {
		st, err := sweep.StatusOf(ledger, sweep.StripeDrift, f.clock.Now())
		f.must(err)
		return st
	}
	f.wait("the sweep is planned", func() bool { return status().Planned })
	id, err := sweep.Request(t.Context(), ledger, sweep.StripeDrift, sweep.Ask{Action: sweep.Start, Deep: true, By: "test", At: f.clock.Now()})
	f.must(err)
	f.wait("a page was read", func() bool { return f.listed() > 0 })

	var shaken sync.WaitGroup
	over := make(chan struct{})
	shaken.Go(func() { defer close(over); f.shake() })
	f.traffic(over, subs[many-60:])
	shaken.Wait()

	var run sweep.Run
	f.wait("the sweep has ended", func() bool {
		st := status()
		i := slices.IndexFunc(st.Last, func(r sweep.Run) bool { return st.Handled.ID == id && r.ID == st.Handled.Run })
		if i >= 0 {
			run = st.Last[i]
		}
		return i >= 0
	})
	triggers := f.triggers()
	f.wait("every trigger is answered", func() bool { return len(f.unanswered(triggers)) == 0 })
	for _, m := range f.members {
		m.stop()
	}

	f.checkSweep(run, triggers, subs)
	f.checkOnce(triggers)
	f.checkOneHand()
	f.checkPlanners()
	f.checkWrites()
	for i, s := range subs {
		want, _ := f.stripe.Subscription(s.ID)
		if have, _ := f.limio.Get(ids[i]); have.Text("data.termEndDate") != want.CurrentPeriodEnd.UTC().Format("2006-01-02") {
			t.Errorf("%s ends %s in Limio and %s in Stripe", s.ID, have.Text("data.termEndDate"), want.CurrentPeriodEnd)
		}
	}
}

// traffic renews subscriptions and has somebody log in until over is closed.
func (f *fleet) traffic(over <-chan struct{}, subs []stripe.Subscription) {
	f.t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	var users []string
	for i := range 10 {
		users = append(users, f.zuoraAccount(fmt.Sprintf("user-%d", i), 2).ID)
	}
	for i := 0; ; i++ {
		select {
		case <-over:
			return
		case <-time.After(50 * time.Millisecond):
		}
		if i%2 == 0 && i/2 < len(subs) {
			f.must(f.stripe.RenewNow(subs[i/2].ID, true))
			f.webhooks()
		}
		f.login(map[string]any{"zuora_accounts": users[rnd.IntN(len(users))]})
	}
}

// triggers reads the trigger topics: ids with their keys and deliveries.
func (f *fleet) triggers() map[string]event.Trigger {
	f.t.Helper()
	out := map[string]event.Trigger{}
	for _, topic := range []string{".triggers.live", ".triggers.bulk"} {
		for p := range f.cfg.Kafka.Partitions {
			f.must(f.client.ReadAll(f.t.Context(), f.cfg.Kafka.Prefix+topic, p, 0, -1, func(_ context.Context, r kafka.Record) error {
				tr, err := event.DecodeTrigger(r.Value)
				if err != nil {
					return err
				}
				out[tr.ID] = tr
				return nil
			}))
		}
	}
	return out
}

// outcomesByTrigger are the rows of trigger_outcomes with a final outcome.
func (f *fleet) outcomesByTrigger() map[string]int {
	out := map[string]int{}
	for line := range strings.Lines(f.query("SELECT trigger_id FROM {db}.trigger_outcomes WHERE outcome NOT IN ('', 'deferred') FORMAT TSV")) {
		out[strings.TrimSpace(line)]++
	}
	return out
}

func (f *fleet) unanswered(triggers map[string]event.Trigger) (left []string) {
	answered := f.outcomesByTrigger()
	for id := range triggers {
		if answered[id] == 0 {
			left = append(left, id)
		}
	}
	return left
}

// checkSweep looks for one summary, and for one trigger of each subscription.
func (f *fleet) checkSweep(run sweep.Run, triggers map[string]event.Trigger, subs []stripe.Subscription) {
	f.t.Helper()
	if run.Status != sweep.Done {
		f.t.Errorf("the sweep ended %s: %s", run.Status, run.Error)
	}
	f.wait("the sweep's summary is a row", func() bool {
		return f.query("SELECT count() FROM {db}.syncs WHERE key = 'sweep:run:"+run.ID+"'") == "1"
	})
	if n := f.query("SELECT uniqExact(id) FROM {db}.sync_events WHERE key = 'sweep:run:" + run.ID + "'"); n != "1" {
		f.t.Errorf("%s summaries of one run", n)
	}
	handed := map[string]int{}
	for _, tr := range triggers {
		if tr.Delivery == run.ID {
			handed[tr.Key.ID]++
		}
	}
	for _, s := range subs {
		if handed[s.ID] != 1 {
			f.t.Errorf("%s was handed on by %d triggers", s.ID, handed[s.ID])
		}
	}
	f.t.Logf("the sweep: %+v", run.Stats)
}

// checkOnce looks for exactly one outcome of each trigger.
func (f *fleet) checkOnce(triggers map[string]event.Trigger) {
	f.t.Helper()
	answered := f.outcomesByTrigger()
	for id, tr := range triggers {
		if answered[id] != 1 {
			f.t.Errorf("trigger %s of %s has %d outcomes", id, tr.Key, answered[id])
		}
	}
	f.t.Logf("%d triggers", len(triggers))
}

// spell is what one instance did for one key in one go.
type spell struct {
	instance string
	from, to time.Time // of the first call and of the last write
	writes   int
}

// checkOneHand looks, from the vendors' side, for a key that two instances
// handled at once: no other instance writes between the first call of a sync and
// its last write.
func (f *fleet) checkOneHand() {
	f.t.Helper()
	keyOf := map[string]string{} // Stripe ids by Limio id
	slices.SortStableFunc(f.visits, func(a, b visit) int { return a.from.Compare(b.from) })
	spells := map[string][]*spell{}
	open := map[string]*spell{} // by key and instance
	hands := map[string]bool{}
	for _, v := range f.visits {
		key := f.subject(v, keyOf)
		if key == "" {
			continue
		}
		hand := key + " " + v.instance
		if v.begins() {
			open[hand] = &spell{instance: v.instance, from: v.from}
			spells[key] = append(spells[key], open[hand])
		}
		if v.writes() {
			s := open[hand]
			if s == nil {
				f.t.Errorf("%s wrote to %s without having read it", v.instance, key)
				continue
			}
			s.to, s.writes = v.to, s.writes+1
			hands[v.instance] = true
		}
	}
	wrote := 0
	for key, all := range spells {
		all = slices.DeleteFunc(all, func(s *spell) bool { return s.writes == 0 })
		wrote += len(all)
		for i, s := range all {
			for _, other := range all[i+1:] {
				if s.instance != other.instance && s.from.Before(other.to) && other.from.Before(s.to) {
					f.t.Errorf("%s was written by %s and %s at once: %s to %s, %s to %s", key, s.instance, other.instance,
						s.from.Format(time.StampMilli), s.to.Format(time.StampMilli), other.from.Format(time.StampMilli), other.to.Format(time.StampMilli))
				}
			}
		}
	}
	if wrote < 150 || len(hands) < len(f.members) {
		f.t.Errorf("%d syncs wrote, by %v: nothing was proved", wrote, hands)
	}
	f.t.Logf("%d calls of %d keys, %d syncs that wrote, by %v", len(f.visits), len(spells), wrote, hands)
}

// subject is the Stripe subscription that a call is about.
func (f *fleet) subject(v visit, keyOf map[string]string) string {
	if v.vendor == "stripe" {
		return stripeID.FindString(v.path + " " + v.body)
	}
	id := limioSub.FindString(v.path + " " + v.body)
	if id == "" { // an object that belongs to one
		o, _ := f.limio.Get(v.path[strings.LastIndexByte(v.path, '/')+1:])
		id = o.Text("related")
	}
	if key, known := keyOf[id]; known || id == "" {
		return key
	}
	keyOf[id] = f.query("SELECT any(key_id) FROM {db}.syncs WHERE key LIKE 'stripe:subscription:%' AND has(related, '" + id + "')")
	return keyOf[id]
}

// checkPlanners looks whether lists were read by whoever had partition 0 then,
// and whether that was more than one.
func (f *fleet) checkPlanners() {
	f.t.Helper()
	readers := map[string]int{}
	for _, v := range f.visits {
		if !v.lists() {
			continue
		}
		readers[v.instance]++
		owner := ""
		for _, p := range f.plans {
			if p.at.Before(v.from) {
				owner = p.instance
			}
		}
		if owner != v.instance {
			f.t.Errorf("%s read a list at %s, when %q had partition 0", v.instance, v.from.Format(time.StampMilli), owner)
		}
	}
	if len(readers) < 2 {
		f.t.Errorf("lists were read by %v: the planner never moved", readers)
	}
	f.t.Logf("lists were read by %v; partition 0 went round %d times", readers, len(f.plans))
}

// checkWrites looks in Limio's own log for a write that was made twice.
func (f *fleet) checkWrites() {
	f.t.Helper()
	seen := map[string]limio.Write{}
	for _, w := range f.limio.Writes() {
		if w.By != limio.ByAPI {
			continue
		}
		if w.Noop {
			f.t.Errorf("an update of %s %s changed nothing", w.RecordType, w.ObjectID)
		}
		what := w.ObjectID
		if w.Op == "create" {
			what = w.RecordType
		}
		for _, c := range w.Changed {
			if w.Op == "create" && (c.Path == "related" || c.Path == "status" || c.Path == "customer" || strings.HasPrefix(c.Path, "data.")) || w.Op != "create" {
				what += " " + c.Path + "=" + c.After
			}
		}
		if first, again := seen[what]; again {
			f.t.Errorf("written twice, at %s and %s: %s %s", first.At.Format(time.StampMilli), w.At.Format(time.StampMilli), w.Op, what)
		}
		seen[what] = w
	}
	f.t.Logf("%d writes in Limio", len(seen))
}
