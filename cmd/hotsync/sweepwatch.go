package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"hotsync/api"
)

// runPath is the address of a run, whose id has two parts.
func runPath(run string) string {
	name, id, _ := strings.Cut(run, "/")
	return "/api/runs/" + url.PathEscape(name) + "/" + url.PathEscape(id)
}

// watch waits for the end of a run, and then until ClickHouse knows what became
// of the records that it handed on. A daemon that restarts meanwhile goes on
// with the run, and so does the wait.
func (v *sweepVerb) watch(ctx context.Context, run string) (api.RunReport, error) {
	show := newProgress(ctx, v.cmd.ErrOrStderr(), v.name)
	defer func() { show.close() }()
	var last api.RunReport
	var away, ended time.Time
	for {
		var rep api.RunReport
		err := v.client.get(ctx, runPath(run), nil, &rep)
		var e *exit
		switch {
		case ctx.Err() != nil:
			return last, fmt.Errorf("stopped waiting; run %s goes on, and hotsync sweep cancel %s ends it", run, v.name)
		case errors.As(err, &e) && e.code == exitEnvironment:
			if away.IsZero() {
				away = time.Now()
			}
			if time.Since(away) > forRestart {
				return last, err
			}
		case err != nil:
			return last, err
		case rep.Run == nil:
			return last, fmt.Errorf("the daemon does not know run %s any more; its end is in ClickHouse", run)
		default:
			away, last = time.Time{}, rep
			show.report(rep)
			if api.RunEnded(rep.Run.State) {
				if ended.IsZero() {
					ended = time.Now()
				}
				if missing(rep) == 0 || time.Since(ended) > v.loading {
					show.done = true
					return rep, nil
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(between):
		}
	}
}

// missing is how many of the records that a run handed on, and of those that
// they led to, are not known to have come to an end: put off, being worked, or
// not in ClickHouse yet. Of a run that was cut short nobody knows how many will be
// worked, so nothing of it is waited for.
func missing(rep api.RunReport) int64 {
	switch {
	case rep.Run.State != "done" || rep.Run.HandedOn == 0:
		return 0
	case rep.Outcomes == nil:
		return rep.Run.HandedOn
	}
	return max(0, rep.Run.HandedOn+rep.Outcomes.LedTo-rep.Outcomes.Final)
}

// progress shows how far a run has come: bars on a terminal, else a line from
// time to time.
type progress struct {
	w    io.Writer
	name string
	bars *mpb.Progress // nil: there is no terminal
	list *mpb.Bar
	work *mpb.Bar
	last api.RunReport
	said time.Time
	done bool
}

func newProgress(ctx context.Context, w io.Writer, name string) *progress {
	p := &progress{w: w, name: name}
	if isTerminal(w) {
		p.bars = mpb.NewWithContext(ctx, mpb.WithOutput(w), mpb.WithWidth(40))
	}
	return p
}

func (p *progress) report(rep api.RunReport) {
	p.last = rep
	if p.bars == nil {
		if time.Since(p.said) >= withoutBars && !api.RunEnded(rep.Run.State) {
			p.said = time.Now()
			fmt.Fprintf(p.w, "%s: %s\n", p.name, p.line())
		}
		return
	}
	r := rep.Run
	if p.list == nil {
		p.list = p.bars.AddBar(0,
			mpb.PrependDecorators(decor.Name(p.name+" "), decor.Any(func(decor.Statistics) string { return p.listed() + " " })),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.line() })))
	}
	p.list.SetTotal(r.Total, false) // 0 when nobody knows: an empty bar
	p.list.SetCurrent(r.Done)
	if r.State == "running" || r.HandedOn == 0 {
		return
	}
	if p.work == nil {
		p.work = p.bars.AddBar(0, mpb.PrependDecorators(decor.Name(strings.Repeat(" ", len(p.name))+" worked "), decor.CountersNoUnit("%d / %d")))
	}
	p.work.SetTotal(r.HandedOn, false)
	if o := rep.Outcomes; o != nil {
		p.work.SetCurrent(min(o.Answered, r.HandedOn))
	}
}

// listed is how many records a run has listed, of how many.
func (p *progress) listed() string {
	if r := p.last.Run; r != nil {
		return amount(r.Done, r.Total) + " listed"
	}
	return ""
}

// line is how a run stands, in a few words.
func (p *progress) line() string {
	r := p.last.Run
	if r == nil {
		return ""
	}
	parts := []string{r.State}
	if r.Paused {
		parts[0] = "paused"
	}
	if r.Stage != "" && r.State == "running" {
		parts[0] += " " + r.Stage
	}
	if p.bars == nil {
		parts = append(parts, p.listed())
	}
	parts = append(parts, fmt.Sprintf("%d to look at", r.HandedOn))
	if o := p.last.Outcomes; o != nil {
		parts = append(parts, fmt.Sprintf("%d drifted, %d repaired", o.Drifted, o.Repaired))
		if o.Failed > 0 {
			parts = append(parts, fmt.Sprintf("%d failed", o.Failed))
		}
	}
	if r.State == "running" && r.PerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%.0f/s", r.PerSecond))
	}
	if !r.ETA.IsZero() && !api.RunEnded(r.State) {
		parts = append(parts, "until "+r.ETA.Local().Format("15:04:05"))
	}
	if r.Late != "" {
		parts = append(parts, "late: "+clipped(r.Late, 80))
	}
	return strings.Join(parts, ", ")
}

