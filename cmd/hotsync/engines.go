package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/daemon/config"
	"hotsync/embedded"
)

// startEngines starts what cfg leaves to this machine: a broker when
// kafka.brokers is empty, a ClickHouse engine when clickhouse.addr is. It writes
// their addresses into cfg. The returned function ends them, newest first, and
// does nothing when there is nothing to end; stop what uses them first. After an
// error nothing is left running.
func startEngines(ctx context.Context, cfg *config.Config, log zerolog.Logger) (stop func(context.Context) error, err error) {
	var started engines
	if len(cfg.Kafka.Brokers) == 0 {
		broker, err := startBroker(cfg, log)
		if err != nil {
			return nil, err
		}
		started = append(started, func(context.Context) error { return broker.Close() })
		if err := makeSourceTopics(ctx, *cfg); err != nil {
			return nil, errors.Join(err, started.stop(context.WithoutCancel(ctx)))
		}
	}
	if len(cfg.ClickHouse.Addr) == 0 {
		end, err := startClickHouse(ctx, cfg, log)
		if err != nil {
			return nil, errors.Join(err, started.stop(context.WithoutCancel(ctx)))
		}
		started = append(started, end)
	}
	return started.stop, nil
}

// engines end what was started, oldest first.
type engines []func(context.Context) error

func (e engines) stop(ctx context.Context) error {
	var errs []error
	for _, end := range slices.Backward(e) {
		errs = append(errs, end(ctx))
	}
	return errors.Join(errs...)
}

func startBroker(cfg *config.Config, log zerolog.Logger) (*embedded.Broker, error) {
	dir := filepath.Join(cfg.Embedded.DataDir, "kafka")
	broker, err := embedded.StartBroker(embedded.BrokerConfig{
		DataDir: dir, Log: &lineLog{log: log, level: zerolog.WarnLevel, part: "broker"},
	})
	if err != nil {
		return nil, fmt.Errorf("%w (kafka.brokers is empty, so hotsync runs a broker of its own)", err)
	}
	cfg.Kafka.Brokers = []string{broker.Addr()}
	cfg.Kafka.Replication = 1 // there is one broker
	cfg.Kafka.TLS, cfg.Kafka.SASL = config.TLS{}, config.SASL{}
	log.Info().Str("addr", broker.Addr()).Str("data", dir).Msg("embedded broker is running")
	return broker, nil
}

// makeSourceTopics makes the topics that hotsync only reads. On a cluster they
// belong to their producers; nobody else could make them here.
func makeSourceTopics(ctx context.Context, cfg config.Config) error {
	kc, err := cfg.KafkaConfig()
	if err != nil {
		return err
	}
	client, err := kafka.New(kc)
	if err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	defer client.Close()
	// 0 partitions: the broker's default at first, and what is there later.
	if err := client.EnsureTopics(ctx, []kafka.Topic{
		{Name: cfg.Kafka.LoginTopic, Replication: 1},
		{Name: cfg.Kafka.StripeTopic, Replication: 1},
	}); err != nil {
		return fmt.Errorf("embedded broker: make source topics: %w", err)
	}
	return nil
}

func startClickHouse(ctx context.Context, cfg *config.Config, log zerolog.Logger) (stop func(context.Context) error, err error) {
	binary := installedServer(ctx, func(err error) { log.Warn().Err(err).Msg(notUsed) })
	dir := filepath.Join(cfg.Embedded.DataDir, "clickhouse")
	engine, err := embedded.StartClickHouse(ctx, embedded.EngineConfig{
		DataDir: dir, CacheDir: cfg.Embedded.CacheDir, Binary: binary,
		Log:      &lineLog{log: log, level: zerolog.DebugLevel, part: "clickhouse"},
		Progress: logProgress(log),
	})
	if err != nil {
		return nil, fmt.Errorf("%w (clickhouse.addr is empty, so hotsync runs an engine of its own; `hotsync setup` fetches it beforehand)", err)
	}
	cfg.ClickHouse.Addr = []string{engine.Addr()}
	cfg.ClickHouse.Username, cfg.ClickHouse.Password = config.Default().ClickHouse.Username, ""
	cfg.ClickHouse.TLS, cfg.ClickHouse.Cluster = config.TLS{}, ""
	log.Info().Str("addr", engine.Addr()).Str("http", engine.HTTPAddr()).Str("data", dir).Msg("embedded clickhouse is running")

	// It is kept running through its own crashes until it is stopped.
	kept, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = engine.Run(kept) // reports to the log
	}()
	return func(ctx context.Context) error {
		cancel()
		err := engine.Close(ctx)
		<-ended
		return err
	}, nil
}

// notUsed is what is said of a server that is installed and will not do.
const notUsed = "the clickhouse binary on the PATH is not used"

// installedServer is the ClickHouse server on the PATH, which serves as well as
// the engine and needs no download; "" when there is none, or, with a warning,
// when it is old or broken.
func installedServer(ctx context.Context, warn func(error)) string {
	binary, err := embedded.FindServer(ctx)
	if err != nil {
		warn(err)
	}
	return binary
}

// logProgress returns a function that logs a download at every tenth of it.
func logProgress(log zerolog.Logger) func(done, total int64) {
	next := int64(0)
	return func(done, total int64) {
		if total <= 0 || done*10/total < next {
			return
		}
		next = done*10/total + 1
		log.Info().Int64("percent", done*100/total).Int64("bytes", total).Msg("fetching the clickhouse engine, once")
	}
}

// lineLog makes log lines of what an engine prints.
type lineLog struct {
	log   zerolog.Logger
	level zerolog.Level
	part  string

	mu   sync.Mutex
	rest []byte
}

// Write implements io.Writer.
func (l *lineLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		if line := bytes.TrimSpace(l.rest[:i]); len(line) > 0 {
			l.log.WithLevel(l.level).Str("part", l.part).Msg(string(line))
		}
		l.rest = l.rest[i+1:]
	}
}
