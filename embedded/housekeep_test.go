package embedded_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"hotsync/embedded"
)

// writeState fills a compacted topic: 50 versions of each of 4 keys.
func writeState(t *testing.T, dir string, policy, retention string) {
	t.Helper()
	b := startBroker(t, embedded.BrokerConfig{DataDir: dir, NoSync: true})
	createTopic(t, b.Addr(), kafka.TopicConfig{Topic: topic, NumPartitions: 1, ReplicationFactor: 1,
		ConfigEntries: []kafka.ConfigEntry{
			{ConfigName: "cleanup.policy", ConfigValue: policy},
			{ConfigName: "retention.ms", ConfigValue: retention},
			{ConfigName: "segment.bytes", ConfigValue: "2000"},
		}})
	w := newWriter(t, b.Addr())
	for version := range 50 {
		var msgs []kafka.Message
		for key := range 4 {
			msgs = append(msgs, kafka.Message{Key: []byte(strconv.Itoa(key)), Value: fmt.Appendf(nil, "%d@%d", key, version)})
		}
		if err := w.WriteMessages(t.Context(), msgs...); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// state is what a reader of the whole topic knows in the end, how much it had
// to read, and where the partition ends.
type state struct {
	Latest  map[string]string
	Records int
	Next    int64
}

func readState(t *testing.T, dir string) state {
	t.Helper()
	b := startBroker(t, embedded.BrokerConfig{DataDir: dir, NoSync: true})
	defer b.Close()
	s := state{Latest: map[string]string{}}
	msgs := readAll(t, b.Addr(), topic, 0)
	for _, m := range msgs {
		s.Latest[string(m.Key)] = string(m.Value)
		s.Next = m.Offset + 1
	}
	s.Records = len(msgs)
	return s
}

func TestHousekeepingCompacts(t *testing.T) {
	dir := t.TempDir()
	writeState(t, dir, "compact", "-1")
	before := readState(t, dir)
	if err := embedded.Housekeep(dir, time.Now(), 1<<30); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, readState(t, dir)); diff != "" {
		t.Errorf("a small topic was changed:\n%s", diff)
	}
	if err := embedded.Housekeep(dir, time.Now(), 1000); err != nil {
		t.Fatal(err)
	}
	after := readState(t, dir)
	if after.Records >= 10 || before.Records != 200 {
		t.Errorf("%d records became %d", before.Records, after.Records)
	}
	before.Records, after.Records = 0, 0
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("compaction changed the state (-before +after):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(dir, "compacting")); err == nil {
		t.Error("compaction left its scratch folder")
	}
}

// A kill may strike before the result is ready, and while it is put in place.
func TestInterruptedCompaction(t *testing.T) {
	tests := map[string]struct {
		kill      func(t *testing.T, dir string)
		compacted bool
	}{
		"before ready": {kill: func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, "compacting", "ready"))
			remove(t, filepath.Join(dir, "compacting", "log", "topics.json"))
		}},
		"ready": {kill: func(*testing.T, string) {}, compacted: true},
		"old partition half removed": {kill: func(t *testing.T, dir string) {
			files, err := filepath.Glob(filepath.Join(dir, "log", "partitions", topic+"-0", "*.dat"))
			if err != nil || len(files) < 2 {
				t.Fatalf("%v, %v", files, err)
			}
			remove(t, files[0])
		}, compacted: true},
		"in place, scratch not removed": {kill: func(t *testing.T, dir string) {
			part := filepath.Join("partitions", topic+"-0")
			remove(t, filepath.Join(dir, "log", part))
			if err := os.Rename(filepath.Join(dir, "compacting", "log", part), filepath.Join(dir, "log", part)); err != nil {
				t.Fatal(err)
			}
		}, compacted: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeState(t, dir, "compact", "-1")
			before := readState(t, dir)
			if err := embedded.CompactOnly(dir); err != nil {
				t.Fatal(err)
			}
			tt.kill(t, dir)
			after := readState(t, dir) // starting the broker tidies
			if tt.compacted != (after.Records < before.Records) {
				t.Errorf("%d records became %d", before.Records, after.Records)
			}
			before.Records, after.Records = 0, 0
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("state (-before +after):\n%s", diff)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func TestHousekeepingDropsExpired(t *testing.T) {
	day := 24 * time.Hour
	tests := map[string]struct {
		policy, retention string
		age               time.Duration
		all               bool
	}{
		"young":       {"delete", "86400000", day / 2, true},
		"old":         {"delete", "86400000", 2 * day, false},
		"for ever":    {"delete", "-1", 1000 * day, true},
		"compacted":   {"compact", "86400000", 1000 * day, true},
		"huge number": {"delete", "9223372036854775807", 1000 * day, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeState(t, dir, tt.policy, tt.retention)
			before := readState(t, dir)
			if err := embedded.Housekeep(dir, time.Now().Add(tt.age), 1<<30); err != nil {
				t.Fatal(err)
			}
			after := readState(t, dir)
			if all := after.Records == before.Records; all != tt.all {
				t.Errorf("%d of %d records left", after.Records, before.Records)
			}
			// Committed offsets stay valid: the partition still ends where it did.
			if after.Next != before.Next || after.Records == 0 {
				t.Errorf("next offset was %d and is %d, with %d records", before.Next, after.Next, after.Records)
			}
		})
	}
}

func TestHousekeepingOfNothing(t *testing.T) {
	dir := t.TempDir()
	if err := embedded.Housekeep(dir, time.Now(), 0); err != nil {
		t.Errorf("no broker has been here: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "log", "topics.json"), []byte("{"), fs.FileMode(0o600)); err != nil {
		t.Fatal(err)
	}
	if err := embedded.Housekeep(dir, time.Now(), 0); err == nil {
		t.Error("unreadable topics are no error")
	}
}
