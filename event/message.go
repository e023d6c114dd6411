package event

import (
	"fmt"
	"time"

	"hotsync/record"
)

// Message is a message as a source topic delivered it.
type Message struct {
	Coordinates
	Key     []byte
	Value   []byte
	Headers map[string]string // the last of equal names
	Time    time.Time
}

// Reading is what a decoder made of a message: triggers, or the reason why
// there are none.
type Reading struct {
	Triggers []Trigger
	// Reason is set when there are no triggers: the message is fine and asks
	// for nothing (no_claim, irrelevant_type, disabled).
	Reason Reason
	// Note says in one sentence why nothing follows, for a person to read.
	Note string
	// Type and Delivery describe the message when there are no triggers.
	Type     string
	Delivery string
	At       time.Time
}

// BadInput is the error of a decoder for a message that can never be read. The
// message becomes a rejected event and a dead letter (Invariant 5).
type BadInput struct {
	Reason   Reason // undecodable, bad_signature, bad_token, too_large
	Type     string // as far as it could be read
	Delivery string
	Err      error
	// Redacted, when not nil, replaces the original bytes in the dead letter,
	// because they hold a credential (Invariant 8).
	Redacted []byte
}

// Error implements error.
func (b *BadInput) Error() string { return fmt.Sprintf("%s: %v", b.Reason, b.Err) }

// Unwrap returns the cause.
func (b *BadInput) Unwrap() error { return b.Err }

// MessageKey is the key under which an event about a message itself is filed,
// when the message named nothing to look at: <system>:message:<its id>.
func MessageKey(system string, m Message, delivery string) record.Key {
	if delivery == "" {
		delivery = m.Coordinates.String()
	}
	return record.Key{System: system, Kind: "message", ID: delivery}
}
