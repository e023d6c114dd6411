package kafka

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"hotsync/connectors/kafka/kafkatest"
)

// produceInTransactions writes n records, each in a transaction of its own, with
// another client: ours has none.
func produceInTransactions(t *testing.T, c *Client, topic string, n int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.cfg.Brokers...), kgo.TransactionalID(kafkatest.Name("tx")), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := range n {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(limited(t), kgo.StringRecord(fmt.Sprint(i))).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(limited(t), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
}
