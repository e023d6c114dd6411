package clickhouse

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"hotsync/event"
	"hotsync/record"
)

// PlannedRow is what a sync of a run would write, or wrote.
type PlannedRow struct {
	Key     record.Key
	SyncID  string
	Outcome event.Outcome
	Reason  event.Reason
	Note    string
	Plan    string // identifies the changes, for a trigger that may make them and no others (event.Trigger.Base)
	Changes []record.Change
}

// RunProgress says what became of the triggers of a run.
type RunProgress struct {
	Outcomes map[event.Outcome]int64 // triggers by how they ended, "" for those that are under way
	// LedTo is how many triggers of the run are not its own: looks at its keys
	// led to them.
	LedTo int64
}

// Final is how many triggers have come to an end.
func (p RunProgress) Final() (n int64) {
	for o, k := range p.Outcomes {
		if o.Final() {
			n += k
		}
	}
	return n
}

// Waiting is how many triggers are known not to have come to an end.
func (p RunProgress) Waiting() int64 { return p.Outcomes[""] + p.Outcomes[event.Deferred] }

// RunSummary is what a run said of itself when it ended.
type RunSummary struct {
	Mode    string // observe: it was a plan
	Outcome event.Outcome
	Stats   map[string]int64
}

// RunSummary returns the summary of a run of a sweep. It is not found before the
// run has ended and that was loaded.
func (s *Store) RunSummary(ctx context.Context, run string) (out RunSummary, found bool, err error) {
	fail := func(err error) (RunSummary, bool, error) {
		return RunSummary{}, false, fmt.Errorf("read the summary of run %s: %w", run, classify(err))
	}
	rows, err := s.conn.Query(s.within(ctx, time.Time{}, time.Time{}), s.in("SELECT toString(mode), toString(outcome), stats FROM @syncs WHERE key = ?"),
		record.Key{System: "sweep", Kind: "run", ID: run}.String())
	if err != nil {
		return fail(err)
	}
	defer func() { _ = rows.Close() }() // nothing is lost: the rows were read
	for rows.Next() {
		var outcome string
		if err := rows.Scan(&out.Mode, &outcome, &out.Stats); err != nil {
			return fail(err)
		}
		out.Outcome, found = event.Outcome(outcome), true
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	return out, found, nil
}

// ledTo counts the triggers that fan-outs of a run made for it, which is what
// those say of which a trigger of the run came first. A webhook or a login that
// was merged with a sweep's trigger leads on in its own name.
const ledTo = "SELECT sum(n) FROM (SELECT argMax(stats['led_to'], _version) AS n FROM @sync_events WHERE has(`triggers.delivery`, ?) AND `triggers.delivery`[1] = ? " +
	"AND phase = 'done' AND (`triggers.cause`[1] != 'sweep' OR NOT arrayExists(c -> c != 'sweep', `triggers.cause`)) GROUP BY sync_id)"

// RunProgress counts the triggers of a run of a sweep or a replay by how they
// ended. The run's summary is none of them, and what nobody has begun to look at
// is not known here.
func (s *Store) RunProgress(ctx context.Context, run string) (RunProgress, error) {
	fail := func(err error) (RunProgress, error) {
		return RunProgress{}, fmt.Errorf("read the progress of run %s: %w", run, classify(err))
	}
	ctx, err := s.withinRun(ctx, run)
	if err != nil {
		return fail(err)
	}
	rows, err := s.conn.Query(ctx, s.in("SELECT toString(outcome) AS o, toInt64(count()) FROM @trigger_outcomes WHERE delivery = ? AND toString(type) != 'summary' GROUP BY o"), run)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = rows.Close() }() // nothing is lost: the rows were read
	out := RunProgress{Outcomes: map[event.Outcome]int64{}}
	for rows.Next() {
		var outcome string
		var n int64
		if err := rows.Scan(&outcome, &n); err != nil {
			return fail(err)
		}
		out.Outcomes[event.Outcome(outcome)] = n
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	// After the outcomes: what they led to may only be missing from those.
	if err := s.conn.QueryRow(ctx, s.in(ledTo), run, run).Scan(&out.LedTo); err != nil {
		return fail(err)
	}
	return out, nil
}

// withinRun makes queries read only the time in which the syncs of a run were
// received.
func (s *Store) withinRun(ctx context.Context, run string) (context.Context, error) {
	var from, to time.Time
	err := s.conn.QueryRow(ctx, s.in("SELECT min(received), max(received) FROM @sync_events WHERE has(`triggers.delivery`, ?)"), run).Scan(&from, &to)
	return s.within(ctx, from, to.Add(time.Millisecond)), err
}

// Planned returns what syncs of a run that ended in one of these outcomes,
// observed if none is given, would write or wrote: one row per key, that of its
// latest sync, in the order of keys, after a key, "" for the first page. At most
// limit rows are returned, 100 by default; the page after begins after the key
// of the last one.
func (s *Store) Planned(ctx context.Context, run, afterKey string, limit int, outcomes ...event.Outcome) ([]PlannedRow, error) {
	fail := func(err error) ([]PlannedRow, error) {
		return nil, fmt.Errorf("read what run %s planned: %w", run, classify(err))
	}
	if len(outcomes) == 0 {
		outcomes = []event.Outcome{event.Observed}
	}
	f := Filter{Run: run, Outcomes: outcomes}
	if err := f.Validate(); err != nil {
		return nil, err
	}
	ctx, err := s.withinRun(ctx, run)
	if err != nil {
		return fail(err)
	}
	where := f.where()
	where.and("key > ?", afterKey)
	rows, err := s.conn.Query(ctx, s.in(`SELECT sync_id, key, toString(outcome), toString(reason), note, plan FROM @syncs WHERE `+where.String()+`
		ORDER BY key, received DESC, sync_id LIMIT 1 BY key LIMIT `+strconv.Itoa(Page{Limit: limit}.limit())), where.args...)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = rows.Close() }() // nothing is lost: the rows were read
	var out []PlannedRow
	for rows.Next() {
		var r PlannedRow
		var key, outcome, reason string
		if err := rows.Scan(&r.SyncID, &key, &outcome, &reason, &r.Note, &r.Plan); err != nil {
			return fail(err)
		}
		if r.Key, err = record.ParseKey(key); err != nil {
			return fail(err)
		}
		r.Outcome, r.Reason = event.Outcome(outcome), event.Reason(reason)
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	if err := s.addChanges(ctx, out); err != nil {
		return fail(err)
	}
	return out, nil
}

// addChanges reads the changes of syncs as their events told them, in their
// order: those of the event that decides, else those that were planned last.
func (s *Store) addChanges(ctx context.Context, rows []PlannedRow) error {
	if len(rows) == 0 {
		return nil
	}
	place := map[string]int{}
	ids := make([]string, len(rows))
	for i, r := range rows {
		place[r.SyncID], ids[i] = i, r.SyncID
	}
	found, err := s.conn.Query(ctx, s.in(`SELECT sync_id, c.1, c.2, c.3, c.4, c.5, c.6, c.7 FROM
		(
			SELECT sync_id, argMax(tuple(CAST(changes.object, 'Array(String)'), changes.id, changes.ref, CAST(changes.field, 'Array(String)'),
				CAST(changes.op, 'Array(String)'), changes.before, changes.after), tuple(notEmpty(changes.id), phase = 'done', _version)) AS c
			FROM @sync_events WHERE sync_id IN (?) GROUP BY sync_id
		)`), ids)
	if err != nil {
		return err
	}
	defer func() { _ = found.Close() }() // nothing is lost: the rows were read
	for found.Next() {
		var id string
		var object, of, ref, field, op, before, after []string
		if err := found.Scan(&id, &object, &of, &ref, &field, &op, &before, &after); err != nil {
			return err
		}
		r := &rows[place[id]]
		for i := range field {
			r.Changes = append(r.Changes, record.Change{
				Object: record.Type(object[i]), ID: of[i], Ref: ref[i], Field: field[i], Op: record.Op(op[i]),
				Before: record.Value(before[i]), After: record.Value(after[i]),
			})
		}
	}
	return found.Err()
}

// TriggerRow is a trigger as the log knows it.
type TriggerRow struct {
	event.Ref
	SyncID  string
	Key     record.Key
	Outcome event.Outcome // "" when it is under way
	Reason  event.Reason
	Note    string
	Mode    string    // of its sync: write, delegate or observe
	Last    time.Time // of the latest event about it
	Next    time.Time // of a deferred one; else zero
}

// unfinished is what NeverFinished is about.
const unfinished = "(toString(outcome) = '' AND at < fromUnixTimestamp64Milli(?, 'UTC') OR toString(outcome) = 'deferred' AND ifNull(next, at) < fromUnixTimestamp64Milli(?, 'UTC'))"

// NeverFinished returns a page of the triggers whose work seems lost, those
// received first before others: their sync was planned before a time and has not
// ended, or was to be looked at again before that time and was not. The time must
// be long enough ago for queues and the log itself to have caught up. A trigger
// that nobody ever began to look at is not known here: VerifySource finds it.
func (s *Store) NeverFinished(ctx context.Context, olderThan time.Time, page Page) (out []TriggerRow, next string, err error) {
	fail := func(err error) ([]TriggerRow, string, error) {
		return nil, "", fmt.Errorf("find work that never ended: %w", classify(err))
	}
	var where condition
	before := ceilMilli(olderThan)
	where.and(unfinished, before, before)
	after, paged, err := page.cursor()
	if err != nil {
		return nil, "", err
	}
	if paged {
		where.and("(received, trigger_id) > (fromUnixTimestamp64Milli(?, 'UTC'), ?)", after.at.UnixMilli(), after.id)
	}
	rows, err := s.conn.Query(ctx, s.in(`SELECT trigger_id, sync_id, key, toString(outcome), toString(reason), note, at, next,
		toString(cause), toString(origin), toString(type), delivery, toString(topic), partition, offset, happened, received
		FROM @trigger_outcomes WHERE `+where.String()+" ORDER BY received, trigger_id LIMIT "+strconv.Itoa(page.limit()+1)), where.args...)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = rows.Close() }() // nothing is lost: the rows were read
	for rows.Next() {
		var r TriggerRow
		var key, outcome, reason, cause, origin string
		var again *time.Time
		var partition int32
		if err := rows.Scan(&r.ID, &r.SyncID, &key, &outcome, &reason, &r.Note, &r.Last, &again,
			&cause, &origin, &r.Type, &r.Delivery, &r.Source.Topic, &partition, &r.Source.Offset, &r.At, &r.Received); err != nil {
			return fail(err)
		}
		if r.Key, err = record.ParseKey(key); err != nil {
			return fail(err)
		}
		r.Outcome, r.Reason, r.Cause, r.Origin, r.Source.Partition = event.Outcome(outcome), event.Reason(reason), event.Cause(cause), event.Origin(origin), int(partition)
		r.Next = orZero(again)
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	if n := page.limit(); len(out) > n {
		out = out[:n]
		next = cursor{out[n-1].Received, out[n-1].ID}.String()
	}
	if err := s.addModes(ctx, out); err != nil {
		return fail(err)
	}
	return out, next, nil
}

// addModes reads in which mode the syncs of triggers were done last.
func (s *Store) addModes(ctx context.Context, rows []TriggerRow) error {
	if len(rows) == 0 {
		return nil
	}
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.SyncID
	}
	found, err := s.conn.Query(s.within(ctx, time.Time{}, time.Time{}), s.in("SELECT sync_id, argMax(toString(mode), _offset) FROM @sync_events WHERE sync_id IN (?) GROUP BY sync_id"), ids)
	if err != nil {
		return err
	}
	defer func() { _ = found.Close() }() // nothing is lost: the rows were read
	modes := map[string]string{}
	for found.Next() {
		var id, mode string
		if err := found.Scan(&id, &mode); err != nil {
			return err
		}
		modes[id] = mode
	}
	for i := range rows {
		rows[i].Mode = modes[rows[i].SyncID]
	}
	return found.Err()
}

// NeverFinishedCount returns how many triggers NeverFinished has.
func (s *Store) NeverFinishedCount(ctx context.Context, olderThan time.Time) (int64, error) {
	before := ceilMilli(olderThan)
	var n uint64
	if err := s.conn.QueryRow(ctx, s.in("SELECT count() FROM @trigger_outcomes WHERE "+unfinished), before, before).Scan(&n); err != nil {
		return 0, fmt.Errorf("count work that never ended: %w", classify(err))
	}
	return int64(n), nil
}
