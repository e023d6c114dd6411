package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/daemon/config"
)

// full returns testdata/full.yaml with every part enabled.
func full(t *testing.T) config.Config {
	t.Helper()
	cfg, problems := config.Parse("full.yaml", read(t, "testdata/full.yaml"))
	if config.Wrong(problems) {
		t.Fatal(lines(problems))
	}
	cfg.Stripe.Enabled, cfg.Login.Enabled = true, true
	return cfg
}

// Every secret that cannot be had is named at once, by its key.
func TestSecretsThatAreMissing(t *testing.T) {
	cfg, empty := full(t), filepath.Join(t.TempDir(), "empty")
	cfg.Stripe.APIKey = config.Ref("file:" + empty)
	if err := os.WriteFile(empty, []byte("\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STRIPE_WEBHOOK_SECRET", "whsec_1")
	err := cfg.Secrets()
	if err == nil {
		t.Fatal("no error")
	}
	var got []string
	for line := range strings.Lines(err.Error()) {
		path, _, _ := strings.Cut(line, ": ")
		got = append(got, path)
	}
	want := []string{
		"kafka.sasl.password", "kafka.tls.ca_file", "kafka.tls.cert_file", "kafka.tls.key_file",
		"clickhouse.password", "clickhouse.tls.ca_file", "clickhouse.tls.cert_file", "clickhouse.tls.key_file",
		"login.providers[1].jwks_file", "stripe.api_key", "stripe.webhook_secrets[1]", "zuora.client_secret", "limio.client_secret",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s\n%v", diff, err)
	}
	if !strings.Contains(err.Error(), "zuora.client_secret: environment variable ZUORA_CLIENT_SECRET is not set") {
		t.Errorf("got %v", err)
	}
}

// A part that is off needs no secrets.
func TestSecretsOfPartsThatAreOff(t *testing.T) {
	t.Setenv("LIMIO_CLIENT_SECRET", "s")
	cfg := config.Default()
	cfg.Stripe.Enabled, cfg.Zuora.Enabled = false, false
	cfg.Stripe.APIKey, cfg.Zuora.ClientSecret = "env:NOBODY_SETS_THIS", "env:NOBODY_SETS_THIS"
	cfg.Limio.ClientSecret = "env:LIMIO_CLIENT_SECRET"
	if err := cfg.Secrets(); err != nil {
		t.Error(err)
	}
}

func TestParts(t *testing.T) {
	for _, name := range []string{"KAFKA_PASSWORD", "STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SECRET_OLD", "ZUORA_CLIENT_SECRET", "LIMIO_CLIENT_SECRET"} {
		t.Setenv(name, "the "+name)
	}
	cfg := full(t)

	k, err := cfg.KafkaConfig()
	if err != nil || k.SASL.Password.Reveal() != "the KAFKA_PASSWORD" || k.TLS.CAFile != "ca.pem" || k.RebalanceTimeout != time.Minute {
		t.Errorf("kafka: %v %+v", err, k)
	}
	d, err := cfg.StripeDecoderConfig()
	if err != nil || len(d.Secrets) != 2 || d.Secrets[1].Reveal() != "the STRIPE_WEBHOOK_SECRET_OLD" || d.HeaderSource != "x-source" || d.Tolerance != 5*time.Minute {
		t.Errorf("stripe decoder: %v %+v", err, d)
	}
	if d.MetadataSourceKeys == nil { // nil would mean the decoder's defaults
		t.Error("metadata_source_keys: [] does not switch them off")
	}
	z, err := cfg.ZuoraConfig()
	if err != nil || z.ClientSecret.Reveal() != "the ZUORA_CLIENT_SECRET" || z.Version != "186.0" || z.ClientID != "12345" || z.Zone.String() != "America/New_York" {
		t.Errorf("zuora: %v %+v", err, z)
	}
	l, err := cfg.LimioConfig()
	if err != nil || l.ClientSecret.Reveal() != "the LIMIO_CLIENT_SECRET" || l.ClientID != "hotsync" || l.Timeout != 10*time.Second {
		t.Errorf("limio: %v %+v", err, l)
	}
	cfg.ClickHouse.Password = "env:KAFKA_PASSWORD"
	h, err := cfg.ClickHouseConfig()
	if err != nil || h.Password.Reveal() != "the KAFKA_PASSWORD" || h.Cluster != "{cluster}" || len(h.Addr) != 2 {
		t.Errorf("clickhouse: %v %+v", err, h)
	}
	p := cfg.LoginConfig()
	if _, err := p.Validate(); err != nil || len(p.Providers) != 2 || !p.Providers[0].Claims[1].Lookup || !p.Enabled() {
		t.Errorf("login: %v %+v", err, p)
	}
	cfg.Login.Enabled = false
	if cfg.LoginConfig().Enabled() {
		t.Error("the toggle has no effect")
	}
}
