package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"sync"

	"hotsync/connectors/kafka"
	"hotsync/reconcile"
	"hotsync/record"
)

// memories is what is remembered about every key, as the state topic has it.
// Every instance follows the whole topic; only the owner of a key writes its
// memory, after it has read everything that earlier owners wrote.
//
// A company has a hundred thousand keys and looks at few of them at a time, so
// memories stay encoded, in shorthand: some 250 bytes a key with all that is
// around it.
type memories struct {
	client   *kafka.Client
	follower *kafka.Follower
	topic    string
	ledger   *ledger

	mu    sync.Mutex
	m     map[string]kept   // by written key
	owner map[uint64]string // written key by the hash of a Limio id
	seed  maphash.Seed
	short *shorthand
}

// kept is one memory: its number, and itself as JSON in shorthand.
type kept struct {
	seq  int64
	text string
}

func newMemories(client *kafka.Client, topic string) *memories {
	return &memories{
		client: client, topic: topic, m: map[string]kept{}, owner: map[uint64]string{}, seed: maphash.MakeSeed(),
		short: newShorthand(), ledger: newLedger(),
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
	if key.System == ledgerSystem {
		s.ledger.read(key, r.Value)
		return
	}
	if r.Value == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.m, key.String())
		return
	}
	var m reconcile.Memory
	if json.Unmarshal(r.Value, &m) != nil {
		return
	}
	s.keep(key, m, r.Value)
}

// keep takes a memory unless a newer one is known: an own write comes back after
// a newer one was put.
func (s *memories) keep(k record.Key, m reconcile.Memory, raw []byte) {
	key, text := k.String(), s.short.write(raw, k.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Seq < s.m[key].seq {
		return
	}
	s.m[key] = kept{m.Seq, text}
	for _, id := range m.Subscriptions {
		s.own(id, key)
	}
	if m.Customer != "" {
		s.own(m.Customer, key)
	}
}

// own notes whose a Limio record is. What is known is left as it is: the map of
// memories keeps the first of equal keys, and this one should keep no other.
func (s *memories) own(limioID, key string) {
	if h := maphash.String(s.seed, limioID); s.owner[h] != key {
		s.owner[h] = key
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
	text := s.m[k.String()].text
	s.mu.Unlock()
	var m reconcile.Memory
	if text == "" || json.Unmarshal(s.short.read(text, k.ID), &m) != nil {
		return reconcile.Memory{}
	}
	return m
}

// put takes a memory that was made durable.
func (s *memories) put(k record.Key, m reconcile.Memory) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode the memory of %s: %w", k, err)
	}
	s.keep(k, m, raw)
	return nil
}

// keeper makes a memory durable in the middle of a sync.
type keeper struct {
	out    *outbox
	memory *memories
}

// Remember returns once the memory is durable, and known here.
func (k *keeper) Remember(ctx context.Context, key record.Key, m reconcile.Memory) error {
	r, err := k.out.memory(key, m)
	if err != nil {
		return err
	}
	if err := k.out.write(ctx, r); err != nil {
		return err
	}
	return k.memory.put(key, m)
}

// ownerOf returns the key that a Limio record was last seen to belong to. Of two
// ids with one hash, which nobody will ever see, one is looked at in vain.
func (s *memories) ownerOf(limioID string) (record.Key, bool) {
	s.mu.Lock()
	written, ok := s.owner[maphash.String(s.seed, limioID)]
	s.mu.Unlock()
	if !ok {
		return record.Key{}, false
	}
	k, err := record.ParseKey(written)
	return k, err == nil
}

func (s *memories) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.m)
}
