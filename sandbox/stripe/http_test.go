package stripe_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	stripego "github.com/stripe/stripe-go/v76"

	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/stripe"
)

func TestKeyCheck(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	path := "/v1/subscriptions/" + sub.ID
	for name, tc := range map[string]struct {
		auth string
		want int
	}{
		"bearer": {"Bearer sk_test_key", 200}, "basic": {"Basic c2tfdGVzdF9rZXk6", 200},
		"none": {"", 401}, "wrong": {"Bearer sk_test_other", 401}, "other scheme": {"Digest sk_test_key", 401},
	} {
		status, _, body := w.get(path, "Authorization", tc.auth)
		if status != tc.want {
			t.Errorf("%s: %d, want %d", name, status, tc.want)
		}
		if text := fmt.Sprint(body); status == 401 && strings.Contains(text, "sk_test_other") {
			t.Errorf("%s: the answer shows the key: %s", name, text)
		}
	}
}

func TestSubscriptionDecodesExpanded(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe(func(p *stripe.SubscriptionParams) {
		m, err := w.AddPaymentMethod(stripe.PaymentMethodParams{Customer: p.Customer,
			Card: stripe.Card{Brand: "mastercard", Last4: "4444", ExpMonth: 7, ExpYear: 2031, Wallet: "apple_pay"}})
		w.ok(err)
		p.DefaultPaymentMethod = m.ID
		p.Metadata = map[string]string{"limio_subscription_id": "sub-1"}
		p.Item.Currency, p.Item.Amount, p.Item.Quantity = "jpy", 500, 2
	})
	p := &stripego.SubscriptionParams{}
	for _, path := range []string{"default_payment_method", "customer.invoice_settings.default_payment_method",
		"latest_invoice.charge", "latest_invoice.payment_intent.latest_charge", "items.data.price.product"} {
		p.AddExpand(path)
	}
	got, err := w.api.Subscriptions.Get(sub.ID, p)
	w.ok(err)
	card := got.DefaultPaymentMethod.Card
	inv := got.LatestInvoice
	item := got.Items.Data[0]
	switch {
	case got.Status != stripego.SubscriptionStatusActive, got.Metadata["limio_subscription_id"] != "sub-1",
		got.CurrentPeriodEnd != epoch.AddDate(0, 1, 0).Unix(), got.StartDate != epoch.Unix(), got.Currency != "jpy",
		got.CollectionMethod != "charge_automatically", got.CancelAt != 0, got.EndedAt != 0, got.Schedule != nil:
		t.Errorf("subscription %+v", got)
	case card.Last4 != "4444" || card.Brand != "mastercard" || card.ExpMonth != 7 || card.ExpYear != 2031 || card.Wallet.Type != "apple_pay":
		t.Errorf("card %+v", card)
	case got.Customer.Email != "ann@example.com" || got.Customer.InvoiceSettings.DefaultPaymentMethod.Card.Last4 != "4242":
		t.Errorf("customer %+v", got.Customer)
	case inv.AmountPaid != 1000 || inv.Status != "paid" || inv.StatusTransitions.PaidAt != epoch.Unix() ||
		inv.Lines.Data[0].Period.End != got.CurrentPeriodEnd || inv.Charge.Status != "succeeded" || inv.Charge.PaymentMethodDetails.Card.Last4 != "4444" ||
		inv.PaymentIntent.LatestCharge.ID != inv.Charge.ID || inv.Lines.Data[0].Description != "2 × Digital (at ¥500 / month)":
		t.Errorf("invoice %+v", inv)
	case item.Price.UnitAmount != 500 || item.Price.Recurring.Interval != "month" || item.Price.Product.Name != "Digital":
		t.Errorf("item %+v", item)
	}
}

