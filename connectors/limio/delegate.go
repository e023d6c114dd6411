package limio

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
	"hotsync/record"
)

// delegate asks Limio to make a subscription true by its own sync (limio.md 3.4
// and 3.6): by its number for one of Zuora, by its Limio id for one of Stripe.
func (c *Client) delegate(ctx context.Context, w record.Write) (string, error) {
	if w.Type != record.SubscriptionType {
		return "", fault.Newf(fault.Bug, "limio syncs subscriptions only, no %q", w.Type)
	}
	switch w.Via {
	case "zuora":
		return c.importZuora(ctx, w.Ref)
	case "stripe":
		if !strings.HasPrefix(w.ID, "sub-") || !rest.Segment(w.ID) {
			return "", fault.Newf(fault.Bug, "%q is no id of a Limio subscription (sub-…)", rest.Snippet(w.ID, 80))
		}
		id, err := c.sync(ctx, "stripe", "{id}", w.ID)
		if err == nil && id != "" && id != w.ID {
			return "", fault.Newf(fault.UnknownOutcome, "limio answers for another subscription, %s", rest.Snippet(id, 80))
		}
		return w.ID, err
	}
	return "", fault.Newf(fault.Bug, "no sync endpoint is known for %q", w.Via)
}

// importZuora asks Limio to make or refresh a subscription from Zuora.
func (c *Client) importZuora(ctx context.Context, number string) (string, error) {
	if !rest.Segment(number) {
		return "", fault.Newf(fault.Bug, "%q is no Zuora subscription number", rest.Snippet(number, 80))
	}
	id, err := c.sync(ctx, "zuora", "{number}", number)
	if err == nil && !strings.HasPrefix(id, "sub-") {
		return "", fault.Newf(fault.UnknownOutcome, "limio says it succeeded, but names no subscription")
	}
	return id, err
}

// sync calls one of Limio's sync endpoints and returns the id in its answer, ""
// when it has none. Both are idempotent: where the outcome is unknown, reading
// back and asking again is safe.
func (c *Client) sync(ctx context.Context, service, placeholder, id string) (string, error) {
	req := rest.Request{
		Method: http.MethodPost, Route: "/api/plugins/" + service + "/sync/subscription/" + placeholder, Writes: true,
		URL: c.rest.URL(nil, "api", "plugins", service, "sync", "subscription", id),
	}
	answer, err := c.do(ctx, req)
	if err != nil {
		return "", err
	}
	var done struct {
		Success *bool  `json:"success"`
		ID      string `json:"id"`
	}
	switch err := json.Unmarshal(answer.Body, &done); {
	case err != nil || done.Success == nil:
		return "", fault.Newf(fault.UnknownOutcome, "%s: limio answered %d, but does not say whether it succeeded", req, answer.Status)
	case !*done.Success:
		return "", fault.Newf(fault.Refused, "%s: limio says it did not succeed: %s", req, complaint(answer))
	}
	return done.ID, nil
}
