package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// stripe is Stripe, as the subscription reconciler reads it.
type stripe interface {
	Subscription(ctx context.Context, id string) (record.Subscription, error)
}

// subscriptions is Limio, as the subscription reconciler reads it: a
// subscription with what belongs to it.
type subscriptions interface {
	Subscription(ctx context.Context, id string) ([]record.Object, error)
}

// StripeAuthority lists every field that the Stripe reconciler may touch.
// Addresses, names, e-mail addresses and offers are not among them
// (stripe-sync.txt).
func StripeAuthority() record.Authority {
	return record.Authority{
		{Type: record.SubscriptionType, Field: "status"},
		{Type: record.SubscriptionType, Field: "data.termStartDate", Kind: record.Date},
		{Type: record.SubscriptionType, Field: "data.termEndDate", Kind: record.Date},
		{Type: record.SubscriptionType, Field: linkField}, // of records that hotsync had Limio make

		{Type: record.ScheduleType, Field: "status"},
		{Type: record.ScheduleType, Field: "data.type"},
		{Type: record.ScheduleType, Field: "data.date", Kind: record.Date},
		{Type: record.ScheduleType, Field: "data.schedule_date", Kind: record.Date},
		{Type: record.ScheduleType, Field: "data.amount", Kind: record.Amount},
		{Type: record.ScheduleType, Field: "data.currency"},
		{Type: record.ScheduleType, Field: "data.description"},
		{Type: record.ScheduleType, Field: "data.external_id"},

		{Type: record.PaymentMethodType, Field: "data.type"},
		{Type: record.PaymentMethodType, Field: "data.stripe.result.id"},
		{Type: record.PaymentMethodType, Field: "data.stripe.result.brand"},
		{Type: record.PaymentMethodType, Field: "data.stripe.result.last4"},
		{Type: record.PaymentMethodType, Field: "data.stripe.result.exp_month"},
		{Type: record.PaymentMethodType, Field: "data.stripe.result.exp_year"},
	}
}

// Subscriptions makes Limio follow Stripe subscriptions (stripe-sync.txt).
type Subscriptions struct {
	stripe    stripe
	limio     subscriptions
	linkKeys  []string
	authority record.Authority
}

// NewSubscriptions returns the reconciler of stripe:subscription keys. linkKeys
// are the names under which Stripe's metadata carries the Limio id, the first
// that is present wins.
func NewSubscriptions(s stripe, l subscriptions, linkKeys []string) *Subscriptions {
	return &Subscriptions{stripe: s, limio: l, linkKeys: linkKeys, authority: StripeAuthority()}
}

// Want implements Reconciler.
func (s *Subscriptions) Want(ctx context.Context, r Request) (Want, error) {
	sub, err := s.stripe.Subscription(ctx, r.Key.ID)
	if fault.Of(err) == fault.NotFound {
		return Want{}, skip(event.ReasonUnknownSubscription, "Stripe has no subscription "+r.Key.ID+" any more")
	}
	if err != nil {
		return Want{}, fmt.Errorf("read subscription %s: %w", r.Key.ID, err)
	}
	link := r.Memory.Subscriptions[sub.ID]
	for _, k := range s.linkKeys {
		if id := sub.Metadata[k]; id != "" {
			link = id
			break
		}
	}
	link = cmp.Or(link, r.Limio)
	if link == "" {
		return Want{
			Label: sub.ID, Mark: sub.Mark, Related: []string{sub.Customer},
			Source: Source{Key: record.StripeSubscription(sub.ID), Metadata: sub.Metadata},
			Newcomer: &Newcomer{
				Subscription: sub,
				Note:         "no Limio subscription is linked to " + sub.ID + ": its metadata has none of " + fmt.Sprint(s.linkKeys),
			},
		}, nil
	}
	if sub.Status == record.StatusLeave {
		return Want{}, skipMarked(sub.Mark, event.ReasonNotStarted, "the subscription is "+sub.SourceStatus+"; nothing is billed yet")
	}
	w := wantStripe(sub, link)
	if c := r.Memory.Order; c != nil && c.Subscription == link {
		// hotsync had Limio make this record, so it sees to the link as well.
		w.Objects[0].Fields[linkField] = record.Text(sub.ID)
		w.Fingerprint = record.FingerprintOf(w.Objects)
	}
	return w, nil
}

// linkField is where Limio's record names its Stripe subscription (assumption
// 14).
const linkField = "data.stripe.subscription_id"

