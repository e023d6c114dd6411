package daemon_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hotsync/connectors/kafka"
	"hotsync/event"
	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
)

const postObject = "POST /api/objects/{service}/{path_type}"

// A create is sent and its answer is lost. Nobody knows whether it was carried
// out, so both sides are read again before anything is written, and Limio has
// the object once.
func TestALostAnswerIsReadBackFirst(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	s, id := r.stripeSubscription()
	r.start()
	r.must(r.stripe.RenewNow(s.ID, true))
	r.limio.Inject(httpsim.Fault{Route: postObject, DropAfter: true, Times: 1})
	r.limio.ResetCalls()
	got := r.outcomes(r.webhooks())
	if got["applied/drift_repaired"] == 0 {
		t.Fatalf("outcomes %v", got)
	}

	var after []string // what was asked of Limio since the answer was lost
	for _, c := range r.limio.Log() {
		if c.Method == http.MethodPost && c.Status == 0 {
			after = []string{"lost"}
		} else if after != nil {
			after = append(after, c.Method)
		}
	}
	read, write := slices.Index(after, http.MethodGet), slices.IndexFunc(after, func(m string) bool { return m == http.MethodPut || m == http.MethodPost })
	if len(after) == 0 || read != 1 || write > 0 && write < read {
		t.Errorf("the calls after the lost answer were %v, want a read first", after)
	}
	created := r.created()
	for what, n := range created {
		if n != 1 {
			t.Errorf("created %d times: %s", n, what)
		}
	}
	if len(created) == 0 {
		t.Error("nothing was created: nothing was proved")
	}
	// One sync, whose event says what was written although the answer was lost.
	if got := r.query("SELECT outcome, attempts, length(changes) > 0 FROM {db}.syncs WHERE key = 'stripe:subscription:" + s.ID + "' FORMAT TSV"); got != "applied\t1\t1" {
		t.Errorf("the sync is shown as %q", got)
	}
	payments := map[string]int{}
	for _, o := range r.limio.Related(id) {
		if invoice := o.Text("data.external_id"); o.RecordType == limio.TypeSchedule && invoice != "" {
			payments[invoice]++
		}
	}
	for invoice, n := range payments {
		if n != 1 {
			t.Errorf("%d payments of invoice %s", n, invoice)
		}
	}
}

// created counts what hotsync made in Limio, by its content.
func (r *road) created() map[string]int {
	created := map[string]int{}
	for _, w := range r.limio.Writes() {
		if w.By != limio.ByAPI || w.Op != "create" {
			continue
		}
		content := []string{w.RecordType}
		for _, c := range w.Changed {
			if strings.HasPrefix(c.Path, "data.") || c.Path == "related" {
				content = append(content, c.Path+"="+c.After)
			}
		}
		created[strings.Join(content, " ")]++
	}
	return created
}

// late stands before Limio. The first create is carried out only after its
// connection was closed, as by a server that is slow: a try that looks at once
// does not see its object yet.
type late struct {
	next  http.Handler
	after time.Duration
	once  sync.Once
	done  chan struct{}
}

func (l *late) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	create := false
	if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/api/objects/") {
		l.once.Do(func() { create = true })
	}
	if !create {
		l.next.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	detached := r.Clone(context.WithoutCancel(r.Context()))
	detached.Body = io.NopCloser(bytes.NewReader(body))
	time.AfterFunc(l.after, func() {
		defer close(l.done)
		if err == nil {
			l.next.ServeHTTP(httptest.NewRecorder(), detached)
		}
	})
	panic(http.ErrAbortHandler)
}

// A create is carried out after its answer was lost, and after a try at once
// would have read Limio. Its key is left alone until then, and Limio has each
// object once: whether the tries are made in memory, or the sync is put off and a
// new webhook comes meanwhile.
func TestALateCreateIsNotMadeTwice(t *testing.T) {
	t.Parallel()
	for name, tries := range map[string]int{"in memory": 3, "put off": 0} {
		t.Run(name, func(t *testing.T) {
			r := newRoad(t)
			r.cfg.Retry.MemoryTries = tries
			s, _ := r.stripeSubscription()
			slow := &late{next: r.limio, after: time.Second, done: make(chan struct{})}
			front := httptest.NewServer(slow)
			t.Cleanup(front.Close)
			r.cfg.Limio.BaseURL = front.URL
			r.start()
			r.must(r.stripe.RenewNow(s.ID, true))
			n := r.webhooks()
			r.eventually("the answer is lost", func() bool {
				return r.query("SELECT count() FROM {db}.sync_events WHERE phase = 'planned'") != "0"
			})
			r.must(r.stripe.SetMetadata(s.ID, map[string]string{"note": "x"}, stripe.ByStripe()))
			n += r.webhooks()
			if got := r.outcomes(n); got["applied/drift_repaired"]+got["applied/created"] == 0 {
				t.Errorf("outcomes %v", got)
			}
			<-slow.done
			created := r.created()
			for what, n := range created {
				if n != 1 {
					t.Errorf("created %d times: %s", n, what)
				}
			}
			if len(created) == 0 {
				t.Error("nothing was created: nothing was proved")
			}
		})
	}
}

