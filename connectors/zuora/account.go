package zuora

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
	"hotsync/record"
)

const (
	routeAccount       = "/object-query/accounts/{id}"
	routeAccounts      = "/object-query/accounts"
	routeSubscriptions = "/v1/subscriptions/accounts/{id}"
	routeMethods       = "/v1/accounts/{id}/payment-methods"
)

// Account returns an account by its id: two calls, one more for each further 40
// subscriptions, for 99 payment methods, and for schedules if those are read.
// NotFound when there is none.
//
// The calls are made one after the other. The mark comes from the first, so
// what changes in between makes the next list's mark differ; at once, a mark
// could be newer than the subscriptions that it is kept with, and hide their
// change from every sweep.
func (c *Client) Account(ctx context.Context, id string) (record.Account, error) {
	if !rest.Segment(id) {
		return record.Account{}, fault.Newf(fault.NotFound, "no Zuora account can have the id %q", rest.Snippet(id, 80))
	}
	var acc account
	if err := c.get(ctx, routeAccount, c.rest.URL(expanded(), "object-query", "accounts", id), &acc); err != nil {
		return record.Account{}, fmt.Errorf("read account %s: %w", id, err)
	}
	if acc.ID != id && acc.Number != id || !rest.Segment(acc.ID) {
		return record.Account{}, fault.Newf(fault.Unavailable, "read account %s: zuora answered with account %q", id, rest.Snippet(acc.ID, 80))
	}
	return c.complete(ctx, acc)
}

// AccountBy returns the one account whose custom field is exactly value. The
// lookup is the account read, so this costs what Account costs, one call after
// the other; with LookupZOQL one call more. NotFound when no account matches, and
// without a call when none could; Ambiguous, with the ids, when several do.
func (c *Client) AccountBy(ctx context.Context, field, value string) (record.Account, error) {
	if c.cfg.Lookup == LookupZOQL {
		id, err := c.Find(ctx, field, value)
		if err != nil {
			return record.Account{}, err
		}
		return c.Account(ctx, id)
	}
	row, err := c.match(ctx, field, value, expanded())
	if err != nil {
		return record.Account{}, err
	}
	var acc account
	if err := json.Unmarshal(row, &acc); err != nil {
		return record.Account{}, unreadable(rest.Request{Method: "GET", Route: routeAccounts}, rest.Answer{Body: row}, err)
	}
	if !rest.Segment(acc.ID) {
		return record.Account{}, fault.Newf(fault.Unavailable, "look up account by %s: zuora answered a row without an id", field)
	}
	return c.complete(ctx, acc)
}

// Find returns the id of the one account whose custom field is exactly value:
// one call, with the rules of AccountBy.
func (c *Client) Find(ctx context.Context, field, value string) (string, error) {
	if c.cfg.Lookup == LookupZOQL {
		return c.findZOQL(ctx, field, value)
	}
	row, err := c.match(ctx, field, value, url.Values{
		"fields[]": {"id,accountNumber," + field}, "pageSize": {strconv.Itoa(maxExpanded)},
	})
	if err != nil {
		return "", err
	}
	return rowID(row), nil
}

// expanded asks for everything an account read needs but the content of its
// subscriptions, of which it shows what the mark needs.
func expanded() url.Values {
	return url.Values{
		"expand[]":               {"billto", "soldto", "paymentmethods", "subscriptions"},
		"subscriptions.fields[]": {versionFields}, "pageSize": {strconv.Itoa(maxExpanded)},
	}
}

// complete reads what an account's own answer does not hold, and maps it all.
func (c *Client) complete(ctx context.Context, acc account) (record.Account, error) {
	mark := c.mark(acc)
	subs, err := c.subscriptions(ctx, acc.ID)
	if err != nil {
		return record.Account{}, fmt.Errorf("read account %s: %w", acc.ID, err)
	}
	if len(acc.PaymentMethods) >= maxExpanded { // cut without a word, perhaps
		var all methods
		if err := c.get(ctx, routeMethods, c.rest.URL(nil, "v1", "accounts", acc.ID, "payment-methods"), &all); err != nil {
			return record.Account{}, fmt.Errorf("read payment methods of account %s: %w", acc.ID, err)
		}
		acc.PaymentMethods = all
	}
	out := c.mapAccount(acc, subs)
	out.Mark = mark
	if c.cfg.Schedules {
		if err := c.schedules(ctx, acc, subs, &out); err != nil {
			return record.Account{}, err
		}
	}
	return out, nil
}

// subscriptions reads the latest versions of all subscriptions of an account.
// Pages are ordered by their last update, so one that is updated between two
// pages makes another show up twice and may itself be missed: then the list is
// read once more.
func (c *Client) subscriptions(ctx context.Context, account string) ([]subscription, error) {
	subs, moved, err := c.readSubscriptions(ctx, account)
	if err == nil && moved {
		subs, _, err = c.readSubscriptions(ctx, account)
	}
	return subs, err
}

