package clickhouse

import (
	"fmt"
	"time"

	gojson "github.com/goccy/go-json"

	"hotsync/event"
	"hotsync/record"
)

// eventRows builds rows of sync_events.
type eventRows struct {
	all   []column
	parts []int32

	id, syncID, note, key, keyID, err      *scalar[string]
	phase, outcome, reason, system, kind   *word
	cause, origin, mode, class             *word
	instance, build, topic                 *word
	at, first                              *scalar[time.Time]
	next                                   *scalar[*time.Time]
	attempt                                *scalar[uint32]
	format                                 *scalar[uint16]
	waited, worked, offset                 *scalar[int64]
	partition                              *scalar[int32]
	version                                *scalar[uint64]
	related                                *list[string]
	tID, tCause, tOrigin, tType, tDelivery *list[string]
	tTopic                                 *list[string]
	tPartition                             *list[int32]
	tOffset                                *list[int64]
	tAt, tReceived                         *list[time.Time]
	cObject, cID, cRef, cField, cOp        *list[string]
	cBefore, cAfter                        *list[string]
	oAt                                    *list[time.Time]
	oService, oMethod, oRoute, oError      *list[string]
	oStatus                                *list[uint16]
	oMS                                    *list[int64]
}

// reg adds a column to those of a table and returns it.
func reg[C column](all *[]column, c C) C {
	*all = append(*all, c)
	return c
}

func newEventRows() *eventRows {
	r := &eventRows{}
	a := &r.all
	r.id, r.syncID, r.phase = reg(a, newText("id")), reg(a, newText("sync_id")), reg(a, newWord("phase"))
	r.at, r.first = reg(a, newTime("at")), reg(a, newTime("received"))
	r.outcome, r.reason, r.note = reg(a, newWord("outcome")), reg(a, newWord("reason")), reg(a, newText("note"))
	r.key, r.system, r.kind, r.keyID = reg(a, newText("key")), reg(a, newWord("key_system")), reg(a, newWord("key_kind")), reg(a, newText("key_id"))
	r.related = reg(a, newTexts("related"))
	r.cause, r.origin, r.mode = reg(a, newWord("cause")), reg(a, newWord("origin")), reg(a, newWord("mode"))
	r.attempt, r.next = reg(a, newInt[uint32]("attempt")), reg(a, newMaybeTime("next"))
	r.tID, r.tCause, r.tOrigin = reg(a, newTexts("triggers.id")), reg(a, newTexts("triggers.cause")), reg(a, newTexts("triggers.origin"))
	r.tType, r.tDelivery, r.tTopic = reg(a, newTexts("triggers.type")), reg(a, newTexts("triggers.delivery")), reg(a, newTexts("triggers.topic"))
	r.tPartition, r.tOffset = reg(a, newInts[int32]("triggers.partition")), reg(a, newInts[int64]("triggers.offset"))
	r.tAt, r.tReceived = reg(a, newTimes("triggers.at")), reg(a, newTimes("triggers.received"))
	r.cObject, r.cID, r.cRef = reg(a, newTexts("changes.object")), reg(a, newTexts("changes.id")), reg(a, newTexts("changes.ref"))
	r.cField, r.cOp = reg(a, newTexts("changes.field")), reg(a, newTexts("changes.op"))
	r.cBefore, r.cAfter = reg(a, newTexts("changes.before")), reg(a, newTexts("changes.after"))
	r.oAt, r.oService, r.oMethod = reg(a, newTimes("callouts.at")), reg(a, newTexts("callouts.service")), reg(a, newTexts("callouts.method"))
	r.oRoute, r.oStatus = reg(a, newTexts("callouts.route")), reg(a, newInts[uint16]("callouts.status"))
	r.oMS, r.oError = reg(a, newInts[int64]("callouts.ms")), reg(a, newTexts("callouts.error"))
	r.class, r.err = reg(a, newWord("error_class")), reg(a, newText("error"))
	r.waited, r.worked = reg(a, newInt[int64]("waited_ms")), reg(a, newInt[int64]("worked_ms"))
	r.instance, r.build, r.format = reg(a, newWord("instance")), reg(a, newWord("build")), reg(a, newInt[uint16]("format"))
	r.topic, r.partition = reg(a, newWord("_topic")), reg(a, newInt[int32]("_partition"))
	r.offset, r.version = reg(a, newInt[int64]("_offset")), reg(a, newInt[uint64]("_version"))
	return r
}

func (r *eventRows) name() string          { return Events.String() }
func (r *eventRows) columns() []column     { return r.all }
func (r *eventRows) months() []int32       { return r.parts }
func (r *eventRows) received() []time.Time { return r.first.values }

func (r *eventRows) reset() {
	for _, c := range r.all {
		c.reset()
	}
	r.parts = r.parts[:0]
}

