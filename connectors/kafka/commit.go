package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// commitItem is one offset to commit for one lane.
type commitItem struct {
	part *Assignment
	lane *lane
	Commit
	explicit bool // asked for with this very offset and metadata
}

// commit sends items to the coordinator as this generation, one request at a
// time (hazard 6), never below what was committed, and refuses when the
// generation is over. The broker refuses it too when it knows a later one
// (hazard 1): that is ErrStale and ends the generation.
func (g *Generation) commit(ctx context.Context, items []commitItem) error {
	select {
	case g.committing <- struct{}{}:
		defer func() { <-g.committing }()
	case <-ctx.Done():
		return fmt.Errorf("commit for group %s: %w", g.group, ctx.Err())
	}
	return g.commitAlone(ctx, items)
}

// commitAlone is commit for the holder of the committing token.
func (g *Generation) commitAlone(ctx context.Context, items []commitItem) error {
	if g.over.Load() {
		return fmt.Errorf("commit for group %s as generation %d: %w", g.group, g.id, ErrGenerationEnded)
	}
	items, err := g.allowed(items)
	if err != nil || len(items) == 0 {
		return err
	}
	// One deadline of its own for all tries: see CommitWithMetadata.
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.consumer.commitLimit())
	defer cancel()
	var asked time.Time
	for pause := 20 * time.Millisecond; ; pause *= 2 {
		asked = time.Now()
		err = g.sendCommit(own, items)
		if err == nil || stale(err) || !temporary(err) || ctx.Err() != nil || !sleep(own, pause) {
			break
		}
	}
	for _, it := range items {
		it.part.mu.Lock()
		it.lane.unsure = err != nil
		if err == nil {
			it.lane.committed, it.lane.metadata = it.Offset, it.Metadata
		}
		it.part.mu.Unlock()
	}
	if stale(err) {
		g.fence(err)
		err = errors.Join(ErrStale, err)
	}
	if err != nil {
		return fmt.Errorf("commit for group %s as generation %d: %w", g.group, g.id, err)
	}
	g.confirmed.Store(&asked)
	return nil
}

// proof lists a commit that changes nothing: what is due, or else what some
// partition has committed already, which the broker answers by the same rules.
func (g *Generation) proof() []commitItem {
	var items []commitItem
	for _, a := range g.parts {
		items = append(items, a.due()...)
	}
	for _, a := range g.parts {
		a.mu.Lock()
		for _, l := range a.lanes {
			switch {
			case len(items) > 0:
			case !l.manual:
				items = append(items, commitItem{part: a, lane: l, Commit: Commit{Offset: l.track.low}, explicit: true})
			case !l.unsure: // else the broker may have more than we know, and it would go back
				items = append(items, commitItem{part: a, lane: l, Commit: Commit{Offset: l.committed, Metadata: l.metadata}, explicit: true})
			}
		}
		a.mu.Unlock()
	}
	return items
}

// allowed applies the monotonic guard.
func (g *Generation) allowed(items []commitItem) ([]commitItem, error) {
	var out []commitItem
	for _, it := range items {
		it.part.mu.Lock()
		committed := it.lane.committed
		it.part.mu.Unlock()
		switch {
		case it.explicit && it.Offset < committed:
			return nil, fmt.Errorf("commit topic %s partition %d: %d after %d: %w", it.lane.topic, it.part.index, it.Offset, committed, ErrRewind)
		case it.explicit || it.Offset > committed:
			out = append(out, it)
		}
	}
	return out, nil
}

func (g *Generation) sendCommit(ctx context.Context, items []commitItem) error {
	req := &kafkago.OffsetCommitRequest{GroupID: g.group, GenerationID: int(g.id), MemberID: g.member, Topics: map[string][]kafkago.OffsetCommit{}}
	for _, it := range items {
		req.Topics[it.lane.topic] = append(req.Topics[it.lane.topic], kafkago.OffsetCommit{
			Partition: it.part.index, Offset: it.Offset, Metadata: it.Metadata,
		})
	}
	res, err := g.consumer.client.control().OffsetCommit(ctx, req)
	if err != nil {
		return coordinatorError(err)
	}
	for topic, parts := range res.Topics {
		for _, p := range parts {
			if p.Error != nil {
				return fmt.Errorf("topic %s partition %d: %w", topic, p.Partition, p.Error)
			}
		}
	}
	return nil
}

// commitLimit bounds a commit with its retries, so that the last ones fit into
// the hand-over (ConsumerConfig.DrainTimeout).
func (c *Consumer) commitLimit() time.Duration {
	return min(c.client.cfg.RequestTimeout, c.cfg.DrainTimeout/4)
}

// commitLoop is the generation's committer: it commits what is done every
// CommitInterval until stop closes.
func (g *Generation) commitLoop(stop <-chan struct{}) {
	tick := time.NewTicker(g.consumer.cfg.CommitInterval)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			_ = g.commitDue(context.Background()) // noticed there, and tried again
		}
	}
}

func (g *Generation) commitDue(ctx context.Context) error {
	var items []commitItem
	for _, a := range g.parts {
		items = append(items, a.due()...)
	}
	err := g.commit(ctx, items)
	if err != nil {
		g.consumer.commitErrors.Add(1)
		g.notice(Notice{Kind: NoticeCommitFailed, Partition: -1, Err: err})
	}
	return err
}
