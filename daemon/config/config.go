// Package config is config.yaml: its shape, its defaults and its mistakes. It
// promises to be strict, to report every problem at once with its line, and
// never to hold a secret, only where one is kept.
package config

import (
	"time"
)

// Config is the whole file. Durations are written as Go writes them (250ms,
// 10m, 1h), sizes in bytes.
//
// The tags of the fields are the file's only description: yaml names the key,
// doc says what it is for (the JSON schema shows it), enum lists the words it
// may be, min and max bound it.
type Config struct {
	Kafka      Kafka      `yaml:"kafka" doc:"The Kafka cluster, and the names of topics."`
	ClickHouse ClickHouse `yaml:"clickhouse" doc:"Where event rows go."`
	Embedded   Embedded   `yaml:"embedded" doc:"The one-machine default, for whichever of Kafka and ClickHouse is not configured."`
	Login      Login      `yaml:"login" doc:"Hot sync: which logins are believed, and which claims name a Zuora account."`
	Stripe     Stripe     `yaml:"stripe" doc:"Stripe webhooks and the read client."`
	Zuora      Zuora      `yaml:"zuora" doc:"The Zuora read client."`
	Limio      Limio      `yaml:"limio" doc:"The Limio read and write client."`
	Reconcile  Reconcile  `yaml:"reconcile" doc:"How differences are judged and written."`
	Workers    Workers    `yaml:"workers" doc:"How many syncs run at once and how triggers merge."`
	Retry      Retry      `yaml:"retry" doc:"What happens to work that failed for a passing reason."`
	Sweeps     Sweeps     `yaml:"sweeps" doc:"Scheduled passes over many records."`
	Events     Events     `yaml:"events" doc:"What the log of events holds."`
	HTTP       HTTP       `yaml:"http" doc:"The listener for health and metrics."`
	Log        Log        `yaml:"log" doc:"The daemon's own log: JSON on standard error."`
}

// Kafka is the cluster, and the names of the topics.
type Kafka struct {
	Brokers  []string `yaml:"brokers" doc:"host:port of at least one broker. Empty: the embedded broker."`
	ClientID string   `yaml:"client_id" doc:"Names this process in the broker's logs and quotas."`
	TLS      TLS      `yaml:"tls" doc:"How connections to the brokers are encrypted."`
	SASL     SASL     `yaml:"sasl" doc:"Who hotsync is to Kafka."`

	LoginTopic  string `yaml:"login_topic" doc:"The topic with login messages."`
	StripeTopic string `yaml:"stripe_topic" doc:"The topic with Stripe webhooks."`
	Prefix      string `yaml:"prefix" doc:"Begins the names of hotsync's own topics and groups."`
	Partitions  int    `yaml:"partitions" min:"1" max:"10000" doc:"Partitions of hotsync's own topics. It cannot be changed once they exist."`
	Replication int    `yaml:"replication" min:"0" max:"32767" doc:"Copies of topics that hotsync makes. 0: the cluster's default. Always 1 on the embedded broker."`

	SessionTimeout    time.Duration `yaml:"session_timeout" min:"1s" max:"1h" doc:"A member that was silent for this long loses its partitions."`
	RebalanceTimeout  time.Duration `yaml:"rebalance_timeout" min:"1s" max:"1h" doc:"How long the group waits for a member to hand over."`
	HeartbeatInterval time.Duration `yaml:"heartbeat_interval" min:"100ms" max:"1h" doc:"How often a member says that it lives; at most a third of session_timeout."`
}

// TLS says how connections are encrypted.
type TLS struct {
	Enabled    bool   `yaml:"enabled" doc:"Whether connections are encrypted."`
	CAFile     string `yaml:"ca_file" doc:"The authorities to trust, in PEM. Empty: those of the system."`
	CertFile   string `yaml:"cert_file" doc:"The client certificate, in PEM; with key_file."`
	KeyFile    string `yaml:"key_file" doc:"The key of the client certificate, in PEM; with cert_file."`
	ServerName string `yaml:"server_name" doc:"Replaces the host name of the address when the server's certificate is verified."`
}

