// Package daemon is the running program: config.yaml becomes parts, the parts
// run, and they stop in order. It is the only package that knows everyone.
//
// It promises the road of ARCHITECTURE.md: a source offset is committed only
// after its triggers are durable, a trigger's only after its event is
// (Invariant 1); one key is worked on by one goroutine in the whole fleet
// (Invariant 3); and a system that is away holds up only the work that needs it
// (Invariant 7).
package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/connectors/limio"
	"hotsync/connectors/login"
	"hotsync/connectors/stripe"
	"hotsync/connectors/zuora"
	"hotsync/daemon/budget"
	"hotsync/daemon/config"
	"hotsync/event"
	"hotsync/reconcile"
	"hotsync/record"
	"hotsync/sinks/clickhouse"
)

// Options are what a process gives its daemon besides the configuration.
type Options struct {
	Log      zerolog.Logger
	Now      func() time.Time // the clock of policies and events
	Instance string           // names this process in events
	Build    string
}

// Daemon is a configured daemon. New makes it, Run runs it once.
type Daemon struct {
	cfg     config.Config
	opt     Options
	topics  topics
	client  *kafka.Client
	writer  *kafka.Writer
	store   *clickhouse.Store
	server  *server
	ready   *readiness
	memory  *memories
	budgets map[string]*budget.Budget // by vendor
	scope   *reconcile.Scope
	vendors vendors
	groups  map[string]group
	closers []func()
}

// group is a consumer with what it feeds.
type group struct {
	consumer *kafka.Consumer
	handler  kafka.Handler
}

