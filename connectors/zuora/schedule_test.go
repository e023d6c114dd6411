package zuora_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/connectors/zuora"
	"hotsync/internal/fault"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	sim "hotsync/sandbox/zuora"
)

func withSchedules(c *zuora.Config) { c.Schedules = true }

// schedules reads the account and returns the lines of each subscription.
func (w *world) schedules(account string) map[string][]string {
	w.Helper()
	acc, err := w.Client.Account(w.Context(), account)
	class(w.T, err, "")
	out := map[string][]string{}
	for _, s := range acc.Subscriptions {
		var lines []string
		if s.Schedules != nil {
			lines = []string{}
		}
		for _, p := range s.Schedules {
			if p.ID != "" || p.State != record.ScheduleUpcoming {
				w.Errorf("%s: %+v is not upcoming", s.ID, p)
			}
			lines = append(lines, fmt.Sprintf("%s %s %s %s", p.Date.Format(time.DateOnly), p.Amount.Amount, p.Amount.Currency, p.Description))
		}
		out[s.ID] = lines
	}
	return out
}

func (w *world) sell(number string, change func(*sim.Subscription), charges ...sim.Charge) {
	w.Helper()
	s := sim.Subscription{AccountID: "acc", Number: number, StartDate: "2026-01-01", AutoRenew: true,
		RatePlans: []sim.RatePlan{{ProductName: "Digital", ProductRatePlanID: "prp1", Charges: charges}}}
	if change != nil {
		change(&s)
	}
	must(w.T)(w.AddSubscription(s, sim.Order{}))
}

func TestSchedules(t *testing.T) {
	w := newWorld(t, sim.Config{}, withSchedules)
	w.account("acc", "auth0|77")
	w.sell("A-S1", nil, // to the term's end, although it renews
		sim.Charge{Number: "C-9", Name: "Fee", Price: 999, TaxPercent: 19, BillingPeriod: "Quarter", ChargedThroughDate: "2026-04-01"},
		sim.Charge{Number: "C-10", Name: "Print", Price: 500, Quantity: 2, Model: "PerUnit", BillingPeriod: "Semi_Annual", ChargedThroughDate: "2026-07-01"},
		sim.Charge{Number: "C-11", Name: "Gift", Price: 0, BillingPeriod: "Quarter", ChargedThroughDate: "2026-04-01"},
		sim.Charge{Number: "C-12", Name: "Rebate", Price: -100, BillingPeriod: "Quarter", ChargedThroughDate: "2026-10-01"})
	w.sell("A-S2", func(s *sim.Subscription) { s.TermType, s.Currency = sim.Evergreen, "JPY" },
		sim.Charge{Name: "Monthly", Price: 980, ChargedThroughDate: "2026-04-01"})
	w.sell("A-S3", nil, sim.Charge{Name: "Free", Price: 0, ChargedThroughDate: "2026-04-01"})
	w.sell("A-S4", nil, sim.Charge{Name: "Fee", Price: 3100, ChargedThroughDate: "2026-04-01"})
	must(t)(w.CancelSubscription("A-S4", "2026-05-16", sim.Order{})) // half of May
	w.sell("A-S5", nil, sim.Charge{Name: "Fee", Price: 100, ChargedThroughDate: "2026-04-01"})
	must(t)(w.CancelSubscription("A-S5", "2026-03-01", sim.Order{}))
	w.sell("A-S6", func(s *sim.Subscription) { s.Status = sim.StatusSuspended }, sim.Charge{Price: 100})
	w.sell("A-S7", nil, sim.Charge{Name: "Fee", Price: 100, BillingPeriod: "Quarter", ChargedThroughDate: "2026-10-01"},
		sim.Charge{Name: "Rebate", Price: -100, BillingPeriod: "Quarter", ChargedThroughDate: "2026-10-01"})

	var evergreen []string
	for i := range 12 {
		evergreen = append(evergreen, time.Date(2026, time.Month(4+i), 1, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)+" 980 JPY Monthly")
	}
	w.ResetCalls()
	want := map[string][]string{
		"A-S1": {"2026-04-01 11.89 EUR Fee", "2026-07-01 21.89 EUR Fee, Print", "2026-10-01 10.89 EUR Fee"},
		"A-S2": evergreen,
		"A-S3": {}, "A-S5": {}, "A-S6": nil, "A-S7": {}, // a suspended one may go on
		"A-S4": {"2026-04-01 31.00 EUR Fee", "2026-05-01 15.00 EUR Fee"},
	}
	if diff := cmp.Diff(want, w.schedules("acc")); diff != "" {
		t.Errorf("schedules (-want +got):\n%s", diff)
	}
	w.calls(map[string]int{callAccount: 1, callSubs: 1, callOfPreview: 1})
	by, err := w.AccountBy(t.Context(), field, "auth0|77")
	class(t, err, "")
	acc, err := w.Client.Account(t.Context(), "acc")
	class(t, err, "")
	if diff := cmp.Diff(acc, by); diff != "" {
		t.Errorf("Account and AccountBy differ:\n%s", diff)
	}
}

