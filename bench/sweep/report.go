package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// What is promised.
const (
	allowedOff   = 2.0         // percent, of calls from the formula, for each vendor
	allowedRSS   = 200_000_000 // bytes
	allowedLooks = 3           // calls to its billing system for a record that drifted
	leastLooks   = 2
	allowedRatio = 1.5 // of login latencies
	// smallRatio is where something is wrong in a run that is too small, on a
	// machine that others use as well, to measure more.
	smallRatio = 5.0
	// leastBusy is the part of a lap in which calls have to wait for the budget:
	// where they do not, nothing is shown of who goes first.
	leastBusy = 0.5
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
	Lists    calls   `json:"formula_lists"`
	Formula  calls   `json:"formula"`
	Off      float64 `json:"off_percent"` // of the vendor that is furthest off
	Looks    float64 `json:"billing_calls_per_record"`
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"cpu_s"` // of the daemon
	RSS      int64   `json:"rss"`   // peak of the daemon so far
}

// String is a step on one line.
func (s step) String() string {
	return fmt.Sprintf("%s %s: %d listed, %d of %d looked at, %d calls, formula %d (%+.2f %% at most), %.1f s, %.1f s CPU",
		s.What, s.Sweep, s.Listed, s.HandedOn, s.Expected, s.Made.sum(), s.Formula.sum(), s.Off, s.Seconds, s.CPU)
}

// broken are the promises that a step does not keep.
func (s step) broken() (out []string) {
	note := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("sweep %s (%s) ", s.Sweep, s.What)+fmt.Sprintf(format, args...))
	}
	if int(s.HandedOn) != s.Expected {
		note("looked at %d records, not at the %d that it has to look at", s.HandedOn, s.Expected)
	}
	switch {
	case s.Expected == 0 && s.Made != s.Formula:
		note("has nothing to find and made calls %+v, where its lists are %+v", s.Made, s.Formula)
	case s.Off > allowedOff || s.Off < -allowedOff:
		note("made calls %+v where the formula says %+v: %+.1f %%", s.Made, s.Formula, s.Off)
	}
	if s.Expected > 0 && (s.Looks < leastLooks || s.Looks > allowedLooks) {
		note("made %.2f calls to the billing system for a record, not %d to %d", s.Looks, leastLooks, allowedLooks)
	}
	return out
}

// lap is the logins of some seconds, from produced to done.
type lap struct {
	Logins int     `json:"logins"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Calls  float64 `json:"calls_per_s"` // to all vendors meanwhile
	// Busy is the part of the lap in which calls waited for Zuora's budget, and
	// Used how much of it they used then.
	Busy float64 `json:"budget_busy"`
	Used float64 `json:"budget_used"`
}

func newLap(took []time.Duration) lap {
	ms := func(q float64) float64 { return float64(quantile(took, q).Microseconds()) / 1000 }
	return lap{Logins: len(took), P50: ms(0.5), P99: ms(0.99)}
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

// slower are the promises that the laps do not keep: a ratio of latencies, measured
// while a sweep uses what it may. In small, a ratio at which something is wrong.
func (r *report) slower(full bool) (out []string) {
	allowed := smallRatio
	if full {
		allowed = allowedRatio
	}
	if r.Ratio > allowed {
		out = append(out, fmt.Sprintf("p99 of a login during a sweep is %.2f times that without, promised at most %.1f", r.Ratio, allowed))
	}
	if busy := middle(r.Busy, func(l lap) float64 { return l.Busy }); full && busy < leastBusy {
		out = append(out, fmt.Sprintf("calls waited for Zuora's budget %.0f %% of the time: the sweep does not use what it may, and the laps show nothing", 100*busy))
	}
	return out
}

// memory are the promises about it.
func (r *report) memory() (out []string) {
	switch {
	case r.RSS == 0:
		out = append(out, "the system does not tell how much memory the daemon has held")
	case r.RSS > allowedRSS:
		out = append(out, fmt.Sprintf("the daemon's peak RSS is %s, more than %s", mb(r.RSS), mb(allowedRSS)))
	}
	return out
}

// table prints a report for people.
func (r report) table(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(t, strings.Join(cells, "\t")) }
	line("sweep", "", "listed", "looked at", "zuora", "stripe", "limio reads", "writes", "calls", "formula", "off", "billing/record", "seconds", "CPU", "peak RSS")
	for _, s := range r.Steps {
		line(s.Sweep, s.What, fmt.Sprint(s.Listed), fmt.Sprintf("%d of %d", s.HandedOn, s.Expected), of(s.Made.Zuora, s.Formula.Zuora), of(s.Made.Stripe, s.Formula.Stripe),
			of(s.Made.Limio, s.Formula.Limio), of(s.Made.Writes, s.Formula.Writes), fmt.Sprint(s.Made.sum()), fmt.Sprint(s.Formula.sum()), fmt.Sprintf("%+.2f %%", s.Off),
			fmt.Sprintf("%.2f", s.Looks), fmt.Sprintf("%.1f", s.Seconds), fmt.Sprintf("%.1f", s.CPU), mb(s.RSS))
	}
	_ = t.Flush()
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	say("")
	say("%d of %d records were known when the daemon started", r.Primed, r.Stripe+r.Zuora)
	say("drift: %d records with %d objects that differed, %d records left", r.Drifted, r.Wrong, r.Left)
	for _, name := range r.LeftOver {
		say("  %s", name)
	}
	say("daemon: peak RSS %s (learning %s; %s when ready again after %.1f s), promised at most %s", mb(r.RSS), mb(r.FirstRSS), mb(r.RestartRSS), r.Restart, mb(allowedRSS))
	say("logins, budgets on: p50 %.1f ms, p99 %.1f ms; during a sweep of every record (%.0f calls/s) p50 %.1f ms, p99 %.1f ms; medians of %d laps in turns",
		middle(r.Quiet, p50), middle(r.Quiet, p99), middle(r.Busy, func(l lap) float64 { return l.Calls }), middle(r.Busy, p50), middle(r.Busy, p99), len(r.Quiet))
	say("during the sweep, calls waited for Zuora's budget %.0f %% of the time and used %.1f %% of it then",
		100*middle(r.Busy, func(l lap) float64 { return l.Busy }), 100*middle(r.Busy, func(l lap) float64 { return l.Used }))
	say("p99 during a sweep / without: %.2f, promised at most %.1f at full size", r.Ratio, allowedRatio)
	for _, b := range r.Broken {
		say("BROKEN: %s", b)
	}
}

// of is a number beside what it should be, where it is another.
func of(made, formula int) string {
	if made == formula {
		return fmt.Sprint(made)
	}
	return fmt.Sprintf("%d of %d", made, formula)
}

func mb(bytes int64) string {
	if bytes == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
}
