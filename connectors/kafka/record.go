package kafka

import (
	"slices"
	"time"
)

// Record is one message of a topic. On reading, Topic, Partition and Offset are
// its coordinates; on writing Partition and Offset are ignored, since the key
// decides (PartitionFor). A nil Value is a tombstone and stays nil; an empty one
// stays empty.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []Header
	// Time is the create time in milliseconds. Zero on writing means now.
	Time time.Time
}

// Header is one header of a Record. Kafka allows the same key more than once
// and keeps the order.
type Header struct {
	Key   string
	Value []byte
}

// Header returns the value of the last header with the given key, and whether
// there is one.
func (r Record) Header(key string) ([]byte, bool) {
	for _, v := range slices.Backward(r.Headers) {
		if v.Key == key {
			return v.Value, true
		}
	}
	return nil, false
}

// size is about what the record takes in a batch and in memory.
func (r Record) size() int {
	n := len(r.Key) + len(r.Value) + 32
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + 8
	}
	return n
}
