package daemon

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hotsync/connectors/kafka"
	"hotsync/daemon/budget"
	"hotsync/daemon/config"
	"hotsync/event"
	"hotsync/reconcile"
	"hotsync/record"
)

type handClock struct{ t time.Time }

func (c *handClock) now() time.Time { return c.t }

func webhookWait(t event.Trigger) time.Duration {
	if t.Cause == event.CauseStripe {
		return 2 * time.Second
	}
	return 0
}

func work(id string, cause event.Cause, key string, bulk bool) item {
	return item{trigger: event.Trigger{ID: id, Cause: cause, Key: record.StripeSubscription(key)}, record: kafka.Record{}, bulk: bulk}
}

func ids(batch []item) (out []string) {
	for _, it := range batch {
		out = append(out, it.trigger.ID)
	}
	return out
}

func TestLanesMergeABurst(t *testing.T) {
	clock := &handClock{time.Unix(0, 0)}
	l := newLanes(clock.now, webhookWait)
	for i := range 9 {
		l.add(work(string(rune('a'+i)), event.CauseStripe, "sub_1", false))
		clock.t = clock.t.Add(100 * time.Millisecond)
	}
	if ln, wait := l.next(); ln != nil || wait != 1100*time.Millisecond {
		t.Fatalf("next gave %v after %s, want nothing for another 1.1s", ln, wait)
	}
	clock.t = clock.t.Add(1100 * time.Millisecond)
	ln, _ := l.next()
	batch := l.take(ln)
	if len(batch) != 9 {
		t.Fatalf("the burst made a batch of %v", ids(batch))
	}
	// What comes in while the sync runs makes one more sync, and not before.
	l.add(work("x", event.CauseStripe, "sub_1", false))
	l.add(work("y", event.CauseLogin, "sub_1", false))
	if next, _ := l.next(); next != nil {
		t.Fatal("a key runs twice at once")
	}
	l.finished(ln, batch, 0)
	next, _ := l.next()
	if got := ids(l.take(next)); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("second batch %v", got)
	}
	if l.inHand != 2 {
		t.Errorf("%d triggers in hand, want 2", l.inHand)
	}
}

func TestLanesALoginDoesNotWaitForWebhooks(t *testing.T) {
	clock := &handClock{time.Unix(0, 0)}
	l := newLanes(clock.now, webhookWait)
	l.add(work("w", event.CauseStripe, "sub_1", false))
	l.add(work("l", event.CauseLogin, "sub_1", false))
	if ln, _ := l.next(); ln == nil {
		t.Error("a login stands behind the wait of a webhook")
	}
}

func TestLanesLiveBeforeBulk(t *testing.T) {
	clock := &handClock{time.Unix(0, 0)}
	l := newLanes(clock.now, webhookWait)
	l.add(work("b", event.CauseSweep, "sub_1", true))
	clock.t = clock.t.Add(time.Minute)
	l.add(work("l", event.CauseLogin, "sub_2", false))
	first, _ := l.next()
	if first.key.ID != "sub_2" {
		t.Error("bulk work goes before a login")
	}
	l.add(work("l2", event.CauseLogin, "sub_1", false))
	if l.byKey[record.StripeSubscription("sub_1")].bulk {
		t.Error("a login for a key with bulk work waits as bulk")
	}
}

// A login takes as long as without a sweep; what the sweep wants is done after it.
func TestLanesALoginLeavesAVerificationBehind(t *testing.T) {
	clock := &handClock{time.Unix(0, 0)}
	l := newLanes(clock.now, webhookWait)
	deep := work("deep", event.CauseSweep, "sub_1", true)
	deep.trigger.Verify = true
	l.add(deep)
	l.add(work("listed", event.CauseSweep, "sub_1", true))
	l.add(work("login", event.CauseLogin, "sub_1", false))
	ln, _ := l.next()
	batch := l.take(ln)
	if got := ids(batch); !slices.Equal(got, []string{"listed", "login"}) {
		t.Fatalf("the login takes %v along", got)
	}
	if other, _ := l.next(); other != nil {
		t.Fatal("two syncs of one key at a time")
	}
	l.finished(ln, batch, 0)
	if ln, _ = l.next(); ln == nil || !ln.bulk {
		t.Fatalf("what was left behind waits as %+v, want bulk work", ln)
	}
	batch = l.take(ln)
	l.again(ln, batch, 0, tried{})
	l.add(work("login2", event.CauseLogin, "sub_1", false))
	if batch = l.take(ln); len(batch) != 2 {
		t.Errorf("what was begun is not gone on with: %v", ids(batch))
	}
	l.finished(ln, batch, 0)
	if l.inHand != 0 || l.bulk != 0 || len(l.byKey) != 0 {
		t.Errorf("%d in hand, %d of them bulk, %d lanes", l.inHand, l.bulk, len(l.byKey))
	}
}

