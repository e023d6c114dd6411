// Package stripe reads Stripe: webhooks as they stand in Kafka, and
// subscriptions over the API, one by one or in bulk. It promises that nothing
// but ids is taken from a webhook, that a subscription costs two or three calls
// and a hundred marks for a sweep one, and that every error of a call has a
// class of package fault. It never writes to Stripe.
//
// Facts about Stripe are cited as zuora-stripe.md S1 to S5. The vendor's
// library is stripe-go v76, API version 2023-10-16; its types stay in here.
package stripe

import (
	"net/http"
	"time"

	"hotsync/internal/callout"
	"hotsync/internal/secret"
)

// APIVersion is the version of the API that the client asks for and can read.
// Endpoints may send webhooks of any version, since only ids are read from
// them.
const APIVersion = "2023-10-16"

// The policies for signatures of webhooks.
const (
	SignatureRequired  = "required"   // a message without a valid signature is bad_signature
	SignatureIfPresent = "if_present" // a message without a signature passes, one with a wrong one does not
	SignatureOff       = "off"        // signatures are not looked at: the producer has checked them
)

// DecoderConfig configures NewDecoder. The zero value is valid: it checks no
// signatures.
type DecoderConfig struct {
	// Secrets are the signing secrets of the endpoint (whsec_…). Any of them
	// may have signed, so that one can be rolled without a gap.
	Secrets []secret.Value
	// Policy is one of the Signature constants. Empty means required when
	// there is a secret and off when there is none.
	Policy string
	// Tolerance bounds how old a signature may have been when the message was
	// put into Kafka (its Kafka time). Zero, the default, enforces no age: a
	// message may rightly be read days after Stripe signed it, and a replayed
	// one only makes hotsync look again.
	Tolerance time.Duration
	// IgnoreTypes are event types to leave alone: exact, or a prefix that ends
	// in a star ("charge.*").
	IgnoreTypes []string
	// MetadataSourceKeys are the metadata keys that say who caused a change
	// made over the API, the first one present wins. Nil means limio_source,
	// source; an empty list switches this off.
	MetadataSourceKeys []string
	// HeaderSource is the Kafka header that says who caused the change.
	// Default source.
	HeaderSource string
	// MaxBytes bounds a message. Default 1 MiB.
	MaxBytes int
	// Now defaults to time.Now.
	Now func() time.Time
}

// The sources of the card that Limio shows.
const (
	CardFromCustomer          = "customer"           // the customer's default (stripe-sync.txt)
	CardFromSubscriptionFirst = "subscription_first" // the subscription's own, else the customer's
)

// ClientConfig configures NewClient. Only Key is required.
type ClientConfig struct {
	Key secret.Value
	// BaseURL defaults to https://api.stripe.com.
	BaseURL string
	// Timeout bounds one call. Default 30 s.
	Timeout time.Duration
	// MaxInFlight bounds the calls at one time. Default 8.
	MaxInFlight int
	// CardFrom is one of the CardFrom constants. Default customer.
	CardFrom string
	// StatusMap overrides what a Stripe status is in Limio: active, cancelled,
	// or leave (do not write it). See DefaultStatusMap.
	StatusMap map[string]string
	// Gate, when set, admits each call in place of MaxInFlight.
	Gate callout.Gate
	// Observe, when set, is told of every call.
	Observe func(callout.Call)
	// Transport carries the calls. Default: a transport of its own.
	Transport http.RoundTripper
	// Now defaults to time.Now.
	Now func() time.Time
}

// DefaultStatusMap says what each Stripe status is in Limio (zuora-stripe.md
// S2). A status that is not in it is left alone.
func DefaultStatusMap() map[string]string {
	return map[string]string{
		"trialing":           "active",
		"active":             "active",
		"past_due":           "active",
		"unpaid":             "active",
		"paused":             "active",
		"incomplete":         "leave",
		"incomplete_expired": "cancelled",
		"canceled":           "cancelled",
	}
}
