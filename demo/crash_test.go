package demo_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/connectors/kafka/kafkatest"
	"hotsync/daemon"
	"hotsync/daemon/config"
	"hotsync/demo"
	"hotsync/embedded/embeddedtest"
	"hotsync/sandbox/world"
	"hotsync/sinks/clickhouse"
)

// childEnv names the file with a child daemon's configuration.
const childEnv = "HOTSYNC_TEST_CHILD_CONFIG"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := child(path); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	embeddedtest.Main(m)
}

// child is a daemon until its standard input ends, which it does when the
// parent dies; it prints its address once it is ready.
func child(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var cfg config.Config
	if err := json.Unmarshal(b, &cfg); err != nil {
		return err
	}
	d, err := daemon.New(cfg, daemon.Options{Log: zerolog.New(os.Stderr).Level(zerolog.ErrorLevel), Instance: fmt.Sprint("child-", os.Getpid())})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	fmt.Println(d.Addr())
	return d.Run(ctx)
}

// process is a child daemon.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
	errs  *strings.Builder
}

func spawn(t *testing.T, configPath string) *process {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	p := &process{cmd: exec.Command(exe), errs: &strings.Builder{}}
	p.cmd.Env = append(os.Environ(), childEnv+"="+configPath)
	p.cmd.Stderr = p.errs
	stdin, err := p.cmd.StdinPipe()
	must(t, err)
	stdout, err := p.cmd.StdoutPipe()
	must(t, err)
	p.stdin = stdin
	must(t, p.cmd.Start())
	line := make([]byte, 64)
	n, err := stdout.Read(line)
	if err != nil {
		_ = p.cmd.Wait()
		t.Fatalf("the child did not start: %v\n%s", err, p.errs)
	}
	p.addr = strings.TrimSpace(string(line[:n]))
	return p
}

// kill ends the process as a power cut would.
func (p *process) kill(t *testing.T) {
	t.Helper()
	must(t, p.cmd.Process.Signal(syscall.SIGKILL))
	var exit *exec.ExitError
	if err := p.cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended by itself: %v\n%s", err, p.errs)
	}
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the child did not stop cleanly: %v\n%s", err, p.errs)
	}
}

// syncs is how many syncs the child's metrics say have ended.
func (p *process) syncs() int {
	resp, err := http.Get("http://" + p.addr + "/metrics")
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "hotsync_syncs_total{") {
			n++
		}
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kills is how often the daemon is killed under traffic.
const kills = 10

// kill -9 at random moments under traffic: nothing lost, nothing twice, no
// write missing from the log (Invariants 1, 4 and 6). The verdict comes from the
// topics, from ClickHouse and from the simulated vendors.
func TestKillNine(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))

	w := world.New(world.Config{Seed: seed % 1000, Rate: 60})
	sql := embeddedtest.ClickHouse(t)
	cfg := demo.Settings()
	cfg.Kafka.Brokers = []string{kafkatest.Broker(t)}
	cfg.Kafka.Prefix = kafkatest.Name("hotsync")
	cfg.Kafka.LoginTopic, cfg.Kafka.StripeTopic = kafkatest.Name("logins"), kafkatest.Name("stripe")
	cfg.Kafka.SessionTimeout, cfg.Kafka.RebalanceTimeout, cfg.Kafka.HeartbeatInterval = 6*time.Second, 6*time.Second, 500*time.Millisecond
	cfg.Workers.DrainTimeout = 2 * time.Second
	cfg.ClickHouse.Addr, cfg.ClickHouse.Database = []string{sql.Addr}, sql.Database
	cfg.ClickHouse.Flush = 200 * time.Millisecond
	serve := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	urls := demo.URLs{Zuora: serve(w.ZuoraHandler()), Stripe: serve(w.StripeHandler()), Limio: serve(w.LimioHandler()), JWKS: serve(w.JWKSHandler())}
	dir := t.TempDir()
	must(t, demo.Point(&cfg, w, urls, dir))
	b, err := json.Marshal(cfg)
	must(t, err)
	path := filepath.Join(dir, "config.json")
	must(t, os.WriteFile(path, b, 0o600))

	kc, err := cfg.KafkaConfig()
	must(t, err)
	client, err := kafka.New(kc)
	must(t, err)
	t.Cleanup(client.Close)
	writer := kafka.NewWriter(client, kafka.WriterConfig{MaxBytes: 4 << 20})
	t.Cleanup(writer.Close)
	must(t, client.EnsureTopics(t.Context(), demo.SourceTopics(cfg.Kafka)))
	cc, err := cfg.ClickHouseConfig()
	must(t, err)
	store, err := clickhouse.Open(cc)
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })

	traffic, stopTraffic := context.WithCancel(t.Context())
	var made world.Produced
	var trafficErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		made, trafficErr = w.Run(traffic, func(m world.Message) error {
			topic := cfg.Kafka.LoginTopic
			if m.Topic == world.TopicStripe {
				topic = cfg.Kafka.StripeTopic
			}
			return writer.Write(t.Context(), demo.Record(topic, m))
		})
	})

	for range kills {
		p := spawn(t, path)
		// Let it get to work, then strike at any instant.
		deadline := time.Now().Add(30 * time.Second)
		for p.syncs() == 0 && time.Now().Before(deadline) {
			wait(t, 20*time.Millisecond)
		}
		wait(t, time.Duration(rnd.IntN(1200))*time.Millisecond)
		p.kill(t)
	}
	p := spawn(t, path)
	stopTraffic()
	wg.Wait()
	must(t, trafficErr)
	judge := demo.Judge{Client: client, Store: store, World: w, Kafka: cfg.Kafka}
	bound, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	must(t, judge.AwaitEmpty(bound))
	report, err := judge.Report(t.Context())
	must(t, err)
	p.stop(t)
	t.Logf("produced %+v, %d triggers, outcomes %v", made, report.Triggers, report.Outcomes)
	if report.Unanswered+report.Lost+report.Duplicates+report.Drift != 0 {
		t.Errorf("unanswered %d, lost %d, duplicates %d, drift %d:\n%s",
			report.Unanswered, report.Lost, report.Duplicates, report.Drift, strings.Join(report.Findings, "\n"))
	}
	checkWrites(t, w, sql)
}

