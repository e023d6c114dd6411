package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hotsync/api"
)

func sweepCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sweep NAME",
		Short: "Run a sweep now and wait for it, or see how sweeps stand",
		Long: `Run a sweep now on the running daemon, and wait for its end with its progress.
Interrupting the wait does not end the run; hotsync sweep cancel does.

With --plan it writes nothing and prints what it would write; that plan can be
reviewed and applied with --apply RUN, which writes what was planned and skips
records that have changed since.

The sweeps are zuora-changed, zuora-full, stripe-events, stripe-drift and
limio-orphans. Exit code 1 means that the run failed or was cancelled, or that
what is printed is incomplete: some records have not come to an end (--patience).`,
		Example: `  hotsync sweep ls
  hotsync sweep zuora-full --plan
  hotsync sweep zuora-full --apply zuora-full/20270105T100000Z-ab12
  hotsync sweep stripe-drift --deep --no-wait`,
		Args: cobra.MaximumNArgs(1),
	}
	addr, output := addrFlag(cmd), outputFlag(cmd, "table", "json")
	plan := cmd.Flags().Bool("plan", false, "write nothing, and print what would be written")
	deep := cmd.Flags().Bool("deep", false, "look at every record on both sides, whatever is remembered of it")
	apply := cmd.Flags().String("apply", "", "write what this run has planned, and nothing else")
	noWait := cmd.Flags().Bool("no-wait", false, "print the id of the run as soon as it has begun")
	loading := cmd.Flags().Duration("patience", time.Minute, "after the run, how long to wait for records that were put off or are not in ClickHouse yet")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage(errors.New("name a sweep, such as zuora-full"))
		}
		body := api.RunBody{Asker: api.Asker{By: whoAsks()}, Mode: "repair", Deep: *deep, PlanOf: *apply}
		switch {
		case *plan && *apply != "":
			return usage(errors.New("--plan and --apply exclude each other"))
		case *plan:
			body.Mode = "plan"
		case *apply != "":
			body.Mode = "apply"
		}
		c, err := newClient(*addr)
		if err != nil {
			return err
		}
		v := sweepVerb{cmd: cmd, client: c, name: args[0], json: output.value == "json", loading: *loading}
		return v.run(cmd.Context(), body, !*noWait)
	}
	cmd.AddCommand(sweepListCommand())
	for _, v := range []struct{ verb, short, done string }{
		{"pause", "Start no scheduled run, and stop the one under way at its next page", "paused"},
		{"resume", "End a pause; a run that was stopped goes on where it was", "resumed"},
		{"cancel", "End the run under way; what it has handed on is still worked", "cancelled"},
	} {
		cmd.AddCommand(sweepActionCommand(v.verb, v.short, v.done))
	}
	return cmd
}

func sweepListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "List the sweeps and how they stand", Args: cobra.NoArgs}
	addr, output := addrFlag(cmd), outputFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := newClient(*addr)
		if err != nil {
			return err
		}
		var list struct {
			Sweeps []api.Sweep `json:"sweeps"`
		}
		if err := c.get(cmd.Context(), "/api/sweeps", nil, &list); err != nil {
			return err
		}
		if output.value == "json" {
			return printJSON(cmd.OutOrStdout(), list)
		}
		var rows [][]string
		for _, s := range list.Sweeps {
			rows = append(rows, sweepRow(s))
		}
		return table(cmd.OutOrStdout(), "SWEEP STATE SCHEDULE NEXT LAST RESULT LISTED HANDED_ON MISSED OVERLAPS SKIPPED_PAUSED", rows)
	}
	return cmd
}

func sweepRow(s api.Sweep) []string {
	run, state := api.Run{}, s.State
	if len(s.Last) > 0 {
		run = s.Last[0]
	}
	if s.Current != nil {
		run = *s.Current
	}
	if s.State == "paused" && s.HeldBy != "" {
		state += " by " + s.HeldBy
	}
	listed, handedOn := "", ""
	if run.ID != "" {
		listed, handedOn = amount(run.Done, run.Total), strconv.FormatInt(run.HandedOn, 10)
	}
	return []string{
		s.Name, state, s.Schedule, clock(s.Next), clock(run.Started), run.State, listed, handedOn,
		strconv.FormatInt(s.Missed, 10), strconv.FormatInt(s.Overlaps, 10), strconv.FormatInt(s.SkippedPaused, 10),
	}
}