func wantStripe(sub record.Subscription, link string) Want {
	w := Want{
		Link: link, Label: sub.ID, Mark: sub.Mark, Related: []string{link, sub.Customer}, From: sub.TermStart,
		Source: Source{Key: record.StripeSubscription(sub.ID), Metadata: sub.Metadata},
	}
	w.Objects = append(w.Objects, record.Object{Type: record.SubscriptionType, Ref: sub.ID, Fields: record.Fields{
		"status":             record.Text(string(sub.Status)),
		"data.termStartDate": record.Instant(sub.TermStart),
		"data.termEndDate":   record.Day(sub.TermEnd),
	}})
	for _, p := range sub.Schedules {
		w.Objects = append(w.Objects, wantSchedule(sub.ID, p))
	}
	if m := sub.PaymentMethod; m != nil {
		w.Objects = append(w.Objects, record.Object{Type: record.PaymentMethodType, Ref: m.ID, Parent: sub.ID, Fields: record.Fields{
			"data.type":                    record.Text("stripe"),
			"data.stripe.result.id":        record.TextOrNull(m.ID),
			"data.stripe.result.brand":     record.TextOrNull(m.Brand),
			"data.stripe.result.last4":     record.TextOrNull(m.Last4),
			"data.stripe.result.exp_month": intOrNull(m.ExpMonth),
			"data.stripe.result.exp_year":  intOrNull(m.ExpYear),
		}})
	}
	w.Fingerprint = record.FingerprintOf(w.Objects)
	return w
}

func wantSchedule(sub string, p record.Schedule) record.Object {
	date := record.Text(p.Date.UTC().Format("2006-01-02T00:00:00.000"))
	f := record.Fields{
		"status": record.Text(string(p.State)), "data.type": record.Text("payment"),
		"data.date": date, "data.schedule_date": date,
		"data.amount": record.Text(p.Amount.Amount), "data.currency": record.Text(p.Amount.Currency),
	}
	ref := p.ID
	if p.ID == "" {
		ref = "upcoming"
	} else {
		f["data.external_id"] = record.Text(p.ID)
	}
	if p.Description != "" {
		f["data.description"] = record.Text(p.Description)
	}
	return record.Object{Type: record.ScheduleType, Ref: ref, Parent: sub, Fields: f}
}

// Have implements Reconciler.
func (s *Subscriptions) Have(ctx context.Context, w Want, _ Memory) (Have, error) {
	objects, err := s.limio.Subscription(ctx, w.Link)
	if fault.Of(err) == fault.NotFound {
		return Have{}, skip(event.ReasonUnknownSubscription, "Limio has no subscription "+w.Link+", to which "+w.Label+" is linked")
	}
	if err != nil {
		return Have{}, fmt.Errorf("read Limio subscription %s: %w", w.Link, err)
	}
	if other := linkedTo(objects, w.Link); other != "" && other != w.Label {
		return Have{}, skip(event.ReasonAmbiguousMatch, w.Label+" says that it belongs to "+w.Link+", which Limio says belongs to "+other+
			": two Stripe subscriptions would overwrite each other; correct the metadata of one")
	}
	return Have{
		Objects: objects, Subscriptions: map[string]string{w.Label: w.Link},
		Orders: ordersIn(objects), Updated: newest(objects),
	}, nil
}

// linkedTo is the Stripe subscription that Limio's record itself names, "" when
// it names none.
func linkedTo(objects []record.Object, id string) string {
	sub := first(objects, func(o record.Object) bool { return o.ID == id })
	return sub.Fields[linkField].String()
}

// Diff implements Reconciler.
func (s *Subscriptions) Diff(w Want, h Have, now time.Time) []record.Write {
	var out []record.Write
	for _, o := range w.Objects {
		switch o.Type {
		case record.SubscriptionType:
			have := first(h.Objects, func(x record.Object) bool { return x.Type == o.Type && x.ID == w.Link })
			out = s.update(out, o, have)
		case record.PaymentMethodType:
			have := currentStripeMethod(h)
			if have.ID == "" {
				out = append(out, record.Write{Op: record.OpCreate, Type: o.Type, Ref: o.Ref, Parent: w.Link, Fields: s.authority.Owned(o)})
				continue
			}
			out = s.update(out, o, have)
		}
	}
	return append(out, s.schedules(w, h, now)...)
}

func (s *Subscriptions) update(out []record.Write, want, have record.Object) []record.Write {
	fields := s.authority.Compare(want, have)
	if len(fields) == 0 {
		return out
	}
	return append(out, record.Write{Op: record.OpUpdate, Type: want.Type, ID: have.ID, Ref: want.Ref, Fields: fields})
}

// currentStripeMethod is the Stripe payment method that started last.
func currentStripeMethod(h Have) record.Object {
	var best record.Object
	for _, o := range h.Objects {
		if o.Type == record.PaymentMethodType && o.Fields["data.type"].String() == "stripe" &&
			(best.ID == "" || o.Fields["start"].String() > best.Fields["start"].String()) {
			best = o
		}
	}
	return best
}

func first(objects []record.Object, is func(record.Object) bool) record.Object {
	if i := slices.IndexFunc(objects, is); i >= 0 {
		return objects[i]
	}
	return record.Object{}
}
