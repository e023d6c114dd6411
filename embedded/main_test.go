package embedded_test

import (
	"bufio"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"hotsync/embedded"
	"hotsync/embedded/embeddedtest"
)

// TestMain also lets this test binary be the other programs that the tests
// need: a parent that can be killed, and a clickhouse binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		programs := map[string]func(args []string) error{
			"__parent_of_engine": parentOfEngine,
			"__parent_of_broker": parentOfBroker,
			"__fake_clickhouse":  fakeClickHouse,
		}
		if program, ok := programs[os.Args[1]]; ok {
			if err := program(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	embeddedtest.Main(m)
}

// parentOfEngine starts an engine, prints its pid and addresses, and waits to
// be killed.
func parentOfEngine(args []string) error {
	e, err := embedded.StartClickHouse(context.Background(), embedded.EngineConfig{DataDir: args[0], NoSync: true})
	if err != nil {
		return err
	}
	fmt.Println(e.PID(), e.Addr(), e.HTTPAddr())
	select {}
}

// parentOfBroker starts a broker, prints its address and waits to be killed.
func parentOfBroker(args []string) error {
	b, err := embedded.StartBroker(embedded.BrokerConfig{DataDir: args[0], MinSession: 100 * time.Millisecond})
	if err != nil {
		return err
	}
	fmt.Println(b.Addr())
	select {}
}

// fakeClickHouse behaves like the clickhouse binary as far as this package can
// tell: a version, both ports, the macro, and an end on SIGTERM only.
func fakeClickHouse(args []string) error {
	if len(args) == 2 && args[1] == "--version" {
		fmt.Println("ClickHouse server version 26.7.2.1 (official build).")
		return nil
	}
	file, ok := strings.CutPrefix(args[1], "--config-file=")
	if args[0] != "server" || !ok {
		return fmt.Errorf("unexpected arguments %q", args)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var cfg struct {
		HTTPPort int    `xml:"http_port"`
		TCPPort  int    `xml:"tcp_port"`
		Start    string `xml:"macros>hotsync_start"`
		Network  string `xml:"users>default>networks>ip"`
	}
	if err := xml.Unmarshal(raw, &cfg); err != nil {
		return err
	}
	if cfg.Network != "127.0.0.1" {
		return fmt.Errorf("default user may come from %q", cfg.Network)
	}
	native, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", cfg.TCPPort))
	if err != nil {
		return err
	}
	defer native.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	srv := &http.Server{Addr: fmt.Sprintf("127.0.0.1:%d", cfg.HTTPPort), ReadHeaderTimeout: time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("query") == "pid" {
				fmt.Fprintln(w, os.Getpid())
				return
			}
			fmt.Fprintln(w, cfg.Start)
		})}
	ended := make(chan error, 1)
	go func() { ended <- srv.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-stop:
		fmt.Println("fake clickhouse: stopped by SIGTERM")
		return nil
	}
}

// startProgram runs this test binary as one of the programs above and returns
// the first line it prints.
func startProgram(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { killAndWait(cmd) })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) || line == "" {
		killAndWait(cmd)
		t.Fatalf("%v printed nothing: %v: %s", args, err, stderr.String())
	}
	return cmd, strings.TrimSpace(line)
}

func killAndWait(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// eventually polls until ok, and fails with what is missing after a minute.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// gone reports whether no process with this id runs. One that has ended and
// that nobody collects is gone too.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil {
		_, rest, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
	}
	return syscall.Kill(pid, 0) != nil
}

func refuses(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return true
	}
	_ = conn.Close()
	return false
}