// SASL says who hotsync is to Kafka.
type SASL struct {
	Mechanism string `yaml:"mechanism" enum:",plain,scram-sha-256,scram-sha-512" doc:"How hotsync shows who it is. Empty: not at all."`
	Username  string `yaml:"username" doc:"The user's name."`
	Password  Ref    `yaml:"password" doc:"The user's password."`
}

// ClickHouse is where event rows go.
type ClickHouse struct {
	Addr          []string      `yaml:"addr" doc:"host:port of the native protocol; the first that answers is used. Empty: the embedded engine."`
	Database      string        `yaml:"database" doc:"The database for hotsync's tables; it is created when missing."`
	Username      string        `yaml:"username" doc:"The user's name."`
	Password      Ref           `yaml:"password" doc:"The user's password."`
	TLS           TLS           `yaml:"tls" doc:"How connections to ClickHouse are encrypted."`
	Cluster       string        `yaml:"cluster" doc:"The cluster (of one shard) that tables are created on and replicated in. Empty: one server."`
	RetentionDays int           `yaml:"retention_days" min:"0" max:"36500" doc:"How long rows are kept. 0: for ever."`
	BatchRows     int           `yaml:"batch_rows" min:"1" max:"1000000" doc:"Rows of one insert, at most."`
	BatchBytes    int           `yaml:"batch_bytes" min:"1024" max:"1073741824" doc:"Bytes of one insert, at most."`
	Flush         time.Duration `yaml:"flush" min:"10ms" max:"5m" doc:"How long a row waits for others, at most."`
}

// Embedded is the one-machine default, used for whichever of Kafka and
// ClickHouse is not configured.
type Embedded struct {
	DataDir  string `yaml:"data_dir" doc:"The folder for what the embedded broker and engine keep."`
	CacheDir string `yaml:"cache_dir" doc:"The folder for the fetched ClickHouse engine. Empty: HOTSYNC_CACHE, or the user's cache folder."`
}

// Login is hot sync: what a login message must look like to be believed, and
// which claims name a Zuora account.
type Login struct {
	Enabled      bool       `yaml:"enabled" doc:"The main toggle of hot sync. Off: logins are read and ignored."`
	Providers    []Provider `yaml:"providers" doc:"The identity providers whose logins are followed."`
	SourceHeader string     `yaml:"source_header" doc:"The Kafka header that says who caused a login, such as shop."`
	MaxBytes     int        `yaml:"max_bytes" min:"1024" max:"104857600" doc:"Bytes of a login message, at most."`
}

// Provider is an identity provider.
type Provider struct {
	Name          string        `yaml:"name" doc:"What messages call it in their field provider."`
	Issuer        string        `yaml:"issuer" doc:"What its tokens have as iss."`
	Audience      []string      `yaml:"audience" doc:"Client ids; a token must have one of them as aud."`
	JWKSURL       string        `yaml:"jwks_url" doc:"Where its public keys are read; or jwks_file."`
	JWKSFile      string        `yaml:"jwks_file" doc:"A file with its public keys; or jwks_url."`
	ClockSkew     time.Duration `yaml:"clock_skew" min:"0s" max:"1h" doc:"Leeway for the times in a token. 0s: one minute."`
	TrustedClaims bool          `yaml:"trusted_claims" doc:"Believe the claims of a message without a token: whoever can write to the topic can name any account."`
	Claims        []Claim       `yaml:"claims" doc:"Which claims name a Zuora account."`
}

