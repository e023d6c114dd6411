package clickhouse

import (
	"encoding/json"
	"fmt"

	"hotsync/event"
)

// keepOriginal is how much of a bad message a row holds.
const keepOriginal = 4096

// deadRows builds rows of dead_letters.
type deadRows struct {
	builder

	sourceTopic, reason, class, topic, state   *word
	tCause, tOrigin, tType                     *word
	key, err, syncID, tID, tDelivery, original *text
	id, by, why                                *text
	at, first, sourceOffset, offset            *number[int64]
	tAt, tReceived, decided                    *maybe
	sourcePartition, partition                 *number[int32]
	attempts                                   *number[uint32]
	size                                       *number[uint64]
	headers                                    *pairs
}

func newDeadRows() *deadRows {
	r := &deadRows{}
	b := &r.builder
	r.at, r.first = b.int64("at"), b.int64("first_failure")
	r.sourceTopic, r.sourcePartition, r.sourceOffset = b.word("source_topic"), add(b, &number[int32]{label: "source_partition"}), b.int64("source_offset")
	r.key, r.reason, r.class, r.err = b.text("key"), b.word("reason"), b.word("error_class"), b.text("error")
	r.attempts, r.syncID = add(b, &number[uint32]{label: "attempts"}), b.text("sync_id")
	r.tID, r.tCause, r.tOrigin = b.text("trigger_id"), b.word("trigger_cause"), b.word("trigger_origin")
	r.tType, r.tDelivery = b.word("trigger_type"), b.text("trigger_delivery")
	r.tAt, r.tReceived = b.maybe("trigger_at"), b.maybe("trigger_received")
	r.headers = add(b, &pairs{label: "headers"})
	r.original, r.size = b.text("original"), add(b, &number[uint64]{label: "original_bytes"})
	r.id, r.state, r.by, r.why, r.decided = b.text("dead_id"), b.word("state"), b.text("by"), b.text("why"), b.maybe("decided")
	r.topic, r.partition, r.offset = b.word("_topic"), add(b, &number[int32]{label: "_partition"}), b.int64("_offset")
	return r
}

func (r *deadRows) name() string { return DeadLetters.String() }

// add never refuses: what is not a dead letter becomes a row about itself.
// There is nowhere else for it to go.
func (r *deadRows) add(m event.Message) error {
	var d event.DeadLetter
	if err := json.Unmarshal(m.Value, &d); err != nil {
		d = event.DeadLetter{
			Source: m.Coordinates, Key: string(m.Key), Reason: event.ReasonUndecodable, Error: fmt.Sprintf("dead letter: %v", err),
			Attempts: 1, First: m.Time, Last: m.Time, Headers: m.Headers, Original: m.Value,
		}
	}
	d.Identify()
	at := d.Last
	if at.IsZero() {
		at = m.Time
	}
	decided := d.At
	if d.State != "" && decided.IsZero() {
		decided = m.Time
	}
	var t event.Trigger
	if d.Trigger != nil {
		t = *d.Trigger
	}
	r.enter(clamp(at))
	r.at.add(millis(at))
	r.first.add(millis(d.First))
	r.sourceTopic.add(d.Source.Topic)
	r.sourcePartition.add(int32(d.Source.Partition))
	r.sourceOffset.add(d.Source.Offset)
	r.key.add(d.Key)
	r.reason.add(string(d.Reason))
	r.class.add(d.Class)
	r.err.add(d.Error)
	r.attempts.add(uint32(max(0, d.Attempts)))
	r.syncID.add(d.SyncID)
	r.tID.add(t.ID)
	r.tCause.add(string(t.Cause))
	r.tOrigin.add(string(t.Origin))
	r.tType.add(t.Type)
	r.tDelivery.add(t.Delivery)
	r.tAt.add(maybeMillis(t.At))
	r.tReceived.add(maybeMillis(t.Received))
	if d.Headers == nil {
		d.Headers = map[string]string{}
	}
	r.headers.add(d.Headers)
	r.original.add(string(d.Original[:min(len(d.Original), keepOriginal)]))
	r.size.add(uint64(len(d.Original)))
	r.id.add(d.ID)
	r.state.add(d.State)
	r.by.add(d.By)
	r.why.add(d.Why)
	r.decided.add(maybeMillis(decided))
	r.topic.add(m.Topic)
	r.partition.add(int32(m.Partition))
	r.offset.add(m.Offset)
	return nil
}
