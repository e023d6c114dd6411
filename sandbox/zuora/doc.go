// Package zuora is a Zuora tenant over HTTP that keeps its state in memory. It
// promises to answer the way zuora-stripe.md chapters Z1 to Z7 say Zuora
// answers, traps included: failures with HTTP 200 on old API versions, lists
// that are cut without a word, case-insensitive filters, ids that change with
// every subscription version, card numbers that are null.
//
// The state is made and changed from Go (AddAccount, AddSubscription,
// ChangeSubscription, Bill and so on) and read over HTTP. Server is an http.Handler
// and embeds httpsim.Sim, so faults are injected and calls are counted there.
// All of it is safe for concurrent use.
//
// # Faults
//
// These codes of httpsim.Fault are rendered in Zuora's words, as the asked
// Zuora-Version demands: "lock" (category 50), "internal" (60), "temporary"
// (61), "rate_limit" (70; no Retry-After unless the fault's Header sets one),
// "forbidden" (10), "session" (11), "integration" (99). "unavailable" (503) and
// "timeout" (504) come from the gateway in front: the version does not matter
// and the body is not JSON.
//
// # Where the documents are silent
//
// The simulator has to do something; these are the choices, and a client must
// not rely on them. A refused token call answers 401 in OAuth style. The id of
// an old subscription version gets that version. Object Query spells a status
// without spaces. A null never satisfies NE, LT, GT, LE, GE or SW, and SW ignores
// case. Expanded lists are capped per parent, newest update first. Malformed
// ZOQL is HTTP 400 in v1 shape; an unknown ZOQL object or field, a bad batch
// size and an expired locator are HTTP 200 in the shape of the Actions. An
// expired token is HTTP 401 whatever the version. A bill run moves no update
// time but sets an account's lastInvoiceDate.
//
// # Left out
//
// Everything that writes over HTTP, invoices, payments, credit memos, usage,
// taxes, the product catalogue, ramps, charge segments beyond the first
// (charge-detail is accepted and ignored), Data Query, AQuA, the notification
// history, multi-entity and multi-org headers, idempotency keys (nothing here
// is written), and the hour and day rate limits. Billing previews know one-time
// charges and recurring ones that are billed in advance from their start day,
// with a tax of so many percent; bill runs (Bill) leave no invoice to read.
// Callouts know Basic authentication only.
package zuora
