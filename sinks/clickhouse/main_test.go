package clickhouse

import (
	"fmt"
	"os"
	"testing"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"hotsync/embedded/embeddedtest"
)

func TestMain(m *testing.M) {
	if arguments := os.Getenv(childVariable); arguments != "" {
		if err := crashChild(arguments); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	embeddedtest.Main(m)
}

// open returns a migrated store in a database of the test's own.
func open(tb testing.TB, change ...func(*Config)) *Store {
	tb.Helper()
	server := embeddedtest.ClickHouse(tb)
	cfg := Config{Addr: []string{server.Addr}, Database: server.Database}
	for _, f := range change {
		f(&cfg)
	}
	st, err := Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := st.Close(); err != nil {
			tb.Error(err)
		}
	})
	if err := st.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return st
}

// session is a connection in st's database, as somebody who asks questions has
// one.
func session(tb testing.TB, st *Store) driver.Conn {
	tb.Helper()
	conn, err := ch.Open(&ch.Options{Addr: st.cfg.Addr, Auth: ch.Auth{Database: st.cfg.Database}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := conn.Close(); err != nil {
			tb.Error(err)
		}
	})
	return conn
}
