package daemon

import (
	"cmp"
	"fmt"
	"slices"

	"hotsync/connectors/kafka"
	"hotsync/event"
	"hotsync/reconcile"
)

// answer is how a part of a job's triggers end, or are put off.
type answer struct {
	job   reconcile.Job // with those triggers, one at least
	event event.Event
}

// answers says what a verdict means for each trigger of a job; every trigger is in
// one answer (Invariant 4), and the first is that of the job's own sync. A final
// verdict is everybody's. One that is passing counts for each trigger by its own
// attempts: what was put off comes back, merges and is tried together, but goes
// off again by itself, to come back in its own time or to be given up. Else one
// old trigger would drag down all that merged with it, or live on as long as
// there are new ones.
func (p *partition) answers(job reconcile.Job, v reconcile.Verdict) ([]answer, error) {
	if v.Event.Outcome != event.Deferred {
		return []answer{{job, v.Event}}, nil
	}
	var out []answer
	for i, part := range byAttempts(job) {
		refs := reconcile.Refs(part.Triggers)
		e := v.Event
		if e.Triggers = refs; i > 0 {
			e = beside(v.Event, part.SyncID(), part.Attempt, refs)
			e.Note = "it was tried together with sync " + v.Event.SyncID
			if err := e.Identify(); err != nil {
				return nil, fmt.Errorf("put off sync %s: %w", e.SyncID, err)
			}
		}
		if delay, ok := p.policy.deferred(part.Attempt, v.Wait); ok {
			e.Next = p.now().Add(delay)
		} else {
			e.Note = fmt.Sprintf("given up after %d attempts; the last was deferred because of %s", part.Attempt, e.Reason)
			e.Outcome, e.Reason = event.Failed, event.ReasonExhausted
		}
		out = append(out, answer{part, e})
	}
	return out, nil
}

// byAttempts splits a job into parts whose triggers were tried equally often, its
// own sync's first. There are no more of them than there are attempts.
func byAttempts(job reconcile.Job) (parts []reconcile.Job) {
	for _, t := range job.Triggers {
		i := slices.IndexFunc(parts, func(part reconcile.Job) bool { return part.Attempt == t.Attempt+1 })
		if i < 0 {
			i = len(parts)
			parts = append(parts, reconcile.Job{Key: job.Key, Attempt: t.Attempt + 1, Memory: job.Memory})
		}
		parts[i].Triggers = append(parts[i].Triggers, t)
	}
	return parts
}

// records are what an answer makes durable: the events that it brings about, and
// what takes the work up again or files it as given up.
func (p *partition) records(a answer) (out []kafka.Record, err error) {
	switch a.event.Outcome {
	case event.Deferred:
		for _, t := range continued(a.job, a.event) {
			r, err := p.out.later(t, a.event.Next.Sub(p.now()))
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
	case event.Failed:
		r, err := p.out.dead(deadLetter(a.job, a.event))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	others, err := takenUp(a.job, a.event)
	if err != nil {
		return nil, err
	}
	for _, e := range append(others, a.event) {
		r, err := p.out.event(e)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// perTrigger bounds the triggers that one retried trigger answers for.
const perTrigger = 500

// continued are the triggers that take a deferred job up again and answer for
// all of its triggers: one, unless there are very many.
func continued(job reconcile.Job, e event.Event) []event.Trigger {
	t := job.Asked()
	t.SyncID, t.Attempt, t.NotBefore, t.LastError = job.SyncID(), job.Attempt, e.Next, e.Error
	if t.FirstFail.IsZero() {
		t.FirstFail = e.At
	}
	var out []event.Trigger
	for refs := range slices.Chunk(reconcile.Refs(job.Triggers)[1:], perTrigger) {
		part := t
		part.Also = refs
		if len(out) > 0 { // it comes back as a companion of the first
			part.ID, part.Also = refs[0].ID, refs[1:]
		}
		out = append(out, part)
	}
	if out == nil {
		out = []event.Trigger{t}
	}
	return out
}

func deadLetter(job reconcile.Job, e event.Event) event.DeadLetter {
	t := continued(job, e)[0]
	return event.DeadLetter{
		Source: t.Source, Key: job.Key.String(), Reason: e.Reason, Class: e.Class, Error: e.Error,
		Attempts: job.Attempt, First: t.FirstFail, Last: e.At, SyncID: e.SyncID, Trigger: &t,
	}
}

// attemptOf is the attempt of a sync that a job took up, from 1.
func attemptOf(job reconcile.Job, sync string) int {
	n := 0
	for _, t := range job.Triggers {
		if t.SyncID == sync || slices.ContainsFunc(t.Also, func(r event.Ref) bool { return r.Sync == sync }) {
			n = max(n, t.Attempt+1)
		}
	}
	return cmp.Or(n, job.Attempt)
}
