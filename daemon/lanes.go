package daemon

import (
	"cmp"
	"slices"
	"time"

	"hotsync/connectors/kafka"
	"hotsync/event"
	"hotsync/reconcile"
	"hotsync/record"
)

// item is a trigger in hand with the record whose offset waits for it.
type item struct {
	trigger event.Trigger
	record  kafka.Record
	bulk    bool
	begun   bool // its sync has been tried, here or before a crash, and may have told what it set out to write
}

// tried is what failed tries did: the calls they made, and the changes they set
// out to write and may have written.
type tried struct {
	calls   []event.Callout
	changes []record.Change
}

// lane is the work for one key: what waits, and whether a sync is under way. A
// key has at most one lane and a lane at most one sync (Invariant 3).
type lane struct {
	key     record.Key
	waiting []item
	readyAt time.Time
	rests   time.Time // before then it is left alone, whatever comes in
	running bool
	bulk    bool  // all that waits is bulk
	tries   int   // failed tries of what waits, in memory
	past    tried // what those tries did
}

// lanes are the keys of one partition that have work in hand. Triggers for a
// key that waits or runs merge. It is not safe for concurrent use.
type lanes struct {
	now  func() time.Time
	wait func(event.Trigger) time.Duration // how long a trigger waits for its siblings

	byKey  map[record.Key]*lane
	inHand int
	bulk   int            // of those
	bulkOf map[string]int // by the system of their keys
}

func newLanes(now func() time.Time, wait func(event.Trigger) time.Duration) *lanes {
	return &lanes{now: now, wait: wait, byKey: map[record.Key]*lane{}, bulkOf: map[string]int{}}
}

// add takes a trigger in hand.
func (l *lanes) add(it item) {
	l.count(it, 1)
	ready := l.now().Add(l.wait(it.trigger))
	ln, ok := l.byKey[it.trigger.Key]
	if !ok {
		ln = &lane{key: it.trigger.Key}
		l.byKey[ln.key] = ln
	}
	if ready.Before(ln.rests) {
		ready = ln.rests
	}
	switch {
	case len(ln.waiting) == 0:
		ln.readyAt, ln.bulk = ready, it.bulk
	case ln.tries == 0 && ready.Before(ln.readyAt):
		ln.readyAt = ready // somebody waits for this one: a login does not stand behind a webhook's siblings
	}
	ln.bulk = ln.bulk && it.bulk
	ln.waiting = append(ln.waiting, it)
}

func (l *lanes) count(it item, n int) {
	l.inHand += n
	if it.bulk {
		l.bulk += n
		l.bulkOf[it.trigger.Key.System] += n
	}
}

// class is the kind of work that waits.
func (ln *lane) class() class { return class{ln.key.System, ln.bulk} }

// next returns the lane to start now, live before bulk and the longest due
// first; or nil and how long until the next one is due (0: none waits). Work of
// the classes without is left alone.
func (l *lanes) next(without ...class) (*lane, time.Duration) {
	now := l.now()
	var best, soon *lane
	for _, ln := range l.byKey {
		if len(ln.waiting) == 0 && !ln.running && !ln.rests.After(now) {
			delete(l.byKey, ln.key) // it has rested
			continue
		}
		if ln.running || len(ln.waiting) == 0 || slices.Contains(without, ln.class()) {
			continue
		}
		if ln.readyAt.After(now) {
			if soon == nil || ln.readyAt.Before(soon.readyAt) {
				soon = ln
			}
			continue
		}
		if best == nil || (best.bulk && !ln.bulk) || (best.bulk == ln.bulk && ln.readyAt.Before(best.readyAt)) {
			best = ln
		}
	}
	switch {
	case best != nil:
		return best, 0
	case soon != nil:
		return nil, soon.readyAt.Sub(now)
	}
	return nil, 0
}

// maxAnswers bounds how many triggers one sync answers, so that its event and
// its retry always fit into a record, however long an outage was.
const maxAnswers = 1500

// take starts a lane: what waited is now under way, in turn, as far as one sync
// can answer for it. Beside a login, what a sweep wants verified stays behind:
// that reads Limio too, and somebody waits.
func (l *lanes) take(ln *lane) []item {
	waiting, later := ln.waiting, []item(nil)
	if ln.tries == 0 && slices.ContainsFunc(waiting, isLogin) {
		waiting = slices.DeleteFunc(slices.Clone(waiting), isCheck)
		later = slices.DeleteFunc(slices.Clone(ln.waiting), func(it item) bool { return !isCheck(it) })
	}
	answers, n := 0, 0
	for n < len(waiting) {
		answers += 1 + len(waiting[n].trigger.Also)
		if n > 0 && answers > maxAnswers {
			break
		}
		n++
	}
	ln.waiting, ln.running = append(waiting[n:len(waiting):len(waiting)], later...), true
	ln.bulk = !slices.ContainsFunc(ln.waiting, func(it item) bool { return !it.bulk })
	return inTurn(waiting[:n:n])
}

// inTurn sorts a batch. Its first trigger gives the sync its id, and a sync that
// has told what it sets out to write must not change its id: so what was begun
// comes first, as it was. Then comes what is new, since a crash may hide that it
// was begun; last, what was put off, which names its sync and so is ended in any
// case (takenUp).
func inTurn(batch []item) []item {
	slices.SortStableFunc(batch, func(a, b item) int { return cmp.Compare(turn(a), turn(b)) })
	return batch
}

// goOn has what began a sync before a crash, or elsewhere, go on with it.
func goOn(batch []item, m reconcile.Memory) []item {
	if len(m.Open) == 0 {
		return batch
	}
	for i, it := range batch {
		if sync := m.Begun(it.trigger); sync != "" {
			batch[i].trigger.SyncID, batch[i].begun = sync, true
		}
	}
	return inTurn(batch)
}

func turn(it item) int {
	switch {
	case it.begun:
		return 0
	case it.trigger.SyncID == "":
		return 1
	}
	return 2
}

func isLogin(it item) bool { return it.trigger.AskedBy(event.CauseLogin) }

// isCheck reports whether a sweep wants both sides read, whatever is remembered.
func isCheck(it item) bool { return it.bulk && it.trigger.Verify && !isLogin(it) }

// finished ends a lane's sync whose items are done with. What comes for its key
// is not begun before it has rested.
func (l *lanes) finished(ln *lane, batch []item, rest time.Duration) {
	ln.running, ln.tries, ln.past = false, 0, tried{}
	if rest > 0 {
		ln.rests = l.now().Add(rest)
		if ln.readyAt.Before(ln.rests) {
			ln.readyAt = ln.rests
		}
	}
	for _, it := range batch {
		l.count(it, -1)
	}
	if len(ln.waiting) == 0 && rest == 0 {
		delete(l.byKey, ln.key)
	}
}

// again puts a batch back to be tried after delay, merged with what came in
// meanwhile.
func (l *lanes) again(ln *lane, batch []item, delay time.Duration, past tried) {
	ln.running = false
	ln.tries++
	ln.past = past
	for i := range batch {
		batch[i].begun = true
	}
	ln.waiting = append(batch, ln.waiting...)
	ln.readyAt = l.now().Add(delay)
	ln.bulk = true
	for _, it := range ln.waiting {
		ln.bulk = ln.bulk && it.bulk
	}
}

// running counts the lanes with a sync under way.
func (l *lanes) running() (n int) {
	for _, ln := range l.byKey {
		if ln.running {
			n++
		}
	}
	return n
}
