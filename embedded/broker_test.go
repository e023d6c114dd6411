package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"hotsync/embedded"
	"hotsync/embedded/embeddedtest"
)

const (
	topic = "hotsync.events"
	group = "loader"
)

func startBroker(t testing.TB, cfg embedded.BrokerConfig) *embedded.Broker {
	t.Helper()
	if cfg.MinSession == 0 {
		cfg.MinSession = 100 * time.Millisecond
	}
	b, err := embedded.StartBroker(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func client(t testing.TB, addr string) *kafka.Client {
	// Connections of its own: the shared ones outlive brokers.
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(addr), Timeout: 10 * time.Second, Transport: transport}
}

func createTopic(t testing.TB, addr string, cfg kafka.TopicConfig) {
	t.Helper()
	resp, err := client(t, addr).CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{cfg}})
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Errors[cfg.Topic]; err != nil {
		t.Fatal(err)
	}
}

func newWriter(t testing.TB, addr string) *kafka.Writer {
	t.Helper()
	w := &kafka.Writer{
		Addr: kafka.TCP(addr), Topic: topic, RequiredAcks: kafka.RequireAll, Balancer: &kafka.Hash{},
		BatchTimeout: time.Millisecond, Transport: &kafka.Transport{},
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func produce(t testing.TB, addr string, from, to int) {
	t.Helper()
	var msgs []kafka.Message
	for i := from; i < to; i++ {
		msgs = append(msgs, kafka.Message{Key: []byte("k"), Value: fmt.Appendf(nil, "v%d", i)})
	}
	if err := newWriter(t, addr).WriteMessages(t.Context(), msgs...); err != nil {
		t.Fatal(err)
	}
}

// readAll reads one partition from its first offset to its last.
func readAll(t testing.TB, addr, topic string, partition int) []kafka.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := kafka.DialLeader(ctx, "tcp", addr, topic, partition)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	first, last, err := conn.ReadOffsets()
	if err != nil {
		t.Fatal(err)
	}
	if first == last {
		return nil
	}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{addr}, Topic: topic, Partition: partition, MaxWait: 50 * time.Millisecond})
	defer r.Close()
	if err := r.SetOffset(first); err != nil {
		t.Fatal(err)
	}
	var msgs []kafka.Message
	for len(msgs) == 0 || msgs[len(msgs)-1].Offset < last-1 {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			t.Fatalf("read %s/%d after %d of %d: %v", topic, partition, len(msgs), last, err)
		}
		msgs = append(msgs, m)
	}
	return msgs
}

func values(msgs []kafka.Message) []string {
	var vs []string
	for _, m := range msgs {
		vs = append(vs, string(m.Value))
	}
	return vs
}

// joinGroup waits for the next generation and commits offset and metadata in
// it; the generation ends when the test does, or by the returned function.
func joinGroup(t testing.TB, addr string) (*kafka.Generation, func()) {
	t.Helper()
	g, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: group, Brokers: []string{addr}, Topics: []string{topic},
		SessionTimeout: 2 * time.Second, RebalanceTimeout: 2 * time.Second, HeartbeatInterval: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	leave := func() { _ = g.Close() }
	t.Cleanup(leave)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	gen, err := g.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return gen, leave
}

func commit(t testing.TB, addr string, gen *kafka.Generation, offset int64, metadata string) error {
	t.Helper()
	resp, err := client(t, addr).OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: int(gen.ID), MemberID: gen.MemberID,
		Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: offset, Metadata: metadata}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Topics[topic][0].Error
}

func committed(t testing.TB, addr string) (int64, string) {
	t.Helper()
	resp, err := client(t, addr).OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0}}})
	if err != nil {
		t.Fatal(err)
	}
	p := resp.Topics[topic][0]
	if p.Error != nil {
		t.Fatal(p.Error)
	}
	return p.CommittedOffset, p.Metadata
}

func TestBrokerKeepsDataOverRestart(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, embedded.BrokerConfig{DataDir: dir})
	addr := b.Addr()
	createTopic(t, addr, kafka.TopicConfig{Topic: topic, NumPartitions: 2, ReplicationFactor: 1,
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "compact"}}})
	produce(t, addr, 0, 100)
	gen, leave := joinGroup(t, addr)
	if err := commit(t, addr, gen, 42, "pending 42-99 sha256:abc"); err != nil {
		t.Fatal(err)
	}
	leave()
	partition := 0
	if readAll(t, addr, topic, 0) == nil {
		partition = 1
	}
	want := readAll(t, addr, topic, partition)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b = startBroker(t, embedded.BrokerConfig{DataDir: dir, Port: port(t, addr)})
	if b.Addr() != addr {
		t.Fatalf("asked for %s, got %s", addr, b.Addr())
	}
	if diff := cmp.Diff(values(want), values(readAll(t, addr, topic, partition))); diff != "" || len(want) != 100 {
		t.Errorf("records after a restart (-want +got, want has %d):\n%s", len(want), diff)
	}
	if offset, metadata := committed(t, addr); offset != 42 || metadata != "pending 42-99 sha256:abc" {
		t.Errorf("committed %d %q after a restart", offset, metadata)
	}
	next, _ := joinGroup(t, addr)
	if next.Assignments[topic] == nil {
		t.Errorf("no partitions after a restart: %+v", next.Assignments)
	}
	if err := commit(t, addr, gen, 7, "stale"); err == nil {
		t.Error("a generation from before the restart could commit")
	}
	if offset, _ := committed(t, addr); offset != 42 {
		t.Errorf("a stale commit moved the offset to %d", offset)
	}
	// New records continue where the old ended.
	produce(t, addr, 100, 101)
	if got := readAll(t, addr, topic, partition); len(got) != 101 || got[100].Offset != want[99].Offset+1 {
		t.Errorf("%d records after one more", len(got))
	}
}

