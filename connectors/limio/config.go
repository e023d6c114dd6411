package limio

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"hotsync/internal/callout"
	"hotsync/internal/rest"
	"hotsync/internal/secret"
)

// Config says which Limio tenant to talk to and how.
type Config struct {
	BaseURL      string // such as https://acme.prod.limio.com, without /api (limio.md 1)
	ClientID     string
	ClientSecret secret.Value
	Scope        string // optional; Limio sets scopes itself

	Timeout     time.Duration // of one call; default 30s
	MaxInFlight int           // default 8; Limio documents no limit
	Build       string        // for the User-Agent; default dev

	Gate      callout.Gate       // optional; admits each call in place of MaxInFlight
	Observe   func(callout.Call) // optional; told of every call
	Transport http.RoundTripper  // optional
	Now       func() time.Time   // optional
}

// Validate returns everything that is wrong with c, with the key it is about,
// or nil.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if base, err := rest.ParseBase(c.BaseURL); c.BaseURL == "" {
		bad("base_url: required, such as https://acme.prod.limio.com")
	} else if err != nil {
		bad("base_url: %w", err)
	} else if base.Path == "/api" {
		bad("base_url: leave out /api: the token endpoint is not below it")
	}
	if c.ClientID == "" {
		bad("client_id: required (Limio Support makes one)")
	}
	if c.ClientSecret.IsZero() {
		bad("client_secret: required (env:NAME or file:PATH)")
	}
	if c.Timeout <= 0 {
		bad("timeout: %s is not positive", c.Timeout)
	}
	if c.MaxInFlight < 1 {
		bad("max_in_flight: %d is not positive", c.MaxInFlight)
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = 8
	}
	if c.Build == "" {
		c.Build = "dev"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
