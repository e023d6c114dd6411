package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hotsync/record"
)

// ModeDelegate is the mode in which Limio is asked to make a record true by its
// own sync, instead of being written. The empty mode is write.
const ModeDelegate = "delegate"

// DelegateAuthority lists every field that Limio's own sync with a billing
// system is documented to bring up to date, and no other (limio.md 4.1; what
// the table there does not settle is assumption 5 of limio-assumptions.md). In
// delegate mode nothing else is compared: a field that Limio's sync leaves as it
// is would differ for ever, and asking again would not help.
//
//   - Zuora: no offers, no payment methods, no Salesforce identity. Auto-renewal
//     only where it is to be on: Limio takes Zuora's flag as it is, and that
//     stays on when a subscription is cancelled, which will not renew.
//   - Stripe: of payments no invoice id and no text, and only those that are paid,
//     upcoming, or cancelled ahead of their day (stripe-sync.txt): an invoice
//     that is open or voided is none of these. Of the card neither its id nor
//     its type.
func DelegateAuthority(system string) record.Authority {
	schedule := record.Authority{
		{Type: record.ScheduleType, Field: "status"},
		{Type: record.ScheduleType, Field: "data.date", Kind: record.Date},
		{Type: record.ScheduleType, Field: "data.schedule_date", Kind: record.Date},
		{Type: record.ScheduleType, Field: "data.amount", Kind: record.Amount},
		{Type: record.ScheduleType, Field: "data.currency"},
	}
	switch system {
	case "stripe":
		return append(schedule,
			record.Rule{Type: record.SubscriptionType, Field: "status"},
			record.Rule{Type: record.SubscriptionType, Field: "data.termStartDate", Kind: record.Date},
			record.Rule{Type: record.SubscriptionType, Field: "data.termEndDate", Kind: record.Date},
			record.Rule{Type: record.PaymentMethodType, Field: "data.stripe.result.brand"},
			record.Rule{Type: record.PaymentMethodType, Field: "data.stripe.result.last4"},
			record.Rule{Type: record.PaymentMethodType, Field: "data.stripe.result.exp_month"},
			record.Rule{Type: record.PaymentMethodType, Field: "data.stripe.result.exp_year"},
		)
	case "zuora":
		for _, r := range AccountAuthority() {
			if r.Type != record.SubscriptionOffer && r.Type != record.PaymentMethodType && r.Type != record.ScheduleType {
				schedule = append(schedule, r)
			}
		}
		return schedule
	}
	return nil
}

// In returns what a memory is worth in a mode ("" for write): what was found
// converged while something else was compared was not found converged.
func (m Memory) In(mode string) Memory {
	if m.Mode != mode {
		m.Mode, m.Converged, m.Mark, m.Skipped, m.Until = mode, "", "", time.Time{}, time.Time{}
	}
	return m
}

func (c Config) memoryMode() string {
	if c.Delegate {
		return ModeDelegate
	}
	return ""
}

// planned is what follows from a difference in the engine's mode.
func (s *sync) planned(writes []record.Write) delegation {
	if !s.cfg.Delegate {
		return delegation{asks: writes, wishes: writes}
	}
	return delegate(s.job.Key, s.want, s.have, writes, s.cfg.Now())
}

// delegation is what is sent to Limio, and what for: in write mode the same.
type delegation struct {
	// asks are the requests, one for each subscription at most.
	asks []record.Write
	// wishes are what the requests are for: the writes that they stand for, with
	// the operation delegate.
	wishes []record.Write
	// left is what no request would change.
	left []record.Write
}

// delegate turns writes into requests to Limio's own sync. It is pure. Imports
// are such requests already and stay what they are.
//
// What differs in a Zuora customer is asked for with a subscription that is
// asked for anyway, else with the first that is active: the sync of any one
// refreshes the customer (assumption 5). Without a subscription there is nobody
// to ask.
func delegate(key record.Key, w Want, h Have, writes []record.Write, now time.Time) delegation {
	d := delegation{}
	table := DelegateAuthority(key.System)
	var rest []record.Write // about the customer
	for _, write := range writes {
		if write.Op == record.OpImport {
			d.asks, d.wishes = append(d.asks, write), append(d.wishes, write)
			continue
		}
		if link, is := linkOf(write); is {
			// Without it Limio's sync would not know what to read.
			d.asks, d.wishes = append(d.asks, link), append(d.wishes, link)
		}
		wish, left := split(write, table, h, now)
		if len(left.Fields) > 0 {
			d.left = append(d.left, left)
		}
		switch ref := subscriptionOf(key, w, h, write); {
		case len(wish.Fields) == 0:
		case ref != "":
			d.ask(key, w, h, ref, wish)
		default:
			rest = append(rest, wish)
		}
	}
	with := carrier(w, h, d.asks)
	for _, wish := range rest {
		if with == "" {
			d.left = append(d.left, wish)
			continue
		}
		d.ask(key, w, h, with, wish)
	}
	return d
}

