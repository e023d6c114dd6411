package daemon

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/daemon/config"
	"hotsync/event"
	"hotsync/reconcile"
	"hotsync/record"
)

// deferring is a partition whose verdicts become records that nobody writes.
func deferring(clock *handClock) *partition {
	cfg := config.Default()
	names := topicsOf(cfg.Kafka)
	return &partition{workers: newWorkers(workers{
		cfg: cfg.Workers, policy: retryPolicy{cfg.Retry, func() float64 { return 0.5 }}, now: clock.now, log: zerolog.Nop(),
		topics: names, out: &outbox{topics: names, first: cfg.Retry.First},
	})}
}

// brought is what a batch led to when it met a fault that passes.
type brought struct {
	events  []event.Event
	retried []event.Trigger
	dead    []event.DeadLetter
}

func (p *partition) meetsAFault(t *testing.T, batch ...event.Trigger) (out brought) {
	t.Helper()
	var items []item
	for _, tr := range batch {
		items = append(items, item{trigger: tr})
	}
	job := jobOf(batch[0].Key, inTurn(items))
	v := reconcile.Verdict{Event: event.Event{
		SyncID: job.SyncID(), Phase: event.Done, At: p.now(), Outcome: event.Deferred, Reason: event.ReasonLocked, Key: job.Key,
		Cause: job.Triggers[0].Cause, Attempt: job.Attempt, Triggers: reconcile.Refs(job.Triggers),
	}}
	must(t, v.Event.Identify())
	answers, err := p.answers(job, v)
	must(t, err)
	for _, a := range answers {
		records, err := p.records(a)
		must(t, err)
		for _, r := range records {
			out.take(t, p.topics, r)
		}
	}
	return out
}

func (o *brought) take(t *testing.T, names topics, r kafka.Record) {
	t.Helper()
	switch r.Topic {
	case names.events:
		var e event.Event
		must(t, json.Unmarshal(r.Value, &e))
		o.events = append(o.events, e)
	case names.dead:
		var d event.DeadLetter
		must(t, json.Unmarshal(r.Value, &d))
		o.dead = append(o.dead, d)
	default:
		tr, err := event.DecodeTrigger(r.Value)
		must(t, err)
		o.retried = append(o.retried, tr)
	}
}

func loginOf(id string, at time.Time) event.Trigger {
	return event.Trigger{ID: id, Key: record.ZuoraAccount("a1"), Cause: event.CauseLogin, At: at, Received: at}
}

// A login that merges with work at the end of its attempts begins its own.
func TestANewTriggerIsNotGivenUpWithAnOldOne(t *testing.T) {
	clock := &handClock{time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)}
	p := deferring(clock)
	last := p.policy.FirstTries + p.policy.SecondTries
	old := loginOf("old", clock.t)
	old.SyncID, old.Attempt, old.FirstFail = "sync-old", last, clock.t
	old.Also = []event.Ref{{ID: "older", Cause: event.CauseSweep, Sync: "sync-older"}}
	clock.t = clock.t.Add(24 * time.Hour)
	got := p.meetsAFault(t, loginOf("new", clock.t), old)

	shown := map[string]string{}
	for _, e := range got.events {
		for _, r := range e.Triggers {
			outcome := fmt.Sprintf("%s %s %d", e.Outcome, e.Reason, e.Attempt)
			if shown[r.ID] != "" && shown[r.ID] != outcome {
				t.Errorf("%s has two outcomes: %s, and in sync %s %s", r.ID, shown[r.ID], e.SyncID, outcome)
			}
			shown[r.ID] = outcome
		}
	}
	want := map[string]string{
		"new": "deferred locked 1", "old": fmt.Sprintf("failed exhausted %d", last+1), "older": fmt.Sprintf("failed exhausted %d", last+1),
	}
	if fmt.Sprint(shown) != fmt.Sprint(want) {
		t.Errorf("outcomes %v, want %v", shown, want)
	}
	if len(got.retried) != 1 || got.retried[0].ID != "new" || got.retried[0].Attempt != 1 || !got.retried[0].NotBefore.Equal(clock.t.Add(p.policy.First)) {
		t.Errorf("what is tried again: %+v", got.retried)
	}
	if len(got.dead) != 1 || got.dead[0].SyncID != "sync-old" || got.dead[0].Attempts != last+1 || len(got.dead[0].Trigger.Also) != 1 {
		t.Errorf("dead letters: %+v", got.dead)
	}

	// The same when the old one leads, since it had begun.
	old.Also = nil
	job := jobOf(old.Key, inTurn([]item{{trigger: loginOf("new", clock.t)}, {trigger: old, begun: true}}))
	parts := byAttempts(job)
	if len(parts) != 2 || parts[0].SyncID() != "sync-old" || job.Attempt != last+1 || parts[1].Attempt != 1 || parts[1].SyncID() == "sync-old" {
		t.Errorf("parts %+v", parts)
	}
}

// While a fault lasts and somebody logs in at every attempt, each login is given
// up after its own attempts, in its own time; and no event takes the id of another.
func TestAttemptsAreEachTriggersOwn(t *testing.T) {
	clock := &handClock{time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)}
	p := deferring(clock)
	all := p.policy.FirstTries + p.policy.SecondTries + 1
	var waiting []event.Trigger
	ids, tries, given := map[string]bool{}, map[string]int{}, map[string]time.Time{}
	came := map[string]time.Time{}
	for n := 0; n < 60 || len(waiting) > 0; n++ {
		var due, later []event.Trigger
		for _, tr := range waiting {
			if tr.NotBefore.After(clock.t) {
				later = append(later, tr)
			} else {
				due = append(due, tr)
			}
		}
		if n < 60 {
			id := fmt.Sprint("login-", n)
			came[id] = clock.t
			due = append(due, loginOf(id, clock.t))
		}
		if len(due) > 0 {
			got := p.meetsAFault(t, due...)
			waiting = append(later, got.retried...)
			for _, e := range got.events {
				if ids[e.ID] {
					t.Fatalf("two events have one id: %+v", e)
				}
				ids[e.ID] = true
				for _, r := range e.Triggers {
					tries[r.ID]++
					if e.Outcome == event.Failed {
						given[r.ID] = clock.t
					}
				}
			}
		}
		clock.t = clock.t.Add(5 * time.Minute)
		if n > 10_000 {
			t.Fatal("it never ends")
		}
	}
	if len(given) != 60 {
		t.Errorf("%d of 60 were given up", len(given))
	}
	for id, at := range given {
		if tries[id] != all || at.Sub(came[id]) < 24*time.Hour || !strings.HasPrefix(id, "login-") {
			t.Errorf("%s was given up after %d attempts within %s, want %d within a day", id, tries[id], at.Sub(came[id]), all)
		}
	}
}
