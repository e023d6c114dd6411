// Package record holds the nouns: keys, accounts, subscriptions, money, the
// objects Limio keeps, and the difference between two sets of them. It promises
// to be values and pure functions only: nothing here reads, writes or waits.
package record

import (
	"fmt"
	"strings"
)

// Key names one thing to look at, such as zuora:account:2c92… or
// stripe:subscription:sub_…. It is written the same everywhere: Kafka keys,
// ClickHouse columns, the command line and addresses of pages.
type Key struct {
	System string // zuora, stripe, limio, login
	Kind   string // account, subscription, customer, lookup, …
	ID     string // the vendor's own id; may hold any character
}

// ZuoraAccount is the key of a Zuora account by its id.
func ZuoraAccount(id string) Key { return Key{"zuora", "account", id} }

// ZuoraLookup is the key of whichever Zuora account has value in its custom
// field. It stands in only until the account behind it is known.
func ZuoraLookup(field, value string) Key { return Key{"zuora", "lookup", field + "=" + value} }

// StripeSubscription is the key of a Stripe subscription.
func StripeSubscription(id string) Key { return Key{"stripe", "subscription", id} }

// StripeCustomer is the key of all subscriptions of a Stripe customer.
func StripeCustomer(id string) Key { return Key{"stripe", "customer", id} }

// LimioSubscription is the key of a Limio subscription by its sub-… id.
func LimioSubscription(id string) Key { return Key{"limio", "subscription", id} }

// ParseKey reads the written form. It fails unless there are three parts,
// none empty, the first two of lower-case letters and underscores.
func ParseKey(s string) (Key, error) {
	system, rest, ok1 := strings.Cut(s, ":")
	kind, id, ok2 := strings.Cut(rest, ":")
	if !ok1 || !ok2 || !word(system) || !word(kind) || id == "" {
		return Key{}, fmt.Errorf("key %q: want system:kind:id, such as zuora:account:2c92… or stripe:subscription:sub_…", s)
	}
	return Key{system, kind, id}, nil
}

func word(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return s != ""
}

// String returns the written form, or "" for the zero Key.
func (k Key) String() string {
	if k == (Key{}) {
		return ""
	}
	return k.System + ":" + k.Kind + ":" + k.ID
}

// IsZero reports whether k names nothing.
func (k Key) IsZero() bool { return k == Key{} }

// MarshalText implements encoding.TextMarshaler.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Empty text is the zero Key.
func (k *Key) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*k = Key{}
		return nil
	}
	parsed, err := ParseKey(string(b))
	*k = parsed
	return err
}
