package zuora

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
)

const (
	headerRequestID = "Zuora-Request-Id"

	// Zuora's own limits (zuora-stripe.md Z3, Z4).
	maxSubscriptions = 40 // a page
	maxExpanded      = 99 // rows of a query, and of each expanded list, cut without a word

	maxPages = 250 // of one list; more than that is a loop

	tokenEarly = 5 * time.Minute
)

// Client reads one Zuora tenant. It is safe for concurrent use.
type Client struct {
	cfg  Config
	rest *rest.Client
}

// New returns a client, or an error that joins all that is wrong with cfg. It
// starts nothing and dials nothing.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("zuora: %w", err)
	}
	base, err := rest.ParseBase(cfg.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("zuora: base_url: %w", err)
	}
	return &Client{cfg: cfg, rest: rest.New(rest.Config{
		Service: "zuora", Base: base, TokenPath: "/oauth/token", ClientID: cfg.ClientID, Secret: cfg.ClientSecret,
		Early: tokenEarly, Timeout: cfg.Timeout, MaxFlight: cfg.MaxInFlight, UserAgent: "hotsync/" + cfg.Build,
		RequestID: headerRequestID, Unauthorized: unauthorized, Gate: cfg.Gate,
		Health:    func(a rest.Answer) fault.Class { return judge(a).class }, // 200 may say no (zuora-stripe.md Z1)
		Transport: cfg.Transport, Observe: cfg.Observe, Now: cfg.Now,
	})}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.rest.Close() }

// Ping returns nil when there is a good token or one can be had. Its error has
// the class Forbidden when the credentials are refused.
func (c *Client) Ping(ctx context.Context) error { return c.rest.Ping(ctx) }

// get makes a GET call and decodes its answer.
func (c *Client) get(ctx context.Context, route string, u *url.URL, into any) error {
	return c.call(ctx, rest.Request{Method: http.MethodGet, Route: route, URL: u}, into)
}

// call makes a call and decodes its answer.
func (c *Client) call(ctx context.Context, req rest.Request, into any) error {
	req.Header = http.Header{
		"Zuora-Version":  {c.cfg.Version},
		"Zuora-Track-Id": {"hotsync-" + rand.Text()}, // 34 of at most 64 characters
	}
	if c.cfg.EntityID != "" {
		req.Header.Set("Zuora-Entity-Ids", c.cfg.EntityID)
	}
	if c.cfg.OrgIDs != "" {
		req.Header.Set("Zuora-Org-Ids", c.cfg.OrgIDs)
	}
	answer, err := c.rest.Do(ctx, req)
	if err != nil {
		return err
	}
	if err := c.check(req, answer); err != nil {
		return err
	}
	if err := json.Unmarshal(answer.Body, into); err != nil {
		return unreadable(req, answer, err)
	}
	return nil
}

// pages reads a v1 list page by page. Zuora names the next page with a whole
// address, which is followed only at the place that is configured: it would get
// our token (zuora-stripe.md Z4).
func (c *Client) pages(ctx context.Context, route string, first *url.URL, page func(json.RawMessage) (rows int, err error)) error {
	at := first
	for n := 1; ; n++ {
		var raw json.RawMessage
		if err := c.get(ctx, route, at, &raw); err != nil {
			return err
		}
		var list struct {
			NextPage string `json:"nextPage"`
		}
		err := json.Unmarshal(raw, &list)
		rows := 0
		if err == nil {
			rows, err = page(raw)
		}
		req := rest.Request{Method: http.MethodGet, Route: route}
		if err != nil {
			return unreadable(req, rest.Answer{Body: raw}, err)
		}
		if list.NextPage == "" || rows == 0 {
			return nil
		}
		next, err := at.Parse(list.NextPage)
		if err != nil || n == maxPages || next.String() == at.String() {
			return unreadable(req, rest.Answer{}, fmt.Errorf("page %d names no usable next page", n))
		}
		at = next
	}
}

// subscriptionPage is the address of the first page of an account's
// subscriptions.
func (c *Client) subscriptionPage(account string) *url.URL {
	return c.rest.URL(url.Values{
		"page": {"1"}, "pageSize": {strconv.Itoa(c.cfg.PageSize)}, "charge-detail": {"all-segments"},
	}, "v1", "subscriptions", "accounts", account)
}
