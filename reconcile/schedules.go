package reconcile

import (
	"time"

	"hotsync/record"
)

// schedules compares payments: those that already match are left alone, those
// that changed are updated in place, new ones are created, and unpaid ones of
// the current period or the future that no longer hold are cancelled. Nothing
// is rebuilt blindly, so an unchanged subscription produces no write.
func (s *Subscriptions) schedules(w Want, h Have, now time.Time) []record.Write {
	var wants, haves []record.Object
	for _, o := range w.Objects {
		if o.Type == record.ScheduleType {
			wants = append(wants, o)
		}
	}
	for _, o := range h.Objects {
		if o.Type == record.ScheduleType {
			haves = append(haves, o)
		}
	}
	pairs, spare := pair(wants, haves)

	var out []record.Write
	for _, o := range spare {
		if s.stale(o, w, now) {
			out = append(out, record.Write{Op: record.OpCancel, Type: o.Type, ID: o.ID, Ref: o.Ref, Fields: []record.FieldChange{
				{Field: "status", Before: o.Fields["status"], After: record.Text(string(record.ScheduleCancelled))},
			}})
		}
	}
	for i, o := range wants {
		switch {
		case pairs[i].ID != "":
			out = s.update(out, o, pairs[i])
		case o.Fields["status"] != record.Text(string(record.ScheduleCancelled)):
			out = append(out, record.Write{Op: record.OpCreate, Type: o.Type, Ref: o.Ref, Parent: w.Link, Fields: s.authority.Owned(o)})
		}
	}
	return out
}

// pair finds for each wanted payment the one that Limio has: by invoice id,
// else one that is not cancelled on the same day in the same currency, with the
// same amount before another amount and in the same state before another state. An upcoming payment has no invoice id
// until it is due, and Limio's own entries never have one, so the day carries
// the match.
func pair(wants, haves []record.Object) (pairs map[int]record.Object, spare []record.Object) {
	pairs = map[int]record.Object{}
	used := make([]bool, len(haves))
	order := liveFirst(wants)
	take := func(fits func(want, have record.Object) bool) {
		for _, i := range order {
			want := wants[i]
			if _, done := pairs[i]; done {
				continue
			}
			for j, have := range haves {
				if !used[j] && fits(want, have) {
					pairs[i], used[j] = have, true
					break
				}
			}
		}
	}
	invoice := func(o record.Object) string { return o.Fields["data.external_id"].String() }
	sameDay := func(want, have record.Object) bool {
		return have.Fields["status"].String() != string(record.ScheduleCancelled) &&
			(invoice(have) == "" || invoice(want) == "") &&
			record.Same(record.Date, want.Fields["data.date"], have.Fields["data.date"]) &&
			record.Same(record.Exact, want.Fields["data.currency"], have.Fields["data.currency"])
	}
	paid := func(want, have record.Object) bool { return invoice(want) != "" && invoice(want) == invoice(have) }
	// Limio's own sync may have cancelled an entry and made it anew.
	take(func(want, have record.Object) bool {
		return paid(want, have) && have.Fields["status"].String() != string(record.ScheduleCancelled)
	})
	take(paid)
	same := func(want, have record.Object) bool {
		return sameDay(want, have) && record.Same(record.Amount, want.Fields["data.amount"], have.Fields["data.amount"])
	}
	take(func(want, have record.Object) bool {
		return same(want, have) && want.Fields["status"] == have.Fields["status"]
	})
	take(same)
	take(sameDay)
	for j, have := range haves {
		if !used[j] {
			spare = append(spare, have)
		}
	}
	return pairs, spare
}

// liveFirst returns the indexes of wants with those that must not be cancelled
// before those that must: an entry that serves a payment is never taken for one
// that will not happen.
func liveFirst(wants []record.Object) []int {
	var live, cancelled []int
	for i, o := range wants {
		if o.Fields["status"] == record.Text(string(record.ScheduleCancelled)) {
			cancelled = append(cancelled, i)
		} else {
			live = append(live, i)
		}
	}
	return append(live, cancelled...)
}

// stale reports whether a payment that Stripe does not know must be cancelled:
// it is live, and lies in the future or is an unpaid one of the current period.
// Older ones are history and stay.
func (s *Subscriptions) stale(o record.Object, w Want, now time.Time) bool {
	status := record.ScheduleState(o.Fields["status"].String())
	if status != record.SchedulePaid && status != record.SchedulePending && status != record.ScheduleUpcoming {
		return false
	}
	date, ok := record.ParseDay(o.Fields["data.date"].String())
	if !ok {
		return false
	}
	if date.After(now) {
		return true
	}
	return status != record.SchedulePaid && !w.From.IsZero() && !date.Before(w.From.Truncate(24*time.Hour))
}
