// Package demo is hotsync on one machine with a simulated world around it, and
// the judge of how it went. It promises that the verdict comes from outside:
// from the topics, from ClickHouse and from the simulators' own state, never
// from what the daemon says of itself.
package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/daemon"
	"hotsync/daemon/config"
	"hotsync/embedded"
	"hotsync/sandbox/world"
	"hotsync/sinks/clickhouse"
)

// Config says how long the demo goes on and where it keeps its data.
type Config struct {
	// Duration of the traffic. Zero: until the context ends.
	Duration time.Duration
	// Rate of messages per second, 0 for the world's default.
	Rate float64
	Seed uint64
	// DataDir must not exist or be empty. Empty: a temporary folder, removed at
	// the end.
	DataDir  string
	CacheDir string // of the ClickHouse engine
	Binary   string // of a ClickHouse server to use instead; "" for the engine
	Listen   string // of health and metrics; empty picks a free port
	NoFaults bool
	Trouble  world.Trouble // beside the faults that come and go
	Log      zerolog.Logger
	Build    string
	// Progress, when set, is told about twice a second how it goes.
	Progress func(Progress)
	// Drain bounds how long the demo waits, after the traffic, for the last sweeps
	// and an empty road. Default 2 min.
	Drain time.Duration
}

// Run starts everything, makes traffic, lets sweeps find what the traffic did not
// tell, waits until the road is empty, judges, and stops everything. The traffic
// ends after its time or with ctx; all that follows is done in any case.
func Run(ctx context.Context, cfg Config) (Report, error) {
	d := &demo{cfg: cfg, stops: []func(){}}
	if d.cfg.Drain == 0 {
		d.cfg.Drain = 2 * time.Minute
	}
	defer d.stop()
	if err := d.start(ctx); err != nil {
		return Report{}, err
	}
	return d.run(ctx)
}

// demo is a run under way.
type demo struct {
	cfg    Config
	dir    string
	settle time.Duration
	broker *embedded.Broker
	engine *embedded.Engine
	world  *world.World
	file   config.Config
	client *kafka.Client
	writer *kafka.Writer
	store  *clickhouse.Store
	daemon *daemon.Daemon
	began  time.Time
	stops  []func() // newest last
}

func (d *demo) onStop(f func()) { d.stops = append(d.stops, f) }

func (d *demo) stop() {
	for _, v := range slices.Backward(d.stops) {
		v()
	}
	d.stops = nil
}

// start brings up engines, world and clients, but not the daemon.
func (d *demo) start(ctx context.Context) error {
	if err := d.folder(); err != nil {
		return err
	}
	var err error
	// The world ends with the demo: nothing here has to outlive a power cut.
	if d.broker, err = embedded.StartBroker(embedded.BrokerConfig{DataDir: filepath.Join(d.dir, "kafka"), NoSync: true}); err != nil {
		return fmt.Errorf("start the embedded broker: %w", err)
	}
	d.onStop(func() { _ = d.broker.Close() })
	d.engine, err = embedded.StartClickHouse(ctx, embedded.EngineConfig{
		DataDir: filepath.Join(d.dir, "clickhouse"), CacheDir: d.cfg.CacheDir, Binary: d.cfg.Binary, Log: d.cfg.Log, NoSync: true,
	})
	if err != nil {
		return fmt.Errorf("start the embedded ClickHouse: %w", err)
	}
	kept, letGo := context.WithCancel(context.WithoutCancel(ctx))
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = d.engine.Run(kept) // brings the engine back when it dies
	}()
	d.onStop(func() {
		letGo()
		<-over
		bound, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = d.engine.Close(bound)
	})
	d.settle = 3 * time.Second
	d.world = world.New(world.Config{
		Seed: d.cfg.Seed, Rate: d.cfg.Rate, Duration: d.cfg.Duration, NoFaults: d.cfg.NoFaults, Trouble: d.cfg.Trouble,
		Lose: Lost, Unannounced: true, Settle: d.settle, Window: window,
	})
	if d.file, err = d.configure(); err != nil {
		return err
	}
	return d.connect(ctx)
}

// window is the brake's, short enough for a demo to see it released.
const window = 10 * time.Second

// Lost is the share of changes in Stripe that no webhook tells of: what sweeps
// are for.
const Lost = 0.02

func (d *demo) folder() error {
	if d.cfg.DataDir != "" {
		d.dir = d.cfg.DataDir
		if err := os.MkdirAll(d.dir, 0o700); err != nil {
			return fmt.Errorf("make the data folder: %w", err)
		}
		entries, err := os.ReadDir(d.dir)
		if err == nil && len(entries) > 0 {
			err = fmt.Errorf("%s is not empty: the demo begins with an empty world; name a new folder", d.dir)
		}
		return err
	}
	dir, err := os.MkdirTemp("", "hotsync-demo-")
	if err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	d.dir = dir
	d.onStop(func() { _ = os.RemoveAll(dir) })
	return nil
}

