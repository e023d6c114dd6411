package sweep

import (
	"strings"
	"testing"
	"time"
)

func when(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestNextTimeOfASchedule(t *testing.T) {
	cases := map[string]struct {
		schedule   Schedule
		from, want string
	}{
		"fields are in UTC":            {Schedule{Spec: "0 2 * * *"}, "2026-03-01T03:00:00+04:00", "2026-03-01T02:00:00Z"},
		"a time zone":                  {Schedule{Spec: "0 2 * * *", Zone: "Europe/London"}, "2026-07-01T00:00:00Z", "2026-07-01T01:00:00Z"},
		"a zone of its own":            {Schedule{Spec: "CRON_TZ=America/New_York 0 2 * * *", Zone: "Europe/London"}, "2026-01-01T00:00:00Z", "2026-01-01T07:00:00Z"},
		"an hour that is not there":    {Schedule{Spec: "30 1 * * *", Zone: "Europe/London"}, "2026-03-29T00:00:00Z", "2026-03-30T00:30:00Z"},
		"every so often after another": {Schedule{Spec: "@every 15m"}, "2026-01-01T00:07:30Z", "2026-01-01T00:22:30Z"},
		"a word":                       {Schedule{Spec: " @daily "}, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
	}
	for name, c := range cases {
		tt, err := newTimetable("x", c.schedule)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		due, start := tt.next(when(t, c.from))
		if !due.Equal(when(t, c.want)) || !start.Equal(due) {
			t.Errorf("%s: due %s, start %s, want %s", name, due, start, c.want)
		}
	}
}

func TestNever(t *testing.T) {
	tt, err := newTimetable("x", Schedule{Zone: "Europe/London", Jitter: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	due, start := tt.next(when(t, "2026-01-01T00:00:00Z"))
	n, _, fresh := tt.passed(when(t, "2026-01-01T00:00:00Z"), when(t, "2036-01-01T00:00:00Z"))
	if !due.IsZero() || !start.IsZero() || n != 0 || fresh {
		t.Errorf("due %s, start %s, %d passed, fresh %v", due, start, n, fresh)
	}
}

func TestBadSchedules(t *testing.T) {
	cases := map[Schedule]string{
		{Spec: "often"}:                                  `sweep x: "often"`,
		{Spec: "0 2 * *"}:                                "want five fields",
		{Spec: "0 0 30 2 *"}:                             "never comes",
		{Spec: "@every soon"}:                            "@every soon",
		{Spec: "TZ=Europe/London"}:                       "nothing after the time zone",
		{Spec: "CRON_TZ= 0 2 * * * *"}:                   "want five fields",
		{Spec: "0 2 * * *", Zone: "Mars/Olympus"}:        "Mars/Olympus",
		{Spec: "0 2 * * *", Jitter: -time.Second}:        "negative",
		{Spec: "0 2 * * *", Zone: "Europe/London /etc/"}: "want five fields",
	}
	for s, want := range cases {
		if _, err := newTimetable("x", s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want it to say %q", s, err, want)
		}
	}
}

func TestJitterStaysWithinTheInterval(t *testing.T) {
	cases := []struct {
		jitter, most time.Duration
	}{{time.Minute, time.Minute}, {time.Hour, 10 * time.Minute}}
	for _, c := range cases {
		tt, err := newTimetable("zuora-full", Schedule{Spec: "*/10 * * * *", Jitter: c.jitter})
		if err != nil {
			t.Fatal(err)
		}
		other, err := newTimetable("stripe-drift", Schedule{Spec: "*/10 * * * *", Jitter: c.jitter})
		if err != nil {
			t.Fatal(err)
		}
		at, differ, spread := when(t, "2026-01-01T00:00:00Z"), 0, map[time.Duration]bool{}
		for range 200 {
			due, start := tt.next(at)
			_, again := tt.next(at)
			_, others := other.next(at)
			if late := start.Sub(due); late < 0 || late >= c.most {
				t.Fatalf("jitter %s: %s starts %s later", c.jitter, due, late)
			}
			if !again.Equal(start) {
				t.Fatalf("the start of %s is %s and %s", due, start, again)
			}
			if !others.Equal(start) {
				differ++
			}
			spread[start.Sub(due).Round(c.most/10)] = true
			at = due
		}
		if differ < 190 || len(spread) < 8 {
			t.Errorf("jitter %s: %d of 200 differ between sweeps, %d delays", c.jitter, differ, len(spread))
		}
	}
}

func TestPassed(t *testing.T) {
	tt, err := newTimetable("x", Schedule{Spec: "0 * * * *"})
	if err != nil {
		t.Fatal(err)
	}
	from := when(t, "2026-01-01T00:00:00Z")
	n, newest, fresh := tt.passed(from, when(t, "2026-01-01T03:59:00Z"))
	if n != 3 || !newest.Equal(when(t, "2026-01-01T03:00:00Z")) || !fresh {
		t.Errorf("%d passed up to %s, fresh %v", n, newest, fresh)
	}
	if n, newest, _ = tt.passed(from, from.Add(59*time.Minute)); n != 0 || !newest.Equal(from) {
		t.Errorf("%d passed up to %s", n, newest)
	}
	if n, newest, _ = tt.passed(from, from.AddDate(100, 0, 0)); n != manyMissed || !newest.Equal(from.AddDate(100, 0, 0)) {
		t.Errorf("%d passed up to %s after a hundred years", n, newest)
	}
}

// A missed run whose successor is about to start is not caught up.
func TestPassedIsNotFreshWhenTheNextIsDue(t *testing.T) {
	tt, err := newTimetable("zuora-full", Schedule{Spec: "0 * * * *", Jitter: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	from := when(t, "2026-01-01T00:00:00Z")
	_, start := tt.next(from)
	next, after := tt.next(from.Add(time.Hour))
	if n, _, fresh := tt.passed(from, start); n != 1 || !fresh {
		t.Errorf("at its start: %d passed, fresh %v", n, fresh)
	}
	if n, _, fresh := tt.passed(from, next); n != 1 || fresh || !after.After(next) {
		t.Errorf("once the next is due: %d passed, fresh %v", n, fresh)
	}
}

func TestRescheduleNamesEveryMistake(t *testing.T) {
	w := newWorld()
	cfg := w.config()
	cfg.Schedules = map[string]Schedule{ZuoraFull: {Spec: "x"}, StripeDrift: {Spec: "y"}, "nightly": {}}
	_, err := New(cfg)
	for _, want := range []string{`zuora-full: "x"`, `stripe-drift: "y"`, "nightly: there is no such sweep"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %s", err, want)
		}
	}
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "Fence is not set") {
		t.Errorf("an empty config: %v", err)
	}
}
