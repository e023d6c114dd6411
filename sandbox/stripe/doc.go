// Package stripe is a stateful Stripe in one process: subscriptions that
// renew, fail, recover and end as the clock moves, the read side of the API
// at version 2023-10-16, and the webhook events that tell of it. It promises
// that what it answers and sends is what stripe-go v76 decodes, and that
// billing moves only when Tick (or a method that changes something) is called:
// nothing runs in the background.
//
// # The HTTP side
//
// Server is an http.Handler with these routes, which are also the names under
// which httpsim counts calls and strikes faults:
//
//	GET /v1/subscriptions                  GET /v1/invoices
//	GET /v1/subscriptions/search           GET /v1/invoices/upcoming
//	GET /v1/subscriptions/{id}             GET /v1/invoices/upcoming/lines
//	GET /v1/subscription_items             GET /v1/invoices/{id}
//	GET /v1/customers/{id}                 GET /v1/invoices/{id}/lines
//	GET /v1/customers/{id}/payment_methods GET /v1/events
//	GET /v1/payment_methods                GET /v1/events/{id}
//	GET /v1/payment_methods/{id}
//
// Everything else is Stripe's "Unrecognized request URL", counted under "/".
// The fault codes are rate_limit, lock_timeout, internal, unavailable,
// forbidden and missing (it has been deleted).
//
// # Events
//
// Each change makes the events Stripe makes, in Stripe's order. A renewal that
// is paid makes ten, nine of them from the moment the period rolls:
//
//	invoice.upcoming               some days before (Config.UpcomingLead)
//	customer.subscription.updated  the period rolls
//	invoice.created                draft, subscription_cycle
//	invoice.finalized              an hour later (Config.DraftFor)
//	payment_intent.created
//	charge.succeeded
//	payment_intent.succeeded
//	invoice.updated
//	invoice.paid
//	invoice.payment_succeeded
//
// With a recovery from past_due, customer.subscription.updated and
// customer.updated follow. A renewal that is not paid makes, after
// invoice.finalized: payment_intent.created, charge.failed,
// payment_intent.payment_failed, invoice.updated, invoice.payment_failed,
// customer.subscription.updated (past_due) and customer.updated (delinquent);
// then come the retries, and in the end what Config.DunningEnd says.
//
// An event is rendered once, when it happens, in the version of the webhook
// endpoint. It waits in an outbox until TakeEvents or Deliver takes it, and
// stays readable at /v1/events for 30 days.
//
// # Changes that nobody is told of
//
// For a webhook that is lost, drop what TakeEvents returns: /v1/events still
// lists it (SetDelivered says that it failed). For a change without any event,
// as after more than 30 days of silence, make it between SetQuiet(true) and
// SetQuiet(false): it is in no list of events either, and only reading the
// object shows it.
//
// # Size
//
// A hundred thousand subscriptions with a card and two invoices each take about
// five seconds and 500 MiB to build while quiet; their events would take
// several times that, see Config.KeepEvents. A page of a hundred with customer,
// card and invoice expanded takes about four milliseconds (BenchmarkSeed,
// BenchmarkPage).
//
// # Versions
//
// A request's Stripe-Version decides the shape of its answer, as it does at
// Stripe: from 2025-03-31 (basil) on, periods are on the items, an invoice
// points at its subscription through parent, and the upcoming GET is gone.
// Since stripe-go v76 pins 2023-10-16 in that header, Config.Basil and
// SetBasil force the newer shape on every answer and event, to see a client
// meet it unprepared. Config.WebhookAPIVersion moves the events alone.
//
// # What is left out
//
// Every write over HTTP: the world is changed through Go methods. Further:
// subscription schedules, discounts, taxes, prorations (a plan change within
// the same interval shows on the next invoice), tiered and metered prices,
// pending updates, customer balances and credit notes, refunds and disputes,
// Connect accounts, products and prices as endpoints, automatic_tax and
// test_clock filters, what-if parameters of the upcoming invoice (refused with
// a clear 400), expanding basil's new paths, and real rate limits (inject a
// fault instead). An expired card still pays; say FailPayments to decline it.
// The legacy plan object beside a price is not rendered. A deleted customer's
// payment methods are detached without an event. No answer has
// Stripe-Should-Retry unless a fault sets it.
package stripe
