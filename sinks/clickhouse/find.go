package clickhouse

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// Page says which part of a list is wanted. The zero Page is the first one.
type Page struct {
	After string // what the page before returned as next; "" for the first
	Limit int    // default 100, at most 1000
}

const (
	usualPage = 100
	mostPage  = 1000
)

// limit returns how many rows are wanted.
func (p Page) limit() int {
	if p.Limit <= 0 {
		return usualPage
	}
	return min(p.Limit, mostPage)
}

// cursor is a place in a list that is sorted by a time and an id.
type cursor struct {
	at time.Time // of a millisecond
	id string
}

// cursor reads p.After. It reports false for the first page.
func (p Page) cursor() (cursor, bool, error) {
	if p.After == "" {
		return cursor{}, false, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(p.After)
	at, id, ok := strings.Cut(string(b), " ")
	ms, convErr := strconv.ParseInt(at, 10, 64)
	if err != nil || !ok || convErr != nil {
		return cursor{}, false, fault.Newf(fault.Refused, "after is %.40q: want what the page before gave as next, unchanged", p.After)
	}
	return cursor{time.UnixMilli(ms).UTC(), id}, true, nil
}

// String is what a caller gives back as After.
func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.at.UnixMilli(), 10) + " " + c.id))
}

// SyncRow is a sync in its final state, or as it stands.
type SyncRow struct {
	SyncID    string
	Key       record.Key
	Outcome   event.Outcome // "" while it is under way
	Reason    event.Reason
	Note      string
	Cause     event.Cause
	Origin    event.Origin
	Mode      string
	Received  time.Time // when its first trigger was taken in
	At        time.Time // of the event that decides
	Next      time.Time // of a deferred sync; else zero
	Attempts  int
	Changes   int  // fields that differed
	Recovered bool // it was cut off after a write and completed later
	Class     string
	Error     string
	Related   []string
	Plan      string // of an observed sync
	Triggers  []string
	// Type, Delivery and Source are those of its first trigger.
	Type     string
	Delivery string
	Source   event.Coordinates
}

// Count returns how many syncs f means.
func (s *Store) Count(ctx context.Context, f Filter) (int64, error) {
	if err := f.Validate(); err != nil {
		return 0, err
	}
	where := f.where()
	var n uint64
	err := s.conn.QueryRow(s.within(ctx, f.ReceivedSince, f.ReceivedUntil), s.in("SELECT count() FROM @syncs WHERE "+where.String()), where.args...).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count syncs: %w", classify(err))
	}
	return int64(n), nil
}

// Find returns a page of the syncs that f means, those received last first, and
// where the next page begins, "" when there is none. A sync keeps its place
// whatever becomes of it, so going through all pages meets each once; a sync
// that came in meanwhile is not met.
func (s *Store) Find(ctx context.Context, f Filter, page Page) (rows []SyncRow, next string, err error) {
	if err := f.Validate(); err != nil {
		return nil, "", err
	}
	found, err := s.newest(ctx, f, page)
	if err != nil || len(found) == 0 {
		return nil, "", err
	}
	if n := page.limit(); len(found) > n {
		found = found[:n]
		next = found[n-1].String()
	}
	rows, err = s.syncsOf(ctx, found)
	return rows, next, err
}

// firstWindow is how far back the search for the newest syncs goes at first.
const firstWindow = time.Hour

// newest returns where the syncs of a page are, newest first, and one more if
// there is one. All events of a sync have one time of reception and the table is
// sorted by it, so the search goes back in windows, each four times as long as
// the one before: the latest syncs of a large log cost as little as those of a
// small one, and rare ones at most one pass over everything.
func (s *Store) newest(ctx context.Context, f Filter, page Page) ([]cursor, error) {
	after, paged, err := page.cursor()
	if err != nil {
		return nil, err
	}
	from, to, err := s.span(ctx, f)
	if err != nil {
		return nil, err
	}
	where := f.where()
	if paged {
		where.and("(received, sync_id) < (fromUnixTimestamp64Milli(?, 'UTC'), ?)", after.at.UnixMilli(), after.id)
		to = earlier(to, after.at.Add(time.Millisecond))
	}
	want := page.limit() + 1
	var out []cursor
	for window := firstWindow; from.Before(to) && len(out) < want; window *= 4 {
		low := later(from, to.Add(-window))
		if len(f.SyncIDs) > 0 || len(f.Keys) > 0 { // an index finds them
			low = from
		}
		rows, err := s.conn.Query(s.within(ctx, low, to), s.in("SELECT received, sync_id FROM @syncs WHERE "+where.String()+
			" ORDER BY received DESC, sync_id DESC LIMIT "+strconv.Itoa(want-len(out))), where.args...)
		if err != nil {
			return nil, fmt.Errorf("find syncs: %w", classify(err))
		}
		for rows.Next() {
			var c cursor
			if err := rows.Scan(&c.at, &c.id); err != nil {
				_ = rows.Close() // the error that matters is err
				return nil, fmt.Errorf("find syncs: %w", classify(err))
			}
			out = append(out, c)
		}
		_ = rows.Close() // nothing is lost: the rows were read
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("find syncs: %w", classify(err))
		}
		to = low
	}
	return out, nil
}

