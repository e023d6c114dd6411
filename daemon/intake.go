package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// decoder reads messages of one source topic. A *event.BadInput error is final;
// any other means that the message cannot be judged now.
type decoder interface {
	Decode(ctx context.Context, m event.Message) (event.Reading, error)
}

// source is a topic that others produce to.
type source struct {
	system  string // for the keys of events about messages
	cause   event.Cause
	decoder decoder
}

// intake turns messages of the source topics into triggers, and commits a
// message only once its triggers are durable (Invariant 1).
type intake struct {
	sources       map[string]source // by topic
	memory        *memories
	out           *outbox
	recordIgnored bool
	now           func() time.Time
	log           zerolog.Logger
	metrics       *metrics
}

// batch bounds how many messages are decoded before they are made durable
// together.
const batch = 200

// Assigned implements kafka.Handler.
func (in *intake) Assigned(ctx context.Context, gen *kafka.Generation, part *kafka.Assignment) error {
	reading, stop := untilEnding(ctx, gen)
	defer stop()
	for {
		first, err := part.Next(ctx)
		if errors.Is(err, kafka.ErrGenerationEnded) {
			return nil
		}
		if err != nil {
			return err
		}
		records := []kafka.Record{first}
		for len(records) < batch {
			r, ok := part.TryNext()
			if !ok {
				break
			}
			records = append(records, r)
		}
		if err := in.take(ctx, reading, records); err != nil {
			if reading.Err() != nil {
				return nil // handed over: somebody else takes them again
			}
			return err
		}
		for _, r := range records {
			part.Done(r)
		}
	}
}

