package zuora

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"hotsync/internal/callout"
	"hotsync/internal/rest"
	"hotsync/internal/secret"
)

// Ways to look an account up by a custom field.
const (
	LookupObjectQuery = "object_query" // the field must be indexed; the lookup is the account read
	LookupZOQL        = "zoql"         // any field; one call more
)

// Config says which tenant to read and how.
type Config struct {
	BaseURL      string // a URL, or one of Shortcuts
	ClientID     string
	ClientSecret secret.Value

	Version     string        // Zuora-Version; default 2025-08-12
	Lookup      string        // default LookupObjectQuery
	PageSize    int           // of subscriptions, 1 to 40; default 40
	Timeout     time.Duration // of one call; default 30s
	MaxInFlight int           // default 8; Zuora's own limit is shared with others (zuora-stripe.md Z1)
	EntityID    string        // Zuora-Entity-Ids, multi-entity tenants only
	OrgIDs      string        // Zuora-Org-Ids, multi-org tenants only
	// Zone is the tenant's time zone, in which orders are dated. Default UTC.
	Zone *time.Location
	// Schedules reads the upcoming payments of an account too, from a billing
	// preview: one call more for each account that has a live subscription.
	Schedules bool
	Horizon   int    // how far, in months, 1 to 60; default 12
	Build     string // for the User-Agent; default dev

	Gate      callout.Gate       // optional; admits each call in place of MaxInFlight
	Observe   func(callout.Call) // optional; told of every call
	Notice    func(text string)  // optional; told of data that cannot be mapped, without personal data
	Transport http.RoundTripper  // optional
	Now       func() time.Time   // optional
}

// Shortcuts returns the names that BaseURL takes beside a URL, with what they
// stand for (zuora-stripe.md Z1).
func Shortcuts() map[string]string {
	return map[string]string{
		"us1":            "https://rest.na.zuora.com",
		"us2":            "https://rest.zuora.com",
		"us1-sandbox":    "https://rest.sandbox.na.zuora.com",
		"us2-sandbox":    "https://rest.apisandbox.zuora.com",
		"us-central":     "https://rest.test.zuora.com", // developer and central sandbox
		"us-performance": "https://rest.pt1.zuora.com",
		"eu":             "https://rest.eu.zuora.com",
		"eu-sandbox":     "https://rest.sandbox.eu.zuora.com",
		"eu-central":     "https://rest.test.eu.zuora.com",
		"apac":           "https://rest.ap.zuora.com",
		"apac-sandbox":   "https://rest.test.ap.zuora.com",
	}
}

var (
	datedVersion  = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	legacyVersion = regexp.MustCompile(`^\d{2,3}\.\d$`)
	headerValue   = regexp.MustCompile(`^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$`)
)

// Validate returns everything that is wrong with c, with the key it is about,
// or nil.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := rest.ParseBase(c.BaseURL); c.BaseURL == "" {
		bad("base_url: required: the URL of the tenant's REST API, or one of %s", names())
	} else if err != nil {
		bad("base_url: %w; or one of %s", err, names())
	}
	if c.ClientID == "" {
		bad("client_id: required (Zuora: Administration > Users > OAuth Clients)")
	}
	if c.ClientSecret.IsZero() {
		bad("client_secret: required (env:NAME or file:PATH)")
	}
	if !datedVersion.MatchString(c.Version) && !legacyVersion.MatchString(c.Version) {
		bad("version: %q is neither a date such as %s nor a number such as 186.0", c.Version, defaultVersion)
	}
	if c.Lookup != LookupObjectQuery && c.Lookup != LookupZOQL {
		bad("lookup: %q is neither %s nor %s", c.Lookup, LookupObjectQuery, LookupZOQL)
	}
	if c.PageSize < 1 || c.PageSize > maxSubscriptions {
		bad("page_size: %d is not from 1 to %d", c.PageSize, maxSubscriptions)
	}
	if c.Timeout <= 0 {
		bad("timeout: %s is not positive", c.Timeout)
	}
	if c.Horizon < 1 || c.Horizon > 60 {
		bad("horizon: %d is not from 1 to 60 months", c.Horizon)
	}
	if c.MaxInFlight < 1 {
		bad("max_in_flight: %d is not positive", c.MaxInFlight)
	}
	for key, value := range map[string]string{"entity_id": c.EntityID, "org_ids": c.OrgIDs} {
		if value != "" && !headerValue.MatchString(value) {
			bad("%s: %q cannot stand in a header", key, value)
		}
	}
	return errors.Join(errs...)
}

func names() string { return strings.Join(slices.Sorted(maps.Keys(Shortcuts())), ", ") }

const defaultVersion = "2025-08-12"

// withDefaults fills in what is not set and replaces a shortcut by its URL.
func (c Config) withDefaults() Config {
	if u, ok := Shortcuts()[c.BaseURL]; ok {
		c.BaseURL = u
	}
	if c.Version == "" {
		c.Version = defaultVersion
	}
	if c.Lookup == "" {
		c.Lookup = LookupObjectQuery
	}
	if c.PageSize == 0 {
		c.PageSize = maxSubscriptions
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = 8
	}
	if c.Horizon == 0 {
		c.Horizon = 12
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	if c.Build == "" {
		c.Build = "dev"
	}
	if c.Notice == nil {
		c.Notice = func(string) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
