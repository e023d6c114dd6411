// Package secret is a credential that does not print. It promises that a Value
// shows as [redacted] however it is formatted, logged or marshalled, and that
// a configuration holds references to secrets, never secrets (Invariant 8).
package secret

import (
	"fmt"
	"os"
	"strings"
)

const redacted = "[redacted]"

// Value is a credential. The zero Value is no credential.
type Value struct{ v string }

// New returns s as a Value, for tests and for credentials that are made at run
// time.
func New(s string) Value { return Value{s} }

// Resolve reads a reference: env:NAME or file:PATH (trailing line ends are
// dropped). An empty reference is no credential. A literal is refused.
func Resolve(ref string) (Value, error) {
	kind, rest, ok := strings.Cut(ref, ":")
	switch {
	case ref == "":
		return Value{}, nil
	case ok && kind == "env":
		v, found := os.LookupEnv(rest)
		if !found || v == "" {
			return Value{}, fmt.Errorf("environment variable %s is not set", rest)
		}
		return Value{v}, nil
	case ok && kind == "file":
		b, err := os.ReadFile(rest)
		if err != nil {
			return Value{}, fmt.Errorf("read secret: %w", err)
		}
		v := strings.TrimRight(string(b), "\r\n")
		if v == "" {
			return Value{}, fmt.Errorf("secret file %s is empty", rest)
		}
		return Value{v}, nil
	}
	return Value{}, fmt.Errorf("a secret is given by reference, env:NAME or file:PATH, never literally")
}

// Reveal returns the credential itself.
func (v Value) Reveal() string { return v.v }

// IsZero reports whether there is no credential.
func (v Value) IsZero() bool { return v.v == "" }

// String implements fmt.Stringer.
func (v Value) String() string {
	if v.v == "" {
		return ""
	}
	return redacted
}

// GoString implements fmt.GoStringer.
func (v Value) GoString() string { return v.String() }

// Format implements fmt.Formatter for every verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(v.String())) }

// MarshalText implements encoding.TextMarshaler.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }
