package sweep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

func TestWhatEachSweepHandsOn(t *testing.T) {
	cases := map[string]struct {
		deep  bool
		reads []string
		want  []string
	}{
		ZuoraChanged: {
			reads: []string{"zuora changed account ", "zuora glimpses 2", "zuora changed subscription ", "zuora glimpses 2", "zuora changed subscription c1", "zuora glimpses 2"},
			want:  []string{"zuora:account:A1 billing_changed", "zuora:account:A2 billing_changed", "zuora:account:A4 billing_changed", "zuora:account:gone1 no_mark"},
		},
		ZuoraFull: {
			reads: []string{"zuora accounts ", "zuora accounts c1", "zuora accounts c2", "limio customer ", "limio subscription ", "limio subscription c1"},
			want: []string{
				"zuora:account:A1 billing_changed", "zuora:account:A2 billing_changed", "zuora:account:A4 billing_changed",
				"zuora:account:A2 limio_changed", "zuora:account:A3 limio_changed",
			},
		},
		StripeEvents: {
			reads: []string{"stripe events ", "stripe events c1"},
			want:  []string{"stripe:subscription:s1 event", "stripe:customer:cus_1 event"},
		},
		StripeDrift: {
			reads: []string{"stripe subscriptions ", "stripe subscriptions c1", "stripe subscriptions c2", "limio subscription ", "limio subscription c1"},
			want:  []string{"stripe:subscription:s2 billing_changed", "stripe:subscription:s2 limio_changed"},
		},
		LimioOrphans: {
			reads: []string{"limio subscription ", "limio subscription c1"},
			want:  []string{"limio:subscription:limio-9 unlinked"},
		},
		"deep " + ZuoraChanged: {
			reads: []string{"zuora changed account ", "zuora changed subscription ", "zuora changed subscription c1"},
			want:  []string{"zuora:account:A1 deep", "zuora:account:A2 deep", "zuora:account:A4 deep", "zuora:account:A3 deep", "zuora:account:gone1 deep"},
		},
		"deep " + StripeDrift: {
			reads: []string{"stripe subscriptions ", "stripe subscriptions c1", "stripe subscriptions c2", "limio subscription ", "limio subscription c1"},
			want:  []string{"stripe:subscription:s1 deep", "stripe:subscription:s2 deep", "stripe:subscription:s3 deep"},
		},
		"deep " + StripeEvents: {
			reads: []string{"stripe events ", "stripe events c1"},
			want:  []string{"stripe:subscription:s1 deep", "stripe:subscription:s2 deep", "stripe:customer:cus_1 deep"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.populate()
				l := w.start(t, w.config())
				defer l.end()
				sweep, deep := strings.CutPrefix(name, "deep ")
				w.request(t, sweep, Ask{Deep: deep})
				if diff := cmp.Diff(c.reads, w.reads); diff != "" {
					t.Errorf("pages read (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(c.want, w.keys()); diff != "" {
					t.Errorf("handed on (-want +got):\n%s", diff)
				}
				run := w.last(t, sweep)
				if s := run.Stats; run.Status != Done || s.Listed != s.Equal+s.HandedOn+s.Repeated || s.HandedOn != int64(len(c.want)) {
					t.Errorf("ended %s with %+v", run.Status, s)
				}
			})
		})
	}
}

func TestTriggersAndSummaryOfARun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		l := w.start(t, w.config())
		defer l.end()
		began := time.Now()
		w.request(t, StripeDrift, Ask{})
		run := w.last(t, StripeDrift)
		if want := "stripe-drift/20000101T000000Z-"; !strings.HasPrefix(run.ID, want) || len(run.ID) != len(want)+4 {
			t.Errorf("the run is called %s", run.ID)
		}
		trigger := event.Trigger{
			ID: event.Digest("sweep", run.ID, "stripe:subscription:s2"), Key: keyOf("s2"), Cause: event.CauseSweep, Type: "billing_changed",
			Delivery: run.ID, At: began, Received: began, Bulk: true,
		}
		verify := trigger
		verify.ID, verify.Type = event.Digest("sweep", run.ID, "stripe:subscription:s2", "verify"), "limio_changed"
		verify.Verify, verify.Limio = true, "sub-2"
		if diff := cmp.Diff([]event.Trigger{trigger, verify}, w.emitted); diff != "" {
			t.Errorf("triggers (-want +got):\n%s", diff)
		}
		summary := event.Event{
			SyncID: event.Digest("sync", event.Digest("sweep-run", run.ID)), Phase: event.Done, At: began, Outcome: event.Skipped, Reason: event.ReasonFannedOut,
			Note: "run by ann listed 9 records in 5 pages with calls to limio 2, stripe 3: 6 equal, 2 handed on (billing_changed 1, limio_changed 1), 1 of them again, in 0s",
			Key:  record.Key{System: "sweep", Kind: "run", ID: run.ID}, Cause: event.CauseSweep, Mode: "write", Attempt: 1,
			Triggers: []event.Ref{{ID: event.Digest("sweep-run", run.ID), Cause: event.CauseSweep, Type: "summary", Delivery: run.ID, At: began, Received: began}},
			Stats: map[string]int64{
				"pages": 5, "listed": 9, "equal": 6, "handed_on": 2, "repeated": 1,
				"handed_on.billing_changed": 1, "handed_on.limio_changed": 1, "calls.stripe": 3, "calls.limio": 2,
			},
			Instance: "one", Build: "test",
		}
		if err := summary.Identify(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]event.Event{summary}, w.events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		b, err := w.events[0].Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := event.DecodeEvent(b); err != nil {
			t.Errorf("the summary cannot be read: %v", err)
		}
	})
}

