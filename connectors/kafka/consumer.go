package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// StartAt says where a group begins that has committed nothing.
type StartAt string

// Where a group begins.
const (
	Earliest StartAt = "earliest"
	Latest   StartAt = "latest"
)

// ConsumerConfig describes a member of a consumer group.
type ConsumerConfig struct {
	Group string
	// Topics, the more urgent first: Next prefers them in this order.
	Topics []string
	// StartAt is used for a partition without a commit. Default Earliest.
	StartAt StartAt

	// MinBytes is what a fetch waits for, up to MaxWait. Default 1.
	MinBytes int
	// MaxBytes is what a fetch brings at most, except that a single batch is never
	// cut. Between 64 KiB and 4 MiB, since each partition holds about one and a
	// half of it (hazard 12). Default 1 MiB.
	MaxBytes int
	// MaxWait is how long an idle fetch waits, at most 1 s (hazard 8). Default 500 ms.
	MaxWait time.Duration

	// DrainTimeout is how long Assigned has from Ending until its ctx ends. A
	// quarter of it is for handlers to see that, and two for the last commits; all
	// must fit into the session and rebalance timeouts less one heartbeat, since no
	// heartbeat goes out meanwhile (hazard 4). Default half of the smaller timeout.
	DrainTimeout time.Duration
	// CommitInterval is the committer's rhythm. Default 200 ms.
	CommitInterval time.Duration
	// CheckAge is how long an answer to Check counts. Default a tenth of the
	// session, at most 1 s.
	CheckAge time.Duration
	// StallAfter: a reader that is behind and got nothing for so long is rebuilt. Default 30 s.
	StallAfter time.Duration
	// PartitionWatch is how often new partitions are looked for (hazard 13). Default 30 s.
	PartitionWatch time.Duration
	// JoinBackoff is the pause after a failed join (hazard 10). Default 1 s.
	JoinBackoff time.Duration

	// OnAssign and OnRevoke are told the member's partition indexes at the start
	// and after the end of each generation. They must be quick. Optional.
	OnAssign, OnRevoke func(gen *Generation)
	// Notify is told what a person may want to know. It must be quick. Optional.
	Notify func(Notice)
}

// Handler works on assignments.
type Handler interface {
	// Assigned owns one partition index for one generation. It is called in a
	// goroutine of its own, works until gen.Ending() closes or part.Next says
	// ErrGenerationEnded, brings its step to an end and returns nil. What it has
	// called Done for is committed afterwards. ctx ends DrainTimeout after Ending.
	// An error, or nil before the end, ends Run with an error; ErrGenerationEnded
	// and the context's own error count as nil at the end.
	Assigned(ctx context.Context, gen *Generation, part *Assignment) error
}

// Consumer is a member of a consumer group. It rejoins by itself until Run's
// context ends or something needs a person.
type Consumer struct {
	client   *Client
	cfg      ConsumerConfig
	balancer *balancer
	total    int // partition indexes of the subscription; only Run's goroutines

	generations, joinErrors, commitErrors, rebuilds atomic.Int64

	mu      sync.Mutex
	current *Generation
}

// DrainError says that a handler was still running when its generation had to go.
// Run returns it, since going on would put two goroutines on one partition: the
// process should end.
type DrainError struct {
	Group      string
	Generation int32
	Indexes    []int
	After      time.Duration
}

// Error implements error.
func (e *DrainError) Error() string {
	return fmt.Sprintf("group %s generation %d: the handlers of partitions %v did not stop within %s", e.Group, e.Generation, e.Indexes, e.After)
}

// NewConsumer returns a member of a group. It dials nothing and starts nothing.
// The error names every problem of cfg.
func NewConsumer(client *Client, cfg ConsumerConfig) (*Consumer, error) {
	setDefault(&cfg.StartAt, Earliest)
	setDefault(&cfg.MinBytes, 1)
	setDefault(&cfg.MaxBytes, 1<<20)
	setDefault(&cfg.MaxWait, 500*time.Millisecond)
	setDefault(&cfg.DrainTimeout, min(client.cfg.SessionTimeout, client.cfg.RebalanceTimeout)/2)
	setDefault(&cfg.CommitInterval, 200*time.Millisecond)
	setDefault(&cfg.CheckAge, min(time.Second, client.cfg.SessionTimeout/10))
	setDefault(&cfg.StallAfter, 30*time.Second)
	setDefault(&cfg.PartitionWatch, 30*time.Second)
	setDefault(&cfg.JoinBackoff, time.Second)
	if err := cfg.validate(client.cfg); err != nil {
		return nil, err
	}
	return &Consumer{client: client, cfg: cfg, balancer: &balancer{}}, nil
}

