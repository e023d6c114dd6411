package stripe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"hotsync/internal/callout"
	"hotsync/internal/fault"
	"hotsync/record"
)

const pageSize = 100 // Stripe's most

// Client reads Stripe. It is safe for concurrent use.
//
// It never retries: stripe-go's own retries sleep without regard to the
// context and do not cover a plain 429 (zuora-stripe.md S3), and the caller
// has a budget to keep.
type Client struct {
	api      *client.API
	cardFrom string
	statuses map[string]record.Status
	gate     callout.Gate
	now      func() time.Time
}

// NewClient returns a client, or an error that names what is wrong with cfg.
// It dials nothing.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.BaseURL == "" {
		cfg.BaseURL = stripe.APIURL
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 8
	}
	if cfg.CardFrom == "" {
		cfg.CardFrom = CardFromCustomer
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = cfg.MaxInFlight
		cfg.Transport = t
	}
	if cfg.Gate == nil && cfg.MaxInFlight > 0 {
		cfg.Gate = callout.Slots(cfg.MaxInFlight)
	}
	statuses, statusErr := statusMap(cfg.StatusMap)
	if err := errors.Join(cfg.check(), statusErr); err != nil {
		return nil, err
	}
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		URL: stripe.String(cfg.BaseURL),
		HTTPClient: &http.Client{
			Timeout: cfg.Timeout,
			// A redirect would carry the key elsewhere; the API has none.
			CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
			Transport: &callout.Transport{
				Service: "stripe", Next: answers{cfg.Transport}, Route: route,
				Now: cfg.Now, Observe: cfg.Observe,
			},
		},
		MaxNetworkRetries: stripe.Int64(0),
		EnableTelemetry:   stripe.Bool(false),
		LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull},
	})
	return &Client{
		api:      client.New(cfg.Key.Reveal(), &stripe.Backends{API: backend, Connect: backend, Uploads: backend}),
		cardFrom: cfg.CardFrom,
		statuses: statuses,
		gate:     cfg.Gate,
		now:      cfg.Now,
	}, nil
}

func (cfg ClientConfig) check() error {
	var errs []error
	if cfg.Key.IsZero() {
		errs = append(errs, errors.New("a secret or restricted API key is required (sk_… or rk_…)"))
	} else if strings.ContainsFunc(cfg.Key.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs = append(errs, errors.New("the API key holds a space, a line end or a character that no key has"))
	}
	if u, err := url.Parse(cfg.BaseURL); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		errs = append(errs, fmt.Errorf("base URL %q: must be http or https with a host, such as %s", cfg.BaseURL, stripe.APIURL))
	}
	if cfg.Timeout < 0 || cfg.MaxInFlight < 0 {
		errs = append(errs, fmt.Errorf("time-out %s and calls in flight %d: must not be negative", cfg.Timeout, cfg.MaxInFlight))
	}
	if cfg.CardFrom != CardFromCustomer && cfg.CardFrom != CardFromSubscriptionFirst {
		errs = append(errs, fmt.Errorf("card from %q: must be %s or %s", cfg.CardFrom, CardFromCustomer, CardFromSubscriptionFirst))
	}
	return errors.Join(errs...)
}

// statusMap lays overrides over the defaults.
func statusMap(overrides map[string]string) (map[string]record.Status, error) {
	words := DefaultStatusMap()
	known := slices.Sorted(maps.Keys(words))
	var errs []error
	for _, s := range slices.Sorted(maps.Keys(overrides)) {
		if !slices.Contains(known, s) {
			errs = append(errs, fmt.Errorf("status map: %q is no status of a Stripe subscription, which are %s", s, strings.Join(known, ", ")))
		}
		words[s] = overrides[s]
	}
	out := map[string]record.Status{}
	for _, s := range known {
		switch words[s] {
		case "active":
			out[s] = record.StatusActive
		case "cancelled":
			out[s] = record.StatusCancelled
		case "leave":
			out[s] = record.StatusLeave
		default:
			errs = append(errs, fmt.Errorf("status map: %s is %q, must be active, cancelled or leave", s, words[s]))
		}
	}
	return out, errors.Join(errs...)
}

