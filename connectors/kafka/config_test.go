package kafka

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hotsync/internal/secret"
)

func TestConfigNamesEveryProblem(t *testing.T) {
	cfg := Config{
		Brokers: []string{"nowhere", "host:99999"}, TLS: TLS{CertFile: "c.pem"},
		SASL:           SASL{Mechanism: "gssapi"},
		SessionTimeout: time.Second, HeartbeatInterval: time.Second, DialTimeout: -1,
	}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`"nowhere"`, `"99999"`, "not enabled", "certificate file and a key file", `"gssapi"`, "no username", "no password", "third of the session", "dial timeout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if _, err := New(cfg); err == nil {
		t.Error("New accepted it")
	}
}

func TestConfigDefaultsAreValid(t *testing.T) {
	cfg := Config{Brokers: []string{"localhost:9092"}, SASL: SASL{Mechanism: "scram-sha-512", Username: "u", Password: secret.New("hunter2")}, TLS: TLS{Enabled: true}}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, cfg) // dials nothing: nobody listens there
	if _, err := NewConsumer(c, ConsumerConfig{Group: "g", Topics: []string{"t"}}); err != nil {
		t.Error(err)
	}
	if s := fmt.Sprintf("%+v %#v", cfg, cfg); strings.Contains(s, "hunter2") {
		t.Errorf("the password shows in %s", s)
	}
}

func TestTLSFilesAreExplained(t *testing.T) {
	for name, cfg := range map[string]TLS{
		"missing authorities": {Enabled: true, CAFile: "testdata/none.pem"},
		"not PEM":             {Enabled: true, CAFile: "config_test.go"},
		"missing certificate": {Enabled: true, CertFile: "testdata/none.pem", KeyFile: "testdata/none.pem"},
	} {
		if _, err := New(Config{Brokers: []string{"localhost:9092"}, TLS: cfg}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Hazards 4, 8 and 12 as limits of the configuration.
func TestConsumerConfigNamesEveryProblem(t *testing.T) {
	c := newClient(t, Config{Brokers: []string{"localhost:9092"}})
	_, err := NewConsumer(c, ConsumerConfig{
		Topics: []string{"a", "a"}, StartAt: "now", MaxBytes: 64 << 20, MaxWait: time.Minute, DrainTimeout: 29 * time.Second, CheckAge: 20 * time.Second,
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"group: none", `"a": empty or given twice`, `"now"`, "max bytes", "max wait", "drain timeout", "check age"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}