// configure is a config.yaml for the world: what an operator would write.
func (d *demo) configure() (config.Config, error) {
	c := Settings()
	c.Kafka.Brokers = []string{d.broker.Addr()}
	c.ClickHouse.Addr = []string{d.engine.Addr()}
	if d.cfg.Listen != "" {
		c.HTTP.Listen = d.cfg.Listen
	}
	urls, err := d.serve()
	if err != nil {
		return c, err
	}
	return c, Point(&c, d.world, urls, d.dir)
}

// Settings is the configuration of a demo without its addresses: the defaults,
// with waits that suit somebody who watches.
func Settings() config.Config {
	c := config.Default()
	c.Kafka.Partitions, c.Kafka.Replication = 4, 1
	c.Kafka.SessionTimeout, c.Kafka.RebalanceTimeout, c.Kafka.HeartbeatInterval = 10*time.Second, 10*time.Second, time.Second
	c.Workers.DrainTimeout = 4 * time.Second
	c.Workers.Coalesce = time.Second
	c.Reconcile.Observe = []string{"stripe:subscription:" + world.ObservedPrefix + "*"}
	c.Reconcile.Loop.Settle, c.Reconcile.Loop.Window, c.Reconcile.Loop.MaxWrites = 3*time.Second, window, 50
	c.Retry.MemoryTries = 2
	c.Retry.First, c.Retry.FirstTries, c.Retry.Second, c.Retry.SecondTries = 3*time.Second, 10, 6*time.Second, 20
	c.Sweeps.Jitter, c.Sweeps.Patience = 0, 30*time.Second
	c.Sweeps.StripeEvents.Schedule, c.Sweeps.ZuoraChanged.Schedule = "@every 10s", "@every 10s"
	// These run when the traffic is over: see Conclude.
	c.Sweeps.StripeDrift.Schedule, c.Sweeps.ZuoraFull.Schedule, c.Sweeps.LimioOrphans.Schedule = "", "", ""
	// More than the traffic needs. The simulated vendors have no limits of their
	// own, but now and then they say so, and are taken at their word.
	c.Stripe.PerSecond, c.Zuora.PerSecond, c.Limio.PerSecond = 200, 400, 400
	c.HTTP.Listen = "127.0.0.1:0"
	return c
}

// URLs are where a world is served.
type URLs struct{ Zuora, Stripe, Limio, JWKS string }

// Point makes c follow a world that is served at urls. Secrets become files in
// dir, since a configuration never holds one.
func Point(c *config.Config, w *world.World, urls URLs, dir string) error {
	var errs []error
	file := func(name, value string) config.Ref {
		path := filepath.Join(dir, name)
		errs = append(errs, os.WriteFile(path, []byte(value+"\n"), 0o600))
		return config.Ref("file:" + path)
	}
	cred := w.Credentials()
	c.Zuora.BaseURL, c.Zuora.ClientID, c.Zuora.ClientSecret = urls.Zuora, cred.ZuoraClientID, file("zuora-secret", cred.ZuoraClientSecret)
	c.Limio.BaseURL, c.Limio.ClientID, c.Limio.ClientSecret = urls.Limio, cred.LimioClientID, file("limio-secret", cred.LimioClientSecret)
	c.Stripe.BaseURL, c.Stripe.APIKey = urls.Stripe, file("stripe-key", cred.StripeKey)
	c.Stripe.WebhookSecrets = []config.Ref{file("stripe-webhook-secret", cred.WebhookSecret)}
	c.Stripe.LinkKeys, c.Stripe.SourceKeys = []string{world.LinkKey}, []string{world.SourceKey}
	c.Login.Providers = nil
	for _, p := range w.Providers() {
		claim := config.Claim{Claim: p.Claim, Service: "zuora", Issuer: "zuora", Type: "account", Lookup: p.Lookup, LookupField: p.LookupField}
		if p.Lookup && claim.Claim == "" {
			claim.Claim = "sub"
		}
		c.Login.Providers = append(c.Login.Providers, config.Provider{
			Name: p.Name, Issuer: p.Issuer, Audience: []string{p.Audience}, JWKSURL: urls.JWKS, ClockSkew: time.Minute, Claims: []config.Claim{claim},
		})
	}
	return errors.Join(errs...)
}

// serve puts the world's simulators on loopback ports.
func (d *demo) serve() (URLs, error) {
	var u URLs
	for _, s := range []struct {
		url *string
		h   http.Handler
	}{
		{&u.Zuora, d.world.ZuoraHandler()}, {&u.Stripe, d.world.StripeHandler()},
		{&u.Limio, d.world.LimioHandler()}, {&u.JWKS, d.world.JWKSHandler()},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return u, fmt.Errorf("serve the simulated vendors: %w", err)
		}
		*s.url = "http://" + l.Addr().String()
		srv := &http.Server{Handler: s.h, ReadHeaderTimeout: 10 * time.Second}
		go func() { _ = srv.Serve(l) }() // ends with Close, which stop calls
		d.onStop(func() { _ = srv.Close() })
	}
	return u, nil
}

