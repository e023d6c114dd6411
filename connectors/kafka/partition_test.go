package kafka

import (
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"pgregory.net/rapid"
)

// The values are those of Kafka's own UtilsTest.testMurmur2.
func TestMurmur2(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

// Others write into our topics too: every key must be where they expect it.
func TestPartitionForAgreesWithKafkaGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOf(rapid.Byte()).Draw(t, "key")
		n := rapid.IntRange(1, 200).Draw(t, "n")
		if want := (kafkago.Murmur2Balancer{}).Balance(kafkago.Message{Key: key}, upTo(n)...); PartitionFor(key, n) != want {
			t.Fatalf("PartitionFor(%x, %d) = %d, want %d", key, n, PartitionFor(key, n), want)
		}
	})
}

func TestPartitionForSpreadsRecordsWithoutKey(t *testing.T) {
	seen := map[int]bool{}
	for range 1000 {
		seen[PartitionFor(nil, 4)] = true
	}
	if len(seen) != 4 {
		t.Errorf("1000 records without a key met partitions %v of 4", seen)
	}
}