// Claim is one identity claim.
type Claim struct {
	Claim       string `yaml:"claim" doc:"The claim's name, or a dotted path to it."`
	Service     string `yaml:"service" doc:"Must be zuora, or the claim is not detected."`
	Issuer      string `yaml:"issuer" doc:"Must be zuora, or the claim is not detected."`
	Type        string `yaml:"type" doc:"Must be account, or the claim is not detected."`
	Lookup      bool   `yaml:"account_lookup" doc:"Look the value up in account_lookup_field; else the value is the Zuora account id."`
	LookupField string `yaml:"account_lookup_field" doc:"A custom field of the Zuora account, such as LimioExternalId__c."`
}

// Stripe is the webhook consumer and the read client.
type Stripe struct {
	Enabled        bool              `yaml:"enabled" doc:"Whether Stripe is followed."`
	APIKey         Ref               `yaml:"api_key" doc:"A secret or restricted key (sk_… or rk_…) that may read customers, subscriptions, schedules, invoices and payment methods."`
	BaseURL        string            `yaml:"base_url" doc:"Where Stripe's API is."`
	WebhookSecrets []Ref             `yaml:"webhook_secrets" doc:"Signing secrets (whsec_…); any of them may have signed."`
	Signature      string            `yaml:"signature" enum:",required,if_present,off" doc:"What becomes of webhooks without a valid signature. Empty: required with webhook_secrets, off without."`
	Tolerance      time.Duration     `yaml:"signature_tolerance" min:"0s" max:"720h" doc:"How old a signature may be when the message reached Kafka. 0s: any age."`
	IgnoreTypes    []string          `yaml:"ignore_types" doc:"Event types to leave alone: exact, or a prefix that ends in a star."`
	SourceHeader   string            `yaml:"source_header" doc:"The Kafka header that says who caused a change, such as shop."`
	SourceKeys     []string          `yaml:"metadata_source_keys" doc:"Metadata keys that say who caused a change made over the API; the first one present wins."`
	LinkKeys       []string          `yaml:"metadata_link_keys" doc:"Metadata keys of a subscription that hold its Limio id."`
	CardFrom       string            `yaml:"card_from" enum:"customer,subscription_first" doc:"Whose card Limio shows: the customer's default, or the subscription's own first."`
	Statuses       map[string]string `yaml:"statuses" doc:"Overrides of what a Stripe status is in Limio: active, cancelled or leave."`
	Newcomers      Newcomers         `yaml:"newcomers" doc:"What becomes of live subscriptions that Limio does not know."`
	MaxBytes       int               `yaml:"max_bytes" min:"1024" max:"104857600" doc:"Bytes of a webhook message, at most."`
	Timeout        time.Duration     `yaml:"timeout" min:"100ms" max:"10m" doc:"Time for one call."`
	MaxInFlight    int               `yaml:"max_in_flight" min:"1" max:"1000" doc:"Calls at one time, for one process."`
	PerSecond      int               `yaml:"calls_per_second" min:"0" max:"100000" doc:"Calls per second, for all processes together. 0: no limit."`
}

// Newcomers is what becomes of live Stripe subscriptions that Limio does not
// know.
type Newcomers struct {
	Mode     string            `yaml:"mode" enum:"skip,order,record" doc:"skip: nothing. order: Limio is asked to sell them, once, by its Send Order API. record: a record of limited use is made."`
	Source   string            `yaml:"source" doc:"The source that orders carry; its changes count as our own."`
	Prices   map[string]string `yaml:"prices" doc:"The Limio offer of a Stripe price: an offer id, or id@version."`
	Payment  string            `yaml:"payment" doc:"The payment type of orders, such as invoice."`
	Country  string            `yaml:"country" doc:"The country of purchase, two letters, for customers without an address."`
	Patience time.Duration     `yaml:"patience" min:"1s" max:"720h" doc:"How old a subscription must be: a younger one may be Limio's own sale."`
	Grace    time.Duration     `yaml:"grace" min:"1m" max:"720h" doc:"How long Limio must show no trace of an order whose answer was lost, before it is sent again."`
}

