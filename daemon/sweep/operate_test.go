package sweep

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// hourly is a config in which one sweep runs by itself.
func (w *world) hourly(name string) Config {
	cfg := w.config()
	cfg.Schedules = map[string]Schedule{name: {Spec: "0 * * * *"}}
	return cfg
}

func TestScheduledRuns(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		cfg := w.hourly(StripeDrift)
		cfg.Schedules[StripeDrift] = Schedule{Spec: "0 * * * *", Jitter: 10 * time.Minute, Deep: true}
		l := w.start(t, cfg)
		defer l.end()
		began := time.Now()
		pass(3*time.Hour + 30*time.Minute)
		s := w.state(t, StripeDrift)
		if len(s.Last) != 3 || s.Missed != 0 || s.Overlaps != 0 || !s.LastDue.Equal(began.Add(3*time.Hour)) {
			t.Fatalf("%d runs, %d missed, %d overlaps, last due %s", len(s.Last), s.Missed, s.Overlaps, s.LastDue)
		}
		delays := map[time.Duration]bool{}
		for i, run := range slices.Backward(s.Last) {
			late := run.Started.Sub(began.Add(time.Duration(3-i) * time.Hour))
			if late < 0 || late >= 10*time.Minute || run.By != "schedule" || !run.Deep || run.Mode != Repair {
				t.Errorf("run %s started %s late by %s, deep %v, mode %s", run.ID, late, run.By, run.Deep, run.Mode)
			}
			delays[late] = true
		}
		if len(delays) == 1 {
			t.Error("all runs were late by the same time")
		}
		if got := len(w.state(t, ZuoraFull).Last); got != 0 {
			t.Errorf("a sweep without a schedule ran %d times", got)
		}
	})
}

func TestOverlapIsSkippedAndCounted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		w.working = true
		l := w.start(t, w.hourly(StripeDrift))
		defer l.end()
		pass(4*time.Hour + time.Minute)
		s := w.state(t, StripeDrift)
		if s.Current == nil || len(s.Last) != 0 || s.Overlaps != 3 || s.Missed != 0 {
			t.Fatalf("%d ended, %d overlaps, %d missed", len(s.Last), s.Overlaps, s.Missed)
		}
		w.set(func() { w.working = false })
		pass(time.Hour)
		if s = w.state(t, StripeDrift); len(s.Last) != 2 || s.Overlaps != 3 {
			t.Errorf("%d ended, %d overlaps", len(s.Last), s.Overlaps)
		}
	})
}

func TestMissedRunsAreCountedAndTheNewestCaughtUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		l := w.start(t, w.hourly(StripeDrift))
		l.end()
		pass(3*time.Hour + 30*time.Minute)
		l = w.start(t, w.hourly(StripeDrift))
		s := w.state(t, StripeDrift)
		if s.Missed != 3 || len(s.Last) != 1 || s.Last[0].By != "catch-up" {
			t.Fatalf("%d missed, runs %+v", s.Missed, s.Last)
		}
		pass(time.Hour)
		l.end()
		l = w.start(t, w.hourly(StripeDrift)) // a hand-over in between misses nothing
		defer l.end()
		pass(time.Hour)
		if s = w.state(t, StripeDrift); s.Missed != 3 || len(s.Last) != 3 || s.Last[0].By != "schedule" {
			t.Errorf("%d missed, runs %+v", s.Missed, s.Last)
		}
	})
}

func TestUnfinishedRunGoesOnInsteadOfACatchUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		w.working = true
		l := w.start(t, w.hourly(StripeDrift))
		pass(time.Hour)
		l.end()
		pass(2 * time.Hour)
		w.working = false
		l = w.start(t, w.hourly(StripeDrift))
		defer l.end()
		if s := w.state(t, StripeDrift); len(s.Last) != 1 || s.Missed != 2 || s.Overlaps != 0 || s.Last[0].By != "schedule" {
			t.Errorf("%d missed, %d overlaps, runs %+v", s.Missed, s.Overlaps, s.Last)
		}
	})
}

func TestAnotherScheduleMissesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		l := w.start(t, w.config())
		defer l.end()
		pass(100 * time.Hour)
		if err := l.planner.Reschedule(map[string]Schedule{StripeDrift: {Spec: "@every 10m"}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := w.state(t, StripeDrift); s.Missed != 0 || len(s.Last) != 0 || !s.Next.Equal(time.Now().Add(10*time.Minute)) {
			t.Fatalf("%d missed, %d runs, next %s", s.Missed, len(s.Last), s.Next)
		}
		pass(25 * time.Minute)
		if s := w.state(t, StripeDrift); len(s.Last) != 2 {
			t.Errorf("%d runs", len(s.Last))
		}
		if err := l.planner.Reschedule(map[string]Schedule{StripeDrift: {Spec: "often"}}); err == nil {
			t.Error("a bad schedule was taken")
		}
		pass(10 * time.Minute)
		if s := w.state(t, StripeDrift); len(s.Last) != 3 || s.Missed != 0 {
			t.Errorf("%d runs after a bad schedule, %d missed", len(s.Last), s.Missed)
		}
	})
}

func TestClockSetBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		cfg := w.hourly(StripeDrift)
		cfg.Now = func() time.Time { return time.Now().AddDate(5, 0, 0) }
		w.start(t, cfg).end()
		l := w.start(t, w.hourly(StripeDrift))
		defer l.end()
		pass(time.Hour)
		if s := w.state(t, StripeDrift); len(s.Last) != 1 || s.Missed != 0 {
			t.Errorf("%d runs, %d missed", len(s.Last), s.Missed)
		}
	})
}

func TestPauseStopsTheScheduleAndIsNotMissed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		l := w.start(t, w.hourly(StripeDrift))
		defer func() { l.end() }()
		if err := Pause(t.Context(), operator{w}, StripeDrift, "ann", time.Now()); err != nil {
			t.Fatal(err)
		}
		pass(150 * time.Minute)
		l.end()
		pass(2 * time.Hour)
		l = w.start(t, w.hourly(StripeDrift))
		st, err := StatusOf(w, StripeDrift, time.Now())
		if err != nil || !st.Hold.Paused || st.Hold.By != "ann" || !st.Next.IsZero() {
			t.Errorf("status %+v, %v", st, err)
		}
		if s := w.state(t, StripeDrift); len(s.Last) != 0 || s.Missed != 0 || s.Current != nil || s.SkippedPaused != 4 || st.SkippedPaused != 4 {
			t.Fatalf("%d runs, %d missed, %d skipped in the pause", len(s.Last), s.Missed, s.SkippedPaused)
		}
		if err := Resume(t.Context(), operator{w}, StripeDrift, "bob", time.Now()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := w.state(t, StripeDrift); len(s.Last) != 0 || s.Missed != 0 {
			t.Fatalf("a resume made %d runs, %d missed", len(s.Last), s.Missed)
		}
		pass(time.Hour)
		if s := w.state(t, StripeDrift); len(s.Last) != 1 {
			t.Errorf("%d runs after the pause", len(s.Last))
		}
	})
}

func TestPauseBetweenPages(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		w.pageCost = time.Minute
		l := w.start(t, w.config())
		defer func() { l.end() }()
		w.request(t, StripeDrift, Ask{})
		pass(90 * time.Second) // the second page is being read
		if err := Pause(t.Context(), operator{w}, StripeDrift, "ann", time.Now()); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		l.end()
		l = w.start(t, w.config()) // a pause survives a hand-over
		pass(time.Hour)
		st, err := StatusOf(w, StripeDrift, time.Now())
		if err != nil || st.Current == nil || !st.Current.Paused || st.Current.Run.Cursor != "c2" || !st.Current.ETA.IsZero() {
			t.Fatalf("status %+v, %v", st.Current, err)
		}
		if got := st.Current.PerSecond; got < 0.016 || got > 0.017 {
			t.Errorf("two records in two minutes are %f a second", got)
		}
		if err := Resume(t.Context(), operator{w}, StripeDrift, "ann", time.Now()); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Minute)
		want := []string{"stripe subscriptions ", "stripe subscriptions c1", "stripe subscriptions c2", "limio subscription ", "limio subscription c1"}
		if run := w.last(t, StripeDrift); run.Status != Done || !slices.Equal(w.reads, want) {
			t.Errorf("ended %s having read %q", run.Status, w.reads)
		}
	})
}

func TestPauseGivesPatienceBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		w.fail["stripe subscriptions c1"] = fault.Newf(fault.Unavailable, "503")
		l := w.start(t, w.config())
		defer l.end()
		w.request(t, StripeDrift, Ask{})
		pass(14 * time.Minute)
		if err := Pause(t.Context(), operator{w}, StripeDrift, "ann", time.Now()); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		if err := Resume(t.Context(), operator{w}, StripeDrift, "ann", time.Now()); err != nil {
			t.Fatal(err)
		}
		pass(14 * time.Minute)
		w.set(func() { delete(w.fail, "stripe subscriptions c1") })
		pass(time.Minute)
		if run := w.last(t, StripeDrift); run.Status != Done {
			t.Errorf("ended %s: %s", run.Status, run.Error)
		}
	})
}

