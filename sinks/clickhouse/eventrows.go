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
	builder

	id, syncID, note, key, keyID, err, plan                          *text
	phase, outcome, reason, system, kind, cause, origin, mode, class *word
	instance, build, topic                                           *word
	at, first, waited, worked, offset                                *number[int64]
	next                                                             *maybe
	attempt                                                          *number[uint32]
	format                                                           *number[uint16]
	partition                                                        *number[int32]
	version                                                          *number[uint64]
	related                                                          *texts
	stats                                                            *tally

	tID, tDelivery                 *texts
	tCause, tOrigin, tType, tTopic *words
	tPartition                     *numbers[int32]
	tOffset, tAt, tReceived        *numbers[int64]

	cObject, cField, cOp       *words
	cID, cRef, cBefore, cAfter *texts

	oService, oMethod, oRoute *words
	oError                    *texts
	oStatus                   *numbers[uint16]
	oAt, oMS                  *numbers[int64]
}

func newEventRows() *eventRows {
	r := &eventRows{}
	b := &r.builder
	r.id, r.syncID, r.phase = b.text("id"), b.text("sync_id"), b.word("phase")
	r.at, r.first = b.int64("at"), b.int64("received")
	r.outcome, r.reason, r.note = b.word("outcome"), b.word("reason"), b.text("note")
	r.key, r.system, r.kind, r.keyID = b.text("key"), b.word("key_system"), b.word("key_kind"), b.text("key_id")
	r.related = b.texts("related")
	r.cause, r.origin, r.mode = b.word("cause"), b.word("origin"), b.word("mode")
	r.attempt, r.next = add(b, &number[uint32]{label: "attempt"}), b.maybe("next")

	r.tID, r.tDelivery = b.texts("triggers.id"), b.texts("triggers.delivery")
	r.tCause, r.tOrigin, r.tType, r.tTopic = b.words("triggers.cause"), b.words("triggers.origin"), b.words("triggers.type"), b.words("triggers.topic")
	r.tPartition, r.tOffset = add(b, &numbers[int32]{number: number[int32]{label: "triggers.partition"}}), b.int64s("triggers.offset")
	r.tAt, r.tReceived = b.int64s("triggers.at"), b.int64s("triggers.received")

	r.cObject, r.cField, r.cOp = b.words("changes.object"), b.words("changes.field"), b.words("changes.op")
	r.cID, r.cRef, r.cBefore, r.cAfter = b.texts("changes.id"), b.texts("changes.ref"), b.texts("changes.before"), b.texts("changes.after")

	r.oService, r.oMethod, r.oRoute = b.words("callouts.service"), b.words("callouts.method"), b.words("callouts.route")
	r.oStatus = add(b, &numbers[uint16]{number: number[uint16]{label: "callouts.status"}})
	r.oAt, r.oMS, r.oError = b.int64s("callouts.at"), b.int64s("callouts.ms"), b.texts("callouts.error")

	r.class, r.err = b.word("error_class"), b.text("error")
	r.waited, r.worked = b.int64("waited_ms"), b.int64("worked_ms")
	r.instance, r.build, r.format = b.word("instance"), b.word("build"), add(b, &number[uint16]{label: "format"})
	r.plan, r.stats = b.text("plan"), add(b, &tally{label: "stats"})
	r.topic, r.partition = b.word("_topic"), add(b, &number[int32]{label: "_partition"})
	r.offset, r.version = b.int64("_offset"), add(b, &number[uint64]{label: "_version"})
	return r
}

func (r *eventRows) name() string { return Events.String() }

func (r *eventRows) add(m event.Message) error {
	e, err := decodeEvent(m.Value)
	if err != nil {
		return err
	}
	first := clamp(began(&e))
	r.enter(first)
	r.id.add(e.ID)
	r.syncID.add(e.SyncID)
	r.phase.add(string(e.Phase))
	r.at.add(millis(e.At))
	r.first.add(millis(first))
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
	r.next.add(maybeMillis(e.Next))
	r.class.add(e.Class)
	r.err.add(e.Error)
	r.waited.add(e.Waited)
	r.worked.add(e.Worked)
	r.instance.add(e.Instance)
	r.build.add(e.Build)
	r.format.add(uint16(max(0, e.Version)))
	r.plan.add(e.Plan)
	r.stats.add(e.Stats)
	r.topic.add(m.Topic)
	r.partition.add(int32(m.Partition))
	r.offset.add(m.Offset)
	r.version.add(version(&e, m.Offset))
	r.addRelated(e.Related)
	r.addTriggers(e.Triggers)
	r.addChanges(e.Changes)
	r.addCallouts(e.Callouts)
	return nil
}

// began is when the first trigger of a sync was received. The sync's id derives
// from that trigger too, so the time is the same in all events of the sync: they
// lie together in the table, and are found together.
//
// A replay takes up a sync that never ended, and then its own trigger comes
// before those of the sync.
func began(e *event.Event) time.Time {
	if len(e.Triggers) == 0 || e.Triggers[0].Received.IsZero() {
		return e.At
	}
	t := e.Triggers[0].Received
	if e.Triggers[0].Cause != event.CauseReplay || len(e.Triggers) == 1 {
		return t
	}
	for i := range e.Triggers {
		switch of := &e.Triggers[i]; {
		case event.Digest("sync", of.ID, e.Key.String()) == e.SyncID:
			return of.Received
		case !of.Received.IsZero() && of.Received.Before(t):
			t = of.Received
		}
	}
	return t
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
		r.tAt.add(millis(t.At))
		r.tReceived.add(millis(t.Received))
	}
	r.end(r.tID, r.tDelivery, r.tCause, r.tOrigin, r.tType, r.tTopic, r.tPartition, r.tOffset, r.tAt, r.tReceived)
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
	r.end(r.cObject, r.cField, r.cOp, r.cID, r.cRef, r.cBefore, r.cAfter)
}

func (r *eventRows) addCallouts(callouts []event.Callout) {
	for i := range callouts {
		c := &callouts[i]
		r.oAt.add(millis(c.At))
		r.oService.add(c.Service)
		r.oMethod.add(c.Method)
		r.oRoute.add(c.Route)
		r.oStatus.add(uint16(max(0, c.Status)))
		r.oMS.add(c.Duration)
		r.oError.add(c.Error)
	}
	r.end(r.oService, r.oMethod, r.oRoute, r.oError, r.oStatus, r.oAt, r.oMS)
}

// scalarJSON is a value as the table holds it: absent and null are one.
func scalarJSON(v record.Value) string {
	if v == "" {
		return string(record.Null)
	}
	return string(v)
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
