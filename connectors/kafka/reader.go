package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// reader reads one partition for as long as it is run, through Fetch requests of
// kafka-go's Client. Its Conn and Reader are not used: they hand transaction
// markers out as records, go back to offset 1 at an empty batch that compaction
// left, and their Close can hang (hazard 8). Records of aborted transactions are
// handed out.
type reader struct {
	client *Client
	topic  string
	part   int
	fetch  fetchConfig
	notify func(Notice)
	// shared is used until the first rebuild, own after it.
	shared *kafkago.Transport
	own    *kafkago.Transport

	offset   int64     // next to fetch
	ask      int       // bytes to ask for next; 0 before the first fetch
	progress time.Time // last time that something came, or that nothing was to come
	rebuilds int
}

// fetchConfig says how much to ask for at a time.
type fetchConfig struct {
	minBytes, maxBytes int
	maxWait            time.Duration
	stallAfter         time.Duration
}

// chunk is the result of one fetch.
type chunk struct {
	records []Record
	// next is where the log goes on, high the partition's high watermark.
	next, high int64
	// reset says that next may lie below what was read before.
	reset bool
	// batches came in so many bytes, about.
	batches, bytes int
}

var errHung = errors.New("the fetch did not answer and could not be cancelled")

// run hands chunks to sink until ctx ends (nil) or reading is refused. sink may
// block; a chunk without records tells where the log goes on and how long it is.
func (r *reader) run(ctx context.Context, sink func(context.Context, chunk) error) error {
	defer func() {
		if r.own != nil {
			r.client.drop(r.own)
		}
	}()
	r.progress = time.Now()
	for pause := 50 * time.Millisecond; ctx.Err() == nil; {
		got, err := r.attempt(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, kafkago.OffsetOutOfRange):
			got, err = r.reposition(ctx)
		}
		if err != nil {
			if denied(err) {
				return fmt.Errorf("read topic %s partition %d: %w", r.topic, r.part, err)
			}
			r.notice(NoticeFetchFailed, err)
			if errors.Is(err, errHung) {
				r.rebuild(err)
			}
			r.checkStall(ctx)
			sleep(ctx, pause)
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 50 * time.Millisecond
		r.adapt(got)
		if len(got.records) > 0 || got.next != r.offset {
			r.offset = got.next
			if err := sink(ctx, got); err != nil {
				return err
			}
			r.progress = time.Now() // the time that sink took is not a stall
			continue
		}
		if err := sink(ctx, got); err != nil {
			return err
		}
		r.checkStall(ctx)
	}
	return nil
}

// checkStall is the watchdog (hazard 9: readers stall with growing lag until
// restart). When nothing came for too long although the partition goes on,
// connections are replaced.
func (r *reader) checkStall(ctx context.Context) {
	if time.Since(r.progress) < r.fetch.stallAfter {
		return
	}
	_, next, err := r.client.bounds(ctx, r.topic, r.part) // over other connections
	if err != nil {
		return // the cluster is away: no reader of ours is at fault
	}
	if next > r.offset {
		r.rebuild(fmt.Errorf("nothing came for %s, %d records behind", r.fetch.stallAfter, next-r.offset))
	}
	r.progress = time.Now()
}

func (r *reader) rebuild(why error) {
	if r.own != nil {
		r.client.drop(r.own)
	}
	r.own = r.client.newTransport()
	r.rebuilds++
	r.progress = time.Now()
	r.notice(NoticeRebuilt, why)
}

func (r *reader) notice(kind NoticeKind, err error) {
	r.notify(Notice{Kind: kind, Topic: r.topic, Partition: r.part, Offset: r.offset, Err: err})
}

// attempt is one fetch. It comes back in bounded time even when kafka-go does not.
func (r *reader) attempt(ctx context.Context) (chunk, error) {
	limit := r.fetch.maxWait + r.client.cfg.RequestTimeout
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	transport := r.shared
	if r.own != nil {
		transport = r.own
	}
	type result struct {
		chunk chunk
		err   error
	}
	offset, cfg := r.offset, r.fetch
	if r.ask == 0 {
		r.ask = min(firstAsk, cfg.maxBytes)
	}
	cfg.maxBytes = r.ask
	cfg.minBytes = min(cfg.minBytes, cfg.maxBytes)
	back := make(chan result, 1)
	go func() {
		got, err := fetch(ctx, r.client.api(transport), r.topic, r.part, offset, cfg)
		back <- result{got, err}
	}()
	var res result
	select {
	case res = <-back:
		return res.chunk, res.err
	case <-ctx.Done(): // the answer is next, unless kafka-go hangs (hazard 8)
	}
	hung := time.NewTimer(time.Second)
	defer hung.Stop()
	select {
	case res = <-back:
		return res.chunk, res.err
	case <-hung.C:
		return chunk{}, errHung
	}
}

