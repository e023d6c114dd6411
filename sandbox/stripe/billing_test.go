package stripe_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/sandbox/stripe"
)

func TestNewSubscriptionIsPaidAtOnce(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	want := []string{"customer.created", "payment_method.attached", "customer.updated", "customer.subscription.created",
		"invoice.created", "invoice.finalized", "payment_intent.created", "charge.succeeded", "payment_intent.succeeded",
		"invoice.updated", "invoice.paid", "invoice.payment_succeeded"}
	if diff := cmp.Diff(want, types(w.take())); diff != "" {
		t.Error(diff)
	}
	inv := w.lastInvoice(sub.ID)
	if sub.Status != stripe.StatusActive || inv.Status != stripe.InvoicePaid || inv.AmountPaid != 999 ||
		inv.BillingReason != "subscription_create" || sub.LatestInvoice != inv.ID {
		t.Errorf("subscription %+v with invoice %+v", sub, inv)
	}
	if want := epoch.AddDate(0, 1, 0); !sub.CurrentPeriodEnd.Equal(want) || !inv.Lines[0].PeriodEnd.Equal(want) {
		t.Errorf("the period ends %v, the line %v, want %v", sub.CurrentPeriodEnd, inv.Lines[0].PeriodEnd, want)
	}
}

func TestRenewalWithDraftHour(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	w.take()
	end := sub.CurrentPeriodEnd

	w.at(end.Add(-time.Second))
	upcoming := w.take()
	if diff := cmp.Diff([]string{"invoice.upcoming"}, types(upcoming)); diff != "" {
		t.Fatal(diff)
	}
	if _, has := upcoming[0].Data.Object["id"]; has {
		t.Error("the upcoming invoice has an id")
	}
	if got := upcoming[0].Created; !got.Equal(end.Add(-7 * day)) {
		t.Errorf("invoice.upcoming is of %v, want a week before %v", got, end)
	}
	if upcoming[0].Data.Object["subscription"] != sub.ID {
		t.Errorf("invoice.upcoming points at %v", upcoming[0].Data.Object["subscription"])
	}

	w.at(end)
	rolled := w.take()
	if diff := cmp.Diff([]string{"customer.subscription.updated", "invoice.created"}, types(rolled)); diff != "" {
		t.Fatal(diff)
	}
	wantPrev := map[string]any{"current_period_start": float64(epoch.Unix()), "current_period_end": float64(end.Unix()),
		"latest_invoice": sub.LatestInvoice}
	if diff := cmp.Diff(wantPrev, rolled[0].Data.Previous); diff != "" {
		t.Errorf("previous_attributes of the roll: %s", diff)
	}
	for _, e := range rolled {
		if e.Request.ID != nil || e.Request.Key != nil {
			t.Errorf("%s says a request caused it", e.Type)
		}
	}
	draft := w.lastInvoice(sub.ID)
	if draft.Status != stripe.InvoiceDraft || draft.BillingReason != "subscription_cycle" || draft.Number != "" ||
		!draft.PeriodStart.Equal(epoch) || !draft.PeriodEnd.Equal(end) || !draft.Lines[0].PeriodStart.Equal(end) {
		t.Errorf("draft %+v", draft)
	}

	w.at(end.Add(time.Hour - time.Second))
	if got := types(w.take()); len(got) != 0 {
		t.Errorf("within the draft hour: %v", got)
	}
	w.at(end.Add(time.Hour))
	paid := w.take()
	want := []string{"invoice.finalized", "payment_intent.created", "charge.succeeded", "payment_intent.succeeded",
		"invoice.updated", "invoice.paid", "invoice.payment_succeeded"}
	if diff := cmp.Diff(want, types(paid)); diff != "" {
		t.Error(diff)
	}
	if burst := len(rolled) + len(paid); burst < 9 {
		t.Errorf("a renewal makes %d events, want at least 9", burst)
	}
	if inv := w.lastInvoice(sub.ID); inv.Status != stripe.InvoicePaid || !inv.PaidAt.Equal(end.Add(time.Hour)) || inv.Number == "" {
		t.Errorf("paid invoice %+v", inv)
	}
}

