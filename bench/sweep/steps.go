package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"hotsync/daemon/config"
	"hotsync/daemon/sweep"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
)

// bench is a run of this program.
type bench struct {
	opt     options
	company *company
	machine *machine
	ledger  *ledger
	say     func(format string, args ...any) // to whoever waits
	report  report
}

// measure does it all. The report holds what was measured before an error.
func measure(ctx context.Context, o options, say func(string, ...any)) (_ report, err error) {
	b := &bench{opt: o, say: say}
	b.report.Stripe, b.report.Zuora, b.report.DriftShare = o.stripe, o.zuora, o.drift
	began := time.Now()
	say("making %d Stripe subscriptions, %d Zuora accounts and Limio's records of them", o.stripe, o.zuora)
	if b.company, err = newCompany(o.stripe, o.zuora); err != nil {
		return b.report, err
	}
	b.report.Seeding = time.Since(began).Seconds()
	say("made in %.1f s; starting Kafka, ClickHouse and the daemon", b.report.Seeding)
	b.machine, err = startMachine(ctx, b.company, o)
	defer func() { err = errors.Join(err, b.machine.stop()) }()
	if err != nil {
		return b.report, err
	}
	for _, step := range []func(context.Context) error{b.prime, b.start, b.learn, b.restart, b.idle, b.repair, b.again, b.latency} {
		if err := step(ctx); err != nil {
			return b.report, err
		}
	}
	b.remember()
	b.report.Broken = append(b.report.Broken, b.report.memory()...)
	return b.report, b.machine.stop()
}

// prime spares the daemon most of its first looks: at the full size they would
// take half of an hour on two processors that run the vendors and Kafka as well.
func (b *bench) prime(ctx context.Context) error {
	n, m := primed(b.opt.stripe, b.opt.prime), primed(b.opt.zuora, b.opt.prime)
	var keys []record.Key
	for _, s := range b.company.subs[:n] {
		keys = append(keys, record.StripeSubscription(s.id))
	}
	for _, a := range b.company.accounts[:m] {
		keys = append(keys, record.ZuoraAccount(a.id))
	}
	if len(keys) == 0 {
		return nil
	}
	began := time.Now()
	b.say("looking at %d of %d records in this process, by the daemon's code, and writing the memories to Kafka", len(keys), b.opt.stripe+b.opt.zuora)
	err := b.machine.prime(ctx, b.company, keys)
	b.report.Primed, b.report.Priming = len(keys), time.Since(began).Seconds()
	return err
}

func primed(all int, share float64) int { return int(float64(all) * share) }

// start starts the daemon and follows the ledger of its sweeps.
func (b *bench) start(ctx context.Context) error {
	if err := b.machine.startDaemon(ctx); err != nil {
		return err
	}
	topic := b.machine.cfg.Kafka.Prefix + ".state"
	b.ledger = &ledger{topic: topic, writer: b.machine.writer, values: map[string][]byte{}}
	b.machine.watch(topic, b.ledger.read)
	return b.planned(ctx)
}

func (b *bench) planned(ctx context.Context) error {
	return b.machine.until(ctx, "the sweeps are planned", time.Minute, func() bool {
		return b.ledger.status(sweep.StripeDrift).Planned && b.ledger.status(sweep.ZuoraFull).Planned
	})
}

// remember notes the most memory that the daemon has held.
func (b *bench) remember() { b.report.RSS = max(b.report.RSS, b.machine.daemon.peak()) }

// restart ends the daemon and starts it again: what it knows of the records, it
// reads from Kafka.
func (b *bench) restart(ctx context.Context) error {
	b.remember()
	b.report.FirstRSS = b.report.RSS
	if err := b.machine.daemon.stop(); err != nil {
		return err
	}
	began := time.Now()
	if err := b.machine.startDaemon(ctx); err != nil {
		return err
	}
	b.report.Restart = time.Since(began).Seconds()
	b.report.RestartRSS = b.machine.daemon.peak()
	b.say("started again in %.1f s, peak RSS %s", b.report.Restart, mb(b.report.RestartRSS))
	return nil
}

// learn has every record that is not known looked at for the first time. Both sides are equal, so
// nothing is written.
func (b *bench) learn(ctx context.Context) error {
	subs, accounts := b.opt.stripe-primed(b.opt.stripe, b.opt.prime), b.opt.zuora-primed(b.opt.zuora, b.opt.prime)
	if err := b.sweep(ctx, "first", sweep.StripeDrift, subs, lookStripe().plus(lookRecord()).times(subs)); err != nil {
		return err
	}
	return b.sweep(ctx, "first", sweep.ZuoraFull, accounts, lookZuora().plus(findCustomer()).plus(lookCustomer()).times(accounts))
}