func TestNothingHandedOnIsInSync(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.drift = []record.Page{glimpses("s1")}
		w.working = true // there is nothing to wait for
		l := w.start(t, w.config())
		defer l.end()
		w.request(t, StripeDrift, Ask{Mode: Plan})
		if e := w.events[0]; e.Outcome != event.InSync || e.Reason != event.ReasonEqual || e.Mode != "observe" {
			t.Errorf("ended %s/%s in mode %s", e.Outcome, e.Reason, e.Mode)
		}
	})
}

func TestPlanAndApply(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		l := w.start(t, w.config())
		defer l.end()
		w.request(t, StripeDrift, Ask{Mode: Plan})
		plan := w.last(t, StripeDrift)
		for _, tr := range w.emitted {
			if !tr.Plan || tr.Base != "" {
				t.Errorf("trigger of a plan: %+v", tr)
			}
		}
		if e := w.events[0]; e.Outcome != event.Observed || e.Reason != event.ReasonWouldApply {
			t.Errorf("a plan ended %s/%s", e.Outcome, e.Reason)
		}
		w.emitted = nil
		w.request(t, StripeDrift, Ask{Mode: Apply, PlanOf: plan.ID})
		run := w.last(t, StripeDrift)
		now := time.Now()
		want := []event.Trigger{
			{ID: triggerID(run.ID, keyOf("s2"), true), Key: keyOf("s2"), Base: "p2", Limio: "sub-2"},
			{ID: triggerID(run.ID, keyOf("A1"), true), Key: keyOf("A1"), Base: "p1"},
		}
		for i := range want {
			want[i].Cause, want[i].Type, want[i].Delivery, want[i].Bulk, want[i].Verify = event.CauseSweep, "reviewed", run.ID, true, true
			want[i].At, want[i].Received = now, now
		}
		if diff := cmp.Diff(want, w.emitted); diff != "" {
			t.Errorf("triggers (-want +got):\n%s", diff)
		}
		if !slices.Contains(w.reads, "reviewed "+plan.ID+" c1") || run.Status != Done || run.Estimate != plan.Stats.HandedOn {
			t.Errorf("read %q, ended %s, estimate %d", w.reads, run.Status, run.Estimate)
		}
		if got := w.state(t, StripeDrift).Listed; got != plan.Stats.Listed {
			t.Errorf("an application counts as a list of %d records", got)
		}
	})
}

func TestHighWater(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		l := w.start(t, w.config())
		defer l.end()
		mark := func(want time.Time) {
			t.Helper()
			if got := w.state(t, ZuoraChanged).HighWater; !got.Equal(want) {
				t.Errorf("the mark is at %s, want %s", got, want)
			}
		}
		first := time.Now()
		w.request(t, ZuoraChanged, Ask{Mode: Plan})
		mark(time.Time{}) // a plan mends nothing
		pass(time.Hour)
		second := time.Now()
		w.request(t, ZuoraChanged, Ask{})
		mark(second)
		pass(time.Hour)
		third := time.Now()
		w.fail["zuora changed subscription c1"] = fault.Newf(fault.Refused, "no such cursor")
		w.request(t, ZuoraChanged, Ask{})
		mark(second) // it did not read everything
		delete(w.fail, "zuora changed subscription c1")
		w.request(t, ZuoraChanged, Ask{})
		mark(third)
		want := []time.Time{first.Add(-firstRun), second.Add(-firstRun), second.Add(-changedOverlap), second.Add(-changedOverlap)}
		var got []time.Time
		for _, run := range slices.Backward(w.state(t, ZuoraChanged).Last) {
			got = append(got, run.Since)
		}
		if !slices.ContainsFunc(w.since, want[2].Equal) {
			t.Errorf("the lists were asked for what changed since %s", w.since)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("read since (-want +got):\n%s", diff)
		}
	})
}

