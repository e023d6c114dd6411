package daemon

import (
	"time"

	"hotsync/connectors/kafka"
	"hotsync/daemon/config"
)

// topics are the names of every topic and group, derived from the config.
type topics struct {
	login, stripe                             string
	live, bulk, retry5m, retry1h              string
	dead, events, state                       string
	intake, workers, retries, loader, undeads string // groups
}

func topicsOf(k config.Kafka) topics {
	p := k.Prefix
	return topics{
		login: k.LoginTopic, stripe: k.StripeTopic,
		live: p + ".triggers.live", bulk: p + ".triggers.bulk",
		retry5m: p + ".retry.5m", retry1h: p + ".retry.1h",
		dead: p + ".dead", events: p + ".events", state: p + ".state",
		intake: p + ".intake", workers: p + ".workers", retries: p + ".retries",
		loader: p + ".loader", undeads: p + ".loader.dead",
	}
}

// own lists the topics that hotsync makes for itself. Triggers and state have
// the same partition count, so that a key's triggers and its memory stand in
// partitions of the same number. The logs keep a week, which is the longest
// that ClickHouse may be away without a loss (Invariant 7).
func (t topics) own(k config.Kafka) []kafka.Topic {
	const week = 7 * 24 * time.Hour
	topic := func(name string, keep time.Duration) kafka.Topic {
		return kafka.Topic{Name: name, Partitions: k.Partitions, Replication: k.Replication, Retention: keep}
	}
	state := kafka.Topic{Name: t.state, Partitions: k.Partitions, Replication: k.Replication, Compacted: true}
	return []kafka.Topic{
		topic(t.live, week), topic(t.bulk, week), topic(t.retry5m, week), topic(t.retry1h, week),
		topic(t.dead, 30*24*time.Hour), topic(t.events, week), state,
	}
}
