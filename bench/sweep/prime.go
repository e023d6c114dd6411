package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"golang.org/x/sync/errgroup"

	"hotsync/connectors/kafka"
	"hotsync/connectors/limio"
	"hotsync/connectors/stripe"
	"hotsync/connectors/zuora"
	"hotsync/event"
	"hotsync/reconcile"
	"hotsync/record"
)

// direct makes calls to a handler of this process, without a connection.
type direct struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	in := r.Clone(r.Context())
	if in.RequestURI = r.URL.RequestURI(); in.Body == nil {
		in.Body = http.NoBody
	}
	d.handler.ServeHTTP(w, in)
	out := w.Result()
	out.Request = r
	return out, nil
}

// nowhere takes what syncs make durable before they write: none may write.
type nowhere struct{}

// Record implements what the engine needs.
func (nowhere) Record(context.Context, event.Event) error { return errDiffers }

// Remember implements what the engine needs.
func (nowhere) Remember(context.Context, record.Key, reconcile.Memory) error { return errDiffers }

var errDiffers = errors.New("a record that is said to be equal differs")

// engine looks at records as the daemon does, with the same configuration, in
// this process.
func (m *machine) engine(c *company) (*reconcile.Engine, error) {
	scfg, err1 := m.cfg.StripeClientConfig()
	zcfg, err2 := m.cfg.ZuoraConfig()
	lcfg, err3 := m.cfg.LimioConfig()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	scfg.Transport, zcfg.Transport, lcfg.Transport = direct{c.stripe}, direct{c.zuora}, direct{c.limio}
	sc, err1 := stripe.NewClient(scfg)
	zc, err2 := zuora.New(zcfg)
	lc, err3 := limio.New(lcfg)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	r := m.cfg.Reconcile
	return reconcile.New(reconcile.Config{
		Reconcilers: map[string]reconcile.Reconciler{
			"stripe:subscription": reconcile.NewSubscriptions(sc, lc, m.cfg.Stripe.LinkKeys), "zuora:account": reconcile.NewAccounts(zc, lc, reconcile.AccountsConfig{}),
		},
		Limio: lc, Events: nowhere{}, Memories: nowhere{}, Now: time.Now,
		Guard: reconcile.GuardConfig{Settle: r.Loop.Settle, MaxWrites: r.Loop.MaxWrites, Window: r.Loop.Window},
	}), nil
}

// prime makes the memories of records that the daemon would have learned of by
// itself, and writes them where it keeps them. They come from the same code;
// what is left out is the network, Kafka and ClickHouse.
func (m *machine) prime(ctx context.Context, c *company, keys []record.Key) error {
	state := kafka.Topic{Name: m.cfg.Kafka.Prefix + ".state", Partitions: m.cfg.Kafka.Partitions, Replication: 1, Compacted: true}
	if err := m.client.EnsureTopics(ctx, []kafka.Topic{state}); err != nil {
		return err
	}
	engine, err := m.engine(c)
	if err != nil {
		return err
	}
	const workers, portion = 4, 200
	group, ctx := errgroup.WithContext(ctx)
	for n := range workers {
		group.Go(func() error {
			for from := n * portion; from < len(keys); from += workers * portion {
				var records []kafka.Record
				for _, k := range keys[from:min(from+portion, len(keys))] {
					value, err := memoryOf(ctx, engine, k)
					if err != nil {
						return err
					}
					records = append(records, kafka.Record{Topic: state.Name, Key: []byte(k.String()), Value: value})
				}
				if err := m.writer.Write(ctx, records...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// memoryOf looks at a record for the first time.
func memoryOf(ctx context.Context, engine *reconcile.Engine, k record.Key) ([]byte, error) {
	now := time.Now().UTC()
	v, err := engine.Handle(ctx, reconcile.Job{
		Key: k, Attempt: 1, Fence: func(context.Context) error { return nil },
		Triggers: []event.Trigger{{ID: event.Digest("prime", k.String()), Key: k, Cause: event.CauseSweep, Type: reconcile.WhyNeverSeen, At: now, Received: now, Bulk: true}},
	})
	if err != nil {
		return nil, err
	}
	if v.Event.Outcome != event.InSync || !v.Remember {
		return nil, fmt.Errorf("prime %s: it ended as %s/%s: %s%s", k, v.Event.Outcome, v.Event.Reason, v.Event.Note, v.Event.Error)
	}
	v.Memory.Seq = 1
	return json.Marshal(v.Memory)
}
