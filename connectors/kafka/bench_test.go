package kafka

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"hotsync/connectors/kafka/kafkatest"
)

// BenchmarkConsume is the road from the broker to Done, 330 bytes a record as in
// the measurements that kafka-go was chosen by.
func BenchmarkConsume(b *testing.B) {
	c, err := New(quick(kafkatest.Broker(b)))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	topic := kafkatest.Name("bench")
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	if err := c.EnsureTopics(ctx, []Topic{{Name: topic, Partitions: 4}}); err != nil {
		b.Fatal(err)
	}
	w := NewWriter(c, WriterConfig{})
	defer w.Close()
	const batch = 5_000
	for at := 0; at < b.N; at += batch {
		records := make([]Record, min(batch, b.N-at))
		for i := range records {
			records[i] = Record{Topic: topic, Key: fmt.Append(nil, at+i), Value: make([]byte, 300)}
		}
		if err := w.Write(ctx, records...); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	var mu sync.Mutex
	left := b.N
	consumer, err := NewConsumer(c, ConsumerConfig{Group: kafkatest.Name("g"), Topics: []string{topic}})
	if err != nil {
		b.Fatal(err)
	}
	err = consumer.Run(ctx, forEach(func(*Generation, *Assignment, Record) {
		mu.Lock()
		defer mu.Unlock()
		if left--; left == 0 {
			b.StopTimer()
			cancel()
		}
	}))
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkWriteOne is one caller that writes record after record: the latency.
func BenchmarkWriteOne(b *testing.B) { benchmarkWrite(b, 1) }

// BenchmarkWriteShared is many callers that write one record each and wait.
func BenchmarkWriteShared(b *testing.B) { benchmarkWrite(b, 128) }

func benchmarkWrite(b *testing.B, callers int) {
	c, err := New(quick(kafkatest.Broker(b)))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	topic := kafkatest.Name("bench")
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	if err := c.EnsureTopics(ctx, []Topic{{Name: topic, Partitions: 4}}); err != nil {
		b.Fatal(err)
	}
	w := NewWriter(c, WriterConfig{})
	defer w.Close()
	work := make(chan int)
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for i := range work {
				if err := w.Write(ctx, Record{Topic: topic, Key: fmt.Append(nil, i), Value: make([]byte, 300)}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.ResetTimer()
	for i := range b.N {
		work <- i
	}
	close(work)
	all.Wait()
}
