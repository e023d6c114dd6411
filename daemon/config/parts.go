package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hotsync/connectors/kafka"
	"hotsync/connectors/limio"
	"hotsync/connectors/login"
	"hotsync/connectors/stripe"
	"hotsync/connectors/zuora"
	"hotsync/internal/secret"
	"hotsync/reconcile"
	"hotsync/sinks/clickhouse"
)

// resolver turns references into secrets and gathers what is wrong with them.
type resolver struct{ errs []error }

// secret returns what ref stands for. An error names path, where ref stands in
// the file.
func (r *resolver) secret(path string, ref Ref) secret.Value {
	v, err := secret.Resolve(string(ref))
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("%s: %w", path, err))
	}
	return v
}

func (r *resolver) err() error { return errors.Join(r.errs...) }

// KafkaConfig returns the settings of the Kafka client. Its error names every
// secret that cannot be had.
func (c Config) KafkaConfig() (kafka.Config, error) {
	var r resolver
	out := c.kafka(r.secret)
	return out, r.err()
}

// ClickHouseConfig returns the settings of the ClickHouse sink. Its error names
// every secret that cannot be had.
func (c Config) ClickHouseConfig() (clickhouse.Config, error) {
	var r resolver
	out := c.clickhouse(r.secret)
	return out, r.err()
}

// LoginConfig returns the settings of the login decoder.
func (c Config) LoginConfig() login.Config {
	on := c.Login.Enabled
	out := login.Config{Enabled: func() bool { return on }, HeaderSource: c.Login.SourceHeader, MaxBytes: c.Login.MaxBytes}
	for _, p := range c.Login.Providers {
		q := login.Provider{
			Name: p.Name, Issuer: p.Issuer, Audience: slices.Clone(p.Audience), JWKSURL: p.JWKSURL, JWKSFile: p.JWKSFile,
			ClockSkew: p.ClockSkew, TrustedClaims: p.TrustedClaims,
		}
		for _, r := range p.Claims {
			q.Claims = append(q.Claims, login.ClaimRule{
				Claim: r.Claim, Service: r.Service, Issuer: r.Issuer, Type: r.Type, Lookup: r.Lookup, LookupField: r.LookupField,
			})
		}
		out.Providers = append(out.Providers, q)
	}
	return out
}

// ScopeConfig returns which records are taken care of.
func (c Config) ScopeConfig() reconcile.ScopeConfig {
	s := c.Reconcile.Scope
	return reconcile.ScopeConfig{Include: slices.Clone(s.Include), Exclude: slices.Clone(s.Exclude), Percentage: float64(s.Percentage)}
}

// AccountsConfig returns what is followed of Zuora accounts beside the usual.
func (c Config) AccountsConfig() reconcile.AccountsConfig {
	z := c.Zuora
	return reconcile.AccountsConfig{Schedules: z.Schedules, CreateOffers: z.CreateOffers, AddOns: slices.Clone(z.AddOns)}
}

// NewcomersConfig returns what becomes of subscriptions that Limio does not
// know, without the clients that it takes.
func (c Config) NewcomersConfig() reconcile.NewcomersConfig {
	n := c.Stripe.Newcomers
	out := reconcile.NewcomersConfig{
		Mode: n.Mode, Source: n.Source, Prices: map[string]reconcile.CatalogOffer{}, Payment: n.Payment, Country: n.Country,
		Patience: n.Patience, Grace: n.Grace,
	}
	for price, offer := range n.Prices {
		id, version, _ := strings.Cut(offer, "@")
		out.Prices[price] = reconcile.CatalogOffer{Offer: id, Version: version}
	}
	return out
}

// StripeDecoderConfig returns the settings of the webhook decoder. Its error
// names every secret that cannot be had.
func (c Config) StripeDecoderConfig() (stripe.DecoderConfig, error) {
	var r resolver
	out := c.stripeDecoder(r.secret)
	return out, r.err()
}

