package clickhouse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
)

// Filter says which syncs are meant: the one predicate behind lists, counts and
// replays. It is evaluated on the final state of each sync, so one that was
// deferred and applied later is not deferred. Conditions on different fields
// must all hold; of several values of one field, one must. The zero Filter means
// every sync.
type Filter struct {
	SyncIDs   []string `json:"sync_ids,omitempty"`
	Keys      []string `json:"keys,omitempty"` // system:kind:id
	KeyPrefix string   `json:"key_prefix,omitempty"`
	Systems   []string `json:"systems,omitempty"` // of the key
	Kinds     []string `json:"kinds,omitempty"`   // of the key

	Outcomes []event.Outcome `json:"outcomes,omitempty"` // "" is under way
	Reasons  []event.Reason  `json:"reasons,omitempty"`
	Causes   []event.Cause   `json:"causes,omitempty"`  // of the first trigger
	Origins  []event.Origin  `json:"origins,omitempty"` // "" is unknown
	Classes  []string        `json:"error_classes,omitempty"`

	Delivery string `json:"delivery,omitempty"` // the producer's id of one of its messages, such as evt_…
	Run      string `json:"run,omitempty"`      // looked at for this run of a sweep or replay; its summary is not
	Related  string `json:"related,omitempty"`  // a Limio id or another key that it concerns
	Field    string `json:"field,omitempty"`    // one of the fields that differed
	Text     string `json:"text,omitempty"`     // is in the key, the note, the error or a related id, in any case

	ReceivedSince time.Time `json:"received_since,omitzero"` // when the first trigger was taken in; included
	ReceivedUntil time.Time `json:"received_until,omitzero"` // not included
	AtSince       time.Time `json:"at_since,omitzero"`       // when the last event was produced; included
	AtUntil       time.Time `json:"at_until,omitzero"`       // not included
}

// mostValues bounds the values of one condition: a query has a longest length.
const mostValues = 5000

// Validate reports everything that is wrong with f, as one error of the class
// fault.Refused.
func (f Filter) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("filter: "+format, args...)) }
	for _, o := range f.Outcomes {
		if o != "" && !slices.Contains(event.Outcomes(), o) {
			bad("outcome %q: want one of %v, or nothing for what is under way", o, event.Outcomes())
		}
	}
	for name, n := range map[string]int{
		"sync_ids": len(f.SyncIDs), "keys": len(f.Keys), "systems": len(f.Systems), "kinds": len(f.Kinds), "reasons": len(f.Reasons),
		"causes": len(f.Causes), "origins": len(f.Origins), "error_classes": len(f.Classes),
	} {
		if n > mostValues {
			bad("%s has %d values: want at most %d", name, n, mostValues)
		}
	}
	for name, v := range map[string][]string{"sync_ids": f.SyncIDs, "keys": f.Keys, "systems": f.Systems, "kinds": f.Kinds} {
		if slices.Contains(v, "") {
			bad("%s has an empty value", name)
		}
	}
	span := func(name string, since, until time.Time) {
		if !since.IsZero() && !until.IsZero() && !since.Before(until) {
			bad("%s: from %s until %s is no time at all", name, since.Format(time.RFC3339), until.Format(time.RFC3339))
		}
	}
	span("received", f.ReceivedSince, f.ReceivedUntil)
	span("at", f.AtSince, f.AtUntil)
	if len(errs) == 0 {
		return nil
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return fault.As(fault.Refused, errors.Join(errs...))
}

// condition is SQL that holds or not, and its arguments.
type condition struct {
	parts []string
	args  []any
}

// and adds a part.
func (c *condition) and(part string, args ...any) {
	c.parts = append(c.parts, part)
	c.args = append(c.args, args...)
}

// String is the whole condition.
func (c *condition) String() string {
	if len(c.parts) == 0 {
		return "1"
	}
	return strings.Join(c.parts, " AND ")
}

// in adds that column has one of values, if there are any.
func in[T ~string](c *condition, column string, values []T) {
	if len(values) == 0 {
		return
	}
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	c.and("has(?, toString("+column+"))", all)
}

// among is in for a column with an index, which has not.
func among(c *condition, column string, values []string) {
	if len(values) > 0 {
		c.and(column+" IN (?)", values)
	}
}

// since and until add bounds of a time.
func since(c *condition, column string, t time.Time) {
	if !t.IsZero() {
		c.and(column+" >= fromUnixTimestamp64Milli(?, 'UTC')", ceilMilli(t))
	}
}

func until(c *condition, column string, t time.Time) {
	if !t.IsZero() {
		c.and(column+" < fromUnixTimestamp64Milli(?, 'UTC')", ceilMilli(t))
	}
}

// ceilMilli is the first millisecond that is not before t: columns have no
// finer times.
func ceilMilli(t time.Time) int64 { return clamp(t.Add(time.Millisecond - 1)).UnixMilli() }

// where is f as a condition on the view syncs.
//
// A condition on sync_id is one on the rows before they are made syncs, so those
// say first which syncs have a row that can matter at all: a sync that failed has
// one that says so. It is what makes rare things quick to find.
func (f Filter) where() condition {
	var c condition
	among(&c, "sync_id", f.SyncIDs)
	among(&c, "key", f.Keys)
	if f.KeyPrefix != "" {
		c.and("startsWith(key, ?)", f.KeyPrefix)
	}
	in(&c, "key_system", f.Systems)
	in(&c, "key_kind", f.Kinds)
	if rows := f.deciding(); len(rows.parts) > 0 {
		c.and("sync_id IN (SELECT sync_id FROM @sync_events WHERE "+rows.String()+")", rows.args...)
	}
	row := func(part string, value string) {
		if value != "" {
			c.and("sync_id IN (SELECT sync_id FROM @sync_events WHERE "+part+")", value)
		}
	}
	row("has(`triggers.delivery`, ?)", f.Delivery)
	row("has(`triggers.delivery`, ?) AND NOT has(`triggers.type`, 'summary')", f.Run)
	row("has(related, ?)", f.Related)
	row("has(`changes.field`, ?)", f.Field)

	in(&c, "outcome", f.Outcomes)
	in(&c, "reason", f.Reasons)
	in(&c, "cause", f.Causes)
	in(&c, "origin", f.Origins)
	in(&c, "error_class", f.Classes)
	if f.Text != "" {
		contains := "positionCaseInsensitiveUTF8(%s, ?) > 0"
		c.and("("+fmt.Sprintf(contains, "key")+" OR "+fmt.Sprintf(contains, "note")+" OR "+fmt.Sprintf(contains, "error")+
			" OR arrayExists(r -> "+fmt.Sprintf(contains, "r")+", related))", f.Text, f.Text, f.Text, f.Text)
	}
	since(&c, "received", f.ReceivedSince)
	until(&c, "received", f.ReceivedUntil)
	since(&c, "at", f.AtSince)
	until(&c, "at", f.AtUntil)
	return c
}

// deciding is what must hold of one row of a sync for it to be meant: the one
// that decides, or, of a sync that was cut off after a write, the one that found
// nothing left to do.
func (f Filter) deciding() condition {
	var c condition
	if len(f.Outcomes) > 0 && !slices.Contains(f.Outcomes, event.Applied) && !slices.Contains(f.Outcomes, event.InSync) { // else it is most of them
		in(&c, "outcome", f.Outcomes)
	}
	if len(f.Reasons) > 0 && !slices.Contains(f.Reasons, event.ReasonDriftRepaired) {
		in(&c, "reason", f.Reasons)
	}
	in(&c, "error_class", f.Classes)
	since(&c, "at", f.AtSince)
	return c
}