// idle has sweeps find nothing.
func (b *bench) idle(ctx context.Context) error {
	return b.nothing(ctx, "idle")
}

// repair has records drift without a word to anybody, and sweeps find them.
func (b *bench) repair(ctx context.Context) error {
	for _, name := range []string{sweep.StripeDrift, sweep.ZuoraFull} {
		d, err := b.company.makeDrift(name, b.opt.drift)
		if err != nil {
			return err
		}
		b.report.Drifted += d.records
		b.report.Wrong += d.wrong
		if err := b.sweep(ctx, "repair", name, d.records, d.cost); err != nil {
			return err
		}
	}
	b.report.Left, b.report.LeftOver = b.company.wrong()
	if b.report.Left > 0 {
		b.broken("%d records still differ, such as: %s", b.report.Left, b.report.LeftOver[0])
	}
	return nil
}

// again has the next sweeps find nothing any more.
func (b *bench) again(ctx context.Context) error {
	return b.nothing(ctx, "next")
}

func (b *bench) nothing(ctx context.Context, what string) error {
	for _, name := range []string{sweep.StripeDrift, sweep.ZuoraFull} {
		if err := b.sweep(ctx, what, name, 0, calls{}); err != nil {
			return err
		}
	}
	return nil
}

// sweep runs a sweep to its end and compares its calls with the lists and the
// cost of the records that it must hand on.
func (b *bench) sweep(ctx context.Context, what, name string, records int, cost calls) error {
	s := step{What: what, Sweep: name, Expected: records, Lists: b.company.lists(name)}
	s.Formula = s.Lists.plus(cost)
	b.company.resetCalls()
	began, cpu := time.Now(), b.machine.daemon.cpu()
	id, err := b.ask(ctx, name, false)
	if err != nil {
		return err
	}
	run, err := b.ended(ctx, name, id)
	if err != nil {
		return err
	}
	s.CPU = b.machine.daemon.cpu() - cpu
	s.Seconds, s.Made = time.Since(began).Seconds(), b.company.calls()
	s.Listed, s.HandedOn = run.Stats.Listed, run.Stats.HandedOn
	s.Off = s.Made.off(s.Formula)
	if records > 0 {
		s.Looks = float64(s.Made.minus(s.Lists).billing()) / float64(records)
	}
	s.RSS = b.machine.daemon.peak()
	b.report.Steps = append(b.report.Steps, s)
	b.say("%s", s)
	if run.Status != sweep.Done {
		b.broken("sweep %s (%s) ended as %s: %s", name, what, run.Status, run.Error)
	}
	b.report.Broken = append(b.report.Broken, s.broken()...)
	return nil
}

// ask asks for a run now, and returns the id of the request.
func (b *bench) ask(ctx context.Context, name string, deep bool) (string, error) {
	return sweep.Request(ctx, b.ledger, name, sweep.Ask{Action: sweep.Start, Deep: deep, By: "bench", At: time.Now().UTC()})
}

// patience is how long a sweep may take: the first one, on a busy machine.
const patience = time.Hour

// ended waits for the end of the run that was asked for.
func (b *bench) ended(ctx context.Context, name, request string) (run sweep.Run, err error) {
	refused := ""
	err = b.machine.until(ctx, "sweep "+name+" has ended", patience, func() bool {
		st := b.ledger.status(name)
		if st.Handled.ID != request {
			return false
		}
		refused = st.Handled.Answer
		i := slices.IndexFunc(st.Last, func(r sweep.Run) bool { return r.ID == st.Handled.Run })
		if i >= 0 {
			run = st.Last[i]
		}
		return i >= 0 || refused != ""
	})
	if err == nil && refused != "" {
		err = fmt.Errorf("sweep %s did not run: %s", name, refused)
	}
	return run, err
}

