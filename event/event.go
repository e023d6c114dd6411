package event

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"hotsync/record"
)

// Outcome says how a sync ended (design: every road ends in an event).
type Outcome string

// The outcomes.
const (
	Applied    Outcome = "applied"
	InSync     Outcome = "in_sync"
	Suppressed Outcome = "suppressed"
	Skipped    Outcome = "skipped"
	Observed   Outcome = "observed"
	Deferred   Outcome = "deferred"
	Rejected   Outcome = "rejected"
	Failed     Outcome = "failed"
)

// Outcomes lists every outcome.
func Outcomes() []Outcome {
	return []Outcome{Applied, InSync, Suppressed, Skipped, Observed, Deferred, Rejected, Failed}
}

// Final reports whether nothing more will come of the sync by itself.
func (o Outcome) Final() bool { return o != Deferred && o != "" }

// Reason says why a sync ended as it did.
type Reason string

// The reasons, under the outcomes they belong to.
const (
	// applied
	ReasonDriftRepaired Reason = "drift_repaired"
	ReasonCreated       Reason = "created"
	// in_sync
	ReasonEqual       Reason = "equal"
	ReasonFingerprint Reason = "fingerprint"
	// suppressed
	ReasonOrigin   Reason = "origin"
	ReasonFlapping Reason = "flapping"
	ReasonOwnEcho  Reason = "own_echo"
	// skipped
	ReasonNoClaim             Reason = "no_claim"
	ReasonNoMatch             Reason = "no_match"
	ReasonAmbiguousMatch      Reason = "ambiguous_match"
	ReasonDisabled            Reason = "disabled"
	ReasonOutOfScope          Reason = "out_of_scope"
	ReasonUnknownSubscription Reason = "unknown_subscription"
	ReasonUnknownAccount      Reason = "unknown_account"
	ReasonOrphan              Reason = "orphan"     // a Limio record that belongs to nothing in a billing system
	ReasonBaseMoved           Reason = "base_moved" // what a person reviewed is no longer what would be written
	ReasonDiscarded           Reason = "discarded"  // a person gave up a dead letter
	ReasonIrrelevantType      Reason = "irrelevant_type"
	ReasonFannedOut           Reason = "fanned_out"  // it became triggers of its own
	ReasonNotStarted          Reason = "not_started" // nothing is billed yet
	// observed
	ReasonWouldApply Reason = "would_apply"
	// deferred
	ReasonRateLimited    Reason = "rate_limited"
	ReasonLocked         Reason = "locked"
	ReasonUnavailable    Reason = "unavailable"
	ReasonUnknownOutcome Reason = "unknown_outcome"
	// rejected
	ReasonUndecodable  Reason = "undecodable"
	ReasonBadSignature Reason = "bad_signature"
	ReasonBadToken     Reason = "bad_token"
	ReasonTooLarge     Reason = "too_large"
	// failed
	ReasonForbidden    Reason = "forbidden"
	ReasonRefused      Reason = "refused" // the vendor refuses the request as it is
	ReasonNotConverged Reason = "not_converged"
	ReasonExhausted    Reason = "exhausted"
	ReasonIncomplete   Reason = "incomplete" // a sweep could not read every page
	ReasonBug          Reason = "bug"
)

// Phase says which of a sync's events this is.
type Phase string

// The phases. Planned is durable before the first write to another system, so
// that no write can be missing from the log (Invariant 6).
const (
	Planned Phase = "planned"
	Done    Phase = "done"
)

// Callout is one call to a vendor.
type Callout struct {
	At       time.Time `json:"at"`
	Service  string    `json:"service"` // zuora, stripe, limio
	Method   string    `json:"method"`
	Route    string    `json:"route"`            // with placeholders, without ids
	Status   int       `json:"status,omitempty"` // 0: no answer
	Duration int64     `json:"ms"`               // milliseconds
	Error    string    `json:"error,omitempty"`
}

