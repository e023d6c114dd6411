package daemon

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"hotsync/api"
	"hotsync/connectors/kafka"
	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// operations is the API for operators over the parts of a daemon. Every instance
// serves all of it.
func (d *Daemon) operations(out *outbox) http.Handler {
	desk := &desk{out: out, write: out.write, now: d.opt.Now, instance: d.opt.Instance, build: d.opt.Build}
	// A replay of the highest cap fills half of what the retry topics' readers hold
	// in hand, so that it does not stand before what is put off.
	most := int64(held / 2 * d.cfg.Kafka.Partitions)
	past := chHistory{d.store}
	shown := &board{ledger: d.memory.ledger, runs: past, now: d.opt.Now}
	letters := &deadLetters{
		desk: desk, book: chLetters{d.store}, most: min(most, mostLetters),
		scan: func(ctx context.Context, topic string, partition int, from, to int64, fn func(event.Message)) error {
			return d.client.ReadAll(ctx, topic, partition, from, to, func(_ context.Context, r kafka.Record) error {
				fn(message(r))
				return nil
			})
		},
	}
	return api.New(api.Config{
		Sweeps: shown, Runs: shown, Syncs: past, Replays: &replays{desk: desk, history: past, open: past, most: most},
		Letters: letters, Dead: letters, Build: d.opt.Build,
		Failed: func(method, path string, err error) {
			d.opt.Log.Error().Str("method", method).Str("path", path).Err(err).Msg("a request could not be answered")
		},
	})
}

// desk makes durable what operators ask for. Nothing of a request is left to
// this process once it is answered: what has to wait waits in the retry topics,
// and who asked for what is an event.
type desk struct {
	out             *outbox
	write           func(ctx context.Context, records ...kafka.Record) error
	now             func() time.Time
	instance, build string
}

// task is one request as the log of events tells it.
type task struct {
	id     string
	system string // replay, dead
	verb   string // run, replay, discard
	reason event.Reason
	note   string
	at     time.Time
}

// key is what the events of a task are filed under.
func (t task) key() record.Key { return record.Key{System: t.system, Kind: t.verb, ID: t.id} }

// run is the id under which the triggers of a task are delivered.
func (t task) run() string { return replayRuns + t.id }

// replayRuns begins the id of every run that is no run of a sweep.
const replayRuns = "replay/"

// taskTimes is how the id of a task begins: when it was asked for. So whatever
// follows from a task is the same however often it is asked for with one id.
const taskTimes = "20060102T150405.000Z"

// oldestTask bounds how late a task may be completed.
const oldestTask = 24 * time.Hour

// name names a task, as its asker wants or by who asks and when, and dates it.
func (d *desk) name(t task, asked, by string) (task, error) {
	now := d.now().UTC().Truncate(time.Millisecond)
	if asked == "" {
		stamp := now.Format(taskTimes)
		t.id, t.at = stamp+"-"+event.Digest("task", d.instance, by, stamp)[:8], now
		return t, nil
	}
	stamp, _, _ := strings.Cut(asked, "-")
	at, err := time.Parse(taskTimes, stamp)
	if err != nil || at.After(now) || now.Sub(at) > oldestTask {
		return task{}, fault.Newf(fault.Refused, "id %q: want when it was asked for first (UTC, at most %s ago) and something of your own, such as %s-1a2b3c4d", asked, oldestTask, now.Format(taskTimes))
	}
	t.id, t.at = asked, at
	return t, nil
}

// audit is the event of a task: planned before anything of it is done, so that
// no deed can be missing from the log, and done with its numbers.
func (d *desk) audit(t task, phase event.Phase, stats map[string]int64) (kafka.Record, error) {
	ref := event.Ref{
		ID: event.Digest("task", t.key().String()), Cause: event.CauseReplay, Type: "summary", Delivery: t.run(), At: t.at, Received: t.at,
	}
	e := event.Event{
		SyncID: event.Digest("sync", ref.ID), Phase: phase, At: d.now(), Key: t.key(), Cause: event.CauseReplay, Note: t.note,
		Triggers: []event.Ref{ref}, Attempt: 1, Instance: d.instance, Build: d.build,
	}
	if phase == event.Done {
		e.Outcome, e.Reason, e.Stats = event.Skipped, t.reason, stats
		e.Worked = max(0, e.At.Sub(t.at).Milliseconds())
	}
	if err := e.Identify(); err != nil {
		return kafka.Record{}, err
	}
	return d.out.event(e)
}

