package zuora_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/sandbox/zuora"
)

const external = "LimioExternalId__c"

func (te *tenant) withExternal(values ...any) []string {
	te.t.Helper()
	var ids []string
	for _, v := range values {
		ids = append(ids, te.account(zuora.Account{CustomFields: map[string]any{external: v, "Legacy__c": "x"}}).ID)
	}
	return ids
}

func TestFilterByCustomField(t *testing.T) {
	te := open(t, zuora.Config{})
	ids := te.withExternal("auth0|77", "AUTH0|77", "auth0|78", "", nil, "a:b,[c]")
	none := te.account(zuora.Account{}).ID // the field was never set
	for _, c := range []struct {
		filter string
		want   []string
	}{
		{external + ".EQ:auth0|77", ids[:2]}, // case is ignored: a duplicate
		{"limioexternalid__c.eq:auth0|78", ids[2:3]},
		{external + ".EQ:null", []string{ids[4], none}},
		{external + ".NE:null", []string{ids[0], ids[1], ids[2], ids[3], ids[5]}},
		{external + ".EQ:\x02\x03", ids[3:4]},
		{external + ".EQ:a:b,[c]", ids[5:]},
		{external + ".IN:[auth0|77,auth0|78]", ids[:3]},
		{external + ".SW:AUTH0|", ids[:3]},
		{external + ".NE:auth0|77", []string{ids[2], ids[3], ids[5]}},
		{external + ".EQ:nobody", nil},
		{"accountnumber.EQ:A-00000003", ids[2:3]},
		{"status.NE:Active", nil},
		{"balance.GT:0", nil},
	} {
		a := te.query("accounts", "filter[]", c.filter, "pageSize", "99")
		got := column(a, "data", "id")
		slices.Sort(got)
		want := slices.Clone(c.want)
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" || a.status != 200 {
			t.Errorf("%q: %d %s", c.filter, a.status, d)
		}
	}
	a := te.query("accounts", "filter[]", external+".EQ:nobody")
	if a.raw != `{"data":[]}` {
		t.Errorf("no hit: %s", a.raw)
	}
	if a := te.query("accounts", "filter[]", external+".EQ:auth0|78"); str(a, "data.0.limioExternalId__c") != "auth0|78" {
		t.Errorf("custom field name: %s", a.raw)
	}
	if a := te.query("accounts", "filter[]", external+".SW:auth0", "filter[]", "id.EQ:"+ids[1]); len(list(a, "data")) != 1 {
		t.Errorf("filters are joined by AND: %s", a.raw)
	}
}

func TestRefusedQueries(t *testing.T) {
	te := open(t, zuora.Config{})
	te.withExternal("x")
	for _, c := range []struct{ param, value, old, now string }{
		{"filter[]", "Legacy__c.EQ:x", "20", "27"},  // exists, not indexed
		{"filter[]", "Missing__c.EQ:x", "21", "27"}, // does not exist
		{"filter[]", "notes.EQ:x", "20", "27"},
		{"filter[]", "name.LIKE:x", "20", "27"},
		{"filter[]", "name", "20", "27"},
		{"filter[]", "name.IN:a,b", "20", "27"},
		{"filter[]", "updateddate.GE:yesterday", "20", "27"},
		{"filter[]", "balance.GE:much", "20", "27"},
		{"pageSize", "0", "20", "27"},
		{"pageSize", "100", "20", "27"},
		{"expand[]", "rateplans", "20", "27"},
		{"cursor", "%%%", "20", "27"},
		{"sort[]", "name", "20", "27"},
	} {
		te.version = v2025
		wantCode(t, te.query("accounts", c.param, c.value), 400, c.now)
		te.version = v2024
		wantCode(t, te.query("accounts", c.param, c.value), 400, c.old)
	}
}

func TestCursorWalksAllRowsOnce(t *testing.T) {
	te := open(t, zuora.Config{})
	for i := range 230 {
		if i%3 == 0 { // two thirds share their update time
			te.clock.Advance(time.Second)
		}
		te.account(zuora.Account{})
	}
	for _, sort := range []string{"", "accountnumber.ASC", "balance.DESC", "crmid.asc"} {
		seen := map[string]bool{}
		var sizes []int
		var times []string
		for cursor := ""; ; {
			params := []string{"pageSize", "99", "filter[]", "status.EQ:active"}
			if sort != "" {
				params = append(params, "sort[]", sort)
			}
			if cursor != "" {
				params = append(params, "cursor", cursor)
			}
			page := te.query("accounts", params...)
			ids := column(page, "data", "id")
			sizes = append(sizes, len(ids))
			times = append(times, column(page, "data", "updatedDate")...)
			for _, id := range ids {
				if seen[id] {
					t.Fatalf("sort %q: %s came twice", sort, id)
				}
				seen[id] = true
			}
			if cursor = str(page, "nextPage"); cursor == "<null>" {
				break
			}
		}
		if d := cmp.Diff([]int{99, 99, 32}, sizes); d != "" {
			t.Errorf("sort %q: %s", sort, d)
		}
		if sort == "" && !slices.IsSortedFunc(times, func(a, b string) int { return strings.Compare(b, a) }) {
			t.Error("not newest update first")
		}
	}
	if n := len(list(te.query("accounts"), "data")); n != 10 {
		t.Errorf("default page size %d", n)
	}
}

