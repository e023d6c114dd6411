package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"hotsync/connectors/kafka"
	"hotsync/reconcile"
	"hotsync/record"
)

// memories is what is remembered about every key, as the state topic has it.
// Every instance follows the whole topic; only the owner of a key writes its
// memory, after it has read everything that earlier owners wrote.
type memories struct {
	client   *kafka.Client
	follower *kafka.Follower
	topic    string

	mu sync.Mutex
	m  map[record.Key]reconcile.Memory
}

func newMemories(client *kafka.Client, topic string) *memories {
	return &memories{
		client: client, topic: topic, m: map[record.Key]reconcile.Memory{},
		follower: kafka.NewFollower(client, kafka.FollowerConfig{Topic: topic}),
	}
}

// run follows the topic until ctx ends.
func (s *memories) run(ctx context.Context) error {
	return s.follower.Run(ctx, func(_ context.Context, r kafka.Record) error {
		s.read(r)
		return nil
	})
}

// read takes one record of the topic. What cannot be read is no memory: the key
// is then looked at in full, which costs calls and loses nothing.
func (s *memories) read(r kafka.Record) {
	key, err := record.ParseKey(string(r.Key))
	if err != nil {
		return
	}
	var m reconcile.Memory
	if r.Value != nil && json.Unmarshal(r.Value, &m) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Value == nil:
		delete(s.m, key)
	case m.Seq >= s.m[key].Seq: // an own write comes back after a newer one was put
		s.m[key] = m
	}
}

// caughtUp waits until everything written to the partition so far was read:
// the previous owner's memory is then ours.
func (s *memories) caughtUp(ctx context.Context, partition int) error {
	ends, err := s.client.HighWatermarks(ctx, s.topic)
	if err != nil {
		return fmt.Errorf("read the end of %s: %w", s.topic, err)
	}
	if err := s.follower.Reached(ctx, partition, ends[partition]); err != nil {
		return fmt.Errorf("catch up on %s/%d: %w", s.topic, partition, err)
	}
	return nil
}

// get returns the memory of a key, the zero one when there is none.
func (s *memories) get(k record.Key) reconcile.Memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[k]
}

// put takes a memory that was made durable.
func (s *memories) put(k record.Key, m reconcile.Memory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[k] = m
}

func (s *memories) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.m)
}