func TestEventsReachBackThirtyDays(t *testing.T) {
	now := time.Date(2026, 6, 30, 12, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		mark, since time.Time
		note        string
	}{
		"the first run":         {time.Time{}, now.Add(-24 * time.Hour), "the first run reads the events of the last 24 h"},
		"a quarter of an hour":  {now.Add(-15 * time.Minute), now.Add(-45 * time.Minute), ""},
		"nearly thirty days":    {now.Add(-eventsKept), now.Add(-eventsKept), ""},
		"more than thirty days": {now.AddDate(0, 0, -45), now.Add(-eventsKept), "events are known up to 2026-05-16T12:00:00Z and Stripe keeps 30 days of them, so some are gone: run stripe-drift"},
	}
	for name, c := range cases {
		since, note := eventsSince(c.mark, now)
		if !since.Equal(c.since) || !strings.HasPrefix(note, c.note) || (note == "") != (c.note == "") {
			t.Errorf("%s: since %s, note %q", name, since, note)
		}
	}
	bubble(t, func(t *testing.T, w *world) {
		l := w.start(t, w.config())
		defer l.end()
		w.request(t, StripeEvents, Ask{})
		pass(31 * 24 * time.Hour)
		w.request(t, StripeEvents, Ask{})
		if e := w.events[1]; !strings.Contains(e.Note, "run stripe-drift") {
			t.Errorf("the note of a run with a gap is %q", e.Note)
		}
	})
}

func TestUnreadablePage(t *testing.T) {
	const page = "stripe subscriptions c2"
	busy := fault.Newf(fault.RateLimited, "429")
	cases := map[string]struct {
		err   error
		after time.Duration // of the failure
		class fault.Class
		text  string
	}{
		"refused": {fault.Newf(fault.Refused, "bad cursor"), 0, fault.Refused, `stripe subscription list: page 3, after cursor "c2": bad cursor`},
		"a bug":   {errors.New("odd"), 0, fault.Bug, "odd"},
		"passing, for ever": {fmt.Errorf("list: %w", busy), 15 * time.Minute, fault.RateLimited,
			`stripe subscription list: page 3, after cursor "c2": given up after 21 attempts in 15m0s: list: 429`},
		"a wait beyond patience": {fault.After(fault.RateLimited, time.Hour, busy), 0, fault.RateLimited, "the wait of 1h0m0s that was asked for is longer"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.populate()
				l := w.start(t, w.config())
				defer l.end()
				w.fail[page] = c.err
				w.request(t, StripeDrift, Ask{})
				w.request(t, ZuoraFull, Ask{})
				pass(c.after)
				run := w.last(t, StripeDrift)
				if run.Status != Failed || run.Class != string(c.class) || !strings.Contains(run.Error, c.text) || run.Trouble != "" {
					t.Errorf("ended %s (%s): %s", run.Status, run.Class, run.Error)
				}
				if got := run.Ended.Sub(run.Started); got != c.after {
					t.Errorf("it took %s, want %s", got, c.after)
				}
				e := w.events[len(w.events)-1]
				if c.after == 0 {
					e = w.events[0]
				}
				if e.Outcome != event.Failed || e.Reason != event.ReasonIncomplete || e.Class != run.Class || e.Error != run.Error || !strings.Contains(e.Note, "not everything could be read") {
					t.Errorf("summary: %s/%s %s: %s", e.Outcome, e.Reason, e.Note, e.Error)
				}
				if got := w.last(t, ZuoraFull).Status; got != Done {
					t.Errorf("the other sweep is %s", got)
				}
			})
		})
	}
}

func TestPassingFaultHeals(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		l := w.start(t, w.config())
		defer l.end()
		w.fail["stripe subscriptions c2"] = fault.After(fault.Unavailable, 20*time.Second, errors.New("503"))
		w.request(t, StripeDrift, Ask{})
		st, err := StatusOf(w, StripeDrift, time.Now())
		if err != nil || st.Current == nil || !strings.Contains(st.Current.Late, "attempt 1 failed, the next is at 2000-01-01T00:00:20Z: 503") {
			t.Errorf("status %+v, %v", st.Current, err)
		}
		pass(30 * time.Second)
		w.set(func() { delete(w.fail, "stripe subscriptions c2") })
		pass(10 * time.Second)
		run := w.last(t, StripeDrift)
		if run.Status != Done || run.Stats.Calls["stripe"] != 5 || run.Stats.Pages != 5 {
			t.Errorf("ended %s with %+v: %s", run.Status, run.Stats, run.Error)
		}
	})
}