// A sync that was begun goes on under its own id, whatever joins it and in
// whatever order it came in.
func TestABegunSyncKeepsItsID(t *testing.T) {
	clock := &handClock{time.Unix(0, 0)}
	l := newLanes(clock.now, webhookWait)
	put := func(id string) item {
		it := work(id, event.CauseLogin, "sub_1", false)
		it.trigger.SyncID = "sync of " + id
		return it
	}
	l.add(put("put off"))
	l.add(work("new", event.CauseLogin, "sub_1", false))
	ln, _ := l.next()
	batch := l.take(ln)
	id := jobOf(ln.key, batch).SyncID()
	for i, joins := range []item{put("put off, too"), work("newer", event.CauseLogin, "sub_1", false), work("a sweep's", event.CauseSweep, "sub_1", true)} {
		l.again(ln, batch, 0, tried{})
		l.add(joins)
		if ln, _ = l.next(); ln == nil {
			t.Fatal("nothing is due")
		}
		batch = l.take(ln)
		if got := jobOf(ln.key, batch).SyncID(); got != id || len(batch) != 3+i {
			t.Errorf("with %v it goes on as %s, was %s", ids(batch), got, id)
		}
	}
}

// After a crash triggers come again in another order and beside others: those of
// syncs that were begun go on with them.
func TestABegunSyncGoesOnAfterACrash(t *testing.T) {
	login, hook, bulk := work("login", event.CauseLogin, "sub_1", false), work("hook", event.CauseStripe, "sub_1", false), work("bulk", event.CauseSweep, "sub_1", true)
	id := func(it item) string { return jobOf(it.trigger.Key, []item{it}).SyncID() }
	m := reconcile.Memory{Open: []string{id(bulk), id(hook)}}
	job := jobOf(login.trigger.Key, goOn([]item{login, hook, bulk}, m))
	if job.SyncID() != id(hook) || job.Triggers[1].SyncID != id(bulk) || job.Triggers[2].SyncID != "" {
		t.Errorf("it goes on as %s with %+v", job.SyncID(), job.Triggers)
	}
	left, ended := m.Ended(event.Event{SyncID: job.SyncID(), Triggers: reconcile.Refs(job.Triggers)})
	if !ended || left.Open != nil {
		t.Errorf("open after the end of both: %v", left.Open)
	}
}

// A login that a sweep's retry answers for is somebody who waits.
func TestAMergedLoginIsUrgent(t *testing.T) {
	put := work("put off", event.CauseSweep, "sub_1", false)
	put.trigger.Verify = true
	put.trigger.Also = []event.Ref{{ID: "login", Cause: event.CauseLogin}}
	if lane := laneOf([]item{put}); lane != budget.Login {
		t.Errorf("its calls go in lane %v, want that of logins", lane)
	}
	deep := work("deep", event.CauseSweep, "sub_1", true)
	deep.trigger.Verify = true
	l := newLanes((&handClock{time.Unix(0, 0)}).now, webhookWait)
	l.add(deep)
	l.add(put)
	ln, _ := l.next()
	if got := ids(l.take(ln)); !slices.Equal(got, []string{"put off"}) {
		t.Errorf("took %v, want the login without the verification", got)
	}
}

