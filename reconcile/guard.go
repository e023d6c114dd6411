package reconcile

import (
	"slices"
	"time"

	"hotsync/event"
	"hotsync/record"
)

// GuardConfig holds the rules that keep hotsync from following its own steps
// and Limio's.
type GuardConfig struct {
	// Origins are the sources whose changes Limio itself started.
	Origins []event.Origin
	// Own is the one of them that is hotsync itself, "" for none.
	Own event.Origin
	// Settle is how long such a change is left alone, so that Limio's own
	// orchestration can finish.
	Settle time.Duration
	// MaxWrites is how many applied syncs one key may have within Window.
	MaxWrites int
	Window    time.Duration
}

// suppression says that a sync must not write, why, and until when.
type suppression struct {
	reason event.Reason
	origin event.Origin
	until  time.Time
	note   string
}

// byTriggers suppresses a sync while a change that Limio itself started is
// settling. A person who asks (API, replay) is not suppressed.
func (g GuardConfig) byTriggers(triggers []event.Ref, m Memory, now time.Time) *suppression {
	if insist(triggers) {
		return nil
	}
	until, origin := m.SettleUntil, m.SettleOrigin
	for _, t := range triggers {
		if end := g.settled(t.At); slices.Contains(g.Origins, t.Origin) && end.After(until) {
			until, origin = end, t.Origin
		}
	}
	return g.settling(until, origin, now)
}

// byOrders suppresses a plan while one of the orders behind it, made by an
// origin that Limio orchestrates, is settling.
func (g GuardConfig) byOrders(orders []record.Order, triggers []event.Ref, now time.Time) *suppression {
	if insist(triggers) {
		return nil
	}
	var until time.Time
	var origin event.Origin
	for _, o := range orders {
		if end := g.settled(o.Created); slices.Contains(g.Origins, event.Origin(o.Source)) && end.After(until) {
			until, origin = end, event.Origin(o.Source)
		}
	}
	return g.settling(until, origin, now)
}

// settled is when a change made at a time has settled. Stripe and Zuora stamp in
// whole seconds, so such a stamp may be up to a second early.
func (g GuardConfig) settled(at time.Time) time.Time {
	if at.Nanosecond() == 0 {
		at = at.Add(time.Second)
	}
	return at.Add(g.Settle)
}

func (g GuardConfig) settling(until time.Time, origin event.Origin, now time.Time) *suppression {
	if !now.Before(until) {
		return nil
	}
	// A producer's clock may run ahead; no change settles longer than Settle.
	if latest := now.Add(g.Settle + time.Second); until.After(latest) {
		until = latest
	}
	if origin == g.Own && origin != "" {
		return &suppression{
			reason: event.ReasonOwnEcho, origin: origin, until: until,
			note: "hotsync itself started this change (" + string(origin) + "); it is left to finish until " + until.Format(time.RFC3339),
		}
	}
	return &suppression{
		reason: event.ReasonOrigin, origin: origin, until: until,
		note: "Limio itself started this change (" + string(origin) + "); it is left to finish until " + until.Format(time.RFC3339),
	}
}

// brake stops a key that is written too often, or whose last written state was
// undone: two writers disagree, and writing again would go on for ever.
func (g GuardConfig) brake(m Memory, target record.Fingerprint, now time.Time) *suppression {
	if now.Before(m.HeldUntil) {
		return &suppression{reason: event.ReasonFlapping, until: m.HeldUntil, note: "this record is held until " + m.HeldUntil.Format(time.RFC3339) + " because it kept changing back"}
	}
	recent := g.recent(m.Writes, now)
	if len(recent) == 0 {
		return nil
	}
	until := recent[len(recent)-1].Add(g.Window)
	switch {
	case m.Target != "" && m.Target == target:
		return &suppression{reason: event.ReasonFlapping, until: until, note: "the state written last was undone by somebody else within " + g.Window.String()}
	case len(recent) >= g.MaxWrites:
		return &suppression{reason: event.ReasonFlapping, until: until, note: "written as often as allowed within " + g.Window.String()}
	}
	return nil
}

// recent returns the times within the window before now.
func (g GuardConfig) recent(writes []time.Time, now time.Time) []time.Time {
	from := now.Add(-g.Window)
	return slices.DeleteFunc(slices.Clone(writes), func(t time.Time) bool { return t.Before(from) })
}

// remember notes a suppression, and that the sides may differ.
func (m Memory) suppressed(s *suppression) Memory {
	m.Converged = ""
	switch s.reason {
	case event.ReasonOrigin, event.ReasonOwnEcho:
		m.SettleUntil, m.SettleOrigin = s.until, s.origin
	case event.ReasonFlapping:
		m.HeldUntil = s.until
	}
	return m
}

// written notes an applied sync.
func (g GuardConfig) written(m Memory, target record.Fingerprint, now time.Time) Memory {
	m.Writes = append(g.recent(m.Writes, now), now)
	m.Target = target
	return m
}