func TestExpansionsAreCutSilentlyAtThePageSize(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{CustomFields: map[string]any{external: "u"}})
	for range 120 {
		must(te.AddPaymentMethod(a.ID, zuora.PaymentMethod{Type: "CreditCard"}))
		te.subscribe(a.ID)
	}
	for size, want := range map[string]int{"": 10, "5": 5, "99": 99} {
		params := []string{"filter[]", external + ".EQ:u", "expand[]", "paymentmethods", "expand[]", "subscriptions"}
		if size != "" {
			params = append(params, "pageSize", size)
		}
		page := te.query("accounts", params...)
		if n := len(list(page, "data.0.paymentMethods")); n != want {
			t.Errorf("pageSize %q: %d payment methods", size, n)
		}
		if n := len(list(page, "data.0.subscriptions")); n != want {
			t.Errorf("pageSize %q: %d subscriptions", size, n)
		}
		if got := str(page, "nextPage"); got != "<null>" {
			t.Errorf("a cut expansion announced itself: %s", got)
		}
	}
	one := te.get("/object-query/accounts/" + a.Number + "?expand%5B%5D=paymentmethods")
	if n := len(list(one, "paymentMethods")); n != 10 || str(one, "data") != "<null>" {
		t.Errorf("by key: %d payment methods", n)
	}
}

func TestExpansions(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{
		BillTo: &zuora.Contact{FirstName: "Ada", LastName: "Reader", PostalCode: "H91 X1", Country: "Ireland"},
		ShipTo: &zuora.Contact{FirstName: "Cleo"},
	})
	card := must(te.AddPaymentMethod(a.ID, zuora.PaymentMethod{Type: "CreditCard", CardNumber: "************4242", ExpMonth: 9, ExpYear: 2028}))
	if err := te.SetDefaultPaymentMethod(a.ID, card.ID); err != nil {
		t.Fatal(err)
	}
	spec := digital(a.ID)
	spec.CustomFields = map[string]any{"LimioOffer__c": "/offers/x"}
	sub := must(te.AddSubscription(spec, zuora.Order{}))

	acc := te.query("accounts", "filter[]", "id.EQ:"+a.ID, "pageSize", "99", "expand[]", "billto", "expand[]", "SoldTo", "expand[]", "shipto",
		"expand[]", "defaultpaymentmethod,paymentmethods", "expand[]", "subscriptions.rateplans.rateplancharges.rateplanchargetiers")
	charge := "data.0.subscriptions.0.ratePlans.0.ratePlanCharges.0"
	for path, want := range map[string]string{
		"data.0.billTo.postalCode": "H91 X1", "data.0.soldTo.firstName": "Ada", "data.0.shipTo.firstName": "Cleo",
		"data.0.billToId": a.BillTo.ID, "data.0.soldToId": a.BillTo.ID, "data.0.shipToId": a.ShipTo.ID,
		"data.0.defaultPaymentMethod.id": card.ID, "data.0.paymentMethods.0.creditCardMaskNumber": "************4242",
		"data.0.paymentMethods.0.paymentMethodStatus": "Active", "data.0.paymentMethods.0.isDefault": "<null>",
		"data.0.subscriptions.0.name": sub.Number, "data.0.subscriptions.0.limioOffer__c": "/offers/x",
		"data.0.subscriptions.0.ratePlans.0.productRatePlanId": "2c92prp1",
		charge + ".chargeNumber":                               "C-00000001", charge + ".originalId": sub.RatePlans[0].Charges[0].ID,
		charge + ".ratePlanChargeTiers.0.price": "119.88",
	} {
		if s := str(acc, path); s != want {
			t.Errorf("%s: %q, want %q", path, s, want)
		}
	}
	subs := te.query("subscriptions", "filter[]", "accountid.EQ:"+a.ID, "expand[]", "account.billto", "expand[]", "account.paymentmethods",
		"expand[]", "rateplans.rateplancharges")
	for path, want := range map[string]string{
		"data.0.account.accountNumber": a.Number, "data.0.account.billTo.country": "Ireland", "data.0.account.paymentMethods.0.id": card.ID,
		"data.0.ratePlans.0.ratePlanCharges.0.chargeModel": "FlatFee",
	} {
		if s := str(subs, path); s != want {
			t.Errorf("%s: %q, want %q", path, s, want)
		}
	}
}