func TestCancel(t *testing.T) {
	cases := map[string]struct {
		prepare func(w *world)
		outcome event.Outcome
		note    string
	}{
		"between pages":    {func(w *world) { w.pageCost = time.Minute }, event.Failed, "; cancelled by ann before everything was read"},
		"while waiting":    {func(w *world) { w.fail["stripe events c1"] = fault.Newf(fault.Unavailable, "503") }, event.Failed, "cancelled by ann before"},
		"while it settles": {func(w *world) { w.working = true }, event.Skipped, "; cancelled by ann while what was handed on was being worked"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.populate()
				c.prepare(w)
				l := w.start(t, w.config())
				defer l.end()
				w.request(t, StripeEvents, Ask{})
				pass(30 * time.Second)
				id := w.request(t, StripeEvents, Ask{Action: Cancel})
				pass(time.Minute)
				s, run := w.state(t, StripeEvents), w.last(t, StripeEvents)
				if run.Status != Cancelled || s.Handled.ID != id || s.Handled.Run != run.ID || s.Current != nil {
					t.Errorf("ended %s, handled %+v", run.Status, s.Handled)
				}
				if len(w.events) != 1 || w.events[0].Outcome != c.outcome || !strings.Contains(w.events[0].Note, c.note) {
					t.Errorf("summaries %+v", w.events)
				}
				if moved := !s.HighWater.IsZero(); moved != (c.outcome == event.Skipped) {
					t.Errorf("the mark moved: %v", moved)
				}
				w.set(func() { w.pageCost, w.working, w.fail = 0, false, nil })
				w.request(t, StripeEvents, Ask{})
				if got := w.last(t, StripeEvents).Status; got != Done {
					t.Errorf("the next run is %s", got)
				}
			})
		})
	}
}

func TestRequestsThatCannotBe(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		w.working = true
		ctx, op := t.Context(), operator{w}
		refused := func(class fault.Class, text, name string, ask Ask) {
			t.Helper()
			ask.By, ask.At = "ann", time.Now()
			if _, err := Request(ctx, op, name, ask); fault.Of(err) != class || !strings.Contains(err.Error(), text) {
				t.Errorf("%+v of %s: %v (%s), want %s: %s", ask, name, err, fault.Of(err), class, text)
			}
		}
		refused(fault.NotFound, "no instance has planned", StripeDrift, Ask{Action: Start})
		cfg := w.config()
		cfg.Lists.ZuoraAccounts = nil
		l := w.start(t, cfg)
		defer l.end()
		refused(fault.NotFound, "want one of zuora-changed, zuora-full", "nightly", Ask{Action: Start})
		refused(fault.NotFound, "is off", ZuoraFull, Ask{Action: Start})
		refused(fault.Refused, "want run or cancel", StripeDrift, Ask{Action: "stop"})
		refused(fault.Refused, "want repair, plan or apply", StripeDrift, Ask{Action: Start, Mode: "write"})
		refused(fault.Refused, "plan_of is empty", StripeDrift, Ask{Action: Start, Mode: Apply})
		refused(fault.Refused, "no run of sweep", StripeDrift, Ask{Action: Start, Mode: Apply, PlanOf: "zuora-full/x"})
		refused(fault.Refused, "deep has no meaning", StripeDrift, Ask{Action: Start, Mode: Apply, PlanOf: "stripe-drift/x", Deep: true})
		refused(fault.Refused, "goes with mode apply", StripeDrift, Ask{Action: Start, PlanOf: "stripe-drift/x"})
		first := w.request(t, StripeDrift, Ask{ID: "mine"})
		refused(fault.Locked, "is under way (settling)", StripeDrift, Ask{Action: Start})
		if again := w.request(t, StripeDrift, Ask{ID: "mine"}); again != first {
			t.Errorf("the same request again is %s", again)
		}
		if err := Pause(ctx, op, LimioOrphans, "bob", time.Now()); err != nil {
			t.Fatal(err)
		}
		refused(fault.Locked, "is paused since 2000-01-01T00:00:00Z by bob", LimioOrphans, Ask{Action: Start})
		if err := Pause(ctx, op, "nightly", "bob", time.Now()); fault.Of(err) != fault.NotFound {
			t.Errorf("a pause of a sweep that there is not: %v", err)
		}
		if _, err := StatusOf(w, "nightly", time.Now()); fault.Of(err) != fault.NotFound {
			t.Errorf("the status of a sweep that there is not: %v", err)
		}
		if st, err := StatusOf(w, ZuoraFull, time.Now()); err != nil || !st.Off || !st.Planned {
			t.Errorf("the status of a sweep that is off: %+v, %v", st, err)
		}
	})
}

