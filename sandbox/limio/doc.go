// Package limio is a stateful Limio over HTTP. It promises that every change
// of a stored object, whoever made it, is in the write log with what changed,
// so that a test can tell a loop or a duplicate write from an honest one.
//
// What Limio documents is built after limio.md; what it leaves open is built
// exactly after docs/limio-assumptions.md (the numbers below). It knows no
// other simulated vendor: what Limio's own sync endpoints would read from
// Zuora and Stripe comes from a [ZuoraSource] and a [StripeSource].
//
// # Choices where neither document says anything
//
//   - Lists answer 50 objects a page unless limit says otherwise, 100 at most,
//     oldest first, and only for the service limio. A cursor stays good while
//     objects come and go. Summaries are the envelope without data.
//   - The time stamp updated grows with every update, by a millisecond if the
//     clock stands still. A PUT sets it even when nothing changes; the sync
//     endpoints set it only on objects they change.
//   - A field is written by a sync only if it means something else than what
//     is stored: term dates are compared by day, and an empty value equals an
//     absent one.
//   - Zuora status: Active, Cancelled and Expired become active, cancelled and
//     expired; PendingActivation and PendingAcceptance become pending;
//     anything else, Suspended too, leaves the status as it is.
//   - Stripe status: trialing, active, past_due, unpaid and paused become
//     active; canceled and incomplete_expired become cancelled; incomplete
//     leaves the status as it is.
//   - The Stripe sync leaves schedules alone that are already right.
//     [Config.RecreateSchedules] makes it cancel and recreate them all.
//   - An owner is an identity of its own whose data is
//     {service, issuer: "limio", type: "owner", value: its id}.
//   - A reference to an object that does not exist is refused with 400 on
//     create, a reference in an order with 404.
//   - An order that cannot be carried out (the subscription has ended) answers
//     200 and ends in orderState "failed", with a process event of status
//     "failed" whose criticalPluginErrors say why.
//   - Equal external ids of orders, and equal references of subscription
//     records, are taken again and again.
//   - A subscription record that was made by the objects API belongs to the
//     owner of its customer, if it has one, and to nobody else.
//   - Order kinds with an effect: new, change_offer, add_offer,
//     cancel_subscription, change_payment, change_address, renew and
//     update_subscription. The kinds add_charge, gift_refund, pay_invoice and
//     refund are recorded and change nothing else.
//
// # Left out
//
// The catalog API and catalog sync, promo codes and entitlements beyond plain
// storage, gifts, partner organisations, order discounts, taxes, the
// authorisation-code flow, publishable API keys and scopes, optimistic
// locking, webhooks (error reporting included), Salesforce platform events,
// the app's pages, hot sync at login, and the ban of commerce actions on
// imported subscriptions.
package limio
