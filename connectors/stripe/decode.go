package stripe

import (
	"context"
	"errors"

	"hotsync/event"
)

// Decoder makes triggers of webhooks. It is safe for concurrent use.
type Decoder struct{ cfg DecoderConfig }

// NewDecoder returns a decoder, or an error that names what is wrong with cfg.
func NewDecoder(cfg DecoderConfig) (*Decoder, error) { return &Decoder{cfg: cfg}, nil }

// Decode reads a message. Its errors are *event.BadInput.
func (d *Decoder) Decode(_ context.Context, _ event.Message) (event.Reading, error) {
	return event.Reading{}, errors.New("decode: not written yet")
}
