package demo_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hotsync/connectors/kafka"
	"hotsync/connectors/kafka/kafkatest"
	"hotsync/daemon/config"
	"hotsync/demo"
	"hotsync/embedded/embeddedtest"
	"hotsync/sandbox/world"
	"hotsync/sinks/clickhouse"
)

// rig is everything around a daemon: the world over HTTP, a broker, ClickHouse,
// traffic and the judge. The test brings the daemon.
type rig struct {
	t      *testing.T
	world  *world.World
	sql    embeddedtest.Server
	cfg    config.Config
	client *kafka.Client
	writer *kafka.Writer
	judge  demo.Judge
	door   *door // of Limio

	stopTraffic context.CancelFunc
	over        sync.WaitGroup
	made        world.Produced
	failed      error
	told        []string // records whose history was shown
}

func newRig(t *testing.T, wc world.Config) *rig {
	t.Helper()
	r := &rig{t: t, world: world.New(wc), sql: embeddedtest.ClickHouse(t), door: &door{}, stopTraffic: func() {}}
	cfg := demo.Settings()
	cfg.Kafka.Brokers = []string{kafkatest.Broker(t)}
	cfg.Kafka.Prefix = kafkatest.Name("hotsync")
	cfg.Kafka.LoginTopic, cfg.Kafka.StripeTopic = kafkatest.Name("logins"), kafkatest.Name("stripe")
	cfg.Kafka.SessionTimeout, cfg.Kafka.RebalanceTimeout, cfg.Kafka.HeartbeatInterval = 6*time.Second, 6*time.Second, 500*time.Millisecond
	cfg.Workers.DrainTimeout = 2 * time.Second
	cfg.ClickHouse.Addr, cfg.ClickHouse.Database = []string{r.sql.Addr}, r.sql.Database
	cfg.ClickHouse.Flush = 200 * time.Millisecond
	serve := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	urls := demo.URLs{
		Zuora: serve(r.world.ZuoraHandler()), Stripe: serve(r.world.StripeHandler()),
		Limio: serve(r.door.before(r.world.LimioHandler())), JWKS: serve(r.world.JWKSHandler()),
	}
	must(t, demo.Point(&cfg, r.world, urls, t.TempDir()))
	r.cfg = cfg

	kc, err := cfg.KafkaConfig()
	must(t, err)
	r.client, err = kafka.New(kc)
	must(t, err)
	t.Cleanup(r.client.Close)
	r.writer = kafka.NewWriter(r.client, kafka.WriterConfig{MaxBytes: 4 << 20})
	t.Cleanup(r.writer.Close)
	must(t, r.client.EnsureTopics(t.Context(), demo.SourceTopics(cfg.Kafka)))
	cc, err := cfg.ClickHouseConfig()
	must(t, err)
	store, err := clickhouse.Open(cc)
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	r.judge = demo.Judge{Client: r.client, Store: store, World: r.world, Kafka: cfg.Kafka}
	return r
}

// operator is somebody who asks for sweeps.
func (r *rig) operator() *demo.Operator {
	return &demo.Operator{Client: r.client, Writer: r.writer, Kafka: r.cfg.Kafka, Now: r.world.Clock().Now}
}

// traffic lets the world run until stopTraffic, or for its own time.
func (r *rig) traffic() {
	ctx, stop := context.WithCancel(r.t.Context())
	r.stopTraffic = stop
	queue, written := make(chan kafka.Record, 500), make(chan error, 1)
	go func() { written <- r.produce(queue) }()
	r.over.Go(func() {
		made, err := r.world.Run(ctx, func(m world.Message) error {
			topic := r.cfg.Kafka.LoginTopic
			if m.Topic == world.TopicStripe {
				topic = r.cfg.Kafka.StripeTopic
			}
			select {
			case queue <- demo.Record(topic, m):
				return nil
			case err := <-written:
				written <- err
				return err
			}
		})
		close(queue)
		r.made, r.failed = made, errors.Join(err, <-written)
	})
}

// produce writes what is queued, as much at a time as there is.
func (r *rig) produce(queue <-chan kafka.Record) error {
	for first := range queue {
		batch := []kafka.Record{first}
		for len(batch) < 100 && len(queue) > 0 {
			batch = append(batch, <-queue)
		}
		if err := r.writer.Write(r.t.Context(), batch...); err != nil {
			return err
		}
	}
	return nil
}

// await returns when the traffic is over.
func (r *rig) await() {
	r.t.Helper()
	r.over.Wait()
	must(r.t, r.failed)
}

// patience is how long a road may take to come to rest on a busy machine.
const patience = 8 * time.Minute

// verdict has the road come to rest, and sweeps find what nothing told, and
// judges it.
func (r *rig) verdict() demo.Report {
	r.t.Helper()
	return r.judged(func(ctx context.Context) error { return demo.Conclude(ctx, r.judge, r.operator()) })
}

// judged judges what there is after the last step.
func (r *rig) judged(last func(context.Context) error) demo.Report {
	r.t.Helper()
	bound, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	must(r.t, last(bound))
	report, err := r.judge.Report(r.t.Context())
	must(r.t, err)
	r.t.Logf("produced %+v, %d triggers, outcomes %v, sweeps %+v, latency %+v", r.made, report.Triggers, report.Outcomes, report.Sweeps, report.Latency)
	if !report.Clean() {
		r.t.Errorf("unanswered %d, lost %d, duplicates %d, drift %d, loops %d:\n%s",
			report.Unanswered, report.Lost, report.Duplicates, report.Drift, report.Loops, strings.Join(report.Findings, "\n"))
		for _, d := range r.world.Drift() {
			r.history(d.ID)
		}
	}
	return report
}

// maxHistories bounds what a failing test tells.
const maxHistories = 3

// history shows what was done about a record that is not as it should be.
func (r *rig) history(id string) {
	if slices.Contains(r.told, id) || len(r.told) == maxHistories {
		return
	}
	r.told = append(r.told, id)
	r.t.Logf("%s:\n%s", id, r.sql.Exec(r.t, "SELECT at, instance, phase, outcome, reason, cause, origin, attempt, note, length(changes.op) AS changes, error_class, error, sync_id, "+
		"arrayMap((i, t, p, o) -> concat(i, ' ', t, '/', toString(p), '/', toString(o)), triggers.id, triggers.topic, triggers.partition, triggers.offset) AS triggers FROM "+
		r.sql.Database+".sync_events WHERE position(key, '"+id+"') > 0 OR arrayExists(k -> position(k, '"+id+"') > 0, related) ORDER BY at, phase FORMAT TSVWithNames"))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wait lets real time pass: the moment of a kill is the input of a test.
func wait(t *testing.T, d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