// close leaves the terminal as a finished line.
func (p *progress) close() {
	if p.bars == nil {
		return
	}
	for _, b := range []*mpb.Bar{p.list, p.work} {
		switch {
		case b == nil:
		case p.done:
			b.SetTotal(-1, true)
		default:
			b.Abort(false)
		}
	}
	p.bars.Wait()
}

// sweepResult is how a run ended, as it is printed.
type sweepResult struct {
	Run      string           `json:"run"`
	Sweep    string           `json:"sweep"`
	Mode     string           `json:"mode"`
	State    string           `json:"state"`
	Listed   int64            `json:"listed"`
	Equal    int64            `json:"equal"`
	HandedOn int64            `json:"handed_on"`
	Calls    map[string]int64 `json:"calls,omitempty"`
	Outcomes *api.Outcomes    `json:"outcomes"` // null: ClickHouse does not say
	// Incomplete says that this is not all there is: the run was cut short, or
	// so many records have not come to an end as Unanswered says.
	Incomplete bool          `json:"incomplete"`
	Unanswered int64         `json:"unanswered"`
	Missing    string        `json:"missing,omitempty"`
	Seconds    float64       `json:"seconds"`
	Note       string        `json:"note,omitempty"`
	Error      string        `json:"error,omitempty"`
	Records    []api.Planned `json:"records,omitzero"` // of a plan
}

func resultOf(name string, rep api.RunReport) sweepResult {
	r := rep.Run
	return sweepResult{
		Run: rep.ID, Sweep: name, Mode: r.Mode, State: r.State, Listed: r.Done, Equal: r.Equal, HandedOn: r.HandedOn, Calls: r.Calls,
		Outcomes: rep.Outcomes, Incomplete: r.State != "done" || missing(rep) > 0, Unanswered: missing(rep), Missing: rep.Missing, Seconds: r.Ended.Sub(r.Started).Seconds(), Note: r.Note, Error: r.Error,
	}
}

// tableRecords bounds the records that a person gets to see.
const tableRecords = 200

func (v *sweepVerb) print(res sweepResult) error {
	w := v.cmd.OutOrStdout()
	if v.json {
		return printJSON(w, res)
	}
	var rows [][]string
	for i, rec := range res.Records {
		if i == tableRecords {
			break
		}
		for _, c := range rec.Changes {
			rows = append(rows, []string{rec.Key.String(), strings.TrimSpace(c.Object + " " + c.ID), c.Op, c.Field, shownValue(c.Before), shownValue(c.After)})
		}
		if len(rec.Changes) == 0 {
			rows = append(rows, []string{rec.Key.String(), string(rec.Outcome), string(rec.Reason), "", "", ""})
		}
	}
	if len(rows) > 0 {
		if err := table(w, "KEY OBJECT OP FIELD BEFORE AFTER", rows); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if more := len(res.Records) - tableRecords; more > 0 {
		fmt.Fprintf(w, "… and %s more; -o json prints all of them\n\n", plural(more, "record"))
	}
	fmt.Fprintf(w, "%s: %s in %s: %d listed, %d equal, %d looked at\n", res.Run, res.State,
		(time.Duration(res.Seconds * float64(time.Second))).Round(time.Millisecond), res.Listed, res.Equal, res.HandedOn)
	switch {
	case res.Outcomes == nil && res.HandedOn > 0:
		fmt.Fprintf(w, "what became of them is not known: %s\n", plain(res.Missing))
	case res.Outcomes != nil && len(res.Outcomes.ByName) > 0:
		fmt.Fprintln(w, counts(res.Outcomes.ByName))
	}
	if res.Note != "" {
		fmt.Fprintln(w, plain(res.Note))
	}
	if res.Unanswered > 0 {
		fmt.Fprintf(v.cmd.ErrOrStderr(), "hotsync: %s not come to an end within %s of the run's, so this is not all: put off, being worked, or not loaded into ClickHouse yet\n",
			haveOf(res.Unanswered), v.loading)
	}
	if res.Mode == "plan" && len(res.Records) > 0 && !res.Incomplete {
		fmt.Fprintf(w, "to write this: hotsync sweep %s --apply %s\n", res.Sweep, res.Run)
	}
	if res.Error != "" {
		fmt.Fprintln(v.cmd.ErrOrStderr(), "hotsync:", plain(res.Error))
	}
	return nil
}

func haveOf(n int64) string {
	if n == 1 {
		return "1 record has"
	}
	return plural(int(n), "record") + " have"
}

// counts lists numbers by name.
func counts(of map[string]int64) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		out = append(out, fmt.Sprintf("%s %d", name, of[name]))
	}
	return strings.Join(out, ", ")
}

func shownValue(v any) string {
	if v == nil {
		return "-"
	}
	return clipped(fmt.Sprint(v), 60)
}