func TestNullsAreOmittedUnlessAskedFor(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	plain := te.get("/object-query/accounts/" + a.ID)
	if _, has := plain.body["crmId"]; has {
		t.Error(plain.raw)
	}
	full := te.get("/object-query/accounts/" + a.ID + "?includeNullFields=true&expand[]=shipto")
	for _, name := range []string{"crmId", "limioExternalId__c", "shipTo"} {
		if v, has := full.body[name]; !has || v != nil {
			t.Errorf("%s: %v, %v", name, v, has)
		}
	}
}

func TestFieldTrimming(t *testing.T) {
	te := open(t, zuora.Config{})
	te.account(zuora.Account{})
	for _, param := range []string{"fields[]", "account.fields[]"} {
		got := te.query("accounts", param, "id,updatedDate", "expand[]", "billto", "billto.fields[]", "lastname")
		if k := keys(at(got, "data.0").(map[string]any)); k != "billTo id updatedDate" {
			t.Errorf("%s: %s", param, k)
		}
		if k := keys(at(got, "data.0.billTo").(map[string]any)); k != "lastName" {
			t.Errorf("%s: billTo %s", param, k)
		}
	}
}

func TestFiltersFollowEdits(t *testing.T) {
	te := open(t, zuora.Config{IndexedFields: []string{"Account." + external, "Account.Score__c"}})
	ids := te.withExternal("one", "two")
	hits := func(filter string) []string { return column(te.query("accounts", "filter[]", filter), "data", "id") }
	set := func(id, field string, v any) {
		if err := te.UpdateAccount(id, func(a *zuora.Account) { a.CustomFields[field] = v }); err != nil {
			t.Fatal(err)
		}
	}
	set(ids[0], external, "TWO")
	if got := hits(external + ".EQ:one"); len(got) != 0 {
		t.Errorf("the old value is still found: %v", got)
	}
	if got := hits(external + ".EQ:Two"); len(got) != 2 {
		t.Errorf("the new value is not found: %v", got)
	}
	set(ids[1], external, nil)
	if d := cmp.Diff([]string{ids[1]}, hits(external+".EQ:null")); d != "" {
		t.Error(d)
	}
	set(ids[1], "Score__c", 7) // no text, so no index
	if d := cmp.Diff([]string{ids[1]}, hits("score__c.EQ:7")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(ids[:1], hits("id.EQ:"+strings.ToUpper(ids[0]))); d != "" {
		t.Error(d)
	}
	sub := te.subscribe(ids[0])
	for filter, objects := range map[string]string{
		"name.EQ:" + strings.ToLower(sub.Number): "subscriptions", "accountid.EQ:" + strings.ToUpper(ids[0]): "contacts",
	} {
		if got := te.query(objects, "filter[]", filter); len(list(got, "data")) != 1 {
			t.Errorf("%s: %s", filter, got.raw)
		}
	}
}

func TestEveryVersionIsARow(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	sub := te.subscribe(a.ID)
	must(te.RenewSubscription(sub.Number, zuora.Order{}))
	must(te.RenewSubscription(sub.Number, zuora.Order{}))
	rows := te.query("subscriptions", "filter[]", "accountid.EQ:"+a.ID)
	versions := column(rows, "data", "version")
	slices.Sort(versions)
	if d := cmp.Diff([]string{"1", "2", "3"}, versions); d != "" {
		t.Fatal(d)
	}
	latest := te.query("subscriptions", "filter[]", "islatestversion.EQ:true", "filter[]", "name.EQ:"+strings.ToLower(sub.Number))
	if d := cmp.Diff([]string{"3"}, column(latest, "data", "version")); d != "" {
		t.Fatal(d)
	}
	if got := str(latest, "data.0.originalId"); got != sub.ID {
		t.Errorf("originalId %s", got)
	}
	if rows := te.query("subscriptions", "filter[]", "version.GE:2"); len(list(rows, "data")) != 2 {
		t.Error(rows.raw)
	}
	if n := len(list(te.get("/object-query/accounts/"+a.ID+"?expand[]=subscriptions"), "subscriptions")); n != 3 {
		t.Errorf("%d expanded versions", n)
	}
}

func TestSingleVersionedTenant(t *testing.T) {
	te := open(t, zuora.Config{SingleVersioned: true})
	a := te.account(zuora.Account{})
	sub := te.subscribe(a.ID)
	must(te.RenewSubscription(sub.Number, zuora.Order{}))
	rows := te.query("subscriptions", "filter[]", "accountid.EQ:"+a.ID)
	if d := cmp.Diff([]string{"2"}, column(rows, "data", "version")); d != "" {
		t.Error(d)
	}
	if strings.Contains(rows.raw, "isLatestVersion") || strings.Contains(rows.raw, "originalId") {
		t.Error(rows.raw)
	}
	wantCode(t, te.query("subscriptions", "filter[]", "islatestversion.EQ:true"), 400, "27")
}

func TestChangedSince(t *testing.T) {
	te := open(t, zuora.Config{Zone: time.FixedZone("", 2*3600), TokenLife: 48 * time.Hour})
	a, b := te.account(zuora.Account{}), te.account(zuora.Account{})
	card := must(te.AddPaymentMethod(a.ID, zuora.PaymentMethod{Type: "CreditCard"}))
	te.subscribe(a.ID)
	te.clock.Advance(time.Hour)
	since := te.clock.Now().Format(time.RFC3339)
	changed := func(objects string) []string {
		return column(te.query(objects, "filter[]", "updateddate.GE:"+since), "data", "id")
	}
	for _, o := range []string{"accounts", "contacts", "subscriptions", "payment-methods"} {
		if got := changed(o); len(got) != 0 {
			t.Errorf("%s, idle: %v", o, got)
		}
	}

	edit := func(id string, f func(*zuora.Account)) {
		if err := te.UpdateAccount(id, f); err != nil {
			t.Fatal(err)
		}
	}
	edit(a.ID, func(a *zuora.Account) { a.BillTo.City = "Galway" })
	edit(b.ID, func(*zuora.Account) {}) // nothing
	if got := changed("accounts"); len(got) != 0 {
		t.Errorf("a contact's edit touched its account: %v", got)
	}
	if d := cmp.Diff([]string{a.BillTo.ID}, changed("contacts")); d != "" {
		t.Error(d)
	}
	edit(b.ID, func(b *zuora.Account) { b.Name = "B" })
	if d := cmp.Diff([]string{b.ID}, changed("accounts")); d != "" {
		t.Error(d)
	}
	if err := te.UpdatePaymentMethod(card.ID, func(p *zuora.PaymentMethod) { p.ExpYear = 2031 }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{card.ID}, changed("payment-methods")); d != "" {
		t.Error(d)
	}
	must(te.ChangeSubscription("A-S00000001", zuora.Order{}, func(s *zuora.Subscription) { s.AutoRenew = false }))
	if got := changed("subscriptions"); len(got) != 2 { // the version that ended changed too
		t.Errorf("subscriptions: %v", got)
	}
	if got := str(te.get("/object-query/accounts/"+b.ID), "updatedDate"); got != "2026-03-01T13:00:00+02:00" {
		t.Errorf("updatedDate %s", got)
	}
	te.clock.Advance(250 * time.Millisecond)
	edit(b.ID, func(b *zuora.Account) { b.Name = "C" })
	if got := str(te.get("/object-query/accounts/"+b.ID), "updatedDate"); got != "2026-03-01T13:00:00.250+02:00" {
		t.Errorf("updatedDate %s", got)
	}
	if d := cmp.Diff([]string{b.ID}, column(te.query("accounts", "filter[]", "updateddate.GT:2026-03-01T11:00:00.249Z"), "data", "id")); d != "" {
		t.Error(d)
	}
}

func TestNothingOutsideSharesState(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{CRMID: new("1"), CustomFields: map[string]any{external: "x"}})
	te.subscribe(a.ID)
	got := te.Accounts()[0]
	*got.CRMID, got.BillTo.City, got.CustomFields[external] = "2", "X", "y"
	subs := te.Subscriptions(a.Number)
	subs[0].RatePlans[0].Charges[0].Price = 1
	again, _ := te.Account(a.Number)
	if d := cmp.Diff(a, again); d != "" {
		t.Error(d)
	}
	if p := te.Subscriptions(a.ID)[0].RatePlans[0].Charges[0].Price; p != 11988 {
		t.Errorf("price %d", p)
	}
}

func TestConcurrentUse(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	sub := te.subscribe(a.ID)
	done := make(chan error)
	go func() {
		for i := range 50 {
			if _, err := te.ChangeSubscription(sub.Number, zuora.Order{}, func(s *zuora.Subscription) { s.Notes = fmt.Sprint(i) }); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 50 {
		te.query("subscriptions", "expand[]", "account", "expand[]", "rateplans.rateplancharges")
		te.get("/v1/subscriptions/accounts/" + a.ID)
		te.post("/v1/action/query", map[string]string{"queryString": "select Id, Notes from Subscription"})
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if v, _ := te.Subscription(sub.Number); v.Version != 51 {
		t.Errorf("version %d", v.Version)
	}
}
