package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"hotsync/connectors/kafka"
	"hotsync/daemon/config"
	"hotsync/embedded"
)

// machine is everything that the daemon needs around it, in this process, and
// the daemon in a child.
type machine struct {
	dir    string
	binary string // of the daemon
	log    string // its log
	cfg    config.Config
	client *kafka.Client
	writer *kafka.Writer
	stops  []func() error // newest last
	daemon *child
}

// startMachine brings up the engines, serves the company's vendors, and builds
// the daemon; it does not start it. Call stop in any case.
func startMachine(ctx context.Context, c *company, o options) (*machine, error) {
	m := &machine{binary: o.daemon}
	var err error
	if m.dir, err = os.MkdirTemp("", "hotsync-bench-"); err != nil {
		return m, err
	}
	m.onStop(func() error { return os.RemoveAll(m.dir) })
	m.log = cmp.Or(o.log, filepath.Join(m.dir, "daemon.log"))
	if m.binary == "" {
		m.binary = filepath.Join(m.dir, "hotsync")
		build := exec.CommandContext(ctx, "go", "build", "-o", m.binary, "hotsync/cmd/hotsync")
		if out, err := build.CombinedOutput(); err != nil {
			return m, fmt.Errorf("build the daemon: %w\n%s", err, out)
		}
	}
	broker, err := embedded.StartBroker(embedded.BrokerConfig{DataDir: filepath.Join(m.dir, "kafka"), NoSync: true})
	if err != nil {
		return m, err
	}
	m.onStop(broker.Close)
	engine, err := embedded.StartClickHouse(ctx, embedded.EngineConfig{DataDir: filepath.Join(m.dir, "clickhouse"), NoSync: true})
	if err != nil {
		return m, err
	}
	m.onStop(func() error {
		bound, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		return engine.Close(bound)
	})
	m.cfg = config.Default()
	m.cfg.Kafka.Brokers, m.cfg.Kafka.Replication, m.cfg.ClickHouse.Addr = []string{broker.Addr()}, 1, []string{engine.Addr()}
	if err := m.follow(c); err != nil {
		return m, err
	}
	return m, m.connect(ctx)
}

func (m *machine) onStop(f func() error) { m.stops = append(m.stops, f) }

// stop ends everything, newest first.
func (m *machine) stop() error {
	var errs []error
	for _, stop := range slices.Backward(m.stops) {
		errs = append(errs, stop())
	}
	m.stops = nil
	return errors.Join(errs...)
}

// follow serves the vendors and configures the daemon to follow them: the
// defaults, but for the budgets, which are off as yet, and the schedules: sweeps
// run when they are asked for.
func (m *machine) follow(c *company) error {
	cfg := &m.cfg
	var errs []error
	serve := func(h http.Handler) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			errs = append(errs, fmt.Errorf("serve the simulated vendors: %w", err))
			return ""
		}
		srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		go func() { _ = srv.Serve(l) }() // until Close
		m.onStop(srv.Close)
		return "http://" + l.Addr().String()
	}
	secret := func(name, value string) config.Ref {
		path := filepath.Join(m.dir, name)
		errs = append(errs, os.WriteFile(path, []byte(value+"\n"), 0o600))
		return config.Ref("file:" + path)
	}
	cfg.Zuora.BaseURL, cfg.Zuora.ClientID, cfg.Zuora.ClientSecret = serve(c.zuora), "bench", secret("zuora-secret", "sandbox")
	cfg.Limio.BaseURL, cfg.Limio.ClientID, cfg.Limio.ClientSecret = serve(c.limio), "bench", secret("limio-secret", "sandbox")
	cfg.Stripe.BaseURL, cfg.Stripe.APIKey = serve(c.stripe), secret("stripe-key", "sk_test_sandbox")
	cfg.Stripe.WebhookSecrets = []config.Ref{secret("stripe-webhook-secret", "whsec_sandbox")}
	cfg.Stripe.LinkKeys = []string{linkKey}
	cfg.Login.Providers = []config.Provider{{
		Name: provider, Issuer: "https://login.example.com/", Audience: []string{"shop"}, TrustedClaims: true,
		Claims: []config.Claim{{Claim: accountsClaim, Service: "zuora", Issuer: "zuora", Type: "account"}},
	}}
	cfg.Zuora.PerSecond, cfg.Limio.PerSecond, cfg.Stripe.PerSecond = 0, 0, 0
	for _, s := range []*config.Sweep{&cfg.Sweeps.ZuoraChanged, &cfg.Sweeps.ZuoraFull, &cfg.Sweeps.StripeEvents, &cfg.Sweeps.StripeDrift, &cfg.Sweeps.LimioOrphans} {
		s.Schedule = ""
	}
	cfg.Log.Level = "warn"
	return errors.Join(errs...)
}

