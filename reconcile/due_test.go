package reconcile

import (
	"testing"
	"time"

	"hotsync/record"
)

func TestDue(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		mark record.Mark
		m    Memory
		want string
	}{
		"never seen":              {"a", Memory{}, WhyNeverSeen},
		"converged and unchanged": {"a", Memory{Mark: "a", Converged: "f"}, ""},
		"changed":                 {"b", Memory{Mark: "a", Converged: "f"}, WhyBilling},
		"the list shows too little": {
			"", Memory{Mark: "a", Converged: "f"}, WhyBilling,
		},
		"the last look failed":         {"a", Memory{Mark: "a"}, WhyNotConverged},
		"skipped lately":               {"a", Memory{Mark: "a", Skipped: now.Add(-day)}, ""},
		"skipped lately, then changed": {"b", Memory{Mark: "a", Skipped: now.Add(-day)}, WhyBilling},
		"skipped long ago":             {"a", Memory{Mark: "a", Skipped: now.Add(-8 * day)}, WhyNotConverged},
		"its time has come":            {"a", Memory{Mark: "a", Converged: "f", Until: now}, WhyTime},
		"its time will come":           {"a", Memory{Mark: "a", Converged: "f", Until: now.Add(1)}, ""},
		"settling":                     {"b", Memory{Mark: "a", SettleUntil: now.Add(time.Second)}, ""},
		"held":                         {"b", Memory{Mark: "a", HeldUntil: now.Add(time.Second)}, ""},
		"settled":                      {"a", Memory{Mark: "a", SettleUntil: now}, WhyNotConverged},
	} {
		t.Run(name, func(t *testing.T) {
			got, due := Due(record.Glimpse{Key: record.StripeSubscription("sub_1"), Mark: tt.mark}, tt.m, now, 7*day)
			if got != tt.want || due != (tt.want != "") {
				t.Errorf("due %v %q, want %q", due, got, tt.want)
			}
		})
	}
}

func TestStale(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const before, after = "2026-03-01T10:00:00.000Z", "2026-03-01T10:00:00.001Z"
	for name, tt := range map[string]struct {
		m       Memory
		updated string
		want    bool
	}{
		"as we left it":     {Memory{Converged: "f", Updated: before}, before, false},
		"touched":           {Memory{Converged: "f", Updated: before}, after, true},
		"never converged":   {Memory{Updated: before}, after, false}, // the other side of the sweep sees to it
		"touched, settling": {Memory{Converged: "f", Updated: before, SettleUntil: now.Add(1)}, after, false},
	} {
		if got := Stale(tt.m, tt.updated, now); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
