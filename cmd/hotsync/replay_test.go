package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/api"
	"hotsync/event"
)

func TestReplay(t *testing.T) {
	at := time.Date(2027, 1, 5, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		args string
		want api.ReplayAsk
	}{
		{"s1 s2 --why fixed", api.ReplayAsk{SyncIDs: []string{"s1", "s2"}, Why: "fixed", Cap: 1000, PerSecond: 20}},
		{"--never-processed --rate 5", api.ReplayAsk{NeverProcessed: true, Cap: 1000, PerSecond: 5}},
		{
			"--outcome failed --outcome deferred --reason forbidden --since 2027-01-05 --cap 5000 --id 20270105T100000.000Z-1a2b",
			api.ReplayAsk{Filter: &api.Filter{Outcome: []string{"failed", "deferred"}, Reason: []string{"forbidden"}, Since: at}, Cap: 5000, PerSecond: 20, ID: "20270105T100000.000Z-1a2b"},
		},
		{"--failed-since 2027-01-05T00:00:00Z", api.ReplayAsk{Filter: &api.Filter{Outcome: []string{"failed"}, AtSince: at}, Cap: 1000, PerSecond: 20}},
	}
	for _, tt := range tests {
		d := (&desk{matches: 5}).serve(t)
		args := append([]string{"replay"}, strings.Fields(tt.args)...)
		if got := run(t, args...); got.code != exitFinding || !strings.Contains(got.stderr, "say --yes") || len(d.all()) > 0 {
			t.Errorf("%s: without --yes got %+v, asked %v", tt.args, got, d.all())
		}
		got := run(t, append(args, "--yes")...)
		if got.code != exitFine || !strings.Contains(got.stdout, "replay/1: 3 records to be looked at, 1 more syncs of the same records, 1 passed over (about no record); the last one in 1m") {
			t.Errorf("%s: got %+v", tt.args, got)
		}
		if diff := cmp.Diff([]any{tt.want}, d.all()); diff != "" {
			t.Errorf("%s: %s", tt.args, diff)
		}
	}
}

// Whoever replays plans, or what applied one, is told what becomes of them.
func TestReplayOfPlans(t *testing.T) {
	d := (&desk{matches: 9, as: api.ReplayAsPlan, replay: api.ReplayAnswer{Run: "replay/1", Matched: 9, Scheduled: 4, Planned: 4, PassedOver: 5, Reviewed: 5}}).serve(t)
	got := run(t, "replay", "--run", "zuora-full/1", "--yes")
	if !strings.Contains(got.stdout, "4 records to be looked at, 4 of them as the plans that they were, without writing, 5 passed over (part of applying a reviewed plan: ") {
		t.Errorf("got %+v", got)
	}
	if got = run(t, "replay", "--run", "zuora-full/1"); !strings.Contains(got.stderr, "zuora:account:a1  failed/forbidden, as a plan  s1\n") {
		t.Errorf("got %+v", got)
	}
	d.replay = api.ReplayAnswer{Matched: 5, PassedOver: 5, Reviewed: 5}
	if got = run(t, "replay", "--run", "zuora-full/2", "--yes"); !strings.Contains(got.stdout, "no record to look at: 5 applied a reviewed plan") {
		t.Errorf("got %+v", got)
	}
}

func TestReplayPreview(t *testing.T) {
	d := (&desk{matches: 12}).serve(t)
	got := run(t, "replay", "--outcome", "failed", "-o", "json")
	if got.code != exitFinding || !strings.Contains(got.stdout, `"matches":12`) {
		t.Errorf("got %+v", got)
	}
	for _, want := range []string{"matching outcome=failed: 12 syncs\n", "zuora:account:a1  failed/forbidden  s1\n", "… and 11 more\n"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("%q is missing in %s", want, got.stderr)
		}
	}
	if got := run(t, "replay", "--outcome", "failed", "--cap", "10"); got.code != exitFinding || !strings.Contains(got.stderr, "more than the cap") {
		t.Errorf("got %+v", got)
	}
	d.matches = 0
	if got := run(t, "replay", "--outcome", "failed"); got.code != exitFine {
		t.Errorf("got %+v", got)
	}
	if len(d.all()) > 0 {
		t.Errorf("asked for %v", d.all())
	}
}

func aLetter() api.DeadLetter {
	return api.DeadLetter{
		ID: "d1", State: "open", Key: "login:message:x", Reason: event.ReasonBadToken, Error: "expired\x1b]0;pwned\a\nyesterday", Attempts: 1,
		Source: event.Coordinates{Topic: "auth.logins", Partition: 3, Offset: 17}, Headers: map[string]string{"source": "shop"},
		Trigger: &event.Trigger{ID: "t"}, Original: []byte("{\"a\":1}\x1b[2J"), Refusal: "it was too long",
	}
}