// New builds every part. It dials nothing but opens the HTTP listener, so that
// a port in use is known at once.
//
//	auth topic ───┐            retry topics ◄──────────┐
//	stripe topic ─┤ 1 intake        │ 3 retries        │
//	              └──► triggers ◄───┘                  │
//	                      │ 2 workers: engine ─► Zuora, Stripe, Limio
//	                      ▼                            │
//	                   events, dead, state ────────────┘
//	                      │ 4 loaders        ▲ 0 memories
//	                      ▼                  │
//	                  ClickHouse          state topic
func New(cfg config.Config, opt Options) (*Daemon, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	d := &Daemon{cfg: cfg, opt: opt, topics: topicsOf(cfg.Kafka), groups: map[string]group{}, budgets: map[string]*budget.Budget{}}
	if err := d.build(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// build is one straight line on purpose: nearly every part needs the earlier
// ones.
func (d *Daemon) build() error {
	cfg, opt := d.cfg, d.opt
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m := newMetrics(reg)
	d.ready = newReadiness("topics", "memory", d.topics.workers)

	// Kafka.
	kcfg, err := cfg.KafkaConfig()
	if err != nil {
		return err
	}
	if d.client, err = kafka.New(kcfg); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	d.closers = append(d.closers, d.client.Close)
	d.writer = kafka.NewWriter(d.client, kafka.WriterConfig{})
	d.closers = append(d.closers, d.writer.Close)
	out := &outbox{
		writer: d.writer, topics: d.topics, first: cfg.Retry.First, log: opt.Log,
		plain: plainHeaders(cfg.Login.SourceHeader, cfg.Stripe.SourceHeader),
	}
	d.memory = newMemories(d.client, d.topics.state)
	d.memory.ledger.write = func(ctx context.Context, k record.Key, value []byte) error {
		return out.write(ctx, out.stateRecord(k, value))
	}

	// ClickHouse.
	ccfg, err := cfg.ClickHouseConfig()
	if err != nil {
		return err
	}
	if d.store, err = clickhouse.Open(ccfg); err != nil {
		return fmt.Errorf("clickhouse: %w", err)
	}
	d.closers = append(d.closers, func() { _ = d.store.Close() })

	// Decoders, clients, reconcilers.
	if d.scope, err = reconcile.NewScope(cfg.ScopeConfig()); err != nil {
		return fmt.Errorf("reconcile.scope: %w", err)
	}
	sources, err := d.sources()
	if err != nil {
		return err
	}
	eng, err := d.engine(m, out)
	if err != nil {
		return err
	}

	// Consumers.
	in := &intake{sources: sources, memory: d.memory, out: out, recordIgnored: cfg.Events.RecordIgnored, now: opt.Now, log: opt.Log, metrics: m}
	plan := &planning{
		client: d.client, memory: d.memory, out: out, topics: d.topics, cfg: cfg.Sweeps, now: opt.Now, log: opt.Log, scope: d.inScope, metrics: m,
	}
	if cfg.Reconcile.Mode == reconcile.ModeDelegate {
		plan.mode = reconcile.ModeDelegate
	}
	if err := plan.prepare(d.vendors, d.store, opt); err != nil {
		return err
	}
	w := newWorkers(workers{
		planning: plan, away: d.away, systems: d.systems(), engine: eng, memory: d.memory, out: out, policy: retryPolicy{cfg.Retry, rand.Float64}, cfg: cfg.Workers,
		topics: d.topics, now: opt.Now, log: opt.Log, metrics: m,
	})
	rt := &retries{out: out, topics: d.topics, now: opt.Now, log: opt.Log, metrics: m}
	loaders, err := d.loaders(m, out)
	if err != nil {
		return err
	}
	var fed []string
	for topic := range sources {
		fed = append(fed, topic)
	}
	consumers := map[string]*kafka.Consumer{}
	for _, g := range []struct {
		group   string
		topics  []string
		handler kafka.Handler
	}{
		{d.topics.intake, fed, in},
		{d.topics.workers, []string{d.topics.live, d.topics.bulk}, w},
		{d.topics.retries, []string{d.topics.retry5m, d.topics.retry1h}, rt},
		{d.topics.loader, []string{d.topics.events}, &loading{loaders["sync_events"], d.topics.events, opt.Log}},
		{d.topics.undeads, []string{d.topics.dead}, &loading{loaders["dead_letters"], d.topics.dead, opt.Log}},
	} {
		if len(g.topics) == 0 {
			continue
		}
		c, err := kafka.NewConsumer(d.client, d.consumer(g.group, g.topics, m))
		if err != nil {
			return err
		}
		consumers[g.group], d.groups[g.group] = c, group{c, g.handler}
	}
	reg.MustRegister(&gauges{consumers: consumers, loaders: loaders, memory: d.memory, budgets: d.budgets})

	d.ready.check("clickhouse", func() string { return loaders["sync_events"].Stats().LastError })
	if d.server, err = newServer(cfg.HTTP.Listen, d.ready, reg); err != nil {
		return err
	}
	d.server.mount(d.operations(out), opt.Log)
	return nil
}

func (d *Daemon) consumer(name string, topics []string, m *metrics) kafka.ConsumerConfig {
	return kafka.ConsumerConfig{
		Group: name, Topics: topics, DrainTimeout: d.cfg.Workers.DrainTimeout,
		// Each partition holds one and a half of it.
		MaxBytes: max(256<<10, min(1<<20, 1<<20/d.cfg.Kafka.Partitions)),
		OnAssign: func(g *kafka.Generation) {
			d.ready.ready(name)
			if name == d.topics.workers {
				d.share(len(g.Indexes()))
			}
			d.opt.Log.Info().Str(fieldGroup, name).Int32("generation", g.ID()).Ints("partitions", g.Indexes()).Msg("partitions assigned")
		},
		Notify: func(n kafka.Notice) {
			m.notices.WithLabelValues(name, string(n.Kind)).Inc()
			d.opt.Log.Warn().Str(fieldGroup, name).Str(fieldKind, string(n.Kind)).Str(fieldTopic, n.Topic).Int(fieldPart, n.Partition).
				Int64(fieldOffset, n.Offset).Int64("to", n.To).Err(n.Err).Msg("kafka consumer went on by itself")
		},
	}
}

// share gives each budget this instance's part of the fleet's: that of its
// trigger partitions, so that no coordinator is needed.
func (d *Daemon) share(partitions int) {
	for _, b := range d.budgets {
		b.Share(float64(partitions) / float64(d.cfg.Kafka.Partitions))
	}
}

// budget makes the gate for the calls to one vendor.
func (d *Daemon) budget(service string, perSecond, inFlight int, m *metrics) (*budget.Budget, error) {
	b, err := budget.New(budget.Config{
		Service: service, PerSecond: float64(perSecond), MaxInFlight: inFlight,
		Waited: func(lane budget.Lane, wait time.Duration) {
			m.turns.WithLabelValues(service, lane.String()).Observe(wait.Seconds())
		},
		Notice: func(text string) { d.opt.Log.Warn().Str("service", service).Msg(text) },
	})
	if err != nil {
		return nil, err
	}
	d.budgets[service] = b
	d.ready.check(service, func() string {
		if err := b.Away(); err != nil {
			return err.Error()
		}
		return ""
	})
	return b, nil
}

// sources are the decoders by the topic they read.
func (d *Daemon) sources() (map[string]source, error) {
	out := map[string]source{}
	if d.cfg.Login.Enabled || len(d.cfg.Login.Providers) > 0 {
		lcfg := d.cfg.LoginConfig()
		lcfg.Now, lcfg.Scope = d.opt.Now, d.scope.Claims
		warnings, err := lcfg.Validate()
		if err != nil {
			return nil, fmt.Errorf("login: %w", err)
		}
		for _, w := range warnings {
			d.opt.Log.Warn().Str("setting", "login").Msg(w)
		}
		dec, err := login.NewDecoder(lcfg)
		if err != nil {
			return nil, fmt.Errorf("login: %w", err)
		}
		out[d.topics.login] = source{system: "login", cause: event.CauseLogin, decoder: dec}
	}
	if d.cfg.Stripe.Enabled {
		dcfg, err := d.cfg.StripeDecoderConfig()
		if err != nil {
			return nil, err
		}
		dcfg.Now = d.opt.Now
		dec, err := stripe.NewDecoder(dcfg)
		if err != nil {
			return nil, fmt.Errorf("stripe: %w", err)
		}
		out[d.topics.stripe] = source{system: "stripe", cause: event.CauseStripe, decoder: dec}
	}
	return out, nil
}

// engine wires the vendors' clients to the reconcilers: the one place where the
// compiler checks that they fit.
func (d *Daemon) engine(m *metrics, out *outbox) (*reconcile.Engine, error) {
	lcfg, err := d.cfg.LimioConfig()
	if err != nil {
		return nil, err
	}
	lcfg.Observe, lcfg.Now, lcfg.Build = m.call, d.opt.Now, d.opt.Build
	if lcfg.Gate, err = d.budget("limio", d.cfg.Limio.PerSecond, d.cfg.Limio.MaxInFlight, m); err != nil {
		return nil, err
	}
	lc, err := limio.New(lcfg)
	if err != nil {
		return nil, fmt.Errorf("limio: %w", err)
	}
	d.closers = append(d.closers, lc.Close)
	r := d.cfg.Reconcile
	ecfg := reconcile.Config{
		Reconcilers: map[string]reconcile.Reconciler{}, Expanders: map[string]reconcile.Expander{},
		Limio: lc, Events: out, Memories: &keeper{out, d.memory},
		Guard:   reconcile.GuardConfig{Settle: r.Loop.Settle, MaxWrites: r.Loop.MaxWrites, Window: r.Loop.Window},
		Observe: r.Observe, ObserveAll: r.Mode == "observe", Delegate: r.Mode == "delegate", VerifyFull: r.Verify == "full",
		Scope: d.inScope, SweepImports: d.cfg.Sweeps.Import,
		ShowPersonal: d.cfg.Events.ShowPersonal, Instance: d.opt.Instance, Build: d.opt.Build, Now: d.opt.Now,
	}
	for _, o := range r.Loop.Origins {
		ecfg.Guard.Origins = append(ecfg.Guard.Origins, event.Origin(o))
	}
	if d.cfg.Zuora.Enabled {
		zcfg, err := d.cfg.ZuoraConfig()
		if err != nil {
			return nil, err
		}
		zcfg.Observe, zcfg.Now, zcfg.Build = m.call, d.opt.Now, d.opt.Build
		zcfg.Notice = func(text string) { d.opt.Log.Warn().Msg(text) }
		if zcfg.Gate, err = d.budget("zuora", d.cfg.Zuora.PerSecond, d.cfg.Zuora.MaxInFlight, m); err != nil {
			return nil, err
		}
		zc, err := zuora.New(zcfg)
		if err != nil {
			return nil, fmt.Errorf("zuora: %w", err)
		}
		d.closers = append(d.closers, zc.Close)
		ecfg.Reconcilers["zuora:account"] = reconcile.NewAccounts(zc, lc, d.cfg.AccountsConfig())
		ecfg.Expanders["zuora:lookup"] = reconcile.NewLookups(zc)
		d.vendors.zuora = zc
	}
	if d.cfg.Stripe.Enabled {
		scfg, err := d.cfg.StripeClientConfig()
		if err != nil {
			return nil, err
		}
		scfg.Observe, scfg.Now = m.call, d.opt.Now
		if scfg.Gate, err = d.budget("stripe", d.cfg.Stripe.PerSecond, d.cfg.Stripe.MaxInFlight, m); err != nil {
			return nil, err
		}
		sc, err := stripe.NewClient(scfg)
		if err != nil {
			return nil, fmt.Errorf("stripe: %w", err)
		}
		ecfg.Reconcilers["stripe:subscription"] = reconcile.NewSubscriptions(sc, lc, d.cfg.Stripe.LinkKeys)
		ecfg.Expanders["stripe:customer"] = reconcile.NewCustomerSubscriptions(sc)
		d.vendors.stripe = sc
	}
	ncfg := d.cfg.NewcomersConfig()
	ncfg.Orders, ncfg.Records, ncfg.Writer = lc, lc, lc
	if ecfg.Newcomers, err = reconcile.NewNewcomers(ncfg); err != nil {
		return nil, fmt.Errorf("stripe.newcomers: %w", err)
	}
	ecfg.Expanders["limio:subscription"] = d.limioSubscriptions(lc)
	d.vendors.limio = lc
	return reconcile.New(ecfg), nil
}

func (d *Daemon) limioSubscriptions(lc *limio.Client) *reconcile.LimioSubscriptions {
	if d.vendors.zuora == nil {
		return reconcile.NewLimioSubscriptions(lc, nil, d.vendors.stripe != nil)
	}
	return reconcile.NewLimioSubscriptions(lc, d.vendors.zuora, d.vendors.stripe != nil)
}

func (d *Daemon) inScope() *reconcile.Scope { return d.scope }

func (d *Daemon) loaders(m *metrics, out *outbox) (map[string]*clickhouse.Loader, error) {
	events, err := clickhouse.NewLoader(clickhouse.LoaderConfig{
		Store: d.store, Into: clickhouse.Events, Group: d.topics.loader,
		BatchRows: d.cfg.ClickHouse.BatchRows, BatchBytes: d.cfg.ClickHouse.BatchBytes, Flush: d.cfg.ClickHouse.Flush,
		Reread: func(ctx context.Context, at event.Coordinates) (event.Message, error) {
			return reread(ctx, d.client, at)
		},
		Reject: func(ctx context.Context, l event.DeadLetter) error {
			m.rejected.Inc()
			r, err := out.dead(l)
			if err != nil {
				return err
			}
			return out.write(ctx, r)
		},
	})
	if err != nil {
		return nil, err
	}
	dead, err := clickhouse.NewLoader(clickhouse.LoaderConfig{
		Store: d.store, Into: clickhouse.DeadLetters, Group: d.topics.undeads, Flush: d.cfg.ClickHouse.Flush,
		Reread: func(ctx context.Context, at event.Coordinates) (event.Message, error) {
			return reread(ctx, d.client, at)
		},
	})
	return map[string]*clickhouse.Loader{"sync_events": events, "dead_letters": dead}, err
}

// Addr is where health and metrics are served.
func (d *Daemon) Addr() string { return d.server.listener.Addr().String() }

// Ready reports whether every part that must be up is.
func (d *Daemon) Ready() bool { return d.ready.report().Ready }

// Run makes what topics are missing, runs until ctx ends and stops in order:
// what takes work in first, health last. It may be called once.
func (d *Daemon) Run(ctx context.Context) error {
	defer d.close()
	health, stopHealth := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- d.server.run(health) }()
	// While work in hand ends, nothing new should be sent here.
	defer context.AfterFunc(ctx, func() { d.ready.set("process", "stopping") })()
	err := d.run(ctx)
	stopHealth()
	return errors.Join(err, <-served)
}

func (d *Daemon) run(ctx context.Context) error {
	if err := d.client.EnsureTopics(ctx, d.topics.own(d.cfg.Kafka)); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("prepare topics: %w", err)
	}
	d.ready.ready("topics")
	parts := []part{
		{"memory", d.memory.run},
		{"loader", d.loading},
	}
	for _, name := range []string{d.topics.workers, d.topics.retries, d.topics.intake} {
		if g, ok := d.groups[name]; ok {
			parts = append(parts, part{name, func(ctx context.Context) error { return d.consume(ctx, g) }})
		}
	}
	d.opt.Log.Info().Str("http", d.Addr()).Str("instance", d.opt.Instance).Str("build", d.opt.Build).Msg("hotsync is starting")
	err := runAll(ctx, d.cfg.Workers.StopTimeout, parts)
	d.opt.Log.Info().Err(err).Msg("hotsync stopped")
	return err
}

// consume runs a group once the memory of every key was read.
func (d *Daemon) consume(ctx context.Context, g group) error {
	if err := d.memory.follower.CaughtUp(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("read %s: %w", d.topics.state, err)
	}
	d.ready.ready("memory")
	return g.consumer.Run(ctx, g.handler)
}

// loading migrates ClickHouse's schema, however long that takes, and loads.
func (d *Daemon) loading(ctx context.Context) error {
	d.ready.degrade("clickhouse", "not reached yet; events wait in Kafka")
	if err := migrate(ctx, d.store, d.opt.Log); err != nil {
		return err
	}
	d.ready.degrade("clickhouse", "")
	return runAll(ctx, d.cfg.Workers.StopTimeout, []part{
		{"events", func(ctx context.Context) error { g := d.groups[d.topics.loader]; return g.consumer.Run(ctx, g.handler) }},
		{"dead letters", func(ctx context.Context) error {
			g := d.groups[d.topics.undeads]
			return g.consumer.Run(ctx, g.handler)
		}},
	})
}

func (d *Daemon) close() {
	for _, v := range slices.Backward(d.closers) {
		v()
	}
	d.closers = nil
	if d.server != nil {
		_ = d.server.listener.Close()
	}
}