func (m *machine) connect(ctx context.Context) error {
	kc, err := m.cfg.KafkaConfig()
	if err != nil {
		return err
	}
	if m.client, err = kafka.New(kc); err != nil {
		return err
	}
	m.onStop(func() error { m.client.Close(); return nil })
	m.writer = kafka.NewWriter(m.client, kafka.WriterConfig{})
	m.onStop(func() error { m.writer.Close(); return nil })
	return m.client.EnsureTopics(ctx, []kafka.Topic{
		{Name: m.cfg.Kafka.LoginTopic, Partitions: m.cfg.Kafka.Partitions, Replication: 1},
		{Name: m.cfg.Kafka.StripeTopic, Partitions: m.cfg.Kafka.Partitions, Replication: 1},
	})
}

// child is a daemon that runs.
type child struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{} // closed when it has
	err   error         // why it ended
}

// startDaemon starts the daemon and returns when it is ready.
func (m *machine) startDaemon(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	m.cfg.HTTP.Listen = l.Addr().String() // free a moment ago
	_ = l.Close()
	file, err := m.cfg.YAML()
	if err != nil {
		return err
	}
	path := filepath.Join(m.dir, "config.yaml")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return err
	}
	d := &child{cmd: exec.Command(m.binary, "run", "-c", path), log: m.log, ended: make(chan struct{})}
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	d.cmd.Stdout, d.cmd.Stderr = out, out
	err = d.cmd.Start()
	_ = out.Close() // the child has its own
	if err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	go func() { d.err = d.cmd.Wait(); close(d.ended) }()
	m.daemon = d
	m.onStop(d.stop)
	return m.until(ctx, "the daemon is ready", 5*time.Minute, func() bool { return ready(ctx, m.cfg.HTTP.Listen) })
}

func ready(ctx context.Context, addr string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return false
	}
	answer, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode == http.StatusOK
}

// stop ends the daemon as an operator does. Twice is once.
func (d *child) stop() error {
	select {
	case <-d.ended:
		return nil
	default:
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
		return d.err
	case <-time.After(time.Minute):
		_ = d.cmd.Process.Kill()
		<-d.ended
		return errors.New("the daemon did not stop within a minute and was killed")
	}
}

// peak is the most memory that the daemon has held so far, in bytes; 0 where
// the system does not tell. The usage that Wait reports is of no use: between
// fork and exec the child has the memory of this process.
func (d *child) peak() int64 {
	p, err := procfs.NewProc(d.cmd.Process.Pid)
	if err != nil {
		return 0
	}
	status, err := p.NewStatus()
	if err != nil {
		return 0
	}
	return int64(status.VmHWM)
}

// cpu is the processor time of the daemon so far, in seconds; 0 where the system
// does not tell.
func (d *child) cpu() float64 {
	p, err := procfs.NewProc(d.cmd.Process.Pid)
	if err != nil {
		return 0
	}
	stat, err := p.Stat()
	if err != nil {
		return 0
	}
	return stat.CPUTime()
}

// until polls a condition, and fails when the daemon ends, ctx does, or it takes
// too long.
func (m *machine) until(ctx context.Context, what string, patience time.Duration, ok func() bool) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-m.daemon.ended:
			return fmt.Errorf("wait until %s: the daemon ended: %w\n%s", what, m.daemon.err, m.daemon.said())
		case <-limit.C:
			return fmt.Errorf("wait until %s: not within %s; the daemon says:\n%s", what, patience, m.daemon.said())
		}
	}
	return nil
}

// drained waits until every bulk trigger has been worked.
func (m *machine) drained(ctx context.Context) error {
	bulk, workers := m.cfg.Kafka.Prefix+".triggers.bulk", m.cfg.Kafka.Prefix+".workers"
	ends, err := m.client.HighWatermarks(ctx, bulk)
	if err != nil {
		return err
	}
	var asked time.Time
	var failed error
	err = m.until(ctx, "all bulk triggers are worked", patience, func() bool {
		if time.Since(asked) < time.Second {
			return false
		}
		asked = time.Now()
		var done map[int]kafka.Commit
		if done, failed = m.client.Committed(ctx, workers, bulk); failed != nil {
			return true
		}
		for part, end := range ends {
			if done[part].Offset < end {
				return false
			}
		}
		return true
	})
	return errors.Join(err, failed)
}

// said is the end of the daemon's log.
func (d *child) said() string {
	b, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}