func (c ConsumerConfig) validate(client Config) error {
	var bad []error
	problem := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf("kafka consumer "+format, args...))
		}
	}
	problem(c.Group != "", "group: none given")
	problem(len(c.Topics) > 0, "topics: none given")
	seen := map[string]bool{}
	for _, t := range c.Topics {
		problem(t != "" && !seen[t], "topic %q: empty or given twice", t)
		seen[t] = true
	}
	problem(c.StartAt == Earliest || c.StartAt == Latest, "start at %q: choose earliest or latest", c.StartAt)
	problem(c.MaxBytes >= 64<<10 && c.MaxBytes <= 4<<20, "max bytes %d: want between 64 KiB and 4 MiB", c.MaxBytes)
	problem(c.MinBytes >= 1 && c.MinBytes <= c.MaxBytes, "min bytes %d: want between 1 and max bytes %d", c.MinBytes, c.MaxBytes)
	problem(c.MaxWait >= time.Millisecond && c.MaxWait <= time.Second, "max wait %s: want at most 1s, since it bounds stopping", c.MaxWait)
	for _, d := range []time.Duration{c.DrainTimeout, c.CommitInterval, c.CheckAge, c.StallAfter, c.PartitionWatch, c.JoinBackoff} {
		problem(d > 0, "durations: %s is not positive", d)
	}
	limit := min(client.SessionTimeout, client.RebalanceTimeout)
	problem(c.DrainTimeout/4*7+client.HeartbeatInterval < limit,
		"drain timeout %s: one and three quarters of it and a heartbeat interval of %s must be less than %s, the smaller of session and rebalance timeout",
		c.DrainTimeout, client.HeartbeatInterval, limit)
	problem(c.CheckAge <= client.SessionTimeout/3, "check age %s: want at most a third of the session timeout %s", c.CheckAge, client.SessionTimeout)
	return errors.Join(bad...)
}

func (c *Consumer) notify(n Notice) {
	n.Group = c.cfg.Group
	if n.Kind == NoticeRebuilt {
		c.rebuilds.Add(1)
	}
	if c.cfg.Notify != nil {
		c.cfg.Notify(n)
	}
}

// Run joins the group and lets h work on what is assigned, generation after
// generation. When ctx ends it hands over, leaves the group and returns nil. It
// returns an error only for what going on would not repair: a handler's error, a
// *DrainError, or a refusal for want of permission. It may be called once.
func (c *Consumer) Run(ctx context.Context, h Handler) error {
	if err := c.awaitTopics(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	group, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID: c.cfg.Group, Brokers: c.client.cfg.Brokers, Dialer: c.client.dialer, Topics: c.cfg.Topics,
		GroupBalancers: []kafkago.GroupBalancer{c.balancer},
		SessionTimeout: c.client.cfg.SessionTimeout, RebalanceTimeout: c.client.cfg.RebalanceTimeout,
		HeartbeatInterval: c.client.cfg.HeartbeatInterval, JoinGroupBackoff: c.cfg.JoinBackoff,
		WatchPartitionChanges: true, PartitionWatchInterval: c.cfg.PartitionWatch,
		Timeout: c.client.cfg.RequestTimeout,
	})
	if err != nil {
		return fmt.Errorf("join group %s: %w", c.cfg.Group, err)
	}
	// Close comes first and ends the generation, or else the member would rejoin
	// when its hand-over is done. It waits for the hand-over.
	closed := make(chan struct{})
	closing := sync.OnceFunc(func() {
		go func() { _ = group.Close(); close(closed) }()
	})
	stop := context.AfterFunc(ctx, closing)
	defer stop()
	err = c.loop(ctx, group, closing, h)
	closing()
	c.awaitClose(closed)
	return err
}

// awaitClose waits for the group to be left, but not for ever (hazard 8).
func (c *Consumer) awaitClose(closed <-chan struct{}) {
	limit := time.NewTimer(c.client.cfg.DialTimeout + c.client.cfg.RequestTimeout)
	defer limit.Stop()
	select {
	case <-closed:
	case <-limit.C:
		c.notify(Notice{Kind: NoticeOverrun, Partition: -1, Err: errors.New("leaving the group takes too long; the session will expire instead")})
	}
}

// loop takes generation after generation. A series of very short ones, such as a
// vanished topic causes in kafka-go, is slowed down while heartbeats go on.
func (c *Consumer) loop(ctx context.Context, group *kafkago.ConsumerGroup, closing func(), h Handler) error {
	short := 0
	for {
		if short > 5 && !sleep(ctx, min(100*time.Millisecond<<min(short-5, 6), 5*time.Second)) {
			return nil
		}
		kg, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil, errors.Is(err, kafkago.ErrGroupClosed):
			return nil
		case err != nil && denied(err):
			return fmt.Errorf("join group %s: %w", c.cfg.Group, err)
		case err != nil:
			// kafka-go pauses for JoinBackoff and joins as a new member. A new
			// cluster says error 15 until its offsets topic exists: a wait.
			c.joinErrors.Add(1)
			c.notify(Notice{Kind: NoticeJoinFailed, Partition: -1, Err: err})
			continue
		}
		began := time.Now()
		done := make(chan error, 1)
		kg.Start(func(kctx context.Context) { done <- c.term(ctx, kctx, kg, closing, h) })
		if err := <-done; err != nil {
			return err
		}
		if short++; time.Since(began) > 2*time.Second {
			short = 0
		}
	}
}

// awaitTopics waits until all topics exist: kafka-go would rejoin in a tight
// loop without them.
func (c *Consumer) awaitTopics(ctx context.Context) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := c.countPartitions(ctx)
		if err == nil {
			return nil
		}
		if denied(err) {
			return fmt.Errorf("join group %s: %w", c.cfg.Group, err)
		}
		c.notify(Notice{Kind: NoticeWaitingForTopic, Partition: -1, Err: err})
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

func (c *Consumer) countPartitions(ctx context.Context) error {
	total := 0
	for _, topic := range c.cfg.Topics {
		n, err := c.client.Partitions(ctx, topic)
		if err != nil {
			return err
		}
		total = max(total, n)
	}
	c.total = total
	return nil
}