// What two instances write at the same time, the planner sorts out.
func TestRequestsThatCollide(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		w.working = true
		cfg := w.config()
		cfg.Lists.Reviewed, cfg.Lists.ZuoraAccounts = nil, nil
		l := w.start(t, cfg)
		defer l.end()
		w.request(t, StripeDrift, Ask{})
		run := w.state(t, StripeDrift).Current.ID
		cases := []struct {
			name, answer string
			ask          Ask
		}{
			{StripeDrift, "skipped: run " + run + " is under way", Ask{Action: Start}},
			{StripeDrift, "refused: action", Ask{Action: "stop"}},
			{LimioOrphans, "no run is under way", Ask{Action: Cancel}},
			{LimioOrphans, "refused: there is no place", Ask{Action: Start, Mode: Apply, PlanOf: "limio-orphans/x"}},
			{ZuoraFull, "refused: what the sweep reads is not configured", Ask{Action: Start}},
		}
		for i, c := range cases {
			c.ask.ID = "r" + string(rune('0'+i))
			if err := encode(t.Context(), operator{w}, AskKey(c.name), c.ask); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if h := w.state(t, c.name).Handled; h.ID != c.ask.ID || !strings.HasPrefix(h.Answer, c.answer) || h.Run != "" {
				t.Errorf("%+v of %s: handled %+v", c.ask, c.name, h)
			}
		}
		if s := w.state(t, StripeDrift); s.Overlaps != 1 || s.Current.ID != run {
			t.Errorf("%d overlaps, current %+v", s.Overlaps, s.Current)
		}
	})
}

func TestRequestWaitsForAPlanner(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		l := w.start(t, w.config())
		l.end()
		id := w.request(t, StripeDrift, Ask{})
		st, err := StatusOf(w, StripeDrift, time.Now())
		if err != nil || st.Pending == nil || st.Pending.ID != id {
			t.Errorf("status %+v, %v", st, err)
		}
		if _, err := Request(t.Context(), operator{w}, StripeDrift, Ask{Action: Start, By: "bob", At: time.Now()}); fault.Of(err) != fault.Locked {
			t.Errorf("a second request: %v", err)
		}
		l = w.start(t, w.config())
		defer l.end()
		if st, err = StatusOf(w, StripeDrift, time.Now()); err != nil || st.Pending != nil || st.Handled.Run != st.Last[0].ID {
			t.Errorf("status %+v, %v", st, err)
		}
	})
}

func TestProgress(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		w.pageCost = 10 * time.Second
		l := w.start(t, w.config())
		defer l.end()
		w.request(t, StripeDrift, Ask{})
		pass(25 * time.Second) // two pages of two and no records
		st, err := StatusOf(w, StripeDrift, time.Now())
		if err != nil || st.Current == nil || st.Current.Done != 2 || st.Current.Total != 0 || st.Current.Estimated || st.Current.PerSecond != 0.1 || !st.Current.ETA.IsZero() {
			t.Fatalf("the first run: %+v, %v", st.Current, err)
		}
		pass(time.Minute)
		w.request(t, StripeDrift, Ask{})
		pass(25 * time.Second)
		st, err = StatusOf(w, StripeDrift, time.Now())
		if p := st.Current; err != nil || p == nil || p.Done != 2 || p.Total != 9 || !p.Estimated || p.HandedOn != 1 || !p.ETA.Equal(time.Now().Add(70*time.Second)) {
			t.Fatalf("the second run: %+v, %v", p, err)
		}
		w.set(func() { w.working = true })
		pass(time.Minute)
		st, err = StatusOf(w, StripeDrift, time.Now())
		if p := st.Current; err != nil || p == nil || p.Run.Status != Settling || p.Done != 9 || p.Total != 9 || p.Estimated || !p.ETA.IsZero() {
			t.Errorf("settling: %+v, %v", p, err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		pages := map[int64]bool{}
		for _, s := range w.observed {
			if s.Name == StripeDrift && s.Current != nil {
				pages[s.Current.Stats.Pages] = true
			}
		}
		if len(pages) != 6 {
			t.Errorf("progress was shown after %d pages of 0 to 5", len(pages))
		}
	})
}