// take makes durable what follows from messages. Waiting for a decoder ends with
// reading, writing with ctx.
func (in *intake) take(ctx, reading context.Context, records []kafka.Record) error {
	var out []kafka.Record
	for _, r := range records {
		src := in.sources[r.Topic]
		made, err := in.one(reading, src, message(r))
		if err != nil {
			return fmt.Errorf("take %s/%d/%d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		out = append(out, made...)
	}
	return in.out.write(ctx, out...)
}

func (in *intake) one(ctx context.Context, src source, m event.Message) ([]kafka.Record, error) {
	reading, err := in.read(ctx, src, m)
	var bad *event.BadInput
	switch {
	case errors.As(err, &bad):
		in.metrics.messages.WithLabelValues(m.Topic, string(bad.Reason)).Inc()
		in.log.Warn().Str(fieldTopic, m.Topic).Int(fieldPart, m.Partition).Int64(fieldOffset, m.Offset).
			Str(fieldReason, string(bad.Reason)).Err(bad.Err).Msg("bad message; it is in the dead-letter topic")
		return badRecords(in.out, m, src.system, bad, in.now())
	case err != nil:
		return nil, err
	case len(reading.Triggers) == 0:
		in.metrics.messages.WithLabelValues(m.Topic, string(reading.Reason)).Inc()
		if !in.recordIgnored {
			return nil, nil
		}
		e, err := in.ignored(src, m, reading)
		if err != nil {
			return nil, err
		}
		r, err := in.out.event(e)
		return []kafka.Record{r}, err
	}
	in.metrics.messages.WithLabelValues(m.Topic, "triggered").Inc()
	out := make([]kafka.Record, 0, len(reading.Triggers))
	for _, t := range reading.Triggers {
		r, err := in.out.trigger(in.route(t))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// route sends a lookup whose account is known to that account's lane. The
// lookup stays with the trigger and is made again as the read, so that a link
// that changed is noticed; until an account is known, the lookup is the key.
func (in *intake) route(t event.Trigger) event.Trigger {
	if t.Key.System == "zuora" && t.Key.Kind == "lookup" {
		if account := in.memory.get(t.Key).Account; account != "" {
			t.Key = record.ZuoraAccount(account)
		}
	}
	return t
}

// read decodes m. A decoder that cannot judge now (keys of an identity provider
// out of reach) holds up its partition and nothing else (Invariant 7).
func (in *intake) read(ctx context.Context, src source, m event.Message) (event.Reading, error) {
	backoff := 100 * time.Millisecond
	for {
		reading, err := decode(ctx, src.decoder, m)
		if err == nil || !fault.Of(err).Passing() || ctx.Err() != nil {
			return reading, classify(err)
		}
		in.metrics.messages.WithLabelValues(m.Topic, "waiting").Inc()
		in.log.Warn().Str(fieldTopic, m.Topic).Int64(fieldOffset, m.Offset).Err(err).Msg("a message waits for its decoder")
		select {
		case <-ctx.Done():
			return event.Reading{}, ctx.Err()
		case <-time.After(backoff):
			backoff = min(2*backoff, 10*time.Second)
		}
	}
}

// decode turns a panic of a decoder into bad input: the bytes that cause one
// must not stop the process (Invariant 5).
func decode(ctx context.Context, d decoder, m event.Message) (r event.Reading, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &event.BadInput{Reason: event.ReasonUndecodable, Err: fmt.Errorf("decoder panicked: %v", p)}
		}
	}()
	return d.Decode(ctx, m)
}

// classify makes bad input of an error that nobody classified: a message that
// cannot be judged, now or later, must not block its partition.
func classify(err error) error {
	var bad *event.BadInput
	if err == nil || errors.As(err, &bad) || fault.Of(err) == fault.Stopped {
		return err
	}
	return &event.BadInput{Reason: event.ReasonUndecodable, Err: err}
}

func (in *intake) ignored(src source, m event.Message, r event.Reading) (event.Event, error) {
	id := event.TriggerID(m.Coordinates, 0)
	now := in.now()
	at := r.At
	if at.IsZero() {
		at = m.Time
	}
	e := event.Event{
		SyncID: id, Phase: event.Done, At: now, Outcome: event.Skipped, Reason: r.Reason, Note: r.Note,
		Key: event.MessageKey(src.system, m, r.Delivery), Cause: src.cause, Attempt: 1,
		Triggers: []event.Ref{{ID: id, Cause: src.cause, Type: r.Type, Delivery: r.Delivery, Source: m.Coordinates, At: at, Received: now}},
	}
	return e, e.Identify()
}

// fileBad makes a bad message an event and a dead letter.
func fileBad(ctx context.Context, out *outbox, m event.Message, system string, bad *event.BadInput, now time.Time) error {
	records, err := badRecords(out, m, system, bad, now)
	if err != nil {
		return err
	}
	return out.write(ctx, records...)
}

func badRecords(out *outbox, m event.Message, system string, bad *event.BadInput, now time.Time) ([]kafka.Record, error) {
	id := event.TriggerID(m.Coordinates, 0)
	key := event.MessageKey(system, m, bad.Delivery)
	e := event.Event{
		SyncID: id, Phase: event.Done, At: now, Outcome: event.Rejected, Reason: bad.Reason, Key: key,
		Cause: causeOf(system), Attempt: 1, Class: string(fault.Refused), Error: bad.Err.Error(),
		Triggers: []event.Ref{{ID: id, Cause: causeOf(system), Type: bad.Type, Delivery: bad.Delivery, Source: m.Coordinates, At: m.Time, Received: now}},
	}
	if err := e.Identify(); err != nil {
		return nil, err
	}
	original := m.Value
	if bad.Redacted != nil {
		original = bad.Redacted
	}
	letter, err := out.dead(event.DeadLetter{
		Source: m.Coordinates, Key: key.String(), Reason: bad.Reason, Class: string(fault.Refused), Error: bad.Err.Error(),
		Attempts: 1, First: now, Last: now, SyncID: id, Headers: m.Headers, Original: original,
	})
	if err != nil {
		return nil, err
	}
	row, err := out.event(e)
	if err != nil {
		return nil, err
	}
	return []kafka.Record{letter, row}, nil
}

func causeOf(system string) event.Cause {
	switch system {
	case "login":
		return event.CauseLogin
	case "stripe":
		return event.CauseStripe
	}
	return event.CauseAPI
}

// message is a record as decoders see it.
func message(r kafka.Record) event.Message {
	m := event.Message{
		Coordinates: event.Coordinates{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset},
		Key:         r.Key, Value: r.Value, Time: r.Time,
	}
	if len(r.Headers) > 0 {
		m.Headers = make(map[string]string, len(r.Headers))
		for _, h := range r.Headers {
			m.Headers[h.Key] = string(h.Value)
		}
	}
	return m
}
