package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"hotsync/connectors/kafka"
	"hotsync/connectors/limio"
	"hotsync/connectors/login"
	"hotsync/connectors/stripe"
	"hotsync/internal/rest"
	"hotsync/internal/secret"
	"hotsync/reconcile"
)

// check reports what is wrong between keys, which their types do not show. The
// parts are asked first: they know best what they need.
func (f *file) check(c Config) {
	f.checkKafka(c)
	f.checkClickHouse(c)
	if (len(c.Kafka.Brokers) == 0 || len(c.ClickHouse.Addr) == 0) && c.Embedded.DataDir == "" {
		f.wrong("embedded.data_dir", "required by the embedded broker and engine; name a folder, or set kafka.brokers and clickhouse.addr")
	}
	if c.Login.Enabled || len(c.Login.Providers) > 0 {
		f.checkLogin(c)
	}
	if c.Stripe.Enabled {
		f.checkStripe(c)
	}
	if c.Zuora.Enabled {
		f.checkZuora(c)
	}
	f.explain("limio", c.Limio, c.limio(present).Validate()) // whatever is followed, Limio follows it
	if !c.Zuora.Enabled && !c.Stripe.Enabled {
		f.wrong("zuora.enabled", "neither zuora nor stripe is enabled, so there is nothing to follow; enable one")
	}
	f.checkReconcile(c.Reconcile)
	_, err := reconcile.NewScope(c.ScopeConfig())
	for _, e := range flatten(err) { // include[0] "rule": what is wrong with it
		at, text, ok := strings.Cut(e.Error(), "] ")
		if !ok {
			at, text = "exclude", e.Error()
		} else {
			at += "]"
		}
		f.wrong("reconcile.scope."+at, "%s", text)
	}
	f.checkSweeps(c.Sweeps)
	f.checkTimes(c)
	f.checkListen(c.HTTP.Listen)
}

// present stands for a secret that was given, without reading it.
func present(_ string, ref Ref) secret.Value {
	if ref == "" {
		return secret.Value{}
	}
	return secret.New("given")
}

// wrong reports an error at path unless something is known to be wrong there.
func (f *file) wrong(path, format string, args ...any) {
	if !f.broken(path) {
		f.bad(path, format, args...)
	}
}

