package reconcile

import (
	"cmp"
	"reflect"
	"slices"
	"unicode/utf8"

	"hotsync/event"
	"hotsync/internal/callout"
	"hotsync/internal/fault"
	"hotsync/record"
)

// event is the sync as an event of a phase.
func (s *sync) event(phase event.Phase, calls []callout.Call) event.Event {
	now := s.cfg.Now()
	ev := event.Event{
		SyncID: s.job.SyncID(), Phase: phase, At: now, Key: s.job.Key, Attempt: s.job.Attempt,
		Cause: s.job.Triggers[0].Cause, Origin: s.origin, Mode: s.mode(),
		Related: s.related(), Triggers: s.refs,
		Instance: s.cfg.Instance, Build: s.cfg.Build,
		Waited: max(0, s.start.Sub(s.job.Triggers[0].Received).Milliseconds()),
	}
	if ev.Origin == "" {
		ev.Origin = firstOrigin(s.refs)
	}
	if phase == event.Planned {
		return ev
	}
	ev.Outcome, ev.Reason, ev.Note = s.outcome, s.reason, s.note
	ev.Changes = s.mask(s.changes)
	ev.Plan = s.plan
	if n := len(s.verdict.Now); n > 0 {
		ev.Stats = map[string]int64{"led_to": int64(n)} // for whoever waits for all that a run leads to
	}
	ev.Worked = max(0, now.Sub(s.start).Milliseconds())
	for _, c := range calls {
		out := event.Callout{At: c.At, Service: c.Service, Method: c.Method, Route: c.Route, Status: c.Status, Duration: c.Duration.Milliseconds()}
		if c.Err != nil {
			out.Error = event.Clip(c.Err.Error(), 300)
		}
		ev.Callouts = append(ev.Callouts, out)
	}
	if s.err != nil {
		ev.Class, ev.Error = string(fault.Of(s.err)), event.Clip(s.err.Error(), 2000)
	}
	return ev
}

// Refs lists the triggers and all that they answer for, each once.
func Refs(triggers []event.Trigger) []event.Ref {
	var out []event.Ref
	seen := map[string]bool{}
	add := func(r event.Ref) {
		if !seen[r.ID] {
			seen[r.ID] = true
			out = append(out, r)
		}
	}
	for _, t := range triggers {
		add(t.Ref())
		for _, r := range t.Also {
			r.Sync = cmp.Or(r.Sync, t.SyncID)
			add(r)
		}
	}
	return out
}

func (s *sync) mode() string {
	switch {
	case s.observes():
		return "observe"
	case s.cfg.Delegate:
		return ModeDelegate
	}
	return "write"
}

func (s *sync) related() []string {
	out := slices.Clone(s.want.Related)
	if s.have.Customer != "" {
		out = append(out, s.have.Customer)
	}
	for _, id := range s.have.Subscriptions {
		out = append(out, id)
	}
	if c := s.memory.Order; c != nil && c.Order != "" {
		out = append(out, c.Order)
	}
	for _, t := range s.verdict.Now {
		out = append(out, t.Key.String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// mask hides personal data in changes, by the mark on the field's rule.
func (s *sync) mask(changes []record.Change) []record.Change {
	if s.cfg.ShowPersonal {
		return changes
	}
	out := slices.Clone(changes)
	for i, c := range out {
		if personal(c) {
			out[i].Before, out[i].After = masked(c.Before), masked(c.After)
		}
	}
	return out
}

func personal(c record.Change) bool {
	match := func(r record.Rule) bool { return r.Type == c.Object && r.Field == c.Field && r.Personal }
	return slices.ContainsFunc(AccountAuthority(), match) || slices.ContainsFunc(StripeAuthority(), match)
}

// masked keeps the first letter, so that a person sees that there was
// something and whether it became empty.
func masked(v record.Value) record.Value {
	text := v.String()
	if text == "" {
		return v
	}
	r, _ := utf8.DecodeRuneInString(text)
	return record.Text(string(r) + "•••")
}

func (m Memory) equal(o Memory) bool {
	m.Seq, o.Seq = 0, 0
	if len(m.Subscriptions) == 0 && len(o.Subscriptions) == 0 {
		m.Subscriptions, o.Subscriptions = nil, nil
	}
	return reflect.DeepEqual(m, o)
}