// Event is one fact about one sync, immutable once produced, and one row in
// ClickHouse.
type Event struct {
	Version  int             `json:"v"`
	ID       string          `json:"id"`
	SyncID   string          `json:"sync_id"`
	Phase    Phase           `json:"phase"`
	At       time.Time       `json:"at"`
	Outcome  Outcome         `json:"outcome,omitempty"` // empty while planned
	Reason   Reason          `json:"reason,omitempty"`
	Note     string          `json:"note,omitempty"` // one sentence for a person
	Key      record.Key      `json:"key"`
	Related  []string        `json:"related,omitempty"` // Limio ids and other keys it concerns
	Cause    Cause           `json:"cause"`
	Origin   Origin          `json:"origin,omitempty"`
	Mode     string          `json:"mode,omitempty"` // write, observe
	Triggers []Ref           `json:"triggers"`
	Attempt  int             `json:"attempt"`
	Next     time.Time       `json:"next,omitzero"` // of a deferred sync
	Changes  []record.Change `json:"changes,omitempty"`
	// Plan identifies the changes as they were before personal data was masked,
	// for a person who reviews them (Trigger.Base). Set on observed syncs.
	Plan string `json:"plan,omitempty"`
	// Stats are the numbers of a run, of a sweep or of a replay; of a fan-out,
	// led_to is how many triggers it made.
	Stats    map[string]int64 `json:"stats,omitempty"`
	Callouts []Callout        `json:"callouts,omitempty"`
	Class    string           `json:"error_class,omitempty"`
	Error    string           `json:"error,omitempty"`
	Waited   int64            `json:"waited_ms"` // from the first trigger's reception to the start of work
	Worked   int64            `json:"worked_ms"`
	Instance string           `json:"instance,omitempty"`
	Build    string           `json:"build,omitempty"`
}

// Identify sets the version and the id. The id of a planned event covers its
// changes, so that a plan made again after a crash never replaces the record
// of what the first one set out to write; the id of a done event covers the
// sync and the attempt, so that a redelivery yields the same row.
func (e *Event) Identify() error {
	e.Version = 1
	parts := []string{"event", e.SyncID, string(e.Phase), strconv.Itoa(e.Attempt)}
	if e.Phase == Planned {
		b, err := json.Marshal(e.Changes)
		if err != nil {
			return fmt.Errorf("identify event of sync %s: %w", e.SyncID, err)
		}
		parts = append(parts, string(b))
	}
	e.ID = Digest(parts...)
	return nil
}

// Clip shortens a text to at most n bytes and an ellipsis, without cutting a rune.
func Clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}

// Encode returns e as JSON.
func (e Event) Encode() ([]byte, error) { return json.Marshal(e) }

// DecodeEvent reads what Encode wrote. It refuses an event without ids, a
// phase or a key.
func DecodeEvent(b []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(b, &e); err != nil {
		return Event{}, fmt.Errorf("event: %w", err)
	}
	if e.ID == "" || e.SyncID == "" || e.Phase == "" || e.Key.IsZero() {
		return Event{}, fmt.Errorf("event: id, sync_id, phase and key are required, got id %q, sync_id %q, phase %q, key %q", e.ID, e.SyncID, e.Phase, e.Key)
	}
	return e, nil
}

// DeadLetter is a message or a sync that hotsync gave up on, with everything a
// replay needs.
//
// What a person decides about it is one more message on the dead-letter topic
// with the same ID and Key, that has a State and says who, why and when; it need
// not repeat Trigger, Headers and Original. The latest of the messages with one
// ID says how the letter stands, so work that is given up again is open again.
type DeadLetter struct {
	ID       string            `json:"id,omitempty"` // see Identify
	Source   Coordinates       `json:"source"`
	Key      string            `json:"key"`
	Reason   Reason            `json:"reason"`
	Class    string            `json:"error_class,omitempty"`
	Error    string            `json:"error"`
	Attempts int               `json:"attempts"`
	First    time.Time         `json:"first_failure"`
	Last     time.Time         `json:"last_failure"`
	SyncID   string            `json:"sync_id,omitempty"`
	Trigger  *Trigger          `json:"trigger,omitempty"`  // of given-up work
	Headers  map[string]string `json:"headers,omitempty"`  // of a bad message
	Original []byte            `json:"original,omitempty"` // its bytes; base64 in JSON

	State string    `json:"state,omitempty"` // "" while it is open, else DeadReplayed or DeadDiscarded
	By    string    `json:"by,omitempty"`    // who decided
	Why   string    `json:"why,omitempty"`
	At    time.Time `json:"at,omitzero"` // when that was
}

// The states of a dead letter that somebody decided about.
const (
	DeadReplayed  = "replayed"
	DeadDiscarded = "discarded"
)

// Identity is the id of d, a pure function of Source and SyncID. Letters that
// were written before they had an ID have this one too.
func (d *DeadLetter) Identity() string { return Digest("dead", d.Source.String(), d.SyncID) }

// Identify sets the ID, unless d has one.
func (d *DeadLetter) Identify() {
	if d.ID == "" {
		d.ID = d.Identity()
	}
}
