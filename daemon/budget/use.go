package budget

import "time"

// use keeps account of how much of a rate is used while calls wait for it. Time in
// which nobody waits, or only for a slot, is in none of its numbers: it says how
// well the budget is spent, however much there is to do. And it tells what the
// budget leaves unused from what a process misses that does not get to run.
type use struct {
	calls   uint64  // admitted
	allowed float64 // by the rate, in the same time
	missed  float64 // of those, while a call might have gone out and this process did not see to it

	waiting bool
	rate    float64   // since counted
	counted time.Time // up to here
	due     time.Time // when the next call may go out
	last    time.Time // that a call was admitted, who had waited or not
}

// wait notes at t that a call waits until due, at a rate that counts from held on.
func (u *use) wait(t time.Time, rate float64, held, due time.Time) {
	from := t
	if u.waiting {
		u.count(t)
	} else if rate > 0 {
		// A call that comes a moment after another waits for the rest of the
		// distance to it: the whole of it was used, not the rest.
		if from = t.Add(-time.Duration(float64(time.Second) / rate)); from.Before(u.last) {
			from = u.last
		}
	}
	if from.Before(held) {
		from = held
	}
	u.waiting, u.rate, u.counted, u.due = true, rate, from, due
}

// admit notes at t that a call goes out.
func (u *use) admit(t time.Time) {
	if u.waiting {
		u.count(t)
		u.calls++
	}
	u.last = t
}

// slack notes that nobody waits for the rate any more.
func (u *use) slack() { u.waiting = false }

func (u *use) count(t time.Time) {
	if took := t.Sub(u.counted); took > 0 {
		u.allowed += u.rate * took.Seconds()
		u.counted = t
	}
	if late := t.Sub(u.due); late > 0 {
		u.missed += u.rate * late.Seconds()
		u.due = t
	}
}
