package demo_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/daemon"
	"hotsync/demo"
	"hotsync/event"
	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/world"
)

// Every vendor refuses, breaks, hangs up and locks all the time, and then is
// well again: everything is answered, nothing is lost, different or written
// twice, and no key is left behind.
func TestFaultDrill(t *testing.T) {
	t.Parallel() // it mostly waits
	lasts := time.Minute
	if testing.Short() {
		lasts = 30 * time.Second
	}
	r := newRig(t, world.Config{
		Seed: 7, Rate: 25, Duration: lasts, NoFaults: true, Lose: demo.Lost, Unannounced: true,
		Trouble: world.Trouble{RateLimited: 0.2, Internal: 0.05, Dropped: 0.02, Locked: 0.01},
	})
	stop := r.daemon("drill")
	r.traffic()
	r.await()
	healed := time.Now()
	r.verdict() // half a minute on a machine of its own
	t.Logf("at rest %s after the vendors were well again", time.Since(healed).Round(100*time.Millisecond))
	stop()

	r.checkTrouble()
	r.checkNothingStuck()
}

// daemon runs one in this process until the test stops it.
func (r *rig) daemon(instance string) (stop func()) {
	r.t.Helper()
	log := zerolog.New(zerolog.NewTestWriter(r.t)).Level(zerolog.FatalLevel)
	d, err := daemon.New(r.cfg, daemon.Options{Log: log, Now: r.world.Clock().Now, Instance: instance})
	must(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("daemon: %v", err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

// checkTrouble looks whether the vendors did what the drill says.
func (r *rig) checkTrouble() {
	r.t.Helper()
	all := map[int]int{}
	for name, sim := range map[string]*httpsim.Sim{"zuora": r.world.Zuora().Sim, "stripe": r.world.Stripe().Sim, "limio": r.world.Limio().Sim} {
		answers := map[int]int{}
		for _, c := range sim.Log() {
			answers[c.Status]++
			all[c.Status]++
		}
		r.t.Logf("%s answered, by status: %v", name, answers)
		if answers[http.StatusTooManyRequests] == 0 {
			r.t.Errorf("%s refused nothing: the drill was none", name)
		}
	}
	for _, status := range []int{http.StatusInternalServerError, 0} {
		if all[status] == 0 {
			r.t.Errorf("nobody ever answered %d: the drill was none", status)
		}
	}
}

// checkNothingStuck looks for triggers that wait for a time that never comes:
// whatever stands in a retry topic was taken up again and has a final outcome.
func (r *rig) checkNothingStuck() {
	r.t.Helper()
	answered := map[string]bool{}
	must(r.t, r.judge.Store.Answered(r.t.Context(), func(id string) { answered[id] = true }))
	deferred, stuck := 0, 0
	for _, topic := range []string{".retry.5m", ".retry.1h"} {
		for p := range r.cfg.Kafka.Partitions {
			must(r.t, r.client.ReadAll(r.t.Context(), r.cfg.Kafka.Prefix+topic, p, 0, -1, func(_ context.Context, rec kafka.Record) error {
				tr, err := event.DecodeTrigger(rec.Value)
				if err != nil {
					return err
				}
				deferred++
				if !answered[tr.ID] {
					stuck++
					r.t.Errorf("the deferred trigger %s of %s (attempt %d, last: %s) has no final outcome", tr.ID, tr.Key, tr.Attempt, tr.LastError)
				}
				return nil
			}))
		}
	}
	open := strings.TrimSpace(r.sql.Exec(r.t, "SELECT key, sync_id, outcome, attempts FROM "+r.sql.Database+".syncs WHERE outcome IN ('', 'deferred') FORMAT TSV"))
	if open != "" {
		r.t.Errorf("syncs without a final outcome:\n%s", open)
		for line := range strings.Lines(open) {
			key, _, _ := strings.Cut(line, "\t")
			r.history(key)
		}
	}
	r.t.Logf("%d deferrals, %d stuck", deferred, stuck)
}