// kafka-go takes a page of 64 KiB for each batch of an answer, however small the
// batch (hazard 17): a mebibyte of batches with one record each would take a
// hundred mebibytes, for every partition that is read at once.
const (
	batchesAtOnce = 32
	firstAsk      = 16 << 10
	leastAsk      = 4 << 10
)

// adapt sets how much the next fetch asks for, so that the batches of an answer
// stay few: less after many small ones, more after an answer that was full of
// large ones.
func (r *reader) adapt(got chunk) {
	switch {
	case got.batches > batchesAtOnce:
		r.ask = max(min(leastAsk, r.fetch.maxBytes), r.ask/got.batches*batchesAtOnce)
	case 2*got.batches <= batchesAtOnce && 2*got.bytes >= r.ask:
		r.ask = min(2*r.ask, r.fetch.maxBytes)
	}
}

// reposition finds out where to go on after the broker refused the offset.
func (r *reader) reposition(ctx context.Context) (chunk, error) {
	first, next, err := r.client.bounds(ctx, r.topic, r.part)
	if err != nil {
		return chunk{}, err
	}
	if r.offset > next {
		// A replica that has just become leader may be behind for a moment.
		sleep(ctx, 2*time.Second)
		if first, next, err = r.client.bounds(ctx, r.topic, r.part); err != nil {
			return chunk{}, err
		}
	}
	n := Notice{Topic: r.topic, Partition: r.part, Offset: r.offset, To: first, Err: kafkago.OffsetOutOfRange}
	switch {
	case r.offset < first:
		n.Kind = NoticeSkipped
		r.notify(n)
		return chunk{next: first, high: next}, nil
	case r.offset > next:
		n.Kind = NoticeReset
		r.notify(n)
		return chunk{next: first, high: next, reset: true}, nil
	}
	return chunk{}, fmt.Errorf("offset %d of [%d, %d): %w", r.offset, first, next, kafkago.OffsetNotAvailable)
}

// fetch asks for records at offset. The broker sends a first batch that is over
// maxBytes whole, so no record is too big to be read.
func fetch(ctx context.Context, api *kafkago.Client, topic string, part int, offset int64, cfg fetchConfig) (chunk, error) {
	res, err := api.Fetch(ctx, &kafkago.FetchRequest{
		Topic: topic, Partition: part, Offset: offset,
		MinBytes: int64(cfg.minBytes), MaxBytes: int64(cfg.maxBytes), MaxWait: cfg.maxWait,
	})
	if err != nil {
		return chunk{}, err
	}
	if res.Error != nil {
		return chunk{}, res.Error
	}
	got := chunk{next: offset, high: res.HighWatermark}
	if stream, ok := res.Records.(*protocol.RecordStream); ok {
		got.batches = len(stream.Records)
	}
	for {
		rec, err := res.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if len(got.records) > 0 { // the next fetch meets the error first
				break
			}
			return chunk{}, fmt.Errorf("decode a record of topic %s partition %d at or after offset %d: %w", topic, part, offset, err)
		}
		out, err := convert(rec)
		if err != nil {
			return chunk{}, fmt.Errorf("decode topic %s partition %d offset %d: %w", topic, part, rec.Offset, err)
		}
		got.bytes += out.size()
		if out.Offset < offset { // a batch is sent whole
			continue
		}
		out.Topic, out.Partition = topic, part
		got.records = append(got.records, out)
		got.next = out.Offset + 1
	}
	got.next = max(got.next, passed(res.Records, offset, len(got.records)))
	return got, nil
}

// passed returns where the log goes on after batches that hold no record for us:
// transaction markers, and batches whose records were compacted away.
func passed(records kafkago.RecordReader, offset int64, n int) int64 {
	stream, ok := records.(*protocol.RecordStream)
	if !ok || len(stream.Records) == 0 {
		return offset
	}
	next := offset
	for _, b := range stream.Records {
		switch b := b.(type) {
		case *protocol.ControlBatch:
			for rec, err := b.ReadRecord(); err == nil; rec, err = b.ReadRecord() {
				next = max(next, rec.Offset+1)
				_, _ = convert(rec)
			}
		case *protocol.RecordBatch:
			if n == 0 {
				next = max(next, b.BaseOffset+1)
			}
		}
	}
	if n == 0 && next == offset {
		next++ // the batch covers offset and has nothing at or after it
	}
	return next
}

// convert copies a record out of kafka-go's buffers and gives them back.
func convert(rec *kafkago.Record) (Record, error) {
	out := Record{Offset: rec.Offset, Time: rec.Time}
	var err, verr error
	out.Key, err = readBytes(rec.Key)
	out.Value, verr = readBytes(rec.Value)
	for _, h := range rec.Headers {
		out.Headers = append(out.Headers, Header{Key: h.Key, Value: h.Value})
	}
	return out, errors.Join(err, verr)
}

func readBytes(b kafkago.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	defer func() { _ = b.Close() }()
	return kafkago.ReadAll(b)
}