// SubscriptionsOf returns the ids of all subscriptions of a customer, ended
// ones too, newest first. For a deleted customer it returns those that Stripe
// still lists; for an unknown one the error is of class fault.NotFound.
func (c *Client) SubscriptionsOf(ctx context.Context, customerID string) ([]string, error) {
	ids, err := c.subscriptionsOf(ctx, customerID)
	if err != nil {
		return nil, fmt.Errorf("list subscriptions of customer %.60q: %w", customerID, err)
	}
	return ids, nil
}

func (c *Client) subscriptionsOf(ctx context.Context, customerID string) ([]string, error) {
	if !isID(customerID) {
		return nil, fault.Newf(fault.Refused, "not a Stripe id")
	}
	var ids []string
	err := c.pages(ctx, func(ctx context.Context, after *string) (last string, more bool, err error) {
		p := &stripe.SubscriptionListParams{Customer: stripe.String(customerID), Status: stripe.String("all")}
		p.ListParams = page(ctx, after)
		it := c.api.Subscriptions.List(p)
		for it.Next() {
			ids = append(ids, it.Subscription().ID)
			last = it.Subscription().ID
		}
		return last, it.SubscriptionList().HasMore, it.Err()
	})
	return ids, err
}

// Ping reports whether Stripe answers and the key may read subscriptions.
func (c *Client) Ping(ctx context.Context) error {
	err := c.call(ctx, func(ctx context.Context) error {
		p := &stripe.SubscriptionListParams{}
		p.Context, p.Single, p.Limit = ctx, true, stripe.Int64(1)
		it := c.api.Subscriptions.List(p)
		for it.Next() { // one page of one: to its end
			continue
		}
		return it.Err()
	})
	if err != nil {
		return fmt.Errorf("ask Stripe for one subscription: %w", err)
	}
	return nil
}

func page(ctx context.Context, after *string) stripe.ListParams {
	return stripe.ListParams{Context: ctx, Single: true, Limit: stripe.Int64(pageSize), StartingAfter: after}
}

// pages reads a list to its end, one call a page, so that every page waits for
// its own slot. read returns the last id of its page.
func (c *Client) pages(ctx context.Context, read func(ctx context.Context, after *string) (last string, more bool, err error)) error {
	var after *string
	seen := map[string]bool{}
	for {
		var last string
		var more bool
		err := c.call(ctx, func(ctx context.Context) (err error) {
			last, more, err = read(ctx, after)
			return err
		})
		if err != nil || !more {
			return err
		}
		if last == "" || seen[last] {
			// Going on would never end, and stopping here would be a partial
			// read that looks whole.
			return fault.Newf(fault.Unavailable, "stripe says that the list goes on after %q, and gave no new page", last)
		}
		seen[last] = true
		after = &last
	}
}

// call makes one call when the gate admits it, and classifies its error. Of a
// 429, classify tells a lock from a limit, and so does the gate.
func (c *Client) call(ctx context.Context, do func(context.Context) error) error {
	leave, err := c.gate.Enter(ctx)
	if err != nil {
		return err
	}
	said := callout.Result{Class: fault.Stopped} // in case of a panic
	defer func() { leave(said) }()
	var got answer
	if err = do(context.WithValue(ctx, answerKey{}, &got)); err != nil {
		err = classify(ctx, err, got, c.now())
	}
	said = callout.ResultOf(ctx, err)
	return err
}

// route returns the path of a request with placeholders instead of ids.
func route(r *http.Request) string {
	path := r.URL.Path
	if i := strings.Index(path, "/v1/"); i >= 0 {
		path = path[i:] // a proxy's prefix is no part of the route
	}
	if rest, ok := strings.CutPrefix(path, "/v1/subscriptions/"); ok && rest != "search" {
		return "/v1/subscriptions/{id}"
	}
	return path
}
