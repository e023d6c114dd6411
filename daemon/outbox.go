package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/event"
	"hotsync/reconcile"
	"hotsync/record"
)

// outbox turns what hotsync says into records and makes them durable.
type outbox struct {
	writer *kafka.Writer
	topics topics
	first  time.Duration   // the delay of the first retry topic
	plain  map[string]bool // the headers that dead letters keep, see plainHeaders
	log    zerolog.Logger
}

// write makes records durable. It returns an error only when ctx ended.
func (o *outbox) write(ctx context.Context, records ...kafka.Record) error {
	if len(records) == 0 {
		return nil
	}
	backoff := 50 * time.Millisecond
	for {
		err := o.writer.Write(ctx, records...)
		if err == nil {
			return nil
		}
		if backoff >= time.Second { // a hiccup is not worth a line
			o.log.Warn().Str(fieldTopic, records[0].Topic).Int("records", len(records)).Err(err).Msg("Kafka does not take records; they are tried until it does")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("write %d records to Kafka: %w (last: %w)", len(records), ctx.Err(), err)
		case <-time.After(backoff):
			backoff = min(2*backoff, 5*time.Second)
		}
	}
}

// Record makes an event durable.
func (o *outbox) Record(ctx context.Context, e event.Event) error {
	r, err := o.event(e)
	if err != nil {
		return err
	}
	return o.write(ctx, r)
}

func (o *outbox) event(e event.Event) (kafka.Record, error) {
	b, err := fit(e)
	if err != nil {
		return kafka.Record{}, fmt.Errorf("encode event of %s: %w", e.Key, err)
	}
	return kafka.Record{Topic: o.topics.events, Key: []byte(e.Key.String()), Value: b}, nil
}

// trigger is a record for the workers: bulk work has a topic of its own, so that
// it never delays anything live.
func (o *outbox) trigger(t event.Trigger) (kafka.Record, error) {
	topic := o.topics.live
	if t.Bulk {
		topic = o.topics.bulk
	}
	return o.triggerTo(topic, t)
}

// later is a record for a retry topic: the first one for short delays.
func (o *outbox) later(t event.Trigger, delay time.Duration) (kafka.Record, error) {
	topic := o.topics.retry5m
	if delay > 2*o.first {
		topic = o.topics.retry1h
	}
	return o.triggerTo(topic, t)
}

func (o *outbox) triggerTo(topic string, t event.Trigger) (kafka.Record, error) {
	b, err := fitTrigger(t)
	if err != nil {
		return kafka.Record{}, fmt.Errorf("encode trigger of %s: %w", t.Key, err)
	}
	return kafka.Record{Topic: topic, Key: []byte(t.Key.String()), Value: b}, nil
}

func (o *outbox) dead(d event.DeadLetter) (kafka.Record, error) {
	b, err := fitLetter(d, o.plain)
	if err != nil {
		return kafka.Record{}, fmt.Errorf("encode dead letter of %s: %w", d.Source, err)
	}
	return kafka.Record{Topic: o.topics.dead, Key: []byte(d.Key), Value: b}, nil
}

func (o *outbox) memory(k record.Key, m reconcile.Memory) (kafka.Record, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return kafka.Record{}, fmt.Errorf("encode the memory of %s: %w", k, err)
	}
	return o.stateRecord(k, b), nil
}