func TestBrokerKeepsAcknowledgedOverKill(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for round := range 3 {
		parent, addr := startProgram(t, "__parent_of_broker", dir)
		if round == 0 {
			createTopic(t, addr, kafka.TopicConfig{Topic: topic, NumPartitions: 1, ReplicationFactor: 1})
		}
		gen, _ := joinGroup(t, addr) // never leaves
		acknowledged := produceUntilKilled(t, addr, round, func(n int) {
			if n == 20 {
				if err := commit(t, addr, gen, int64(len(want)+n), fmt.Sprint("round ", round)); err != nil {
					t.Error(err)
				}
				killAndWait(parent)
			}
		})
		got := afterKill(t, dir, len(want)+20, fmt.Sprint("round ", round))
		if diff := cmp.Diff(append(want, acknowledged...), got[:min(len(got), len(want)+len(acknowledged))]); diff != "" {
			t.Fatalf("round %d: acknowledged records (-want +got):\n%s", round, diff)
		}
		want = got
	}
}

// produceUntilKilled writes one record at a time until the broker is gone and
// returns those that were acknowledged.
func produceUntilKilled(t *testing.T, addr string, round int, after func(n int)) []string {
	t.Helper()
	w := newWriter(t, addr)
	w.MaxAttempts = 1
	var acknowledged []string
	for {
		v := fmt.Sprintf("%d/%d", round, len(acknowledged))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := w.WriteMessages(ctx, kafka.Message{Key: []byte("k"), Value: []byte(v)})
		cancel()
		if err != nil {
			return acknowledged
		}
		acknowledged = append(acknowledged, v)
		after(len(acknowledged))
	}
}

func afterKill(t *testing.T, dir string, offset int, metadata string) []string {
	t.Helper()
	b := startBroker(t, embedded.BrokerConfig{DataDir: dir})
	defer b.Close()
	if o, m := committed(t, b.Addr()); o != int64(offset) || m != metadata {
		t.Errorf("committed %d %q, want %d %q", o, m, offset, metadata)
	}
	start := time.Now()
	gen, leave := joinGroup(t, b.Addr())
	if len(gen.Assignments[topic]) != 1 {
		t.Errorf("assigned %+v", gen.Assignments)
	}
	leave()
	t.Logf("joined %s after the kill", time.Since(start))
	return values(readAll(t, b.Addr(), topic, 0))
}

func TestBrokerRefusesWhatIsTaken(t *testing.T) {
	dir := t.TempDir()
	b := startBroker(t, embedded.BrokerConfig{DataDir: dir})
	if _, err := embedded.StartBroker(embedded.BrokerConfig{DataDir: dir}); !errors.Is(err, embedded.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second broker in one folder: %v", err)
	}
	if _, err := embedded.StartBroker(embedded.BrokerConfig{DataDir: t.TempDir(), Port: port(t, b.Addr())}); !errors.Is(err, embedded.ErrInUse) {
		t.Errorf("second broker on one port: %v", err)
	}
	if _, err := embedded.StartBroker(embedded.BrokerConfig{}); err == nil {
		t.Error("no folder is no error")
	}
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.StartBroker(embedded.BrokerConfig{DataDir: file}); err == nil {
		t.Error("a file as folder is no error")
	}
	if err := errors.Join(b.Close(), b.Close()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	startBroker(t, embedded.BrokerConfig{DataDir: dir})
}

func TestBrokersOfTestsAreApart(t *testing.T) {
	a, b := embeddedtest.Broker(t), embeddedtest.Broker(t)
	createTopic(t, a, kafka.TopicConfig{Topic: topic, NumPartitions: 1, ReplicationFactor: 1})
	resp, err := client(t, b).Metadata(t.Context(), &kafka.MetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if a == b || len(resp.Topics) != 0 {
		t.Errorf("%s and %s share topics", a, b)
	}
	if host, _, _ := net.SplitHostPort(a); host != "127.0.0.1" {
		t.Errorf("broker listens on %s", host)
	}
}

// BenchmarkProduce is one writer with acks=all: records of 500 bytes in
// batches of the given size.
func BenchmarkProduce(b *testing.B) {
	for _, sync := range []bool{true, false} {
		for _, size := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("sync=%v/batch=%d", sync, size), func(b *testing.B) {
				broker := startBroker(b, embedded.BrokerConfig{DataDir: b.TempDir(), NoSync: !sync})
				createTopic(b, broker.Addr(), kafka.TopicConfig{Topic: topic, NumPartitions: 1, ReplicationFactor: 1})
				w := newWriter(b, broker.Addr())
				w.BatchSize = size
				msgs := make([]kafka.Message, size)
				for i := range msgs {
					msgs[i] = kafka.Message{Key: []byte("k"), Value: make([]byte, 500)}
				}
				for b.Loop() {
					if err := w.WriteMessages(b.Context(), msgs...); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}
