package kafka

import (
	"encoding/binary"
	"math/rand/v2"
)

// PartitionFor returns the partition of key in a topic of n partitions: murmur2
// of the key, as the Java client and librdkafka's murmur2_random place it, so
// that other producers agree with us and partition i of topics with the same
// number of partitions holds the same keys. It never changes: stored topics
// depend on it. A nil key has no place and gets a random partition; an empty
// key has one. It panics when n < 1.
func PartitionFor(key []byte, n int) int {
	if key == nil {
		return rand.IntN(n)
	}
	return int(murmur2(key)&0x7fffffff) % n
}

// murmur2 is Austin Appleby's MurmurHash2, 32 bits, with the seed that Kafka uses.
func murmur2(key []byte) uint32 {
	const mul, shift, seed = 0x5bd1e995, 24, 0x9747b28c
	h := uint32(seed) ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := binary.LittleEndian.Uint32(key) * mul
		h = h*mul ^ (k^k>>shift)*mul
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * mul
	}
	h = (h ^ h>>13) * mul
	return h ^ h>>15
}
