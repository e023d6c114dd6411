package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hotsync/connectors/kafka"
	"hotsync/daemon/config"
	"hotsync/embedded/embeddedtest"
)

// binary is the program, built once. Exit codes and signals are only true of a
// process.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hotsync-cmd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "hotsync")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// answer is what a process left behind.
type answer struct {
	code           int
	stdout, stderr string
}

// process is one that runs.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr output
}

// output is what a process has printed so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// logged waits for a message in the log of a process and returns a field of it.
func (p *process) logged(t *testing.T, message, field string) (value string) {
	t.Helper()
	within(t, "it logs: "+message, func() bool {
		for line := range strings.Lines(p.stderr.String()) {
			var fields map[string]any
			if json.Unmarshal([]byte(line), &fields) == nil && fields["message"] == message {
				value, _ = fields[field].(string)
				return true
			}
		}
		return false
	})
	return value
}

// ready waits until a daemon is, with nothing that it lacks.
func ready(t *testing.T, addr string) {
	t.Helper()
	within(t, "readyz is fine and not degraded", func() bool {
		status, body := get("http://" + addr + "/readyz")
		return status == http.StatusOK && !strings.Contains(body, "degraded")
	})
}

// send produces an event of Stripe to a broker, unsigned.
func send(t *testing.T, broker, typ, object string) {
	t.Helper()
	cfg := config.Default()
	cfg.Kafka.Brokers = []string{broker}
	kc, err := cfg.KafkaConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kafka.New(kc)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.EnsureTopics(t.Context(), []kafka.Topic{{Name: cfg.Kafka.StripeTopic, Replication: 1}}); err != nil {
		t.Fatal(err)
	}
	w := kafka.NewWriter(client, kafka.WriterConfig{})
	defer w.Close()
	body := fmt.Sprintf(`{"id":"evt_1","object":"event","api_version":"2023-10-16","created":%d,"type":%q,"data":{"object":%s}}`, time.Now().Unix(), typ, object)
	if err := w.Write(t.Context(), kafka.Record{Topic: cfg.Kafka.StripeTopic, Value: []byte(body)}); err != nil {
		t.Fatal(err)
	}
}

// start runs the program in a folder of its own, with more environment.
func start(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	p := &process{cmd: exec.CommandContext(ctx, binary, args...)}
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = p.cmd.Wait() // an error when end has waited already
	})
	return p
}

func (p *process) end(t *testing.T) answer {
	t.Helper()
	var exited *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exited) {
		t.Fatalf("%v: %v\n%s", p.cmd.Args, err, p.stderr.String())
	}
	return answer{p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()}
}

func hotsync(t *testing.T, dir string, env []string, args ...string) answer {
	t.Helper()
	return start(t, dir, env, args...).end(t)
}

