// Package event holds what comes in, a Trigger, and what goes out, an Event.
// It promises that both have one JSON form, that an id is a pure function of
// where a message came from, and that every way a sync can end has a name.
package event

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"hotsync/record"
)

// Cause says what asked for a look.
type Cause string

// The causes, most urgent first.
const (
	CauseLogin   Cause = "login"
	CauseStripe  Cause = "stripe"
	CauseCallout Cause = "zuora_callout"
	CauseAPI     Cause = "api"
	CauseRetry   Cause = "retry"
	CauseReplay  Cause = "replay"
	CauseSweep   Cause = "sweep"
)

// Origin says who made the change that is followed. Any text is allowed; the
// empty Origin means unknown.
type Origin string

// The origins that hotsync knows by name.
const (
	OriginShop       Origin = "shop"
	OriginSalesforce Origin = "salesforce"
	OriginStripe     Origin = "stripe"
	OriginZuora      Origin = "zuora"
)

// Coordinates say where in Kafka a message stands.
type Coordinates struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
}

// String returns topic/partition/offset.
func (c Coordinates) String() string {
	return c.Topic + "/" + strconv.Itoa(c.Partition) + "/" + strconv.FormatInt(c.Offset, 10)
}

// Trigger means "look at this key". It carries no state to copy.
type Trigger struct {
	ID       string      `json:"id"`
	Key      record.Key  `json:"key"`
	Cause    Cause       `json:"cause"`
	Origin   Origin      `json:"origin,omitempty"`
	Type     string      `json:"type,omitempty"`     // the producer's word: invoice.paid, login
	Delivery string      `json:"delivery,omitempty"` // the producer's id of the message: evt_…
	Source   Coordinates `json:"source"`             // the message that announced it
	Via      string      `json:"via,omitempty"`      // how the key was found: field=value of a lookup
	At       time.Time   `json:"at"`                 // when it happened, by its producer
	Received time.Time   `json:"received"`           // when hotsync took it in

	// What follows narrows how the key is looked at.

	Bulk   bool   `json:"bulk,omitempty"`   // it never delays live work
	Verify bool   `json:"verify,omitempty"` // Limio is read even when it was last seen to hold what is wanted
	Plan   bool   `json:"plan,omitempty"`   // nothing is written: what would be is recorded
	Base   string `json:"base,omitempty"`   // the reviewed plan (Event.Plan) that may be written, and no other
	Limio  string `json:"limio,omitempty"`  // the Limio record that is said to belong to the key
	Scope  string `json:"scope,omitempty"`  // the rule that a login's claims met, by which its record is in scope

	// What follows is set when a sync is put off and asked for again.

	SyncID    string    `json:"sync_id,omitempty"`
	Attempt   int       `json:"attempt,omitempty"`    // attempts so far
	NotBefore time.Time `json:"not_before,omitzero"`  // when to look again
	FirstFail time.Time `json:"first_fail,omitzero"`  // of the current row of failures
	LastError string    `json:"last_error,omitempty"` // of the last attempt
	Also      []Ref     `json:"also,omitempty"`       // further triggers that this one answers for
}

// Ref is a trigger as an event cites it.
type Ref struct {
	ID       string      `json:"id"`
	Cause    Cause       `json:"cause"`
	Origin   Origin      `json:"origin,omitempty"`
	Type     string      `json:"type,omitempty"`
	Delivery string      `json:"delivery,omitempty"`
	Source   Coordinates `json:"source"`
	At       time.Time   `json:"at"`
	Received time.Time   `json:"received"`
	Sync     string      `json:"sync,omitempty"` // the sync that it was put off in, or had begun before a crash
}

// Ref returns the citation of t.
func (t Trigger) Ref() Ref {
	return Ref{t.ID, t.Cause, t.Origin, t.Type, t.Delivery, t.Source, t.At, t.Received, t.SyncID}
}

// AskedBy reports whether t, or a trigger that it answers for, has one of causes.
func (t Trigger) AskedBy(causes ...Cause) bool {
	return slices.Contains(causes, t.Cause) || slices.ContainsFunc(t.Also, func(r Ref) bool { return slices.Contains(causes, r.Cause) })
}

// TriggerID derives the id of the n-th trigger of the message at c. The same
// message makes the same ids however often it is delivered.
func TriggerID(c Coordinates, n int) string { return Digest("trigger", c.String(), strconv.Itoa(n)) }

// Digest is a 128-bit id in hex, a pure function of its parts.
func Digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Encode returns t as JSON.
func (t Trigger) Encode() ([]byte, error) { return json.Marshal(t) }

// DecodeTrigger reads what Encode wrote. It refuses a trigger without an id, a
// key or a cause.
func DecodeTrigger(b []byte) (Trigger, error) {
	var t Trigger
	if err := json.Unmarshal(b, &t); err != nil {
		return Trigger{}, fmt.Errorf("trigger: %w", err)
	}
	if t.ID == "" || t.Key.IsZero() || t.Cause == "" {
		return Trigger{}, fmt.Errorf("trigger: id, key and cause are required, got id %q, key %q, cause %q", t.ID, t.Key, t.Cause)
	}
	return t, nil
}
