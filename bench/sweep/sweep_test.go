package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hotsync/embedded/embeddedtest"
)

// The engine is a child that runs this test binary again.
func TestMain(m *testing.M) { embeddedtest.Main(m) }

// The promises that do not depend on the machine, in small: the calls of every
// sweep, all drift repaired, and the next sweep at the cost of its lists.
func TestSmall(t *testing.T) {
	o := options{
		stripe: 400, zuora: 100, drift: 0.06, prime: 0.8, laps: 1, lap: time.Second, logins: 20, latency: 2 * time.Millisecond, output: "table",
	}
	r, err := measure(t.Context(), o, t.Logf)
	r.table(t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if r.Drifted != 24+6 || r.Wrong < r.Drifted || r.Left != 0 {
		t.Errorf("%d records drifted in %d objects, and %d differ still: %q", r.Drifted, r.Wrong, r.Left, r.LeftOver)
	}
	if len(r.Steps) != 8 {
		t.Errorf("%d sweeps, want 8", len(r.Steps))
	}
	for _, s := range r.Steps {
		// Limio's list may show a record just as it is being repaired: then it is
		// looked at once more, which in small is more than some percent.
		again := int(s.HandedOn) - s.Expected
		if again <= 0 || s.What != "repair" {
			continue
		}
		prefix := "sweep " + s.Sweep + " (repair) "
		r.Broken = slices.DeleteFunc(r.Broken, func(b string) bool { return strings.HasPrefix(b, prefix) })
		const look = 12
		if off := s.Made.minus(s.Formula); off.sum() < 0 || off.sum() > again*look || off.Writes != 0 {
			t.Errorf("%s; %d were looked at again", s, again)
		}
	}
	// How long anything takes is not for a test.
	r.Broken = slices.DeleteFunc(r.Broken, func(b string) bool { return slices.Contains(r.slower(o.full()), b) })
	if len(r.Broken) > 0 {
		t.Errorf("promises do not hold:\n%s", strings.Join(r.Broken, "\n"))
	}
	if len(r.Quiet) != 1 || r.Quiet[0].Logins == 0 || len(r.Busy) != 1 || r.Busy[0].Logins == 0 {
		t.Errorf("logins %+v, and during a sweep %+v", r.Quiet, r.Busy)
	}
}

// No part of the calls makes up for another, and what is not known is not kept.
func TestBroken(t *testing.T) {
	formula := calls{Zuora: 100, Limio: 300, Writes: 50}
	good := step{What: "repair", Sweep: "zuora-full", Expected: 40, HandedOn: 40, Formula: formula, Made: formula, Looks: 2.5}
	nothing := step{What: "next", Sweep: "zuora-full", Formula: calls{Zuora: 1000}, Made: calls{Zuora: 1000}}
	with := func(s step, change func(*step)) step {
		change(&s)
		s.Off = s.Made.off(s.Formula)
		return s
	}
	for name, c := range map[string]struct {
		step step
		want string // "": nothing is broken
	}{
		"all as it should be":           {good, ""},
		"a little off":                  {with(good, func(s *step) { s.Made.Limio += 6 }), ""},
		"one vendor's make up for it":   {with(good, func(s *step) { s.Made.Zuora += 3; s.Made.Limio -= 3 }), "+3.0 %"},
		"reads make up for writes":      {with(good, func(s *step) { s.Made.Limio += 2; s.Made.Writes -= 2 }), "-4.0 %"},
		"calls where none should be":    {with(good, func(s *step) { s.Made.Stripe = 1 }), "+100.0 %"},
		"one record more":               {with(good, func(s *step) { s.HandedOn++ }), "41 records"},
		"one record less":               {with(good, func(s *step) { s.HandedOn-- }), "39 records"},
		"four calls to Zuora for each":  {with(good, func(s *step) { s.Looks = 4 }), "4.00 calls"},
		"nothing to find":               {nothing, ""},
		"nothing to find, and one more": {with(nothing, func(s *step) { s.Made.Zuora++ }), "nothing to find"},
	} {
		got := strings.Join(c.step.broken(), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	for rss, want := range map[int64]bool{0: true, 200_000_000: false, 200_000_001: true} {
		if broken := len((&report{RSS: rss}).memory()) > 0; broken != want {
			t.Errorf("RSS %d is broken: %t", rss, broken)
		}
	}
	for _, c := range []struct {
		report report
		full   bool
		want   int
	}{
		{report{Ratio: 1.5, Busy: []lap{{Busy: 0.9}}}, true, 0},
		{report{Ratio: 1.51, Busy: []lap{{Busy: 0.9}}}, true, 1},
		{report{Ratio: 1, Busy: []lap{{Busy: 0.1}}}, true, 1},
		{report{Ratio: 4.9, Busy: []lap{{Busy: 0.1}}}, false, 0},
		{report{Ratio: 5.1, Busy: []lap{{Busy: 0.1}}}, false, 1},
	} {
		if got := c.report.slower(c.full); len(got) != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
