package reconcile

import (
	"time"

	"hotsync/record"
)

// Why a sweep hands a record on: the type of its trigger.
const (
	WhyNeverSeen    = "never_seen"      // nothing is remembered of it
	WhyBilling      = "billing_changed" // the billing system shows something else than it did
	WhyTime         = "time_passed"     // the billing system shows the same, which by now means something else
	WhyNotConverged = "not_converged"   // the last look did not end well
	WhyLimio        = "limio_changed"   // somebody else has touched the Limio record
	WhyUnlinked     = "unlinked"        // nothing is known to own the Limio record
)

// Due reports whether a record that a list of the billing system shows must be
// looked at, and why. A record that was found converged, or none of hotsync's
// business, is left alone until the list shows something else, or so much time
// has passed that the same means something else (Memory.Until); the latter is
// looked at again after recheck, since what was missing may have come. A record
// whose time to be looked at is set already is left to it.
func Due(g record.Glimpse, m Memory, now time.Time, recheck time.Duration) (why string, due bool) {
	settled := m.Converged != "" || now.Sub(m.Skipped) < recheck
	switch {
	case now.Before(m.SettleUntil), now.Before(m.HeldUntil):
		return "", false
	case m.Mark == "":
		return WhyNeverSeen, true
	case g.Mark == "" || g.Mark != m.Mark:
		return WhyBilling, true
	case !m.Until.IsZero() && !now.Before(m.Until):
		return WhyTime, true
	case !settled:
		return WhyNotConverged, true
	}
	return "", false
}

// Stale reports whether somebody else has touched a Limio record since it was
// found converged. updated is the stamp that Limio's list shows of it.
func Stale(m Memory, updated string, now time.Time) bool {
	return m.Converged != "" && updated > m.Updated && !now.Before(m.SettleUntil) && !now.Before(m.HeldUntil)
}
