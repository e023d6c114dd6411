package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"hotsync/internal/secret"
)

// Config says how to reach a cluster. Only Brokers is required.
type Config struct {
	// Brokers are host:port addresses; one that answers is enough to find the rest.
	Brokers []string
	// ClientID names this process in the broker's logs and quotas. Default hotsync.
	ClientID string
	TLS      TLS
	SASL     SASL

	// DialTimeout bounds a connection with its TLS and SASL handshakes. Default 10 s.
	DialTimeout time.Duration
	// RequestTimeout bounds one request and its answer, over what the broker is
	// asked to wait. Default 10 s.
	RequestTimeout time.Duration
	// MetadataTTL bounds how long a moved partition leader goes unnoticed. Default 3 s.
	MetadataTTL time.Duration

	// SessionTimeout: a member that was silent for this long is dropped. Default 30 s.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long the group waits for a member to hand over. Default 30 s.
	RebalanceTimeout time.Duration
	// HeartbeatInterval is also how long a rebalance may go unnoticed. Default 3 s.
	HeartbeatInterval time.Duration
}

// TLS says how connections are encrypted. There is deliberately no way to skip
// the verification of the broker: name its authority in CAFile.
type TLS struct {
	Enabled bool
	// CAFile holds the authorities in PEM. Empty: those of the system.
	CAFile string
	// CertFile and KeyFile are the client certificate, both or neither.
	CertFile, KeyFile string
	// ServerName replaces the broker's host name in the verification.
	ServerName string
}

// SASL says who we are. The zero value sends no credentials.
type SASL struct {
	// Mechanism is "", "plain", "scram-sha-256" or "scram-sha-512".
	Mechanism string
	Username  string
	Password  secret.Value
}

func (c Config) withDefaults() Config {
	setDefault(&c.ClientID, "hotsync")
	setDefault(&c.DialTimeout, 10*time.Second)
	setDefault(&c.RequestTimeout, 10*time.Second)
	setDefault(&c.MetadataTTL, 3*time.Second)
	setDefault(&c.SessionTimeout, 30*time.Second)
	setDefault(&c.RebalanceTimeout, 30*time.Second)
	setDefault(&c.HeartbeatInterval, 3*time.Second)
	return c
}

// Validate returns every problem at once, joined, or nil. It looks at the
// configuration only and reads no file.
func (c Config) Validate() error {
	c = c.withDefaults()
	var bad []error
	problem := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if len(c.Brokers) == 0 {
		problem("kafka brokers: none given: name at least one host:port")
	}
	for _, b := range c.Brokers {
		host, port, err := net.SplitHostPort(b)
		if err != nil || host == "" {
			problem("kafka broker %q: want host:port, for example broker-1:9092", b)
			continue
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			problem("kafka broker %q: port %q is not between 1 and 65535", b, port)
		}
	}
	bad = append(bad, c.TLS.problems()...)
	bad = append(bad, c.SASL.problems()...)
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"dial timeout", c.DialTimeout}, {"request timeout", c.RequestTimeout}, {"metadata ttl", c.MetadataTTL},
		{"session timeout", c.SessionTimeout}, {"rebalance timeout", c.RebalanceTimeout}, {"heartbeat interval", c.HeartbeatInterval},
	} {
		if d.d < time.Millisecond || d.d > time.Hour {
			problem("kafka %s %s: want something between 1ms and 1h", d.name, d.d)
		}
	}
	if c.HeartbeatInterval*3 > c.SessionTimeout {
		problem("kafka heartbeat interval %s: want at most a third of the session timeout %s, so that one lost heartbeat drops nobody",
			c.HeartbeatInterval, c.SessionTimeout)
	}
	return errors.Join(bad...)
}

func (t TLS) problems() (bad []error) {
	if !t.Enabled && (t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != "") {
		bad = append(bad, errors.New("kafka tls: settings are given but tls is not enabled: set enabled"))
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		bad = append(bad, errors.New("kafka tls: a client certificate needs both a certificate file and a key file"))
	}
	return bad
}

func (s SASL) problems() (bad []error) {
	switch s.Mechanism {
	case "":
		if s.Username != "" || !s.Password.IsZero() {
			bad = append(bad, errors.New("kafka sasl: credentials are given but no mechanism: choose plain, scram-sha-256 or scram-sha-512"))
		}
		return bad
	case mechanismPlain, mechanismSHA256, mechanismSHA512:
	default:
		bad = append(bad, fmt.Errorf("kafka sasl mechanism %q: choose plain, scram-sha-256 or scram-sha-512", s.Mechanism))
	}
	if s.Username == "" {
		bad = append(bad, errors.New("kafka sasl: no username"))
	}
	if s.Password.IsZero() {
		bad = append(bad, errors.New("kafka sasl: no password"))
	}
	return bad
}

// config reads the files and builds what crypto/tls wants; nil without TLS.
func (t TLS) config() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read kafka tls authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka tls authorities %s: no PEM certificate in it", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read kafka client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
