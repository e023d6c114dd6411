package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

const maxBatchRecords = 10_000

// call is one Write that waits for its records.
type call struct {
	finished chan struct{}
	gone     <-chan struct{} // the caller's context
	cause    func() error

	mu   sync.Mutex
	left int
	err  error // of the first record that failed
}

func newCall(ctx context.Context, n int) *call {
	return &call{finished: make(chan struct{}), gone: ctx.Done(), cause: ctx.Err, left: n}
}

func (c *call) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	if c.left--; c.left == 0 {
		close(c.finished)
	}
}

type entry struct {
	rec  Record
	call *call
}

// sendQueue is what waits for one partition. One request at a time keeps the
// order; it runs only while something waits.
type sendQueue struct {
	waiting []*entry
	running bool
}

func (w *Writer) enqueue(by map[topicPartition][]*entry) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	for tp, entries := range by {
		q := w.queues[tp]
		if q == nil {
			q = &sendQueue{}
			w.queues[tp] = q
		}
		q.waiting = append(q.waiting, entries...)
		if !q.running {
			q.running = true
			w.work.Go(func() { w.drain(tp, q) })
		}
	}
	return true
}

// drain sends what waits for a partition, batch after batch, until nothing does.
func (w *Writer) drain(tp topicPartition, q *sendQueue) {
	for {
		if w.cfg.BatchTimeout > 0 {
			w.pause(w.cfg.BatchTimeout)
		}
		w.mu.Lock()
		batch := q.take(w.cfg.MaxBytes)
		if len(batch) == 0 {
			q.running = false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		w.send(tp, batch)
	}
}

func (q *sendQueue) take(maxBytes int) []*entry {
	n, size := 0, 0
	for n < len(q.waiting) && n < maxBatchRecords {
		size += q.waiting[n].rec.size()
		if n > 0 && size > maxBytes {
			break
		}
		n++
	}
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
	return batch
}

// send produces a batch and tells its callers. A batch that the broker finds too
// big, or in which it dislikes a record, is halved until the culprit is alone:
// one caller's record must not fail another's.
func (w *Writer) send(tp topicPartition, batch []*entry) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		batch = w.present(batch)
		if len(batch) == 0 {
			return
		}
		err := w.produce(tp, batch)
		switch {
		case err == nil:
			w.records.Add(int64(len(batch)))
			w.batches.Add(1)
			w.tell(batch, nil)
			return
		case blamesRecord(err) && len(batch) > 1:
			half := len(batch) / 2
			w.send(tp, batch[:half])
			w.send(tp, batch[half:])
			return
		case errors.Is(err, kafkago.MessageSizeTooLarge), errors.Is(err, kafkago.RecordListTooLarge):
			r := batch[0].rec
			w.tell(batch, &TooLargeError{Topic: r.Topic, Key: r.Key, Size: r.size()})
			return
		case !temporary(err):
			w.tell(batch, fmt.Errorf("topic %s partition %d: %w", tp.topic, tp.part, err))
			return
		}
		w.retries.Add(1)
		if !w.pause(pause) {
			w.tell(batch, errors.Join(ErrClosed, err))
			return
		}
	}
}

func blamesRecord(err error) bool {
	c, _ := code(err)
	switch c {
	case kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge, kafkago.InvalidRecord, kafkago.InvalidTimestamp:
		return true
	}
	return false
}

// present leaves out the records whose callers have gone.
func (w *Writer) present(batch []*entry) []*entry {
	here := batch[:0:0]
	for _, e := range batch {
		select {
		case <-e.call.gone:
			w.tell([]*entry{e}, e.call.cause())
		default:
			here = append(here, e)
		}
	}
	return here
}

func (w *Writer) produce(tp topicPartition, batch []*entry) error {
	records := make([]kafkago.Record, len(batch))
	for i, e := range batch {
		records[i] = kafkago.Record{Time: e.rec.Time, Key: kafkago.NewBytes(e.rec.Key), Value: kafkago.NewBytes(e.rec.Value)}
		for _, h := range e.rec.Headers {
			records[i].Headers = append(records[i].Headers, kafkago.Header{Key: h.Key, Value: h.Value})
		}
	}
	// Not the callers' contexts: a batch has many of them.
	ctx, cancel := context.WithTimeout(context.Background(), w.client.cfg.RequestTimeout)
	defer cancel()
	res, err := w.client.control().Produce(ctx, &kafkago.ProduceRequest{
		Topic: tp.topic, Partition: tp.part, RequiredAcks: kafkago.RequireAll,
		Compression: codecs[w.cfg.Compression], Records: kafkago.NewRecordReader(records...),
	})
	if err != nil {
		return err
	}
	return res.Error
}

func (w *Writer) tell(batch []*entry, err error) {
	if err != nil {
		w.failures.Add(int64(len(batch)))
	}
	for _, e := range batch {
		e.call.finish(err)
	}
}

func (w *Writer) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.stop:
		return false
	case <-t.C:
		return true
	}
}
