package zuora_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"hotsync/connectors/zuora"
	"hotsync/internal/secret"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	sim "hotsync/sandbox/zuora"
)

// listedMarks reads all pages of accounts.
func (w *world) listedMarks() map[string]record.Mark {
	w.Helper()
	out := map[string]record.Mark{}
	for cursor := ""; ; {
		page, err := w.Client.Accounts(w.Context(), cursor)
		class(w.T, err, "")
		for _, g := range page.Glimpses {
			out[g.Key.ID] = g.Mark
		}
		if cursor = page.Next; cursor == "" || err != nil {
			return out
		}
	}
}

// hardCases fills a tenant with one account for each thing that makes reading
// an account hard, and returns their ids.
func (w *world) hardCases() (ids []string) {
	w.Helper()
	ok := must(w.T)
	add := func(id string, change func(*sim.Account)) {
		a := sim.Account{ID: id, Name: "Ada " + id, CRMID: new("001A"), CustomFields: map[string]any{field: "auth0|" + id},
			BillTo: &sim.Contact{FirstName: "Ada", LastName: "Reader", Country: "Ireland", WorkEmail: id + "@example.test"}}
		if change != nil {
			change(&a)
		}
		ok(w.AddAccount(a))
		ids = append(ids, id)
		w.clock.Advance(time.Second)
	}
	number := 0
	sub := func(account string, change func(*sim.Subscription)) string {
		number++
		s := sim.Subscription{AccountID: account, Number: fmt.Sprintf("A-S%05d", number), StartDate: "2026-01-01", AutoRenew: true,
			RatePlans: []sim.RatePlan{{ProductName: "Digital", ProductRatePlanID: "prp1", Charges: []sim.Charge{{Price: 999}}}}}
		if change != nil {
			change(&s)
		}
		ok(w.AddSubscription(s, sim.Order{}))
		w.clock.Advance(time.Millisecond)
		return s.Number
	}
	add("bare", func(a *sim.Account) { *a = sim.Account{ID: "bare", CustomFields: a.CustomFields} })
	add("emptycrm", func(a *sim.Account) { a.CRMID = new("") })
	add("custom", func(a *sim.Account) { a.CustomFields["Score__c"], a.CustomFields["Null__c"] = 7, nil })
	add("contacts", func(a *sim.Account) { a.SoldTo = &sim.Contact{LastName: "Other", Country: "Atlantis", HomePhone: "1"} })
	add("draft", func(a *sim.Account) { a.Status = "Draft" })

	add("evergreen", nil)
	sub("evergreen", func(s *sim.Subscription) { s.TermType = sim.Evergreen })
	add("removed", nil)
	ok(w.RemoveRatePlan(sub("removed", nil), "prp1", sim.Order{}))
	add("versions", nil)
	many := sub("versions", func(s *sim.Subscription) { s.CustomFields = map[string]any{"LimioOffer__c": "/offers/x"} })
	for range 12 { // versions beyond 9 must not be ordered as text
		w.clock.Advance(time.Millisecond)
		ok(w.RenewSubscription(many, sim.Order{}))
	}
	add("cancelled", nil)
	ok(w.CancelSubscription(sub("cancelled", nil), "2026-03-01", sim.Order{}))
	ok(w.CancelSubscription(sub("cancelled", nil), "2026-09-01", sim.Order{}))
	add("statuses", nil)
	for _, status := range []string{sim.StatusDraft, sim.StatusPendingActivation, sim.StatusPendingAcceptance, sim.StatusSuspended} {
		sub("statuses", func(s *sim.Subscription) { s.Status = status })
	}
	add("methods", nil)
	for i, status := range []string{sim.PaymentMethodActive, sim.PaymentMethodClosed, sim.PaymentMethodScrubbed} {
		ok(w.AddPaymentMethod("methods", sim.PaymentMethod{ID: fmt.Sprintf("pm%d", i), Type: "CreditCard", Status: status,
			CardNumber: "************4242", CardType: "Visa", ExpMonth: 9, ExpYear: 2028}))
	}
	ok(w.AddPaymentMethod("methods", sim.PaymentMethod{ID: "pm8", Type: "CreditCardReferenceTransaction"}))
	ok(w.AddPaymentMethod("methods", sim.PaymentMethod{ID: "pm9", Type: "BankTransfer", IBAN: "******************3000"}))
	ok(0, w.SetDefaultPaymentMethod("methods", "pm0"))
	for n, id := range map[int]string{41: "sub41", 98: "sub98", 99: "sub99", 120: "sub120"} {
		add(id, nil)
		for range n {
			sub(id, nil)
		}
	}
	for n, id := range map[int]string{98: "pm98", 99: "pm99"} {
		add(id, nil)
		for i := range n {
			ok(w.AddPaymentMethod(id, sim.PaymentMethod{ID: fmt.Sprintf("%s-%d", id, i), Type: "CreditCard", CardNumber: "************4242"}))
		}
	}
	return ids
}

