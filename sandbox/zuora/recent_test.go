package zuora_test

import (
	"cmp"
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/zuora"
)

// stamped is a record's place in the order of updates.
type stamped struct {
	id string
	at time.Time
}

// stamps reads the places of all records of a kind from the state.
func stamps(s *zuora.Server, kind string) (out []stamped) {
	for _, a := range s.Accounts() {
		switch kind {
		case "accounts":
			out = append(out, stamped{a.ID, a.UpdatedAt})
		case "contacts":
			for _, c := range []*zuora.Contact{a.BillTo, a.SoldTo} {
				if c != nil {
					out = append(out, stamped{c.ID, c.UpdatedAt})
				}
			}
		case "payment-methods":
			for _, p := range s.PaymentMethods(a.ID) {
				out = append(out, stamped{p.ID, p.UpdatedAt})
			}
		case "subscriptions":
			for _, sub := range s.Subscriptions(a.ID) {
				for _, v := range s.Versions(sub.Number) {
					out = append(out, stamped{v.ID, v.UpdatedAt})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b stamped) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id)) })
	return out
}

// TestPagesFollowTheUpdates: whatever has changed before, the pages of every
// kind hold each record once, in the order of updates, within the bounds asked
// for.
func TestPagesFollowTheUpdates(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clock := httpsim.FrozenClock(start)
		te := &tenant{t: t, Server: zuora.New(zuora.Config{Clock: clock, Seed: 7}), clock: clock, version: v2025}
		srv := httptest.NewServer(te.Server)
		defer srv.Close()
		te.url = srv.URL
		te.signIn()
		var accounts []string
		some := func() string { return rapid.SampledFrom(accounts).Draw(rt, "account") }
		for i := range rapid.IntRange(1, 30).Draw(rt, "steps") {
			step := rapid.IntRange(0, 9).Draw(rt, "step")
			if i == 0 {
				step = 0
			}
			switch step {
			case 0:
				accounts = append(accounts, must(te.AddAccount(zuora.Account{Name: "Ada"})).ID)
			case 1:
				must(0, te.UpdateAccount(some(), func(a *zuora.Account) { a.Name += "x" }))
			case 2:
				must(0, te.UpdateAccount(some(), func(a *zuora.Account) { a.BillTo.City += "x" }))
			case 3:
				must(0, te.UpdateAccount(some(), func(a *zuora.Account) {
					if a.SoldTo == nil {
						a.SoldTo = &zuora.Contact{LastName: "Other"}
					} else {
						a.SoldTo = nil
					}
				}))
			case 4:
				must(te.AddPaymentMethod(some(), zuora.PaymentMethod{Type: "CreditCard"}))
			case 5:
				for _, p := range te.PaymentMethods(some()) {
					must(0, te.UpdatePaymentMethod(p.ID, func(p *zuora.PaymentMethod) { p.ExpYear++ }))
				}
			case 6:
				must(te.AddSubscription(digital(some()), zuora.Order{}))
			case 7:
				for _, sub := range te.Subscriptions(some()) {
					must(te.RenewSubscription(sub.Number, zuora.Order{}))
				}
			case 8:
				for _, sub := range te.Subscriptions(some()) {
					must(0, te.EditSubscription(sub.Number, func(v *zuora.Subscription) { v.Notes += "x" }))
				}
			case 9:
				te.get("/object-query/" + rapid.SampledFrom([]string{"accounts", "contacts", "payment-methods", "subscriptions"}).Draw(rt, "read"))
			}
			clock.Advance(time.Duration(rapid.IntRange(0, 2).Draw(rt, "wait")) * time.Second)
		}
		for _, kind := range []string{"accounts", "contacts", "payment-methods", "subscriptions"} {
			descending := rapid.Bool().Draw(rt, "descending")
			low := start.Add(time.Duration(rapid.IntRange(-5, 30).Draw(rt, "low")) * time.Second)
			high := low.Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "high")) * time.Second)
			want := []string{}
			for _, r := range stamps(te.Server, kind) {
				if !r.at.Before(low) && r.at.Before(high) {
					want = append(want, r.id)
				}
			}
			params := []string{"pageSize", "3", "fields[]", "id", "sort[]", "updateddate.ASC",
				"filter[]", "updateddate.GE:" + low.Format(time.RFC3339), "filter[]", "updateddate.LT:" + high.Format(time.RFC3339)}
			if descending {
				slices.Reverse(want)
				params[5] = "updateddate.DESC"
			}
			got := []string{}
			for cursor := ""; ; {
				page := te.query(kind, append(params, "cursor", cursor)...)
				got = append(got, column(page, "data", "id")...)
				if cursor = str(page, "nextPage"); at(page, "nextPage") == nil {
					break
				}
			}
			if d := gocmp.Diff(want, got); d != "" {
				rt.Fatalf("%s, descending %v, from %s to %s:\n%s", kind, descending, low, high, d)
			}
		}
	})
}

func TestNamedAccounts(t *testing.T) {
	te := open(t, zuora.Config{})
	for i := range 5 {
		te.account(zuora.Account{ID: fmt.Sprintf("id%d", i), Number: fmt.Sprintf("A-%d", i)})
	}
	got := te.query("accounts", "filter[]", "id.IN:[ID3,id1,id3,none]", "sort[]", "accountnumber.ASC", "fields[]", "id")
	if d := gocmp.Diff([]string{"id1", "id3"}, column(got, "data", "id")); d != "" {
		t.Error(d)
	}
	got = te.query("accounts", "filter[]", "id.IN:[id1,id3]", "filter[]", "accountnumber.NE:A-3", "fields[]", "id")
	if d := gocmp.Diff([]string{"id1"}, column(got, "data", "id")); d != "" {
		t.Error(d)
	}
}