// Zuora is the read client.
type Zuora struct {
	Enabled      bool          `yaml:"enabled" doc:"Whether Zuora accounts are followed."`
	BaseURL      string        `yaml:"base_url" doc:"The URL of the tenant's REST API, or a name such as eu, us1, us1-sandbox."`
	ClientID     string        `yaml:"client_id" doc:"The OAuth client's id."`
	ClientSecret Ref           `yaml:"client_secret" doc:"The OAuth client's secret."`
	Version      string        `yaml:"version" doc:"The version of the API (Zuora-Version)."`
	Lookup       string        `yaml:"lookup" enum:"object_query,zoql" doc:"How an account is found by a custom field: object_query needs an indexed field, zoql takes any and costs one call more."`
	EntityID     string        `yaml:"entity_id" doc:"Zuora-Entity-Ids, for multi-entity tenants."`
	OrgIDs       string        `yaml:"org_ids" doc:"Zuora-Org-Ids, for multi-org tenants."`
	TimeZone     string        `yaml:"time_zone" doc:"The tenant's time zone, in which Zuora dates its orders, such as Europe/London."`
	Schedules    bool          `yaml:"schedules" doc:"Follow the upcoming payments of an account, from a billing preview: one call more."`
	Horizon      int           `yaml:"horizon" min:"1" max:"60" doc:"How many months ahead payments are previewed."`
	CreateOffers bool          `yaml:"create_offers" doc:"Create offers on subscriptions that Limio sold. Limio advises against it."`
	AddOns       []string      `yaml:"add_ons" doc:"Names (patterns with * and ?) of rate plans that become add-ons. Limio advises against it."`
	Timeout      time.Duration `yaml:"timeout" min:"100ms" max:"10m" doc:"Time for one call."`
	MaxInFlight  int           `yaml:"max_in_flight" min:"1" max:"1000" doc:"Calls at one time, for one process. Zuora's limit is shared with every other client of the tenant."`
	PerSecond    int           `yaml:"calls_per_second" min:"0" max:"100000" doc:"Calls per second, for all processes together. 0: no limit."`
}

// Limio is the read and write client.
type Limio struct {
	BaseURL      string        `yaml:"base_url" doc:"The tenant's address, such as https://acme.prod.limio.com, without /api."`
	ClientID     string        `yaml:"client_id" doc:"The OAuth client's id."`
	ClientSecret Ref           `yaml:"client_secret" doc:"The OAuth client's secret."`
	Scope        string        `yaml:"scope" doc:"The OAuth scope to ask for. Empty: Limio's own choice."`
	Timeout      time.Duration `yaml:"timeout" min:"100ms" max:"10m" doc:"Time for one call."`
	MaxInFlight  int           `yaml:"max_in_flight" min:"1" max:"1000" doc:"Calls at one time, for one process."`
	PerSecond    int           `yaml:"calls_per_second" min:"0" max:"100000" doc:"Calls per second, for all processes together. 0: no limit."`
}

// Reconcile is how differences are judged and written.
type Reconcile struct {
	Mode    string   `yaml:"mode" enum:"write,delegate,observe" doc:"write: Limio is changed. delegate: Limio is asked to do it by its own sync. observe: what would change is recorded, nothing is written."`
	Observe []string `yaml:"observe" doc:"Keys (patterns with * and ?) that are only observed in mode write."`
	Verify  string   `yaml:"verify" enum:"fingerprint,full" doc:"fingerprint: Limio is not read when it was last seen to hold what is wanted. full: it is read every time."`
	Loop    Loop     `yaml:"loop" doc:"Loop prevention."`
	Scope   Scope    `yaml:"scope" doc:"Which records hotsync takes care of, for staged migrations."`
}