// TestMarks: a list, the accounts by name and both single reads give the same
// mark, and none for what may have been cut.
func TestMarks(t *testing.T) {
	cut := map[string]bool{"sub99": true, "sub120": true, "pm99": true}
	for name, tt := range map[string]struct {
		tenant sim.Config
		client func(*zuora.Config)
	}{
		"versioned":        {sim.Config{}, func(*zuora.Config) {}},
		"single-versioned": {sim.Config{SingleVersioned: true, Zone: fixed(-8)}, func(c *zuora.Config) { c.Zone = fixed(-8) }},
		"schedules":        {sim.Config{}, func(c *zuora.Config) { c.Schedules = true }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tt.tenant, tt.client)
			ids := w.hardCases()
			listed := w.listedMarks()
			if len(listed) != len(ids) {
				t.Fatalf("%d of %d accounts are listed", len(listed), len(ids))
			}
			glimpses, err := w.Glimpses(t.Context(), ids)
			class(t, err, "")
			seen := map[record.Mark]string{}
			for i, id := range ids {
				acc, err := w.Client.Account(t.Context(), id)
				class(t, err, "")
				by, err := w.AccountBy(t.Context(), field, "auth0|"+id)
				class(t, err, "")
				if got := glimpses[i]; got.Key != record.ZuoraAccount(id) || got.Mark != listed[id] || acc.Mark != listed[id] || by.Mark != listed[id] {
					t.Errorf("%s: list %q, by name %v, account %q, looked up %q", id, listed[id], got, acc.Mark, by.Mark)
				}
				if (listed[id] == "") != cut[id] {
					t.Errorf("%s: mark %q", id, listed[id])
				}
				if other := seen[acc.Mark]; other != "" && acc.Mark != "" {
					t.Errorf("%s and %s have one mark", id, other)
				}
				seen[acc.Mark] = id
			}
		})
	}
}

// rich stores an account with everything that can change.
func (w *world) rich(id string) {
	w.Helper()
	must(w.T)(w.AddAccount(sim.Account{ID: id, Name: "Ada", BillTo: &sim.Contact{LastName: "Reader", Country: "Ireland"}}))
	must(w.T)(w.AddPaymentMethod(id, sim.PaymentMethod{ID: "pm-" + id, Type: "CreditCard", CardNumber: "************4242", IBAN: "***3000", ExpMonth: 9, ExpYear: 2028}))
	must(w.T)(w.AddSubscription(sim.Subscription{AccountID: id, Number: "A-S-" + id, StartDate: "2026-01-01",
		RatePlans: []sim.RatePlan{{ProductName: "Digital", ProductRatePlanID: "prp1", Charges: []sim.Charge{{Price: 999}}}}}, sim.Order{}))
}

