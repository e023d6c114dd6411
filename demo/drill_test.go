package demo_test

import (
	"context"
	"math"
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
	trouble := world.Trouble{RateLimited: 0.2, Internal: 0.05, Dropped: 0.02, Locked: 0.01}
	r := newRig(t, world.Config{
		Seed: 7, Rate: 25, Duration: lasts, NoFaults: true, Lose: demo.Lost, Unannounced: true, Trouble: trouble,
	})
	stop := r.daemon("drill")
	r.traffic()
	r.await()
	healed := time.Now()
	r.verdict() // half a minute on a machine of its own
	t.Logf("at rest %s after the vendors were well again", time.Since(healed).Round(100*time.Millisecond))
	stop()

	r.checkTrouble(trouble)
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

// checkTrouble looks whether the vendors did what the drill says: each fault
// struck its share of the calls that came to it, and was answered as it should.
func (r *rig) checkTrouble(trouble world.Trouble) {
	r.t.Helper()
	all := map[float64]httpsim.Tally{}
	for _, v := range []struct {
		name string
		sim  *httpsim.Sim
		lock string
	}{{"zuora", r.world.Zuora().Sim, "lock"}, {"stripe", r.world.Stripe().Sim, "lock_timeout"}, {"limio", r.world.Limio().Sim, "bad_gateway"}} {
		answers, tallies := map[int]int{}, v.sim.Tallies()
		for _, c := range v.sim.Log() {
			answers[c.Status]++
		}
		r.t.Logf("%s: faults %+v, answers by status %v", v.name, tallies, answers)
		for _, f := range []struct {
			kind   string
			share  float64
			answer int
		}{
			{"rate_limit", trouble.RateLimited, http.StatusTooManyRequests}, {"internal", trouble.Internal, http.StatusInternalServerError},
			{"drop", trouble.Dropped, 0}, {v.lock, trouble.Locked, -1},
		} {
			got := tallies[f.kind]
			if got.Struck == 0 || !plausible(got, f.share) {
				r.t.Errorf("%s: %s struck %d of %d calls, want about %.0f %%", v.name, f.kind, got.Struck, got.Met, 100*f.share)
			}
			if f.answer >= 0 && answers[f.answer] < got.Struck {
				r.t.Errorf("%s: %s struck %d times, and %d was answered %d times", v.name, f.kind, got.Struck, f.answer, answers[f.answer])
			}
			sum := all[f.share]
			all[f.share] = httpsim.Tally{Met: sum.Met + got.Met, Struck: sum.Struck + got.Struck}
		}
	}
	for share, sum := range all {
		if !plausible(sum, share) {
			r.t.Errorf("what should strike %.0f %% of the calls struck %d of %d", 100*share, sum.Struck, sum.Met)
		}
	}
}

// plausible reports whether chance may have struck so often: it leaves five
// standard deviations on either side, and the calls that were struck for certain.
func plausible(got httpsim.Tally, share float64) bool {
	met := float64(got.Met)
	return math.Abs(float64(got.Struck)-met*share) <= 4+5*math.Sqrt(met*share*(1-share))
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