// Scope is which records hotsync takes care of.
type Scope struct {
	Include    []string `yaml:"include" doc:"Rules, one of which a record must meet. Empty: all are in."`
	Exclude    []string `yaml:"exclude" doc:"Rules, none of which a record may meet."`
	Percentage int      `yaml:"percentage" min:"0" max:"100" doc:"The share of records that is in, by a stable hash of the key."`
}

// Loop is loop prevention.
type Loop struct {
	Origins   []string      `yaml:"origins" doc:"Sources whose changes Limio itself started; they are left alone while they settle."`
	Settle    time.Duration `yaml:"settle" min:"0s" max:"24h" doc:"How long a change that Limio started is left alone."`
	MaxWrites int           `yaml:"max_writes" min:"1" max:"10000" doc:"Syncs that may write to one key within window."`
	Window    time.Duration `yaml:"window" min:"1s" max:"24h" doc:"See max_writes."`
}

// Workers is how many syncs run at once and how triggers merge.
type Workers struct {
	Concurrency  int           `yaml:"concurrency" min:"1" max:"4096" doc:"Syncs at one time."`
	Coalesce     time.Duration `yaml:"coalesce" min:"0s" max:"5m" doc:"How long a webhook waits for its siblings."`
	InHand       int           `yaml:"in_hand" min:"1" max:"1000000" doc:"Triggers read ahead, for each partition."`
	DrainTimeout time.Duration `yaml:"drain_timeout" min:"100ms" max:"30m" doc:"Time for work in hand when a partition is handed over; nearly twice of it must fit into kafka's session and rebalance time-outs."`
	StopTimeout  time.Duration `yaml:"stop_timeout" min:"1s" max:"30m" doc:"Time for a graceful stop; longer than drain_timeout."`
}

// Retry is what happens to work that failed for a passing reason.
type Retry struct {
	MemoryTries int           `yaml:"memory_tries" min:"0" max:"16" doc:"Further tries at once, which block only the key."`
	MemoryBase  time.Duration `yaml:"memory_base" min:"1ms" max:"1m" doc:"The wait before the first of them; it doubles."`
	MemoryMax   time.Duration `yaml:"memory_max" min:"1ms" max:"5m" doc:"The longest of those waits."`
	First       time.Duration `yaml:"first" min:"1s" max:"24h" doc:"The wait in the first retry topic (retry.5m)."`
	FirstTries  int           `yaml:"first_tries" min:"0" max:"1000" doc:"Attempts through the first retry topic."`
	Second      time.Duration `yaml:"second" min:"1s" max:"48h" doc:"The wait in the second retry topic (retry.1h)."`
	SecondTries int           `yaml:"second_tries" min:"0" max:"1000" doc:"Attempts through the second retry topic; then the work is a dead letter."`
}

// Sweeps are the scheduled passes over many records that find what no event
// announced.
type Sweeps struct {
	TimeZone     string        `yaml:"time_zone" doc:"The time zone of the schedules, such as Europe/London."`
	Jitter       time.Duration `yaml:"jitter" min:"0s" max:"1h" doc:"How much later than its time a run may start."`
	Patience     time.Duration `yaml:"patience" min:"1s" max:"24h" doc:"How long a page that cannot be read is tried again before the run has failed."`
	Recheck      time.Duration `yaml:"recheck" min:"1m" max:"8760h" doc:"When a record that was skipped is looked at again although it did not change."`
	Import       bool          `yaml:"import" doc:"Whether a sweep imports customers whom Limio does not know. Else a login does."`
	ZuoraChanged Sweep         `yaml:"zuora-changed" doc:"Zuora accounts with something updated since the last run."`
	ZuoraFull    Sweep         `yaml:"zuora-full" doc:"All Zuora accounts, and the Limio records that belong to them."`
	StripeEvents Sweep         `yaml:"stripe-events" doc:"What Stripe's list of events names and no webhook brought."`
	StripeDrift  Sweep         `yaml:"stripe-drift" doc:"All Stripe subscriptions, and the Limio records that belong to them."`
	LimioOrphans Sweep         `yaml:"limio-orphans" doc:"Limio subscriptions that nothing in a billing system is known to own."`
}

