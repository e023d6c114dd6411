package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hotsync/api"
	"hotsync/connectors/kafka"
	"hotsync/event"
	"hotsync/internal/fault"
)

// letterBook is what ClickHouse knows of dead letters.
type letterBook interface {
	Letters(ctx context.Context, f api.DeadFilter, after string, limit int) (api.DeadPage, error)
	// Letter returns one with its coordinates; fault.NotFound when there is none.
	Letter(ctx context.Context, id string) (api.DeadLetter, error)
}

// letterOpen is the state of a letter that nobody has decided about.
const letterOpen = "open"

// replayHeader marks a message that was produced again, with the id of the
// replay.
const replayHeader = "hotsync-replay"

// deadLetters shows what hotsync gave up on, and deals with it. What is replayed
// is durable before its letter says so: a process that dies between the two
// leaves an open letter, and replaying that again only makes hotsync look again.
type deadLetters struct {
	*desk
	book   letterBook
	reread func(ctx context.Context, at event.Coordinates) (event.Message, error)
	most   int64 // the highest cap

	mu sync.Mutex // one request at a time
	// settled is what was done here and may not be in the book yet.
	settled map[string]api.DeadLetter
}

// letter is a dead letter with everything that was kept of it.
type letter struct {
	row   api.DeadLetter
	whole event.DeadLetter
	gone  error // why whole could not be had
}

// Letters implements package api's deadBoard.
func (d *deadLetters) Letters(ctx context.Context, f api.DeadFilter, after string, limit int) (api.DeadPage, error) {
	return d.book.Letters(ctx, stated(f), after, limit)
}

// Letter implements package api's deadBoard.
func (d *deadLetters) Letter(ctx context.Context, id string) (api.DeadLetter, error) {
	row, err := d.book.Letter(ctx, id)
	if err != nil {
		return api.DeadLetter{}, err
	}
	l := d.open(ctx, row)
	out := l.row
	if l.gone != nil {
		out.Missing = "the letter itself cannot be read from Kafka: " + l.gone.Error()
	} else {
		out.Trigger, out.Headers, out.Original = l.whole.Trigger, l.whole.Headers, l.whole.Original
	}
	if _, err := d.resend(l, d.now(), replayRuns+"none"); err != nil {
		out.Refusal = err.Error()
	}
	return out, nil
}

// rereadTime bounds how long one letter is read from Kafka.
const rereadTime = 10 * time.Second

// open reads the letter itself.
func (d *deadLetters) open(ctx context.Context, row api.DeadLetter) letter {
	l := letter{row: row}
	if row.Letter == nil {
		l.gone = fault.Newf(fault.NotFound, "nobody knows where it stands")
		return l
	}
	bound, cancel := context.WithTimeout(ctx, rereadTime)
	defer cancel()
	m, err := d.reread(bound, *row.Letter)
	if err != nil {
		l.gone = err
		return l
	}
	if err := json.Unmarshal(m.Value, &l.whole); err != nil {
		l.gone = fmt.Errorf("read %s: it is no dead letter: %w", row.Letter, err)
	}
	return l
}

// ReplayDead implements package api's undertaker.
func (d *deadLetters) ReplayDead(ctx context.Context, ask api.DeadAsk) (api.DeadAnswer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows, answer, err := d.pick(ctx, ask)
	if err != nil {
		return api.DeadAnswer{}, err
	}
	if err := pace(ask.PerSecond, int64(len(rows))); err != nil {
		return api.DeadAnswer{}, err
	}
	t, err := d.task(ask, "replay", event.ReasonFannedOut, len(rows))
	if err != nil {
		return api.DeadAnswer{}, err
	}
	letters, err := d.openAll(ctx, rows)
	if err != nil {
		return api.DeadAnswer{}, err
	}
	var send []resent
	for _, l := range letters {
		again, err := d.resend(l, t.at, t.run())
		if err != nil {
			answer.Refused = append(answer.Refused, api.DeadRefused{ID: l.row.ID, Why: err.Error()})
			continue
		}
		send = append(send, again)
	}
	works := 0
	for _, s := range send {
		if s.trigger != nil {
			works++
		}
	}
	if works > 1 {
		for _, s := range send {
			if s.trigger != nil {
				s.trigger.Bulk = true
			}
		}
	}
	if len(send) == 0 {
		return answer, nil
	}
	ctx, cancel := onward(ctx)
	defer cancel()
	if err := d.announce(ctx, t); err != nil {
		return api.DeadAnswer{}, err
	}
	if answer.Until, err = d.send(ctx, send, orDefault(ask.PerSecond, defaultPerSecond), func(l letter) api.DeadLetter { return settledAs(l.row, event.DeadReplayed, ask, t.at) }); err != nil {
		return api.DeadAnswer{}, err
	}
	answer.Run, answer.Done = t.run(), int64(len(send))
	return answer, d.conclude(ctx, t, numbersOf(answer))
}

// DiscardDead implements package api's undertaker.
func (d *deadLetters) DiscardDead(ctx context.Context, ask api.DeadAsk) (api.DeadAnswer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows, answer, err := d.pick(ctx, ask)
	if err != nil || len(rows) == 0 {
		return answer, err
	}
	t, err := d.task(ask, "discard", event.ReasonDiscarded, len(rows))
	if err != nil {
		return api.DeadAnswer{}, err
	}
	ctx, cancel := onward(ctx)
	defer cancel()
	if err := d.announce(ctx, t); err != nil {
		return api.DeadAnswer{}, err
	}
	for chunk := range slices.Chunk(rows, atOnce) {
		var states []api.DeadLetter
		for _, row := range chunk {
			states = append(states, settledAs(row, event.DeadDiscarded, ask, t.at))
		}
		if err := d.settle(ctx, states); err != nil {
			return api.DeadAnswer{}, err
		}
	}
	answer.Done = int64(len(rows))
	return answer, d.conclude(ctx, t, numbersOf(answer))
}

