package clickhouse

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
)

// write takes batches to the table, one after the other. After an error nothing
// more is committed, so nothing is skipped.
func (r *run) write(ctx context.Context) error {
	r.idle.Store(true)
	for b := range r.ready {
		r.idle.Store(false)
		for b != nil {
			following, err := r.finish(ctx, b)
			r.release(b)
			if err != nil {
				if following != nil {
					r.release(following)
				}
				return err
			}
			b = following
		}
		r.idle.Store(true)
	}
	return nil
}

// finish makes one batch durable and commits it. It returns the next batch if
// that is there already: then one commit said both that this one is in and
// that the next is about to be.
func (r *run) finish(ctx context.Context, b *batch) (following *batch, err error) {
	if err := r.load(ctx, b); err != nil {
		return nil, err
	}
	var metadata string
	select {
	case following = <-r.ready: // nil when the reader has ended
		if following != nil && len(following.source) > 0 {
			metadata = following.entry.String()
		}
	default:
	}
	next := b.entry.last + 1
	if err := r.commit(ctx, next, metadata); err != nil {
		return following, err
	}
	r.next = next
	r.passed(b, next)
	if following != nil {
		following.journaled = metadata != ""
	}
	return following, nil
}

// load makes one batch durable: its rows in the table, the rest with Reject.
func (r *run) load(ctx context.Context, b *batch) error {
	if len(b.source) > 0 && !b.journaled {
		at := r.next
		if at < 0 {
			at = b.entry.first
		}
		if err := r.commit(ctx, at, b.entry.String()); err != nil {
			return err
		}
	}
	refused, err := r.insertAll(ctx, b)
	if err != nil {
		return err
	}
	for _, x := range b.bad {
		if err := r.reject(ctx, x.message, event.ReasonUndecodable, "", x.err); err != nil {
			return err
		}
	}
	for _, x := range refused {
		m, err := r.original(ctx, b, x.row)
		if err != nil {
			return err
		}
		if err := r.reject(ctx, m, event.ReasonRefused, string(fault.Refused), x.err); err != nil {
			return err
		}
	}
	r.count(func(s *LoaderStats) {
		s.Rows += int64(len(b.source) - len(refused))
		s.Bytes += int64(b.bytes)
		s.Batches++
		s.Rejected += int64(len(b.bad) + len(refused))
		s.LastError = ""
	})
	return nil
}

// refusal is a row that the server will never take.
type refusal struct {
	row int
	err error
}

// insertAll inserts every row of b once, by month.
func (r *run) insertAll(ctx context.Context, b *batch) ([]refusal, error) {
	token := fmt.Sprintf("%s/%s/%d/%d-%d", r.cfg.Group, r.topic, r.partition, b.entry.first, b.entry.last)
	if b.replay && b.entry != b.replayed {
		// These are not the rows that the token may stand for: under it they
		// would be dropped unseen (peers.md 3).
		token += "/" + b.entry.hash
	}
	months, rows := b.byMonth()
	var out []refusal
	for _, m := range months {
		refused, err := r.insertMonth(ctx, b, rows[m], fmt.Sprintf("%s/%d", token, m))
		if err != nil {
			return nil, err
		}
		out = append(out, refused...)
	}
	return out, nil
}

// patience is how often a batch of one row is tried when the server refuses it
// for a reason that nobody knows.
const patience = 8

// insertMonth inserts rows, for as long as it takes. It returns those that the
// server refuses for what is in them.
func (r *run) insertMonth(ctx context.Context, b *batch, rows spans, token string) ([]refusal, error) {
	for try := 1; ; try++ {
		todo, mark := rows, token
		err := r.settle(ctx, b, &todo)
		if err == nil && todo.len() == 0 {
			return nil, nil
		}
		if n := todo.len(); n < rows.len() {
			// The token stands for all of them; for fewer it would hide them.
			mark = fmt.Sprintf("%s/last-%d", token, n)
		}
		var result bisection
		if err == nil {
			err = r.bisect(ctx, b, todo, mark, &result)
		}
		switch {
		case err == nil && result.fair(try):
			return result.refused, nil
		case err == nil:
			err = result.refused[0].err // every row, for an unknown reason: it is not the rows
		}
		if !answered(err) {
			b.doubt = true
		}
		if err := r.pause(ctx, try, err); err != nil {
			return nil, err
		}
	}
}

// settle takes those rows from todo that are in the table, when that is in
// doubt: after a crash, and after an insert whose answer was lost. The server
// may still be busy with the latter, so the token matters too.
func (r *run) settle(ctx context.Context, b *batch, todo *spans) error {
	if !b.doubt {
		return nil
	}
	have, err := r.cfg.Store.present(ctx, b.rows, r.topic, r.partition, b.entry.first, b.entry.last)
	if err != nil || len(have) == 0 {
		return err
	}
	var left spans
	for _, s := range *todo {
		for i := s.from; i < s.to; i++ {
			if have[b.offset(i)] {
				continue
			}
			if n := len(left); n > 0 && left[n-1].to == i {
				left[n-1].to++
			} else {
				left = append(left, span{i, i + 1})
			}
		}
	}
	skipped := todo.len() - left.len()
	r.count(func(s *LoaderStats) { s.Skipped += int64(skipped) })
	*todo = left
	return nil
}