func TestListsPage(t *testing.T) {
	w := newWorld(t)
	cus, _ := w.customer()
	var ids []string // newest first
	for i := range 25 {
		sub, err := w.AddSubscription(stripe.SubscriptionParams{Customer: cus, Item: stripe.ItemParams{Amount: 100}})
		w.ok(err)
		ids = append([]string{sub.ID}, ids...)
		if i%3 == 0 {
			w.clock.Advance(time.Second) // several share one second
		}
	}
	all := func(limit int64) []string {
		p := &stripego.SubscriptionListParams{Status: stripego.String("all")}
		p.Limit = stripego.Int64(limit)
		var got []string
		it := w.api.Subscriptions.List(p)
		for it.Next() {
			got = append(got, it.Subscription().ID)
		}
		w.ok(it.Err())
		return got
	}
	for _, limit := range []int64{1, 7, 25, 100} {
		if diff := cmp.Diff(ids, all(limit)); diff != "" {
			t.Errorf("pages of %d: %s", limit, diff)
		}
	}
	_, _, first := w.get("/v1/subscriptions")
	if first["object"] != "list" || first["url"] != "/v1/subscriptions" || first["has_more"] != true || len(first["data"].([]any)) != 10 {
		t.Errorf("the default page: %v entries, %v", len(first["data"].([]any)), first["has_more"])
	}
	back := &stripego.SubscriptionListParams{}
	back.EndingBefore, back.Limit, back.Single = stripego.String(ids[5]), stripego.Int64(3), true
	it := w.api.Subscriptions.List(back)
	var got []string
	for it.Next() {
		got = append(got, it.Subscription().ID)
	}
	// stripe-go hands a page that was asked for with ending_before in reverse.
	if diff := cmp.Diff([]string{ids[4], ids[3], ids[2]}, got); diff != "" || !it.Meta().HasMore {
		t.Error(diff)
	}
}

