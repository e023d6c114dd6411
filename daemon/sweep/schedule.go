package sweep

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule says when a sweep runs by itself.
type Schedule struct {
	// Spec is five fields of cron (minute, hour, day, month, weekday), a word
	// such as @daily, or @every 10m. Empty means never.
	Spec string
	// Zone is the name of a time zone, such as Europe/London; empty means UTC. A
	// zone within Spec (CRON_TZ=Europe/London 0 2 * * *) is stronger.
	Zone string
	// Jitter bounds how much later than its time a run starts. How much it is
	// depends on the sweep and the time only.
	Jitter time.Duration
	// Deep makes scheduled runs look at every record on both sides.
	Deep bool
}

// timetable is a Schedule that was understood. The zero timetable never comes.
type timetable struct {
	name   string
	spec   string // with its zone
	when   cron.Schedule
	jitter time.Duration
	deep   bool
}

func newTimetable(name string, s Schedule) (timetable, error) {
	spec := strings.TrimSpace(s.Spec)
	if spec == "" {
		return timetable{name: name, deep: s.Deep}, nil
	}
	bad := func(why any) (timetable, error) {
		return timetable{}, fmt.Errorf("schedule of sweep %s: %q: %v; want five fields such as 0 2 * * *, @every 10m, or nothing for never", name, s.Spec, why)
	}
	if s.Jitter < 0 {
		return timetable{}, fmt.Errorf("schedule of sweep %s: jitter %s is negative; want 0s or more", name, s.Jitter)
	}
	zone := s.Zone
	if prefix, rest, found := strings.Cut(spec, "TZ="); found && (prefix == "" || prefix == "CRON_") {
		// cron panics on a zone with nothing after it.
		zone, spec, found = strings.Cut(rest, " ")
		if spec = strings.TrimSpace(spec); !found || spec == "" {
			return bad("there is nothing after the time zone")
		}
	}
	if zone == "" {
		zone = "UTC"
	}
	spec = "CRON_TZ=" + zone + " " + spec
	when, err := cron.ParseStandard(spec)
	if err != nil {
		return bad(err)
	}
	// Any instant serves to ask whether the time ever comes.
	if when.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return bad("that day never comes")
	}
	return timetable{name: name, spec: spec, when: when, jitter: s.Jitter, deep: s.Deep}, nil
}

// next returns the first time of the schedule after t and when the run of that
// time starts. Both are zero when the sweep never runs by itself.
func (tt timetable) next(t time.Time) (due, start time.Time) {
	if tt.when == nil {
		return time.Time{}, time.Time{}
	}
	due = tt.when.Next(t).UTC()
	within := min(tt.jitter, tt.when.Next(due).Sub(due)) // a run starts before the next is due
	if within <= 0 {
		return due, due
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", tt.name, due.Unix()))
	return due, due.Add(time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(within)))
}

// manyMissed bounds how many missed runs are counted at a time.
const manyMissed = 100_000

// passed returns how many runs after from should have started by now, the
// newest time of the schedule among them, and whether the one after it is
// still to come. After manyMissed it stops counting and jumps to now.
func (tt timetable) passed(from, now time.Time) (n int64, newest time.Time, fresh bool) {
	newest = from
	for {
		due, start := tt.next(newest)
		if due.IsZero() || start.After(now) {
			return n, newest, now.Before(due)
		}
		n, newest = n+1, due
		if n == manyMissed {
			return n, now, true
		}
	}
}