// checkWrites holds every write that Limio saw from the API against the log: an
// updated object must stand in some event's changes by its id, a created one,
// which had none yet, by its type and natural key.
func checkWrites(t *testing.T, w *world.World, sql embeddedtest.Server) {
	t.Helper()
	read := func(query string) map[string]bool {
		out := map[string]bool{}
		for line := range strings.Lines(sql.Exec(t, strings.ReplaceAll(query, "@", sql.Database+".sync_events")+" FORMAT TSV")) {
			out[strings.TrimSpace(line)] = true
		}
		return out
	}
	updated := read("SELECT DISTINCT arrayJoin(changes.id) FROM @")
	created := read("SELECT DISTINCT concat(o, ' ', r) FROM @ ARRAY JOIN changes.object AS o, changes.ref AS r, changes.op AS op WHERE op = 'create'")
	missing, checked := 0, 0
	for _, write := range w.Limio().Writes() {
		if write.By != "api" {
			continue
		}
		checked++
		logged := updated[write.ObjectID]
		if write.Op == "create" {
			logged = slices.ContainsFunc(naturalKeys(w, write.ObjectID), func(key string) bool { return created[write.RecordType+" "+key] })
		}
		if logged {
			continue
		}
		if missing++; missing <= 5 {
			t.Errorf("%s of Limio's %s %s at %s: no event says so", write.Op, write.RecordType, write.ObjectID, write.At)
		}
	}
	if checked == 0 {
		t.Error("Limio saw no write at all: nothing was proved")
	}
	t.Logf("%d writes held against the log, %d missing", checked, missing)
}

// naturalKeys are the keys under which a plan may have named an object before it
// had an id. An upcoming payment has no invoice when it is made.
func naturalKeys(w *world.World, id string) []string {
	o, _ := w.Limio().Get(id)
	keys := []string{
		o.Text("data.external_id"), o.Text("relationship_type"), o.Text("data.zuora.result.Id"), o.Text("data.stripe.result.id"),
		strings.Join([]string{o.Text("data.service"), o.Text("data.issuer"), o.Text("data.type"), o.Text("data.value")}, "/"),
	}
	switch o.RecordType {
	case "schedule":
		keys = append(keys, "upcoming")
	case "payment_method": // the card may have changed since
		for _, write := range w.Limio().Writes() {
			for _, c := range write.Changed {
				if write.ObjectID == id && c.Path == "data.stripe.result.id" {
					keys = append(keys, strings.Trim(c.After, `"`))
				}
			}
		}
	}
	return slices.DeleteFunc(keys, func(k string) bool { return k == "" })
}

// wait lets real time pass: the moment of a kill is the input of this test.
func wait(t *testing.T, d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
