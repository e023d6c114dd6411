package world

import (
	"testing"
	"time"

	"hotsync/sandbox/httpsim"
)

var began = time.Date(2027, 2, 10, 9, 30, 0, 0, time.UTC)

func small(t *testing.T) *World {
	t.Helper()
	return New(Config{Seed: 7, Clock: httpsim.FrozenClock(began), Accounts: 30, Subscriptions: 30})
}

func report(t *testing.T, what string, got []Difference) {
	t.Helper()
	for _, d := range got {
		t.Errorf("%s: %s", what, d)
	}
}

func TestAnUntouchedWorldDriftsOnlyWhereItWasTold(t *testing.T) {
	w := small(t)
	drifted := map[string]bool{}
	for _, a := range w.Accounts() {
		if a.Drifted {
			drifted[a.ID] = true
		}
	}
	for _, s := range w.Subscriptions() {
		if s.Drifted {
			drifted[s.ID] = true
		}
	}
	if len(drifted) < 8 {
		t.Fatalf("only %d records were seeded as drifted", len(drifted))
	}
	found := map[string]bool{}
	for _, d := range w.Drift() {
		found[d.ID] = true
		if !drifted[d.ID] {
			t.Errorf("was seeded as equal: %s", d)
		}
	}
	for id := range drifted {
		if !found[id] {
			t.Errorf("%s was seeded as drifted and shows no difference", id)
		}
	}
	for _, l := range w.Loops() {
		t.Errorf("nobody wrote, and yet: %s", l)
	}
}