// small is a configuration that needs nothing but one secret; more is put
// behind it.
func small(t *testing.T, more string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	text := `login: {enabled: false}
zuora: {enabled: false}
stripe: {api_key: env:HOTSYNC_TEST_SECRET, signature: off}
limio: {base_url: http://127.0.0.1:1, client_id: a, client_secret: env:HOTSYNC_TEST_SECRET}
` + more
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

var withSecret = []string{"HOTSYNC_TEST_SECRET=hunter2"}

// elsewhere configures servers that do not answer, so that nothing is embedded.
const elsewhere = "kafka: {brokers: ['127.0.0.1:1']}\nclickhouse: {addr: ['127.0.0.1:1']}\n"

func TestExitCodes(t *testing.T) {
	good, bad := small(t, ""), small(t, "log: {level: loud}\n")
	warns := small(t, "reconcile: {mode: observe}\n")
	empty := t.TempDir()
	tests := []struct {
		name   string
		dir    string
		env    []string
		args   string
		code   int
		stdout string // holds
		stderr string
	}{
		{"help", empty, nil, "--help", 0, "Usage:", ""},
		{"no verb", empty, nil, "", 0, "Usage:", ""},
		{"unknown verb", empty, nil, "runn", 2, "", `unknown command "runn"`},
		{"unknown verb of config", empty, nil, "config chek", 2, "", `unknown command "chek"`},
		{"unknown flag", empty, nil, "run --fast", 2, "", "unknown flag: --fast"},
		{"too many words", empty, nil, "run now", 2, "", `unknown command "now"`},
		{"unknown format", empty, nil, "version -o xml", 2, "", "want one of [text json]"},
		{"version", empty, nil, "version", 0, " (go1.", ""},
		{"check", good, withSecret, "config check", 0, "config.yaml: fine\n", ""},
		{"check warns", warns, withSecret, "config check -c config.yaml", 0, "config.yaml: fine\n", ""},
		{"check finds", bad, withSecret, "config check", 2, `config.yaml:5:14: log.level: "loud" is not known; want debug, info, warn or error`, ""},
		{"check misses", good, nil, "config check", 3, "config.yaml: limio.client_secret: environment variable HOTSYNC_TEST_SECRET is not set\n", ""},
		{"check without secrets", good, nil, "config check --no-secrets", 0, "config.yaml: fine\n", ""},
		{"check no file", empty, nil, "config check", 3, "", "name the configuration with -c"},
		{"check a folder", empty, nil, "config check -c .", 3, "", "read configuration"},
		{"print", good, withSecret, "config print", 0, "client_secret: env:HOTSYNC_TEST_SECRET\n", ""},
		{"print json", good, withSecret, "config print -o json", 0, `"client_secret": "env:HOTSYNC_TEST_SECRET"`, ""},
		{"print bad", bad, nil, "config print", 2, "level: info", "config.yaml: 1 error, 0 warnings"},
		{"schema", empty, nil, "config schema", 0, `"additionalProperties": false`, ""},
		{"run no file", empty, nil, "run -c missing.yaml", 3, "", "missing.yaml: no such file"},
		{"run bad file", bad, withSecret, "run", 2, "", `log.level: "loud"`},
		{"run no secret", good, nil, "run", 3, "", "stripe.api_key: environment variable HOTSYNC_TEST_SECRET is not set"},
		{"child by hand", empty, nil, "__clickhouse", 1, "", "it is started by hotsync itself"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := hotsync(t, tt.dir, tt.env, strings.Fields(tt.args)...)
			if got.code != tt.code || !strings.Contains(got.stdout, tt.stdout) || !strings.Contains(got.stderr, tt.stderr) {
				t.Errorf("got exit code %d, want %d with %q and %q\nstdout: %s\nstderr: %s", got.code, tt.code, tt.stdout, tt.stderr, got.stdout, got.stderr)
			}
			if strings.Contains(got.stdout+got.stderr, "hunter2") {
				t.Error("a secret is printed")
			}
			if tt.code != 0 && tt.stderr == "" && got.stderr != "" {
				t.Errorf("what the answer says is said again: %s", got.stderr)
			}
		})
	}
}

func TestCheckAsJSON(t *testing.T) {
	got := hotsync(t, small(t, "log: {level: loud}\n"), nil, "config", "check", "-o", "json")
	var answer struct {
		Problems []config.Problem
		Missing  []string
	}
	if err := json.Unmarshal([]byte(got.stdout), &answer); err != nil {
		t.Fatal(err)
	}
	if got.code != exitFinding || len(answer.Problems) != 1 || answer.Problems[0].Line != 5 || len(answer.Missing) != 2 {
		t.Errorf("got %+v", got)
	}
}

