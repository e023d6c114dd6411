package kafka

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"
)

// Hazard 17: kafka-go takes 64 KiB for each batch of an answer. A topic of many
// small batches is read in small portions, one of large batches in large ones.
func TestFetchesHoldFewBatches(t *testing.T) {
	c := testClient(t)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	w := newWriter(t, c, WriterConfig{})
	const small, large, perLarge = 400, 20, 250
	record := Record{Topic: topic, Value: bytes.Repeat([]byte("v"), 400)}
	for range small {
		write(t, w, record)
	}
	transport := c.newTransport()
	defer c.drop(transport)
	r := &reader{
		client: c, topic: topic, shared: transport, notify: func(Notice) {},
		fetch: fetchConfig{minBytes: 1, maxBytes: 1 << 20, maxWait: 100 * time.Millisecond, stallAfter: time.Minute},
	}
	ended := errors.New("read to the end")
	read, most := 0, 0
	until := func(end int) {
		t.Helper()
		err := r.run(limited(t), func(_ context.Context, got chunk) error {
			read, most = read+len(got.records), max(most, got.batches)
			if read >= end {
				return ended
			}
			return nil
		})
		if !errors.Is(err, ended) || read != end {
			t.Fatalf("%d records, want %d; %v", read, end, err)
		}
	}
	until(small)
	if most > batchesAtOnce+batchesAtOnce/4 {
		t.Errorf("an answer had %d batches, want %d or a few more", most, batchesAtOnce)
	}
	for range large {
		batch := make([]Record, perLarge)
		for i := range batch {
			batch[i] = record
		}
		write(t, w, batch...)
	}
	until(small + large*perLarge)
	if r.ask < r.fetch.maxBytes/2 {
		t.Errorf("of large batches it asks for %d bytes, want %d or nearly", r.ask, r.fetch.maxBytes)
	}
}
