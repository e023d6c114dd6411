package daemon

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hotsync/event"
	"hotsync/record"
)

// A broker takes records of a million bytes by default, and what comes in may be
// larger than that in any of its parts. A record that does not fit would be tried
// for ever, with everything behind it (Invariant 5), so each part has a bound.
const (
	maxRecord   = 900_000   // bytes of an event or a trigger before it is trimmed
	maxOriginal = 256 << 10 // bytes of a bad message that its dead letter keeps
	maxText     = 8 << 10   // bytes of an error or a note
	maxValue    = 1 << 10   // bytes of a value, in an event that is trimmed
	maxItems    = 500       // changes and callouts of an event that is trimmed
	maxHeaders  = 16 << 10  // bytes of the headers that a dead letter keeps
)

// fit encodes e, without what makes it too large for a broker: first what is long,
// then all changes and callouts, at last what describes the triggers. Their ids
// stay: each is answered by this event (Invariant 4).
func fit(e event.Event) ([]byte, error) {
	e.Error, e.Note = event.Clip(e.Error, maxText), event.Clip(e.Note, maxText)
	whole := e
	b, err := e.Encode()
	for _, trim := range []func(event.Event) event.Event{shortened, emptied, bare} {
		if err != nil || len(b) <= maxRecord {
			return b, err
		}
		e = trim(whole)
		e.Note += fmt.Sprintf(" (trimmed: there were %d changes and %d callouts)", len(whole.Changes), len(whole.Callouts))
		b, err = e.Encode()
	}
	return b, err
}

func shortened(e event.Event) event.Event {
	e.Changes = slices.Clone(e.Changes[:min(maxItems, len(e.Changes))])
	for i, c := range e.Changes {
		e.Changes[i].Before, e.Changes[i].After = shortValue(c.Before), shortValue(c.After)
	}
	e.Callouts = e.Callouts[:min(maxItems, len(e.Callouts))]
	return e
}

func shortValue(v record.Value) record.Value {
	if text := v.String(); len(text) > maxValue {
		return record.Text(event.Clip(text, maxValue))
	}
	return v
}

func emptied(e event.Event) event.Event {
	e.Changes, e.Callouts = nil, nil
	return e
}

func bare(e event.Event) event.Event {
	e = emptied(e)
	e.Triggers = bareRefs(e.Triggers)
	return e
}

// bareRefs leaves out what describes triggers, which costs views their cause in
// detail; what rules go by stays.
func bareRefs(refs []event.Ref) []event.Ref {
	refs = slices.Clone(refs)
	for i := range refs {
		refs[i].Type, refs[i].Delivery = "", ""
	}
	return refs
}

// fitTrigger encodes t within what a broker takes.
func fitTrigger(t event.Trigger) ([]byte, error) {
	t.LastError = event.Clip(t.LastError, maxText)
	b, err := t.Encode()
	if err == nil && len(b) > maxRecord {
		t.Also = bareRefs(t.Also)
		b, err = t.Encode()
	}
	return b, err
}

// fitLetter encodes d within what a broker takes.
func fitLetter(d event.DeadLetter, plain map[string]bool) ([]byte, error) {
	var left int
	d.Error = event.Clip(d.Error, maxText)
	if d.Headers, left = keptHeaders(d.Headers, plain); left > 0 {
		d.Error += fmt.Sprintf(" (%d headers are not kept: they are over %d bytes together)", left, maxHeaders)
	}
	if len(d.Original) > maxOriginal {
		d.Error += fmt.Sprintf(" (the first %d of %d bytes are kept)", maxOriginal, len(d.Original))
		d.Original = d.Original[:maxOriginal]
	}
	b, err := json.Marshal(d)
	if err == nil && len(b) > maxRecord && d.Trigger != nil {
		t := *d.Trigger
		t.Also, t.LastError = bareRefs(t.Also), event.Clip(t.LastError, maxText)
		d.Trigger = &t
		b, err = json.Marshal(d)
	}
	return b, err
}

// plainHeaders are those that a dead letter keeps as they are: what decoders read
// and what is no credential. Anybody can put a credential into any other.
func plainHeaders(sources ...string) map[string]bool {
	plain := map[string]bool{
		"content-type": true, "stripe-signature": true, "traceparent": true, "tracestate": true, replayHeader: true,
		"ce_id": true, "ce_source": true, "ce_specversion": true, "ce_type": true, "ce_time": true, "ce_subject": true,
		"ce_datacontenttype": true, "ce_dataschema": true,
	}
	for _, name := range sources {
		plain[strings.ToLower(name)] = true
	}
	return plain
}

// keptHeaders are the headers of a bad message without credentials (Invariant 8)
// and within a bound, and how many were left out for that.
func keptHeaders(headers map[string]string, plain map[string]bool) (kept map[string]string, left int) {
	size := 0
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value := headers[name]
		if !plain[strings.ToLower(name)] {
			value = redactedMark
		}
		if size+len(name)+len(value) > maxHeaders {
			left++
			continue
		}
		size += len(name) + len(value)
		if kept == nil {
			kept = map[string]string{}
		}
		kept[name] = value
	}
	return kept, left
}
