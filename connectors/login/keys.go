package login

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"

	"hotsync/internal/fault"
)

const (
	maxAge     = time.Hour        // then the set is read again
	maxStale   = 24 * time.Hour   // so long an old set serves when it cannot be read again
	minBetween = 10 * time.Second // between readings because of an unknown key
	afterError = time.Second      // between readings that fail
	maxKeySet  = 1 << 20          // bytes
)

// keySet is a cached copy of a provider's public keys. It is safe for
// concurrent use; callers that need a reading wait for the same one.
type keySet struct {
	name string // where it is read from, for errors
	load func(context.Context) ([]byte, error)
	now  func() time.Time

	turn    chan struct{} // held by whoever reads or writes what follows
	keys    []jose.JSONWebKey
	read    time.Time // when keys were read; zero: never
	tried   time.Time // when reading was last tried
	lastErr error     // of that try
}

func newKeySet(name string, load func(context.Context) ([]byte, error), now func() time.Time) *keySet {
	return &keySet{name: name, load: load, now: now, turn: make(chan struct{}, 1)}
}

func (k *keySet) lock(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *keySet) unlock() { <-k.turn }

// current returns the keys. An old copy serves when the provider is away, but
// not for ever: a key that was withdrawn must stop counting.
func (k *keySet) current(ctx context.Context) ([]jose.JSONWebKey, error) {
	if err := k.lock(ctx); err != nil {
		return nil, err
	}
	defer k.unlock()
	age := k.now().Sub(k.read)
	if !k.read.IsZero() && age < maxAge {
		return k.keys, nil
	}
	err := k.refresh(ctx, afterError)
	if err != nil && (k.read.IsZero() || age >= maxStale) {
		return nil, err
	}
	return k.keys, nil
}

// newerThan returns keys that were read at t or later, since a token of that
// time may be signed with a key that is newer than our copy. Readings are
// bounded: one covers all messages that were there before it, and the next has
// to wait.
func (k *keySet) newerThan(ctx context.Context, t time.Time) ([]jose.JSONWebKey, error) {
	if err := k.lock(ctx); err != nil {
		return nil, err
	}
	defer k.unlock()
	if now := k.now(); t.After(now) {
		t = now
	}
	if !k.read.Before(t) {
		return k.keys, nil
	}
	if err := k.refresh(ctx, minBetween); err != nil {
		return nil, err
	}
	return k.keys, nil
}

// reload reads the keys now.
func (k *keySet) reload(ctx context.Context) error {
	if err := k.lock(ctx); err != nil {
		return err
	}
	defer k.unlock()
	return k.refresh(ctx, 0)
}

// refresh reads the keys unless that was tried less than a pause ago.
func (k *keySet) refresh(ctx context.Context, pause time.Duration) error {
	now := k.now()
	if wait := k.tried.Add(pause).Sub(now); wait > 0 && wait <= pause {
		if k.lastErr != nil {
			return fault.After(fault.Unavailable, wait, k.lastErr)
		}
		return fault.After(fault.Unavailable, wait, fmt.Errorf("the key set %s was read a moment ago; it is read again in %s", k.name, wait))
	}
	keys, err := k.fetch(ctx)
	if ctx.Err() != nil {
		return ctx.Err() // says nothing about the provider
	}
	k.tried, k.lastErr = now, err
	if err != nil {
		return fault.As(fault.Unavailable, err)
	}
	k.keys, k.read = keys, now
	return nil
}

func (k *keySet) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	body, err := k.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("read key set %s: %w", k.name, err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("key set %s is not a JSON Web Key Set: %w", k.name, err)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil { // one of a kind we do not know is no use to us
			keys = append(keys, key)
		}
	}
	if keys = usable(keys); len(keys) == 0 {
		return nil, fmt.Errorf("key set %s has no public key for signatures", k.name)
	}
	return keys, nil
}

func fromURL(client *http.Client, address string) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer func() { _ = resp.Body.Close() }() // it was only read
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("answered %s", resp.Status)
		}
		return bounded(resp.Body)
	}
}

func fromFile(path string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // it was only read
		return bounded(f)
	}
}

func bounded(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxKeySet+1))
	if err == nil && len(b) > maxKeySet {
		return nil, fmt.Errorf("more than %d bytes", maxKeySet)
	}
	return b, err
}
