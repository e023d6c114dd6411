package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// lookLimit bounds the wait for a topic that the cached metadata does not have
// yet, or that has no leader for a moment.
const lookLimit = 15 * time.Second

// Partitions returns how many partitions a topic has, or an ErrNoTopic.
func (c *Client) Partitions(ctx context.Context, topic string) (int, error) {
	t := c.newTransport()
	defer c.drop(t)
	var n int
	err := retry(ctx, lookLimit, func(ctx context.Context) error {
		have, err := c.metadata(ctx, c.api(t), []Topic{{Name: topic}})
		n = len(have[topic].Partitions)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look at topic %s: %w", topic, err)
	}
	if n == 0 {
		return 0, fmt.Errorf("topic %s: %w", topic, ErrNoTopic)
	}
	return n, nil
}

// HighWatermarks returns for each partition of a topic the offset that its next
// record will get.
func (c *Client) HighWatermarks(ctx context.Context, topic string) (map[int]int64, error) {
	return c.watermarks(ctx, topic, kafkago.LastOffset)
}

// LowWatermarks returns for each partition of a topic the first offset that is
// still kept.
func (c *Client) LowWatermarks(ctx context.Context, topic string) (map[int]int64, error) {
	return c.watermarks(ctx, topic, kafkago.FirstOffset)
}

func (c *Client) watermarks(ctx context.Context, topic string, which int64) (map[int]int64, error) {
	n, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	parts := make([]int, n)
	for i := range parts {
		parts[i] = i
	}
	var out map[int]int64
	err = retry(ctx, lookLimit, func(ctx context.Context) (err error) {
		out, err = c.listOffsets(ctx, topic, parts, which)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read offsets of topic %s: %w", topic, err)
	}
	return out, nil
}

// listOffsets asks once for the first or last offset of some partitions.
func (c *Client) listOffsets(ctx context.Context, topic string, parts []int, which int64) (map[int]int64, error) {
	req := &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{}}
	for _, p := range parts {
		req.Topics[topic] = append(req.Topics[topic], kafkago.OffsetRequest{Partition: p, Timestamp: which})
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	res, err := c.control().ListOffsets(ctx, req)
	if err != nil {
		return nil, err
	}
	out := map[int]int64{}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("partition %d: %w", p.Partition, p.Error)
		}
		out[p.Partition] = p.LastOffset
		if which == kafkago.FirstOffset {
			out[p.Partition] = p.FirstOffset
		}
	}
	return out, nil
}

// bounds returns the first kept and the next offset of one partition.
func (c *Client) bounds(ctx context.Context, topic string, part int) (first, next int64, err error) {
	lo, err := c.listOffsets(ctx, topic, []int{part}, kafkago.FirstOffset)
	if err != nil {
		return 0, 0, err
	}
	hi, err := c.listOffsets(ctx, topic, []int{part}, kafkago.LastOffset)
	if err != nil {
		return 0, 0, err
	}
	return lo[part], hi[part], nil
}

// Commit is what a group has committed for one partition.
type Commit struct {
	// Offset is the next record to work on.
	Offset int64
	// Metadata is what CommitWithMetadata stored beside it.
	Metadata string
}

// Committed returns what a group has committed for the partitions of a topic.
// A partition without a commit is absent.
func (c *Client) Committed(ctx context.Context, group, topic string) (map[int]Commit, error) {
	n, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	parts := make([]int, n)
	for i := range parts {
		parts[i] = i
	}
	all, err := c.fetchCommits(ctx, group, map[string][]int{topic: parts})
	if err != nil {
		return nil, err
	}
	return all[topic], nil
}

// fetchCommits reads commits by topic and partition, waiting for the group's
// coordinator: on a new cluster it does not exist at once (error 15).
func (c *Client) fetchCommits(ctx context.Context, group string, topics map[string][]int) (map[string]map[int]Commit, error) {
	out := map[string]map[int]Commit{}
	err := retry(ctx, lookLimit, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
		defer cancel()
		res, err := c.control().OffsetFetch(ctx, &kafkago.OffsetFetchRequest{GroupID: group, Topics: topics})
		if err != nil {
			return coordinatorError(err)
		}
		if errors.Is(res.Error, kafkago.GroupIdNotFound) { // nobody ever joined
			return nil
		}
		if res.Error != nil {
			return res.Error
		}
		for topic, parts := range res.Topics {
			out[topic] = map[int]Commit{}
			for _, p := range parts {
				if p.Error != nil {
					return fmt.Errorf("topic %s partition %d: %w", topic, p.Partition, p.Error)
				}
				if p.CommittedOffset >= 0 {
					out[topic][p.Partition] = Commit{Offset: p.CommittedOffset, Metadata: p.Metadata}
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read commits of group %s: %w", group, err)
	}
	return out, nil
}

// coordinatorError: kafka-go looks the coordinator up without reading the
// answer's error code, so "not available yet" arrives as broker id 0 or -1 and
// then as a broker that is not available. Both mean: wait.
func coordinatorError(err error) error {
	if errors.Is(err, kafkago.BrokerNotAvailable) {
		return fmt.Errorf("find the group coordinator: %w", kafkago.GroupCoordinatorNotAvailable)
	}
	return err
}
