package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
)

// DeadOpen is the state of a dead letter that nobody has decided about, as the
// view dead names it. The others are event.DeadReplayed and event.DeadDiscarded.
const DeadOpen = "open"

// DeadFilter says which dead letters are meant, by their latest state.
// Conditions on different fields must all hold; of several values of one field,
// one must. The zero DeadFilter means all of them, whatever their state.
type DeadFilter struct {
	IDs     []string       `json:"ids,omitempty"`
	States  []string       `json:"states,omitempty"` // open, replayed, discarded
	Reasons []event.Reason `json:"reasons,omitempty"`
	Classes []string       `json:"error_classes,omitempty"`
	Causes  []event.Cause  `json:"causes,omitempty"` // of given-up work
	Topics  []string       `json:"topics,omitempty"` // the message came from
	Keys    []string       `json:"keys,omitempty"`
	Text    string         `json:"text,omitempty"` // is in the key or the error, in any case
	Since   time.Time      `json:"since,omitzero"` // failed last then or later
	Until   time.Time      `json:"until,omitzero"` // failed last before then
}

// DeadRow is a dead letter with its latest state.
type DeadRow struct {
	ID    string
	State string // open, replayed, discarded
	By    string // who decided
	Why   string
	At    time.Time // when that was; zero while it is open

	Work     bool              // work that was given up, not a bad message
	Source   event.Coordinates // the message that could not be dealt with
	Key      string
	Reason   event.Reason
	Class    string
	Error    string
	Attempts int
	First    time.Time
	Last     time.Time
	SyncID   string
	Trigger  event.Ref // of given-up work, without its source
	Size     int64     // bytes of a bad message that were kept
	// Letter is where the message stands that holds everything: the trigger, or
	// headers and bytes.
	Letter event.Coordinates

	// Headers and the first 4 KB of the message are read by DeadLetter only.
	Headers  map[string]string
	Original []byte
}

// Validate reports everything that is wrong with f, as one error of the class
// fault.Refused.
func (f DeadFilter) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("dead letters: "+format, args...))
	}
	states := []string{DeadOpen, event.DeadReplayed, event.DeadDiscarded}
	for _, s := range f.States {
		if !slices.Contains(states, s) {
			bad("state %q: want one of %s", s, strings.Join(states, ", "))
		}
	}
	if n := max(len(f.IDs), len(f.Reasons), len(f.Classes), len(f.Causes), len(f.Topics), len(f.Keys)); n > mostValues {
		bad("a condition has %d values: want at most %d", n, mostValues)
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		bad("from %s until %s is no time at all", f.Since.Format(time.RFC3339), f.Until.Format(time.RFC3339))
	}
	if len(errs) == 0 {
		return nil
	}
	return fault.As(fault.Refused, errors.Join(errs...))
}

// where is f as a condition on the view dead.
func (f DeadFilter) where() condition {
	var c condition
	in(&c, "id", f.IDs)
	in(&c, "state", f.States)
	in(&c, "reason", f.Reasons)
	in(&c, "error_class", f.Classes)
	in(&c, "trigger_cause", f.Causes)
	in(&c, "source_topic", f.Topics)
	in(&c, "key", f.Keys)
	if f.Text != "" {
		c.and("(positionCaseInsensitiveUTF8(key, ?) > 0 OR positionCaseInsensitiveUTF8(error, ?) > 0)", f.Text, f.Text)
	}
	since(&c, "at", f.Since)
	until(&c, "at", f.Until)
	return c
}

// DeadCount returns how many dead letters f means.
func (s *Store) DeadCount(ctx context.Context, f DeadFilter) (int64, error) {
	if err := f.Validate(); err != nil {
		return 0, err
	}
	where := f.where()
	var n uint64
	if err := s.conn.QueryRow(s.within(ctx, time.Time{}, time.Time{}), s.in("SELECT count() FROM @dead WHERE "+where.String()), where.args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count dead letters: %w", classify(err))
	}
	return int64(n), nil
}

