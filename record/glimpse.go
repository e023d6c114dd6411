package record

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Mark identifies what a list shows of a record: equal marks mean that nothing
// a plan depends on has changed. A list and a single read of the same state
// give the same mark.
type Mark string

// MarkOf returns the mark of parts, in their order.
func MarkOf(parts ...string) Mark {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return Mark(hex.EncodeToString(h.Sum(nil)[:12]))
}

// Glimpse is what a list of a billing system shows of one record, without a
// call of its own.
type Glimpse struct {
	Key Key
	// Mark is "" when the list may not show all that matters, so that the
	// record has to be looked at.
	Mark Mark
}

// Page is a page of a list. Next is the cursor of the page after it, "" on the
// last one.
type Page struct {
	Glimpses []Glimpse
	Next     string
}
