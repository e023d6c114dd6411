package daemon

import (
	"bytes"
	"encoding/base64"
	"maps"
	"regexp"
	"slices"
	"time"

	"hotsync/api"
	"hotsync/connectors/kafka"
	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// resend returns what a letter becomes when it is replayed, or an error that
// says why it cannot be.
func (d *deadLetters) resend(l letter, at time.Time, run string) (resent, error) {
	if l.whole.Trigger != nil || (fault.Of(l.gone) == fault.NotFound && l.row.Work && writesAnyway(l.row.Cause)) {
		t, err := again(l, at, run)
		return resent{letter: l, trigger: t}, err
	}
	if l.gone != nil {
		return resent{}, fault.Newf(fault.NotFound, "what was kept of it cannot be had (%v), so it cannot be replayed; discard it when it is no longer needed", l.gone)
	}
	r, err := d.message(l.whole, run)
	return resent{letter: l, record: r}, err
}

// writesAnyway reports whether triggers of a cause never carry more than their
// key: those of a sweep may only plan, or write what was reviewed, and are not
// made up when they are lost.
func writesAnyway(c event.Cause) bool {
	return c == event.CauseLogin || c == event.CauseStripe || c == event.CauseCallout
}

// again is the trigger of given-up work as a new sync: what narrows it stays,
// what its failures left on it goes.
func again(l letter, at time.Time, run string) (*event.Trigger, error) {
	var old event.Trigger
	if l.whole.Trigger != nil {
		old = *l.whole.Trigger
	} else {
		// Kafka has let go of the letter, and a trigger is little more than its key.
		key, err := record.ParseKey(l.row.Key)
		if err != nil {
			return nil, fault.Newf(fault.Refused, "%w; discard it", err)
		}
		old = event.Trigger{Key: key}
	}
	if !isRecord(old.Key) {
		return nil, fault.Newf(fault.Refused, "key %s is of nothing that can be looked at; discard it", old.Key)
	}
	return &event.Trigger{
		ID: event.Digest("replay", run, l.row.ID), Key: old.Key, Cause: event.CauseReplay, Type: old.Type, Delivery: run,
		Source: old.Source, Via: old.Via, At: at, Received: at,
		Verify: old.Verify, Plan: old.Plan, Base: old.Base, Limio: old.Limio, Scope: old.Scope,
	}, nil
}

// message is a bad message as it is produced again, to the topic that it came
// from.
func (d *deadLetters) message(l event.DeadLetter, run string) (kafka.Record, error) {
	switch {
	case len(l.Original) == 0:
		return kafka.Record{}, fault.Newf(fault.Refused, "it was kept without its bytes, so it cannot be produced again; discard it")
	case len(l.Original) >= maxOriginal:
		return kafka.Record{}, fault.Newf(fault.Refused, "only its first %d bytes were kept, so it cannot be produced again; let its producer send it again, or discard it", maxOriginal)
	case wasRedacted(l.Original):
		return kafka.Record{}, fault.Newf(fault.Refused, "a credential was taken out of it before it was kept (the signature of a token, or a client secret), so it cannot be produced again as it was; let its producer send it again, or discard it")
	}
	t := d.out.topics
	switch l.Source.Topic {
	case t.login, t.stripe:
		headers := maps.Clone(l.Headers)
		if headers == nil {
			headers = map[string]string{}
		}
		maps.DeleteFunc(headers, func(_, value string) bool { return value == redactedMark })
		headers[replayHeader] = run
		r := kafka.Record{Topic: l.Source.Topic, Value: l.Original}
		for _, name := range slices.Sorted(maps.Keys(headers)) {
			r.Headers = append(r.Headers, kafka.Header{Key: name, Value: []byte(headers[name])})
		}
		return r, nil
	case t.live, t.bulk, t.retry5m, t.retry1h:
		// Its key decides who works on it (Invariant 3), so it must be readable by now.
		trigger, err := event.DecodeTrigger(l.Original)
		if err != nil {
			return kafka.Record{}, fault.Newf(fault.Refused, "it still cannot be read: %w; discard it", err)
		}
		return d.out.triggerTo(l.Source.Topic, trigger)
	case t.events:
		e, err := event.DecodeEvent(l.Original)
		if err != nil {
			return kafka.Record{}, fault.Newf(fault.Refused, "it still cannot be read: %w; discard it", err)
		}
		return d.out.event(e)
	}
	return kafka.Record{}, fault.Newf(fault.Refused, "it came from topic %q, which is none that this daemon reads (see kafka.login_topic and kafka.stripe_topic); discard it", l.Source.Topic)
}

// redactedMark is what stands where a decoder took a credential out.
const redactedMark = "[redacted]"

// inBase64 finds what may be the data of a CloudEvent, in which decoders look
// for credentials too.
var inBase64 = regexp.MustCompile(`[A-Za-z0-9+/]{16,}={0,2}`)

// wasRedacted reports whether a credential was taken out of a message.
func wasRedacted(b []byte) bool {
	if bytes.Contains(b, []byte(redactedMark)) {
		return true
	}
	for _, run := range inBase64.FindAll(b, -1) {
		if text, err := base64.StdEncoding.DecodeString(string(run)); err == nil && bytes.Contains(text, []byte(redactedMark)) {
			return true
		}
	}
	return false
}

// state is one more message of a letter, which says what became of it. The first
// one keeps what there is to replay.
func (d *deadLetters) state(l api.DeadLetter) (kafka.Record, error) {
	return d.out.dead(event.DeadLetter{
		ID: l.ID, Source: l.Source, Key: l.Key, Reason: l.Reason, Class: l.Class, Error: l.Error, Attempts: l.Attempts,
		First: l.First, Last: l.Last, SyncID: l.SyncID, State: l.State, By: l.By, Why: l.Why, At: l.At,
	})
}