// amount is how many there are of how many.
func amount(done, total int64) string {
	if total > done {
		return fmt.Sprintf("%d/%d", done, total)
	}
	return strconv.FormatInt(done, 10)
}

func sweepActionCommand(verb, short, done string) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1)}
	addr, output := addrFlag(cmd), outputFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(*addr)
		if err != nil {
			return err
		}
		v := sweepVerb{cmd: cmd, client: c, name: args[0], json: output.value == "json"}
		a, err := v.ask(cmd.Context(), verb, api.Asker{By: whoAsks()})
		if err != nil {
			return err
		}
		if v.json {
			return printJSON(cmd.OutOrStdout(), a)
		}
		what := "sweep " + args[0]
		if a.Run != "" {
			what = "run " + a.Run
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", what, done)
		return err
	}
	return cmd
}

// sweepVerb asks something of one sweep.
type sweepVerb struct {
	cmd    *cobra.Command
	client *client
	name   string
	json   bool
	// loading is how long ClickHouse is waited for once a run has ended.
	loading time.Duration
}

func (v *sweepVerb) path() string { return "/api/sweeps/" + url.PathEscape(v.name) }

// The patience of a verb that waits.
const (
	between     = 500 * time.Millisecond // two looks
	forPlanner  = time.Minute            // until the planner has seen a request
	forRestart  = time.Minute            // that the daemon may be away meanwhile
	withoutBars = 10 * time.Second       // between two lines about progress
)

// ask sends a request and waits until the planner has seen it.
func (v *sweepVerb) ask(ctx context.Context, action string, body any) (api.SweepAnswer, error) {
	var a api.SweepAnswer
	if err := v.client.post(ctx, v.path()+"/"+action, body, &a); err != nil {
		return a, err
	}
	patience := time.NewTimer(forPlanner)
	defer patience.Stop()
	for !a.Seen {
		select {
		case <-ctx.Done():
			return a, fmt.Errorf("wait for the planner: %w; the request stays", ctx.Err())
		case <-patience.C:
			return a, environment(fmt.Errorf("no instance plans sweeps at the moment; the request stays, and hotsync sweep ls shows when it is taken up"))
		case <-time.After(between):
		}
		var s api.Sweep
		if err := v.client.get(ctx, v.path(), nil, &s); err != nil {
			return a, err
		}
		if h := s.Handled; h != nil && h.Request == a.Request {
			a.Seen, a.Run, a.Answer = true, h.Run, h.Answer
		}
	}
	if a.Answer != "" {
		return a, fmt.Errorf("sweep %s: %s", v.name, plain(a.Answer))
	}
	return a, nil
}

// run starts a run and, if wanted, waits for its end.
func (v *sweepVerb) run(ctx context.Context, body api.RunBody, wait bool) error {
	a, err := v.ask(ctx, "run", body)
	if err != nil {
		return err
	}
	if !wait {
		if v.json {
			return printJSON(v.cmd.OutOrStdout(), map[string]string{"run": a.Run, "sweep": v.name, "state": "running"})
		}
		_, err := fmt.Fprintln(v.cmd.OutOrStdout(), a.Run)
		return err
	}
	rep, err := v.watch(ctx, a.Run)
	if err != nil {
		return err
	}
	res := resultOf(v.name, rep)
	if body.Mode == "plan" {
		if res.Records, err = v.records(ctx, a.Run); err != nil {
			return err
		}
	}
	if err := v.print(res); err != nil {
		return err
	}
	if res.Incomplete {
		return &exit{code: exitFailed}
	}
	return nil
}

// records reads what a run would write, page by page.
func (v *sweepVerb) records(ctx context.Context, run string) ([]api.Planned, error) {
	out := []api.Planned{}
	query := url.Values{"limit": {"1000"}}
	for {
		var page api.PlannedPage
		if err := v.client.get(ctx, runPath(run)+"/records", query, &page); err != nil {
			return nil, fmt.Errorf("read what run %s would write: %w", run, err)
		}
		out = append(out, page.Records...)
		if page.Next == "" {
			return out, nil
		}
		query.Set("after", page.Next)
	}
}