// ByName returns each sweep under its name.
func (s Sweeps) ByName() map[string]Sweep {
	return map[string]Sweep{
		"zuora-changed": s.ZuoraChanged, "zuora-full": s.ZuoraFull, "stripe-events": s.StripeEvents,
		"stripe-drift": s.StripeDrift, "limio-orphans": s.LimioOrphans,
	}
}

// Sweep is when one of them runs.
type Sweep struct {
	Schedule string `yaml:"schedule" doc:"Five fields of cron, or @every 10m. Empty: only when somebody asks."`
	Deep     bool   `yaml:"deep" doc:"Look at every record on both sides, whatever is remembered of it."`
}

// Events is what the log holds.
type Events struct {
	RecordIgnored bool `yaml:"record_ignored" doc:"Record messages that ask for nothing."`
	ShowPersonal  bool `yaml:"show_personal" doc:"Keep names, e-mail addresses and streets readable in the changes of events."`
}

// HTTP is the listener for health and metrics.
type HTTP struct {
	Listen string `yaml:"listen" doc:"host:port of this machine only: there is no authentication yet."`
}

// Log is the daemon's own log, JSON on standard error.
type Log struct {
	Level string `yaml:"level" enum:"debug,info,warn,error" doc:"The least severe lines that are written."`
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
		Login:      Login{Enabled: true, SourceHeader: "source", MaxBytes: 1 << 20},
		Stripe: Stripe{
			Enabled: true, BaseURL: "https://api.stripe.com",
			SourceHeader: "source", SourceKeys: []string{"limio_source", "source"}, LinkKeys: []string{"limio_subscription_id"},
			Newcomers: Newcomers{Mode: "skip", Source: "hotsync", Patience: 15 * time.Minute, Grace: 30 * time.Minute},
			CardFrom:  "customer", MaxBytes: 1 << 20, Timeout: 30 * time.Second, MaxInFlight: 8, PerSecond: 20,
		},
		Zuora: Zuora{Enabled: true, Version: "2025-08-12", Lookup: "object_query", TimeZone: "UTC", Horizon: 12, Timeout: 30 * time.Second, MaxInFlight: 16, PerSecond: 100},
		Limio: Limio{Timeout: 30 * time.Second, MaxInFlight: 16, PerSecond: 50},
		Reconcile: Reconcile{Mode: "write", Verify: "fingerprint", Loop: Loop{
			Origins: []string{"shop", "salesforce"}, Settle: 2 * time.Minute, MaxWrites: 6, Window: 10 * time.Minute,
		}, Scope: Scope{Percentage: 100}},
		Workers: Workers{Concurrency: 16, Coalesce: 2 * time.Second, InHand: 1000, DrainTimeout: 15 * time.Second, StopTimeout: 25 * time.Second},
		Retry: Retry{
			MemoryTries: 3, MemoryBase: 250 * time.Millisecond, MemoryMax: 5 * time.Second,
			First: 5 * time.Minute, FirstTries: 3, Second: time.Hour, SecondTries: 24,
		},
		Sweeps: Sweeps{
			TimeZone: "UTC", Jitter: time.Minute, Patience: 15 * time.Minute, Recheck: 7 * 24 * time.Hour,
			ZuoraChanged: Sweep{Schedule: "*/15 * * * *"}, ZuoraFull: Sweep{Schedule: "0 2 * * *"},
			StripeEvents: Sweep{Schedule: "5-59/15 * * * *"}, StripeDrift: Sweep{Schedule: "0 1 * * *"},
			LimioOrphans: Sweep{Schedule: "0 3 * * 0"},
		},
		Events: Events{RecordIgnored: true},
		HTTP:   HTTP{Listen: "127.0.0.1:8484"},
		Log:    Log{Level: "info"},
	}
}