func TestSchedulesOff(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	w.subscribe("acc", 1)
	got, err := w.Client.Account(t.Context(), "acc")
	class(t, err, "")
	if got.Subscriptions[0].Schedules != nil {
		t.Errorf("schedules %v without being asked", got.Subscriptions[0].Schedules)
	}
	w.calls(map[string]int{callAccount: 1, callSubs: 1})
}

func TestNothingDueCostsNoCall(t *testing.T) {
	w := newWorld(t, sim.Config{}, withSchedules)
	w.account("acc", "")
	w.account("empty", "")
	w.sell("A-S1", nil, sim.Charge{Price: 100})
	must(t)(w.CancelSubscription("A-S1", "2026-03-01", sim.Order{}))
	w.sell("A-S2", func(s *sim.Subscription) { s.Status = sim.StatusDraft }, sim.Charge{Price: 100})
	w.sell("A-S3", func(s *sim.Subscription) { s.StartDate, s.AutoRenew = "2024-01-01", false }, sim.Charge{Price: 100})
	w.sell("A-S4", func(s *sim.Subscription) { s.Status = sim.StatusPendingActivation }, sim.Charge{Price: 100})
	want := map[string][]string{"A-S1": {}, "A-S2": nil, "A-S3": {}, "A-S4": nil}
	if diff := cmp.Diff(want, w.schedules("acc")); diff != "" {
		t.Errorf("schedules (-want +got):\n%s", diff)
	}
	w.schedules("empty")
	w.calls(map[string]int{callAccount: 2, callSubs: 2})
}

