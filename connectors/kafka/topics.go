package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Topic is the wanted shape of a topic.
type Topic struct {
	Name string
	// Partitions is how many. It must match on a topic that exists: changing it
	// would move keys between partitions. 0 leaves it to the cluster.
	Partitions int
	// Replication is how many copies a new topic gets. 0 leaves it to the cluster.
	Replication int
	// Compacted keeps the last record of each key for ever (cleanup.policy=compact)
	// and must match on a topic that exists; otherwise the policy is delete.
	Compacted bool
	// Retention of a new topic. 0 leaves it to the cluster, negative is for ever.
	Retention time.Duration
	// MaxMessageBytes: a topic that exists must allow at least this. 0 leaves it to the cluster.
	MaxMessageBytes int
}

// ShapeError says that a topic exists with another shape than hotsync can work with.
type ShapeError struct {
	Topic   string
	Setting string // partitions, cleanup.policy or max.message.bytes
	Want    string
	Have    string
	Advice  string
}

// Error implements error.
func (e *ShapeError) Error() string {
	return fmt.Sprintf("topic %s: %s is %s, want %s: %s", e.Topic, e.Setting, e.Have, e.Want, e.Advice)
}

const (
	adminLimit = 60 * time.Second // a new cluster is given this long
	// cleanup policies as Kafka spells them.
	policyDelete  = "delete"
	policyCompact = "compact"
)

// EnsureTopics creates the topics that are missing and compares those that
// exist. Two instances may do it at the same time. All problems are joined;
// a wrong shape is a *ShapeError. It looks at the cluster, not at cached
// metadata, and gives a new cluster up to a minute to elect its leaders.
func (c *Client) EnsureTopics(ctx context.Context, topics []Topic) error {
	t := c.newTransport()
	defer c.drop(t)
	api := c.api(t)
	var have map[string]kafkago.Topic
	err := retry(ctx, adminLimit, func(ctx context.Context) (err error) {
		have, err = c.metadata(ctx, api, topics)
		return err
	})
	if err != nil {
		return fmt.Errorf("look at topics: %w", err)
	}
	var missing []Topic
	for _, want := range topics {
		if _, ok := have[want.Name]; !ok {
			missing = append(missing, want)
		}
	}
	if err := c.create(ctx, api, missing); err != nil {
		return err
	}
	if err := c.verify(ctx, topics); err != nil {
		return err
	}
	return nil
}

// metadata returns the named topics that exist. A topic or partition without a
// leader is a temporary error.
func (c *Client) metadata(ctx context.Context, api *kafkago.Client, topics []Topic) (map[string]kafkago.Topic, error) {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	res, err := api.Metadata(ctx, &kafkago.MetadataRequest{Topics: names})
	if err != nil {
		return nil, err
	}
	have := map[string]kafkago.Topic{}
	for _, t := range res.Topics {
		switch {
		case errors.Is(t.Error, kafkago.UnknownTopicOrPartition):
			continue
		case t.Error != nil:
			return nil, fmt.Errorf("topic %s: %w", t.Name, t.Error)
		}
		for _, p := range t.Partitions {
			// A replica that is down is the cluster's business; a leader is ours.
			if p.Error != nil && !errors.Is(p.Error, kafkago.ReplicaNotAvailable) {
				return nil, fmt.Errorf("topic %s partition %d: %w", t.Name, p.ID, p.Error)
			}
		}
		have[t.Name] = t
	}
	return have, nil
}

func (c *Client) create(ctx context.Context, api *kafkago.Client, topics []Topic) error {
	for _, t := range topics {
		err := retry(ctx, adminLimit, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
			defer cancel()
			res, err := api.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{t.config()}})
			if err == nil {
				err = res.Errors[t.Name]
			}
			if errors.Is(err, kafkago.TopicAlreadyExists) { // another instance was quicker
				return nil
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("create topic %s (%d partitions, replication %d): %w", t.Name, t.Partitions, t.Replication, err)
		}
	}
	return nil
}

