package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"hotsync/demo"
	"hotsync/event"
)

// demoCommand is hotsync with a simulated world around it, on this machine.
func demoCommand() *cobra.Command {
	var cfg demo.Config
	var output *word
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run everything on this machine with simulated Zuora, Stripe and Limio",
		Long: `demo starts an embedded Kafka broker and ClickHouse, simulated Zuora, Stripe and
Limio tenants, the daemon, and realistic traffic, some of whose webhooks never
arrive. When the traffic ends, after --duration or at the first interrupt, it lets
sweeps find what nothing told of, waits until everything is handled, compares every
record on both sides itself and says what it found.

It exits with 2 when anything was left unanswered, lost, duplicated, different or
written in a loop.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Binary = installedServer(cmd.Context(), func(err error) {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "hotsync: %s: %v\n", notUsed, err)
			})
			cfg.Build = buildVersion()
			live := newLive(cmd.ErrOrStderr(), output.value)
			cfg.Progress = live.show
			cfg.Log = zerolog.Nop() // it would write over what is shown
			if !live.terminal {
				cfg.Log = zerolog.New(cmd.ErrOrStderr()).With().Timestamp().Logger().Level(zerolog.ErrorLevel)
			}
			report, err := demo.Run(cmd.Context(), cfg)
			live.end()
			if err != nil {
				return environmentOr(err)
			}
			return tell(cmd.OutOrStdout(), output.value, report)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&cfg.Duration, "duration", 0, "stop the traffic after this time (default: at the first interrupt)")
	f.Float64Var(&cfg.Rate, "rate", 0, "messages per second (default 150)")
	f.Uint64Var(&cfg.Seed, "seed", 1, "the world's seed: the same one makes the same world")
	f.StringVar(&cfg.DataDir, "data", "", "folder for the embedded engines' data, new or empty (default: a temporary one)")
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:0", "address of health and metrics")
	f.BoolVar(&cfg.NoFaults, "no-faults", false, "leave the simulated vendors healthy")
	output = outputFlag(cmd, "table", "json")
	return cmd
}

// live shows how a demo goes: in place on a terminal, else a line now and then.
type live struct {
	w        io.Writer
	terminal bool
	lines    int
	last     time.Time
	quiet    bool
}

func newLive(w io.Writer, output string) *live {
	f, ok := w.(*os.File)
	terminal := ok && term.IsTerminal(int(f.Fd()))
	return &live{w: w, terminal: terminal, quiet: output == "json" && !terminal}
}

func (l *live) show(p demo.Progress) {
	if l.quiet {
		return
	}
	if !l.terminal {
		if time.Since(l.last) >= 5*time.Second {
			l.last = time.Now()
			_, _ = fmt.Fprintf(l.w, "%4.0fs  %d triggers answered, %d records to handle\n", p.Elapsed.Seconds(), p.Triggers, p.Behind)
		}
		return
	}
	var b strings.Builder
	until := "press Ctrl-C to stop the traffic and judge"
	switch {
	case p.Duration > 0 && p.Elapsed > p.Duration:
		until = "of " + p.Duration.String() + ", finishing what is under way"
	case p.Duration > 0:
		until = "of " + p.Duration.String()
	}
	fmt.Fprintf(&b, "hotsync demo  %s %s\n\n", p.Elapsed.Truncate(time.Second), until)
	for _, o := range event.Outcomes() {
		fmt.Fprintf(&b, "  %-11s %8d\n", o, p.Outcomes[o])
	}
	fmt.Fprintf(&b, "\n  triggers answered %d, records to handle %d\n", p.Triggers, p.Behind)
	fmt.Fprintf(&b, "  calls: zuora %d, stripe %d, limio %d\n\n", p.Calls["zuora"], p.Calls["stripe"], p.Calls["limio"])
	fmt.Fprintf(&b, "  health and metrics  http://%s/readyz  http://%s/metrics\n", p.HTTP, p.HTTP)
	fmt.Fprintf(&b, "  ClickHouse          http://%s/play  (database hotsync: syncs, trigger_outcomes, sync_events)\n", p.ClickHouse)
	fmt.Fprintf(&b, "  Kafka               %s\n", p.Kafka)
	l.clear()
	_, _ = io.WriteString(l.w, b.String())
	l.lines = strings.Count(b.String(), "\n")
}

// clear goes back over what was shown last.
func (l *live) clear() {
	if l.lines > 0 {
		_, _ = fmt.Fprintf(l.w, "\x1b[%dA\x1b[J", l.lines)
	}
}

func (l *live) end() {
	l.clear()
	l.lines = 0
}

// tell prints the report, and is a finding when it is not clean.
func tell(w io.Writer, output string, r demo.Report) error {
	if err := printReport(w, output, r); err != nil {
		return err
	}
	if !r.Clean() {
		return finding(fmt.Errorf("unanswered %d, lost %d, duplicates %d, drift %d, loops %d: all of them must be 0",
			r.Unanswered, r.Lost, r.Duplicates, r.Drift, r.Loops))
	}
	return nil
}

func printReport(w io.Writer, output string, r demo.Report) error {
	if output == "json" {
		return json.NewEncoder(w).Encode(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%.0f s of traffic: %d logins and %d Stripe events, %d of them poison, and %d orders; %d webhooks never arrived\n\n",
		r.Duration, r.Produced.Logins, r.Produced.Stripe, r.Produced.Poison, r.Produced.Orders, r.Produced.Lost)
	fmt.Fprintf(&b, "%d triggers\n", r.Triggers)
	for _, o := range event.Outcomes() {
		fmt.Fprintf(&b, "  %-11s %8d\n", o, r.Outcomes[string(o)])
	}
	fmt.Fprintln(&b, "\nreasons")
	for _, name := range slices.Sorted(maps.Keys(r.Reasons)) {
		fmt.Fprintf(&b, "  %-21s %8d\n", name, r.Reasons[name])
	}
	fmt.Fprintf(&b, "\n%d sweeps saw %d records, had %d of them looked at and repaired %d\n", r.Sweeps.Runs, r.Sweeps.Listed, r.Sweeps.HandedOn, r.Sweeps.Repaired)
	fmt.Fprintf(&b, "latency p50 %.0f ms, p95 %.0f ms, p99 %.0f ms\n", r.Latency.P50, r.Latency.P95, r.Latency.P99)
	fmt.Fprintf(&b, "calls: zuora %d, stripe %d, limio %d\n\n", r.Calls["zuora"], r.Calls["stripe"], r.Calls["limio"])
	for _, n := range []struct {
		name  string
		count int64
	}{{"unanswered", r.Unanswered}, {"lost", r.Lost}, {"duplicates", r.Duplicates}, {"drift", r.Drift}, {"loops", r.Loops}} {
		fmt.Fprintf(&b, "  %-11s %8d\n", n.name, n.count)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
