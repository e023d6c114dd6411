package kafka

import "time"

// Stats is a snapshot of a consumer.
type Stats struct {
	Group string
	// Generation and Member are zero between generations.
	Generation int32
	Member     string
	// Joins counts the generations of this consumer; all but the first are rejoins.
	Joins, JoinErrors int64
	CommitErrors      int64
	// Rebuilds of readers by the stall watchdog, over all generations.
	Rebuilds int64
	// Indexes are the partition indexes of this member, of Total.
	Indexes    []int
	Total      int
	Partitions []PartitionStats
}

// Rejoins is how often the consumer has joined again.
func (s Stats) Rejoins() int64 { return max(0, s.Joins-1) }

// Lag is the sum over the partitions.
func (s Stats) Lag() (sum int64) {
	for _, p := range s.Partitions {
		sum += p.Lag
	}
	return sum
}

// PartitionStats is a snapshot of one topic's partition in the current generation.
type PartitionStats struct {
	Topic     string
	Partition int
	// Low is the offset below which everything is done, Committed what the group
	// has committed (-1: nothing), High the end of the partition at the last fetch.
	Low, Committed, High int64
	// Lag is High less Low.
	Lag int64
	// Queued records wait to be delivered, Open ones are delivered and not done.
	Queued, Open int
	// Rebuilds in this generation: several of them are a reason not to be ready.
	Rebuilds int
	// Fetched is when a fetch was last answered.
	Fetched time.Time
}

// Stats returns a snapshot.
func (c *Consumer) Stats() Stats {
	s := Stats{
		Group: c.cfg.Group, Joins: c.generations.Load(), JoinErrors: c.joinErrors.Load(),
		CommitErrors: c.commitErrors.Load(), Rebuilds: c.rebuilds.Load(),
	}
	c.mu.Lock()
	g := c.current
	c.mu.Unlock()
	if g == nil {
		return s
	}
	s.Generation, s.Member, s.Indexes, s.Total = g.id, g.member, g.Indexes(), g.total
	for _, a := range g.parts {
		a.mu.Lock()
		for _, l := range a.lanes {
			s.Partitions = append(s.Partitions, PartitionStats{
				Topic: l.topic, Partition: a.index, Low: l.track.low, Committed: l.committed, High: l.high, Lag: l.lag(),
				Queued: len(l.queue), Open: len(l.track.open), Rebuilds: l.rebuilds, Fetched: l.fetched,
			})
		}
		a.mu.Unlock()
	}
	return s
}