func (d *delegation) ask(key record.Key, w Want, h Have, ref string, wish record.Write) {
	d.wishes = append(d.wishes, wish)
	if slices.ContainsFunc(d.asks, func(a record.Write) bool { return a.Op != record.OpUpdate && a.Ref == ref }) {
		return
	}
	id := h.Subscriptions[ref]
	if key.System == "stripe" {
		id = w.Link
	}
	d.asks = append(d.asks, record.Write{Op: record.OpDelegate, Type: record.SubscriptionType, ID: id, Ref: ref, Via: key.System})
}

// note says what was left, "" for nothing.
func (d delegation) note() string {
	if len(d.left) == 0 {
		return ""
	}
	var types []string
	n := 0
	for _, w := range d.left {
		n += len(w.Fields)
		if !slices.Contains(types, string(w.Type)) {
			types = append(types, string(w.Type))
		}
	}
	slices.Sort(types)
	return fmt.Sprintf("%d fields differ that Limio's own sync does not see to (%s)", n, strings.Join(types, ", "))
}

// linkOf is the part of a write that links a Limio record to its Stripe
// subscription: it is written as ever.
func linkOf(w record.Write) (link record.Write, is bool) {
	for _, f := range w.Fields {
		if f.Field == linkField {
			link, is = w, true
			link.Fields = []record.FieldChange{f}
		}
	}
	return link, is
}

// split divides the fields of a write into those that Limio's sync covers and
// those that it leaves.
func split(w record.Write, table record.Authority, h Have, now time.Time) (wish, left record.Write) {
	wish, left = w, w
	wish.Op, wish.Fields, left.Fields = record.OpDelegate, nil, nil
	if !covered(w, h, now) {
		table = nil
	}
	for _, f := range w.Fields {
		if f.Field == linkField {
			continue
		}
		if f.Field == "data.attributes.autoRenew" && f.After == record.Bool(false) {
			left.Fields = append(left.Fields, f)
			continue
		}
		if slices.ContainsFunc(table, func(r record.Rule) bool { return r.Type == w.Type && r.Field == f.Field }) {
			wish.Fields = append(wish.Fields, f)
		} else {
			left.Fields = append(left.Fields, f)
		}
	}
	return wish, left
}

// covered reports whether Limio's sync sees to an object of this kind in the
// state it is to have, whatever the field.
func covered(w record.Write, h Have, now time.Time) bool {
	switch w.Type {
	case record.Identity:
		return strings.HasPrefix(w.Ref, "zuora/")
	case record.ScheduleType:
		to := first(h.Objects, func(o record.Object) bool { return w.ID != "" && o.ID == w.ID })
		fields := record.Fields{}
		maps.Copy(fields, to.Fields)
		for _, f := range w.Fields {
			fields[f.Field] = f.After
		}
		switch record.ScheduleState(fields["status"].String()) {
		case record.SchedulePaid, record.ScheduleUpcoming:
			return true
		case record.ScheduleCancelled:
			day, ok := record.ParseDay(fields["data.date"].String())
			return ok && day.After(now)
		}
		return false
	}
	return true
}

// subscriptionOf is the natural key of the subscription that a write is about,
// "" when it is about the customer.
func subscriptionOf(key record.Key, w Want, h Have, write record.Write) string {
	if key.System == "stripe" {
		return w.Label
	}
	if write.Type == record.SubscriptionType {
		return write.Ref
	}
	for number, id := range h.Subscriptions {
		if id == write.Parent {
			return number
		}
	}
	return ""
}

// carrier is the Zuora subscription with which the customer's differences are
// asked for, "" when Limio has none.
func carrier(w Want, h Have, asks []record.Write) string {
	if len(asks) > 0 {
		return asks[0].Ref
	}
	best := ""
	for _, o := range w.Objects {
		if o.Type != record.SubscriptionType || h.Subscriptions[o.Ref] == "" {
			continue
		}
		if o.Fields["status"] == record.Text(string(record.StatusActive)) {
			return o.Ref
		}
		if best == "" {
			best = o.Ref
		}
	}
	return best
}
