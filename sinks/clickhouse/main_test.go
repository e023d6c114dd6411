package clickhouse

import (
	"testing"

	"hotsync/embedded/embeddedtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

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
