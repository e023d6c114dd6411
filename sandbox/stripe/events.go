package stripe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// eventsFor is how long Stripe keeps events readable.
const eventsFor = 30 * 24 * time.Hour

// Event is a webhook event as it is sent. Body is the raw JSON in the
// endpoint's version, to be sent and signed byte for byte.
type Event struct {
	ID      string
	Type    string
	Created time.Time
	Body    []byte
}

type event struct {
	Event
	seq       uint64
	delivered bool
	attempts  int
	nextTry   time.Time
}

// json shows an event as it was rendered when it happened; only the count of
// outstanding deliveries is today's.
func (e *event) json() raw {
	if !e.delivered {
		return raw(e.Body)
	}
	// No string holds this text, since its quotes would be escaped, and keys
	// are sorted: of its field only the request and the type come after it.
	const waiting, done = `"pending_webhooks":1,"request":`, `"pending_webhooks":0,"request":`
	i := bytes.LastIndex(e.Body, []byte(waiting))
	return raw(e.Body[:i]) + done + raw(e.Body[i+len(waiting):])
}

// tell makes an event about an object as it is now.
func (s *Server) tell(at time.Time, cause Cause, kind string, x any) {
	if !s.quiet {
		s.emit(at, cause, kind, s.snapshot(x), nil)
	}
}

// change changes an object and makes an event with previous_attributes, if the
// change can be seen at all.
func (s *Server) change(at time.Time, cause Cause, kind string, x any, change func()) {
	if s.quiet {
		change()
		return
	}
	before := s.snapshot(x)
	change()
	after := s.snapshot(x)
	if prev := diff(before, after); len(prev) > 0 {
		s.emit(at, cause, kind, after, prev)
	}
}

// eventVersion is the version that events are rendered in.
func (s *Server) eventVersion() string {
	if s.basil {
		return APIVersionBasil
	}
	return s.webhookVersion
}

// snapshot renders an object for an event.
func (s *Server) snapshot(x any) obj {
	o := s.json(x)
	if isBasil(s.eventVersion()) {
		toBasil(o)
	}
	return o
}

// emit puts an event on the outbox, rendered once and for all.
func (s *Server) emit(at time.Time, cause Cause, kind string, object, previous obj) {
	data := obj{"object": object}
	if previous != nil {
		data["previous_attributes"] = previous
	}
	s.post(at, kind, obj{
		"object": "event", "api_version": s.eventVersion(), "created": at.Unix(), "data": data,
		"livemode": false, "pending_webhooks": 1, "type": kind,
		"request": obj{"id": orNull(cause.RequestID), "idempotency_key": orNull(cause.IdempotencyKey)},
	})
}

func (s *Server) post(at time.Time, kind string, envelope obj) *event {
	id := s.newID("evt_")
	envelope["id"] = id
	e := &event{Event: Event{ID: id, Type: kind, Created: at, Body: s.encoder.append(make([]byte, 0, 4096), "event", envelope)}, seq: s.nextSeq()}
	s.events[id] = e
	s.eventList.add(at, e.seq, id, e)
	s.outbox = append(s.outbox, e)
	if len(s.events) > s.cfg.KeepEvents+s.cfg.KeepEvents/4 {
		s.forgetEvents(s.now())
	}
	return e
}

// forgetEvents drops what is older than 30 days or more than is kept.
func (s *Server) forgetEvents(now time.Time) {
	list := s.eventList.sorted()
	n := max(0, len(list)-s.cfg.KeepEvents)
	for n < len(list) && list[n].v.Created.Before(now.Add(-eventsFor)) {
		n++
	}
	for _, e := range list[:n] {
		delete(s.events, e.v.ID)
	}
	s.eventList.dropOldest(n)
}

// TakeEvents empties the outbox, in the order in which things happened. What
// is taken counts as delivered; see SetDelivered.
func (s *Server) TakeEvents() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Event, 0, len(s.outbox))
	for _, e := range s.outbox {
		e.delivered = true
		out = append(out, e.Event)
	}
	s.outbox = nil
	return out
}

// SetDelivered says whether an event that was taken reached its endpoint, for
// the delivery_success filter of /v1/events.
func (s *Server) SetDelivered(id string, ok bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.events[id]
	if e == nil {
		return fmt.Errorf("set delivery of event %s: there is no such event, or it is too old", id)
	}
	e.delivered = ok
	return nil
}

// TwinEvent makes a second event, with an id of its own, for the change that
// an event told of, and puts it on the outbox.
func (s *Server) TwinEvent(id string) (Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.events[id]
	if e == nil {
		return Event{}, fmt.Errorf("twin of event %s: there is no such event, or it is too old", id)
	}
	var envelope obj
	if err := json.Unmarshal(e.Body, &envelope); err != nil {
		return Event{}, fmt.Errorf("twin of event %s: %w", id, err)
	}
	return s.post(e.Created, e.Type, envelope).Event, nil
}

// diff returns what before had where after differs: Stripe's
// previous_attributes. Of a hash only the keys that differ are in it; an API
// object or a list is there as a whole. A key that is new is null.
func diff(before, after obj) obj {
	prev := obj{}
	for k, was := range before {
		is, ok := after[k]
		if ok && reflect.DeepEqual(was, is) {
			continue
		}
		prev[k] = was
		b, okB := was.(obj)
		a, okA := is.(obj)
		if okA && okB && b["object"] == nil {
			prev[k] = diff(b, a)
		}
	}
	for k := range after {
		if _, ok := before[k]; !ok {
			prev[k] = nil
		}
	}
	return prev
}
