package login

import (
	"context"
	"errors"

	"hotsync/event"
)

// Decoder makes triggers of login messages. It is safe for concurrent use.
type Decoder struct{ cfg Config }

// NewDecoder returns a decoder, or an error that names everything that is wrong
// with cfg. It reads no file and dials nothing.
func NewDecoder(cfg Config) (*Decoder, error) { return &Decoder{cfg: cfg}, nil }

// Validate returns everything that is wrong with c, joined, and warnings about
// what is allowed but will surely not do what was meant.
func (c Config) Validate() (warnings []string, err error) { return nil, nil }

// Check reads the key set of every provider, for a doctor or a readiness probe.
func (d *Decoder) Check(_ context.Context) error { return errors.New("check: not written yet") }

// Decode reads a message. Its errors are *event.BadInput for a message that can
// never be read, and of class fault.Unavailable when the provider's keys cannot
// be had now: wait and decode again.
func (d *Decoder) Decode(_ context.Context, _ event.Message) (event.Reading, error) {
	return event.Reading{}, errors.New("decode: not written yet")
}
