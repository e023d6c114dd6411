package demo_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hotsync/demo"
	"hotsync/event"
)

// A demo without an end goes on until it is interrupted, then finishes what is
// under way and judges all the same. Sweeps have found what no webhook told of.
func TestDemoUntilInterrupted(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var begun sync.Once
	report, err := demo.Run(ctx, demo.Config{
		Seed: 3, Rate: 40, DataDir: t.TempDir(), Drain: patience,
		Progress: func(p demo.Progress) {
			if p.Triggers > 0 {
				begun.Do(func() { time.AfterFunc(20*time.Second, interrupt) })
			}
		},
	})
	must(t, err)
	t.Logf("produced %+v, outcomes %v, sweeps %+v", report.Produced, report.Outcomes, report.Sweeps)
	if !report.Clean() {
		t.Errorf("unanswered %d, lost %d, duplicates %d, drift %d, loops %d:\n%s",
			report.Unanswered, report.Lost, report.Duplicates, report.Drift, report.Loops, strings.Join(report.Findings, "\n"))
	}
	made := report.Produced
	if least := int64(made.Logins + made.Stripe); least == 0 || report.Triggers < least {
		t.Errorf("%d triggers were answered, of %d messages", report.Triggers, least)
	}
	rare := []event.Outcome{event.Observed, event.Failed} // chance brings them, in more time than this
	if report.Latency.P50 > 1000 {
		rare = append(rare, event.Suppressed, event.Deferred) // a change has settled, and a lock is gone, before so slow a machine looks
	}
	for _, o := range event.Outcomes() {
		if report.Outcomes[string(o)] == 0 && !slices.Contains(rare, o) {
			t.Errorf("nothing was %s", o)
		}
	}
	if s := report.Sweeps; s.Runs < 3 || s.Listed == 0 || s.HandedOn == 0 || s.Repaired == 0 || made.Lost == 0 {
		t.Errorf("%d webhooks were lost, and sweeps did %+v", made.Lost, s)
	}
}
