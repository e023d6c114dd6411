package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hotsync/connectors/kafka"
	"hotsync/daemon/sweep"
	"hotsync/event"
	"hotsync/record"
)

// ledger is what sweeps keep in the state topic, as any instance sees it, and a
// way to ask for one.
type ledger struct {
	topic  string
	writer *kafka.Writer

	mu     sync.Mutex
	values map[string][]byte
}

// read takes a record of the state topic.
func (l *ledger) read(_ context.Context, r kafka.Record) error {
	if bytes.HasPrefix(r.Key, []byte("sweep:")) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.values[string(r.Key)] = bytes.Clone(r.Value)
	}
	return nil
}

// Get implements what sweep.Request and sweep.StatusOf need.
func (l *ledger) Get(k record.Key) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.values[k.String()]
}

// Put implements what sweep.Request needs.
func (l *ledger) Put(ctx context.Context, k record.Key, value []byte) error {
	return l.writer.Write(ctx, kafka.Record{Topic: l.topic, Key: []byte(k.String()), Value: value})
}

func (l *ledger) status(name string) sweep.Status {
	st, err := sweep.StatusOf(l, name, time.Now())
	if err != nil {
		return sweep.Status{} // not planned yet
	}
	return st
}

// watch starts to follow a topic until the machine stops.
func (m *machine) watch(topic string, read func(context.Context, kafka.Record) error) *kafka.Follower {
	f := kafka.NewFollower(m.client, kafka.FollowerConfig{Topic: topic})
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- f.Run(ctx, read) }()
	m.onStop(func() error { cancel(); return <-over })
	return f
}

// spent is the daemon's account of a budget, while calls wait for it.
type spent struct{ used, allowed float64 }

// spent reads the account of a vendor's budget where the daemon shows it.
func (m *machine) spent(ctx context.Context, service string) (s spent, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.cfg.HTTP.Listen+"/metrics", nil)
	if err != nil {
		return s, err
	}
	answer, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return s, fmt.Errorf("read the daemon's metrics: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	found := 0
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		for want, into := range map[string]*float64{"used": &s.used, "allowed": &s.allowed} {
			if name != fmt.Sprintf("hotsync_budget_%s_calls_total{service=%q}", want, service) {
				continue
			}
			if *into, err = strconv.ParseFloat(value, 64); err != nil {
				return s, fmt.Errorf("read the daemon's metric %s: %w", name, err)
			}
			found++
		}
	}
	if found != 2 {
		return s, fmt.Errorf("read the daemon's metrics: no account of the budget of %s", service)
	}
	return s, nil
}

const (
	provider      = "bench"
	accountsClaim = "zuora_accounts"
)

// logins makes logins and sees when each was dealt with.
type logins struct {
	m        *machine
	accounts []account
	rnd      *rand.Rand

	mu      sync.Mutex
	made    int
	sent    map[string]time.Time // by the login's id, until its event came
	took    []time.Duration      // of those whose event came
	trouble error                // the first login that did not end well
}

// read takes a record of the events topic. Nearly all are of sweeps and of no
// interest here.
func (l *logins) read(_ context.Context, r kafka.Record) error {
	if !bytes.Contains(r.Value, []byte(`"cause":"login"`)) {
		return nil
	}
	now := time.Now()
	e, err := event.DecodeEvent(r.Value)
	if err != nil {
		return fmt.Errorf("read an event: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range e.Triggers {
		at, ok := l.sent[t.Delivery]
		if !ok || e.Phase != event.Done {
			continue
		}
		delete(l.sent, t.Delivery)
		l.took = append(l.took, now.Sub(at))
		if e.Outcome != event.InSync && e.Outcome != event.Applied && l.trouble == nil {
			l.trouble = fmt.Errorf("a login ended as %s/%s: %s", e.Outcome, e.Reason, e.Error)
		}
	}
	return nil
}

// lap makes logins at a rate, evenly, until time is up or going says no, and
// returns how long each took from being produced to its event's being read.
func (l *logins) lap(ctx context.Context, perSecond int, long time.Duration, going func() bool) ([]time.Duration, error) {
	l.mu.Lock()
	l.took, l.sent = nil, map[string]time.Time{}
	l.mu.Unlock()
	var wg sync.WaitGroup
	failed := make(chan error, 1)
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for end := time.Now().Add(long); time.Now().Before(end) && going(); {
		wg.Go(func() {
			if err := l.one(ctx); err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-failed:
			return nil, err
		}
	}
	wg.Wait()
	err := l.m.until(ctx, "the logins are dealt with", time.Minute, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.sent) == 0
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		err = l.trouble
	}
	return slices.Clone(l.took), err
}

// one makes a login of somebody.
func (l *logins) one(ctx context.Context) error {
	l.mu.Lock()
	l.made++
	id, who := fmt.Sprintf("bench-%d", l.made), l.accounts[l.rnd.IntN(len(l.accounts))]
	l.mu.Unlock()
	now := time.Now()
	value, err := json.Marshal(map[string]any{
		"id": id, "occurred_at": now.UTC().Format(time.RFC3339Nano), "provider": provider, "claims": map[string]string{accountsClaim: who.id},
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.sent[id] = now
	l.mu.Unlock()
	return l.m.writer.Write(ctx, kafka.Record{Topic: l.m.cfg.Kafka.LoginTopic, Key: []byte(who.id), Value: value})
}

// quantile is that of the sorted times, 0 without any.
func quantile(took []time.Duration, q float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	took = slices.Sorted(slices.Values(took))
	return took[min(len(took)-1, int(q*float64(len(took))))]
}
