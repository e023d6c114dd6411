package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hotsync/connectors/kafka"
	"hotsync/reconcile"
	"hotsync/record"
)

func TestMemoriesKeepTheNewest(t *testing.T) {
	s := newMemories(nil, "state")
	k := record.StripeSubscription("sub_1")
	come := func(m reconcile.Memory) {
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		fetched := append([]byte(nil), raw...)
		s.read(kafka.Record{Key: []byte(k.String()), Value: fetched})
		clear(fetched) // a fetch's buffer is used again
	}
	first := reconcile.Memory{Seq: 1, Mark: "a", Subscriptions: map[string]string{"sub_1": "sub-1"}}
	second := reconcile.Memory{Seq: 2, Mark: "b", Customer: "cus-1"}
	come(first)
	if diff := cmp.Diff(first, s.get(k)); diff != "" {
		t.Error(diff)
	}
	if err := s.put(k, second); err != nil {
		t.Fatal(err)
	}
	come(first) // an own write comes back after a newer one was put
	if diff := cmp.Diff(second, s.get(k)); diff != "" {
		t.Error(diff)
	}
	for _, id := range []string{"sub-1", "cus-1"} {
		if owner, ok := s.ownerOf(id); !ok || owner != k {
			t.Errorf("%s belongs to %s, %v", id, owner, ok)
		}
	}
	if _, ok := s.ownerOf("sub-2"); ok {
		t.Error("an unknown record has an owner")
	}
	s.read(kafka.Record{Key: []byte(k.String()), Value: []byte("no memory")})
	s.read(kafka.Record{Key: []byte("no key"), Value: []byte("{}")})
	if s.size() != 1 || s.get(k).Seq != 2 {
		t.Error("what cannot be read changed something")
	}
	s.read(kafka.Record{Key: []byte(k.String())})
	if s.size() != 0 {
		t.Error("a tombstone removes nothing")
	}
}

func TestLedger(t *testing.T) {
	l := newLedger()
	var topic [][]byte
	l.write = func(_ context.Context, _ record.Key, v []byte) error {
		if string(v) == "lost" {
			return errors.New("no broker")
		}
		topic = append(topic, v)
		return nil
	}
	k := record.Key{System: ledgerSystem, Kind: "state", ID: "stripe-drift"}
	is := func(want string) {
		t.Helper()
		if got := string(l.Get(k)); got != want {
			t.Errorf("value %q, want %q", got, want)
		}
	}
	is("")
	for _, v := range []string{"1", "2", "3"} {
		if err := l.Put(t.Context(), k, []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-l.changed:
	default:
		t.Error("nobody was told")
	}
	l.read(k, topic[0]) // own writes come back late
	is("3")
	l.read(k, []byte("theirs"))
	is("theirs")
	l.read(k, topic[1])
	l.read(k, topic[2])
	is("theirs")
	if err := l.Put(t.Context(), k, []byte("lost")); err == nil {
		t.Error("a write that failed is no error")
	}
	is("theirs")
	l.read(k, []byte("lost")) // it had arrived after all
	is("lost")
}