// TestHorizon: what is shown ends with a month, and Until is the start of the
// next one where there is more to show by then.
func TestHorizon(t *testing.T) {
	for _, tt := range []struct {
		name, start          string
		months               int
		period               string
		want, until, through string
	}{
		{"beyond the term", "2026-03-01", 12, "Month", "11: 2026-04-01 to 2027-02-01", "2027-03-01", "2027-03-01"},
		{"within the term", "2026-03-01", 3, "Month", "3: 2026-04-01 to 2026-06-01", "2026-04-01", "2026-06-30"},
		{"one month", "2026-03-31", 1, "Month", "2: 2026-03-31 to 2026-04-30", "2026-04-01", "2026-04-30"},
		{"evergreen", "2026-03-01", 12, "Month", "12: 2026-04-01 to 2027-03-01", "", "2027-03-01"},
		{"evergreen, further", "2026-03-01", 24, "Month", "12: 2026-04-01 to 2027-03-01", "", "2027-03-01"},
		{"evergreen, quarters", "2026-03-01", 12, "Quarter", "4: 2026-06-01 to 2027-03-01", "2026-04-01", "2027-03-31"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, sim.Config{}, func(c *zuora.Config) { c.Schedules, c.Horizon = true, tt.months })
			w.account("acc", "")
			w.sell("A-S1", func(s *sim.Subscription) {
				s.StartDate = sim.Date(tt.start)
				if strings.HasPrefix(tt.name, "evergreen") {
					s.TermType = sim.Evergreen
				}
			}, sim.Charge{Price: 100, BillingPeriod: tt.period})
			must(t)(w.Bill("acc", "2026-03-10"))
			acc, err := w.Client.Account(t.Context(), "acc")
			class(t, err, "")
			s := acc.Subscriptions[0].Schedules
			got := fmt.Sprintf("%d: %s to %s", len(s), s[0].Date.Format(time.DateOnly), s[len(s)-1].Date.Format(time.DateOnly))
			until := ""
			if !acc.Until.IsZero() {
				until = acc.Until.Format(time.DateOnly)
			}
			through := acc.Subscriptions[0].Through.Format(time.DateOnly)
			if got != tt.want || until != tt.until || through != tt.through {
				t.Errorf("%s until %q through %s, want %s until %q through %s", got, until, through, tt.want, tt.until, tt.through)
			}
		})
	}
}

// TestBilledShows: a bill run changes the schedules, and so the mark.
func TestBilledShows(t *testing.T) {
	w := newWorld(t, sim.Config{}, withSchedules)
	w.account("acc", "")
	w.sell("A-S1", nil, sim.Charge{Name: "Fee", Price: 100})
	first, mark := w.schedules("acc")["A-S1"], w.listedMarks()["acc"]
	must(t)(w.Bill("acc", "2026-03-10"))
	second := w.schedules("acc")["A-S1"]
	if len(first) != 12 || len(second) != 9 || w.listedMarks()["acc"] == mark {
		t.Errorf("%d payments, then %d", len(first), len(second))
	}
}

func TestPreviewFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		fault httpsim.Fault
		want  fault.Class
	}{
		"lost":        {httpsim.Fault{DropAfter: true}, fault.Unavailable}, // it writes nothing, so it can be made again
		"timeout":     {httpsim.Fault{Code: "timeout"}, fault.Unavailable},
		"limit":       {httpsim.Fault{Code: "rate_limit"}, fault.RateLimited},
		"refused":     {httpsim.Fault{Status: 200, Body: `{"success":false,"reasons":[{"code":58400030,"message":"no"}]}`}, fault.Refused},
		"no answer":   {httpsim.Fault{Status: 200, Body: `{}`}, fault.Unavailable},
		"no day":      {httpsim.Fault{Status: 200, Body: `{"success":true,"invoiceItems":[{"subscriptionNumber":"A-S1","chargeAmount":1}]}`}, fault.Unavailable},
		"no number":   {httpsim.Fault{Status: 200, Body: `{"success":true,"invoiceItems":[{"serviceStartDate":"2026-04-01","chargeAmount":1e99}]}`}, fault.Unavailable},
		"nothing due": {httpsim.Fault{Status: 200, Body: `{"success":true}`}, ""},
		"text": {httpsim.Fault{Status: 200, Body: `{"success":true,"invoiceItems":[
			{"subscriptionName":"A-S1","serviceStartDate":"2026-04-01","chargeAmount":"1.5","taxAmount":null}]}`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sim.Config{}, withSchedules)
			w.account("acc", "")
			w.sell("A-S1", nil, sim.Charge{Price: 100})
			tt.fault.Route = callOfPreview
			w.Inject(tt.fault)
			got, err := w.Client.Account(t.Context(), "acc")
			class(t, err, tt.want)
			if name == "text" && (len(got.Subscriptions[0].Schedules) != 1 || got.Subscriptions[0].Schedules[0].Amount.Amount != "1.50") {
				t.Errorf("%+v", got.Subscriptions)
			}
		})
	}
}
