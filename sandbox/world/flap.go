package world

import (
	"fmt"
	"slices"
	"time"

	"hotsync/sandbox/limio"
)

// Flap has somebody in Limio undo a change that was synced from Stripe, until
// the brake must hold. It needs a running daemon: what follows waits, for ten
// seconds at most, until the change has been written.
//
// The undone change is announced twice: by an event of Stripe's, and by one
// that names the shop. A program that remembers what it saw last and trusts it
// does not look at Limio for the first; for the second it must look again once
// the settling time is over, and then finds its own write undone.
func (w *World) Flap(id string) (Step, error) {
	w.mu.Lock()
	limioID := ""
	if s := w.bySub[id]; s != nil {
		limioID = s.Limio
	}
	w.mu.Unlock()
	before, ok := w.limio.Get(limioID)
	if !ok {
		return Step{}, fmt.Errorf("flap: there is no linked subscription %s", id)
	}
	seq := 0
	if writes := w.limio.Writes(); len(writes) > 0 {
		seq = writes[len(writes)-1].Seq
	}
	step, err := w.RenewSubscription(id)
	if err != nil {
		return Step{}, fmt.Errorf("flap: %w", err)
	}
	f := &flap{w: w, id: id, limioID: limioID, seq: seq, old: before.At("data.termEndDate"), started: w.clock.Now()}
	step.After, step.Next = flapPoll, f.wait
	return step, nil
}

const (
	flapPoll = 200 * time.Millisecond
	flapWait = 10 * time.Second
	readBack = time.Second // a careful program reads what it wrote
)

type flap struct {
	w           *World
	id, limioID string
	seq         int
	old         any // the end of the term before
	started     time.Time
}

// wait looks whether the change was written.
func (f *flap) wait() (Step, error) {
	written := slices.ContainsFunc(f.w.limio.WritesSince(f.seq), func(x limio.Write) bool {
		return x.ObjectID == f.limioID && x.By == limio.ByAPI &&
			slices.ContainsFunc(x.Changed, func(c limio.FieldChange) bool { return c.Path == "data.termEndDate" })
	})
	switch {
	case written:
		return Step{After: readBack, Next: f.undo}, nil
	case f.w.clock.Now().Sub(f.started) < flapWait:
		return Step{After: flapPoll, Next: f.wait}, nil
	default:
		return Step{}, nil // nobody syncs: there is nothing to undo
	}
}

func (f *flap) undo() (Step, error) {
	if err := f.w.limio.UpdateAs(limio.ByStaff, f.limioID, func(json map[string]any) { set(json, "data.termEndDate", f.old) }); err != nil {
		return Step{}, fmt.Errorf("undo the term of %s: %w", f.limioID, err)
	}
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	s := f.w.bySub[f.id]
	plain, shop := f.w.announce(s), f.w.announce(s)
	shop.Headers["source"] = "shop"
	return Step{Messages: []Message{plain, shop}, After: f.w.cfg.Window + f.w.cfg.Settle, Next: f.end}, nil
}

// end announces the change once more, when the window is over.
func (f *flap) end() (Step, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return Step{Messages: []Message{f.w.announce(f.w.bySub[f.id])}}, nil
}
