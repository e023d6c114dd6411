package reconcile

import (
	"slices"
	"time"

	"hotsync/record"
)

// Diff implements Reconciler. Subscriptions that Limio lacks are imported
// first, and nothing else with them: an import makes Limio refresh the customer
// and its addresses by itself, so the rest is compared afterwards.
func (a *Accounts) Diff(w Want, h Have, now time.Time) []record.Write {
	var out []record.Write
	for _, o := range w.Objects {
		if o.Type == record.SubscriptionType && h.Subscriptions[o.Ref] == "" {
			out = append(out, record.Write{Op: record.OpImport, Type: o.Type, Ref: o.Ref, Fields: a.authority.Owned(o)})
		}
	}
	if len(out) > 0 || h.Customer == "" {
		return out
	}
	for _, o := range w.Objects {
		if o.Type == record.ScheduleType {
			continue
		}
		if write, differs := a.one(o, h); differs {
			out = append(out, write)
		}
	}
	out = append(out, a.surplus(w, h, now)...)
	return append(out, a.schedules(w, h, now)...)
}

// one compares a wanted object with the record that Limio has for it.
func (a *Accounts) one(o record.Object, h Have) (record.Write, bool) {
	have, found := match(o, h)
	switch {
	case found:
		fields := a.authority.Compare(o, have)
		return record.Write{Op: record.OpUpdate, Type: o.Type, ID: have.ID, Ref: o.Ref, Parent: have.Parent, Fields: fields}, len(fields) > 0
	case o.Type == record.SubscriptionType, o.Type == record.Customer:
		return record.Write{}, false // imported, never created
	case o.Type == record.PaymentMethodType && o.Fields["status"] != record.Text("active"):
		return record.Write{}, false // a closed method that Limio never had is of no use to anybody
	case o.Type == record.SubscriptionOffer:
		parent := h.Subscriptions[o.Parent]
		mine := a.cfg.CreateOffers || o.Fields["data.record_subtype"] == record.Text(subtypeAddOn)
		if parent == "" || (soldInLimio(parent, h) && !mine) {
			return record.Write{}, false
		}
		return record.Write{Op: record.OpCreate, Type: o.Type, Ref: o.Ref, Parent: parent, Fields: a.authority.Owned(o)}, true
	default:
		return record.Write{Op: record.OpCreate, Type: o.Type, Ref: o.Ref, Parent: h.Customer, Fields: a.authority.Owned(o)}, true
	}
}

// match finds the record for a wanted object. Of several addresses of a kind
// the one that started last is current (limio.md 2.5, 2.6).
func match(o record.Object, h Have) (record.Object, bool) {
	var best record.Object
	found := false
	for _, have := range h.Objects {
		if have.Type != o.Type {
			continue
		}
		switch o.Type {
		case record.Customer:
			if have.ID != h.Customer {
				continue
			}
		case record.SubscriptionOffer:
			if have.Ref != o.Ref || have.Parent != h.Subscriptions[o.Parent] {
				continue
			}
		case record.AddressType:
			if have.Ref != o.Ref || have.Parent != h.Customer {
				continue
			}
		default:
			if have.Ref != o.Ref {
				continue
			}
		}
		if !found || have.Fields["start"].String() > best.Fields["start"].String() {
			best, found = have, true
		}
	}
	return best, found
}

// soldInLimio reports whether a subscription holds offers that Limio sold.
// Those are Limio's: a sync cannot match them with rate plans (stripe-sync.txt
// and limio.md 4.1 say so), and a second set beside them would show double.
func soldInLimio(subscription string, h Have) bool {
	return slices.ContainsFunc(h.Objects, func(o record.Object) bool {
		return o.Type == record.SubscriptionOffer && o.Parent == subscription && o.Fields["data.external_id"].String() == ""
	})
}

// surplus ends what hotsync once made and Zuora no longer has: rate plans that
// were removed and payment methods that were deleted.
func (a *Accounts) surplus(w Want, h Have, now time.Time) []record.Write {
	var out []record.Write
	for _, have := range h.Objects {
		var change []record.FieldChange
		switch {
		case have.Ref == "" || slices.ContainsFunc(w.Objects, func(o record.Object) bool { return o.Type == have.Type && o.Ref == have.Ref }):
			continue
		case have.Type == record.SubscriptionOffer && have.Fields["status"].String() == "active" && follows(have.Parent, h):
			change = []record.FieldChange{
				{Field: "data.end", Before: have.Fields["data.end"], After: record.Day(now)},
				{Field: "status", Before: have.Fields["status"], After: record.Text("cancelled")},
			}
		case have.Type == record.PaymentMethodType && have.Fields["data.type"].String() == "zuora" && have.Fields["status"].String() == "active":
			change = []record.FieldChange{
				{Field: "data.isDefault", Before: have.Fields["data.isDefault"], After: record.Bool(false)},
				{Field: "status", Before: have.Fields["status"], After: record.Text("closed")},
			}
		default:
			continue
		}
		out = append(out, record.Write{Op: record.OpCancel, Type: have.Type, ID: have.ID, Ref: have.Ref, Parent: have.Parent, Fields: change})
	}
	return out
}

// follows reports whether a Limio id is one of the subscriptions being synced.
func follows(id string, h Have) bool {
	for _, known := range h.Subscriptions {
		if known == id {
			return true
		}
	}
	return false
}
