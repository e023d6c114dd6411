package demo_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/daemon"
	"hotsync/daemon/config"
	"hotsync/daemon/sweep"
	"hotsync/demo"
	"hotsync/embedded/embeddedtest"
	"hotsync/sandbox/world"
)

const (
	// childEnv names the file with a child daemon's configuration.
	childEnv = "HOTSYNC_TEST_CHILD_CONFIG"
	// aheadEnv is how far a child's clock is ahead, 0s when it is empty.
	aheadEnv = "HOTSYNC_TEST_CHILD_AHEAD"
)

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
	ahead, err := time.ParseDuration(cmp.Or(os.Getenv(aheadEnv), "0s"))
	if err != nil {
		return err
	}
	d, err := daemon.New(cfg, daemon.Options{
		Log: zerolog.New(os.Stderr).Level(zerolog.ErrorLevel), Instance: fmt.Sprint("child-", os.Getpid()),
		Now: func() time.Time { return time.Now().Add(ahead) },
	})
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

func spawn(t *testing.T, configPath string, env ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	p := &process{cmd: exec.Command(exe), errs: &strings.Builder{}}
	p.cmd.Env = append(append(os.Environ(), childEnv+"="+configPath), env...)
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

// configFile writes the configuration down for a child.
func (r *rig) configFile() (path string) {
	r.t.Helper()
	b, err := json.Marshal(r.cfg)
	must(r.t, err)
	path = filepath.Join(r.t.TempDir(), "config.json")
	must(r.t, os.WriteFile(path, b, 0o600))
	return path
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

// kills is how often the daemon is killed under traffic.
const kills = 10

// kill -9 at random moments under traffic, and in the middle of sweeps: nothing
// lost, nothing twice, no write missing from the log, one summary of each run
// (Invariants 1, 4 and 6). The verdict comes from the topics, from ClickHouse and
// from the simulated vendors.
func TestKillNine(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))

	r := newRig(t, world.Config{Seed: seed % 1000, Accounts: 60, Subscriptions: 100, Rate: 40, Lose: demo.Lost, Unannounced: true})
	r.cfg.Sweeps.StripeEvents.Schedule, r.cfg.Sweeps.ZuoraChanged.Schedule = "@every 2s", "@every 3s"
	path := r.configFile()
	r.traffic()
	stopAsking := r.askAllTheTime()

	watch, caught := r.operator(), 0
	for i := range kills {
		p := spawn(t, path)
		// Let it get to work, then strike: at any instant, or while a sweep reads
		// or has its findings worked.
		deadline := time.Now().Add(30 * time.Second)
		for time.Now().Before(deadline) && (p.syncs() == 0 || i%2 == 1 && !sweeping(t, watch)) {
			wait(t, 20*time.Millisecond)
		}
		wait(t, time.Duration(rnd.IntN(1200))*time.Millisecond)
		p.kill(t)
		if sweeping(t, watch) {
			caught++
		}
	}
	if caught == 0 {
		t.Error("no kill came in the middle of a sweep: nothing was proved of them")
	}
	p := spawn(t, path)
	stopAsking()
	r.stopTraffic()
	r.await()
	report := r.verdict()
	p.stop(t)
	t.Logf("%d of %d kills came in the middle of sweeps", caught, kills)
	if report.Sweeps.Repaired == 0 {
		t.Error("sweeps repaired nothing")
	}
	r.checkWrites()
	r.checkSummaries()
	r.checkNothingStuck()
}

// askAllTheTime has one sweep after the other run, those that read the most.
func (r *rig) askAllTheTime() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		asks := r.operator()
		for i := 0; ; i++ {
			name := []string{sweep.StripeDrift, sweep.ZuoraFull, sweep.LimioOrphans}[i%3]
			_, err := asks.Sweep(ctx, name, sweep.Ask{Deep: name == sweep.StripeDrift})
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				r.t.Errorf("ask for %s: %v", name, err)
				return
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// sweeping reports whether the ledger shows a run under way.
func sweeping(t *testing.T, o *demo.Operator) bool {
	t.Helper()
	for _, name := range sweep.Names() {
		st, err := o.Status(t.Context(), name)
		if err != nil {
			return false // nobody has made the topic yet
		}
		if st.Current != nil {
			return true
		}
	}
	return false
}

// checkSummaries looks for exactly one summary of each run that has ended: one
// row, and one content however often a crash had it written.
func (r *rig) checkSummaries() {
	r.t.Helper()
	ended, summaries := map[string]bool{}, map[string]string{}
	read := func(topic string, each func(kafka.Record) error) {
		for p := range r.cfg.Kafka.Partitions {
			must(r.t, r.client.ReadAll(r.t.Context(), r.cfg.Kafka.Prefix+topic, p, 0, -1, func(_ context.Context, rec kafka.Record) error { return each(rec) }))
		}
	}
	read(".state", func(rec kafka.Record) error {
		var st sweep.State
		if !strings.HasPrefix(string(rec.Key), "sweep:state:") {
			return nil
		}
		if err := json.Unmarshal(rec.Value, &st); err != nil {
			return err
		}
		for _, run := range st.Last {
			ended[run.ID] = true
		}
		return nil
	})
	read(".events", func(rec kafka.Record) error {
		run, ok := strings.CutPrefix(string(rec.Key), "sweep:run:")
		if before, again := summaries[run]; ok && again && before != string(rec.Value) {
			r.t.Errorf("run %s has two summaries:\n%s\n%s", run, before, rec.Value)
		}
		if ok {
			summaries[run] = string(rec.Value)
		}
		return nil
	})
	rows := r.sql.Exec(r.t, "SELECT key_id, count() FROM "+r.sql.Database+".syncs WHERE key_system = 'sweep' AND key_kind = 'run' GROUP BY key_id FORMAT TSV")
	shown := map[string]string{}
	for line := range strings.Lines(rows) {
		run, count, _ := strings.Cut(strings.TrimSpace(line), "\t")
		shown[run] = count
	}
	for run := range ended {
		if shown[run] != "1" {
			r.t.Errorf("run %s has ended and has %q summaries", run, shown[run])
		}
	}
	if len(ended) == 0 || len(shown) != len(summaries) {
		r.t.Errorf("%d runs have ended, the topic has summaries of %d and ClickHouse of %d", len(ended), len(summaries), len(shown))
	}
	r.t.Logf("%d runs of sweeps have ended", len(ended))
}