func (d *deadLetters) task(ask api.DeadAsk, verb string, reason event.Reason, n int) (task, error) {
	which := fmt.Sprintf("%s of %d dead letters by their ids", verb, n)
	if ask.Filter != nil {
		which = fmt.Sprintf("%s of %d dead letters that match %s", verb, n, *ask.Filter)
	}
	return d.name(task{system: "dead", verb: verb, reason: reason, note: told(ask.By, ask.Why, which)}, ask.ID, ask.By)
}

func numbersOf(a api.DeadAnswer) map[string]int64 {
	return map[string]int64{"matched": a.Matched, "done": a.Done, "already": a.Already, "refused": int64(len(a.Refused))}
}

// pick lists the open letters that a request is about, and begins its answer.
func (d *deadLetters) pick(ctx context.Context, ask api.DeadAsk) ([]api.DeadLetter, api.DeadAnswer, error) {
	allowed := capOf(ask.Cap, d.most)
	var f api.DeadFilter
	ids := distinct(ask.IDs)
	if ask.Filter != nil {
		f = stated(*ask.Filter)
	} else {
		f.ID, f.State = ids, []string{"all"}
	}
	var found []api.DeadLetter
	for after := ""; ; {
		page, err := d.book.Letters(ctx, f, after, perPage)
		if err != nil {
			return nil, api.DeadAnswer{}, err
		}
		if page.Count > allowed || int64(len(found)+len(page.Letters)) > allowed {
			return nil, api.DeadAnswer{}, tooMany("dead letters", max(page.Count, int64(len(found)+len(page.Letters))), allowed, d.most)
		}
		found = append(found, page.Letters...)
		if after = page.Next; after == "" {
			break
		}
	}
	for _, l := range found {
		ids = slices.DeleteFunc(ids, func(id string) bool { return id == l.ID })
	}
	if len(ids) > 0 {
		return nil, api.DeadAnswer{}, fault.Newf(fault.NotFound, "ids: there is no dead letter %s (%d of those asked for are not there); GET /api/dead lists what there is", ids[0], len(ids))
	}
	answer := api.DeadAnswer{Matched: int64(len(found))}
	var open []api.DeadLetter
	for _, l := range found {
		if l.State != letterOpen || d.dealtWith(l) {
			answer.Already++
			continue
		}
		open = append(open, l)
	}
	return open, answer, nil
}

// dealtWith reports whether a letter that the book calls open was dealt with
// here, and not given up again since.
func (d *deadLetters) dealtWith(l api.DeadLetter) bool {
	s, here := d.settled[l.ID]
	return here && !l.Last.After(s.At)
}

// openAll reads letters, several at a time.
func (d *deadLetters) openAll(ctx context.Context, rows []api.DeadLetter) ([]letter, error) {
	out := make([]letter, len(rows))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, row := range rows {
		g.Go(func() error {
			out[i] = d.open(ctx, row)
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("read %d dead letters from Kafka: %w", len(rows), err)
	}
	return out, nil
}

// resent is what a letter becomes: a trigger or a record.
type resent struct {
	letter  letter
	trigger *event.Trigger
	record  kafka.Record
}

// send makes durable what letters become, then that they were replayed.
func (d *deadLetters) send(ctx context.Context, all []resent, perSecond int, state func(letter) api.DeadLetter) (time.Time, error) {
	p := d.pacer(perSecond)
	for chunk := range slices.Chunk(all, atOnce) {
		var records []kafka.Record
		var states []api.DeadLetter
		for _, s := range chunk {
			r := s.record
			if s.trigger != nil {
				var err error
				if r, err = p.place(*s.trigger); err != nil {
					return p.last, err
				}
			}
			records, states = append(records, r), append(states, state(s.letter))
		}
		if err := d.write(ctx, records...); err != nil {
			return p.last, fmt.Errorf("replay dead letters: %w", err)
		}
		if err := d.settle(ctx, states); err != nil {
			return p.last, err
		}
	}
	return p.last, nil
}

// remembered bounds how many letters are remembered as dealt with. The book
// shows them within seconds.
const remembered = 20_000

// settle makes states of letters durable.
func (d *deadLetters) settle(ctx context.Context, states []api.DeadLetter) error {
	records := make([]kafka.Record, 0, len(states))
	for _, s := range states {
		r, err := d.state(s)
		if err != nil {
			return err
		}
		records = append(records, r)
	}
	if err := d.write(ctx, records...); err != nil {
		return fmt.Errorf("record that dead letters were %s: %w", states[0].State, err)
	}
	if d.settled == nil || len(d.settled) > remembered {
		d.settled = map[string]api.DeadLetter{}
	}
	for _, s := range states {
		d.settled[s.ID] = s
	}
	return nil
}

func settledAs(row api.DeadLetter, state string, ask api.DeadAsk, at time.Time) api.DeadLetter {
	row.State, row.By, row.Why, row.At = state, ask.By, ask.Why, at
	return row
}

// stated makes the default of a filter explicit.
func stated(f api.DeadFilter) api.DeadFilter {
	if len(f.State) == 0 {
		f.State = []string{letterOpen}
	}
	return f
}
