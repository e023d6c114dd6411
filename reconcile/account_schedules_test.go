package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hotsync/event"
	"hotsync/record"
)

// upcoming are payments of 42 euro on some days.
func upcoming(days ...string) []record.Schedule {
	out := []record.Schedule{}
	for _, day := range days {
		out = append(out, record.Schedule{State: record.ScheduleUpcoming, Date: date(day), Amount: record.Decimal("42", "EUR"), Description: "Monthly"})
	}
	return out
}

// scheduled is a world with the option on, an account in sync, and a way to
// change the payments of its first subscription.
func scheduled(t failer, payments []record.Schedule) *world {
	t.Helper()
	w := newWorld()
	w.cfg.Reconcilers["zuora:account"] = NewAccounts(w.zuora, w.limio, AccountsConfig{Schedules: true})
	w.payments(payments, nil)
	if _, err := w.try(w.trigger(accountKey, event.CauseLogin, "")); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) payments(payments []record.Schedule, change func(*record.Subscription)) {
	a := account()
	a.Subscriptions[0].Schedules = payments
	if change != nil {
		change(&a.Subscriptions[0])
	}
	w.zuora.accounts["2c92aa"] = a
	w.now, w.limio.writes = w.now.Add(time.Hour), nil
}

// entries are the payments that Limio has of a subscription, as day, amount and
// status.
func (w *world) entries(number string) []string {
	var out []string
	for _, o := range w.limio.objects {
		if o.Type != record.SubscriptionType || o.Ref != number {
			continue
		}
		for _, e := range w.limio.under(o.ID) {
			if e.Type == record.ScheduleType {
				out = append(out, e.Fields["data.date"].String()[:10]+" "+e.Fields["data.amount"].String()+" "+e.Fields["status"].String())
			}
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) entry(number, day, amount, status string) {
	for _, o := range w.limio.objects {
		if o.Type == record.SubscriptionType && o.Ref == number {
			w.limio.objects = append(w.limio.objects, record.Object{Type: record.ScheduleType, ID: w.limio.id("schedule"), Parent: o.ID, Fields: record.Fields{
				"status": record.Text(status), "data.type": record.Text("payment"), "data.date": record.Text(day + "T00:00:00.000"),
				"data.schedule_date": record.Text(day + "T00:00:00.000"), "data.amount": record.Text(amount), "data.currency": record.Text("EUR"),
				"data.description": record.Text("Limio's own words"),
			}})
			return
		}
	}
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestZuoraSchedules(t *testing.T) {
	w := scheduled(t, upcoming("2026-03-10", "2026-04-01", "2026-05-01", "2027-01-01"))
	// Neither what is due today nor what is not agreed yet.
	same(t, w.entries("A-S1"), "2026-04-01 42.00 pending-external", "2026-05-01 42.00 pending-external")

	// What moved is cancelled and made anew, what changed its amount is updated.
	more := upcoming("2026-04-01", "2026-05-03")
	more[0].Amount = record.Decimal("45", "EUR")
	w.payments(more, nil)
	ends(t, w.handle(t, w.trigger(accountKey, event.CauseLogin, "")), event.Applied, event.ReasonDriftRepaired)
	same(t, w.entries("A-S1"), "2026-04-01 45.00 pending-external", "2026-05-01 42.00 cancelled", "2026-05-03 42.00 pending-external")

	w.memory = map[record.Key]Memory{}
	ends(t, w.handle(t, w.trigger(accountKey, event.CauseLogin, "")), event.InSync, event.ReasonEqual)
}

func TestZuoraSchedulesLeaveAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		payments []record.Schedule
		change   func(*record.Subscription)
		entry    string // day and status of an entry that Limio has
		cancel   bool
	}{
		"history":                            {upcoming("2026-05-01"), nil, "2026-03-01 pending-external", false},
		"what may have been billed today":    {upcoming("2026-05-01"), nil, "2026-03-10 pending-external", false},
		"what is today further east":         {upcoming("2026-05-01"), nil, "2026-03-11 pending-external", false},
		"what no longer holds":               {upcoming("2026-05-01"), nil, "2026-04-01 pending-external", true},
		"Limio's own that no longer holds":   {upcoming("2026-05-01"), nil, "2026-04-01 active", true},
		"what was cancelled":                 {upcoming("2026-05-01"), nil, "2026-04-01 cancelled", false},
		"what lies beyond what is known":     {upcoming("2026-05-01"), nil, "2026-06-01 pending-external", false},
		"what is known not to be":            {upcoming("2026-05-01"), func(s *record.Subscription) { s.Through = date("2026-12-31") }, "2026-06-01 pending-external", true},
		"what lies beyond the term":          {upcoming("2026-05-01"), nil, "2027-01-01 pending-external", true},
		"when nothing is due":                {upcoming(), func(s *record.Subscription) { s.Through = date("2026-12-31") }, "2026-06-01 pending-external", true},
		"when payments are not read":         {nil, nil, "2026-04-01 pending-external", false},
		"when it is suspended":               {upcoming(), func(s *record.Subscription) { s.Status, s.Through = record.StatusLeave, date("2026-12-31") }, "2026-06-01 pending-external", false},
		"when it was cancelled":              {upcoming(), func(s *record.Subscription) { s.Status, s.TermEnd = record.StatusCancelled, date("2026-03-01") }, "2026-04-01 pending-external", true},
		"when it was cancelled, end unknown": {upcoming(), func(s *record.Subscription) { s.Status, s.TermEnd = record.StatusCancelled, time.Time{} }, "2026-04-01 pending-external", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := scheduled(t, nil)
			day, status, _ := strings.Cut(tt.entry, " ")
			w.entry("A-S1", day, "42.00", status)
			w.payments(tt.payments, tt.change)
			w.memory = map[record.Key]Memory{}
			w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
			if tt.cancel {
				status = "cancelled"
			}
			if got := w.entries("A-S1"); !slices.Contains(got, day+" 42.00 "+status) {
				t.Errorf("%q: want %s %s", got, day, status)
			}
		})
	}
}