func TestLanesBackOffBlocksOnlyItsKey(t *testing.T) {
	clock := &handClock{time.Unix(0, 0)}
	l := newLanes(clock.now, webhookWait)
	l.add(work("a", event.CauseLogin, "sub_1", false))
	l.add(work("b", event.CauseLogin, "sub_2", false))
	one := l.byKey[record.StripeSubscription("sub_1")]
	batch := l.take(one)
	l.add(work("c", event.CauseLogin, "sub_1", false))
	l.again(one, batch, time.Second, tried{})
	l.add(work("d", event.CauseLogin, "sub_1", false))
	if ln, _ := l.next(); ln == nil || ln.key.ID != "sub_2" {
		t.Fatalf("next is %v, want the other key", ln)
	}
	l.take(l.byKey[record.StripeSubscription("sub_2")])
	if ln, wait := l.next(); ln != nil || wait != time.Second {
		t.Fatalf("next is %v after %s, want the back-off to hold", ln, wait)
	}
	clock.t = clock.t.Add(time.Second)
	ln, _ := l.next()
	if got := ids(l.take(ln)); !slices.Equal(got, []string{"a", "c", "d"}) || ln.tries != 1 {
		t.Errorf("batch %v after %d tries", got, ln.tries)
	}
}

// A key that rests is left alone, whoever comes; and is forgotten then.
func TestLanesAKeyRests(t *testing.T) {
	clock := &handClock{time.Unix(0, 0)}
	l := newLanes(clock.now, webhookWait)
	l.add(work("a", event.CauseLogin, "sub_1", false))
	ln, _ := l.next()
	l.finished(ln, l.take(ln), 5*time.Second)
	clock.t = clock.t.Add(time.Second)
	l.add(work("b", event.CauseLogin, "sub_1", false))
	l.add(work("c", event.CauseLogin, "sub_1", false))
	if ln, wait := l.next(); ln != nil || wait != 4*time.Second {
		t.Fatalf("next is %v after %s, want the key to rest", ln, wait)
	}
	clock.t = clock.t.Add(4 * time.Second)
	ln, _ = l.next()
	batch := l.take(ln)
	if got := ids(batch); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("then came %v", got)
	}
	l.finished(ln, batch, time.Second)
	clock.t = clock.t.Add(time.Second)
	if ln, wait := l.next(); ln != nil || wait != 0 || len(l.byKey) != 0 {
		t.Errorf("next is %v after %s, %d lanes", ln, wait, len(l.byKey))
	}
}

// A create whose answer was lost is looked for no sooner than it may be there.
func TestRestAfterALostCreate(t *testing.T) {
	p := retryPolicy{config.Default().Retry, nil}
	verdict := func(reason event.Reason, op record.Op, took ...time.Duration) (v reconcile.Verdict) {
		v.Event.Reason, v.Changes = reason, []record.Change{{Op: record.OpUpdate}, {Op: op}}
		for _, d := range took {
			v.Event.Callouts = append(v.Event.Callouts, event.Callout{Duration: d.Milliseconds()})
		}
		return v
	}
	for name, tt := range map[string]struct {
		v    reconcile.Verdict
		want time.Duration
	}{
		"the connection broke":    {verdict(event.ReasonUnknownOutcome, record.OpCreate, time.Second, time.Second), p.MemoryMax},
		"its time was up":         {verdict(event.ReasonUnknownOutcome, record.OpCreate, time.Second, 30*time.Second), 30 * time.Second},
		"an import":               {verdict(event.ReasonUnknownOutcome, record.OpImport), p.MemoryMax},
		"an update can be redone": {verdict(event.ReasonUnknownOutcome, record.OpUpdate, 30*time.Second), 0},
		"an order has its claim":  {verdict(event.ReasonUnknownOutcome, record.OpOrder, 30*time.Second), 0},
		"Limio was away":          {verdict(event.ReasonUnavailable, record.OpCreate, 30*time.Second), 0},
	} {
		if got := p.rest(tt.v); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// However triggers come in and syncs end: no key runs twice at once, and every
// trigger is in exactly one batch that ends.
func TestLanesLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := &handClock{time.Unix(0, 0)}
		l := newLanes(clock.now, webhookWait)
		type run struct {
			ln    *lane
			batch []item
		}
		running := map[record.Key]run{}
		done := map[string]int{}
		added := 0
		end := func(r run) {
			delete(running, r.ln.key)
			if rapid.IntRange(0, 4).Draw(t, "fails") == 0 {
				l.again(r.ln, r.batch, time.Second, tried{})
				return
			}
			for _, id := range ids(r.batch) {
				done[id]++
			}
			l.finished(r.ln, r.batch, 0)
		}
		start := func() bool {
			ln, _ := l.next()
			if ln == nil {
				return false
			}
			if _, twice := running[ln.key]; twice {
				t.Fatalf("%s runs twice", ln.key)
			}
			running[ln.key] = run{ln, l.take(ln)}
			return true
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				added++
				cause := rapid.SampledFrom([]event.Cause{event.CauseLogin, event.CauseStripe, event.CauseSweep}).Draw(t, "cause")
				it := work(time.Duration(added).String(), cause, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"), cause == event.CauseSweep)
				it.trigger.Verify = it.bulk && rapid.Bool().Draw(t, "verify")
				l.add(it)
			case 2:
				start()
			case 3:
				for _, k := range []string{"a", "b", "c"} {
					if r, ok := running[record.StripeSubscription(k)]; ok {
						end(r)
						break
					}
				}
			}
			clock.t = clock.t.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "seconds")) * time.Second)
		}
		for range 1000 {
			clock.t = clock.t.Add(5 * time.Second)
			for start() {
			}
			for _, r := range running {
				end(r)
			}
		}
		if len(done) != added || l.inHand != 0 || l.bulk != 0 || len(l.byKey) != 0 {
			t.Fatalf("%d of %d done, %d in hand, %d bulk, %d lanes", len(done), added, l.inHand, l.bulk, len(l.byKey))
		}
		for id, n := range done {
			if n != 1 {
				t.Fatalf("%s ended %d times", id, n)
			}
		}
	})
}

