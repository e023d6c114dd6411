package daemon

import (
	"math"
	"slices"
	"testing"
	"time"

	"hotsync/daemon/budget"
	"hotsync/daemon/config"
	"hotsync/event"
	"hotsync/internal/callout"
	"hotsync/internal/fault"
	"hotsync/record"
)

// budgets returns one for each vendor; those that are away have just been found
// to be.
func budgets(t *testing.T, away ...string) map[string]*budget.Budget {
	t.Helper()
	out := map[string]*budget.Budget{}
	for _, name := range []string{"limio", "zuora", "stripe"} {
		b, err := budget.New(budget.Config{Service: name, MaxInFlight: 1, Breaker: budget.Breaker{Delay: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		out[name] = b
	}
	for _, name := range away {
		for range 10 {
			leave, err := out[name].Enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			leave(callout.Result{Class: fault.Unavailable})
		}
	}
	return out
}

// Only the work that needs it finds a system away.
func TestAwayIsWhatAKeyNeeds(t *testing.T) {
	for _, tt := range []struct {
		away                 []string
		zuora, stripe, limio bool
	}{
		{nil, false, false, false},
		{[]string{"zuora"}, true, false, true}, // whose an orphan is may be asked of Zuora
		{[]string{"stripe"}, false, true, false},
		{[]string{"limio"}, true, true, true},
		{[]string{"zuora", "stripe"}, true, true, true},
	} {
		d := &Daemon{budgets: budgets(t, tt.away...)}
		if z, s, l := d.away("zuora") > 0, d.away("stripe") > 0, d.away("limio") > 0; z != tt.zuora || s != tt.stripe || l != tt.limio {
			t.Errorf("with %v away: zuora %v, stripe %v, limio %v", tt.away, z, s, l)
		}
	}
	d := &Daemon{budgets: budgets(t, "stripe")}
	delete(d.budgets, "zuora") // it is not followed
	if d.away("limio") != 0 || d.away("stripe") < 59*time.Minute {
		t.Errorf("without Zuora: limio %s, stripe %s", d.away("limio"), d.away("stripe"))
	}
}

// atHand is a partition that has nothing in hand yet and starts nothing.
func atHand(clock *handClock, away ...string) *partition {
	cfg := config.Default()
	w := newWorkers(workers{
		cfg: cfg.Workers, policy: retryPolicy{cfg.Retry, func() float64 { return 0.5 }}, now: clock.now, systems: both(),
		away: func(system string) time.Duration {
			if slices.Contains(away, system) {
				return time.Hour
			}
			return 0
		},
	})
	return &partition{workers: w, lanes: newLanes(clock.now, webhookWait)}
}

func sweeps(key record.Key) item {
	return item{trigger: event.Trigger{ID: key.String(), Cause: event.CauseSweep, Bulk: true, Key: key}, bulk: true}
}

func TestBulkWorkThatNeedsWhatIsAwayIsPassedOver(t *testing.T) {
	clock := &handClock{time.Unix(0, 0)}
	p := atHand(clock, "stripe")
	p.lanes.add(sweeps(record.StripeSubscription("sub_1")))
	clock.t = clock.t.Add(time.Second)
	p.lanes.add(sweeps(record.ZuoraAccount("a1")))
	p.lanes.add(work("hook", event.CauseLogin, "sub_2", false))
	for _, want := range []string{"stripe:subscription:sub_2", "zuora:account:a1"} { // live work finds out by itself
		ln, _ := p.pick()
		if ln == nil || ln.key.String() != want {
			t.Fatalf("picked %+v, want %s", ln, want)
		}
		p.lanes.take(ln)
	}
	if ln, wait := p.pick(); ln != nil || wait != longestLook {
		t.Fatalf("picked %+v, else in %s; want the work for Stripe to wait", ln, wait)
	}
	// It waits no longer than it would be put off for.
	clock.t = clock.t.Add(p.policy.First)
	if ln, _ := p.pick(); ln == nil || ln.key.ID != "sub_1" {
		t.Errorf("after %s picked %+v", p.policy.First, ln)
	}
}

// However much waits for one vendor, what is behind it in the topic is read; and
// live work always has room.
func TestBulkWorkIsReadPastWhatWaits(t *testing.T) {
	clock := &handClock{time.Unix(0, 0)}
	p := atHand(clock, "stripe")
	n := 0
	add := func(key func(string) record.Key) {
		n++
		p.lanes.add(sweeps(key(time.Duration(n).String())))
	}
	for p.wantsBulk() && n < math.MaxInt16 {
		add(record.StripeSubscription)
	}
	if n != p.cfg.InHand/2 {
		t.Fatalf("%d triggers are in hand that wait, want half of %d", n, p.cfg.InHand)
	}
	// They take no more: the first of them are put off, which makes room.
	ln, _ := p.pick()
	if ln == nil {
		t.Fatal("nothing moves")
	}
	p.lanes.finished(ln, p.lanes.take(ln), 0)
	if next, _ := p.pick(); next != nil {
		t.Fatalf("picked %+v although there is room", next)
	}

	p = atHand(clock, "stripe")
	for range 2 * bulkInHand {
		add(record.StripeSubscription)
	}
	busy := 0
	for p.wantsBulk() && busy < math.MaxInt16 {
		add(record.ZuoraAccount)
		busy++
	}
	if busy != bulkInHand {
		t.Errorf("behind what waits, %d triggers were read, want %d", busy, bulkInHand)
	}
}
