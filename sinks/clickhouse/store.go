package clickhouse

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Store is the log of events in one ClickHouse database. Its methods may be
// used by many goroutines.
type Store struct {
	cfg  Config
	conn driver.Conn
}

// Open returns a Store for cfg. It checks cfg and dials nothing.
func Open(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	tlsConfig, err := cfg.TLS.config()
	if err != nil {
		return nil, err
	}
	var client ch.ClientInfo
	client.Products = append(client.Products, struct{ Name, Version string }{Name: "hotsync"})
	conn, err := ch.Open(&ch.Options{
		Addr: cfg.Addr,
		TLS:  tlsConfig,
		// No database is named here: ours may not exist yet, and the embedded
		// engine dies of a handshake that names one that does not. Every
		// statement names it instead.
		Auth:         ch.Auth{Username: cfg.Username, Password: cfg.Password.Reveal()},
		DialTimeout:  cfg.DialTimeout,
		ReadTimeout:  cfg.QueryTimeout,
		MaxOpenConns: cfg.MaxConns,
		MaxIdleConns: cfg.MaxConns,
		Compression:  &ch.Compression{Method: ch.CompressionLZ4},
		// A connection whose server went away and came back is found out
		// by its first use; a short life bounds how long such ones linger.
		ConnMaxLifetime: 10 * time.Minute,
		// Send a block in pieces of 1 MiB: what is held per connection.
		MaxCompressionBuffer: 1 << 20,
		ClientInfo:           client,
	})
	if err != nil {
		return nil, fmt.Errorf("clickhouse: open: %w", err)
	}
	return &Store{cfg: cfg, conn: conn}, nil
}

// Close closes every connection.
func (s *Store) Close() error { return s.conn.Close() }

// in returns query with every @ before a table's name replaced by our database.
func (s *Store) in(query string) string { return strings.ReplaceAll(query, "@", s.cfg.Database+".") }

// Database returns the name of the database the log is in.
func (s *Store) Database() string { return s.cfg.Database }

// Ping asks the server for an answer.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.conn.Ping(ctx); err != nil {
		return fmt.Errorf("clickhouse: ping %v: %w", s.cfg.Addr, classify(err))
	}
	return nil
}

// config returns the tls.Config that t asks for, nil for plain TCP.
func (t TLS) config() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	out := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("clickhouse: tls: read ca_file: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("clickhouse: tls: ca_file %s holds no PEM certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("clickhouse: tls: read cert_file and key_file: %w", err)
		}
		out.Certificates = []tls.Certificate{cert}
	}
	return out, nil
}
