package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// What is promised. The ratio is 1.5 on a machine of its own; a machine that
// others use as well gets a bound at which something is wrong.
const (
	allowedOff   = 2.0       // percent, of calls from the formula
	allowedRSS   = 200 << 20 // bytes
	wantedRatio  = 1.5       // of login latencies
	allowedRatio = 5.0
)

// report is what was measured.
type report struct {
	Stripe     int     `json:"stripe"`
	Zuora      int     `json:"zuora"`
	DriftShare float64 `json:"drift"`
	Seeding    float64 `json:"seeding_s"`

	Primed  int     `json:"primed"` // records that the daemon knew when it started
	Priming float64 `json:"priming_s"`

	Steps []step `json:"steps"`

	Drifted  int      `json:"drifted"`           // records
	Wrong    int      `json:"wrong"`             // Limio objects that differed in them
	Left     int      `json:"left"`              // records that still differ
	LeftOver []string `json:"such_as,omitempty"` // some of them

	Restart    float64 `json:"restart_s"`     // until ready, all memories read
	FirstRSS   int64   `json:"rss_first"`     // peak of the daemon that learned every record
	RestartRSS int64   `json:"rss_restarted"` // peak of the one after it, when it was ready
	RSS        int64   `json:"rss_peak"`      // the higher peak of both; 0: the system does not tell

	Quiet []lap   `json:"logins_quiet"`
	Busy  []lap   `json:"logins_during_sweep"`
	Ratio float64 `json:"p99_ratio"` // of the medians

	Broken []string `json:"broken,omitempty"` // promises
}

// step is one sweep.
type step struct {
	What     string  `json:"what"` // first, idle, repair, next
	Sweep    string  `json:"sweep"`
	Listed   int64   `json:"listed"`
	HandedOn int64   `json:"handed_on"`
	Expected int     `json:"expected"` // to be handed on
	Made     calls   `json:"calls"`
	Formula  calls   `json:"formula"`
	Off      float64 `json:"off_percent"`
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"cpu_s"` // of the daemon
	RSS      int64   `json:"rss"`   // peak of the daemon so far
}

// String is a step on one line.
func (s step) String() string {
	return fmt.Sprintf("%s %s: %d listed, %d looked at, %d calls, formula %d (%+.2f %%), %.1f s, %.1f s CPU",
		s.What, s.Sweep, s.Listed, s.HandedOn, s.Made.sum(), s.Formula.sum(), s.Off, s.Seconds, s.CPU)
}

// lap is the logins of some seconds, from produced to done.
type lap struct {
	Logins int     `json:"logins"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Calls  float64 `json:"calls_per_s"` // to all vendors meanwhile
}

func newLap(took []time.Duration, perSecond float64) lap {
	ms := func(q float64) float64 { return float64(quantile(took, q).Microseconds()) / 1000 }
	return lap{Logins: len(took), P50: ms(0.5), P99: ms(0.99), Calls: perSecond}
}

func (l lap) p99() string { return fmt.Sprintf("%.1f ms", l.P99) }

// middle is the median of a number of laps.
func middle(laps []lap, of func(lap) float64) float64 {
	if len(laps) == 0 {
		return 0
	}
	var all []float64
	for _, l := range laps {
		all = append(all, of(l))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func p50(l lap) float64 { return l.P50 }

func p99(l lap) float64 { return l.P99 }

// compare sets the ratio of the latencies.
func (r *report) compare() {
	if quiet := middle(r.Quiet, p99); quiet > 0 {
		r.Ratio = middle(r.Busy, p99) / quiet
	}
}

// table prints a report for people.
func (r report) table(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(t, strings.Join(cells, "\t")) }
	line("sweep", "", "listed", "looked at", "zuora", "stripe", "limio", "calls", "formula", "off", "seconds", "CPU", "peak RSS")
	for _, s := range r.Steps {
		line(s.Sweep, s.What, fmt.Sprint(s.Listed), fmt.Sprintf("%d of %d", s.HandedOn, s.Expected), fmt.Sprint(s.Made.Zuora), fmt.Sprint(s.Made.Stripe),
			fmt.Sprint(s.Made.Limio), fmt.Sprint(s.Made.sum()), fmt.Sprint(s.Formula.sum()), fmt.Sprintf("%+.2f %%", s.Off), fmt.Sprintf("%.1f", s.Seconds), fmt.Sprintf("%.1f", s.CPU), mib(s.RSS))
	}
	_ = t.Flush()
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	say("")
	say("%d of %d records were known when the daemon started", r.Primed, r.Stripe+r.Zuora)
	say("drift: %d records with %d objects that differed, %d records left", r.Drifted, r.Wrong, r.Left)
	for _, name := range r.LeftOver {
		say("  %s", name)
	}
	say("daemon: peak RSS %s (learning %s; %s when ready again after %.1f s), promised at most %s", mib(r.RSS), mib(r.FirstRSS), mib(r.RestartRSS), r.Restart, mib(allowedRSS))
	say("logins: p50 %.1f ms, p99 %.1f ms; during a sweep of every record (%.0f calls/s) p50 %.1f ms, p99 %.1f ms; medians of %d laps in turns",
		middle(r.Quiet, p50), middle(r.Quiet, p99), middle(r.Busy, func(l lap) float64 { return l.Calls }), middle(r.Busy, p50), middle(r.Busy, p99), len(r.Quiet))
	say("p99 during a sweep / without: %.2f, wanted at most %.1f", r.Ratio, wantedRatio)
	for _, b := range r.Broken {
		say("BROKEN: %s", b)
	}
}

func mib(bytes int64) string {
	if bytes == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}