// bisection is what came of inserting rows in ever smaller portions.
type bisection struct {
	accepted int
	refused  []refusal
	unclear  int // how many were refused for an unknown reason
}

// fair reports whether the refused rows are to blame: the reason is one that
// lies in rows, or other rows did go in, or it is one row that was tried often.
func (x *bisection) fair(try int) bool {
	return x.unclear == 0 || x.accepted > 0 || len(x.refused) == 1 && try >= patience
}

// bisect inserts rows. When the server refuses them for what is in them it
// halves them until those that are at fault are alone (Invariant 5). Its error
// is one that says nothing about rows.
func (r *run) bisect(ctx context.Context, b *batch, rows spans, token string, x *bisection) error {
	if x.accepted == 0 && x.unclear >= patience {
		return x.refused[0].err
	}
	// An insert holds its rows a second time, as the driver sends them.
	if err := r.inserts.Acquire(ctx, 1); err != nil {
		return err
	}
	start := r.cfg.Now()
	err := r.cfg.Store.insert(ctx, b.rows, rows, token)
	took := r.cfg.Now().Sub(start)
	r.inserts.Release(1)
	if err == nil {
		x.accepted += rows.len()
		r.count(func(s *LoaderStats) { s.Inserts++; s.InsertTime += took })
		return nil
	}
	v := judge(err)
	switch {
	case v == passing:
		return err
	case rows.len() == 1:
		x.refused = append(x.refused, refusal{rows[0].from, err})
		if v == unclear {
			x.unclear++
		}
		return nil
	}
	first, second := rows.halve()
	for _, half := range []spans{first, second} {
		last := half[len(half)-1].to - 1
		// The part of the token that names the portion is the same whenever it
		// is tried: it goes by offsets.
		sub := fmt.Sprintf("%s/%d-%d", token, b.offset(half[0].from), b.offset(last))
		if err := r.bisect(ctx, b, half, sub, x); err != nil {
			return err
		}
	}
	return nil
}

// original returns the message of a row: kept, or read again. One that cannot
// be read again is known by its coordinates only.
func (r *run) original(ctx context.Context, b *batch, row int) (event.Message, error) {
	if b.keep {
		return b.kept[b.source[row]], nil
	}
	at := event.Coordinates{Topic: r.topic, Partition: r.partition, Offset: b.offset(row)}
	for try := 1; try <= patience; try++ {
		m, err := r.cfg.Reread(ctx, at)
		if err == nil {
			return m, nil
		}
		if err := r.pause(ctx, try, fmt.Errorf("read %s again: %w", at, err)); err != nil {
			return event.Message{}, err
		}
	}
	return event.Message{Coordinates: at}, nil
}

// reject gives a message away for good, trying until that is durable.
func (r *run) reject(ctx context.Context, m event.Message, reason event.Reason, class string, cause error) error {
	if r.cfg.Reject == nil {
		return nil
	}
	now := r.cfg.Now()
	d := event.DeadLetter{
		Source: m.Coordinates, Key: string(m.Key), Reason: reason, Class: class, Error: cause.Error(),
		Attempts: 1, First: now, Last: now, Headers: m.Headers, Original: slices.Clone(m.Value),
	}
	for try := 1; ; try++ {
		err := r.cfg.Reject(ctx, d)
		if err == nil {
			return nil
		}
		if err := r.pause(ctx, try, fmt.Errorf("reject %s: %w", m.Coordinates, err)); err != nil {
			return err
		}
	}
}

// commit makes an offset durable. A fault that passes is waited for; any other
// means that the partition is not ours any more.
func (r *run) commit(ctx context.Context, next int64, metadata string) error {
	for try := 1; ; try++ {
		err := r.p.Commit(ctx, next, metadata)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("commit offset %d: %w", next, err)
		if !fault.Of(err).Passing() {
			return err
		}
		if err := r.pause(ctx, try, err); err != nil {
			return err
		}
	}
}

// pause notes a failed try and waits before the next, twice as long each time.
// It returns cause when there will be no next.
func (r *run) pause(ctx context.Context, try int, cause error) error {
	r.count(func(s *LoaderStats) {
		s.Retries++
		s.LastError = cause.Error()
	})
	wait := r.cfg.MaxBackoff
	if try < 30 {
		wait = min(wait, r.cfg.MinBackoff<<(try-1))
	}
	wait -= time.Duration(rand.Int64N(int64(wait)/4 + 1)) // not all partitions at once
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.stopping:
		return fmt.Errorf("stopped while waiting to try again: %w", cause)
	case <-ctx.Done():
		return fmt.Errorf("stopped while waiting to try again: %w", cause)
	}
}
