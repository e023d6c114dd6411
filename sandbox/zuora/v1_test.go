package zuora_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/sandbox/zuora"
)

func TestAccountByIDAndByNumber(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{
		Name: "Ada Reader", CRMID: new("001A000001XyzAB"), AutoPay: true, Balance: 1250,
		BillTo:       &zuora.Contact{FirstName: "Ada", LastName: "Reader", PostalCode: "H91 X1", Country: "Ireland", WorkEmail: "ada@example.test"},
		SoldTo:       &zuora.Contact{FirstName: "Bob", LastName: "Reader", Country: "Ireland"},
		CustomFields: map[string]any{"LimioExternalId__c": "auth0|77"},
	})
	te.subscribe(a.ID)
	byID, byNumber := te.get("/v1/accounts/"+a.ID), te.get("/v1/accounts/"+a.Number)
	if d := cmp.Diff(byID.raw, byNumber.raw); d != "" {
		t.Fatal(d)
	}
	for path, want := range map[string]string{
		"success": "true", "basicInfo.id": a.ID, "basicInfo.accountNumber": a.Number, "basicInfo.status": "Active",
		"basicInfo.crmId": "001A000001XyzAB", "basicInfo.LimioExternalId__c": "auth0|77", "basicInfo.parentId": "<null>",
		"billingAndPayment.currency": "EUR", "billingAndPayment.autoPay": "true", "billingAndPayment.defaultPaymentMethodId": "<null>",
		"metrics.balance": "12.5", "metrics.contractedMrr": "9.99",
		"billToContact.zipCode": "H91 X1", "billToContact.country": "Ireland", "billToContact.address2": "",
		"soldToContact.firstName": "Bob",
	} {
		if got := str(byID, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestCRMIDMayBeNullOrEmpty(t *testing.T) {
	te := open(t, zuora.Config{})
	null, empty := te.account(zuora.Account{}), te.account(zuora.Account{CRMID: new("")})
	if a := te.get("/v1/accounts/" + null.ID); !strings.Contains(a.raw, `"crmId":null`) {
		t.Error(a.raw)
	}
	if a := te.get("/v1/accounts/" + empty.ID); !strings.Contains(a.raw, `"crmId":""`) {
		t.Error(a.raw)
	}
	if a := te.get("/object-query/accounts/" + null.ID); strings.Contains(a.raw, "crmId") {
		t.Error(a.raw)
	}
	if a := te.get("/object-query/accounts/" + empty.ID); !strings.Contains(a.raw, `"crmId":""`) {
		t.Error(a.raw)
	}
}

func TestSummaryShowsOnlySixSubscriptions(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	for range 8 {
		te.subscribe(a.ID)
	}
	p := must(te.AddPaymentMethod(a.ID, zuora.PaymentMethod{Type: "CreditCard", CardType: "Visa", CardNumber: "************4242", ExpMonth: 9, ExpYear: 2028}))
	if err := te.SetDefaultPaymentMethod(a.ID, p.ID); err != nil {
		t.Fatal(err)
	}
	must(te.ChangeSubscription("A-S00000001", zuora.Order{}, func(s *zuora.Subscription) { s.Status = zuora.StatusPendingActivation }))
	sum := te.get("/v1/accounts/" + a.Number + "/summary?excludeUsage=true")
	want := []string{"A-S00000001", "A-S00000008", "A-S00000007", "A-S00000006", "A-S00000005", "A-S00000004"}
	if d := cmp.Diff(want, column(sum, "subscriptions", "subscriptionNumber")); d != "" {
		t.Error(d)
	}
	if got := str(sum, "subscriptions.0.status"); got != "PendingActivation" {
		t.Errorf("status %q", got)
	}
	if got := str(sum, "basicInfo.defaultPaymentMethod.creditCardNumber"); got != "************4242" {
		t.Errorf("card %q", got)
	}
	if strings.Contains(sum.raw, `"usage"`) {
		t.Error("usage was asked to be left out")
	}
}

func TestSubscriptionPagesOfAtMost40(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	var want []string
	for range 95 {
		te.clock.Advance(time.Second)
		want = append(want, te.subscribe(a.ID).Number)
	}
	te.clock.Advance(time.Second)
	must(te.RenewSubscription(want[0], zuora.Order{})) // now the newest update
	want = append(want[1:], want[0])
	slices.Reverse(want)

	var got []string
	var sizes []int
	for next := "/v1/subscriptions/accounts/" + a.Number + "?pageSize=99"; next != ""; {
		page := te.get(next)
		numbers := column(page, "subscriptions", "subscriptionNumber")
		sizes = append(sizes, len(numbers))
		got = append(got, numbers...)
		next = ""
		if full := str(page, "nextPage"); full != "<null>" {
			if !strings.HasPrefix(full, te.url+"/v1/subscriptions/accounts/") {
				t.Fatalf("nextPage %q is not on the host that was asked", full)
			}
			next = full
		}
	}
	if d := cmp.Diff([]int{40, 40, 15}, sizes); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n := len(list(te.get("/v1/subscriptions/accounts/"+a.ID), "subscriptions")); n != 20 {
		t.Errorf("default page size %d", n)
	}
	wantCode(t, te.get("/v1/subscriptions/accounts/"+a.ID+"?pageSize=0"), 400, "20")
	if a := te.get("/v1/subscriptions/accounts/" + a.ID + "?page=9"); a.status != 200 || len(list(a, "subscriptions")) != 0 {
		t.Errorf("page past the end: %s", a.raw)
	}
}

func TestSubscriptionShape(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	spec := digital(a.ID)
	spec.CustomFields = map[string]any{"LimioOffer__c": "/offers/digital-annual"}
	sub := must(te.AddSubscription(spec, zuora.Order{}))
	got := te.get("/v1/subscriptions/" + sub.Number)
	for path, want := range map[string]string{
		"success": "true", "id": sub.ID, "subscriptionNumber": "A-S00000001", "version": "1", "accountId": a.ID, "accountNumber": a.Number,
		"status": "Active", "termType": "TERMED", "contractEffectiveDate": "2026-01-01", "subscriptionStartDate": "2026-01-01",
		"subscriptionEndDate": "2027-01-01", "termStartDate": "2026-01-01", "termEndDate": "2027-01-01",
		"initialTerm": "12", "initialTermPeriodType": "Month", "renewalSetting": "RENEW_WITH_SPECIFIC_TERM", "autoRenew": "true",
		"currency": "EUR", "contractedMrr": "9.99", "totalContractedValue": "119.88", "cancelReason": "<null>",
		"LimioOffer__c": "/offers/digital-annual", "cancelledDate": "<null>",
		"ratePlans.0.ratePlanName": "Annual", "ratePlans.0.lastChangeType": "Add", "ratePlans.0.productRatePlanId": "2c92prp1",
		"ratePlans.0.ratePlanCharges.0.price": "119.88", "ratePlans.0.ratePlanCharges.0.mrr": "9.99",
		"ratePlans.0.ratePlanCharges.0.number": "C-00000001", "ratePlans.0.ratePlanCharges.0.type": "Recurring",
		"ratePlans.0.ratePlanCharges.0.model": "FlatFee", "ratePlans.0.ratePlanCharges.0.effectiveEndDate": "2027-01-01",
		"ratePlans.0.ratePlanCharges.0.chargedThroughDate": "<null>", "ratePlans.0.ratePlanCharges.0.segment": "1",
	} {
		if s := str(got, path); s != want {
			t.Errorf("%s: %q, want %q", path, s, want)
		}
	}
}

func TestMoneyIsADecimalNumber(t *testing.T) {
	te := open(t, zuora.Config{})
	for currency, want := range map[string]string{"EUR": `"price":1200.5,`, "JPY": `"price":120050,`, "KWD": `"price":120.05,`} {
		a := te.account(zuora.Account{Currency: currency})
		spec := digital(a.ID)
		spec.RatePlans[0].Charges[0].Price = 120050
		sub := must(te.AddSubscription(spec, zuora.Order{}))
		if got := te.get("/v1/subscriptions/" + sub.Number); !strings.Contains(got.raw, want) {
			t.Errorf("%s: no %s in %s", currency, want, got.raw)
		}
	}
	yen := te.account(zuora.Account{Currency: "JPY", Balance: 0})
	if a := te.get("/v1/accounts/" + yen.ID); !strings.Contains(a.raw, `"balance":0,`) {
		t.Error(a.raw)
	}
}

func TestVersionsGetNewIDsAndKeepNumbers(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	v1 := te.subscribe(a.ID)
	v2 := must(te.RenewSubscription(v1.Number, zuora.Order{}))
	v3 := must(te.RenewSubscription(v1.Number, zuora.Order{}))
	if v3.Version != 3 || v3.TermStartDate != "2028-01-01" || v3.TermEndDate != "2029-01-01" || v3.OriginalID != v1.ID || v3.PreviousID != v2.ID {
		t.Errorf("%+v", v3)
	}
	ids := map[string]bool{}
	for _, v := range te.Versions(v1.Number) {
		p, c := v.RatePlans[0], v.RatePlans[0].Charges[0]
		for _, id := range []string{v.ID, p.ID, c.ID} {
			if ids[id] {
				t.Errorf("id %s is used twice", id)
			}
			ids[id] = true
		}
		first := v1.RatePlans[0].Charges[0]
		if c.Number != first.Number || c.OriginalID != first.ID || p.OriginalID != v1.RatePlans[0].ID {
			t.Errorf("version %d: number %s, original %s", v.Version, c.Number, c.OriginalID)
		}
	}
	for key, want := range map[string]string{
		"/v1/subscriptions/" + v1.Number:                 v3.ID,
		"/v1/subscriptions/" + v3.ID:                     v3.ID,
		"/v1/subscriptions/" + v1.ID:                     v1.ID,
		"/v1/subscriptions/" + v1.Number + "/versions/2": v2.ID,
	} {
		if got := str(te.get(key), "id"); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	wantCode(t, te.get("/v1/subscriptions/"+v1.Number+"/versions/4"), 404, "40")
	page := te.get("/v1/subscriptions/accounts/" + a.ID)
	if d := cmp.Diff([]string{v3.ID}, column(page, "subscriptions", "id")); d != "" {
		t.Error(d)
	}
}

func TestStatusesHaveSpaces(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	spec := digital(a.ID)
	spec.Status = zuora.StatusPendingActivation
	sub := must(te.AddSubscription(spec, zuora.Order{}))
	if got := str(te.get("/v1/subscriptions/"+sub.Number), "status"); got != "Pending Activation" {
		t.Errorf("v1: %q", got)
	}
	if got := str(te.get("/object-query/subscriptions/"+sub.Number), "status"); got != "PendingActivation" {
		t.Errorf("Object Query: %q", got)
	}
}

func TestEvergreenFutureCancellationAndRemovedPlans(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	spec := digital(a.ID)
	spec.TermType, spec.InitialTerm, spec.AutoRenew = zuora.Evergreen, 0, false
	ever := must(te.AddSubscription(spec, zuora.Order{}))
	got := te.get("/v1/subscriptions/" + ever.Number)
	if str(got, "termType") != "EVERGREEN" || str(got, "termEndDate") != "<null>" || str(got, "ratePlans.0.ratePlanCharges.0.effectiveEndDate") != "<null>" {
		t.Error(got.raw)
	}
	if _, err := te.RenewSubscription(ever.Number, zuora.Order{}); err == nil {
		t.Error("an evergreen subscription was renewed")
	}

	must(te.CancelSubscription(ever.Number, "2026-06-30", zuora.Order{}))
	got = te.get("/v1/subscriptions/" + ever.Number)
	if str(got, "status") != "Cancelled" || str(got, "termEndDate") != "2026-06-30" || str(got, "subscriptionEndDate") != "2026-06-30" {
		t.Error(got.raw)
	}
	if got := str(te.get("/object-query/subscriptions/"+ever.Number), "cancelledDate"); got != "2026-06-30" {
		t.Errorf("cancelledDate %q", got)
	}
	if _, err := te.CancelSubscription(ever.Number, "", zuora.Order{}); err == nil {
		t.Error("it was cancelled twice")
	}

	sub := te.subscribe(a.ID)
	must(te.ChangeSubscription(sub.Number, zuora.Order{Actions: []zuora.OrderAction{{Type: "AddProduct"}}}, func(s *zuora.Subscription) {
		s.RatePlans = append(s.RatePlans, zuora.RatePlan{Name: "Empty"}, zuora.RatePlan{
			Name: "Extra", ProductRatePlanID: "2c92prp2", Charges: []zuora.Charge{{Name: "Extra", Price: 100}}})
	}))
	must(te.RemoveRatePlan(sub.Number, "2c92prp1", zuora.Order{}))
	got = te.get("/v1/subscriptions/" + sub.Number)
	types := map[string]string{}
	for _, p := range list(got, "ratePlans") {
		types[str(p, "ratePlanName")] = str(p, "lastChangeType")
	}
	if d := cmp.Diff(map[string]string{"Annual": "Remove", "Extra": "Add", "Empty": "Add"}, types); d != "" {
		t.Error(d)
	}
	if got := te.get("/v1/subscriptions/" + sub.Number + "?exclude-rate-plans-with-no-charges=true"); len(list(got, "ratePlans")) != 2 {
		t.Error(got.raw)
	}
	if _, err := te.RemoveRatePlan(sub.Number, "2c92prp1", zuora.Order{}); err == nil {
		t.Error("it was removed twice")
	}
}

func TestOrdersNewestFirstWithTheirSource(t *testing.T) {
	te := open(t, zuora.Config{Zone: time.FixedZone("", 2*3600), TokenLife: 48 * time.Hour})
	a := te.account(zuora.Account{})
	sub := must(te.AddSubscription(digital(a.ID), zuora.Order{Source: "shop", InitiatedSource: "shop"}))
	te.clock.Advance(24 * time.Hour)
	must(te.RenewSubscription(sub.Number, zuora.Order{}))
	must(te.CancelSubscription(sub.Number, "2026-04-01", zuora.Order{Source: "salesforce", CustomFields: map[string]any{"Other__c": "x"}}))

	got := te.get("/v1/orders/subscription/" + sub.Number)
	var actions []string
	for _, o := range list(got, "orders") {
		actions = append(actions, str(o, "subscriptions.0.orderActions.0.type"))
	}
	if d := cmp.Diff([]string{"CancelSubscription", "RenewSubscription", "CreateSubscription"}, actions); d != "" {
		t.Error(d)
	}
	for path, want := range map[string]string{
		"orders.0.orderNumber": "O-00000003", "orders.0.orderDate": "2026-03-02", "orders.0.createdDate": "2026-03-02 12:00:00",
		"orders.0.customFields.Source__c": "salesforce", "orders.0.customFields.InitiatedSource__c": "<null>", "orders.0.customFields.Other__c": "x",
		"orders.0.subscriptions.0.orderActions.0.triggerDates.0.triggerDate": "2026-04-01",
		"orders.0.subscriptions.0.baseVersion":                               "2", "orders.0.subscriptions.0.newVersion": "3",
		"orders.1.customFields.Source__c": "<null>",
		"orders.2.customFields.Source__c": "shop", "orders.2.customFields.InitiatedSource__c": "shop", "orders.2.createdDate": "2026-03-01 12:00:00",
		"orders.2.existingAccountNumber": a.Number, "orders.2.status": "Completed",
	} {
		if s := str(got, path); s != want {
			t.Errorf("%s: %q, want %q", path, s, want)
		}
	}
	for i := range 40 {
		must(te.ChangeSubscription(sub.Number, zuora.Order{}, func(s *zuora.Subscription) { s.Notes = fmt.Sprint(i) }))
	}
	first := te.get("/v1/orders/subscription/" + sub.Number + "?pageSize=40")
	if n := len(list(first, "orders")); n != 40 {
		t.Fatalf("%d orders", n)
	}
	if n := len(list(te.get(str(first, "nextPage")), "orders")); n != 3 {
		t.Fatalf("%d orders on page 2", n)
	}
	wantCode(t, te.get("/v1/orders/subscription/A-S404"), 404, "40")
}

func TestPaymentMethodsByGroup(t *testing.T) {
	te := open(t, zuora.Config{Zone: time.FixedZone("", -8*3600)})
	a := te.account(zuora.Account{PaymentGateway: "Adyen"})
	add := func(p zuora.PaymentMethod) zuora.PaymentMethod { return must(te.AddPaymentMethod(a.ID, p)) }
	card := add(zuora.PaymentMethod{Type: "CreditCard", CardNumber: "************4242", CardType: "Visa", ExpMonth: 9, ExpYear: 2028, HolderName: "Ada Reader"})
	closed := add(zuora.PaymentMethod{Type: "CreditCard", CardNumber: "************1111", Status: zuora.PaymentMethodClosed})
	ref := add(zuora.PaymentMethod{Type: "CreditCardReferenceTransaction"})
	add(zuora.PaymentMethod{Type: "PayPalNativeEC", BAID: "B-1XX", Email: "ada@example.test"})
	add(zuora.PaymentMethod{Type: "BankTransfer", BankTransferType: "SEPA", IBAN: "******************3000"})
	add(zuora.PaymentMethod{Type: "ACH", BankName: "First", BankAccountNumber: "****6789", BankABACode: "110000000", BankAccountType: "Checking"})
	add(zuora.PaymentMethod{Type: "AdyenGooglePay", Extra: map[string]any{"googleCardNumber": "4242", "googleCardType": "visa"}})
	add(zuora.PaymentMethod{Type: "Klarna__c", Extra: map[string]any{"klarnaToken": "k-1"}})
	if err := te.SetDefaultPaymentMethod(a.Number, card.ID); err != nil {
		t.Fatal(err)
	}

	got := te.get("/v1/accounts/" + a.Number + "/payment-methods")
	want := "ach banktransfer creditcard creditcardreferencetransaction defaultPaymentMethodId googlepay klarna__c paymentGateway paypal success"
	if k := keys(got.body); k != want {
		t.Errorf("keys %s", k)
	}
	for path, want := range map[string]string{
		"defaultPaymentMethodId": card.ID, "paymentGateway": "Adyen",
		"creditcard.0.isDefault": "true", "creditcard.0.cardNumber": "************4242", "creditcard.0.expirationMonth": "9",
		"creditcard.0.accountKey": a.ID, "creditcard.0.accountHolderInfo.accountHolderName": "Ada Reader",
		"creditcard.0.updatedDate": "2026-03-01 02:00:00",
		"creditcard.1.status":      "Closed", "creditcard.1.isDefault": "false",
		"paypal.0.BAID": "B-1XX", "paypal.0.type": "PayPalNativeEC", "banktransfer.0.IBAN": "******************3000",
		"ach.0.bankAccountNumber": "****6789", "googlepay.0.googleCardNumber": "4242", "klarna__c.0.klarnaToken": "k-1",
	} {
		if s := str(got, path); s != want {
			t.Errorf("%s: %q, want %q", path, s, want)
		}
	}
	if one := te.get("/v1/payment-methods/" + ref.ID); !strings.Contains(one.raw, `"cardNumber":null`) || !strings.Contains(one.raw, `"expirationYear":null`) || str(one, "success") != "true" {
		t.Error(one.raw)
	}
	if ids := column(te.get("/v1/accounts/"+a.ID+"/payment-methods?isActiveOnly=true"), "creditcard", "id"); slices.Contains(ids, closed.ID) || len(ids) != 1 {
		t.Errorf("active only: %v", ids)
	}
	if k := keys(te.get("/v1/accounts/" + a.ID + "/payment-methods?isDefaultOnly=true").body); k != "creditcard defaultPaymentMethodId paymentGateway success" {
		t.Errorf("default only: %s", k)
	}
	if got := str(te.get("/v1/accounts/"+a.ID+"/payment-methods/default"), "id"); got != card.ID {
		t.Errorf("default %s", got)
	}
	if err := te.SetDefaultPaymentMethod(a.ID, ""); err != nil {
		t.Fatal(err)
	}
	wantCode(t, te.get("/v1/accounts/"+a.ID+"/payment-methods/default"), 404, "40")
	wantCode(t, te.get("/v1/payment-methods/x"), 404, "40")
}

func TestPathsAreEscaped(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{Number: "A 1/2"})
	if got := te.do(te.request(http.MethodGet, "/v1/accounts/"+url.PathEscape(a.Number), nil)); str(got, "basicInfo.id") != a.ID {
		t.Errorf("%d %s", got.status, got.raw)
	}
}
