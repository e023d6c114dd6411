// Package embeddedtest gives tests a real ClickHouse and a broker: one engine
// for all tests of a test binary, with a database for each, and a broker for
// each. A test that cannot have them fails and says why; it never skips.
//
// The engine is a child that runs the test binary again, so a package that
// uses ClickHouse needs
//
//	func TestMain(m *testing.M) { embeddedtest.Main(m) }
package embeddedtest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hotsync/embedded"
)

// Server is where a test finds its ClickHouse.
type Server struct {
	Addr     string // host:port of the native protocol
	HTTPAddr string // host:port of the HTTP interface
	Database string // exists, is empty and is this test's own
}

// shared is the engine of this test binary. A test binary is one process with
// one life, which Main spans; there is nobody to pass the engine along.
var shared struct {
	sync.Mutex
	main   bool // Main is running
	engine *embedded.Engine
	stop   context.CancelFunc // of keeping the engine running
	dir    string
	err    error
	names  int
}

// startWithin is how long the first test may take to get an engine: the first
// run on a machine downloads it.
const startWithin = 10 * time.Minute

// Main is the TestMain of packages that use ClickHouse. It is the engine when
// the test binary runs as one; else it runs the tests, stops the engine and
// exits.
func Main(m *testing.M) {
	if embedded.IsEngine(os.Args) {
		if err := embedded.EngineMain(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	shared.Lock()
	shared.main = true
	shared.Unlock()
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func stop() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.engine == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	shared.stop()
	if err := shared.engine.Close(ctx); err != nil {
		return err
	}
	return os.RemoveAll(shared.dir)
}

// ClickHouse returns a server with a database of the test's own, which is
// dropped when the test ends. The first call starts the engine.
func ClickHouse(tb testing.TB) Server {
	tb.Helper()
	engine, n, err := start()
	if err != nil {
		tb.Fatalf("embeddedtest: %v", err)
	}
	s := Server{Addr: engine.Addr(), HTTPAddr: engine.HTTPAddr(), Database: fmt.Sprintf("test_%d_%d", os.Getpid(), n)}
	s.Exec(tb, "CREATE DATABASE "+s.Database)
	tb.Cleanup(func() { s.Exec(tb, "DROP DATABASE IF EXISTS "+s.Database+" SYNC") })
	return s
}

func start() (*embedded.Engine, int, error) {
	shared.Lock()
	defer shared.Unlock()
	if !shared.main {
		return nil, 0, fmt.Errorf("this package has no TestMain that calls embeddedtest.Main(m); add one")
	}
	if shared.engine == nil && shared.err == nil {
		shared.engine, shared.err = launch()
	}
	shared.names++
	return shared.engine, shared.names, shared.err
}

func launch() (*embedded.Engine, error) {
	dir, err := os.MkdirTemp("", "hotsync-clickhouse-")
	if err != nil {
		return nil, err
	}
	shared.dir = dir
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	engine, err := embedded.StartClickHouse(ctx, embedded.EngineConfig{DataDir: dir, NoSync: true})
	if err != nil {
		return nil, err
	}
	// The engine may die of a client that is killed in the middle of an insert;
	// a test that kills clients needs it back, with its data.
	kept, stop := context.WithCancel(context.Background())
	shared.stop = stop
	go func() { _ = engine.Run(kept) }() // ends with the context, which stop cancels
	return engine, nil
}

// Exec runs one statement over HTTP, outside any database, and returns what
// it answers as tab-separated text.
func (s Server) Exec(tb testing.TB, query string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := s.post(ctx, query)
	if err != nil {
		tb.Fatalf("embeddedtest: %s: %v", query, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		tb.Fatalf("embeddedtest: %s: %s: %v: %s", query, resp.Status, err, body)
	}
	return string(body)
}

// post asks until there is an answer or ctx ends: an engine that died is back
// within a second.
func (s Server) post(ctx context.Context, query string) (*http.Response, error) {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.HTTPAddr+"/", strings.NewReader(query))
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			return resp, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Broker starts a broker with no topics for this test and returns its
// address. It accepts session time-outs from 100 ms.
func Broker(tb testing.TB) string {
	tb.Helper()
	b, err := embedded.StartBroker(embedded.BrokerConfig{
		DataDir:    filepath.Join(tb.TempDir(), "broker"),
		NoSync:     true,
		MinSession: 100 * time.Millisecond,
	})
	if err != nil {
		tb.Fatalf("embeddedtest: %v", err)
	}
	tb.Cleanup(func() {
		if err := b.Close(); err != nil {
			tb.Errorf("embeddedtest: %v", err)
		}
	})
	return b.Addr()
}
