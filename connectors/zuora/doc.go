// Package zuora reads Zuora accounts, with their subscriptions, payment methods
// and addresses. It promises to write nothing to Zuora, to spend two calls on an
// account with up to 40 subscriptions whichever way it is found, and to match a
// custom field exactly: byte for byte, one account or none. With schedules an
// account with a live subscription costs one call more. In bulk 99 accounts cost
// one call, and show by their marks whether they have to be read at all.
//
// Its errors have a class (package fault), decided by Zuora's answer before its
// status, since older versions report failures with status 200
// (zuora-stripe.md Z1). The numbered sources (Z1 to Z7) are chapters there.
//
// # The parts
//
//	c, err := zuora.New(zuora.Config{BaseURL: "eu", ClientID: id, ClientSecret: s})  // dials nothing
//	defer c.Close()                               idle connections only
//	c.Account(ctx, id)                            (record.Account, error)
//	c.AccountBy(ctx, field, value)                (record.Account, error): NotFound, Ambiguous
//	c.Find(ctx, field, value)                     (id string, error): one call, same rules
//	c.Orders(ctx, subscriptionNumber)             ([]record.Order, error): newest first
//	c.AccountOf(ctx, subscriptionNumber)          (id string, error): one call
//	c.Accounts(ctx, cursor)                       (record.Page, error): all, 99 a call
//	c.Glimpses(ctx, ids)                          ([]record.Glimpse, error): these, 99 a call
//	c.Changed(ctx, kind, since, cursor)           (ids, next, error): one of ChangeKinds, 99 a call
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
//
// Schedules are what a billing preview says will be billed: to the end of the
// term, whether it renews or not, to the horizon, and twelve payments where
// there is no end. What should have been billed already is among them until it
// is. One payment is the sum of all charges of a subscription whose service
// starts on the same day, with tax; what comes to nothing or less is none.
//
// # What a mark can tell
//
// A mark changes with everything that Account returns, but for what time does
// to it (record.Account.Until) and, with schedules, a change of a tax and a
// second invoice on one day, which no list shows.
package zuora
