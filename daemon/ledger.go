package daemon

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"hotsync/connectors/kafka"
	"hotsync/record"
)

// ledgerSystem marks the keys of the state topic that are no memories of
// records: the state of sweeps, and what operators ask of them.
const ledgerSystem = "sweep"

// ledger is that part of the state topic. Every instance can read and write it;
// who writes which key is package sweep's to say.
type ledger struct {
	write func(ctx context.Context, k record.Key, value []byte) error

	mu      sync.Mutex
	values  map[record.Key][]byte
	own     map[record.Key][][]byte // written here and not yet read back, oldest first
	changed chan struct{}           // has something to receive after a change
}

func newLedger() *ledger {
	return &ledger{values: map[record.Key][]byte{}, own: map[record.Key][][]byte{}, changed: make(chan struct{}, 1)}
}

// Get returns a value, nil when there is none. The caller must not change it.
func (l *ledger) Get(k record.Key) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.values[k]
}

// Put makes a value durable, then visible here.
func (l *ledger) Put(ctx context.Context, k record.Key, value []byte) error {
	l.mu.Lock()
	l.own[k] = append(l.own[k], value)
	l.mu.Unlock()
	err := l.write(ctx, k, value)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.forget(k, value) // should it come back after all, it is taken as anybody's
		return err
	}
	l.set(k, value)
	return nil
}

// read takes a record of the topic. An own one that comes back is known, and
// must not replace a later own one that has not come back yet.
func (l *ledger) read(k record.Key, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.forget(k, value) {
		return
	}
	l.set(k, bytes.Clone(value))
}

func (l *ledger) set(k record.Key, value []byte) {
	l.values[k] = value
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// forget takes value off the own ones that have not come back, and reports
// whether it was among them.
func (l *ledger) forget(k record.Key, value []byte) bool {
	i := slices.IndexFunc(l.own[k], func(v []byte) bool { return bytes.Equal(v, value) })
	if i < 0 {
		return false
	}
	if l.own[k] = slices.Delete(l.own[k], i, i+1); len(l.own[k]) == 0 {
		delete(l.own, k)
	}
	return true
}

// stateRecord is a record of the state topic.
func (o *outbox) stateRecord(k record.Key, value []byte) kafka.Record {
	return kafka.Record{Topic: o.topics.state, Key: []byte(k.String()), Value: value}
}
