package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// term lives one generation: readers, handlers, committer, hand-over. While it
// runs, kafka-go keeps the coordinator waiting (hazard 3: the function given to
// Generation.Start is the revoke callback), so that nobody else is assigned our
// partitions before it returns, as long as it keeps its bounds. kctx ends with
// the generation, ctx with Run.
func (c *Consumer) term(ctx, kctx context.Context, kg *kafkago.Generation, closing func(), h Handler) error {
	life, cancel := context.WithCancel(kctx)
	defer cancel()
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	if life.Err() != nil {
		return nil
	}
	c.generations.Add(1)
	if err := c.countPartitions(life); err != nil && life.Err() == nil {
		c.notify(Notice{Kind: NoticeJoinFailed, Partition: -1, Generation: kg.ID, Err: err})
	}
	g, err := c.newGeneration(life, kg)
	if err != nil {
		if life.Err() == nil && denied(err) {
			closing()
			return err
		}
		c.joinErrors.Add(1)
		c.notify(Notice{Kind: NoticeJoinFailed, Partition: -1, Generation: kg.ID, Err: err})
		return nil
	}
	c.balancer.own(g.id, g.Indexes())
	c.setCurrent(g)
	defer c.setCurrent(nil)
	if c.cfg.OnAssign != nil {
		c.cfg.OnAssign(g)
	}
	err = c.work(life, g, closing, h)
	if c.cfg.OnRevoke != nil {
		c.cfg.OnRevoke(g)
	}
	return err
}

// work runs the readers and handlers of g until life ends, a handler or reader
// gives up, or the coordinator disowns g; then it hands over.
func (c *Consumer) work(life context.Context, g *Generation, closing func(), h Handler) error {
	transport := c.client.newTransport()
	reading, stopReading := context.WithCancel(life)
	var readers sync.WaitGroup
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	for _, a := range g.parts {
		for _, l := range a.lanes {
			r := c.newReader(g, a, l, transport)
			readers.Go(func() {
				if err := r.run(reading, func(ctx context.Context, got chunk) error { return a.put(ctx, l, got) }); err != nil {
					fail(err)
				}
			})
		}
	}
	// The handlers' context outlives life: a step is finished, not cut.
	handling, cut := context.WithCancel(context.WithoutCancel(life))
	defer cut()
	running := newRunning(g.Indexes())
	for _, a := range g.parts {
		go func() {
			err := handled(g, a.index, h.Assigned(handling, g, a))
			if err != nil {
				fail(err)
			}
			running.remove(a.index)
		}()
	}
	stopCommits, committed := make(chan struct{}), make(chan struct{})
	go func() { g.commitLoop(stopCommits); close(committed) }()

	var err error
	select {
	case <-life.Done():
	case <-g.fenced:
	case err = <-failed:
		closing() // so that the group is left, not rejoined
	}
	g.end()
	stopReading()
	left := c.drain(running, cut)
	close(stopCommits)
	<-committed
	if !g.isFenced() {
		_ = g.commitDue(context.Background())
	}
	g.over.Store(true)
	readers.Wait()
	c.client.drop(transport)
	if len(left) > 0 {
		closing()
		e := &DrainError{Group: g.group, Generation: g.id, Indexes: left, After: c.cfg.DrainTimeout + c.cfg.DrainTimeout/4}
		g.notice(Notice{Kind: NoticeOverrun, Partition: -1, Err: e})
		return errors.Join(e, err)
	}
	if err == nil {
		select {
		case err = <-failed: // an error that came with the hand-over
			closing()
		default:
		}
	}
	return err
}

// drain waits for the handlers: DrainTimeout for their steps, then a quarter of
// it for their reaction to a cut context. It returns who is still running.
func (c *Consumer) drain(running *running, cut func()) []int {
	for _, d := range []time.Duration{c.cfg.DrainTimeout, c.cfg.DrainTimeout / 4} {
		t := time.NewTimer(d)
		select {
		case <-running.none:
			t.Stop()
			return nil
		case <-t.C:
			cut()
		}
	}
	return running.indexes()
}

// handled turns what Assigned returned into an error of Run, or nil.
func handled(g *Generation, index int, err error) error {
	switch {
	case g.isEnding() && (err == nil || errors.Is(err, ErrGenerationEnded) || errors.Is(err, context.Canceled)):
		return nil
	case g.isFenced() && errors.Is(err, ErrGenerationEnded):
		return nil
	case err == nil:
		return fmt.Errorf("group %s partition %d: the handler returned while its generation %d goes on", g.group, index, g.id)
	}
	return fmt.Errorf("group %s partition %d: %w", g.group, index, err)
}

func (c *Consumer) newReader(g *Generation, a *Assignment, l *lane, transport *kafkago.Transport) *reader {
	return &reader{
		client: c.client, topic: l.topic, part: a.index, shared: transport, offset: l.track.low,
		fetch: fetchConfig{minBytes: c.cfg.MinBytes, maxBytes: c.cfg.MaxBytes, maxWait: c.cfg.MaxWait, stallAfter: c.cfg.StallAfter},
		notify: func(n Notice) {
			if n.Kind == NoticeRebuilt {
				a.mu.Lock()
				l.rebuilds++
				a.mu.Unlock()
			}
			g.notice(n)
		},
	}
}

func (c *Consumer) setCurrent(g *Generation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = g
}

// running is the set of partition indexes whose handlers run.
type running struct {
	mu   sync.Mutex
	left map[int]bool
	none chan struct{} // closed when the last one is removed
}

func newRunning(indexes []int) *running {
	r := &running{left: map[int]bool{}, none: make(chan struct{})}
	for _, i := range indexes {
		r.left[i] = true
	}
	if len(indexes) == 0 {
		close(r.none)
	}
	return r
}

func (r *running) remove(index int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.left, index)
	if len(r.left) == 0 {
		close(r.none)
	}
}

func (r *running) indexes() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []int
	for i := range r.left {
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}
