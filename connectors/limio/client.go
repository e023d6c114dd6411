package limio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
	"hotsync/record"
)

// tokenEarly is how long before it dies a token is renewed (limio.md 1).
const tokenEarly = time.Minute

// Client reads and writes one Limio tenant. It is safe for concurrent use.
type Client struct {
	cfg  Config
	rest *rest.Client
}

// New returns a client, or an error that joins all that is wrong with cfg. It
// starts nothing and dials nothing.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("limio: %w", err)
	}
	base, err := rest.ParseBase(cfg.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("limio: base_url: %w", err)
	}
	return &Client{cfg: cfg, rest: rest.New(rest.Config{
		Service: "limio", Base: base, TokenPath: "/oauth2/token", ClientID: cfg.ClientID, Secret: cfg.ClientSecret,
		Scope: cfg.Scope, Early: tokenEarly, Timeout: cfg.Timeout, MaxFlight: cfg.MaxInFlight,
		UserAgent: "hotsync/" + cfg.Build, Transport: cfg.Transport, Observe: cfg.Observe, Now: cfg.Now,
		Gate: cfg.Gate, // to which a 502 is an absence, though it may mean bad input (limio.md 3.8)
	})}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.rest.Close() }

// Ping returns nil when there is a good token or one can be had. Its error has
// the class Forbidden when the credentials are refused.
func (c *Client) Ping(ctx context.Context) error { return c.rest.Ping(ctx) }

// Subscription returns a subscription and what is related to it (offers,
// schedules, payment methods, addresses, orders), itself first: two calls at
// once. NotFound when there is none.
func (c *Client) Subscription(ctx context.Context, id string) ([]record.Object, error) {
	return c.withRelated(ctx, record.SubscriptionType, id)
}

// Customer returns a customer and what belongs to it (subscriptions,
// identities, payment methods, addresses), itself first: two calls at once.
// NotFound when there is none.
func (c *Client) Customer(ctx context.Context, id string) ([]record.Object, error) {
	return c.withRelated(ctx, record.Customer, id)
}

// SubscriptionByNumber returns the subscription that Limio knows by a Zuora
// subscription number (assumption 1). NotFound when there is none.
func (c *Client) SubscriptionByNumber(ctx context.Context, number string) (record.Object, error) {
	return c.object(ctx, "zuora", record.SubscriptionType, number)
}

// CustomerByAccount returns the customer of a Zuora account (assumption 1).
// NotFound when there is none.
func (c *Client) CustomerByAccount(ctx context.Context, zuoraAccountID string) (record.Object, error) {
	return c.object(ctx, "zuora", record.Customer, zuoraAccountID)
}

// Related returns what is related to a subscription: one call. NotFound when
// there is no such subscription.
func (c *Client) Related(ctx context.Context, subscriptionID string) ([]record.Object, error) {
	return c.related(ctx, record.SubscriptionType, subscriptionID)
}

func (c *Client) withRelated(ctx context.Context, typ record.Type, id string) ([]record.Object, error) {
	var self record.Object
	var related []record.Object
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { self, err = c.object(gctx, "limio", typ, id); return err })
	g.Go(func() (err error) { related, err = c.related(gctx, typ, id); return err })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return append([]record.Object{self}, related...), nil
}

// object reads one object, by its own id or by that of another service.
func (c *Client) object(ctx context.Context, service string, typ record.Type, id string) (record.Object, error) {
	what := fmt.Sprintf("read %s %s", typ, rest.Snippet(id, 80))
	if !rest.Segment(id) {
		return record.Object{}, fault.Newf(fault.NotFound, "%s: no such id can exist", what)
	}
	path := pathType(typ)
	req := rest.Request{
		Method: http.MethodGet, Route: "/api/objects/" + service + "/" + path + "/{id}",
		URL: c.rest.URL(nil, "api", "objects", service, path, id),
	}
	answer, err := c.do(ctx, req)
	if err != nil {
		return record.Object{}, fmt.Errorf("%s: %w", what, err)
	}
	o, known, err := decodeObject(answer.Body)
	switch {
	case err != nil:
		return record.Object{}, unreadable(what, err)
	case !known || o.Type != typ || o.ID == "":
		return record.Object{}, unreadable(what, fmt.Errorf("it is no %s with an id", typ))
	}
	return o, nil
}