// Limio's own entries keep their words and their status.
func TestZuoraSchedulesTakeLimiosOwn(t *testing.T) {
	w := scheduled(t, nil)
	w.entry("A-S1", "2026-04-01", "42.00", "active")
	w.payments(upcoming("2026-04-01"), nil)
	ends(t, w.handle(t, w.trigger(accountKey, event.CauseLogin, "")), event.InSync, event.ReasonEqual)
	same(t, w.entries("A-S1"), "2026-04-01 42.00 active")
}

// Without the option payments are nobody's business.
func TestZuoraSchedulesAreAnOption(t *testing.T) {
	w := newWorld()
	w.payments(upcoming("2026-04-01"), nil)
	w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	same(t, w.entries("A-S1"))
	for _, r := range NewAccounts(nil, nil, AccountsConfig{}).authority {
		if r.Type == record.ScheduleType {
			t.Errorf("%s is in the authority table", r.Field)
		}
	}
}

func TestZuoraSchedulesInDelegateMode(t *testing.T) {
	w := scheduled(t, upcoming("2026-04-01"))
	w.cfg.Delegate = true
	w.limio.sync = func(ask record.Write) {
		for _, o := range w.limio.under(ask.ID) {
			if o.Type == record.ScheduleType {
				w.limio.merge(o.ID, record.Fields{"status": record.Text("cancelled")})
			}
		}
		w.entry(ask.Ref, "2026-04-08", "42.00", "pending-external")
	}
	w.payments(upcoming("2026-04-08"), nil)
	v := w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
	ends(t, v, event.Applied, event.ReasonDriftRepaired)
	if len(w.limio.writes) != 1 || w.limio.writes[0].Ref != "A-S1" {
		t.Errorf("asked %+v", w.limio.writes)
	}
}

// Whatever Limio has: one look makes the payments ahead true, a second writes
// nothing, and what is not ahead stays as it was.
func TestZuoraSchedulesConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := scheduled(t, nil)
		for range rapid.IntRange(0, 6).Draw(t, "entries") {
			w.entry("A-S1", drawDay(t, "entry day").Format(time.DateOnly), fmt.Sprint(rapid.IntRange(1, 2).Draw(t, "amount"))+".00",
				string(rapid.SampledFrom(states).Draw(t, "status")))
		}
		past := func() (out []string) {
			for _, e := range w.entries("A-S1") {
				if e[:10] <= "2026-03-11" {
					out = append(out, e)
				}
			}
			return out
		}
		payments := upcoming()
		for range rapid.IntRange(0, 4).Draw(t, "payments") {
			payments = append(payments, record.Schedule{
				State: record.ScheduleUpcoming, Date: drawDay(t, "day"), Amount: record.Decimal(fmt.Sprint(rapid.IntRange(1, 2).Draw(t, "amount")), "EUR"),
			})
		}
		before := past()
		w.payments(payments, func(s *record.Subscription) {
			if rapid.Bool().Draw(t, "known") {
				s.Through = date("2026-12-31")
			}
		})
		for i := range 2 {
			w.memory, w.limio.writes = map[record.Key]Memory{}, nil
			v, err := w.try(w.trigger(accountKey, event.CauseLogin, ""))
			if err != nil || (v.Event.Outcome != event.Applied && v.Event.Outcome != event.InSync) || (i == 1 && len(w.limio.writes) > 0) {
				t.Fatalf("look %d: %s/%s %s, written %+v, %v", i, v.Event.Outcome, v.Event.Reason, v.Event.Note, w.limio.writes, err)
			}
		}
		if after := past(); !slices.Equal(before, after) {
			t.Fatalf("history was changed from %q to %q", before, after)
		}
	})
}

// Offers on a subscription that Limio sold are made only when that is asked for;
// add-ons when they are named.
func TestOffersThatAreCreatedOnlyWhenAskedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  AccountsConfig
		want string
	}{
		"by default":  {AccountsConfig{}, ""},
		"offers":      {AccountsConfig{CreateOffers: true}, "base"},
		"add-ons":     {AccountsConfig{AddOns: []string{"Digi*"}}, "add_on"},
		"other names": {AccountsConfig{AddOns: []string{"Print*"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
			for i, o := range w.limio.objects {
				if o.Type == record.SubscriptionOffer { // as sold by Limio
					delete(w.limio.objects[i].Fields, "data.external_id")
					w.limio.objects[i].Ref = ""
				}
			}
			w.cfg.Reconcilers["zuora:account"] = NewAccounts(w.zuora, w.limio, tt.cfg)
			w.memory, w.now = map[record.Key]Memory{}, w.now.Add(time.Hour)
			w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
			got := ""
			for _, o := range w.limio.objects {
				if o.Type == record.SubscriptionOffer && o.Fields["data.external_id"] != "" {
					got = o.Fields["data.record_subtype"].String()
				}
			}
			if got != tt.want || (len(tt.cfg.Warnings()) > 0) != (tt.cfg.CreateOffers || tt.cfg.AddOns != nil) {
				t.Errorf("made %q, want %q; warnings %q", got, tt.want, tt.cfg.Warnings())
			}
		})
	}
}