// What a page shows counts only when all of it could be read.
func TestHalfAPageIsNotHandedOn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var ids []string
		for i := range 2*GlimpsesAtOnce + 1 {
			ids = append(ids, fmt.Sprintf("A%03d", i))
			w.due[keyOf(ids[i])] = "billing_changed"
		}
		w.changes["account"] = [][]string{ids}
		l := w.start(t, w.config())
		defer l.end()
		w.fail["zuora glimpses 1"] = fault.Newf(fault.Forbidden, "403")
		w.request(t, ZuoraChanged, Ask{})
		if run := w.last(t, ZuoraChanged); run.Status != Failed || len(w.emitted) != 0 || run.Stats.Listed != 0 || run.Stats.Calls["zuora"] != 4 {
			t.Errorf("ended %s with %d triggers and %+v", run.Status, len(w.emitted), run.Stats)
		}
		delete(w.fail, "zuora glimpses 1")
		w.request(t, ZuoraChanged, Ask{})
		if run := w.last(t, ZuoraChanged); run.Status != Done || len(w.emitted) != len(ids) {
			t.Errorf("ended %s with %d triggers", run.Status, len(w.emitted))
		}
	})
}

func TestPanicOfAPageFailsItsRunOnly(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		w.list = func(_ context.Context, name, cursor string) error {
			if name == "stripe subscriptions" && cursor == "c1" {
				panic("odd record")
			}
			return nil
		}
		l := w.start(t, w.config())
		defer l.end()
		w.request(t, StripeDrift, Ask{})
		w.request(t, ZuoraFull, Ask{})
		if run := w.last(t, StripeDrift); run.Status != Failed || !strings.Contains(run.Error, `page 2, after cursor "c1": panic: odd record`) || run.Class != string(fault.Bug) {
			t.Errorf("ended %s: %s", run.Status, run.Error)
		}
		if run := w.last(t, ZuoraFull); run.Status != Done {
			t.Errorf("the other sweep is %s", run.Status)
		}
	})
}

func TestPanicOfThePlannerIsAnError(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		cfg := w.config()
		cfg.Emit = func(context.Context, []event.Trigger) error { panic("no writer") }
		l := w.start(t, cfg)
		w.request(t, StripeDrift, Ask{})
		if err := <-l.ended; err == nil || err.Error() != "plan sweep stripe-drift: panic: no writer" {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestAPageThatNamesItselfEndsTheRun(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		cfg := w.config()
		cfg.Lists.StripeSubscriptions = func(context.Context, string) (record.Page, error) { return record.Page{Next: "again"}, nil }
		l := w.start(t, cfg)
		defer l.end()
		w.request(t, StripeDrift, Ask{})
		if run := w.last(t, StripeDrift); run.Status != Failed || run.Stats.Pages != 1 {
			t.Errorf("ended %s after %d pages: %s", run.Status, run.Stats.Pages, run.Error)
		}
	})
}

func TestRunSettlesBeforeItIsDone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		w.working, w.noEnds = true, errors.New("no broker")
		l := w.start(t, w.config())
		defer l.end()
		w.request(t, StripeEvents, Ask{})
		started := time.Now()
		pass(10 * time.Hour)
		run := w.state(t, StripeEvents).Current
		if run == nil || run.Status != Settling || !strings.Contains(run.Trouble, "no broker") {
			t.Fatalf("without the ends of the topic: %+v", run)
		}
		w.set(func() { w.noEnds = nil })
		pass(10 * time.Hour)
		run = w.state(t, StripeEvents).Current
		if run == nil || run.Status != Settling || run.Trouble != "" || run.Ends[0] != 2 {
			t.Fatalf("while it is worked: %+v", run)
		}
		if got := w.state(t, StripeEvents).HighWater; !got.Equal(started) {
			t.Errorf("what was read is durable, and the mark is at %s", got)
		}
		if len(w.events) != 0 {
			t.Errorf("it ended too early: %+v", w.events)
		}
		w.set(func() { w.working = false })
		pass(5 * time.Second)
		if run := w.last(t, StripeEvents); run.Status != Done || run.Ends != nil || run.Ended.Sub(run.Started) <= 20*time.Hour {
			t.Errorf("ended %s after %s", run.Status, run.Ended.Sub(run.Started))
		}
	})
}

func TestRunsAreNeverCalledTheSame(t *testing.T) {
	r := newRunner(&Planner{cfg: newWorld().config()}, StripeDrift)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	first := r.newID(now, "cause")
	r.st.Last = []Run{{ID: first}}
	if second := r.newID(now, "cause"); second == first || len(second) != len(first) {
		t.Errorf("runs are called %s and %s", first, second)
	}
}
