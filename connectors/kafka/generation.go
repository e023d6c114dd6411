package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Generation is one term of this member in its group: from an assignment until
// the next rebalance.
type Generation struct {
	consumer *Consumer
	id       int32
	group    string
	member   string
	total    int
	parts    []*Assignment // by index

	ending     chan struct{}
	endOnce    sync.Once
	fenced     chan struct{}
	fenceOnce  sync.Once
	over       atomic.Bool
	committing chan struct{} // holds a token while a commit is on its way
	confirmed  atomic.Pointer[time.Time]
}

// ID is the number that the coordinator gave this generation.
func (g *Generation) ID() int32 { return g.id }

// Member is the name that the coordinator gave this member.
func (g *Generation) Member() string { return g.member }

// Indexes are the partition indexes of this member, ascending.
func (g *Generation) Indexes() []int {
	out := make([]int, len(g.parts))
	for i, a := range g.parts {
		out[i] = a.index
	}
	return out
}

// Total is how many partition indexes the group has in all: this member's share
// is len(Indexes()) of Total().
func (g *Generation) Total() int { return g.total }

// Ending closes when the hand-over begins: take nothing new, finish the step in
// hand, return from Assigned.
func (g *Generation) Ending() <-chan struct{} { return g.ending }

// Check returns nil when the coordinator still takes this member for the owner of
// its partitions, which it also does during the hand-over. It is meant to be
// called right before each write: an answer counts for CheckAge, which is a
// small part of the session, and every commit brings one, so most calls cost
// nothing, and a process that was frozen in between asks again. An
// ErrGenerationEnded means: do not write, others may. Any other error means that
// nobody could be asked: do not write either.
//
// It asks with a commit that changes nothing. kafka-go's Client.Heartbeat would
// be lighter and cannot be used: it reads the error code where the throttle time
// is, so every answer looks good, and does not go to the coordinator.
func (g *Generation) Check(ctx context.Context) error {
	if g.over.Load() {
		return g.checkError(ErrGenerationEnded)
	}
	if g.fresh() {
		return nil
	}
	select {
	case g.committing <- struct{}{}:
		defer func() { <-g.committing }()
	case <-ctx.Done():
		return g.checkError(ctx.Err())
	}
	if g.fresh() { // somebody else has asked meanwhile
		return nil
	}
	items := g.proof()
	if len(items) == 0 {
		return g.checkError(errors.New("the last commit had no answer: commit again"))
	}
	if err := g.commitAlone(ctx, items); err != nil {
		return g.checkError(err)
	}
	return nil
}

func (g *Generation) checkError(err error) error {
	return fmt.Errorf("check generation %d of group %s: %w", g.id, g.group, err)
}

// fresh reports whether the last confirmation still counts. Both clocks are
// asked, since the monotonic one may stand still while a machine is suspended.
func (g *Generation) fresh() bool {
	at := g.confirmed.Load()
	if at == nil || g.isFenced() {
		return false
	}
	now, limit := time.Now(), g.consumer.cfg.CheckAge
	return now.Sub(*at) < limit && now.Round(0).Sub(at.Round(0)) < limit
}

func (g *Generation) isEnding() bool { return isClosed(g.ending) }
func (g *Generation) isFenced() bool { return isClosed(g.fenced) }
func (g *Generation) end()           { g.endOnce.Do(func() { close(g.ending) }) }

// fence is called when the coordinator has disowned this generation.
func (g *Generation) fence(why error) {
	g.fenceOnce.Do(func() {
		close(g.fenced)
		g.notice(Notice{Kind: NoticeFenced, Partition: -1, Err: why})
	})
}

func (g *Generation) notice(n Notice) {
	n.Group, n.Generation = g.group, g.id
	g.consumer.notify(n)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// newGeneration finds out where each partition of kg starts.
func (c *Consumer) newGeneration(ctx context.Context, kg *kafkago.Generation) (*Generation, error) {
	g := &Generation{
		consumer: c, id: kg.ID, group: kg.GroupID, member: kg.MemberID, total: c.total,
		ending: make(chan struct{}), fenced: make(chan struct{}),
		committing: make(chan struct{}, 1),
	}
	topics := map[string][]int{}
	for topic, parts := range kg.Assignments {
		for _, p := range parts {
			topics[topic] = append(topics[topic], p.ID)
		}
	}
	commits := map[string]map[int]Commit{}
	if len(topics) > 0 {
		var err error
		if commits, err = c.client.fetchCommits(ctx, g.group, topics); err != nil {
			return nil, err
		}
	}
	var anchors []commitItem
	for _, topic := range c.cfg.Topics { // in this order: it is the order of lanes
		for _, index := range topics[topic] {
			a := g.assignment(index)
			l := &lane{topic: topic, start: Commit{Offset: -1}, committed: -1, space: make(chan struct{}, 1)}
			a.lanes = append(a.lanes, l)
			if have, ok := commits[topic][index]; ok {
				l.start, l.committed, l.metadata = have, have.Offset, have.Metadata
				l.track.reset(have.Offset)
				continue
			}
			at, err := c.startOffset(ctx, topic, index)
			if err != nil {
				return nil, err
			}
			l.track.reset(at)
			// A first position is committed at once: with StartAt latest, a second
			// look after a rebalance would lose what came in between.
			anchors = append(anchors, commitItem{part: a, lane: l, Commit: Commit{Offset: at}})
		}
	}
	slices.SortFunc(g.parts, func(a, b *Assignment) int { return a.index - b.index })
	if err := g.commit(ctx, anchors); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *Generation) assignment(index int) *Assignment {
	for _, a := range g.parts {
		if a.index == index {
			return a
		}
	}
	a := newAssignment(g, index)
	g.parts = append(g.parts, a)
	return a
}

func (c *Consumer) startOffset(ctx context.Context, topic string, index int) (at int64, err error) {
	which := kafkago.FirstOffset
	if c.cfg.StartAt == Latest {
		which = kafkago.LastOffset
	}
	err = retry(ctx, lookLimit, func(ctx context.Context) error {
		all, err := c.client.listOffsets(ctx, topic, []int{index}, which)
		at = all[index]
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("find the start of topic %s partition %d: %w", topic, index, err)
	}
	return at, nil
}
