package zuora_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"hotsync/sandbox/zuora"
)

// previewed are the items of a preview that belong to a subscription.
func previewed(a answer, number string) (out []string) {
	for _, i := range list(a, "invoiceItems") {
		if str(i, "subscriptionNumber") == number {
			out = append(out, str(i, "serviceStartDate")+" "+str(i, "serviceEndDate")+" "+str(i, "chargeAmount")+"+"+str(i, "taxAmount"))
		}
	}
	return out
}

func (te *tenant) preview(account zuora.Account, renewal string, evergreen bool) answer {
	te.t.Helper()
	return te.post("/v1/operations/billing-preview", map[string]any{
		"accountNumber": account.Number, "targetDate": "2027-02-15", "assumeRenewal": renewal, "includingEvergreenSubscription": evergreen,
	})
}

func TestBillingPreview(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	spec := digital(a.ID)
	spec.RatePlans[0].Charges = []zuora.Charge{
		{Name: "Fee", Price: 1000, ChargedThroughDate: "2026-11-01"},
		{Name: "Setup", Price: 5000, Type: "OneTime", TaxPercent: 19, EffectiveStartDate: "2026-12-15"},
		{Name: "Paid", Price: 5000, Type: "OneTime", ChargedThroughDate: "2026-01-02"},
		{Name: "Minutes", Price: 10, Type: "Usage"},
	}
	sub := must(te.AddSubscription(spec, zuora.Order{}))
	cancelled := te.subscribe(a.ID)
	must(te.CancelSubscription(cancelled.Number, "2026-03-01", zuora.Order{}))

	first := []string{"2026-11-01 2026-11-30 10.0+0.0", "2026-12-01 2026-12-31 10.0+0.0"}
	setup := "2026-12-15 2026-12-15 50.0+9.5"
	if d := cmp.Diff(append(first[:2:2], setup), previewed(te.preview(a, "None", false), sub.Number)); d != "" {
		t.Error(d)
	}
	renewed := append(first[:2:2], "2027-01-01 2027-01-31 10.0+0.0", "2027-02-01 2027-02-28 10.0+0.0", setup)
	if d := cmp.Diff(renewed, previewed(te.preview(a, "Autorenew", false), sub.Number)); d != "" {
		t.Error(d)
	}
	if got := previewed(te.preview(a, "All", false), cancelled.Number); len(got) != 1 || got[0] != "2026-01-01 2026-02-28 19.38+0.0" { // 59 of 365 days
		t.Errorf("cancelled: %v", got)
	}
	wantCode(t, te.post("/v1/operations/billing-preview", map[string]string{"accountNumber": a.Number}), 400, "22")
	wantCode(t, te.post("/v1/operations/billing-preview", map[string]string{"accountNumber": "x", "targetDate": "2027-01-01"}), 404, "40")
	wantCode(t, te.post("/v1/operations/billing-preview", "no object"), 400, "90")
}

func TestEvergreenIsPreviewedWhenAsked(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	spec := digital(a.ID)
	spec.TermType = zuora.Evergreen
	sub := must(te.AddSubscription(spec, zuora.Order{}))
	if got := previewed(te.preview(a, "None", false), sub.Number); got != nil {
		t.Errorf("not asked for: %v", got)
	}
	want := []string{"2026-01-01 2026-12-31 119.88+0.0", "2027-01-01 2027-12-31 119.88+0.0"}
	if d := cmp.Diff(want, previewed(te.preview(a, "None", true), sub.Number)); d != "" {
		t.Error(d)
	}
}

// TestBill: what a bill run has invoiced is not previewed any more, and nothing
// else shows it but the account's last invoice and the charge itself.
func TestBill(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	sub := te.subscribe(a.ID)
	te.clock.Advance(1e9)
	if n := must(te.Bill(a.Number, "2026-03-01")); n != 1 {
		t.Errorf("%d items", n)
	}
	if n := must(te.Bill(a.ID, "2026-12-31")); n != 0 {
		t.Errorf("%d items the second time", n)
	}
	if got := previewed(te.preview(a, "None", false), sub.Number); got != nil {
		t.Errorf("still to bill: %v", got)
	}
	after, _ := te.Subscription(sub.Number)
	if after.RatePlans[0].Charges[0].ChargedThroughDate != "2027-01-01" || after.Version != 1 || !after.UpdatedAt.Equal(sub.UpdatedAt) {
		t.Errorf("%+v", after)
	}
	row := te.query("accounts", "filter[]", "lastinvoicedate.EQ:2026-03-01", "fields[]", "id,lastInvoiceDate,updatedDate")
	if got := str(row, "data.0.lastInvoiceDate") + " " + str(row, "data.0.updatedDate"); got != "2026-03-01 2026-03-01T10:00:00Z" {
		t.Errorf("%s", row.raw)
	}
	if _, err := te.Bill("none", "2026-03-01"); err == nil {
		t.Error("billed nobody")
	}
}