// TestEachChangeShows makes each change once. Those that Account does not
// return are named.
func TestEachChangeShows(t *testing.T) {
	unseen := map[string]bool{"notes": true, "balance": true, "custom field": true, "nickname": true, "no crm id": true,
		"no default method": true, "a failed payment": true, "iban": true, "touched": true, "active": true}
	for _, m := range mutations() {
		t.Run(m.name, func(t *testing.T) {
			w := newWorld(t, sim.Config{}, withSchedules)
			w.rich("acc")
			before := w.read(t)
			if err := m.do(w, func(int) int { return 0 }, "acc"); err != nil {
				t.Fatal(err)
			}
			after := w.read(t)
			diff := cmp.Diff(before, after, cmpopts.IgnoreFields(record.Account{}, "Mark", "Until"))
			if (diff == "") != unseen[m.name] {
				t.Errorf("Account returns:\n%s", diff)
			}
			if diff != "" && before.Mark == after.Mark {
				t.Errorf("the mark is the same, but:\n%s", diff)
			}
		})
	}
}

// TestAnEndThatHasComeShows: without a change in Zuora, and to a list alone.
func TestAnEndThatHasComeShows(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		w := newWorld(t, sim.Config{})
		w.rich("acc")
		if cancelled {
			must(t)(w.CancelSubscription("A-S-acc", "2026-12-01", sim.Order{}))
		}
		before := w.listedMarks()["acc"]
		w.clock.Advance(100 * 24 * time.Hour)
		if w.listedMarks()["acc"] != before {
			t.Error("the mark has changed before the end")
		}
		w.clock.Advance(300 * 24 * time.Hour)
		if w.listedMarks()["acc"] == before {
			t.Error("the end does not show")
		}
	}
}

// TestEveryChangeShows: whatever happens to an account, its mark is the same in
// a list and in a single read, and when what Account returns has changed, the
// mark has, or Until has come.
func TestEveryChangeShows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		schedules := rapid.Bool().Draw(rt, "schedules")
		w := newWorld(t, sim.Config{}, func(c *zuora.Config) { c.Schedules = schedules })
		w.rich("acc")
		w.rich("other")
		all := mutations()
		before := w.read(rt)
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "pick") }
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			m := all[pick(len(all))]
			if err := m.do(w, pick, []string{"acc", "acc", "acc", "other"}[pick(4)]); err != nil {
				rt.Fatalf("%s: %v", m.name, err)
			}
			pause := rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Hour, 30 * 24 * time.Hour, 90 * 24 * time.Hour}).Draw(rt, "pause")
			w.clock.Advance(pause)
			after := w.read(rt)
			came := !before.Until.IsZero() && !w.clock.Now().Before(before.Until)
			diff := cmp.Diff(before, after, cmpopts.IgnoreFields(record.Account{}, "Mark", "Until"))
			if diff != "" && before.Mark == after.Mark && !came {
				rt.Fatalf("%s, then %s: the mark is the same, Until was %s:\n%s", m.name, pause, before.Until, diff)
			}
			before = after
		}
	})
}

// read reads the account and checks its mark against the list's.
func (w *world) read(rt interface {
	Fatal(...any)
	Fatalf(string, ...any)
}) record.Account {
	acc, err := w.Client.Account(w.Context(), "acc")
	if err != nil {
		rt.Fatal(err)
	}
	if listed := w.listedMarks()["acc"]; acc.Mark == "" || acc.Mark != listed {
		rt.Fatalf("mark %q, listed %q", acc.Mark, listed)
	}
	if !acc.Until.IsZero() && !acc.Until.After(w.clock.Now()) {
		rt.Fatalf("Until %s has passed", acc.Until)
	}
	return acc
}

// TestEveryVersionShows: the latest version is the one with the highest number,
// not the one that sorts last as text.
func TestEveryVersionShows(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	w.subscribe("acc", 1)
	seen := map[record.Mark]bool{}
	for v := range 25 {
		mark := w.listedMarks()["acc"]
		if mark == "" || seen[mark] {
			t.Errorf("version %d: mark %q again", v+1, mark)
		}
		seen[mark] = true
		must(t)(w.RenewSubscription("A-S1000", sim.Order{}))
	}
}

