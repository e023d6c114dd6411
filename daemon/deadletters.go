package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"hotsync/api"
	"hotsync/connectors/kafka"
	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/sinks/clickhouse"
)

// letterBook is what ClickHouse knows of dead letters.
type letterBook interface {
	Letters(ctx context.Context, f api.DeadFilter, after string, limit int) (api.DeadPage, error)
	// Letter returns one with its coordinates; fault.NotFound when there is none.
	Letter(ctx context.Context, id string) (api.DeadLetter, error)
}

// letterOpen is the state of a letter that nobody has decided about.
const letterOpen = clickhouse.DeadOpen

// mostLetters is the highest cap: each letter is read from Kafka by itself.
const mostLetters = 10_000

// replayHeader marks a message that was produced again, with the id of the
// replay.
const replayHeader = "hotsync-replay"

// deadLetters shows what hotsync gave up on, and deals with it. What is replayed
// is durable before its letter says so: a process that dies between the two
// leaves an open letter, and replaying that again only makes hotsync look again.
type deadLetters struct {
	*desk
	book letterBook
	// scan hands on the messages of one partition with offsets in [from, to).
	scan func(ctx context.Context, topic string, partition int, from, to int64, fn func(event.Message)) error
	most int64 // the highest cap

	busy sync.Mutex // one request at a time
	mu   sync.Mutex
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
	l := d.open(ctx, []api.DeadLetter{row})[0]
	out := d.latest(row)
	if l.gone != nil {
		out.Missing = "the letter itself cannot be read from Kafka: " + l.gone.Error()
	} else {
		out.Trigger, out.Headers, out.Original = l.whole.Trigger, l.whole.Headers, l.whole.Original
	}
	if _, err := d.resend(l, d.now(), replayRuns+"none"); err != nil {
		out.Refusal = err.Error()
	} else if out.State != letterOpen {
		out.Refusal = fmt.Sprintf("it was %s by %s", out.State, out.By)
	}
	return out, nil
}

// The bounds of reading letters from Kafka.
const (
	rereadTime = 20 * time.Second // for those that stand near each other
	nearby     = 100              // offsets between two that are read in one go
)

// open reads letters themselves, those that stand near each other in one go.
func (d *deadLetters) open(ctx context.Context, rows []api.DeadLetter) []letter {
	out := make([]letter, len(rows))
	var known []int
	for i, row := range rows {
		out[i] = letter{row: row, gone: fault.Newf(fault.NotFound, "Kafka does not keep it any more")}
		if row.Letter != nil {
			known = append(known, i)
		}
	}
	slices.SortFunc(known, func(a, b int) int {
		x, y := rows[a].Letter, rows[b].Letter
		return cmp.Or(strings.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.Offset, y.Offset))
	})
	for len(known) > 0 {
		n := 1
		for n < len(known) && near(*rows[known[n-1]].Letter, *rows[known[n]].Letter) {
			n++
		}
		d.openRun(ctx, out, known[:n])
		known = known[n:]
	}
	return out
}

func near(a, b event.Coordinates) bool {
	return a.Topic == b.Topic && a.Partition == b.Partition && b.Offset-a.Offset <= nearby
}

// openRun reads letters of one partition that are sorted by their offsets.
func (d *deadLetters) openRun(ctx context.Context, all []letter, run []int) {
	ctx, cancel := context.WithTimeout(ctx, rereadTime)
	defer cancel()
	first, last := *all[run[0]].row.Letter, *all[run[len(run)-1]].row.Letter
	at := map[int64]int{}
	for _, i := range run {
		at[all[i].row.Letter.Offset] = i
	}
	err := d.scan(ctx, first.Topic, first.Partition, first.Offset, last.Offset+1, func(m event.Message) {
		i, wanted := at[m.Offset]
		if !wanted {
			return
		}
		delete(at, m.Offset)
		l := &all[i]
		if err := json.Unmarshal(m.Value, &l.whole); err != nil {
			l.gone = fmt.Errorf("read %s: it is no dead letter: %w", m.Coordinates, err)
			return
		}
		l.gone = nil
	})
	if err == nil {
		return
	}
	for _, i := range at {
		all[i].gone = err
	}
}

var errBusy = fault.Newf(fault.Locked, "dead letters are being dealt with for somebody else; ask again in a moment")

