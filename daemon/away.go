package daemon

import (
	"time"

	"hotsync/internal/fault"
)

// systems are the billing systems that are followed.
func (d *Daemon) systems() (out []string) {
	if d.vendors.zuora != nil {
		out = append(out, "zuora")
	}
	if d.vendors.stripe != nil {
		out = append(out, "stripe")
	}
	return out
}

// needed are the systems that work on a key of a system cannot do without. All
// of it ends in Limio; which billing system a Limio record belongs to is asked
// of Zuora, since those of Stripe name their subscription (package reconcile,
// LimioSubscriptions).
func needed(system string) []string {
	if system == "limio" {
		return []string{"limio", "zuora"}
	}
	return []string{"limio", system}
}

// away is how long work on the keys of a system finds one that it needs away; 0:
// it does not.
func (d *Daemon) away(system string) (longest time.Duration) {
	for _, name := range needed(system) {
		b, followed := d.budgets[name]
		if !followed {
			continue
		}
		if err := b.Away(); err != nil {
			longest = max(longest, fault.Wait(err), time.Millisecond)
		}
	}
	return longest
}

// longestLook bounds how long a partition looks away: something live may come.
const longestLook = 250 * time.Millisecond

// hold is how long a lane's bulk work should wait because a system that it needs
// is away (Invariant 7): it would be put off key by key, each with an event of
// its own. That is done after all when it has waited as long as it would be put
// off for, since a sweep ends no sooner than the work before its own; and when
// bulk work fills its share of the hand, where others may stand behind it.
func (p *partition) hold(next *lane) time.Duration {
	if !next.bulk || p.away == nil || p.lanes.bulk >= p.bulkShare() || p.now().Sub(next.readyAt) >= p.policy.First {
		return 0
	}
	return min(p.away(next.key.System), longestLook)
}

// bulkInHand bounds how many bulk triggers are read ahead for the workers: just
// enough to keep them busy.
const bulkInHand = 64

// bulkShare is how many bulk triggers are in hand at most, so that they never
// fill it.
func (p *partition) bulkShare() int { return max(1, p.cfg.InHand/2) }

// wantsBulk reports whether to read a further bulk trigger. What waits for a
// system that is away keeps nobody busy: it is read past.
func (p *partition) wantsBulk() bool {
	if p.lanes.bulk >= p.bulkShare() {
		return false
	}
	busy := p.lanes.bulk
	for system, n := range p.lanes.bulkOf {
		if p.away != nil && n > 0 && p.away(system) > 0 {
			busy -= n
		}
	}
	return busy < bulkInHand
}