// StripeClientConfig returns the settings of the Stripe client. Its error names
// every secret that cannot be had.
func (c Config) StripeClientConfig() (stripe.ClientConfig, error) {
	var r resolver
	out := c.stripeClient(r.secret)
	return out, r.err()
}

// ZuoraConfig returns the settings of the Zuora client. Its error names every
// secret that cannot be had.
func (c Config) ZuoraConfig() (zuora.Config, error) {
	var r resolver
	out := c.zuora(r.secret)
	return out, r.err()
}

// LimioConfig returns the settings of the Limio client. Its error names every
// secret that cannot be had.
func (c Config) LimioConfig() (limio.Config, error) {
	var r resolver
	out := c.limio(r.secret)
	return out, r.err()
}

// The functions below say which key becomes which setting. They take the way to
// a secret as an argument, since checking a file needs no secrets.

type secretFunc = func(path string, ref Ref) secret.Value

func (c Config) kafka(secret secretFunc) kafka.Config {
	k := c.Kafka
	return kafka.Config{
		Brokers: slices.Clone(k.Brokers), ClientID: k.ClientID,
		TLS:            kafka.TLS(k.TLS),
		SASL:           kafka.SASL{Mechanism: k.SASL.Mechanism, Username: k.SASL.Username, Password: secret("kafka.sasl.password", k.SASL.Password)},
		SessionTimeout: k.SessionTimeout, RebalanceTimeout: k.RebalanceTimeout, HeartbeatInterval: k.HeartbeatInterval,
	}
}

func (c Config) clickhouse(secret secretFunc) clickhouse.Config {
	h := c.ClickHouse
	return clickhouse.Config{
		Addr: slices.Clone(h.Addr), Database: h.Database, Username: h.Username,
		Password: secret("clickhouse.password", h.Password), TLS: clickhouse.TLS(h.TLS),
		Cluster: h.Cluster, RetentionDays: h.RetentionDays,
	}
}

func (c Config) stripeDecoder(secret secretFunc) stripe.DecoderConfig {
	s := c.Stripe
	out := stripe.DecoderConfig{
		Policy: s.Signature, Tolerance: s.Tolerance, IgnoreTypes: slices.Clone(s.IgnoreTypes),
		HeaderSource: s.SourceHeader, MaxBytes: s.MaxBytes,
		// Never nil: here no keys mean no keys, not the defaults.
		MetadataSourceKeys: append([]string{}, s.SourceKeys...),
	}
	for i, ref := range s.WebhookSecrets {
		out.Secrets = append(out.Secrets, secret(fmt.Sprintf("stripe.webhook_secrets[%d]", i), ref))
	}
	return out
}

func (c Config) stripeClient(secret secretFunc) stripe.ClientConfig {
	s := c.Stripe
	return stripe.ClientConfig{
		Key: secret("stripe.api_key", s.APIKey), BaseURL: s.BaseURL, Timeout: s.Timeout, MaxInFlight: s.MaxInFlight,
		CardFrom: s.CardFrom, StatusMap: s.Statuses,
	}
}

func (c Config) zuora(secret secretFunc) zuora.Config {
	z := c.Zuora
	zone, err := time.LoadLocation(z.TimeZone)
	if err != nil {
		zone = time.UTC // checkZuora reports it
	}
	return zuora.Config{
		BaseURL: z.BaseURL, ClientID: z.ClientID, ClientSecret: secret("zuora.client_secret", z.ClientSecret),
		Version: z.Version, Lookup: z.Lookup, Timeout: z.Timeout, MaxInFlight: z.MaxInFlight,
		EntityID: z.EntityID, OrgIDs: z.OrgIDs, Zone: zone, Schedules: z.Schedules, Horizon: z.Horizon,
	}
}

func (c Config) limio(secret secretFunc) limio.Config {
	l := c.Limio
	return limio.Config{
		BaseURL: l.BaseURL, ClientID: l.ClientID, ClientSecret: secret("limio.client_secret", l.ClientSecret),
		Scope: l.Scope, Timeout: l.Timeout, MaxInFlight: l.MaxInFlight,
	}
}