// topicName is what Kafka takes.
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,200}$`)

func (f *file) checkKafka(c Config) {
	k := c.Kafka
	for key, name := range map[string]string{"login_topic": k.LoginTopic, "stripe_topic": k.StripeTopic, "prefix": k.Prefix} {
		if !topicName.MatchString(name) {
			f.wrong("kafka."+key, "%q cannot name a topic; use letters, digits, dots, dashes and underscores, at most 200", name)
		}
	}
	if k.LoginTopic == k.StripeTopic {
		f.wrong("kafka.stripe_topic", "logins and webhooks have the same topic, %s; give each its own", k.StripeTopic)
	}
	kc := c.kafka(present)
	if len(kc.Brokers) == 0 {
		if k.TLS != (TLS{}) || k.SASL != (SASL{}) {
			f.wrong("kafka.brokers", "tls or sasl is set but brokers is empty, which means the embedded broker; name the brokers")
		}
		kc.Brokers = []string{"127.0.0.1:9092"}
	}
	err := kc.Validate()
	f.explain("kafka", k, err)
	if err != nil {
		return
	}
	// The consumers' own rule, without the files that a client would read.
	kc.TLS, kc.SASL = kafka.TLS{}, kafka.SASL{}
	client, err := kafka.New(kc)
	if err != nil {
		return // said above
	}
	defer client.Close()
	if _, err := kafka.NewConsumer(client, kafka.ConsumerConfig{Group: "check", Topics: []string{"check"}, DrainTimeout: c.Workers.DrainTimeout}); err != nil {
		f.wrong("workers.drain_timeout", "%s", strings.TrimPrefix(err.Error(), "kafka consumer "))
	}
}

func (f *file) checkClickHouse(c Config) {
	h := c.ClickHouse
	hc := c.clickhouse(present)
	if len(hc.Addr) == 0 {
		if h.TLS != (TLS{}) || h.Password != "" || h.Cluster != "" || h.Username != Default().ClickHouse.Username {
			f.wrong("clickhouse.addr", "a user, password, cluster or tls is set but addr is empty, which means the embedded engine; name the server")
		}
		hc.Addr = []string{"127.0.0.1:9000"}
	}
	f.explain("clickhouse", h, hc.Validate())
}

func (f *file) checkLogin(c Config) {
	if c.Login.Enabled && !c.Zuora.Enabled {
		f.wrong("login.enabled", "logins lead to Zuora accounts, but zuora.enabled is false; enable zuora or set login.enabled: false")
	}
	if len(c.Login.Providers) == 0 {
		f.wrong("login.providers", "no identity provider is given, so no login can be believed; add one or set login.enabled: false")
		return
	}
	all := c.LoginConfig()
	for i, p := range all.Providers {
		at := fmt.Sprintf("login.providers[%d]", i)
		f.noPassword(at+".jwks_url", p.JWKSURL)
		if slices.ContainsFunc(all.Providers[:i], func(q login.Provider) bool { return p.Name != "" && q.Name == p.Name }) {
			f.wrong(at+".name", "%q is the name of an earlier provider; give each its own", p.Name)
		}
		warnings, err := login.Config{Providers: []login.Provider{p}}.Validate()
		for _, e := range flatten(err) {
			path, text := f.locateProvider(at, c.Login.Providers[i], e.Error())
			f.wrong(path, "%s", text)
		}
		for _, w := range warnings {
			if path, text := f.locateProvider(at, c.Login.Providers[i], w); !f.broken(path) {
				f.warn(path, "%s", text)
			}
		}
	}
}

// locateProvider finds what the login decoder says about a provider.
func (f *file) locateProvider(at string, p Provider, text string) (path, rest string) {
	_, rest, _ = strings.Cut(text, ": ") // provider "name"
	for i, r := range p.Claims {
		if more, ok := strings.CutPrefix(rest, fmt.Sprintf("claim %q: ", r.Claim)); ok {
			return f.locate(fmt.Sprintf("%s.claims[%d]", at, i), reflect.ValueOf(r), more), more
		}
	}
	return f.locate(at, reflect.ValueOf(p), rest), rest
}

func (f *file) checkStripe(c Config) {
	s := c.Stripe
	for i, t := range s.IgnoreTypes {
		if t == "" || strings.Contains(strings.TrimSuffix(t, "*"), "*") {
			f.wrong(fmt.Sprintf("stripe.ignore_types[%d]", i), "%q is neither an event type nor a prefix that ends in one star; write it like invoice.paid or charge.*", t)
		}
	}
	known := stripe.DefaultStatusMap()
	for status, word := range s.Statuses {
		at := "stripe.statuses." + status
		if _, ok := known[status]; !ok {
			f.wrong(at, "no status of a Stripe subscription; want one of %s", strings.Join(sortedKeys(known), ", "))
		} else if !slices.Contains([]string{"active", "cancelled", "leave"}, word) {
			f.wrong(at, "%q is no status in Limio; want active, cancelled or leave", word)
		}
	}
	if _, err := rest.ParseBase(s.BaseURL); err != nil {
		f.wrong("stripe.base_url", "%s; usually https://api.stripe.com", err)
	}
	nc, unused := c.NewcomersConfig(), (*limio.Client)(nil) // the settings are checked, not the clients
	nc.Orders, nc.Records, nc.Writer = unused, unused, unused
	_, err := reconcile.NewNewcomers(nc)
	f.explain("stripe.newcomers", s.Newcomers, err)
	if s.APIKey == "" {
		f.wrong("stripe.api_key", "required; give env:NAME or file:PATH of a secret or restricted key (sk_… or rk_…), or set stripe.enabled: false")
	}
	dc := c.stripeDecoder(present)
	dc.IgnoreTypes = nil // seen above
	if _, err := stripe.NewDecoder(dc); err != nil {
		f.explain("stripe", s, err)
	} else if len(s.WebhookSecrets) == 0 && s.Signature == "" && !f.broken("stripe.webhook_secrets") {
		f.warn("stripe.webhook_secrets", "none is given, so webhooks are believed unsigned; give the endpoint's signing secrets, or set stripe.signature: off to say that the producer checks them")
	}
}

func (f *file) checkZuora(c Config) {
	f.explain("zuora", c.Zuora, c.zuora(present).Validate())
	for _, warning := range c.AccountsConfig().Warnings() {
		at := "zuora.create_offers"
		if !c.Zuora.CreateOffers || strings.HasPrefix(warning, "add-ons") {
			at = "zuora.add_ons"
		}
		f.warn(at, "%s", warning)
	}
	if _, err := time.LoadLocation(c.Zuora.TimeZone); err != nil || c.Zuora.TimeZone == "" {
		f.wrong("zuora.time_zone", "%q is no time zone; want a name such as UTC, Europe/London or America/New_York", c.Zuora.TimeZone)
	}
	swept := c.Sweeps.ZuoraChanged.Schedule != "" || c.Sweeps.ZuoraFull.Schedule != ""
	if len(c.Login.Providers) == 0 && !c.Login.Enabled && !swept && !f.broken("zuora.enabled") {
		f.warn("zuora.enabled", "nothing leads to Zuora accounts, since login.enabled is false and no sweep of Zuora has a schedule; set zuora.enabled: false, configure login, or give sweeps.zuora-full a schedule")
	}
}

func (f *file) checkReconcile(r Reconcile) {
	for i, pattern := range r.Observe {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			f.wrong(fmt.Sprintf("reconcile.observe[%d]", i), "%q is no pattern; write a key with * and ?, such as zuora:account:*", pattern)
		}
	}
	for i, origin := range r.Loop.Origins {
		if strings.TrimSpace(origin) == "" {
			f.wrong(fmt.Sprintf("reconcile.loop.origins[%d]", i), "an empty origin means unknown and cannot be listed; remove it")
		}
	}
}

func (f *file) checkSweeps(s Sweeps) {
	if _, err := time.LoadLocation(s.TimeZone); err != nil || s.TimeZone == "" {
		f.wrong("sweeps.time_zone", "%q is no time zone; want a name such as UTC, Europe/London or America/New_York", s.TimeZone)
	}
	for name, one := range s.ByName() {
		if one.Schedule == "" {
			continue
		}
		if _, err := cron.ParseStandard(one.Schedule); err != nil {
			f.wrong("sweeps."+name+".schedule", "%q is no schedule (%s); want five fields such as 0 2 * * *, or @every 15m, or nothing at all", one.Schedule, err)
		}
	}
}

// checkTimes compares durations that must be in order.
func (f *file) checkTimes(c Config) {
	for _, o := range []struct {
		path, below string
		small, big  time.Duration
	}{
		{"workers.stop_timeout", "workers.drain_timeout", c.Workers.DrainTimeout, c.Workers.StopTimeout},
		{"retry.memory_max", "retry.memory_base", c.Retry.MemoryBase, c.Retry.MemoryMax},
		{"retry.second", "retry.first", c.Retry.First, c.Retry.Second},
	} {
		if o.small > o.big && !f.broken(o.below) {
			f.wrong(o.path, "%s is less than %s (%s); make it longer", brief(o.big), o.below, brief(o.small))
		}
	}
}

// checkListen keeps the listener on this machine: what it serves has no
// authentication.
func (f *file) checkListen(listen string) {
	const at = "http.listen"
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		f.wrong(at, "%q is no address; want host:port, such as 127.0.0.1:8484", listen)
		return
	}
	if _, err := net.LookupPort("tcp", port); err != nil || port == "" {
		f.wrong(at, "port %q is not between 0 and 65535; choose one, such as 8484", port)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		f.wrong(at, "%q would be reached from other machines, which needs authentication, and there is none yet; use 127.0.0.1:%s", listen, port)
	}
}

// noPassword refuses a URL with credentials in it, without quoting it.
func (f *file) noPassword(path, raw string) {
	if u, err := url.Parse(raw); err == nil && u.User != nil || err != nil && strings.Contains(raw, "@") {
		f.wrong(path, "the URL must not hold a user or password; a secret must not be in this file")
	}
}
