package daemon

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/connectors/kafka/kafkatest"
	"hotsync/daemon/config"
	"hotsync/event"
	"hotsync/record"
)

// However many triggers are due in an hour, those of the first retry topic are
// handed back when they are due.
func TestWhatIsDueLateHoldsUpNothingDueSoon(t *testing.T) {
	cfg := config.Default()
	cfg.Kafka.Brokers, cfg.Kafka.Prefix = []string{kafkatest.Broker(t)}, kafkatest.Name("hotsync")
	cfg.Kafka.Partitions, cfg.Kafka.Replication = 1, 1
	kcfg, err := cfg.KafkaConfig()
	must(t, err)
	client, err := kafka.New(kcfg)
	must(t, err)
	t.Cleanup(client.Close)
	writer := kafka.NewWriter(client, kafka.WriterConfig{})
	t.Cleanup(writer.Close)
	names := topicsOf(cfg.Kafka)
	must(t, client.EnsureTopics(t.Context(), names.own(cfg.Kafka)))
	out := &outbox{writer: writer, topics: names, first: cfg.Retry.First}
	consumer, err := kafka.NewConsumer(client, kafka.ConsumerConfig{Group: names.retries, Topics: []string{names.retry5m, names.retry1h}})
	must(t, err)

	now := time.Now()
	var late []kafka.Record
	for i := range held + 100 {
		r, err := out.later(deferredTrigger(i, now.Add(time.Hour)), time.Hour)
		must(t, err)
		late = append(late, r)
	}
	must(t, out.write(t.Context(), late...))

	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- consumer.Run(ctx, &retries{out: out, topics: names, now: time.Now, log: zerolog.Nop(), metrics: m})
	}()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "as many wait in memory as may", func() bool { return gauge(t, reg, "hotsync_triggers_deferred") == held })

	soon, err := out.later(deferredTrigger(-1, now), cfg.Retry.First)
	must(t, err)
	must(t, out.write(t.Context(), soon))
	var came event.Trigger
	eventually(t, "the one that is due comes", func() bool {
		must(t, client.ReadAll(t.Context(), names.live, 0, 0, -1, func(_ context.Context, r kafka.Record) (err error) {
			came, err = event.DecodeTrigger(r.Value)
			return err
		}))
		return came.ID != ""
	})
	if came.ID != "t-1" {
		t.Errorf("%s came", came.ID)
	}
	if n := gauge(t, reg, "hotsync_triggers_deferred"); n != held {
		t.Errorf("%v wait in memory, want %d", n, held)
	}
}

func deferredTrigger(n int, due time.Time) event.Trigger {
	return event.Trigger{ID: fmt.Sprintf("t%d", n), Cause: event.CauseStripe, Key: record.StripeSubscription(fmt.Sprint("sub_", n+1)), NotBefore: due}
}

// gauge reads a metric without labels.
func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never happened: %s", what)
		}
	}
}
