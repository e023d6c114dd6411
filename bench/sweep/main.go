// Command sweep measures what a sweep costs: calls, memory, and how long a login
// waits beside it. The vendors are simulated in this process, with a hundred
// thousand Stripe subscriptions and twenty thousand Zuora accounts; the daemon
// is the real program in a child, with the default configuration but for
// budgets: they are off while calls and memory are measured, and on while logins
// are.
//
//	seed      both sides equal
//	prime     most memories are made here by the daemon's code (-prime 0: none)
//	first     sweeps that look at every record that is not known yet
//	restart   the daemon reads what it knows from Kafka
//	idle      sweeps that find nothing
//	repair    sweeps after records of both sides drifted and nobody was told
//	next      sweeps that find nothing again
//	logins    without a sweep and during one that looks at every record, in turns,
//	          with a budget of Zuora's calls that the sweep uses up
//
// It promises that every number comes from outside the daemon: calls as the
// vendors count them, drift as both sides' own state shows it, memory as the
// kernel tells, latencies from the topics. It exits with 1 when a promise does
// not hold: exactly the records that drifted are looked at and repaired, with calls
// within 2 % of the formula for each vendor, Limio's reads and writes apart, and 2
// to 3 of them to the billing system for each; sweeps that find nothing make exactly
// the calls of their lists; 200 MB; and, at full size, a login's p99 during a sweep
// at most 1.5 times that without.
//
//	go run ./bench/sweep
//	go run ./bench/sweep -stripe 2000 -zuora 500 -o json
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"hotsync/embedded"
)

// The size that the promises are made for.
const (
	fullStripe = 100_000
	fullZuora  = 20_000
)

// options are the flags.
type options struct {
	stripe, zuora int
	drift, prime  float64
	laps, logins  int
	lap, latency  time.Duration
	daemon, log   string
	output        string
}

func main() {
	if embedded.IsEngine(os.Args) {
		exit(embedded.EngineMain(os.Args[2:]))
	}
	var o options
	flag.IntVar(&o.stripe, "stripe", fullStripe, "Stripe subscriptions")
	flag.IntVar(&o.zuora, "zuora", fullZuora, "Zuora accounts")
	flag.Float64Var(&o.drift, "drift", 0.005, "share of the records that drift")
	flag.Float64Var(&o.prime, "prime", 0.9, "share of the records that the daemon knows already; 0 has it look at each")
	flag.IntVar(&o.laps, "laps", 3, "laps of logins without and with a sweep, in turns")
	flag.DurationVar(&o.lap, "lap", 20*time.Second, "how long a lap is")
	flag.IntVar(&o.logins, "logins", 20, "logins a second")
	flag.DurationVar(&o.latency, "latency", 50*time.Millisecond, "how long a vendor takes to answer while logins are measured")
	flag.StringVar(&o.daemon, "daemon", "", "a hotsync binary; empty builds one")
	flag.StringVar(&o.log, "log", "", "a file for the daemon's log; empty drops it")
	flag.StringVar(&o.output, "o", "table", "table or json")
	flag.Parse()
	if err := o.check(); err != nil {
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := measure(ctx, o, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	if o.output == "json" {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		err = errors.Join(err, out.Encode(r))
	} else {
		r.table(os.Stdout)
	}
	if err == nil && len(r.Broken) > 0 {
		err = fmt.Errorf("%d promises do not hold", len(r.Broken))
	}
	exit(err)
}

// full reports whether a run is of the size that the promises are made for.
func (o options) full() bool { return o.stripe >= fullStripe && o.zuora >= fullZuora }

func (o options) check() error {
	switch {
	case o.stripe < 1 || o.zuora < 1:
		return fmt.Errorf("-stripe %d and -zuora %d: want at least one of each", o.stripe, o.zuora)
	case o.drift < 0 || o.drift > 1:
		return fmt.Errorf("-drift %g: want a share between 0 and 1", o.drift)
	case o.prime < 0 || o.prime > 1:
		return fmt.Errorf("-prime %g: want a share between 0 and 1", o.prime)
	case o.laps < 0 || o.logins < 1 || o.logins > 10_000 || o.lap <= 0 || o.latency < 0:
		return fmt.Errorf("-laps %d, -logins %d, -lap %s, -latency %s: want none below zero, and 1 to 10,000 logins a second", o.laps, o.logins, o.lap, o.latency)
	case o.output != "table" && o.output != "json":
		return fmt.Errorf("-o %q: want table or json", o.output)
	}
	return nil
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
