package demo_test

import (
	"testing"
	"time"

	"hotsync/sandbox/world"
)

// The road alone is right: every message arrives, no sweep ever runs, and each
// change is followed from the messages that it made itself, since nothing points
// at it a second time when the traffic is over. A sync that ends wrongly is seen
// here, where nobody repairs it before the judge looks.
func TestRoadWithoutSweeps(t *testing.T) {
	t.Parallel()
	r := newRig(t, world.Config{Seed: 5, Accounts: 60, Subscriptions: 100, Rate: 40, Duration: 10 * time.Second, Once: true})
	r.cfg.Sweeps.StripeEvents.Schedule, r.cfg.Sweeps.ZuoraChanged.Schedule = "", ""
	stop := r.daemon("road")
	r.traffic()
	r.await()
	report := r.judged(r.judge.AwaitEmpty)
	stop()

	if report.Sweeps.Runs > 0 {
		t.Errorf("%d sweeps ran", report.Sweeps.Runs)
	}
	if made := r.made; made.Lost > 0 || report.Triggers < int64(made.Messages()) || report.Outcomes["applied"] == 0 {
		t.Errorf("made %+v, %d triggers, outcomes %v", made, report.Triggers, report.Outcomes)
	}
	r.checkWrites()
	r.checkNothingStuck()
}
