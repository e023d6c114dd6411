// Package config is config.yaml: its shape, its defaults and its mistakes. It
// promises to be strict, to report every problem at once with its line, and
// never to hold a secret, only where one is kept.
package config

import (
	"time"
)

// Config is the whole file. Durations are written as Go writes them (250ms,
// 10m, 1h), sizes in bytes.
type Config struct {
	Kafka      Kafka      `yaml:"kafka"`
	ClickHouse ClickHouse `yaml:"clickhouse"`
	Embedded   Embedded   `yaml:"embedded"`
	Login      Login      `yaml:"login"`
	Stripe     Stripe     `yaml:"stripe"`
	Zuora      Zuora      `yaml:"zuora"`
	Limio      Limio      `yaml:"limio"`
	Reconcile  Reconcile  `yaml:"reconcile"`
	Workers    Workers    `yaml:"workers"`
	Retry      Retry      `yaml:"retry"`
	Events     Events     `yaml:"events"`
	HTTP       HTTP       `yaml:"http"`
	Log        Log        `yaml:"log"`
}

// Kafka is the cluster, and the names of the topics.
type Kafka struct {
	Brokers  []string `yaml:"brokers"` // empty: the embedded broker
	ClientID string   `yaml:"client_id"`
	TLS      TLS      `yaml:"tls"`
	SASL     SASL     `yaml:"sasl"`

	LoginTopic  string `yaml:"login_topic"`
	StripeTopic string `yaml:"stripe_topic"`
	Prefix      string `yaml:"prefix"`      // of hotsync's own topics and groups: hotsync
	Partitions  int    `yaml:"partitions"`  // of triggers and state
	Replication int    `yaml:"replication"` // of topics that hotsync makes

	SessionTimeout    time.Duration `yaml:"session_timeout"`
	RebalanceTimeout  time.Duration `yaml:"rebalance_timeout"`
	HeartbeatInterval time.Duration `yaml:"heartbeat_interval"`
}

// TLS says how connections are encrypted.
type TLS struct {
	Enabled    bool   `yaml:"enabled"`
	CAFile     string `yaml:"ca_file"`
	CertFile   string `yaml:"cert_file"`
	KeyFile    string `yaml:"key_file"`
	ServerName string `yaml:"server_name"`
}

// SASL says who hotsync is to Kafka.
type SASL struct {
	Mechanism string `yaml:"mechanism"` // plain, scram-sha-256, scram-sha-512
	Username  string `yaml:"username"`
	Password  Ref    `yaml:"password"`
}

// ClickHouse is where event rows go.
type ClickHouse struct {
	Addr          []string      `yaml:"addr"` // empty: the embedded engine
	Database      string        `yaml:"database"`
	Username      string        `yaml:"username"`
	Password      Ref           `yaml:"password"`
	TLS           TLS           `yaml:"tls"`
	Cluster       string        `yaml:"cluster"`
	RetentionDays int           `yaml:"retention_days"`
	BatchRows     int           `yaml:"batch_rows"`
	BatchBytes    int           `yaml:"batch_bytes"`
	Flush         time.Duration `yaml:"flush"`
}

// Embedded is the one-machine default, used for whichever of Kafka and
// ClickHouse is not configured.
type Embedded struct {
	DataDir  string `yaml:"data_dir"`
	CacheDir string `yaml:"cache_dir"` // of the fetched ClickHouse engine; empty: the user's cache folder
}

// Login is hot sync: what a login message must look like to be believed, and
// which claims name a Zuora account.
type Login struct {
	Enabled   bool       `yaml:"enabled"` // the main toggle
	Providers []Provider `yaml:"providers"`
	MaxBytes  int        `yaml:"max_bytes"`
}

// Provider is an identity provider.
type Provider struct {
	Name          string        `yaml:"name"`
	Issuer        string        `yaml:"issuer"`
	Audience      []string      `yaml:"audience"`
	JWKSURL       string        `yaml:"jwks_url"`
	JWKSFile      string        `yaml:"jwks_file"`
	ClockSkew     time.Duration `yaml:"clock_skew"`
	TrustedClaims bool          `yaml:"trusted_claims"`
	Claims        []Claim       `yaml:"claims"`
}

// Claim is one identity claim.
type Claim struct {
	Claim       string `yaml:"claim"`
	Service     string `yaml:"service"`
	Issuer      string `yaml:"issuer"`
	Type        string `yaml:"type"`
	Lookup      bool   `yaml:"account_lookup"`
	LookupField string `yaml:"account_lookup_field"`
}

// Stripe is the webhook consumer and the read client.
type Stripe struct {
	Enabled        bool              `yaml:"enabled"`
	APIKey         Ref               `yaml:"api_key"`
	BaseURL        string            `yaml:"base_url"`
	WebhookSecrets []Ref             `yaml:"webhook_secrets"`
	Signature      string            `yaml:"signature"` // required, if_present, off
	Tolerance      time.Duration     `yaml:"signature_tolerance"`
	IgnoreTypes    []string          `yaml:"ignore_types"`
	SourceKeys     []string          `yaml:"metadata_source_keys"`
	LinkKeys       []string          `yaml:"metadata_link_keys"`
	CardFrom       string            `yaml:"card_from"`
	Statuses       map[string]string `yaml:"statuses"`
	MaxBytes       int               `yaml:"max_bytes"`
	Timeout        time.Duration     `yaml:"timeout"`
	MaxInFlight    int               `yaml:"max_in_flight"`
}