// TestUnrelatedChangesDoNotShow: a change that Account does not return costs a
// sweep nothing.
func TestUnrelatedChangesDoNotShow(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	must(t)(w.AddPaymentMethod("acc", sim.PaymentMethod{ID: "pm1", Type: "CreditCard", CardNumber: "************4242"}))
	w.subscribe("acc", 1)
	before := w.listedMarks()["acc"]
	w.clock.Advance(time.Hour)
	must(t)(0, w.UpdateAccount("acc", func(a *sim.Account) { a.Balance, a.Notes, a.BillTo.Nickname = 7, "x", "x" }))
	must(t)(0, w.UpdatePaymentMethod("pm1", func(p *sim.PaymentMethod) { p.LastTransactionStatus = "Approved" }))
	must(t)(w.Bill("acc", "2026-12-31"))
	if after := w.listedMarks()["acc"]; after != before {
		t.Error("the mark has changed")
	}
}

// TestMarkIsNoNewerThanTheAccount: a change between the two reads of an account
// must show in the next list, whichever of them saw it.
func TestMarkIsNoNewerThanTheAccount(t *testing.T) {
	for _, path := range []string{"/object-query/accounts/acc", "/v1/subscriptions/accounts/acc"} {
		w := newWorld(t, sim.Config{})
		w.account("acc", "")
		w.subscribe("acc", 1)
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.Server.ServeHTTP(rw, r)
			if r.URL.Path == path {
				_, err := w.ChangeSubscription("A-S1000", sim.Order{}, func(s *sim.Subscription) { s.AutoRenew = false })
				if err != nil {
					t.Error(err)
				}
			}
		}))
		defer server.Close()
		c := w.client(zuora.Config{BaseURL: server.URL, ClientID: "client", ClientSecret: secret.New("s3cret-of-the-client"), Now: w.clock.Now})
		got, err := c.Account(t.Context(), "acc")
		class(t, err, "")
		if listed := w.listedMarks()["acc"]; got.Mark == "" || got.Mark == listed {
			t.Errorf("changed after %s: the account was read with the mark %q that the list shows after the change", path, got.Mark)
		}
	}
}

// TestUntil: the times at which an account begins to mean something else.
func TestUntil(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	until := func(want string) {
		t.Helper()
		got, err := w.Client.Account(t.Context(), "acc")
		class(t, err, "")
		if want == "" && !got.Until.IsZero() || want != "" && !got.Until.Equal(date(want)) {
			t.Errorf("until %s, want %q", got.Until, want)
		}
	}
	until("")
	must(t)(w.AddSubscription(sim.Subscription{AccountID: "acc", Number: "A-S1", StartDate: "2026-01-01", RatePlans: []sim.RatePlan{
		{ProductRatePlanID: "prp1", Charges: []sim.Charge{{Price: 1, EffectiveEndDate: "2026-04-01"}, {Price: 2}}},
		{ProductRatePlanID: "prp2", LastChangeType: sim.ChangeRemove, Charges: []sim.Charge{{Price: 1, EffectiveEndDate: "2026-03-20"}}},
	}}, sim.Order{}))
	until("2026-04-01")
	w.clock.Advance(22 * 24 * time.Hour) // 1 April, noon
	until("2027-01-01")
	must(t)(w.AddSubscription(sim.Subscription{AccountID: "acc", Number: "A-S2", TermType: sim.Evergreen}, sim.Order{}))
	until("2027-01-01")
	must(t)(w.CancelSubscription("A-S2", "2026-06-01", sim.Order{}))
	until("2026-06-01")
	w.clock.Advance(2 * 365 * 24 * time.Hour)
	until("")
}

func TestMarkNeedsWholeLists(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	w.subscribe("acc", 1)
	for range 98 { // versions count, too
		must(t)(w.RenewSubscription("A-S1000", sim.Order{}))
	}
	got, err := w.Client.Account(t.Context(), "acc")
	class(t, err, "")
	if got.Mark != "" || w.listedMarks()["acc"] != "" || len(got.Subscriptions) != 1 {
		t.Errorf("mark %q with 99 versions", got.Mark)
	}
	w.ResetCalls()
	w.Inject(httpsim.Fault{Route: callAccounts, Code: "lock", Times: 1})
	_, err = w.Client.Accounts(t.Context(), "")
	class(t, err, "locked")
}
