package clickhouse

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"time"

	"hotsync/internal/secret"
)

// Config says where ClickHouse is and how the log is kept there.
type Config struct {
	Addr     []string // host:port of the native protocol; the first that answers is used
	Database string   // default hotsync; created when it is missing
	Username string   // default "default"
	Password secret.Value
	TLS      TLS
	// Cluster, when set, makes every statement of the schema ON CLUSTER and
	// every table replicated. It names a cluster of one shard: the loader and
	// the views read and write any of its replicas.
	Cluster string
	// RetentionDays is how long rows are kept, counted from when the first
	// trigger of their sync was received. 0 keeps them for ever.
	RetentionDays int
	DialTimeout   time.Duration // default 5 s
	// QueryTimeout bounds one insert or query, default 2 min.
	QueryTimeout time.Duration
	MaxConns     int // default 8
}

// TLS says how to speak TLS with ClickHouse. The zero TLS speaks plain TCP.
type TLS struct {
	Enabled    bool
	CAFile     string // PEM; empty means the system's roots
	CertFile   string // client certificate, PEM
	KeyFile    string
	ServerName string // default: the host of the address
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// clusterName allows what ClickHouse configurations use, and macros: {cluster}.
var clusterName = regexp.MustCompile(`^[A-Za-z0-9_.{}-]{1,128}$`)

// Validate reports everything that is wrong with c, as one joined error.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("clickhouse: "+format, args...)) }
	if len(c.Addr) == 0 {
		bad("addr is empty: give at least one host:port of the native protocol, such as 127.0.0.1:9000")
	}
	for _, a := range c.Addr {
		if _, port, err := net.SplitHostPort(a); err != nil || port == "" {
			bad("addr %q: want host:port, such as 127.0.0.1:9000", a)
		}
	}
	if c.Database != "" && !identifier.MatchString(c.Database) {
		bad("database %q: want letters, digits and underscores, not starting with a digit", c.Database)
	}
	if c.Cluster != "" && !clusterName.MatchString(c.Cluster) {
		bad("cluster %q: want the name of a cluster in system.clusters, or a macro such as {cluster}", c.Cluster)
	}
	if c.RetentionDays < 0 {
		bad("retention_days is %d: want 0 (keep for ever) or more", c.RetentionDays)
	}
	if c.DialTimeout < 0 || c.QueryTimeout < 0 {
		bad("dial_timeout and query_timeout must not be negative")
	}
	if c.MaxConns < 0 {
		bad("max_conns is %d: want 0 (default 8) or more", c.MaxConns)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("tls: cert_file and key_file go together")
	}
	if !c.TLS.Enabled && c.TLS != (TLS{}) {
		bad("tls: files or a server name are given, but enabled is false")
	}
	return errors.Join(errs...)
}

// withDefaults returns c with its defaults filled in.
func (c Config) withDefaults() Config {
	if c.Database == "" {
		c.Database = "hotsync"
	}
	if c.Username == "" {
		c.Username = "default"
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = 5 * time.Second
	}
	if c.QueryTimeout == 0 {
		c.QueryTimeout = 2 * time.Minute
	}
	if c.MaxConns == 0 {
		c.MaxConns = 8
	}
	return c
}
