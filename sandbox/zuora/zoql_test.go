package zuora_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hotsync/sandbox/zuora"
)

func (te *tenant) zoql(q string, batch ...int) answer {
	te.t.Helper()
	body := map[string]any{"queryString": q}
	if len(batch) > 0 {
		body["conf"] = map[string]any{"batchSize": batch[0]}
	}
	return te.post("/v1/action/query", body)
}

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, `"`, `\"`, "\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + "'"
}

func TestZOQLFindsByCustomField(t *testing.T) {
	te := open(t, zuora.Config{})
	ids := te.withExternal("auth0|77", "AUTH0|77", nil)
	got := te.zoql("select Id, AccountNumber, LimioExternalId__c, CrmId from Account where LimioExternalId__c = 'auth0|77'")
	want := map[string]any{"Id": ids[0], "AccountNumber": "A-00000001", "LimioExternalId__c": "auth0|77"} // no null CrmId
	if d := cmp.Diff([]any{want}, list(got, "records")); d != "" {
		t.Error(d)
	}
	if str(got, "size") != "1" || str(got, "done") != "true" || str(got, "queryLocator") != "<null>" {
		t.Error(got.raw)
	}
	none := te.zoql("select Id from Account where LimioExternalId__c = 'x'")
	if str(none, "size") != "0" || str(none, "done") != "true" {
		t.Error(none.raw)
	}
	for where, n := range map[string]int{
		"Legacy__c = 'x' and LimioExternalId__c != 'auth0|77'":                 1, // needs no index
		"LimioExternalId__c = null":                                            1,
		"LimioExternalId__c != null":                                           2,
		"LimioExternalId__c = 'auth0|77' or LimioExternalId__c = 'AUTH0|77'":   2,
		"UpdatedDate >= '2026-03-01T10:00:00'":                                 3,
		"UpdatedDate > 2026-03-01T10:00:00+00:00":                              0,
		"UpdatedDate < '2026-03-01T13:00:00+02:00'":                            3,
		"AutoPay = false and Balance <= 0 and Status = 'Active' and Name = ''": 3,
		"Status = 'active'":                                                    0,
	} {
		if got := te.zoql("SELECT Id FROM Account WHERE " + where); str(got, "size") != fmt.Sprint(n) {
			t.Errorf("%s: %s", where, got.raw)
		}
	}
	if got := te.zoql("select Id, UpdatedDate from Account"); str(got, "records.0.UpdatedDate") != "2026-03-01T10:00:00.000+00:00" {
		t.Error(got.raw)
	}
}

func TestZOQLEscapes(t *testing.T) {
	te := open(t, zuora.Config{})
	rapid.Check(t, func(r *rapid.T) {
		value := rapid.StringOf(rapid.SampledFrom([]rune("aB'\"\\\n\t\r\b\f %=é日"))).Draw(r, "value")
		a := must(te.AddAccount(zuora.Account{Name: value + "."}))
		got := te.zoql("select Id from Account where Name = " + quote(value+".") + " and Id = " + quote(a.ID))
		if d := cmp.Diff([]string{a.ID}, column(got, "records", "Id")); d != "" {
			r.Fatalf("%q: %s %s", value, d, got.raw)
		}
	})
}

func TestZOQLRefusals(t *testing.T) {
	te := open(t, zuora.Config{})
	te.account(zuora.Account{})
	for _, q := range []string{
		"", "select from Account", "select * from Account", "select Id Account", "select Id from Account where",
		"select Id from Account where Name = 'a' order by Name", "select Id from Account where Name in ('a')",
		"select Id from Account where (Name = 'a')", "select Id from Account where Name = 'a", `select Id from Account where Name = 'a\q'`,
		`select Id from Account where Name = "a"`, `select Id from Account where Name = 'a"b'`, "select Id from Account where Name = 'it's'",
		"select Id from Account where Name > null", "select Id from Account where Name like 'a'",
		"select Id from Account where " + strings.Repeat("Name = 'a' or ", 200) + "Name = 'a'",
	} {
		for _, version := range []string{"", v2025} {
			te.version = version
			wantCode(t, te.zoql(q), 400, "90")
		}
	}
	for q, code := range map[string]string{
		"select Id from Nonsense":                              "INVALID_TYPE",
		"select Nonsense from Account":                         "INVALID_FIELD",
		"select BillTo.City from Account":                      "INVALID_FIELD",
		"select Id from Account where Missing__c = 'a'":        "INVALID_FIELD",
		"select Id from Account where Name = a":                "INVALID_VALUE",
		"select Id from Account where UpdatedDate > 'tuesday'": "INVALID_VALUE",
	} {
		if got := te.zoql(q); got.status != 200 || str(got, "Success") != "false" || str(got, "Errors.0.Code") != code {
			t.Errorf("%s: %d %s", q, got.status, got.raw)
		}
	}
	for _, n := range []int{0, 2001} {
		if got := te.zoql("select Id from Account", n); str(got, "Errors.0.Code") != "INVALID_VALUE" {
			t.Errorf("batch %d: %s", n, got.raw)
		}
	}
}

func TestZOQLQueryMore(t *testing.T) {
	te := open(t, zuora.Config{})
	var want []string
	for range 25 {
		want = append(want, te.account(zuora.Account{}).ID)
	}
	more := func(locator string) answer {
		return te.post("/v1/action/queryMore", map[string]string{"queryLocator": locator})
	}
	page := te.zoql("select Id from Account", 10)
	first := str(page, "queryLocator")
	var got []string
	for {
		got = append(got, column(page, "records", "Id")...)
		if str(page, "size") != "25" {
			t.Error(page.raw)
		}
		if str(page, "done") == "true" {
			break
		}
		page = more(str(page, "queryLocator"))
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	te.clock.Advance(15*time.Minute - time.Second)
	if a := more(first); len(list(a, "records")) != 10 { // a lost answer can be asked for again
		t.Error(a.raw)
	}
	te.clock.Advance(time.Second)
	if a := more(first); str(a, "Errors.0.Code") != "INVALID_QUERY_LOCATOR" {
		t.Error(a.raw)
	}
}

func TestZOQLOtherObjects(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{BillTo: &zuora.Contact{LastName: "Reader", PostalCode: "H91"}})
	must(te.AddPaymentMethod(a.ID, zuora.PaymentMethod{Type: "BankTransfer", IBAN: "**3000"}))
	sub := te.subscribe(a.ID)
	must(te.RenewSubscription(sub.Number, zuora.Order{}))
	for q, want := range map[string]map[string]any{
		"select PostalCode from Contact where LastName = 'Reader'":               {"PostalCode": "H91"},
		"select IBAN from PaymentMethod where AccountId = '" + a.ID + "'":        {"IBAN": "**3000"},
		"select Name from Subscription where Version = 2 and AutoRenew = true":   {"Name": sub.Number},
		"select ChargeNumber from RatePlanCharge where OriginalId = Id":          nil,
		"select Name from RatePlan where SubscriptionId = '" + sub.ID + "'":      {"Name": "Annual"},
		"select ChargeNumber from RatePlanCharge where BillingPeriod = 'Annual'": {"ChargeNumber": "C-00000001"},
	} {
		got := te.zoql(q)
		if want == nil {
			if str(got, "Errors.0.Code") != "INVALID_VALUE" {
				t.Errorf("%s: %s", q, got.raw)
			}
			continue
		}
		if d := cmp.Diff(want, at(got, "records.0")); d != "" {
			t.Errorf("%s: %s", q, d)
		}
	}
}
