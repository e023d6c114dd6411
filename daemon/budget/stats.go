package budget

import "time"

// Stats is a budget at one moment.
type Stats struct {
	Service   string
	PerSecond float64 // of the fleet; 0: no limit
	Share     float64 // of this process, 0 to 1
	Limit     float64 // calls a second of this process when nothing is wrong; 0: no limit
	Rate      float64 // calls a second that it may make now; 0: no limit

	InFlight    int
	MaxInFlight int
	Waiting     map[Lane]int // all lanes are in it; calls for a token count as Login

	Breaker State
	// AwayUntil is when the next call is worth making; zero when it is now.
	AwayUntil time.Time

	// Since the start.
	Calls      uint64 // admitted
	Throttled  uint64 // answered that a limit was reached
	Locked     uint64 // answered that somebody else holds the object
	Failed     uint64 // not answered, or by a vendor in trouble
	TurnedAway uint64 // failed in Enter, without being sent

	// How well the rate was used while calls waited for nothing but the rate,
	// since the start: so many were admitted, so many it allowed, and so many of
	// these fell due while this process did not get to run. Some of the missed
	// ones are caught up with.
	Used            uint64
	Allowed, Missed float64
}

// Stats returns how things stand.
func (b *Budget) Stats() Stats {
	b.mu.Lock()
	defer b.unlock()
	now := b.cfg.Now()
	s := Stats{
		Service: b.cfg.Service, PerSecond: b.cfg.PerSecond, Share: b.limit.share, Limit: b.limit.full(), Rate: b.limit.rate(now),
		InFlight: b.flying, MaxInFlight: b.cfg.MaxInFlight, Waiting: map[Lane]int{}, Breaker: b.breaker.state,
		Calls: b.totals.calls, Throttled: b.totals.throttled, Locked: b.totals.locked, Failed: b.totals.failed,
		TurnedAway: b.totals.turnedAway, Used: b.use.calls, Allowed: b.use.allowed, Missed: b.use.missed,
	}
	for _, lane := range Lanes() {
		s.Waiting[lane] = 0
	}
	for i := range b.queues {
		s.Waiting[queue(i).lane()] += b.queues[i].Len()
	}
	for _, until := range []time.Time{b.pace.held, b.breaker.until} {
		if until.After(now) && until.After(s.AwayUntil) {
			s.AwayUntil = until
		}
	}
	return s
}