func (t Topic) config() kafkago.TopicConfig {
	cfg := kafkago.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: t.Replication}
	if cfg.NumPartitions == 0 {
		cfg.NumPartitions = -1
	}
	if cfg.ReplicationFactor == 0 {
		cfg.ReplicationFactor = -1
	}
	set := func(name, value string) {
		cfg.ConfigEntries = append(cfg.ConfigEntries, kafkago.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	set("cleanup.policy", t.policy())
	if t.Retention != 0 {
		set("retention.ms", strconv.FormatInt(max(t.Retention.Milliseconds(), -1), 10))
	}
	if t.MaxMessageBytes > 0 {
		set("max.message.bytes", strconv.Itoa(t.MaxMessageBytes))
	}
	return cfg
}

func (t Topic) policy() string {
	if t.Compacted {
		return policyCompact
	}
	return policyDelete
}

// verify waits until every topic is there with leaders, and compares shapes.
func (c *Client) verify(ctx context.Context, topics []Topic) error {
	t := c.newTransport() // metadata read after the creation
	defer c.drop(t)
	api := c.api(t)
	var have map[string]kafkago.Topic
	var settings map[string]map[string]string
	err := retry(ctx, adminLimit, func(ctx context.Context) (err error) {
		if have, err = c.metadata(ctx, api, topics); err != nil {
			return err
		}
		for _, t := range topics {
			if _, ok := have[t.Name]; !ok {
				return fmt.Errorf("topic %s: %w", t.Name, kafkago.UnknownTopicOrPartition)
			}
		}
		settings, err = c.settings(ctx, api, topics)
		return err
	})
	if err != nil {
		return fmt.Errorf("verify topics: %w", err)
	}
	var bad []error
	for _, want := range topics {
		bad = append(bad, want.compare(len(have[want.Name].Partitions), settings[want.Name])...)
	}
	return errors.Join(bad...)
}

func (t Topic) compare(partitions int, settings map[string]string) (bad []error) {
	if t.Partitions != 0 && partitions != t.Partitions {
		bad = append(bad, &ShapeError{Topic: t.Name, Setting: "partitions", Want: strconv.Itoa(t.Partitions), Have: strconv.Itoa(partitions),
			Advice: "configure the number it has, or recreate it: changing the number of a topic in use moves keys between partitions"})
	}
	have := strings.Split(settings["cleanup.policy"], ",")
	for i := range have {
		have[i] = strings.TrimSpace(have[i])
	}
	if settings["cleanup.policy"] != "" && slices.Contains(have, policyCompact) != t.Compacted {
		bad = append(bad, &ShapeError{Topic: t.Name, Setting: "cleanup.policy", Want: t.policy(), Have: settings["cleanup.policy"],
			Advice: "run kafka-configs --alter --entity-type topics --entity-name " + t.Name + " --add-config cleanup.policy=" + t.policy()})
	}
	if limit, err := strconv.Atoi(settings["max.message.bytes"]); err == nil && limit < t.MaxMessageBytes {
		want := strconv.Itoa(t.MaxMessageBytes)
		bad = append(bad, &ShapeError{Topic: t.Name, Setting: "max.message.bytes", Want: "at least " + want, Have: strconv.Itoa(limit),
			Advice: "run kafka-configs --alter --entity-type topics --entity-name " + t.Name + " --add-config max.message.bytes=" + want})
	}
	return bad
}

// settings reads the settings that compare looks at, by topic and name.
func (c *Client) settings(ctx context.Context, api *kafkago.Client, topics []Topic) (map[string]map[string]string, error) {
	req := &kafkago.DescribeConfigsRequest{}
	for _, t := range topics {
		req.Resources = append(req.Resources, kafkago.DescribeConfigRequestResource{
			ResourceType: kafkago.ResourceTypeTopic, ResourceName: t.Name, ConfigNames: []string{"cleanup.policy", "max.message.bytes"},
		})
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	res, err := api.DescribeConfigs(ctx, req)
	if err != nil {
		return nil, err
	}
	out := map[string]map[string]string{}
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, fmt.Errorf("read settings of topic %s: %w", r.ResourceName, r.Error)
		}
		out[r.ResourceName] = map[string]string{}
		for _, e := range r.ConfigEntries {
			out[r.ResourceName][e.ConfigName] = e.ConfigValue
		}
	}
	return out, nil
}
