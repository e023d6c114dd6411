package clickhouse

import (
	"encoding/json"
	"fmt"
	"time"

	"hotsync/event"
)

// keepOriginal is how much of a bad message a row holds.
const keepOriginal = 4096

// deadRows builds rows of dead_letters.
type deadRows struct {
	all   []column
	parts []int32

	sourceTopic, reason, class, topic          *word
	tCause, tOrigin, tType                     *word
	key, err, syncID, tID, tDelivery, original *scalar[string]
	at, first                                  *scalar[time.Time]
	tAt, tReceived                             *scalar[*time.Time]
	sourcePartition, partition                 *scalar[int32]
	sourceOffset, offset                       *scalar[int64]
	attempts                                   *scalar[uint32]
	bytes                                      *scalar[uint64]
	headers                                    *scalar[map[string]string]
}

func newDeadRows() *deadRows {
	r := &deadRows{}
	a := &r.all
	r.at, r.first = reg(a, newTime("at")), reg(a, newTime("first_failure"))
	r.sourceTopic, r.sourcePartition, r.sourceOffset = reg(a, newWord("source_topic")), reg(a, newInt[int32]("source_partition")), reg(a, newInt[int64]("source_offset"))
	r.key, r.reason, r.class, r.err = reg(a, newText("key")), reg(a, newWord("reason")), reg(a, newWord("error_class")), reg(a, newText("error"))
	r.attempts, r.syncID = reg(a, newInt[uint32]("attempts")), reg(a, newText("sync_id"))
	r.tID, r.tCause, r.tOrigin = reg(a, newText("trigger_id")), reg(a, newWord("trigger_cause")), reg(a, newWord("trigger_origin"))
	r.tType, r.tDelivery = reg(a, newWord("trigger_type")), reg(a, newText("trigger_delivery"))
	r.tAt, r.tReceived = reg(a, newMaybeTime("trigger_at")), reg(a, newMaybeTime("trigger_received"))
	r.headers = reg(a, newMap("headers"))
	r.original, r.bytes = reg(a, newText("original")), reg(a, newInt[uint64]("original_bytes"))
	r.topic, r.partition, r.offset = reg(a, newWord("_topic")), reg(a, newInt[int32]("_partition")), reg(a, newInt[int64]("_offset"))
	return r
}

func (r *deadRows) name() string          { return DeadLetters.String() }
func (r *deadRows) columns() []column     { return r.all }
func (r *deadRows) months() []int32       { return r.parts }
func (r *deadRows) received() []time.Time { return r.at.values }

func (r *deadRows) reset() {
	for _, c := range r.all {
		c.reset()
	}
	r.parts = r.parts[:0]
}

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
	at := d.Last
	if at.IsZero() {
		at = m.Time
	}
	var t event.Trigger
	if d.Trigger != nil {
		t = *d.Trigger
	}
	r.parts = append(r.parts, month(clamp(at)))
	r.at.add(clamp(at))
	r.first.add(clamp(d.First))
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
	r.tAt.add(maybe(t.At))
	r.tReceived.add(maybe(t.Received))
	if d.Headers == nil {
		d.Headers = map[string]string{}
	}
	r.headers.add(d.Headers)
	r.original.add(string(d.Original[:min(len(d.Original), keepOriginal)]))
	r.bytes.add(uint64(len(d.Original)))
	r.topic.add(m.Topic)
	r.partition.add(int32(m.Partition))
	r.offset.add(m.Offset)
	return nil
}
