package zuora

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
	"hotsync/record"
)

// Kinds of record whose change is a change of an account.
const (
	KindAccounts      = "accounts"
	KindSubscriptions = "subscriptions"
	KindContacts      = "contacts"
	KindMethods       = "payment-methods"
)

// ChangeKinds returns the kinds that Changed takes. A change of one does not
// reliably bump another's stamp, so a sweep asks for each (zuora-stripe.md Z6).
func ChangeKinds() []string {
	return []string{KindAccounts, KindSubscriptions, KindContacts, KindMethods}
}

// Accounts returns a page of all accounts, 99 for one call. The first page has
// the cursor "". Accounts that change while the pages are read come once more
// at the end, so none is missed and some may come twice.
func (c *Client) Accounts(ctx context.Context, cursor string) (record.Page, error) {
	query := c.listed()
	query.Set("sort[]", "updateddate.ASC")
	page, err := c.accounts(ctx, query, cursor)
	if err != nil {
		return record.Page{}, fmt.Errorf("list accounts: %w", err)
	}
	return page, nil
}

// Glimpses returns what a list shows of these accounts, in the order of ids:
// one call for each 99. Those that do not exist are absent.
func (c *Client) Glimpses(ctx context.Context, ids []string) ([]record.Glimpse, error) {
	seen := map[string]record.Glimpse{}
	for some := range slices.Chunk(listable(ids), maxExpanded) {
		query := c.listed()
		query.Set("filter[]", "id.IN:["+strings.Join(some, ",")+"]")
		for cursor := ""; ; {
			page, err := c.accounts(ctx, query, cursor)
			if err != nil {
				return nil, fmt.Errorf("list %d accounts by id: %w", len(some), err)
			}
			for _, g := range page.Glimpses {
				seen[g.Key.ID] = g
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
	}
	var out []record.Glimpse
	for _, id := range ids {
		if g, ok := seen[id]; ok {
			out = append(out, g)
			delete(seen, id)
		}
	}
	return out, nil
}

// listable returns the ids that an IN filter can hold, each once. A comma or a
// bracket would be read as part of the list (zuora-stripe.md Z3); no id has one.
func listable(ids []string) []string {
	var out []string
	for _, id := range ids {
		if rest.Segment(id) && !strings.ContainsAny(id, ",[]") {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Changed returns the ids of accounts of which a record of this kind was updated
// at since or later, each once: a page of 99 records for one call, and the
// cursor of the next page, "" on the last one. Zuora's changes commit late, so
// since should overlap what was read before by two hours (zuora-stripe.md Z6).
func (c *Client) Changed(ctx context.Context, kind string, since time.Time, cursor string) (accounts []string, next string, err error) {
	if !slices.Contains(ChangeKinds(), kind) {
		return nil, "", fault.Newf(fault.Refused, "list changes: %q is none of %s", kind, strings.Join(ChangeKinds(), ", "))
	}
	field := "accountid"
	if kind == KindAccounts {
		field = "id"
	}
	var rows []struct {
		ID      string `json:"id"`
		Account string `json:"accountId"`
	}
	next, err = c.query(ctx, kind, url.Values{
		"filter[]": {"updateddate.GE:" + since.UTC().Format("2006-01-02T15:04:05Z")}, "sort[]": {"updateddate.ASC"},
		"fields[]": {field}, "pageSize": {strconv.Itoa(maxExpanded)},
	}, cursor, &rows)
	if err != nil {
		return nil, "", fmt.Errorf("list changed %s: %w", kind, err)
	}
	for _, row := range rows {
		id := row.Account
		if kind == KindAccounts {
			id = row.ID
		}
		if rest.Segment(id) && !slices.Contains(accounts, id) { // a contact may belong to none
			accounts = append(accounts, id)
		}
	}
	return accounts, next, nil
}

// listed asks for what the mark of an account needs. Payment methods come
// whole, since what matters of one depends on its type.
func (c *Client) listed() url.Values {
	const contactFields = "firstname,lastname,address1,address2,city,state,postalcode,country," +
		"workemail,personalemail,workphone,mobilephone,homephone"
	query := expanded()
	fields := "id,accountnumber,name,status,crmid,currency,defaultpaymentmethodid"
	if c.cfg.Schedules {
		fields += ",billcycleday,lastinvoicedate"
	}
	query.Set("account.fields[]", fields)
	query.Set("billto.fields[]", contactFields)
	query.Set("soldto.fields[]", contactFields)
	return query
}

// accounts reads one page of accounts.
func (c *Client) accounts(ctx context.Context, query url.Values, cursor string) (record.Page, error) {
	var rows []account
	next, err := c.query(ctx, KindAccounts, query, cursor, &rows)
	if err != nil {
		return record.Page{}, err
	}
	page := record.Page{Next: next}
	for _, a := range rows {
		if !rest.Segment(a.ID) {
			return record.Page{}, fault.Newf(fault.Unavailable, "GET %s: zuora answered a row without a usable id", routeAccounts)
		}
		page.Glimpses = append(page.Glimpses, record.Glimpse{Key: record.ZuoraAccount(a.ID), Mark: c.mark(a)})
	}
	return page, nil
}

// query reads one page of an Object Query list into rows, and returns the
// cursor of the next one.
func (c *Client) query(ctx context.Context, kind string, query url.Values, cursor string, rows any) (next string, err error) {
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	req := rest.Request{Method: http.MethodGet, Route: "/object-query/" + kind, URL: c.rest.URL(query, "object-query", kind)}
	var page struct {
		Data     json.RawMessage `json:"data"`
		NextPage string          `json:"nextPage"`
	}
	if err := c.call(ctx, req, &page); err != nil {
		return "", err
	}
	if page.Data == nil || string(page.Data) == "null" { // a list of nothing still is a list
		return "", unreadable(req, rest.Answer{}, fmt.Errorf("there is no data in it, not even none"))
	}
	if err := json.Unmarshal(page.Data, rows); err != nil {
		return "", unreadable(req, rest.Answer{Body: page.Data}, err)
	}
	if page.NextPage != "" && page.NextPage == cursor {
		return "", fault.Newf(fault.Unavailable, "%s: zuora names the same page as the next one", req)
	}
	return page.NextPage, nil
}

const routeSubscription = "/v1/subscriptions/{number}"

// AccountOf returns the id of the account that has the subscription with this
// number: one call. NotFound when there is none.
func (c *Client) AccountOf(ctx context.Context, subscriptionNumber string) (accountID string, err error) {
	if !rest.Segment(subscriptionNumber) {
		return "", fault.Newf(fault.NotFound, "no Zuora subscription can have the number %q", rest.Snippet(subscriptionNumber, 80))
	}
	var sub struct {
		ID      string `json:"id"`
		Number  string `json:"subscriptionNumber"`
		Account string `json:"accountId"`
	}
	at := c.rest.URL(nil, "v1", "subscriptions", subscriptionNumber)
	if err := c.get(ctx, routeSubscription, at, &sub); err != nil {
		return "", fmt.Errorf("read subscription %s: %w", subscriptionNumber, err)
	}
	switch {
	case sub.Number != subscriptionNumber && sub.ID != subscriptionNumber: // the path takes an id as well
		return "", fault.Newf(fault.NotFound, "read subscription %s: zuora answered with %q", subscriptionNumber, rest.Snippet(sub.Number, 80))
	case !rest.Segment(sub.Account):
		return "", fault.Newf(fault.Unavailable, "read subscription %s: zuora answered without an account", subscriptionNumber)
	}
	return sub.Account, nil
}