// Dead returns a page of the dead letters that f means, those that failed last
// first, and where the next page begins, "" when there is none.
func (s *Store) Dead(ctx context.Context, f DeadFilter, page Page) (rows []DeadRow, next string, err error) {
	if err := f.Validate(); err != nil {
		return nil, "", err
	}
	where := f.where()
	after, paged, err := page.cursor()
	if err != nil {
		return nil, "", err
	}
	if paged {
		where.and("(at, id) < (fromUnixTimestamp64Milli(?, 'UTC'), ?)", after.at.UnixMilli(), after.id)
	}
	rows, err = s.letters(ctx, where, "CAST(map(), 'Map(String, String)'), ''", page.limit()+1)
	if err != nil {
		return nil, "", err
	}
	if n := page.limit(); len(rows) > n {
		rows = rows[:n]
		next = cursor{rows[n-1].Last, rows[n-1].ID}.String()
	}
	return rows, next, nil
}

// DeadLetter returns one dead letter, with headers and the first bytes of a bad
// message. The class of its error is fault.NotFound when there is none.
func (s *Store) DeadLetter(ctx context.Context, id string) (DeadRow, error) {
	rows, err := s.letters(ctx, DeadFilter{IDs: []string{id}}.where(), "headers, original", 1)
	if err != nil {
		return DeadRow{}, err
	}
	if len(rows) == 0 {
		return DeadRow{}, fault.Newf(fault.NotFound, "there is no dead letter %s in the log (it may be too old, or not loaded yet)", id)
	}
	return rows[0], nil
}

func (s *Store) letters(ctx context.Context, where condition, content string, limit int) ([]DeadRow, error) {
	rows, err := s.conn.Query(s.within(ctx, time.Time{}, time.Time{}), s.in(`SELECT id, toString(state), by, why, decided, work, at, first_failure,
		toString(source_topic), source_partition, source_offset, key, toString(reason), toString(error_class), error, attempts, sync_id,
		trigger_id, toString(trigger_cause), toString(trigger_origin), toString(trigger_type), trigger_delivery, trigger_at, trigger_received,
		toInt64(original_bytes), toString(letter_topic), letter_partition, letter_offset, `+content+`
		FROM @dead WHERE `+where.String()+" ORDER BY at DESC, id DESC LIMIT "+strconv.Itoa(limit)), where.args...)
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", classify(err))
	}
	defer func() { _ = rows.Close() }() // nothing is lost: the rows were read
	var out []DeadRow
	for rows.Next() {
		var r DeadRow
		var reason, cause, origin, original string
		var decided, happened, received *time.Time
		var source, letter int32
		var attempts uint32
		if err := rows.Scan(&r.ID, &r.State, &r.By, &r.Why, &decided, &r.Work, &r.Last, &r.First,
			&r.Source.Topic, &source, &r.Source.Offset, &r.Key, &reason, &r.Class, &r.Error, &attempts, &r.SyncID,
			&r.Trigger.ID, &cause, &origin, &r.Trigger.Type, &r.Trigger.Delivery, &happened, &received,
			&r.Size, &r.Letter.Topic, &letter, &r.Letter.Offset, &r.Headers, &original); err != nil {
			return nil, fmt.Errorf("read dead letters: %w", classify(err))
		}
		r.Reason, r.Trigger.Cause, r.Trigger.Origin = event.Reason(reason), event.Cause(cause), event.Origin(origin)
		r.Source.Partition, r.Letter.Partition, r.Attempts = int(source), int(letter), int(attempts)
		r.At, r.Trigger.At, r.Trigger.Received = orZero(decided), orZero(happened), orZero(received)
		if original != "" {
			r.Original = []byte(original)
		}
		if len(r.Headers) == 0 {
			r.Headers = nil
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read dead letters: %w", classify(err))
	}
	return out, nil
}

// orZero is a time that may be missing in a row.
func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