// Zuora is the read client.
type Zuora struct {
	Enabled      bool          `yaml:"enabled"`
	BaseURL      string        `yaml:"base_url"` // a URL, or a name such as eu, us1, us1-sandbox
	ClientID     string        `yaml:"client_id"`
	ClientSecret Ref           `yaml:"client_secret"`
	Version      string        `yaml:"version"`
	Lookup       string        `yaml:"lookup"` // object_query, zoql
	EntityID     string        `yaml:"entity_id"`
	OrgIDs       string        `yaml:"org_ids"`
	Timeout      time.Duration `yaml:"timeout"`
	MaxInFlight  int           `yaml:"max_in_flight"`
}

// Limio is the read and write client.
type Limio struct {
	BaseURL      string        `yaml:"base_url"`
	ClientID     string        `yaml:"client_id"`
	ClientSecret Ref           `yaml:"client_secret"`
	Scope        string        `yaml:"scope"`
	Timeout      time.Duration `yaml:"timeout"`
	MaxInFlight  int           `yaml:"max_in_flight"`
}

// Reconcile is how differences are judged and written.
type Reconcile struct {
	Mode    string   `yaml:"mode"`    // write, observe
	Observe []string `yaml:"observe"` // keys (patterns) that are only observed in mode write
	Verify  string   `yaml:"verify"`  // fingerprint, full
	Loop    Loop     `yaml:"loop"`
}

// Loop is loop prevention.
type Loop struct {
	Origins   []string      `yaml:"origins"`
	Settle    time.Duration `yaml:"settle"`
	MaxWrites int           `yaml:"max_writes"`
	Window    time.Duration `yaml:"window"`
}

// Workers is how many syncs run at once and how triggers merge.
type Workers struct {
	Concurrency  int           `yaml:"concurrency"`
	Coalesce     time.Duration `yaml:"coalesce"`      // how long a webhook waits for its siblings
	InHand       int           `yaml:"in_hand"`       // triggers read ahead, per partition
	DrainTimeout time.Duration `yaml:"drain_timeout"` // for work in hand when a partition is handed over
	StopTimeout  time.Duration `yaml:"stop_timeout"`  // for a graceful stop
}

// Retry is what happens to work that failed for a passing reason.
type Retry struct {
	MemoryTries int           `yaml:"memory_tries"` // at once, blocking only the key
	MemoryBase  time.Duration `yaml:"memory_base"`
	MemoryMax   time.Duration `yaml:"memory_max"`
	First       time.Duration `yaml:"first"` // through hotsync.retry.5m
	FirstTries  int           `yaml:"first_tries"`
	Second      time.Duration `yaml:"second"` // through hotsync.retry.1h
	SecondTries int           `yaml:"second_tries"`
}

// Events is what the log holds.
type Events struct {
	RecordIgnored bool `yaml:"record_ignored"` // messages that ask for nothing
	ShowPersonal  bool `yaml:"show_personal"`  // names, e-mail addresses and streets in changes
}

// HTTP is the listener for health and metrics.
type HTTP struct {
	Listen string `yaml:"listen"`
}

// Log is the daemon's own log, JSON on standard error.
type Log struct {
	Level string `yaml:"level"` // debug, info, warn, error
}

// Ref says where a secret is kept: env:NAME or file:PATH. It is safe to print.
type Ref string

// Default returns the file's defaults: what config.yaml shows.
func Default() Config {
	return Config{
		Kafka: Kafka{
			ClientID: "hotsync", LoginTopic: "auth.logins", StripeTopic: "billing.stripe.events",
			Prefix: "hotsync", Partitions: 12, Replication: 3,
			SessionTimeout: 30 * time.Second, RebalanceTimeout: 30 * time.Second, HeartbeatInterval: 3 * time.Second,
		},
		ClickHouse: ClickHouse{Database: "hotsync", Username: "default", RetentionDays: 400, BatchRows: 10_000, BatchBytes: 8 << 20, Flush: time.Second},
		Embedded:   Embedded{DataDir: "hotsync-data"},
		Login:      Login{Enabled: true, MaxBytes: 1 << 20},
		Stripe: Stripe{
			Enabled: true, BaseURL: "https://api.stripe.com", SourceKeys: []string{"limio_source", "source"}, LinkKeys: []string{"limio_subscription_id"},
			CardFrom: "customer", MaxBytes: 1 << 20, Timeout: 30 * time.Second, MaxInFlight: 8,
		},
		Zuora: Zuora{Enabled: true, Version: "2025-08-12", Lookup: "object_query", Timeout: 30 * time.Second, MaxInFlight: 8},
		Limio: Limio{Timeout: 30 * time.Second, MaxInFlight: 8},
		Reconcile: Reconcile{Mode: "write", Verify: "fingerprint", Loop: Loop{
			Origins: []string{"shop", "salesforce"}, Settle: 2 * time.Minute, MaxWrites: 6, Window: 10 * time.Minute,
		}},
		Workers: Workers{Concurrency: 16, Coalesce: 2 * time.Second, InHand: 1000, DrainTimeout: 15 * time.Second, StopTimeout: 25 * time.Second},
		Retry: Retry{
			MemoryTries: 3, MemoryBase: 250 * time.Millisecond, MemoryMax: 5 * time.Second,
			First: 5 * time.Minute, FirstTries: 3, Second: time.Hour, SecondTries: 24,
		},
		Events: Events{RecordIgnored: true},
		HTTP:   HTTP{Listen: "127.0.0.1:8484"},
		Log:    Log{Level: "info"},
	}
}