// related reads the objects around one. The list is whole (assumptions 2 and
// 3): a cursor in the answer would mean that it is not, and taking a part for
// the whole would make everything else a second time.
func (c *Client) related(ctx context.Context, typ record.Type, id string) ([]record.Object, error) {
	what := fmt.Sprintf("read what is related to %s %s", typ, rest.Snippet(id, 80))
	if !rest.Segment(id) {
		return nil, fault.Newf(fault.NotFound, "%s: no such id can exist", what)
	}
	path := pathType(typ)
	req := rest.Request{
		Method: http.MethodGet, Route: "/api/objects/limio/" + path + "/{id}/related",
		URL: c.rest.URL(nil, "api", "objects", "limio", path, id, "related"),
	}
	answer, err := c.do(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	var list struct {
		Items     []json.RawMessage `json:"items"`
		QueryMore any               `json:"queryMore"`
	}
	if err := json.Unmarshal(answer.Body, &list); err != nil {
		return nil, unreadable(what, err)
	}
	if list.Items == nil {
		return nil, unreadable(what, errors.New("it has no items, not even none"))
	}
	if list.QueryMore != nil && list.QueryMore != "" {
		return nil, fault.Newf(fault.Refused, "%s: limio's list has more pages, which it is not known to have: nothing is done with a part of it", what)
	}
	var out []record.Object
	for _, raw := range list.Items {
		o, known, err := decodeObject(raw)
		switch {
		case err != nil:
			return nil, unreadable(what, err)
		case known && o.ID == "":
			return nil, unreadable(what, fmt.Errorf("a %s in it has no id", o.Type))
		case known:
			out = append(out, o)
		}
	}
	return out, nil
}

// pathType is how paths name a record type (limio.md 3.1).
func pathType(t record.Type) string {
	switch t {
	case record.Identity:
		return "identities"
	case record.AddressType:
		return "address"
	}
	return string(t) + "s"
}

// do makes a call and turns an answer that says no into an error with a class.
func (c *Client) do(ctx context.Context, req rest.Request) (rest.Answer, error) {
	return c.call(ctx, req, rest.Class)
}

// once makes a write that must not be made twice. What elsewhere passes for a
// fault that came before the deed leaves it open here: behind Limio's 502 may be
// a fault of a system that comes after it (limio.md 3.8).
func (c *Client) once(ctx context.Context, req rest.Request) (rest.Answer, error) {
	return c.call(ctx, req, func(status int, writes bool) fault.Class {
		if status >= http.StatusInternalServerError || status == http.StatusRequestTimeout {
			return fault.UnknownOutcome
		}
		return rest.Class(status, writes)
	})
}

func (c *Client) call(ctx context.Context, req rest.Request, class func(status int, writes bool) fault.Class) (rest.Answer, error) {
	answer, err := c.rest.Do(ctx, req)
	if err != nil {
		return rest.Answer{}, err
	}
	if answer.Status < 300 {
		return answer, nil
	}
	text := fmt.Sprintf("%s: limio answered %d", req, answer.Status)
	if said := complaint(answer); said != "" {
		text += ": " + said
	}
	return rest.Answer{}, rest.Failure(class(answer.Status, req.Writes), answer, c.cfg.Now(), text)
}

// maxComplaint bounds what is kept of an error body.
const maxComplaint = 300

// complaint reads an error body, whose shape Limio does not document (limio.md
// 3.8): message, error, errors[], or the bare text.
func complaint(a rest.Answer) string {
	var body struct {
		Message any   `json:"message"`
		Error   any   `json:"error"`
		Errors  []any `json:"errors"`
	}
	if json.Unmarshal(a.Body, &body) != nil {
		if strings.Contains(a.Header.Get("Content-Type"), "html") {
			return "" // a gateway's page says no more than the status
		}
		return rest.Snippet(string(a.Body), maxComplaint)
	}
	var said []string
	for _, part := range append([]any{body.Message, body.Error}, body.Errors...) {
		if m, ok := part.(map[string]any); ok {
			part = m["message"]
		}
		if s, ok := part.(string); ok && s != "" {
			said = append(said, s)
		}
	}
	return rest.Snippet(strings.Join(said, "; "), maxComplaint)
}

// unreadable is the error for an answer that is not what its endpoint sends.
func unreadable(what string, err error) error {
	return fault.As(fault.Unavailable, fmt.Errorf("%s: limio's answer cannot be used: %w", what, err))
}