// announce makes the planned event of a task durable.
func (d *desk) announce(ctx context.Context, t task) error {
	return d.tell(ctx, t, event.Planned, nil)
}

// conclude makes the done event of a task durable.
func (d *desk) conclude(ctx context.Context, t task, stats map[string]int64) error {
	return d.tell(ctx, t, event.Done, stats)
}

func (d *desk) tell(ctx context.Context, t task, phase event.Phase, stats map[string]int64) error {
	r, err := d.audit(t, phase, stats)
	if err != nil {
		return err
	}
	if err := d.write(ctx, r); err != nil {
		return fmt.Errorf("record what was asked for: %w", err)
	}
	return nil
}

// atOnce is how many records are made durable together.
const atOnce = 500

// pacer spreads triggers so that perSecond of them are due each second: those of
// the first second go to the workers, the others to the retry topics with the
// time before which they must wait.
type pacer struct {
	out       *outbox
	start     time.Time
	perSecond int
	bulk      bool // they are part of many
	placed    int
	last      time.Time // when the last one placed is due
}

func (d *desk) pacer(perSecond int) *pacer {
	now := d.now()
	return &pacer{out: d.out, start: now, perSecond: perSecond, last: now}
}

func (p *pacer) place(t event.Trigger) (kafka.Record, error) {
	t.Bulk = t.Bulk || p.bulk
	delay := time.Duration(p.placed/p.perSecond) * time.Second
	p.placed++
	p.last = p.start.Add(delay)
	if delay == 0 {
		return p.out.trigger(t)
	}
	t.NotBefore = p.last
	return p.out.later(t, delay)
}

// schedule makes triggers durable in their order and returns when the last one
// is due. What fails half-way is repaired by asking again: the same triggers
// have the same ids.
func (d *desk) schedule(ctx context.Context, triggers []event.Trigger, perSecond int) (last time.Time, err error) {
	p := d.pacer(perSecond)
	p.bulk = len(triggers) > 1
	for chunk := range slices.Chunk(triggers, atOnce) {
		first := p.placed
		records := make([]kafka.Record, 0, len(chunk))
		for _, t := range chunk {
			r, err := p.place(t)
			if err != nil {
				return p.last, err
			}
			records = append(records, r)
		}
		if err := d.write(ctx, records...); err != nil {
			return p.last, fmt.Errorf("schedule records %d and after of %d: %w", first+1, len(triggers), err)
		}
	}
	return p.last, nil
}

// taskTime bounds how long a request may take to become durable.
const taskTime = 5 * time.Minute

// onward returns a context that outlives a client that hangs up: a request that
// has begun is carried out.
func onward(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), taskTime)
}

// many is how many of something there are.
func many(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// told is how an event says who asked and why.
func told(by, why, what string) string {
	note := by + ": " + what
	if why = strings.TrimSpace(why); why != "" {
		note += " (" + why + ")"
	}
	return note
}

// orDefault is n, or what it is when nobody said.
func orDefault[N int | int64](n, otherwise N) N {
	if n <= 0 {
		return otherwise
	}
	return n
}

// The defaults of requests, as their descriptions in package api say.
const (
	defaultCap       = 1000
	defaultPerSecond = 20
)

// tooMany refuses a request that would do more than its asker allows.
func tooMany(what string, matches, allowed, most int64) error {
	if matches > most {
		return fault.Newf(fault.Refused, "%d %s match, and at most %d can be taken at a time; narrow the filter, such as with since and until", matches, what, most)
	}
	return fault.Newf(fault.Refused, "%d %s match, more than the cap of %d; narrow the filter, or ask again with a cap of %d or more (the highest is %d)", matches, what, allowed, matches, most)
}

// capOf is the cap that counts.
func capOf(asked, most int64) int64 { return min(orDefault(asked, defaultCap), most) }

// longest bounds how long the triggers of one request may wait: the retry topics
// keep what they hold for a week.
const longest = 24 * time.Hour

// pace returns an error when the end of a request would be too far.
func pace(asked int, n int64) error {
	perSecond := orDefault(asked, defaultPerSecond)
	if took := time.Duration(n/int64(perSecond)) * time.Second; took > longest {
		return fault.Newf(fault.Refused, "per_second %d: %d records would take %s, more than %s; ask for more per second or for fewer records", perSecond, n, took, longest)
	}
	return nil
}

// isRecord reports whether a key is of something that can be looked at: events
// are also filed under messages that named nothing, and under runs.
func isRecord(k record.Key) bool {
	switch k.System {
	case "zuora", "stripe", "limio":
		return k.Kind != "message"
	}
	return false
}