// ReplayDead implements package api's undertaker.
func (d *deadLetters) ReplayDead(ctx context.Context, ask api.DeadAsk) (api.DeadAnswer, error) {
	if !d.busy.TryLock() {
		return api.DeadAnswer{}, errBusy
	}
	defer d.busy.Unlock()
	rows, answer, err := d.pick(ctx, ask)
	if err != nil {
		return api.DeadAnswer{}, err
	}
	if err := pace(ask.PerSecond, int64(len(rows))); err != nil {
		return api.DeadAnswer{}, err
	}
	t, err := d.task(ask, "replay", event.ReasonFannedOut, len(rows))
	if err != nil || len(rows) == 0 {
		return answer, err
	}
	answer.Run = t.run()
	ctx, cancel := onward(ctx)
	defer cancel()
	if err := d.announce(ctx, t); err != nil {
		return api.DeadAnswer{}, err
	}
	p := d.pacer(orDefault(ask.PerSecond, defaultPerSecond))
	p.bulk = len(rows) > 1
	for chunk := range slices.Chunk(rows, openAtOnce) {
		send, refused := d.resendAll(d.open(ctx, chunk), t)
		answer.Refused = append(answer.Refused, refused...)
		if err := d.send(ctx, send, p, ask); err != nil {
			return api.DeadAnswer{}, fmt.Errorf("%w; %d dead letters were replayed, ask again for the others", err, answer.Done)
		}
		answer.Done += int64(len(send))
	}
	answer.Until = p.last
	return answer, d.conclude(ctx, t, numbersOf(answer))
}

// openAtOnce bounds how many letters are in memory with all their bytes.
const openAtOnce = 100

func (d *deadLetters) resendAll(letters []letter, t task) (send []resent, refused []api.DeadRefused) {
	for _, l := range letters {
		again, err := d.resend(l, t.at, t.run())
		if err != nil {
			refused = append(refused, api.DeadRefused{ID: l.row.ID, Why: err.Error()})
			continue
		}
		send = append(send, again)
	}
	return send, refused
}

// DiscardDead implements package api's undertaker.
func (d *deadLetters) DiscardDead(ctx context.Context, ask api.DeadAsk) (api.DeadAnswer, error) {
	if !d.busy.TryLock() {
		return api.DeadAnswer{}, errBusy
	}
	defer d.busy.Unlock()
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
			states = append(states, settledAs(row, event.DeadDiscarded, ask, d.now()))
		}
		if err := d.settle(ctx, states); err != nil {
			return api.DeadAnswer{}, err
		}
	}
	answer.Done = int64(len(rows))
	return answer, d.conclude(ctx, t, numbersOf(answer))
}

func (d *deadLetters) task(ask api.DeadAsk, verb string, reason event.Reason, n int) (task, error) {
	which := verb + " of " + many(n, "dead letter")
	if ask.Filter != nil {
		which += " matching " + ask.Filter.String()
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
		f.ID, f.State = ids, []string{api.AllStates}
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
		if d.latest(l).State != letterOpen {
			answer.Already++
			continue
		}
		open = append(open, l)
	}
	return open, answer, nil
}

// latest is a letter with what was done about it here, which the book may not
// show yet, unless it was given up again since.
func (d *deadLetters) latest(l api.DeadLetter) api.DeadLetter {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, here := d.settled[l.ID]; here && l.State == letterOpen && !l.Last.After(s.At) {
		l.State, l.By, l.Why, l.At = s.State, s.By, s.Why, s.At
	}
	return l
}

// resent is what a letter becomes: a trigger or a record.
type resent struct {
	letter  letter
	trigger *event.Trigger
	record  kafka.Record
}

// send makes durable what letters become, then that they were replayed.
func (d *deadLetters) send(ctx context.Context, all []resent, p *pacer, ask api.DeadAsk) error {
	if len(all) == 0 {
		return nil
	}
	var records []kafka.Record
	var states []api.DeadLetter
	for _, s := range all {
		r := s.record
		if s.trigger != nil {
			var err error
			if r, err = p.place(*s.trigger); err != nil {
				return err
			}
		}
		records, states = append(records, r), append(states, settledAs(s.letter.row, event.DeadReplayed, ask, d.now()))
	}
	if err := d.write(ctx, records...); err != nil {
		return fmt.Errorf("replay dead letters: %w", err)
	}
	return d.settle(ctx, states)
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
	d.mu.Lock()
	defer d.mu.Unlock()
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
