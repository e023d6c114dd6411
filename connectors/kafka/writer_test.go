package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"hotsync/connectors/kafka/kafkatest"
)

// readAll returns the records of a topic by partition.
func readAll(t *testing.T, c *Client, topic string) map[int][]Record {
	t.Helper()
	n, err := c.Partitions(limited(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	out := map[int][]Record{}
	for p := range n {
		err := c.ReadAll(limited(t), topic, p, -1, -1, func(_ context.Context, r Record) error {
			out[p] = append(out[p], r)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestWriteComesBackAsItWas(t *testing.T) {
	for _, codec := range []string{"", "gzip", "snappy", "lz4", "zstd"} {
		t.Run("compression "+codec, func(t *testing.T) {
			c := testClient(t)
			topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
			at := time.UnixMilli(1_700_000_000_123)
			want := []Record{
				{Topic: topic, Key: []byte("k"), Value: []byte("v"), Time: at, Headers: []Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "empty"}}},
				{Topic: topic, Key: []byte("tombstone"), Time: at},
				{Topic: topic, Key: []byte{}, Value: []byte{}, Time: at},
				{Topic: topic, Key: []byte("long"), Value: bytes.Repeat([]byte("abc"), 8_000), Time: at},
			}
			write(t, newWriter(t, c, WriterConfig{Compression: codec}), want...)
			got := readAll(t, c, topic)[0]
			for i := range got {
				want[i].Offset = int64(i)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-written +read):\n%s", diff)
			}
			if v, ok := got[0].Header("a"); !ok || string(v) != "2" {
				t.Errorf("Header(a) = %q, %v, want the last one", v, ok)
			}
			if got[1].Value != nil || got[2].Value == nil {
				t.Error("a tombstone and an empty value were confused")
			}
		})
	}
}

// Partition i of two topics holds the same keys, which is what keeps a key with
// one member of a group.
func TestKeysAgreeAcrossTopics(t *testing.T) {
	c := testClient(t)
	live, bulk := makeTopic(t, c, Topic{Name: "live", Partitions: 5}), makeTopic(t, c, Topic{Name: "bulk", Partitions: 5})
	w := newWriter(t, c, WriterConfig{})
	write(t, w, append(numbered(live, 100), numbered(bulk, 100)...)...)
	for topic, parts := range map[string]map[int][]Record{live: readAll(t, c, live), bulk: readAll(t, c, bulk)} {
		n := 0
		for p, records := range parts {
			for _, r := range records {
				n++
				if want := PartitionFor(r.Key, 5); p != want {
					t.Errorf("key %s of %s is in partition %d, want %d", r.Key, topic, p, want)
				}
			}
		}
		if n != 100 {
			t.Errorf("%d records in %s, want 100", n, topic)
		}
	}
}

// Hazard 11: kafka-go's writer waits a second for each small batch. Many callers
// that write one record each and wait must share requests.
func TestManyCallersShareBatches(t *testing.T) {
	c := testClient(t)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 4})
	w := newWriter(t, c, WriterConfig{})
	write(t, w, Record{Topic: topic, Value: []byte("warm")})
	const callers, each = 200, 20
	began := time.Now()
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for j := range each {
				if err := w.Write(limited(t), Record{Topic: topic, Key: fmt.Appendf(nil, "%d", i), Value: fmt.Appendf(nil, "%d", j)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	took, s := time.Since(began), w.Stats()
	t.Logf("%d records in %s: %.0f/s, %d batches", callers*each, took, callers*each/took.Seconds(), s.Batches)
	if s.Records != callers*each+1 || s.Batches > s.Records/4 {
		t.Errorf("%+v: want all records in far fewer batches", s)
	}
	last := map[string]int{}
	for _, records := range readAll(t, c, topic) {
		for _, r := range records {
			if string(r.Value) == "warm" {
				continue
			}
			var j int
			_, _ = fmt.Sscan(string(r.Value), &j)
			if want := last[string(r.Key)]; j != want {
				t.Fatalf("caller %s: record %d where %d was due", r.Key, j, want)
			}
			last[string(r.Key)]++
		}
	}
}

func TestTooLargeIsDistinguishable(t *testing.T) {
	c := testClient(t)
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1, MaxMessageBytes: 100_000})
	small := newWriter(t, c, WriterConfig{MaxBytes: 50_000})
	err := small.Write(limited(t), Record{Topic: topic, Key: []byte("personal"), Value: make([]byte, 60_000)})
	var too *TooLargeError
	if !errors.As(err, &too) || !errors.Is(err, ErrTooLarge) || too.Limit != 50_000 || too.Topic != topic {
		t.Errorf("over the writer's limit: %v", err)
	}
	// The broker's limit: only the culprit fails, whoever shares its batch.
	w := newWriter(t, c, WriterConfig{MaxBytes: 1 << 20, BatchTimeout: 100 * time.Millisecond})
	errs := make([]error, 9)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			size := 40_000
			if i == 4 {
				size = 200_000
			}
			errs[i] = w.Write(limited(t), Record{Topic: topic, Key: fmt.Append(nil, i), Value: make([]byte, size)})
		})
	}
	all.Wait()
	for i, err := range errs {
		if got, want := errors.Is(err, ErrTooLarge), i == 4; got != want || (err != nil) != want {
			t.Errorf("record %d: %v", i, err)
		}
	}
	if got := len(readAll(t, c, topic)[0]); got != 8 {
		t.Errorf("%d records arrived, want 8", got)
	}
}

func TestWriteRetriesWhatPasses(t *testing.T) {
	cluster := kafkatest.Fake(t)
	c := newClient(t, quick(cluster.ListenAddrs()[0]))
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	w := newWriter(t, c, WriterConfig{})
	for _, e := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.RequestTimedOut} {
		h := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: e, Count: 2})
		write(t, w, Record{Topic: topic, Value: []byte(e.Message)})
		if h.Hits() != 2 {
			t.Errorf("%s: met %d times, want 2", e.Message, h.Hits())
		}
	}
	if s := w.Stats(); s.Retries != 6 || s.Records != 3 {
		t.Errorf("%+v, want 6 retries", s)
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed})
	if err := w.Write(limited(t), Record{Topic: topic}); err == nil {
		t.Error("a refusal was tried again until it passed")
	}
}

func TestWriteEndsWithItsContext(t *testing.T) {
	cluster := kafkatest.Fake(t)
	c := newClient(t, quick(cluster.ListenAddrs()[0]))
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	w := newWriter(t, c, WriterConfig{})
	h := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := w.Write(ctx, Record{Topic: topic, Value: []byte("lost")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the context's error", err)
	}
	h.Remove()
	// The one whose caller has gone is not written behind its back.
	write(t, w, Record{Topic: topic, Value: []byte("kept")})
	var got []string
	for _, r := range readAll(t, c, topic)[0] {
		got = append(got, string(r.Value))
	}
	if !slices.Equal(got, []string{"kept"}) {
		t.Errorf("the topic has %q", got)
	}
}

func TestWriteToMissingTopicAndAfterClose(t *testing.T) {
	c := testClient(t)
	w := NewWriter(c, WriterConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := w.Write(ctx, Record{Topic: kafkatest.Name("none")}); !errors.Is(err, ErrNoTopic) {
		t.Errorf("%v, want ErrNoTopic", err)
	}
	topic := makeTopic(t, c, Topic{Name: "t", Partitions: 1})
	w.Close()
	w.Close()
	if err := w.Write(limited(t), Record{Topic: topic}); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}