func TestSubscriptionFilters(t *testing.T) {
	w := newWorld(t)
	active, canceled, trial := w.subscribe(), w.subscribe(), w.subscribe(func(p *stripe.SubscriptionParams) { p.TrialEnd = epoch.Add(40 * day) })
	w.ok(w.CancelNow(canceled.ID, stripe.ByRequest("")))
	w.clock.Advance(day)
	late := w.subscribe(func(p *stripe.SubscriptionParams) {
		p.CollectionMethod, p.Item.Amount = stripe.SendInvoice, 5
	})
	at := func(t time.Time) string { return fmt.Sprint(t.Unix()) }
	for query, want := range map[string][]string{
		"":                                {late.ID, trial.ID, active.ID},
		"status=all":                      {late.ID, trial.ID, canceled.ID, active.ID},
		"status=canceled":                 {canceled.ID},
		"status=ended":                    {canceled.ID},
		"status=trialing":                 {trial.ID},
		"customer=" + active.Customer:     {active.ID},
		"price=" + late.Items[0].Price.ID: {late.ID},
		"collection_method=send_invoice":  {late.ID},
		"created[gt]=" + at(epoch):        {late.ID},
		"created[lte]=" + at(epoch):       {trial.ID, active.ID},
		"created=" + at(epoch.Add(day)):   {late.ID},
		"current_period_end[gte]=" + at(trial.TrialEnd):                                                 {trial.ID},
		"current_period_start%5Bgte%5D=" + at(epoch.Add(day)):                                           {late.ID},
		"status=all&created[gte]=" + at(epoch.Add(time.Hour)) + "&created[lt]=" + at(epoch.Add(30*day)): {late.ID},
	} {
		_, _, body := w.get("/v1/subscriptions?" + query)
		var got []string
		for _, sub := range body["data"].([]any) {
			got = append(got, sub.(map[string]any)["id"].(string))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	for path, want := range map[string]struct {
		status int
		code   string
	}{
		"/v1/subscriptions?foo=1":                              {400, "parameter_unknown"},
		"/v1/subscriptions/" + sub.ID + "?status=all":          {400, "parameter_unknown"},
		"/v1/subscriptions?created[after]=1":                   {400, "parameter_unknown"},
		"/v1/subscriptions?limit=0":                            {400, "parameter_invalid_integer"},
		"/v1/subscriptions?limit=101":                          {400, "parameter_invalid_integer"},
		"/v1/subscriptions?limit=ten":                          {400, "parameter_invalid_integer"},
		"/v1/subscriptions?created[gte]=soon":                  {400, "parameter_invalid_integer"},
		"/v1/subscriptions?customer=":                          {400, "parameter_invalid_empty"},
		"/v1/subscriptions?status=live":                        {400, ""},
		"/v1/subscriptions?customer[id]=x":                     {400, ""},
		"/v1/subscriptions?expand=customer":                    {400, ""},
		"/v1/subscriptions?starting_after=a&ending_before=b":   {400, ""},
		"/v1/subscriptions?starting_after=sub_none":            {400, "resource_missing"},
		"/v1/subscriptions?customer=cus_none":                  {400, "resource_missing"},
		"/v1/invoices?subscription=sub_none":                   {400, "resource_missing"},
		"/v1/subscriptions/sub_none":                           {404, "resource_missing"},
		"/v1/invoices/in_none":                                 {404, "resource_missing"},
		"/v1/invoices/in_none/lines":                           {404, "resource_missing"},
		"/v1/customers/cus_none":                               {404, "resource_missing"},
		"/v1/customers/cus_none/payment_methods":               {404, "resource_missing"},
		"/v1/payment_methods/pm_none":                          {404, "resource_missing"},
		"/v1/events/evt_none":                                  {404, "resource_missing"},
		"/v1/invoices/upcoming?subscription=sub_none":          {404, "resource_missing"},
		"/v1/invoices/upcoming":                                {400, "parameter_missing"},
		"/v1/subscription_items":                               {400, "parameter_missing"},
		"/v1/payment_methods":                                  {400, "parameter_missing"},
		"/v1/subscriptions/search":                             {400, "parameter_missing"},
		"/v1/invoices/upcoming?subscription_items[0][id]=si":   {400, ""},
		"/v1/events?type=a&types[]=b":                          {400, ""},
		"/v1/events?delivery_success=maybe":                    {400, ""},
		"/v1/events?" + strings.Repeat("types[]=invoice&", 21): {400, ""},
		"/v1/nothing":                                          {404, ""},
	} {
		e := w.refused(path, want.status, want.code)
		if want.code == "parameter_unknown" && e["param"] == nil {
			t.Errorf("%s: the error does not say which parameter", path)
		}
	}
	if status, _, _ := w.get("/v1/subscriptions", "Stripe-Version", "latest"); status != 400 {
		t.Errorf("a version that is none: %d", status)
	}
	_, err := w.api.Subscriptions.Get("sub_none", nil)
	if e := stripeError(t, err); e.Code != stripego.ErrorCodeResourceMissing || e.HTTPStatusCode != 404 || e.RequestID == "" {
		t.Errorf("stripe-go sees %+v", e)
	}
}

func TestExpandRules(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	for _, ok := range []string{"customer", "items.data.price.product", "latest_invoice.lines.data.price", "schedule",
		"customer.subscriptions.data.latest_invoice", "pending_setup_intent.payment_method", "items", "discounts"} {
		for _, form := range []string{"expand[]=", "expand[0]=", "expand%5B0%5D="} {
			if status, _, body := w.get("/v1/subscriptions/" + sub.ID + "?" + form + ok); status != 200 {
				t.Errorf("%s%s: %d %v", form, ok, status, body)
			}
		}
	}
	for _, bad := range []string{"metadata", "customers", "customer.invoice_settings", "customer.invoice_settings.footer",
		"data.customer", "status", "latest_invoice.lines.data.price.product", "items.price", ""} {
		if status, _, _ := w.get("/v1/subscriptions/" + sub.ID + "?expand[]=" + bad); status != 400 {
			t.Errorf("expand %q: %d, want 400", bad, status)
		}
	}
	list := func(path string) (int, map[string]any) {
		status, _, body := w.get("/v1/subscriptions?expand[0]=" + path)
		return status, body
	}
	if status, body := list("data.customer.invoice_settings.default_payment_method"); status != 200 {
		t.Errorf("four levels: %v", body)
	}
	if status, body := list("data.items.data.price.product"); status != 400 || !strings.Contains(fmt.Sprint(body), "more than 4 levels") {
		t.Errorf("five levels: %d %v", status, body)
	}
	if status, body := list("customer"); status != 400 || !strings.Contains(fmt.Sprint(body), "data.customer") {
		t.Errorf("without data: %d %v", status, body)
	}
	w.ok(w.CancelNow(sub.ID, stripe.ByRequest("")))
	if status, _ := list("customers"); status != 400 {
		t.Errorf("a bad path on an empty list: %d", status)
	}
}

func TestManyItems(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe(func(p *stripe.SubscriptionParams) {
		for i := range 13 {
			p.Items = append(p.Items, stripe.ItemParams{Amount: int64(i), Product: fmt.Sprint("Add-on ", i)})
		}
	})
	got, err := w.api.Subscriptions.Get(sub.ID, nil)
	w.ok(err)
	if len(got.Items.Data) != 10 || !got.Items.HasMore {
		t.Errorf("%d items inline, more: %v", len(got.Items.Data), got.Items.HasMore)
	}
	p := &stripego.SubscriptionItemListParams{Subscription: &sub.ID}
	p.Limit = stripego.Int64(5)
	it, n := w.api.SubscriptionItems.List(p), 0
	for it.Next() {
		if it.SubscriptionItem().ID != sub.Items[n].ID {
			t.Errorf("item %d is %s", n, it.SubscriptionItem().ID)
		}
		n++
	}
	w.ok(it.Err())
	lp := &stripego.InvoiceListLinesParams{Invoice: &sub.LatestInvoice}
	lines, m := w.api.Invoices.ListLines(lp), 0
	for lines.Next() {
		m++
	}
	w.ok(lines.Err())
	up := &stripego.InvoiceUpcomingLinesParams{Subscription: &sub.ID}
	next, u := w.api.Invoices.UpcomingLines(up), 0
	for next.Next() {
		u++
	}
	w.ok(next.Err())
	if n != 13 || m != 13 || u != 13 {
		t.Errorf("%d items, %d lines, %d upcoming lines, want 13 of each", n, m, u)
	}
}

func TestInvoices(t *testing.T) {
	w := newWorld(t)
	sub, other := w.subscribe(), w.subscribe()
	w.at(epoch.AddDate(0, 3, 0)) // three renewals, the last a draft
	list := func(change func(*stripego.InvoiceListParams)) (got []string) {
		p := &stripego.InvoiceListParams{Subscription: &sub.ID}
		p.Limit = stripego.Int64(2)
		change(p)
		it := w.api.Invoices.List(p)
		for it.Next() {
			got = append(got, string(it.Invoice().Status)+" "+time.Unix(it.Invoice().Created, 0).UTC().Format(time.DateOnly))
		}
		w.ok(it.Err())
		return got
	}
	for name, tc := range map[string]struct {
		change func(*stripego.InvoiceListParams)
		want   []string
	}{
		"all":   {func(*stripego.InvoiceListParams) {}, []string{"draft 2026-04-10", "paid 2026-03-10", "paid 2026-02-10", "paid 2026-01-10"}},
		"paid":  {func(p *stripego.InvoiceListParams) { p.Status = stripego.String("paid") }, []string{"paid 2026-03-10", "paid 2026-02-10", "paid 2026-01-10"}},
		"draft": {func(p *stripego.InvoiceListParams) { p.Status = stripego.String("draft") }, []string{"draft 2026-04-10"}},
		"since": {func(p *stripego.InvoiceListParams) {
			p.CreatedRange = &stripego.RangeQueryParams{GreaterThanOrEqual: epoch.AddDate(0, 2, 0).Unix()}
		}, []string{"draft 2026-04-10", "paid 2026-03-10"}},
		"of the customer": {func(p *stripego.InvoiceListParams) {
			p.Subscription, p.Customer, p.Status = nil, &other.Customer, stripego.String("draft")
		}, []string{"draft 2026-04-10"}},
	} {
		if diff := cmp.Diff(tc.want, list(tc.change)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	up, err := w.api.Invoices.Upcoming(&stripego.InvoiceUpcomingParams{Subscription: &sub.ID,
		Expand: []*string{stripego.String("subscription"), stripego.String("customer.invoice_settings.default_payment_method")}})
	w.ok(err)
	if up.ID != "" || up.Total != 999 || up.Created != epoch.AddDate(0, 4, 0).Unix() || up.Subscription.Status != "active" ||
		up.Lines.Data[0].Period.Start != epoch.AddDate(0, 4, 0).Unix() || up.BillingReason != "upcoming" {
		t.Errorf("upcoming %+v", up)
	}
	w.ok(w.CancelAtPeriodEnd(sub.ID, true, stripe.ByRequest("")))
	_, err = w.api.Invoices.Upcoming(&stripego.InvoiceUpcomingParams{Subscription: &sub.ID})
	if e := stripeError(t, err); e.Code != stripego.ErrorCodeInvoiceUpcomingNone || e.HTTPStatusCode != 404 {
		t.Errorf("upcoming of an ending subscription: %+v", e)
	}
	w.refused("/v1/invoices/upcoming/lines?subscription="+sub.ID, 404, "invoice_upcoming_none")
}

func TestSearch(t *testing.T) {
	w := newWorld(t, func(c *stripe.Config) { c.SearchLag = time.Minute })
	meta := func(v string) func(*stripe.SubscriptionParams) {
		return func(p *stripe.SubscriptionParams) { p.Metadata = map[string]string{"limio id": v} }
	}
	a, b, none := w.subscribe(meta("sub-a's")), w.subscribe(meta("sub-b")), w.subscribe()
	w.ok(w.CancelNow(b.ID, stripe.ByRequest("")))
	search := func(query string, limit int64) (got []string) {
		p := &stripego.SubscriptionSearchParams{}
		p.Query, p.Limit = query, stripego.Int64(limit)
		it := w.api.Subscriptions.Search(p)
		for it.Next() {
			got = append(got, it.Subscription().ID)
		}
		w.ok(it.Err())
		return got
	}
	if got := search("status:'active'", 10); len(got) != 0 {
		t.Errorf("what was made just now is found: %v", got)
	}
	w.clock.Advance(time.Minute)
	for query, want := range map[string][]string{
		`status:'active'`:                                  {none.ID, a.ID},
		`status:"canceled"`:                                {b.ID},
		`-status:'active'`:                                 {b.ID},
		`metadata['limio id']:'sub-a\'s'`:                  {a.ID},
		`metadata["limio id"]:"sub-b" AND status:'active'`: nil,
		`metadata["limio id"]~"ub-b" OR status:'active'`:   {none.ID, b.ID, a.ID},
		`metadata['limio id']:null`:                        {none.ID},
		`-metadata['limio id']:null`:                       {b.ID, a.ID},
		`created>0 status:'canceled'`:                      {b.ID},
	} {
		for _, limit := range []int64{1, 10} {
			if diff := cmp.Diff(want, search(query, limit)); diff != "" {
				t.Errorf("%s: %s", query, diff)
			}
		}
	}
	for _, bad := range []string{"status", "status:", "status:'active", "metadata:'x'", "colour:'red'", "status~'act'",
		"status:'a' AND created>1 OR created>2", "metadata['k']~'ab'"} {
		w.refused("/v1/subscriptions/search?query="+url.QueryEscape(bad), 400, "")
	}
}

func TestPaymentMethodsAndCustomers(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	first, _ := w.Customer(sub.Customer)
	sepa, err := w.AddPaymentMethod(stripe.PaymentMethodParams{Customer: sub.Customer, Type: "sepa_debit", Last4: "3000", Country: "DE"})
	w.ok(err)
	legacy, err := w.AddPaymentMethod(stripe.PaymentMethodParams{Customer: sub.Customer, Legacy: true, Card: stripe.Card{Brand: "amex", Last4: "8431"}})
	w.ok(err)
	var got []string
	it := w.api.Customers.ListPaymentMethods(&stripego.CustomerListPaymentMethodsParams{Customer: &sub.Customer})
	for it.Next() {
		got = append(got, it.PaymentMethod().ID)
	}
	w.ok(it.Err())
	if diff := cmp.Diff([]string{sepa.ID, first.DefaultPaymentMethod}, got); diff != "" {
		t.Error(diff)
	}
	pm, err := w.api.PaymentMethods.Get(sepa.ID, nil)
	w.ok(err)
	if pm.Card != nil || pm.SEPADebit.Last4 != "3000" || pm.SEPADebit.Country != "DE" {
		t.Errorf("sepa %+v", pm)
	}
	p := &stripego.CustomerParams{}
	p.AddExpand("default_source")
	p.AddExpand("subscriptions.data.default_payment_method")
	cus, err := w.api.Customers.Get(sub.Customer, p)
	w.ok(err)
	if cus.DefaultSource.Card == nil || cus.DefaultSource.Card.Last4 != "8431" || cus.DefaultSource.ID != legacy.ID || len(cus.Subscriptions.Data) != 1 {
		t.Errorf("customer %+v", cus)
	}
	w.take()

	w.ok(w.DetachPaymentMethod(first.DefaultPaymentMethod, stripe.ByRequest("")))
	events := w.take()
	if e := only(t, events, "payment_method.detached"); e.Data.Object["customer"] != nil ||
		!cmp.Equal(e.Data.Previous, map[string]any{"customer": sub.Customer}) {
		t.Errorf("detached: %v before %v", e.Data.Object["customer"], e.Data.Previous)
	}
	if e := only(t, events, "customer.updated"); !cmp.Equal(e.Data.Previous,
		map[string]any{"invoice_settings": map[string]any{"default_payment_method": first.DefaultPaymentMethod}}) {
		t.Errorf("customer.updated after %v", e.Data.Previous)
	}
	if pm, err := w.api.PaymentMethods.Get(first.DefaultPaymentMethod, nil); err != nil || pm.Customer != nil {
		t.Errorf("the detached one: %+v, %v", pm, err)
	}

	w.ok(w.DeleteCustomer(sub.Customer, stripe.ByRequest("")))
	if diff := cmp.Diff([]string{"customer.subscription.deleted", "customer.deleted"}, types(w.take())); diff != "" {
		t.Error(diff)
	}
	_, _, body := w.get("/v1/customers/" + sub.Customer)
	if diff := cmp.Diff(map[string]any{"id": sub.Customer, "object": "customer", "deleted": true}, body); diff != "" {
		t.Error(diff)
	}
	sp := &stripego.SubscriptionParams{}
	sp.AddExpand("customer.invoice_settings.default_payment_method")
	gone, err := w.api.Subscriptions.Get(sub.ID, sp)
	w.ok(err)
	if !gone.Customer.Deleted || gone.Status != "canceled" {
		t.Errorf("the deleted customer's subscription: %+v", gone)
	}
}

func TestFaults(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe()
	const route = "GET /v1/subscriptions/{id}"
	for code, want := range map[string]struct {
		status int
		code   string
		reason bool
	}{
		"rate_limit": {429, "rate_limit", true}, "lock_timeout": {429, "lock_timeout", false}, "internal": {500, "", false},
		"unavailable": {503, "", false}, "forbidden": {403, "", false}, "missing": {404, "resource_missing", false}, "no such fault": {500, "", false},
	} {
		w.ResetCalls()
		w.Inject(httpsim.Fault{Route: route, Code: code, Times: 1})
		status, header, body := w.get("/v1/subscriptions/" + sub.ID)
		got, _ := body["error"].(map[string]any)["code"].(string)
		if status != want.status || got != want.code || (header.Get("Stripe-Rate-Limited-Reason") != "") != want.reason ||
			header.Get("Retry-After") != "" || header.Get("Request-Id") == "" {
			t.Errorf("%s: %d %v %v", code, status, body, header)
		}
		if status, _, _ := w.get("/v1/subscriptions/" + sub.ID); status != http.StatusOK {
			t.Errorf("%s: after the fault: %d", code, status)
		}
		if diff := cmp.Diff(map[string]int{route: 2}, w.Calls()); diff != "" {
			t.Error(diff)
		}
	}
	w.Inject(httpsim.Fault{Code: "rate_limit", Times: 1, Header: map[string]string{"Retry-After": "2",
		"Stripe-Rate-Limited-Reason": "global-rate"}})
	_, err := w.api.Subscriptions.Get(sub.ID, nil)
	if e := stripeError(t, err); e.Code != stripego.ErrorCodeRateLimit || e.LastResponse.Header.Get("Retry-After") != "2" ||
		e.LastResponse.Header.Get("Stripe-Rate-Limited-Reason") != "global-rate" {
		t.Errorf("%+v", e)
	}
	w.Inject(httpsim.Fault{Drop: true}) // for good: net/http itself repeats a GET once
	if _, err := w.api.Subscriptions.Get(sub.ID, nil); err == nil {
		t.Error("a dropped connection went unnoticed")
	}
}
