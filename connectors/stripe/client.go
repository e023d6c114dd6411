package stripe

import (
	"context"
	"errors"

	"hotsync/record"
)

// Client reads Stripe. It is safe for concurrent use.
type Client struct{ cfg ClientConfig }

// NewClient returns a client, or an error that names what is wrong with cfg.
// It dials nothing.
func NewClient(cfg ClientConfig) (*Client, error) { return &Client{cfg: cfg}, nil }

// Subscription reads one subscription.
func (c *Client) Subscription(_ context.Context, _ string) (record.Subscription, error) {
	return record.Subscription{}, errors.New("subscription: not written yet")
}

// SubscriptionsOf returns the ids of all subscriptions of a customer.
func (c *Client) SubscriptionsOf(_ context.Context, _ string) ([]string, error) {
	return nil, errors.New("subscriptions of: not written yet")
}

// Ping reports whether Stripe answers and takes the key.
func (c *Client) Ping(_ context.Context) error { return errors.New("ping: not written yet") }