// Work that cannot be done now says how often it was tried and when it will be
// again; it is not tried before that time, not even after a restart; and when its
// attempts are used up it is a dead letter that holds its trigger.
func TestDeferredWorkKeepsItsTime(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	r.cfg.Retry.MemoryTries = 0
	r.cfg.Retry.First, r.cfg.Retry.FirstTries, r.cfg.Retry.Second, r.cfg.Retry.SecondTries = 4*time.Second, 1, time.Second, 1
	s, _ := r.stripeSubscription()
	r.start()
	// Stripe says no to whoever asks for this subscription.
	heal := r.stripe.Inject(httpsim.Fault{Path: s.ID, Code: "lock_timeout"})
	defer heal()
	// One webhook: on a slow machine a burst may become two syncs.
	r.must(r.stripe.SetMetadata(s.ID, map[string]string{"note": "x"}, stripe.ByStripe()))
	delivered := r.webhooks()
	key := "stripe:subscription:" + s.ID

	type shown struct {
		Outcome, Reason, Next string
		Attempts              int
	}
	sync := func() (out shown) {
		row := r.query("SELECT outcome AS Outcome, reason AS Reason, toString(next) AS Next, toInt32(attempts) AS Attempts FROM {db}.syncs WHERE key = '" + key + "' FORMAT JSONEachRow")
		if row != "" {
			r.must(json.Unmarshal([]byte(row), &out))
		}
		return out
	}
	r.eventually("it is deferred", func() bool { return sync().Outcome == "deferred" })
	first := sync()
	next, err := time.Parse("2006-01-02 15:04:05.000", first.Next)
	if err != nil || first.Reason != "locked" || first.Attempts != 1 {
		t.Fatalf("shown as %+v (%v)", first, err)
	}
	looked := func() (at []time.Time) {
		for _, c := range r.stripe.Log() {
			if strings.Contains(c.Path, s.ID) {
				at = append(at, c.At)
			}
		}
		return at
	}
	before := len(looked())
	r.stop()
	r.start() // the next time is not forgotten
	r.eventually("it is tried again", func() bool { return len(looked()) > before })
	if at := looked()[before]; at.Before(next) {
		t.Errorf("tried again at %s, before its time %s", at, next)
	}

	r.eventually("it is given up", func() bool { return sync().Outcome == "failed" })
	if last := sync(); last.Reason != "exhausted" || last.Attempts != 3 {
		t.Errorf("given up as %+v", last)
	}
	letter := r.deadLetter(key)
	if letter.Reason != event.ReasonExhausted || letter.Attempts != 3 || letter.Trigger == nil {
		t.Fatalf("the dead letter %+v", letter)
	}
	if letter.Trigger.Key.String() != key || cmp.Or(letter.Trigger.Delivery, letter.Trigger.ID) == "" || letter.First.IsZero() || !letter.Last.After(letter.First) || letter.Class != "locked" {
		t.Errorf("the dead letter %+v, its trigger %+v", letter, letter.Trigger)
	}
	// What was delivered has ended with it.
	if got := r.outcomes(delivered); got["failed/exhausted"] == 0 {
		t.Errorf("outcomes %v", got)
	}
}

// A webhook merges with one that is at its last attempt, and the fault lasts: the
// old one is given up, the new one has its own attempts and ends well.
func TestANewWebhookOutlivesAnOldOne(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	r.cfg.Workers.Coalesce = 3 * time.Second // they meet in it
	r.cfg.Retry.MemoryTries, r.cfg.Retry.First, r.cfg.Retry.FirstTries, r.cfg.Retry.SecondTries = 0, time.Second, 1, 0
	s, _ := r.stripeSubscription()
	key := "stripe:subscription:" + s.ID
	r.start()
	heal := r.stripe.Inject(httpsim.Fault{Path: s.ID, Code: "lock_timeout"})
	defer heal()
	r.must(r.stripe.SetMetadata(s.ID, map[string]string{"note": "old"}, stripe.ByStripe()))
	old := r.webhooks()
	r.eventually("the old one is back for its last attempt", func() bool { return r.retriedLive(key) })
	r.must(r.stripe.SetMetadata(s.ID, map[string]string{"note": "new"}, stripe.ByStripe()))
	all := old + r.webhooks()
	r.eventually("the old one is given up", func() bool {
		return r.query("SELECT count() FROM {db}.trigger_outcomes WHERE outcome = 'failed'") == fmt.Sprint(old)
	})
	heal()
	if got := r.outcomes(all); got["failed/exhausted"] != old || all == old {
		t.Errorf("of %d webhooks, %d of them old: outcomes %v", all, old, got)
	}
	if letter := r.deadLetter(key); letter.Attempts != 2 || len(letter.Trigger.Also) != old-1 {
		t.Errorf("the dead letter %+v", letter)
	}
	if got := r.query("SELECT arraySort(groupArray((outcome, attempts))) FROM {db}.syncs WHERE key = '" + key + "' AND outcome = 'failed'"); got != "[('failed',2)]" {
		t.Errorf("syncs that were given up: %s", got)
	}
}

// retriedLive reports whether a trigger of a key has come back to the workers.
func (r *road) retriedLive(key string) (found bool) {
	r.t.Helper()
	for p := range r.cfg.Kafka.Partitions {
		r.must(r.client.ReadAll(r.t.Context(), r.cfg.Kafka.Prefix+".triggers.live", p, 0, -1, func(_ context.Context, rec kafka.Record) error {
			t, err := event.DecodeTrigger(rec.Value)
			found = found || t.Attempt > 0 && t.Key.String() == key
			return err
		}))
	}
	return found
}

// deadLetter returns the letter about a key.
func (r *road) deadLetter(key string) (found event.DeadLetter) {
	r.t.Helper()
	for p := range r.cfg.Kafka.Partitions {
		r.must(r.client.ReadAll(r.t.Context(), r.cfg.Kafka.Prefix+".dead", p, 0, -1, func(_ context.Context, rec kafka.Record) error {
			var d event.DeadLetter
			if err := json.Unmarshal(rec.Value, &d); err != nil {
				return err
			}
			if d.Key == key {
				found = d
			}
			return nil
		}))
	}
	return found
}