// span is the time in which all syncs were received that f can mean: from
// included, to not.
func (s *Store) span(ctx context.Context, f Filter) (from, to time.Time, err error) {
	err = s.conn.QueryRow(ctx, s.in("SELECT min(received), max(received) FROM @sync_events")).Scan(&from, &to)
	if err != nil {
		return from, to, fmt.Errorf("find syncs: %w", classify(err))
	}
	to = to.Add(time.Millisecond)
	if !f.ReceivedSince.IsZero() {
		from = later(from, f.ReceivedSince)
	}
	if !f.ReceivedUntil.IsZero() {
		to = earlier(to, f.ReceivedUntil)
	}
	return from, to, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// within makes queries read only events whose sync was received from a time on
// and before another; zero means any. Unlike a condition it passes through the
// views, down to the sorting key.
func (s *Store) within(ctx context.Context, from, to time.Time) context.Context {
	var parts []string
	if !from.IsZero() {
		parts = append(parts, fmt.Sprintf("received >= fromUnixTimestamp64Milli(%d)", ceilMilli(from)))
	}
	if !to.IsZero() {
		parts = append(parts, fmt.Sprintf("received < fromUnixTimestamp64Milli(%d)", ceilMilli(to)))
	}
	settings := ch.Settings{"max_query_size": longQuery}
	if len(parts) > 0 {
		settings["additional_table_filters"] = s.in("{'@sync_events': '" + strings.Join(parts, " AND ") + "'}")
	}
	return ch.Context(ctx, ch.WithSettings(settings))
}

// longQuery is how many bytes a query with all the values of a Filter may have.
const longQuery = 16 << 20

// syncsOf reads the syncs at these places, in their order.
func (s *Store) syncsOf(ctx context.Context, at []cursor) ([]SyncRow, error) {
	ids := make([]string, len(at))
	for i, c := range at {
		ids[i] = c.id
	}
	ctx = s.within(ctx, at[len(at)-1].at, at[0].at.Add(time.Millisecond))
	rows, err := s.conn.Query(ctx, s.in(`SELECT sync_id, key, toString(outcome), toString(reason), note, toString(cause), toString(origin), toString(mode),
		received, at, next, attempts, change_count, recovered, toString(error_class), error, related, plan, trigger_ids,
		toString(type), delivery, toString(topic), partition, offset
		FROM @syncs WHERE sync_id IN (?) ORDER BY received DESC, sync_id DESC`), ids)
	if err != nil {
		return nil, fmt.Errorf("read syncs: %w", classify(err))
	}
	defer func() { _ = rows.Close() }() // nothing is lost: the rows were read
	out := make([]SyncRow, 0, len(at))
	for rows.Next() {
		var r SyncRow
		var key, outcome, reason, cause, origin string
		var next *time.Time
		var attempts, changes uint64
		var partition int32
		err := rows.Scan(&r.SyncID, &key, &outcome, &reason, &r.Note, &cause, &origin, &r.Mode,
			&r.Received, &r.At, &next, &attempts, &changes, &r.Recovered, &r.Class, &r.Error, &r.Related, &r.Plan, &r.Triggers,
			&r.Type, &r.Delivery, &r.Source.Topic, &partition, &r.Source.Offset)
		if err != nil {
			return nil, fmt.Errorf("read syncs: %w", classify(err))
		}
		if r.Key, err = record.ParseKey(key); err != nil {
			return nil, fmt.Errorf("read sync %s: %w", r.SyncID, err)
		}
		r.Outcome, r.Reason, r.Cause, r.Origin = event.Outcome(outcome), event.Reason(reason), event.Cause(cause), event.Origin(origin)
		r.Attempts, r.Changes, r.Source.Partition = int(attempts), int(changes), int(partition)
		r.Next = orZero(next)
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read syncs: %w", classify(err))
	}
	return out, nil
}