func (r *eventRows) add(m event.Message) error {
	e, err := decodeEvent(m.Value)
	if err != nil {
		return err
	}
	first := clamp(e.At)
	if len(e.Triggers) > 0 && !e.Triggers[0].Received.IsZero() {
		// The sync's id derives from its first trigger too, so this time is
		// the same in all its events.
		first = clamp(e.Triggers[0].Received)
	}
	r.parts = append(r.parts, month(first))
	r.id.add(e.ID)
	r.syncID.add(e.SyncID)
	r.phase.add(string(e.Phase))
	r.at.add(clamp(e.At))
	r.first.add(first)
	r.outcome.add(string(e.Outcome))
	r.reason.add(string(e.Reason))
	r.note.add(e.Note)
	r.key.add(e.Key.String())
	r.system.add(e.Key.System)
	r.kind.add(e.Key.Kind)
	r.keyID.add(e.Key.ID)
	r.cause.add(string(e.Cause))
	r.origin.add(string(e.Origin))
	r.mode.add(e.Mode)
	r.attempt.add(uint32(max(0, e.Attempt)))
	r.next.add(maybe(e.Next))
	r.class.add(e.Class)
	r.err.add(e.Error)
	r.waited.add(e.Waited)
	r.worked.add(e.Worked)
	r.instance.add(e.Instance)
	r.build.add(e.Build)
	r.format.add(uint16(max(0, e.Version)))
	r.topic.add(m.Topic)
	r.partition.add(int32(m.Partition))
	r.offset.add(m.Offset)
	r.version.add(version(e.Outcome, m.Offset))
	r.addRelated(e.Related)
	r.addTriggers(e.Triggers)
	r.addChanges(e.Changes)
	r.addCallouts(e.Callouts)
	return nil
}

func (r *eventRows) addRelated(related []string) {
	for _, id := range related {
		r.related.add(id)
	}
	r.related.end()
}

func (r *eventRows) addTriggers(triggers []event.Ref) {
	for i := range triggers {
		t := &triggers[i]
		r.tID.add(t.ID)
		r.tCause.add(string(t.Cause))
		r.tOrigin.add(string(t.Origin))
		r.tType.add(t.Type)
		r.tDelivery.add(t.Delivery)
		r.tTopic.add(t.Source.Topic)
		r.tPartition.add(int32(t.Source.Partition))
		r.tOffset.add(t.Source.Offset)
		r.tAt.add(clamp(t.At))
		r.tReceived.add(clamp(t.Received))
	}
	for _, c := range []interface{ end() }{r.tID, r.tCause, r.tOrigin, r.tType, r.tDelivery, r.tTopic, r.tPartition, r.tOffset, r.tAt, r.tReceived} {
		c.end()
	}
}

func (r *eventRows) addChanges(changes []record.Change) {
	for i := range changes {
		c := &changes[i]
		r.cObject.add(string(c.Object))
		r.cID.add(c.ID)
		r.cRef.add(c.Ref)
		r.cField.add(c.Field)
		r.cOp.add(string(c.Op))
		r.cBefore.add(scalarJSON(c.Before))
		r.cAfter.add(scalarJSON(c.After))
	}
	for _, c := range []*list[string]{r.cObject, r.cID, r.cRef, r.cField, r.cOp, r.cBefore, r.cAfter} {
		c.end()
	}
}

func (r *eventRows) addCallouts(callouts []event.Callout) {
	for i := range callouts {
		c := &callouts[i]
		r.oAt.add(clamp(c.At))
		r.oService.add(c.Service)
		r.oMethod.add(c.Method)
		r.oRoute.add(c.Route)
		r.oStatus.add(uint16(max(0, c.Status)))
		r.oMS.add(c.Duration)
		r.oError.add(c.Error)
	}
	for _, c := range []interface{ end() }{r.oAt, r.oService, r.oMethod, r.oRoute, r.oStatus, r.oMS, r.oError} {
		c.end()
	}
}

// scalarJSON is a value as the table holds it: absent and null are one.
func scalarJSON(v record.Value) string {
	if v == "" {
		return string(record.Null)
	}
	return string(v)
}

// maybe returns nil for the zero time.
func maybe(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = clamp(t)
	return &t
}

// decodeEvent is event.DecodeEvent four times as fast. Whatever the fast
// decoder does not take is given to the standard one, whose word is final: it
// is the one that says why a message is not an event.
func decodeEvent(b []byte) (event.Event, error) {
	var e event.Event
	if err := fastDecode(b, &e); err != nil || e.ID == "" || e.SyncID == "" || e.Phase == "" || e.Key.IsZero() {
		return event.DecodeEvent(b)
	}
	return e, nil
}

// fastDecode decodes with goccy/go-json, which works by pointer arithmetic: a
// message made to break it must not stop the process (Invariant 5).
func fastDecode(b []byte, into any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decoder panicked: %v", p)
		}
	}()
	return gojson.Unmarshal(b, into)
}
