package login

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"hotsync/event"
	"hotsync/internal/fault"
)

func TestKeysRotate(t *testing.T) {
	i := newIssuer(t)
	c := &clock{at: loginTime.Add(time.Minute)}
	d := decoder(t, Config{Providers: []Provider{i.provider()}, Now: c.now})
	decode := func(token string) (event.Reading, error) {
		m := login(t, map[string]any{"id_token": token})
		m.Time = c.now()
		return d.Decode(t.Context(), m)
	}
	if _, err := decode(i.token(t, named(account))); err != nil {
		t.Fatal(err)
	}
	next, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	token := tokenOf(t, jose.RS256, "next", next, claims(named(account)))

	// Right after a reading an unknown key has to wait: it may be a new one.
	c.advance(3 * time.Second)
	if _, err := decode(token); fault.Of(err) != fault.Unavailable || fault.Wait(err) != 7*time.Second {
		t.Fatalf("got %v (%s, wait %s), want unavailable for 7s", err, fault.Of(err), fault.Wait(err))
	}
	// And then it is one.
	i.add("next", next)
	c.advance(7 * time.Second)
	if got, err := decode(token); err != nil || len(got.Triggers) != 1 || i.count() != 2 {
		t.Fatalf("got %+v, %v after %d readings, want one trigger after 2", got, err, i.count())
	}

	// One reading answers for all messages that were there before it.
	unknown := tokenOf(t, jose.RS256, "stranger", next, claims(named(account)))
	c.advance(time.Minute)
	for range 5 {
		_, err := decode(unknown)
		wantBad(t, err, event.ReasonBadToken, "stranger", unknown)
	}
	if i.count() != 3 {
		t.Errorf("%d readings, want 3", i.count())
	}
}

func TestKeysAge(t *testing.T) {
	i := newIssuer(t)
	c := &clock{at: loginTime.Add(time.Minute)}
	d := decoder(t, Config{Providers: []Provider{i.provider()}, Now: c.now})
	m := login(t, map[string]any{"id_token": i.token(t, named(account))})
	steps := []struct {
		name   string
		after  time.Duration
		status int
		reads  int // in all
		class  fault.Class
	}{
		{"first", 0, 0, 1, ""},
		{"fresh", 59 * time.Minute, 0, 1, ""},
		{"an hour old", time.Minute, 0, 2, ""},
		{"an hour old, provider away", time.Hour, 500, 3, ""},
		{"still away", 22 * time.Hour, 500, 4, ""},
		{"too old to be believed", time.Hour, 500, 5, fault.Unavailable},
		{"back", time.Minute, 0, 6, ""},
	}
	for _, s := range steps {
		c.advance(s.after)
		i.answer(s.status)
		got, err := d.Decode(t.Context(), m)
		if fault.Of(err) != s.class || (err == nil && len(got.Triggers) != 1) || i.count() != s.reads {
			t.Errorf("%s: got %+v, %v (%s) after %d readings, want %q after %d", s.name, got, err, fault.Of(err), i.count(), s.class, s.reads)
		}
	}
}

func TestKeysThatAreNone(t *testing.T) {
	for name, body := range map[string]string{
		"not JSON":      "<html>",
		"no keys":       `{"keys":[]}`,
		"only a secret": `{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"rsa"}]}`,
		"too large":     `{"keys":[]}` + strings.Repeat(" ", maxKeySet),
	} {
		path := filepath.Join(t.TempDir(), "jwks.json")
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		k := newKeySet(path, fromFile(path), time.Now)
		if _, err := k.current(t.Context()); fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v (%s), want unavailable with the path", name, err, fault.Of(err))
		}
	}
	missing := newKeySet("x", fromFile(filepath.Join(t.TempDir(), "none")), time.Now)
	if _, err := missing.current(t.Context()); fault.Of(err) != fault.Unavailable || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: got %v (%s), want unavailable", err, fault.Of(err))
	}
}

func TestKeysStop(t *testing.T) {
	i := newIssuer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := decoder(t, Config{Providers: []Provider{i.provider()}})
	if _, err := d.Decode(ctx, login(t, map[string]any{"id_token": i.token(t, nil)})); fault.Of(err) != fault.Stopped {
		t.Errorf("got %v (%s), want stopped", err, fault.Of(err))
	}
}

// Partitions are decoded side by side: they share one reading of the keys.
func TestKeysAreReadOnceForAll(t *testing.T) {
	i := newIssuer(t)
	d := decoder(t, Config{Providers: []Provider{i.provider()}})
	m := login(t, map[string]any{"id_token": i.token(t, named(account))})
	errs := make(chan error)
	for range 8 {
		go func() {
			got, err := d.Decode(t.Context(), m)
			if err == nil && len(got.Triggers) != 1 {
				err = errors.New("no trigger: " + got.Note)
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if i.count() != 1 {
		t.Errorf("%d readings, want 1", i.count())
	}
}
