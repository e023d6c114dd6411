package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"hotsync/connectors/kafka/kafkatest"
)

// table is what a reader of a compacted topic keeps.
type table struct {
	mu   sync.Mutex
	rows map[string]string
}

func (m *table) apply(_ context.Context, r Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Value == nil {
		delete(m.rows, string(r.Key))
		return nil
	}
	m.rows[string(r.Key)] = string(r.Value)
	return nil
}

func (m *table) get(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rows[key]
}

func TestFollowerBuildsATable(t *testing.T) {
	c := testClient(t)
	topic := makeTopic(t, c, Topic{Name: "state", Partitions: 3, Compacted: true})
	w := newWriter(t, c, WriterConfig{})
	for round := range 3 {
		records := numbered(topic, 60)
		for i := range records {
			records[i].Value = fmt.Append(nil, round)
		}
		write(t, w, records...)
	}
	write(t, w, Record{Topic: topic, Key: []byte("k7")})
	f, rows := NewFollower(c, FollowerConfig{Topic: topic, MaxWait: 100 * time.Millisecond}), &table{rows: map[string]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, rows.apply) }()
	if err := f.CaughtUp(limited(t)); err != nil {
		t.Fatal(err)
	}
	if len(rows.rows) != 59 || rows.get("k1") != "2" || rows.get("k7") != "" {
		t.Errorf("%d rows, k1=%q k7=%q", len(rows.rows), rows.get("k1"), rows.get("k7"))
	}
	// It goes on while new records come.
	write(t, w, Record{Topic: topic, Key: []byte("k7"), Value: []byte("back")})
	if err := f.CaughtUp(limited(t)); err != nil || rows.get("k7") != "back" {
		t.Errorf("%v, k7=%q", err, rows.get("k7"))
	}
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := f.Reached(short, 0, 1_000_000); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want a deadline", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFollowerEndsWithItsReader(t *testing.T) {
	c := testClient(t)
	topic := makeTopic(t, c, Topic{Name: "state", Partitions: 2})
	write(t, newWriter(t, c, WriterConfig{}), numbered(topic, 10)...)
	broken := errors.New("broken")
	err := NewFollower(c, FollowerConfig{Topic: topic}).Run(limited(t), func(context.Context, Record) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("%v, want the reader's error", err)
	}
}

// Compaction leaves gaps, also at the place where a reader was.
func TestReadingACompactedTopic(t *testing.T) {
	cluster := kafkatest.Fake(t)
	c := newClient(t, quick(cluster.ListenAddrs()[0]))
	topic := makeTopic(t, c, Topic{Name: "state", Partitions: 1, Compacted: true})
	w := newWriter(t, c, WriterConfig{})
	for round := range 5 {
		for i := range 4 {
			write(t, w, Record{Topic: topic, Key: fmt.Append(nil, "k", i), Value: fmt.Append(nil, round)})
		}
	}
	batch := numbered(topic, 30)
	for i := range batch {
		batch[i].Key = []byte("same")
	}
	write(t, w, batch...)
	write(t, w, Record{Topic: topic, Key: []byte("end"), Value: []byte("1")})
	cluster.Compact()
	for from := range int64(52) {
		last := int64(-1)
		err := c.ReadAll(limited(t), topic, 0, from, -1, func(_ context.Context, r Record) error {
			if r.Offset < from || r.Offset <= last {
				return fmt.Errorf("offset %d after %d, asked for %d on", r.Offset, last, from)
			}
			last = r.Offset
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if from <= 50 && last != 50 {
			t.Errorf("from %d: the last record is %d, want 50", from, last)
		}
	}
}

func TestReadAllRange(t *testing.T) {
	c := testClient(t)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	write(t, newWriter(t, c, WriterConfig{}), numbered(topic, 20)...)
	for _, tt := range []struct{ from, to, first, n int64 }{{-1, -1, 0, 20}, {5, 10, 5, 5}, {10, 5, 0, 0}, {18, 99, 18, 2}, {0, 0, 0, 0}} {
		var got []int64
		err := c.ReadAll(limited(t), topic, 0, tt.from, tt.to, func(_ context.Context, r Record) error {
			got = append(got, r.Offset)
			return nil
		})
		if err != nil || int64(len(got)) != tt.n || (tt.n > 0 && got[0] != tt.first) {
			t.Errorf("[%d, %d): %v, %v", tt.from, tt.to, got, err)
		}
	}
}

// A record may be ten times what a fetch asks for.
func TestTenMegabytes(t *testing.T) {
	c := testClient(t)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1, MaxMessageBytes: 12 << 20})
	w := newWriter(t, c, WriterConfig{MaxBytes: 11 << 20})
	big := bytes.Repeat([]byte("0123456789"), 1<<20)
	write(t, w, Record{Topic: topic, Value: []byte("before")})
	write(t, w, Record{Topic: topic, Value: big})
	write(t, w, Record{Topic: topic, Value: []byte("after")})
	var got [][]byte
	seen := make(chan struct{})
	consume(t, c, ConsumerConfig{Group: kafkatest.Name("g"), Topics: []string{topic}, MaxBytes: 64 << 10}, forEach(func(_ *Generation, _ *Assignment, r Record) {
		if got = append(got, r.Value); len(got) == 3 {
			close(seen)
		}
	}))
	select {
	case <-seen:
	case <-limited(t).Done():
		t.Fatal("not all came")
	}
	if !bytes.Equal(got[1], big) || string(got[2]) != "after" {
		t.Error("the records came back differently")
	}
}
