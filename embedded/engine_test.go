package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"hotsync/embedded"
	"hotsync/embedded/embeddedtest"
)

func startEngine(t *testing.T, cfg embedded.EngineConfig) *embedded.Engine {
	t.Helper()
	e, err := embedded.StartClickHouse(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return e
}

func connect(t *testing.T, addr, database string) driver.Conn {
	t.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{addr}, Auth: clickhouse.Auth{Database: database}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func execute(t *testing.T, conn driver.Conn, query string, args ...any) {
	t.Helper()
	if err := conn.Exec(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func count(t *testing.T, conn driver.Conn, query string) uint64 {
	t.Helper()
	var n uint64
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func insertMany(t *testing.T, conn driver.Conn, table string, rows int, token string) {
	t.Helper()
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{
		"async_insert": 0, "insert_deduplication_token": token,
	}))
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		if err := batch.Append(uint64(i), fmt.Sprintf(`{"field":"status","n":%d}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
}

func TestEngineIsAClickHouse(t *testing.T) {
	s := embeddedtest.ClickHouse(t)
	conn := connect(t, s.Addr, s.Database)
	execute(t, conn, `CREATE TABLE e (id UInt64, body JSON) ENGINE = ReplacingMergeTree ORDER BY id
		SETTINGS non_replicated_deduplication_window = 100`)
	insertMany(t, conn, "e", 100_000, "one")
	insertMany(t, conn, "e", 100_000, "one")
	insertMany(t, conn, "e", 10, "two")
	execute(t, conn, `CREATE VIEW v AS SELECT id, body.n::UInt64 AS n FROM e FINAL`)
	execute(t, conn, `ALTER TABLE e DELETE WHERE id < 5 SETTINGS mutations_sync = 1`)

	if got := count(t, conn, "SELECT count() FROM e"); got != 100_010-10 {
		t.Errorf("a repeated token left %d rows, want %d", got, 100_000)
	}
	if got, want := count(t, conn, "SELECT sum(n) FROM v"), uint64(100_000*99_999/2-10); got != want {
		t.Errorf("sum through the view %d, want %d", got, want)
	}
	if got := strings.TrimSpace(s.Exec(t, "SELECT timezone() = 'UTC' OR timezone() = 'Etc/UTC'")); got != "1" {
		t.Errorf("engine's time zone is not UTC")
	}
}

func TestEveryTestHasItsOwnDatabase(t *testing.T) {
	a, b := embeddedtest.ClickHouse(t), embeddedtest.ClickHouse(t)
	if a.Addr != b.Addr || a.Database == b.Database {
		t.Fatalf("want one engine and two databases, got %+v and %+v", a, b)
	}
	t.Run("inner", func(t *testing.T) { a = embeddedtest.ClickHouse(t) })
	if got := strings.TrimSpace(b.Exec(t, "SELECT count() FROM system.databases WHERE name = '"+a.Database+"'")); got != "0" {
		t.Errorf("database %s outlives its test", a.Database)
	}
}

func TestEngineLimits(t *testing.T) {
	e := startEngine(t, embedded.EngineConfig{DataDir: t.TempDir(), MemoryLimit: 700_000_000})
	conn := connect(t, e.Addr(), "default")
	for query, want := range map[string]uint64{
		"SELECT toUInt64(value) FROM system.server_settings WHERE name = 'max_server_memory_usage'":  700_000_000,
		"SELECT toUInt64(value) FROM system.merge_tree_settings WHERE name = 'fsync_after_insert'":   1,
		"SELECT toUInt64(value) FROM system.merge_tree_settings WHERE name = 'fsync_part_directory'": 1,
	} {
		if got := count(t, conn, query); got != want {
			t.Errorf("%s: got %d, want %d", query, got, want)
		}
	}
	t.Setenv("HOTSYNC_TEST_SECRET", "hush")
	other := startEngine(t, embedded.EngineConfig{DataDir: t.TempDir()})
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", other.PID()))
	if err == nil && bytes.Contains(env, []byte("hush")) {
		t.Error("the engine inherited the environment's secrets")
	}
}

func TestEngineKeepsDataOverRestart(t *testing.T) {
	dir := t.TempDir()
	e := startEngine(t, embedded.EngineConfig{DataDir: dir})
	conn := connect(t, e.Addr(), "default")
	execute(t, conn, "CREATE DATABASE kept")
	execute(t, conn, "CREATE TABLE kept.t (id UInt64, body JSON) ENGINE = MergeTree ORDER BY id")
	insertMany(t, conn, "kept.t", 1000, "a")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !refuses(e.Addr()) || !refuses(e.HTTPAddr()) {
		t.Error("ports answer after Close")
	}
	again := startEngine(t, embedded.EngineConfig{DataDir: dir, HTTPPort: port(t, e.HTTPAddr()), TCPPort: port(t, e.Addr())})
	if again.Addr() != e.Addr() || again.HTTPAddr() != e.HTTPAddr() {
		t.Errorf("asked for %s and %s, got %s and %s", e.Addr(), e.HTTPAddr(), again.Addr(), again.HTTPAddr())
	}
	if got := count(t, connect(t, again.Addr(), "kept"), "SELECT count() FROM t"); got != 1000 {
		t.Errorf("%d rows after a restart, want 1000", got)
	}
}

func port(t *testing.T, addr string) int {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return a.Port
}

func TestKilledEngineComesBack(t *testing.T) {
	e := startEngine(t, embedded.EngineConfig{DataDir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	conn := connect(t, e.Addr(), "default")
	execute(t, conn, "CREATE DATABASE kept")
	execute(t, conn, "CREATE TABLE kept.t (id UInt64, body JSON) ENGINE = MergeTree ORDER BY id")
	insertMany(t, conn, "kept.t", 1000, "a")

	pid := e.PID()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new engine", func() bool { return e.PID() != pid })
	if got := count(t, connect(t, e.Addr(), "kept"), "SELECT count() FROM t"); got != 1000 {
		t.Errorf("%d rows after kill -9 of the engine, want 1000", got)
	}
}

func TestEngineDiesWithItsParent(t *testing.T) {
	dir := t.TempDir()
	parent, line := startProgram(t, "__parent_of_engine", dir)
	var pid int
	var native, web string
	if _, err := fmt.Sscan(line, &pid, &native, &web); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	conn := connect(t, native, "default")
	execute(t, conn, "CREATE DATABASE kept")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	killAndWait(parent)
	// At once, as an impatient supervisor would: it waits for the old engine.
	again := startEngine(t, embedded.EngineConfig{DataDir: dir, HTTPPort: 0, TCPPort: 0})
	eventually(t, "the engine of a killed parent ends", func() bool { return gone(pid) })
	if !refuses(native) || !refuses(web) {
		t.Errorf("%s or %s answers without an engine", native, web)
	}
	if got := count(t, connect(t, again.Addr(), "default"), "SELECT count() FROM system.databases WHERE name = 'kept'"); got != 1 {
		t.Error("the database is lost")
	}
}

func TestEngineRefusesWhatIsTaken(t *testing.T) {
	dir := t.TempDir()
	e := startEngine(t, embedded.EngineConfig{DataDir: dir})

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := embedded.StartClickHouse(ctx, embedded.EngineConfig{DataDir: dir})
	if !errors.Is(err, embedded.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second engine in one folder: %v", err)
	}
	_, err = embedded.StartClickHouse(t.Context(), embedded.EngineConfig{DataDir: t.TempDir(), HTTPPort: port(t, e.HTTPAddr())})
	if !errors.Is(err, embedded.ErrInUse) || !strings.Contains(err.Error(), e.HTTPAddr()) {
		t.Errorf("second engine on one port: %v", err)
	}
}

func TestEngineMainRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.so")
	for _, args := range [][]string{
		nil,
		{"-config", "x"},
		{"-config", "x", "-library", "a", "-server", "b"},
		{"-unknown"},
		{"-config", "x", "-library", missing},
		{"-config", "x", "-server", missing},
	} {
		if err := embedded.EngineMain(args); err == nil {
			t.Errorf("EngineMain(%q) did not complain", args)
		}
	}
	if !embedded.IsEngine([]string{"hotsync", embedded.EngineVerb}) || embedded.IsEngine([]string{"hotsync", "run"}) || embedded.IsEngine(nil) {
		t.Error("IsEngine does not know the verb")
	}
}

// fakeBinary puts a clickhouse command in a folder of its own.
func fakeBinary(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clickhouse")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func self() string { return fmt.Sprintf("exec '%s' __fake_clickhouse \"$@\"", os.Args[0]) }

func TestBinaryServesInstead(t *testing.T) {
	var log safeBuffer
	e := startEngine(t, embedded.EngineConfig{DataDir: t.TempDir(), Binary: fakeBinary(t, self()), Log: &log})
	server := serverPID(t, e)
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !gone(server) || !strings.Contains(log.String(), "stopped by SIGTERM") {
		t.Errorf("server was not stopped with the engine: %s", log.String())
	}

	e = startEngine(t, embedded.EngineConfig{DataDir: t.TempDir(), Binary: fakeBinary(t, self())})
	server = serverPID(t, e)
	if err := syscall.Kill(e.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server dies with its supervisor", func() bool { return gone(server) })
}

func serverPID(t *testing.T, e *embedded.Engine) int {
	t.Helper()
	resp, err := http.Get("http://" + e.HTTPAddr() + "/?" + url.Values{"query": {"pid"}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var pid int
	if _, err := fmt.Fscan(resp.Body, &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestBinaryThatFails(t *testing.T) {
	_, err := embedded.StartClickHouse(t.Context(), embedded.EngineConfig{
		DataDir: t.TempDir(), Binary: fakeBinary(t, "echo cannot read configuration >&2; exit 7"),
	})
	if err == nil || !strings.Contains(err.Error(), "cannot read configuration") {
		t.Errorf("the engine's own words are missing: %v", err)
	}
}

func TestFindServer(t *testing.T) {
	tests := map[string]struct {
		script string
		found  bool
		err    string
	}{
		"good":    {script: self(), found: true},
		"old":     {script: "echo ClickHouse server version 18.16.1.", err: "18.16 is older"},
		"strange": {script: "echo hello", err: "does not say its version"},
		"broken":  {script: "exit 3", err: "exit status 3"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bin := fakeBinary(t, tt.script)
			t.Setenv("PATH", filepath.Dir(bin)+":"+os.Getenv("PATH"))
			got, err := embedded.FindServer(t.Context())
			if (got == bin) != tt.found || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	t.Setenv("PATH", t.TempDir())
	if got, err := embedded.FindServer(t.Context()); got != "" || err != nil {
		t.Errorf("nothing on the PATH: got %q, %v", got, err)
	}
}

// safeBuffer is a buffer for a log that a process writes to.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

var _ io.Writer = (*safeBuffer)(nil)