func TestLongJumpKeepsDates(t *testing.T) {
	w := newWorld(t)
	w.at(time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC))
	sub := w.subscribe()
	w.at(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	var got []string
	for _, inv := range w.Invoices(sub.ID) {
		if inv.Status != stripe.InvoicePaid {
			t.Errorf("invoice of %v is %s", inv.Created, inv.Status)
		}
		got = append(got, inv.Created.Format(time.DateOnly))
	}
	want := []string{"2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31", "2026-06-30"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTrial(t *testing.T) {
	trial := func(t *testing.T, behavior string, card bool) (*world, stripe.Subscription) {
		w := newWorld(t)
		c, err := w.AddCustomer(stripe.CustomerParams{})
		w.ok(err)
		if card {
			_, err = w.AddPaymentMethod(stripe.PaymentMethodParams{Customer: c.ID, Default: true})
			w.ok(err)
		}
		sub, err := w.AddSubscription(stripe.SubscriptionParams{Customer: c.ID, TrialEnd: epoch.Add(14 * day),
			MissingPaymentMethod: behavior, Item: stripe.ItemParams{Amount: 500}})
		w.ok(err)
		w.take()
		return w, sub
	}
	t.Run("converts", func(t *testing.T) {
		w, sub := trial(t, "", true)
		if first := w.lastInvoice(sub.ID); sub.Status != stripe.StatusTrialing || first.Total != 0 || first.Status != stripe.InvoicePaid {
			t.Errorf("trial %+v with invoice %+v", sub, first)
		}
		w.at(sub.TrialEnd.Add(time.Hour))
		events := w.take()
		if e := only(t, events, "customer.subscription.trial_will_end"); !e.Created.Equal(sub.TrialEnd.Add(-3 * day)) {
			t.Errorf("trial_will_end is of %v", e.Created)
		}
		if e := only(t, events, "customer.subscription.updated"); e.Data.Previous["status"] != "trialing" {
			t.Errorf("previous attributes %v", e.Data.Previous)
		}
		if now := w.sub(sub.ID); now.Status != stripe.StatusActive || w.lastInvoice(sub.ID).AmountPaid != 500 {
			t.Errorf("after the trial: %+v", now)
		}
	})
	t.Run("pauses without a card and resumes with one", func(t *testing.T) {
		w, sub := trial(t, "pause", false)
		w.at(sub.TrialEnd)
		only(t, w.take(), "customer.subscription.paused")
		if _, due := w.Upcoming(sub.ID); due || w.sub(sub.ID).Status != stripe.StatusPaused {
			t.Errorf("paused: %+v, upcoming %v", w.sub(sub.ID), due)
		}
		_, err := w.AddPaymentMethod(stripe.PaymentMethodParams{Customer: sub.Customer, Default: true})
		w.ok(err)
		w.ok(w.Resume(sub.ID, stripe.ByRequest("")))
		only(t, w.take(), "customer.subscription.resumed")
		if now := w.sub(sub.ID); now.Status != stripe.StatusActive || w.lastInvoice(sub.ID).Status != stripe.InvoicePaid {
			t.Errorf("resumed: %+v", now)
		}
	})
	t.Run("ends without a card", func(t *testing.T) {
		w, sub := trial(t, "cancel", false)
		w.at(sub.TrialEnd)
		only(t, w.take(), "customer.subscription.deleted")
	})
}

func TestDunning(t *testing.T) {
	for _, tc := range []struct {
		end  stripe.DunningEnd
		want string
	}{
		{stripe.DunningCancel, stripe.StatusCanceled}, {stripe.DunningUnpaid, stripe.StatusUnpaid},
		{stripe.DunningPastDue, stripe.StatusPastDue},
	} {
		t.Run(string(tc.end), func(t *testing.T) {
			w := newWorld(t, func(c *stripe.Config) { c.DunningEnd, c.DunningDays = tc.end, []int{1, 2} })
			sub := w.subscribe()
			w.ok(w.FailPayments(sub.ID, true))
			w.take()
			fail := sub.CurrentPeriodEnd.Add(time.Hour)
			w.at(fail)
			want := []string{"invoice.upcoming", "customer.subscription.updated", "invoice.created", "invoice.finalized",
				"payment_intent.created", "charge.failed", "payment_intent.payment_failed", "invoice.updated",
				"invoice.payment_failed", "customer.subscription.updated", "customer.updated"}
			if diff := cmp.Diff(want, types(w.take())); diff != "" {
				t.Fatal(diff)
			}
			if got := w.sub(sub.ID).Status; got != stripe.StatusPastDue {
				t.Fatalf("after the first failure it is %s", got)
			}
			if inv := w.lastInvoice(sub.ID); !inv.NextPaymentAttempt.Equal(fail.Add(day)) || inv.AttemptCount != 1 {
				t.Errorf("after the first failure: %+v", inv)
			}
			w.at(fail.Add(3 * day))
			inv := w.lastInvoice(sub.ID)
			if inv.AttemptCount != 3 || !inv.NextPaymentAttempt.IsZero() || inv.Status != stripe.InvoiceOpen {
				t.Errorf("after the last retry: %+v", inv)
			}
			now := w.sub(sub.ID)
			if now.Status != tc.want {
				t.Errorf("dunning ended in %s, want %s", now.Status, tc.want)
			}
			if tc.end == stripe.DunningCancel {
				e := only(t, w.take(), "customer.subscription.deleted")
				if !now.EndedAt.Equal(fail.Add(3*day)) || now.CancellationReason != "payment_failed" || e.Data.Object["status"] != "canceled" {
					t.Errorf("ended: %+v", now)
				}
				return
			}
			if tc.end == stripe.DunningUnpaid {
				w.at(now.CurrentPeriodEnd.Add(2 * day))
				if draft := w.lastInvoice(sub.ID); draft.Status != stripe.InvoiceDraft || draft.AutoAdvance {
					t.Errorf("an unpaid subscription's next invoice: %+v", draft)
				}
			}
		})
	}
}

func TestRecovery(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	w.ok(w.FailPayments(sub.ID, true))
	w.at(sub.CurrentPeriodEnd.Add(time.Hour))
	w.take()
	w.ok(w.FailPayments(sub.ID, false))
	w.at(sub.CurrentPeriodEnd.Add(time.Hour + 3*day))
	events := w.take()
	if e := only(t, events, "customer.subscription.updated"); !cmp.Equal(e.Data.Previous, map[string]any{"status": "past_due"}) {
		t.Errorf("previous attributes %v", e.Data.Previous)
	}
	if e := only(t, events, "customer.updated"); e.Data.Previous["delinquent"] != true {
		t.Errorf("previous attributes %v", e.Data.Previous)
	}
	if slices.Contains(types(events), "payment_intent.created") {
		t.Error("a retry made a second payment intent")
	}
	if got := w.sub(sub.ID).Status; got != stripe.StatusActive {
		t.Errorf("it is %s", got)
	}
}

func TestIncomplete(t *testing.T) {
	start := func(t *testing.T) (*world, stripe.Subscription) {
		w := newWorld(t)
		sub := w.subscribe(func(p *stripe.SubscriptionParams) { p.FailFrom = epoch })
		if sub.Status != stripe.StatusIncomplete {
			t.Fatalf("it is %s", sub.Status)
		}
		w.take()
		return w, sub
	}
	t.Run("expires", func(t *testing.T) {
		w, sub := start(t)
		w.at(epoch.Add(23 * time.Hour))
		if diff := cmp.Diff([]string{"invoice.voided", "customer.subscription.updated"}, types(w.take())); diff != "" {
			t.Error(diff)
		}
		if got := w.sub(sub.ID).Status; got != stripe.StatusIncompleteExpired {
			t.Errorf("it is %s", got)
		}
	})
	t.Run("is paid", func(t *testing.T) {
		w, sub := start(t)
		w.ok(w.FailPayments(sub.ID, false))
		w.ok(w.PayInvoice(sub.LatestInvoice, false, stripe.ByRequest("k")))
		if got := w.sub(sub.ID).Status; got != stripe.StatusActive {
			t.Errorf("it is %s", got)
		}
	})
}

func TestEnds(t *testing.T) {
	t.Run("at the period's end", func(t *testing.T) {
		w := newWorld(t)
		sub := w.subscribe()
		w.take()
		w.ok(w.CancelAtPeriodEnd(sub.ID, true, stripe.ByRequest("limio-1")))
		events := w.take()
		if e := only(t, events, "customer.subscription.updated"); e.Request.ID == nil || *e.Request.Key != "limio-1" {
			t.Errorf("request %+v", e.Request)
		}
		if now := w.sub(sub.ID); !now.CancelAt.Equal(sub.CurrentPeriodEnd) || !now.CanceledAt.Equal(epoch) || now.Status != stripe.StatusActive {
			t.Errorf("ending: %+v", now)
		}
		if _, due := w.Upcoming(sub.ID); due {
			t.Error("an ending subscription has an upcoming invoice")
		}
		w.at(sub.CurrentPeriodEnd.Add(day))
		if diff := cmp.Diff([]string{"customer.subscription.deleted"}, types(w.take())); diff != "" {
			t.Error(diff)
		}
		now := w.sub(sub.ID)
		if !now.EndedAt.Equal(sub.CurrentPeriodEnd) || !now.CanceledAt.Equal(epoch) || len(w.Invoices(sub.ID)) != 1 {
			t.Errorf("ended: %+v", now)
		}
		if err := w.SetMetadata(sub.ID, nil, stripe.ByStripe()); err == nil {
			t.Error("an ended subscription could be changed")
		}
	})
	t.Run("or stays after all", func(t *testing.T) {
		w := newWorld(t)
		sub := w.subscribe()
		w.ok(w.CancelAtPeriodEnd(sub.ID, true, stripe.ByRequest("")))
		w.ok(w.CancelAtPeriodEnd(sub.ID, false, stripe.ByRequest("")))
		w.at(sub.CurrentPeriodEnd.Add(day))
		if now := w.sub(sub.ID); now.Status != stripe.StatusActive || !now.CanceledAt.IsZero() {
			t.Errorf("%+v", now)
		}
	})
	t.Run("on a date", func(t *testing.T) {
		w := newWorld(t)
		sub := w.subscribe()
		w.ok(w.CancelAt(sub.ID, epoch.Add(10*day), stripe.ByRequest("")))
		w.at(epoch.Add(11 * day))
		if now := w.sub(sub.ID); !now.EndedAt.Equal(epoch.Add(10*day)) || now.Status != stripe.StatusCanceled {
			t.Errorf("%+v", now)
		}
	})
	t.Run("now, in the draft hour", func(t *testing.T) {
		w := newWorld(t)
		sub := w.subscribe()
		w.at(sub.CurrentPeriodEnd)
		w.ok(w.CancelNow(sub.ID, stripe.ByRequest("")))
		w.at(sub.CurrentPeriodEnd.Add(2 * time.Hour))
		if inv := w.lastInvoice(sub.ID); inv.Status != stripe.InvoiceDraft || inv.AutoAdvance {
			t.Errorf("the draft was collected after the end: %+v", inv)
		}
	})
}

func TestPauseCollection(t *testing.T) {
	for behavior, want := range map[string]string{"keep_as_draft": stripe.InvoiceDraft, "void": stripe.InvoiceVoid,
		"mark_uncollectible": stripe.InvoiceUncollectible} {
		t.Run(behavior, func(t *testing.T) {
			w := newWorld(t)
			sub := w.subscribe()
			w.ok(w.PauseCollection(sub.ID, behavior, sub.CurrentPeriodEnd.Add(day), stripe.ByRequest("")))
			w.at(sub.CurrentPeriodEnd.Add(2 * time.Hour))
			if now, inv := w.sub(sub.ID), w.lastInvoice(sub.ID); now.Status != stripe.StatusActive || inv.Status != want {
				t.Errorf("paused: %s with invoice %s, want active with %s", now.Status, inv.Status, want)
			}
			w.at(sub.CurrentPeriodEnd.AddDate(0, 1, 0).Add(time.Hour))
			if now, inv := w.sub(sub.ID), w.lastInvoice(sub.ID); now.Pause != nil || inv.Status != stripe.InvoicePaid {
				t.Errorf("resumed: %+v with invoice %s", now.Pause, inv.Status)
			}
		})
	}
}

func TestChangePlan(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	w.take()
	w.ok(w.ChangePlan(sub.ID, stripe.ItemParams{Product: "Print", Amount: 1999}, stripe.ByRequest("")))
	e := only(t, w.take(), "customer.subscription.updated")
	if _, ok := e.Data.Previous["items"]; !ok || len(e.Data.Previous) != 1 {
		t.Errorf("previous attributes %v", e.Data.Previous)
	}
	if up, _ := w.Upcoming(sub.ID); up.Total != 1999 {
		t.Errorf("the upcoming invoice is of %d", up.Total)
	}
	w.at(epoch.Add(5 * day))
	w.ok(w.ChangePlan(sub.ID, stripe.ItemParams{Amount: 20000, Interval: "year"}, stripe.ByRequest("")))
	now, inv := w.sub(sub.ID), w.lastInvoice(sub.ID)
	if inv.BillingReason != "subscription_update" || inv.AmountPaid != 20000 || !now.CurrentPeriodEnd.Equal(epoch.Add(5*day).AddDate(1, 0, 0)) {
		t.Errorf("a change of interval: %+v with %+v", now, inv)
	}
	if err := w.ChangePlan(sub.ID, stripe.ItemParams{Amount: 1, Currency: "usd"}, stripe.ByStripe()); err == nil {
		t.Error("the currency could change")
	}
}

func TestSendInvoice(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe(func(p *stripe.SubscriptionParams) { p.CollectionMethod, p.DaysUntilDue = stripe.SendInvoice, 10 })
	if inv := w.lastInvoice(sub.ID); inv.Status != stripe.InvoiceOpen || !inv.DueDate.Equal(epoch.Add(10*day)) {
		t.Fatalf("%+v", inv)
	}
	w.at(epoch.Add(11 * day))
	if got := w.sub(sub.ID).Status; got != stripe.StatusPastDue {
		t.Errorf("after the due date it is %s", got)
	}
	w.take()
	w.ok(w.PayInvoice(sub.LatestInvoice, true, stripe.ByRequest("")))
	if diff := cmp.Diff([]string{"invoice.updated", "invoice.paid", "customer.subscription.updated"}, types(w.take())); diff != "" {
		t.Error(diff)
	}
	if inv := w.lastInvoice(sub.ID); !inv.PaidOutOfBand || w.sub(sub.ID).Status != stripe.StatusActive {
		t.Errorf("%+v", inv)
	}
}

func TestRenewNow(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	w.at(epoch.Add(5 * day))
	w.take()
	w.ok(w.RenewNow(sub.ID, true))
	events := w.take()
	if len(events) < 9 {
		t.Errorf("%d events: %v", len(events), types(events))
	}
	now := epoch.Add(5 * day)
	if first, last := events[0].Created, events[len(events)-1].Created; !first.Equal(now.Add(-time.Hour)) || !last.Equal(now) {
		t.Errorf("the events run from %v to %v", first, last)
	}
	got := w.sub(sub.ID)
	if want := now.Add(-time.Hour); !got.CurrentPeriodStart.Equal(want) || !got.CurrentPeriodEnd.Equal(want.AddDate(0, 1, 0)) {
		t.Errorf("renewed: %+v", got)
	}
	for range 3 {
		w.ok(w.RenewNow(sub.ID, false))
	}
	if got := w.sub(sub.ID); got.Status != stripe.StatusPastDue || len(w.Invoices(sub.ID)) != 5 {
		t.Errorf("after failed renewals: %s with %d invoices", got.Status, len(w.Invoices(sub.ID)))
	}
	w.ok(w.CancelAtPeriodEnd(sub.ID, true, stripe.ByRequest("")))
	if err := w.RenewNow(sub.ID, true); err == nil {
		t.Error("an ending subscription was renewed")
	}
}

func TestHistory(t *testing.T) {
	w := newWorld(t)
	w.SetQuiet(true)
	sub := w.subscribe(func(p *stripe.SubscriptionParams) {
		p.Start, p.FailFrom = epoch.AddDate(-1, 0, -2), epoch.AddDate(0, 0, -3)
	})
	w.SetQuiet(false)
	if got := len(w.TakeEvents()); got != 0 {
		t.Errorf("a quiet world made %d events", got)
	}
	all := w.Invoices(sub.ID)
	if len(all) != 13 || all[11].Status != stripe.InvoicePaid || all[12].Status != stripe.InvoiceOpen || sub.Status != stripe.StatusPastDue {
		t.Errorf("%d invoices, the last %s; it is %s", len(all), all[len(all)-1].Status, sub.Status)
	}
}