// What print says is a configuration that runs the same.
func TestPrintedConfigurationIsFine(t *testing.T) {
	dir := small(t, "")
	text := hotsync(t, dir, nil, "config", "print").stdout
	if err := os.WriteFile(filepath.Join(dir, "printed.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := hotsync(t, dir, withSecret, "config", "check", "-c", "printed.yaml"); got.code != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestRunOnATakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := hotsync(t, small(t, elsewhere+"http: {listen: '"+l.Addr().String()+"'}\n"), withSecret, "run")
	if got.code != exitEnvironment || !strings.Contains(got.stderr, "http.listen "+l.Addr().String()) || !strings.Contains(got.stderr, "address already in use") {
		t.Errorf("got %+v", got)
	}
}

// A folder that another process uses is named before anything is started.
func TestRunOnATakenFolder(t *testing.T) {
	dir := small(t, "http: {listen: '127.0.0.1:0'}\n")
	if err := os.WriteFile(filepath.Join(dir, "hotsync-data"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got := hotsync(t, dir, withSecret, "run")
	if got.code != exitEnvironment || !strings.Contains(got.stderr, "start broker") || !strings.Contains(got.stderr, "kafka.brokers is empty") {
		t.Errorf("got %+v", got)
	}
}

// fakeNPM is a folder for the PATH with a program npm in it.
func fakeNPM(t *testing.T, script string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSetupWithoutWhatItNeeds(t *testing.T) {
	for _, tt := range []struct{ name, path, want string }{
		{"no npm", t.TempDir(), "npm is not on the PATH"},
		{"npm fails", fakeNPM(t, "echo no route to registry >&2; exit 1"), "no route to registry"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			got := hotsync(t, dir, []string{"PATH=" + tt.path, "HOTSYNC_CACHE=" + dir}, "setup")
			if got.code != exitEnvironment || !strings.Contains(got.stderr, tt.want) || !strings.Contains(got.stderr, "clickhouse.addr") {
				t.Errorf("got %+v", got)
			}
		})
	}
	t.Run("run", func(t *testing.T) {
		dir := small(t, "http: {listen: '127.0.0.1:0'}\n")
		got := hotsync(t, dir, append(withSecret, "PATH="+t.TempDir(), "HOTSYNC_CACHE="+dir), "run")
		if got.code != exitEnvironment || !strings.Contains(got.stderr, "npm is not on the PATH") || !strings.Contains(got.stderr, "hotsync setup") {
			t.Errorf("got %+v", got)
		}
	})
}

// The second signal does not wait for what the first one ends.
func TestSecondSignal(t *testing.T) {
	dir := t.TempDir()
	// A grandchild keeps the pipe open, so that the end of npm takes 2 s.
	npm := fakeNPM(t, "sleep 20 &\n: > "+dir+"/started\nwait")
	p := start(t, dir, []string{"PATH=" + npm + ":/usr/bin:/bin", "HOTSYNC_CACHE=" + dir}, "setup")
	within(t, "npm is started", func() bool { _, err := os.Stat(filepath.Join(dir, "started")); return err == nil })
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if err := p.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.end(t); got.code != exitKilled {
		t.Errorf("got %+v", got)
	}
}

// Nor does it wait for the work in hand of a daemon that is stopping, which the
// first one lets come to its end. What is under way is as after a power cut.
func TestSecondSignalWhileRunStops(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 100)
	vendor := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(vendor.Close)
	addr, broker := freeAddr(t), embeddedtest.Broker(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), fmt.Appendf(nil, `login: {enabled: false}
zuora: {enabled: false}
stripe: {api_key: env:HOTSYNC_TEST_SECRET, signature: off, base_url: %q, timeout: 60s}
limio: {base_url: http://127.0.0.1:1, client_id: a, client_secret: env:HOTSYNC_TEST_SECRET}
kafka: {brokers: [%q], replication: 1, session_timeout: 3m, rebalance_timeout: 3m}
clickhouse: {addr: ['127.0.0.1:1']}
workers: {coalesce: 100ms, drain_timeout: 80s, stop_timeout: 90s}
http: {listen: %q}
`, vendor.URL, broker, addr), 0o644); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir, withSecret, "run")
	within(t, "it is ready", func() bool { status, _ := get("http://" + addr + "/readyz"); return status == http.StatusOK })
	send(t, broker, "customer.subscription.updated", `{"id":"sub_1","object":"subscription","customer":"cus_1"}`)
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Fatalf("nothing asked Stripe: %s", p.stderr.String())
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	within(t, "it wants nothing new", func() bool {
		status, body := get("http://" + addr + "/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "stopping")
	})
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if got := p.end(t); got.code != exitKilled { // it would end by itself in a minute, with 0
		t.Errorf("got %+v", got)
	}
}

// within polls until a condition holds.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(90 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 90s: %s", what)
		}
	}
}

// freeAddr is an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func get(url string) (status int, body string) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// A daemon whose Kafka is away is up, says that it is not ready, and ends well.
func TestRunWithoutKafkaStops(t *testing.T) {
	addr := freeAddr(t)
	p := start(t, small(t, elsewhere+"http: {listen: '"+addr+"'}\n"), withSecret, "run")
	within(t, "healthz answers", func() bool { status, _ := get("http://" + addr + "/healthz"); return status == http.StatusOK })
	if status, body := get("http://" + addr + "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "topics") {
		t.Errorf("readyz: %d %s", status, body)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := p.end(t); got.code != exitFine {
		t.Errorf("got %+v", got)
	}
}

// With nothing configured, run brings its own broker and engine, becomes ready,
// stops them, and finds their data when it is started again: the row of a
// message, once, since the broker knows that it was read.
func TestRunOnOneMachine(t *testing.T) {
	var written string
	t.Parallel()
	addr := freeAddr(t)
	dir := small(t, "http: {listen: '"+addr+"'}\n")
	for life := range 2 {
		p := start(t, dir, withSecret, "run")
		ready(t, addr)
		sql := "http://" + p.logged(t, "embedded clickhouse is running", "http") + "/?query="
		rows := func() string {
			_, body := get(sql + url.QueryEscape("SELECT outcome, reason, triggers.id FROM hotsync.sync_events FORMAT CSV"))
			return body
		}
		if life == 0 {
			send(t, p.logged(t, "embedded broker is running", "addr"), "product.updated", `{"id":"prod_1","object":"product"}`)
			within(t, "the message has its row", func() bool { written = rows(); return written != "" })
		} else if got := rows(); got != written || !strings.HasPrefix(got, `"skipped","irrelevant_type",`) || strings.Count(got, "\n") != 1 {
			t.Errorf("the first life left %q, the second one finds %q", written, got)
		}
		if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		got := p.end(t)
		if got.code != exitFine || strings.Contains(got.stderr, `"level":"error"`) {
			t.Fatalf("got %+v", got)
		}
		for line := range strings.Lines(got.stderr) {
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		}
	}
}
