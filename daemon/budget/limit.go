package budget

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	decrease   = 0.7         // of the rate, when a limit is reached
	lowest     = 0.1         // of the full rate
	reaction   = time.Second // in which one decrease is enough
	firstPause = time.Second // after a limit that was reached, when the vendor asks for none
	longPause  = 30 * time.Second
	tightest   = 0.5  // calls a second, when the vendor says how many are left
	floorShare = 0.02 // of the fleet's rate, for who has no share
	floorRate  = 0.5  // calls a second, for the same
	learnedMin = 10   // calls a second, where no limit is known
)

// limit is how many calls a second may be made. It knows the configured limit
// and learns from answers.
type limit struct {
	perSecond float64 // of the fleet; 0: none
	share     float64

	ratio   float64 // of the full rate
	wall    float64 // the ratio when the limit was reached
	counted time.Time
	learned float64   // the full rate where none is configured; 0: none
	reacted time.Time // to a limit that was reached
	lowered time.Time
	tries   int // pauses in a row without a good answer in between

	tight      float64 // until tightUntil, from the vendor's count of what is left
	tightUntil time.Time

	recent meter
}

func newLimit(perSecond float64) *limit {
	return &limit{perSecond: perSecond, share: 1, ratio: 1, wall: 1}
}

// full returns the rate of this process when nothing is wrong, 0 for no limit.
func (l *limit) full() float64 {
	if l.perSecond == 0 {
		return l.learned
	}
	return max(l.share*l.perSecond, l.floor())
}

// floor is what a process without a share still has, so that it can plan.
func (l *limit) floor() float64 { return min(l.perSecond, max(floorShare*l.perSecond, floorRate)) }

// rate returns the calls a second that may be made from t on, 0 for no limit.
func (l *limit) rate(t time.Time) float64 {
	if since := t.Sub(l.counted); since > 0 {
		l.counted = t
		l.climb(since.Seconds())
	}
	if l.perSecond > 0 {
		l.ratio = min(l.ratio, 1)
	} else if l.ratio >= 2 {
		l.learned = 0 // twice what was too much once passes: it was something else
	}
	rate := l.full() * l.ratio
	if t.Before(l.tightUntil) && (rate == 0 || l.tight < rate) {
		return l.tight
	}
	return rate
}

// climb raises the ratio for a time: fast, but slowly where the limit was
// reached the last time.
func (l *limit) climb(seconds float64) {
	for _, step := range []struct{ to, speed float64 }{{0.9 * l.wall, 0.1}, {1.1 * l.wall, 0.02 * l.wall}, {2, 0.1}} {
		if takes := (step.to - l.ratio) / step.speed; takes > seconds {
			l.ratio += step.speed * seconds
			return
		} else if takes > 0 {
			l.ratio = step.to
			seconds -= takes
		}
	}
}

// reached notes that the vendor refused a call, which went out at sent, because
// of its limit, and returns the pause to make; fresh says that it was the first
// to tell.
func (l *limit) reached(sent, t time.Time, wait time.Duration) (pause time.Duration, fresh bool) {
	if !sent.After(l.reacted) { // this one was on its way already
		return wait, false
	}
	if wait == 0 {
		wait = min(firstPause<<min(l.tries, 10), longPause)
	}
	l.tries++
	l.reacted = t
	if t.Sub(l.lowered) < reaction {
		return wait, true
	}
	l.rate(t)
	if l.perSecond == 0 && l.learned == 0 {
		l.learned, l.ratio = max(l.recent.rate(t), learnedMin/decrease), 1
	}
	l.wall = l.ratio
	l.ratio = max(l.ratio*decrease, lowest)
	l.lowered = t
	return wait, true
}

// passed notes a good answer to a call that went out at sent.
func (l *limit) passed(sent time.Time) {
	if sent.After(l.reacted) {
		l.tries = 0
	}
}

// left reads what the vendor says is left of its limit (zuora-stripe.md Z1: so
// many calls until so many seconds from now), and spreads this process's share
// of it over the time.
func (l *limit) left(h http.Header, t time.Time) {
	remaining, ok := number(h.Get("ratelimit-remaining"))
	reset, resets := number(h.Get("ratelimit-reset"))
	if !ok || !resets || reset == 0 || reset > 86400 {
		return
	}
	share := l.share
	if l.perSecond > 0 {
		share = l.full() / l.perSecond
	}
	l.tight = max(share*remaining/reset, tightest)
	l.tightUntil = t.Add(time.Duration(reset * float64(time.Second)))
}

// number reads the first number of a header; those of a list after it are about
// other windows.
func number(s string) (float64, bool) {
	if i := strings.IndexAny(s, ",;"); i >= 0 {
		s = s[:i]
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return f, err == nil && f >= 0 && !math.IsInf(f, 0)
}

// meter measures the rate of calls, from the last full second and this one.
type meter struct {
	second     int64
	last, this int
}

func (m *meter) add(t time.Time) {
	m.roll(t)
	m.this++
}

func (m *meter) rate(t time.Time) float64 {
	m.roll(t)
	return float64(max(m.last, m.this))
}

func (m *meter) roll(t time.Time) {
	switch now := t.Unix(); {
	case now == m.second+1:
		m.second, m.last, m.this = now, m.this, 0
	case now != m.second:
		m.second, m.last, m.this = now, 0, 0
	}
}