func (c *Client) readSubscriptions(ctx context.Context, account string) (subs []subscription, moved bool, err error) {
	at := map[string]int{} // by number
	err = c.pages(ctx, routeSubscriptions, c.subscriptionPage(account), func(raw json.RawMessage) (int, error) {
		var page struct {
			Subscriptions []subscription `json:"subscriptions"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return 0, err
		}
		if page.Subscriptions == nil {
			return 0, fmt.Errorf("there are no subscriptions in it, not even none")
		}
		for _, s := range page.Subscriptions {
			i, twice := at[s.Number]
			switch {
			case s.Number == "":
				return 0, fmt.Errorf("a subscription has no number")
			case !twice:
				at[s.Number] = len(subs)
				subs = append(subs, s)
			case s.Version > subs[i].Version:
				subs[i] = s
			}
			moved = moved || twice
		}
		return len(page.Subscriptions), nil
	})
	return subs, moved, err
}

// maxValue is how long a value may be that is looked up: Zuora's custom text
// fields hold 255 characters.
const maxValue = 255

// searchable rejects what must never reach Zuora as a filter: null and the empty
// string would match every account without the field (zuora-stripe.md Z3).
func searchable(field, value string) error {
	if !fieldName(field) {
		return fault.Newf(fault.Refused, "look up account: %q is no name of a Zuora field, such as LimioExternalId__c", rest.Snippet(field, 80))
	}
	why := ""
	switch {
	case strings.TrimSpace(value) == "":
		why = "an empty value"
	case strings.EqualFold(strings.TrimSpace(value), "null"):
		why = "the value null"
	case !printable(value):
		why = "a value with control characters"
	case len([]rune(value)) > maxValue:
		why = fmt.Sprintf("a value over %d characters", maxValue)
	default:
		return nil
	}
	return fault.Newf(fault.NotFound, "no account is looked up by %s with %s", field, why)
}

// match returns the one row of an account query whose field is exactly value.
// Zuora compares without regard to case, we do not.
func (c *Client) match(ctx context.Context, field, value string, query url.Values) (json.RawMessage, error) {
	if err := searchable(field, value); err != nil {
		return nil, err
	}
	query.Set("filter[]", field+".EQ:"+value)
	var exact []json.RawMessage
	rows, without := 0, 0
	for n := 0; ; n++ {
		var page struct {
			Data     []json.RawMessage `json:"data"`
			NextPage string            `json:"nextPage"`
		}
		if err := c.get(ctx, routeAccounts, c.rest.URL(query, "object-query", "accounts"), &page); err != nil {
			return nil, fmt.Errorf("look up account by %s: %w", field, err)
		}
		for _, row := range page.Data {
			rows++
			switch got, ok := customValue(row, field); {
			case !ok:
				without++
			case got == value:
				exact = append(exact, row)
			}
		}
		if page.NextPage == "" || len(page.Data) == 0 {
			break
		}
		if n == maxPages {
			return nil, fault.Newf(fault.Unavailable, "look up account by %s: zuora's answer has no end", field)
		}
		query.Set("cursor", page.NextPage)
	}
	if rows > 0 && without == rows {
		return nil, fault.Newf(fault.Refused, "look up account by %s: zuora found accounts, but they have no such field: check its name and its permissions", field)
	}
	return one(field, exact)
}

// one enforces the 1:1 rule (hot-sync.txt, option B).
func one(field string, exact []json.RawMessage) (json.RawMessage, error) {
	switch len(exact) {
	case 0:
		return nil, fault.Newf(fault.NotFound, "no account has exactly this value in %s", field)
	case 1:
		return exact[0], nil
	}
	ids := make([]string, len(exact))
	for i, row := range exact {
		ids[i] = rowID(row)
	}
	slices.Sort(ids)
	listed, more := ids, ""
	if len(ids) > 20 {
		listed, more = ids[:20], ", …"
	}
	return nil, fault.Newf(fault.Ambiguous, "%d accounts have this value in %s: %s%s", len(ids), field, strings.Join(listed, ", "), more)
}

func rowID(row json.RawMessage) string {
	var id struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(row, &id) // the row was decoded before
	return id.ID
}

// customValue returns the text of a field of a row. Object Query lower-cases the
// first letter of custom fields, so its name is compared without regard to case.
func customValue(row json.RawMessage, field string) (string, bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(row, &fields) != nil {
		return "", false
	}
	for name, raw := range fields {
		if !strings.EqualFold(name, field) || string(raw) == "null" {
			continue
		}
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return s, true
		}
		return string(raw), true
	}
	return "", false
}