func TestFence(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		lost := errors.New("partition 0 went elsewhere")
		w.fenced = lost
		l := w.start(t, w.config())
		if err := <-l.ended; !errors.Is(err, lost) || len(w.values) != 0 {
			t.Fatalf("ended with %v having written %d records", err, len(w.values))
		}
		w.fenced = nil
		w.pageCost = time.Minute
		l = w.start(t, w.config())
		w.request(t, StripeDrift, Ask{})
		w.set(func() { w.fenced = lost })
		before := len(w.values)
		if err := <-l.ended; !errors.Is(err, lost) || len(w.emitted) != 0 || len(w.values) != before {
			t.Errorf("ended with %v having handed on %q", err, w.keys())
		}
	})
}

func TestRunEndsWithItsContextWhileAPageIsRead(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		w.list = func(ctx context.Context, _, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
		l := w.start(t, w.config())
		w.request(t, StripeDrift, Ask{})
		l.end()
		if run := w.state(t, StripeDrift).Current; run == nil || run.Status != Running {
			t.Errorf("the run is %+v", run)
		}
	})
}

func TestSweepIsSwitchedOffInTheMiddle(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		w.pageCost = time.Minute
		l := w.start(t, w.hourly(StripeDrift))
		w.request(t, StripeDrift, Ask{})
		l.end()
		cfg := w.hourly(StripeDrift)
		cfg.Lists.StripeSubscriptions = nil
		l = w.start(t, cfg)
		if run := w.last(t, StripeDrift); run.Status != Failed || !strings.Contains(run.Error, "not configured any more") {
			t.Errorf("ended %s: %s", run.Status, run.Error)
		}
		pass(3 * time.Hour)
		if s := w.state(t, StripeDrift); !s.Off || s.Missed != 0 || len(s.Last) != 1 || !s.Next.IsZero() {
			t.Errorf("off %v, %d missed, %d runs", s.Off, s.Missed, len(s.Last))
		}
		l.end()
		l = w.start(t, w.hourly(StripeDrift))
		defer l.end()
		pass(time.Hour + time.Minute)
		if s := w.state(t, StripeDrift); s.Off || s.Missed != 0 || s.Current == nil {
			t.Errorf("back again: off %v, %d missed, current %+v", s.Off, s.Missed, s.Current)
		}
	})
}

func TestLostStateRunsNoRequestTwice(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		l := w.start(t, w.config())
		w.request(t, StripeDrift, Ask{})
		l.end()
		w.values[StateKey(StripeDrift)] = []byte("{")
		if _, err := StatusOf(w, StripeDrift, time.Now()); err == nil {
			t.Error("a state that cannot be read is shown")
		}
		w.put(HoldKey(StripeDrift), []byte("{"))
		w.put(AskKey(LimioOrphans), []byte("{"))
		l = w.start(t, w.config())
		defer l.end()
		if s := w.state(t, StripeDrift); len(s.Last) != 0 || s.Current != nil || s.Handled.Answer == "" {
			t.Errorf("state %+v", s)
		}
	})
}

func TestOnlyTenRunsAreKept(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.drift = []record.Page{glimpses("s1")}
		l := w.start(t, w.config())
		defer l.end()
		for range 12 {
			w.request(t, StripeDrift, Ask{})
		}
		ids := map[string]bool{}
		for _, run := range w.state(t, StripeDrift).Last {
			ids[run.ID] = true
		}
		if len(ids) != 10 || len(w.events) != 12 {
			t.Errorf("%d runs are kept, %d were recorded", len(ids), len(w.events))
		}
	})
}

func TestSeenIsBounded(t *testing.T) {
	s := newSeen(100)
	key := func(n int) record.Key { return record.StripeSubscription(string(rune(n))) }
	for n := range 10_000 {
		if s.before(key(n), false) {
			t.Fatalf("key %d was never seen", n)
		}
		if n%7 == 0 && !s.before(key(n), false) {
			t.Fatalf("key %d was seen just now", n)
		}
		if len(s.recent)+len(s.older) > 200 {
			t.Fatalf("%d keys are held", len(s.recent)+len(s.older))
		}
	}
	verified := record.StripeSubscription("v")
	got := []bool{s.before(verified, false), s.before(verified, true), s.before(verified, true), s.before(verified, false)}
	if !slices.Equal(got, []bool{false, false, true, true}) {
		t.Errorf("seen before: %v", got)
	}
}
