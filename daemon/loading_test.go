package daemon

import (
	"testing"

	"hotsync/connectors/kafka"
	"hotsync/connectors/kafka/kafkatest"
	"hotsync/event"
)

func TestReread(t *testing.T) {
	c, err := kafka.New(kafka.Config{Brokers: []string{kafkatest.Broker(t)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	topic := kafkatest.Name("events")
	if err := c.EnsureTopics(t.Context(), []kafka.Topic{{Name: topic, Partitions: 1, Replication: 1}}); err != nil {
		t.Fatal(err)
	}
	w := kafka.NewWriter(c, kafka.WriterConfig{})
	t.Cleanup(w.Close)
	for _, v := range []string{"a", "b", "c"} {
		if err := w.Write(t.Context(), kafka.Record{Topic: topic, Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	m, err := reread(t.Context(), c, event.Coordinates{Topic: topic, Offset: 1})
	if err != nil || string(m.Value) != "b" || m.Offset != 1 {
		t.Errorf("got %q at %d, %v", m.Value, m.Offset, err)
	}
	if _, err := reread(t.Context(), c, event.Coordinates{Topic: topic, Offset: 9}); err == nil {
		t.Error("a message that is not there was read")
	}
}
