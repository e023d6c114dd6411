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

// WriterConfig tunes a Writer. The zero value is good.
type WriterConfig struct {
	// MaxBytes bounds a record, and a batch, before compression. A record over it
	// is an ErrTooLarge. Default 1,000,000, which fits the broker's default.
	MaxBytes int
	// BatchTimeout is how long a record waits for company when nothing else of its
	// partition is on the way. Default 0: the request in flight is the timer, and
	// what arrives meanwhile is the next batch, so a lone record goes at once and
	// a thousand callers share few requests (hazard 11: kafka-go's own writer
	// waits 1 s for each small batch).
	BatchTimeout time.Duration
	// Compression is "", "gzip", "snappy", "lz4" or "zstd".
	Compression string
}

// Validate returns every problem at once, or nil.
func (c WriterConfig) Validate() error {
	var bad []error
	if c.MaxBytes < 0 || (c.MaxBytes > 0 && c.MaxBytes < 1024) {
		bad = append(bad, fmt.Errorf("kafka writer max bytes %d: want at least 1024", c.MaxBytes))
	}
	if c.BatchTimeout < 0 || c.BatchTimeout > time.Second {
		bad = append(bad, fmt.Errorf("kafka writer batch timeout %s: want at most 1s", c.BatchTimeout))
	}
	if _, ok := codecs[c.Compression]; !ok {
		bad = append(bad, fmt.Errorf("kafka writer compression %q: choose gzip, snappy, lz4, zstd or nothing", c.Compression))
	}
	return errors.Join(bad...)
}

// Writer writes records to any topic, acknowledged by all in-sync replicas. It
// is meant to be shared: many goroutines that each write one record and wait
// fill each other's batches. Records of one key that one caller writes in
// sequence keep their order. It has no goroutine while it has no work.
type Writer struct {
	client *Client
	cfg    WriterConfig

	mu     sync.Mutex
	queues map[topicPartition]*sendQueue
	counts map[string]partitionCount
	closed bool
	work   sync.WaitGroup
	stop   chan struct{} // closed when Close has waited long enough

	records, batches, retries, failures atomic.Int64
}

// WriterStats counts since the writer was made.
type WriterStats struct {
	// Records and Batches that were acknowledged.
	Records, Batches int64
	// Retries of a batch.
	Retries int64
	// Failures are records whose Write was told an error.
	Failures int64
}

type topicPartition struct {
	topic string
	part  int
}

type partitionCount struct {
	n  int
	at time.Time
}

// NewWriter returns a writer of client. It dials nothing and starts nothing. A
// cfg that Validate refuses is a programming error and panics.
func NewWriter(client *Client, cfg WriterConfig) *Writer {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	setDefault(&cfg.MaxBytes, 1_000_000)
	return &Writer{
		client: client, cfg: cfg, queues: map[topicPartition]*sendQueue{}, counts: map[string]partitionCount{}, stop: make(chan struct{}),
	}
}

// Write returns nil when every record is on all in-sync replicas. Each record
// goes to PartitionFor its key. What can be repaired by waiting (a broker that is
// away, a leader that moves, too few replicas) is tried again until ctx ends. On
// an error some records may have been written, and one that ctx cut short may
// still be: the caller writes again and readers must bear a duplicate. Errors:
// ErrTooLarge, ErrNoTopic, ErrClosed, ctx's, or the broker's refusal. The bytes
// of the records must not change until Write returned nil.
func (w *Writer) Write(ctx context.Context, records ...Record) error {
	if len(records) == 0 {
		return nil
	}
	by := map[topicPartition][]*entry{}
	done := newCall(ctx, len(records))
	now := time.Now()
	for _, r := range records {
		if n := r.size(); n > w.cfg.MaxBytes {
			return fmt.Errorf("write to topic %s: %w", r.Topic, &TooLargeError{Topic: r.Topic, Key: r.Key, Size: n, Limit: w.cfg.MaxBytes})
		}
		n, err := w.partitions(ctx, r.Topic)
		if err != nil {
			return fmt.Errorf("write to topic %s: %w", r.Topic, err)
		}
		if r.Time.IsZero() {
			r.Time = now
		}
		tp := topicPartition{r.Topic, PartitionFor(r.Key, n)}
		by[tp] = append(by[tp], &entry{rec: r, call: done})
	}
	if !w.enqueue(by) {
		return fmt.Errorf("write %d records: %w", len(records), ErrClosed)
	}
	select {
	case <-done.finished:
	case <-ctx.Done():
		return fmt.Errorf("write %d records, outcome unknown: %w", len(records), ctx.Err())
	}
	if done.err != nil {
		return fmt.Errorf("write %d records: %w", len(records), done.err)
	}
	return nil
}

// Close refuses new records and waits for those that were accepted, no longer
// than one request takes; then what is left is told ErrClosed.
func (w *Writer) Close() {
	w.mu.Lock()
	already := w.closed
	w.closed = true
	w.mu.Unlock()
	if already {
		w.work.Wait()
		return
	}
	idle := make(chan struct{})
	go func() { w.work.Wait(); close(idle) }()
	limit := time.NewTimer(w.client.cfg.RequestTimeout)
	defer limit.Stop()
	select {
	case <-idle:
	case <-limit.C:
		close(w.stop)
		<-idle
	}
}

// Stats returns the counters.
func (w *Writer) Stats() WriterStats {
	return WriterStats{Records: w.records.Load(), Batches: w.batches.Load(), Retries: w.retries.Load(), Failures: w.failures.Load()}
}

// partitions returns how many partitions a topic has, from memory for as long
// as kafka-go's own metadata would be. An unknown topic is given a short time to
// appear; a cluster that is away is waited for as long as ctx allows.
func (w *Writer) partitions(ctx context.Context, topic string) (int, error) {
	w.mu.Lock()
	have, ok := w.counts[topic]
	w.mu.Unlock()
	if ok && time.Since(have.at) < w.client.cfg.MetadataTTL {
		return have.n, nil
	}
	missing := time.Now().Add(lookLimit)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		topics, err := w.client.metadata(ctx, w.client.control(), []Topic{{Name: topic}})
		n := len(topics[topic].Partitions)
		switch {
		case err == nil && n > 0:
			w.mu.Lock()
			w.counts[topic] = partitionCount{n, time.Now()}
			w.mu.Unlock()
			return n, nil
		case err == nil && time.Now().After(missing):
			return 0, fmt.Errorf("topic %s: %w", topic, ErrNoTopic)
		case ok: // a leader is away or the cluster is: the number is still good
			return have.n, nil
		case err != nil && !temporary(err):
			return 0, err
		}
		if !sleep(ctx, pause) {
			if err == nil {
				err = ErrNoTopic
			}
			return 0, errors.Join(ctx.Err(), err)
		}
	}
}

var codecs = map[string]kafkago.Compression{
	"": 0, "gzip": kafkago.Gzip, "snappy": kafkago.Snappy, "lz4": kafkago.Lz4, "zstd": kafkago.Zstd,
}
