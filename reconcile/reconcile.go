// Package reconcile decides what must change in Limio, and changes it. It
// promises that a plan is a value made from reading both sides, that nothing
// but a plan is ever written, that what a plan says is durable before its first
// write, and that every job ends in exactly one event.
//
// It knows no vendor's wire format, no Kafka and no ClickHouse: it states what
// it needs as small interfaces.
package reconcile

import (
	"context"
	"time"

	"hotsync/event"
	"hotsync/record"
)

// Request is one look at one key.
type Request struct {
	Key record.Key
	// Via, when set, is the lookup (field=value) that led to Key and is made
	// again as the read itself, so that a changed link is noticed.
	Via string
	// Memory is what is remembered about the key.
	Memory Memory
	// Limio, when set, is the Limio record that is said to belong to the key.
	Limio string
}

// Want is what Limio should hold, as read from a billing system.
type Want struct {
	Objects     []record.Object
	Fingerprint record.Fingerprint
	// Link is the Limio id of the subscription, when the source carries it.
	Link string
	// Label names the source record for a person: account number, Stripe id.
	Label string
	// Related are further keys and ids that an event should carry.
	Related []string
	// Mark is what a list shows of the source record, and Until when an equal mark
	// stops meaning an equal record; zero: never.
	Mark  record.Mark
	Until time.Time
	// From is the time from which on payments belong to the current period.
	From time.Time
	// Horizons says, by the number of a Zuora subscription, how far its upcoming
	// payments are known. Subscriptions that are not in it keep theirs.
	Horizons map[string]horizon
	// Source is what scope rules ask of the billing side.
	Source Source
	// Newcomer is set instead of Link and Objects when Limio is not known to have
	// the record at all, so that there is nothing to compare.
	Newcomer *Newcomer
}

// Newcomer is a record of a billing system that Limio does not know.
type Newcomer struct {
	Subscription record.Subscription
	Note         string // why it is taken for unknown, for a person
}

// Have is what Limio holds.
type Have struct {
	Objects []record.Object
	// Customer and Subscriptions (by natural key) are the Limio ids to
	// remember, so that the next look needs no search.
	Customer      string
	Subscriptions map[string]string
	// Orders are recent orders in Limio that concern these objects.
	Orders []record.Order
	// Updated is Limio's own stamp of the newest object.
	Updated string
}

// Reconciler makes Limio follow one kind of key. Want and Have read, Diff
// judges; none of them writes.
type Reconciler interface {
	// Want reads the billing side. A *Nothing error ends the sync without a
	// fault.
	Want(ctx context.Context, r Request) (Want, error)
	// Have reads Limio's side of what is wanted. A *Nothing error ends the sync
	// without a fault.
	Have(ctx context.Context, w Want, m Memory) (Have, error)
	// Diff returns the writes that make have what is wanted, in the order in
	// which they must happen. It is pure: no clock, no client.
	Diff(w Want, h Have, now time.Time) []record.Write
}

// Originator is a Reconciler that can find out, at the price of further reads,
// which orders lie behind a difference.
type Originator interface {
	Orders(ctx context.Context, h Have, writes []record.Write) ([]record.Order, error)
}

// Expander turns a key that only points at others into those others.
type Expander interface {
	// Expand returns the keys to look at instead.
	Expand(ctx context.Context, key record.Key) ([]Request, error)
}

// Nothing ends a sync with an outcome of its own instead of a fault: there is
// no such subscription, no account matches, the key belongs to another.
type Nothing struct {
	Outcome event.Outcome
	Reason  event.Reason
	Note    string
	Forward []Request   // to look at instead, now
	Mark    record.Mark // of the source record, when it was read
}

// Error implements error.
func (n *Nothing) Error() string { return string(n.Outcome) + "/" + string(n.Reason) + ": " + n.Note }

func skip(reason event.Reason, note string) error {
	return &Nothing{Outcome: event.Skipped, Reason: reason, Note: note}
}

// skipMarked is skip for a source record that was read.
func skipMarked(mark record.Mark, reason event.Reason, note string) error {
	return &Nothing{Outcome: event.Skipped, Reason: reason, Note: note, Mark: mark}
}

// Memory is what is remembered about a key between syncs. It lives in a
// compacted topic, so it survives restarts and moves with the key.
type Memory struct {
	// Seq counts the writes of this memory; a higher one is newer.
	Seq int64 `json:"seq"`
	// Converged is the wanted state that Limio was last seen to hold.
	Converged record.Fingerprint `json:"converged,omitempty"`
	// Mode is the mode in which all of this was seen: "" for write, else
	// ModeDelegate, which compares less.
	Mode string `json:"mode,omitempty"`
	// Updated is Limio's stamp at that time.
	Updated string `json:"updated,omitempty"`
	// Mark is what a list of the billing system showed of the record when it was
	// last found converged or skipped: a sweep leaves it alone until that changes.
	Mark record.Mark `json:"mark,omitempty"`
	// Until is when that mark stops saying anything; zero: never.
	Until time.Time `json:"until,omitzero"`
	// Looked is when the billing side was last read for a sync that came to an
	// end: what happened before it has been seen.
	Looked time.Time `json:"looked,omitzero"`
	// OutOf is the scope that kept the record out after it was read.
	OutOf string `json:"out_of,omitempty"`
	// Skipped is when the key was last found to be none of hotsync's business.
	Skipped time.Time `json:"skipped,omitzero"`
	// Scope is the rule that the claims of a login met, by which the record is in
	// scope for looks that know no claims.
	Scope string `json:"scope,omitempty"`
	// Customer and Subscriptions are Limio ids: the id index.
	Customer      string            `json:"customer,omitempty"`
	Subscriptions map[string]string `json:"subscriptions,omitempty"`
	// Account is the Zuora account a lookup key led to.
	Account string `json:"account,omitempty"`
	// Order is how far the record is with being made known to Limio.
	Order *Claim `json:"order,omitempty"`
	// Open are the syncs that have told what they set out to write and have not
	// ended, oldest first: their triggers, which come again after a crash, go on
	// with them. Beside one, Converged is empty.
	Open []string `json:"open,omitempty"`
	// Writes are the times of recent applied syncs, oldest first.
	Writes []time.Time `json:"writes,omitempty"`
	// Target is the wanted state that was written last.
	Target record.Fingerprint `json:"target,omitempty"`
	// HeldUntil is the end of the brake's hold.
	HeldUntil time.Time `json:"held_until,omitzero"`
	// SettleUntil is the end of the settling time after a change that Limio
	// itself started, SettleOrigin who made it.
	SettleUntil  time.Time    `json:"settle_until,omitzero"`
	SettleOrigin event.Origin `json:"settle_origin,omitempty"`
	// FollowUp is when the key will be looked at again because of a
	// suppression; no second look is asked for before it.
	FollowUp time.Time `json:"follow_up,omitzero"`
}
