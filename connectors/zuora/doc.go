// Package zuora reads Zuora accounts, with their subscriptions, payment methods
// and addresses. It promises to write nothing to Zuora, to spend two calls on an
// account with up to 40 subscriptions whichever way it is found, and to match a
// custom field exactly: byte for byte, one account or none.
//
// Its errors have a class (package fault), decided by Zuora's answer before its
// status, since older versions report failures with status 200
// (zuora-stripe.md Z1). The numbered sources (Z1 to Z5) are chapters there.
//
// # The parts
//
//	c, err := zuora.New(zuora.Config{BaseURL: "eu", ClientID: id, ClientSecret: s})  // dials nothing
//	defer c.Close()                               idle connections only
//	c.Account(ctx, id)                            (record.Account, error)
//	c.AccountBy(ctx, field, value)                (record.Account, error): NotFound, Ambiguous
//	c.Find(ctx, field, value)                     (id string, error): one call, same rules
//	c.Orders(ctx, subscriptionNumber)             ([]record.Order, error): newest first
//	c.Ping(ctx)                                   error: nil when a token can be had
//
// # What the mapping decides
//
// A cancelled subscription whose end lies ahead is still active, with AutoRenew
// false and TermEnd at that end: Zuora says Cancelled from the day of the order,
// the customer is served until the day it takes effect. A termed subscription
// past its term that was not renewed stays active, as Zuora has it; its dates
// tell. Draft and Suspended say nothing about Limio's status.
//
// An offer's End is zero when its charges end only because the current term
// does, and the subscription renews itself: such an end moves with each renewal
// and is no end.
package zuora
