package reconcile

import (
	"context"
	"fmt"
	"slices"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// rememberer makes the memory of a key durable before it returns, and is asked
// in the middle of a sync. The memory's Seq is higher than any that the key had.
// After an error it is not known whether the memory is durable.
type rememberer interface {
	Remember(ctx context.Context, k record.Key, m Memory) error
}

// remember makes the memory durable in the middle of a sync.
func (s *sync) remember(ctx context.Context) error {
	s.memory.Seq++
	s.verdict.Remember = true
	if err := s.cfg.Memories.Remember(ctx, s.job.Key, s.memory); err != nil {
		return fault.As(fault.Stopped, fmt.Errorf("remember %s: %w", s.job.Key, err))
	}
	return nil
}

// maxOpen bounds the open syncs of a key. More than one needs more than one crash.
const maxOpen = 8

// begin notes that a sync is about to write, and reports whether that is news.
// From here on Limio may hold anything.
func (m *Memory) begin(sync string) bool {
	if slices.Contains(m.Open, sync) {
		return false
	}
	m.Open = append(slices.Clone(m.Open), sync)
	m.Open = m.Open[max(0, len(m.Open)-maxOpen):]
	m.Converged = ""
	return true
}

// Begun is the open sync that a trigger had begun, "" for none.
func (m Memory) Begun(t event.Trigger) string {
	id := Job{Key: t.Key, Triggers: []event.Trigger{t}}.SyncID()
	if !slices.Contains(m.Open, id) {
		return ""
	}
	return id
}

// Ended returns m without the syncs that an event of phase done ends or, when they
// are put off, names in its triggers; and whether there was one.
func (m Memory) Ended(e event.Event) (Memory, bool) {
	open := slices.DeleteFunc(slices.Clone(m.Open), func(id string) bool {
		return id == e.SyncID || slices.ContainsFunc(e.Triggers, func(r event.Ref) bool { return r.Sync == id })
	})
	ended := len(open) < len(m.Open)
	if m.Open = open; len(open) == 0 {
		m.Open = nil
	}
	return m, ended
}
