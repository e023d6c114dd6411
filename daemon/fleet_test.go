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
	"hotsync/sandbox/stripe"
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

// readers counts the pages of lists that each instance has read.
func (f *fleet) readers() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := map[string]int{}
	for _, v := range f.visits {
		if v.lists() {
			n[v.instance]++
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
		// Who comes back may get partition 0 again, before anybody has read a page.
		if !f.await("lists were read by two", func() bool { return len(f.readers()) > 1 }) {
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
	f.wait("a page was read", func() bool { return len(f.readers()) > 0 })

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
