package daemon_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hotsync/daemon"
	"hotsync/daemon/sweep"
	"hotsync/sandbox/limio"
)

// witness stands before Limio and sees who writes to which record, when. Every
// write takes a little longer, so that two at once would meet.
type witness struct {
	limio *limio.Server

	mu   sync.Mutex
	busy map[string]string // subscription -> instance that writes to it now
	seen map[string]bool   // instances that wrote
	met  []string
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	parts := strings.Split(req.URL.Path, "/") // "", api, objects, limio, type, id
	if req.Method != http.MethodPut || len(parts) < 6 {
		w.limio.ServeHTTP(rw, req)
		return
	}
	sub := parts[5]
	if o, ok := w.limio.Get(sub); ok && o.Text("related") != "" {
		sub = o.Text("related")
	}
	who := req.Header.Get("User-Agent")
	w.mu.Lock()
	w.seen[who] = true
	if other, twice := w.busy[sub]; twice {
		w.met = append(w.met, fmt.Sprintf("%s and %s both write to %s", other, who, sub))
	}
	w.busy[sub] = who
	w.mu.Unlock()
	select {
	case <-time.After(3 * time.Millisecond):
	case <-req.Context().Done():
	}
	w.limio.ServeHTTP(rw, req)
	w.mu.Lock()
	delete(w.busy, sub)
	w.mu.Unlock()
}

// member runs one more instance and returns the function that stops it.
func (r *road) member(name string) (stop func()) {
	r.t.Helper()
	log := zerolog.New(zerolog.NewTestWriter(r.t)).Level(zerolog.ErrorLevel)
	d, err := daemon.New(r.cfg, daemon.Options{Log: log, Now: r.clock.Now, Instance: name, Build: name})
	r.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				r.t.Errorf("instance %s: %v", name, err)
			}
		case <-time.After(time.Minute):
			r.t.Errorf("instance %s did not stop", name)
		}
	})
	r.t.Cleanup(stop)
	r.daemon = d
	r.eventually("instance "+name+" is ready", d.Ready)
	return stop
}

// Three instances share a sweep and live work while they come and go, the one
// that plans too. No record is ever in two hands, nothing is written twice, and
// the sweep reaches everything and is told of once.
func TestFleet(t *testing.T) {
	r := newRoad(t)
	const n = 90
	subs, ids := r.subscriptions(n)
	w := &witness{limio: r.limio, busy: map[string]string{}, seen: map[string]bool{}}
	front := httptest.NewServer(w)
	t.Cleanup(front.Close)
	r.cfg.Limio.BaseURL = front.URL
	r.cfg.Kafka.Partitions = 9
	r.cfg.Workers.Concurrency = 8

	members := map[string]func(){}
	for _, name := range []string{"a", "b", "c"} {
		members[name] = r.member(name)
	}
	first := r.request(sweep.StripeDrift, sweep.Ask{})
	live := 0
	renew := func(from, to int) {
		for _, s := range subs[from:to] {
			r.must(r.stripe.RenewNow(s.ID, true))
		}
		live += r.webhooks()
	}
	// Whoever plans is among those that go: each of the three does, once.
	for i, name := range []string{"a", "b", "c"} {
		renew(i*10, i*10+10)
		members[name]()
		renew(30+i*10, 40+i*10)
		members[name] = r.member(name + "2")
	}
	run := r.swept(sweep.StripeDrift, first)
	if run.Status != sweep.Done || run.Stats.Listed < n {
		t.Errorf("the sweep: %s, %+v", run.Status, run.Stats)
	}
	ended := r.ended(run)
	r.eventually("every webhook was answered", func() bool {
		return r.query("SELECT count() FROM {db}.trigger_outcomes WHERE cause = 'stripe' AND outcome NOT IN ('', 'deferred')") == fmt.Sprint(live)
	})
	if got := r.query("SELECT uniqExact(id) FROM {db}.sync_events WHERE key = 'sweep:run:" + run.ID + "'"); got != "1" {
		t.Errorf("%s summaries of the run", got)
	}
	// A second sweep finds nothing left.
	if again := r.sweep(sweep.StripeDrift, sweep.Ask{Deep: true}); r.ended(again)["in_sync/equal"] != n {
		t.Errorf("left to do after the first (%v): %v", ended, r.ended(again))
	}
	for i, s := range subs {
		want, _ := r.stripe.Subscription(s.ID)
		if got, _ := r.limio.Get(ids[i]); got.Text("data.termEndDate") != want.CurrentPeriodEnd.UTC().Format(time.DateOnly) {
			t.Errorf("%s ends %s in Limio, %s in Stripe", s.ID, got.Text("data.termEndDate"), want.CurrentPeriodEnd)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.met {
		t.Error(m)
	}
	if len(w.seen) < 3 {
		t.Errorf("only %v wrote", w.seen)
	}
	for _, o := range r.limio.Writes() {
		if o.By == limio.ByAPI && o.Noop {
			t.Errorf("written twice: %+v", o)
		}
	}
	payments := map[string]int{}
	for _, o := range r.limio.Objects(limio.TypeSchedule) {
		if invoice := o.Text("data.external_id"); invoice != "" {
			if payments[invoice]++; payments[invoice] > 1 {
				t.Errorf("invoice %s has %d entries", invoice, payments[invoice])
			}
		}
	}
}