func TestRetryPolicy(t *testing.T) {
	cfg := config.Default().Retry
	p := retryPolicy{cfg, func() float64 { return 0.5 }}
	for failed, want := range []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second} {
		if got, ok := p.inMemory(failed, 0); !ok || got != want {
			t.Errorf("after %d failures: %s %v, want %s", failed, got, ok, want)
		}
	}
	if _, ok := p.inMemory(3, 0); ok {
		t.Error("tries in memory have no end")
	}
	if _, ok := p.inMemory(0, time.Minute); ok {
		t.Error("a key is blocked for a minute in memory")
	}
	if got, _ := p.inMemory(0, 3*time.Second); got != 3*time.Second {
		t.Errorf("the other side asked for 3s and got %s", got)
	}
	total := time.Duration(0)
	attempt := 1
	for ; ; attempt++ {
		d, ok := p.deferred(attempt, 0)
		if !ok {
			break
		}
		total += d
	}
	if attempt != 1+3+24 || total != 3*5*time.Minute+24*time.Hour {
		t.Errorf("given up at attempt %d after %s", attempt, total)
	}
	if d, _ := p.deferred(1, 2*time.Hour); d != 2*time.Hour {
		t.Errorf("the other side asked for 2h and got %s", d)
	}
}

// However many triggers an outage piled up, each sync answers a bounded number
// and what is deferred again still answers for every one.
func TestAnswersAreBounded(t *testing.T) {
	clock := &handClock{time.Unix(0, 0)}
	l := newLanes(clock.now, webhookWait)
	all := map[string]bool{}
	for i := range 10 {
		it := work(fmt.Sprint("t", i), event.CauseLogin, "sub_1", false)
		for j := range 400 {
			it.trigger.Also = append(it.trigger.Also, event.Ref{ID: fmt.Sprint("t", i, "-", j)})
		}
		l.add(it)
	}
	for {
		ln, _ := l.next()
		if ln == nil {
			break
		}
		batch := l.take(ln)
		job := jobOf(ln.key, batch)
		if n := len(reconcile.Refs(job.Triggers)); n > maxAnswers {
			t.Fatalf("one sync answers %d triggers", n)
		}
		retried := continued(job, event.Event{})
		for _, r := range retried {
			if b, err := r.Encode(); err != nil || len(b) > maxRecord {
				t.Fatalf("a retried trigger of %d bytes, %v", len(b), err)
			}
		}
		for _, ref := range reconcile.Refs(retried) {
			all[ref.ID] = true
		}
		l.finished(ln, batch, 0)
	}
	if len(all) != 10*401 {
		t.Errorf("%d of %d triggers are answered for", len(all), 10*401)
	}
}
