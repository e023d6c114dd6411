package reconcile

import (
	"maps"
	"slices"
	"time"

	"hotsync/record"
)

// AccountsConfig says what of a Zuora account is followed beyond what always
// is.
type AccountsConfig struct {
	// Schedules follows the upcoming payments of subscriptions, as far as the
	// billing side was read for them (record.Subscription.Schedules is not nil).
	Schedules bool
	// CreateOffers makes offers for the rate plans of a subscription that holds
	// offers which Limio sold. Off, those are left to Limio. Limio advises against
	// creating offers automatically (hot-sync.txt): Limio's own cannot be matched
	// with rate plans, so such a subscription may show the same thing twice, and
	// what is made has no offer of the catalog behind it (assumption 22).
	CreateOffers bool
	// AddOns are patterns (as in ScopeConfig) of names: offers that are called so
	// are add-ons, and have the subtype add_on; CreateOffers or not, they are
	// made. Limio advises against creating add-ons automatically, too, and no
	// public document shows that value.
	AddOns []string
}

// Warnings says what is switched on that Limio advises against.
func (c AccountsConfig) Warnings() []string {
	var out []string
	if c.CreateOffers {
		out = append(out, "offers are created automatically on subscriptions that Limio sold: Limio advises against it, and they may show twice")
	}
	if len(c.AddOns) > 0 {
		out = append(out, "add-ons are created automatically: Limio advises against it, and they cannot be bought or changed in Limio")
	}
	return out
}

// scheduleAuthority lists the fields of Zuora payments that may be touched when
// the option is on.
func scheduleAuthority() record.Authority {
	return record.Authority{
		{Type: record.ScheduleType, Field: "status"},
		{Type: record.ScheduleType, Field: "data.type"},
		{Type: record.ScheduleType, Field: "data.date", Kind: record.Date},
		{Type: record.ScheduleType, Field: "data.schedule_date", Kind: record.Date},
		{Type: record.ScheduleType, Field: "data.amount", Kind: record.Amount},
		{Type: record.ScheduleType, Field: "data.currency"},
		{Type: record.ScheduleType, Field: "data.description"},
	}
}

// horizon says how far the upcoming payments of a subscription are known.
type horizon struct {
	through time.Time // every payment up to this day is among the wanted ones
	end     time.Time // no payment is due from this day on; zero: open
}

// wantDue returns the upcoming payments of a subscription, and how far they are
// known; false when they are not.
//
// A subscription whose status says nothing about Limio's (suspended, say) may go
// on or not: its payments are left as they are.
func wantDue(s record.Subscription) (payments []record.Object, d horizon, known bool) {
	if s.Schedules == nil || s.Status == record.StatusLeave {
		return nil, horizon{}, false
	}
	d.end = s.TermEnd
	if s.Status == record.StatusCancelled && d.end.IsZero() {
		d.end = time.Unix(0, 0).UTC()
	}
	d.through = s.Through
	for _, p := range s.Schedules {
		if p.State != record.ScheduleUpcoming || (!s.TermEnd.IsZero() && !p.Date.Before(s.TermEnd)) {
			continue
		}
		o := wantSchedule(s.ID, p)
		o.Ref = p.Date.UTC().Format(time.DateOnly)
		payments = append(payments, o)
		if s.Through.IsZero() && p.Date.After(d.through) {
			d.through = p.Date
		}
	}
	return payments, d, true
}

// schedules compares the upcoming payments of an account. Only what lies ahead
// is compared: what is due may have been billed already, and what is past is
// history. Entries that no longer hold are cancelled, never deleted, and only as
// far as payments are known.
func (a *Accounts) schedules(w Want, h Have, now time.Time) []record.Write {
	var out []record.Write
	for _, number := range slices.Sorted(maps.Keys(w.Horizons)) {
		id := h.Subscriptions[number]
		if id == "" {
			continue
		}
		ahead := func(objects []record.Object, parent string) (out []record.Object) {
			for _, o := range objects {
				if o.Type == record.ScheduleType && o.Parent == parent && isAhead(o, now) {
					out = append(out, o)
				}
			}
			return out
		}
		wants, haves := ahead(w.Objects, number), ahead(h.Objects, id)
		pairs, spare := pair(wants, haves)
		for _, o := range spare {
			if w.Horizons[number].over(o) {
				out = append(out, record.Write{Op: record.OpCancel, Type: o.Type, ID: o.ID, Ref: o.Ref, Parent: id, Fields: []record.FieldChange{
					{Field: "status", Before: o.Fields["status"], After: record.Text(string(record.ScheduleCancelled))},
				}})
			}
		}
		for i, o := range wants {
			have, found := pairs[i]
			if !found {
				out = append(out, record.Write{Op: record.OpCreate, Type: o.Type, Ref: o.Ref, Parent: id, Fields: a.authority.Owned(o)})
				continue
			}
			// Limio's own entries have a text and a live status of their own.
			o.Fields = maps.Clone(o.Fields)
			delete(o.Fields, "data.description")
			delete(o.Fields, "status")
			if fields := a.authority.Compare(o, have); len(fields) > 0 {
				out = append(out, record.Write{Op: record.OpUpdate, Type: o.Type, ID: have.ID, Ref: o.Ref, Parent: id, Fields: fields})
			}
		}
	}
	return out
}

// farEast is how far ahead of UTC the most easterly clocks are. Zuora's days are
// those of the tenant.
const farEast = 14 * time.Hour

// isAhead reports whether a payment's day has not begun anywhere on earth.
func isAhead(o record.Object, now time.Time) bool {
	day, ok := record.ParseDay(o.Fields["data.date"].String())
	return ok && day.After(now.Add(farEast))
}

// over reports whether a payment that Zuora does not know will not be made.
func (d horizon) over(o record.Object) bool {
	switch record.ScheduleState(o.Fields["status"].String()) {
	case record.SchedulePaid, record.SchedulePending, record.ScheduleUpcoming:
	default:
		return false
	}
	if kind := o.Fields["data.type"].String(); kind != "" && kind != "payment" {
		return false // a refund
	}
	day, ok := record.ParseDay(o.Fields["data.date"].String())
	return ok && (!day.After(d.through) || (!d.end.IsZero() && !day.Before(d.end)))
}