func (d *demo) connect(ctx context.Context) error {
	kc, err := d.file.KafkaConfig()
	if err != nil {
		return err
	}
	if d.client, err = kafka.New(kc); err != nil {
		return err
	}
	d.onStop(d.client.Close)
	d.writer = kafka.NewWriter(d.client, kafka.WriterConfig{MaxBytes: maxMessage})
	d.onStop(d.writer.Close)
	if err := d.client.EnsureTopics(ctx, SourceTopics(d.file.Kafka)); err != nil {
		return fmt.Errorf("make the producers' topics: %w", err)
	}
	cc, err := d.file.ClickHouseConfig()
	if err != nil {
		return err
	}
	if d.store, err = clickhouse.Open(cc); err != nil {
		return err
	}
	d.onStop(func() { _ = d.store.Close() })
	return nil
}

// maxMessage is the largest message the demo's producers send: bad ones are
// large.
const maxMessage = 4 << 20

// SourceTopics are the topics that belong to the auth and billing teams.
func SourceTopics(k config.Kafka) []kafka.Topic {
	return []kafka.Topic{
		{Name: k.LoginTopic, Partitions: k.Partitions, Replication: k.Replication, MaxMessageBytes: maxMessage},
		{Name: k.StripeTopic, Partitions: k.Partitions, Replication: k.Replication, MaxMessageBytes: maxMessage},
	}
}

// run is the demo from the daemon's start to the verdict.
func (d *demo) run(ctx context.Context) (Report, error) {
	dmn, err := daemon.New(d.file, daemon.Options{Log: d.cfg.Log, Now: d.world.Clock().Now, Instance: "demo", Build: d.cfg.Build})
	if err != nil {
		return Report{}, err
	}
	d.daemon = dmn
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	road, fall := context.WithCancelCause(life) // ends when the daemon does
	ended := make(chan error, 1)
	go func() {
		err := dmn.Run(life)
		fall(fmt.Errorf("the daemon ended by itself: %w", err))
		ended <- err
	}()
	defer end()
	if err := d.awaitReady(ctx, road); err != nil {
		return Report{}, err
	}
	d.began = time.Now()
	watch, unwatch := context.WithCancel(road)
	defer unwatch()
	go d.watch(watch)

	made, err := d.traffic(ctx, road)
	if road.Err() != nil {
		return Report{}, context.Cause(road)
	}
	if err != nil {
		return Report{}, fmt.Errorf("traffic: %w", err)
	}
	traffic := time.Since(d.began)
	judge := Judge{Client: d.client, Store: d.store, World: d.world, Kafka: d.file.Kafka}
	bound, cancel := context.WithTimeout(road, d.cfg.Drain)
	defer cancel()
	if err := Conclude(bound, judge, d.operator()); err != nil {
		if road.Err() != nil {
			return Report{}, context.Cause(road)
		}
		return Report{}, fmt.Errorf("the road did not come to rest within %s: %w", d.cfg.Drain, err)
	}
	unwatch()
	report, err := judge.Report(road)
	if err != nil {
		return Report{}, err
	}
	report.Duration = traffic.Seconds()
	report.Produced = Produced{made.Logins, made.Stripe, made.Orders, made.Poison, made.Lost}
	end()
	if err := <-ended; err != nil {
		return report, fmt.Errorf("stop the daemon: %w", err)
	}
	return report, nil
}

// operator is the demo itself, when it asks for sweeps.
func (d *demo) operator() *Operator {
	return &Operator{Client: d.client, Writer: d.writer, Kafka: d.file.Kafka, Now: d.world.Clock().Now}
}

// traffic runs the world and produces what it emits, in its order and in
// batches: one message at a time would wait for the disk at each.
func (d *demo) traffic(ctx, road context.Context) (world.Produced, error) {
	queue := make(chan kafka.Record, 4*perWrite)
	written := make(chan error, 1)
	go func() { written <- d.produce(road, queue) }()
	made, err := d.world.Run(ctx, func(m world.Message) error {
		topic := d.file.Kafka.LoginTopic
		if m.Topic == world.TopicStripe {
			topic = d.file.Kafka.StripeTopic
		}
		select {
		case queue <- Record(topic, m):
			return nil
		case err := <-written:
			written <- err
			return err
		}
	})
	close(queue)
	return made, errors.Join(err, <-written)
}

// perWrite bounds the messages of one write.
const perWrite = 200

func (d *demo) produce(ctx context.Context, queue <-chan kafka.Record) error {
	for first := range queue {
		batch := []kafka.Record{first}
		for len(batch) < perWrite && len(queue) > 0 {
			batch = append(batch, <-queue)
		}
		if err := d.writer.Write(ctx, batch...); err != nil {
			return err
		}
	}
	return nil
}

// Record is a message of the world as a record of a topic.
func Record(topic string, m world.Message) kafka.Record {
	r := kafka.Record{Topic: topic, Key: m.Key, Value: m.Value}
	for k, v := range m.Headers {
		r.Headers = append(r.Headers, kafka.Header{Key: k, Value: []byte(v)})
	}
	return r
}

func (d *demo) awaitReady(ctx, road context.Context) error {
	for !d.daemon.Ready() {
		select {
		case <-road.Done():
			return context.Cause(road)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