// latency measures logins, with and without a sweep that looks at every record,
// in turns.
func (b *bench) latency(ctx context.Context) error {
	if b.opt.laps == 0 {
		return nil
	}
	l := &logins{m: b.machine, accounts: b.company.accounts, rnd: rand.New(rand.NewPCG(1, 2)), sent: map[string]time.Time{}}
	if err := b.machine.watch(b.machine.cfg.Kafka.Prefix+".events", l.read).CaughtUp(ctx); err != nil {
		return err
	}
	for n := range b.opt.laps {
		if err := b.budgeted(ctx, true); err != nil {
			return err
		}
		slow := b.company.slow(b.opt.latency)
		quiet, err := b.lap(ctx, l, func() bool { return true })
		if err != nil {
			return err
		}
		id, err := b.ask(ctx, sweep.ZuoraFull, true)
		if err != nil {
			return err
		}
		if err := b.machine.until(ctx, "the sweep is under way", time.Minute, func() bool {
			st := b.ledger.status(sweep.ZuoraFull)
			return st.Handled.ID == id && st.Current != nil && st.Current.HandedOn > 0
		}); err != nil {
			return err
		}
		busy, err := b.lap(ctx, l, func() bool { return b.ledger.status(sweep.ZuoraFull).Current != nil })
		if err != nil {
			return err
		}
		slow() // nobody measures what is left of the sweep
		if err := b.budgeted(ctx, false); err != nil {
			return err
		}
		if err := b.cancel(ctx, sweep.ZuoraFull); err != nil {
			return err
		}
		b.say("lap %d: p99 of %d logins %s, of %d during a sweep %s, which waited for its budget %.0f %% of the time",
			n+1, quiet.Logins, quiet.p99(), busy.Logins, busy.p99(), 100*busy.Busy)
		b.report.Quiet, b.report.Busy = append(b.report.Quiet, quiet), append(b.report.Busy, busy)
	}
	b.report.compare()
	b.report.Broken = append(b.report.Broken, b.report.slower(b.opt.full())...)
	return nil
}

// budgeted starts the daemon again, without budgets or with one of which logins
// need two fifths, two calls each, and which a sweep uses up: at the default of 20 logins a second
// it is Zuora's default. (A call waits for its distance to the one before, whoever
// goes first; and the more of the budget logins use themselves, the more of them
// wait for each other.) There are syncs enough at once that nothing but that budget
// holds the sweep back; Limio's is far from used up. A login for the very account
// that the sweep is at waits for that sync: with few accounts that is what p99 shows.
func (b *bench) budgeted(ctx context.Context, on bool) error {
	b.remember()
	if err := b.machine.daemon.stop(); err != nil {
		return err
	}
	cfg := &b.machine.cfg
	cfg.Zuora.PerSecond, cfg.Limio.PerSecond, cfg.Workers.Concurrency = 0, 0, config.Default().Workers.Concurrency
	if on {
		cfg.Zuora.PerSecond, cfg.Limio.PerSecond = 5*b.opt.logins, 20*b.opt.logins
		cfg.Workers.Concurrency *= 2
	}
	return b.machine.startDaemon(ctx)
}

// cancel ends a run, should one be under way, and waits until what it handed on
// has been worked.
func (b *bench) cancel(ctx context.Context, name string) error {
	id, err := sweep.Request(ctx, b.ledger, name, sweep.Ask{Action: sweep.Cancel, By: "bench", At: time.Now().UTC()})
	if err != nil {
		return err
	}
	if err := b.machine.until(ctx, "sweep "+name+" is cancelled", time.Minute, func() bool {
		st := b.ledger.status(name)
		return st.Handled.ID == id && st.Current == nil
	}); err != nil {
		return err
	}
	return b.machine.drained(ctx)
}

func (b *bench) lap(ctx context.Context, l *logins, going func() bool) (lap, error) {
	b.company.resetCalls()
	began := time.Now()
	before, err := b.machine.spent(ctx, "zuora")
	if err != nil {
		return lap{}, err
	}
	took, err := l.lap(ctx, b.opt.logins, b.opt.lap, going)
	if err != nil {
		return lap{}, err
	}
	after, err := b.machine.spent(ctx, "zuora")
	seconds, out := time.Since(began).Seconds(), newLap(took)
	out.Calls = float64(b.company.calls().sum()) / seconds
	if allowed := after.allowed - before.allowed; allowed > 0 {
		out.Busy = allowed / float64(b.machine.cfg.Zuora.PerSecond) / seconds
		out.Used = (after.used - before.used) / allowed
	}
	return out, err
}

// slow has every vendor take its time to answer, until the returned function is
// called. Without it the two programs would race for the processor, which shows
// nothing of who goes first.
func (c *company) slow(d time.Duration) (end func()) {
	var ends []func()
	for _, s := range []*httpsim.Sim{c.zuora.Sim, c.stripe.Sim, c.limio.Sim} {
		ends = append(ends, s.Inject(httpsim.Fault{Delay: d}))
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

func (b *bench) broken(format string, args ...any) {
	b.report.Broken = append(b.report.Broken, fmt.Sprintf(format, args...))
}
