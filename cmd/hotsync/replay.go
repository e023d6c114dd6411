package main

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/spf13/cobra"

	"hotsync/api"
)

func replayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay [SYNC…]",
		Short: "Look at records again",
		Long: `Have the records of past syncs looked at again: of the syncs named, of all that
match the filters, of all that failed since a time, or of triggers that were
taken in and never came to an end. A replay reads the billing system and Limio as
they are now, so it never writes what is out of date. It may do no more than what
it repeats: what was asked for as a plan is planned again, and what applied a
reviewed plan is passed over; have that plan applied again instead.

Without --yes it says how many match and asks, or does nothing where there is
nobody to ask (exit code 2).`,
		Example: `  hotsync replay --failed-since 24h
  hotsync replay --outcome failed --reason forbidden --since 2027-01-05 --cap 5000 --rate 50 --yes
  hotsync replay 9f2c4e11d0a34b7c8e5f60718293a4b5
  hotsync replay --never-processed`,
		Args: cobra.ArbitraryArgs,
	}
	addr, output := addrFlag(cmd), outputFlag(cmd, "table", "json")
	filter := syncFilterFlags(cmd)
	failedSince := momentFlag(cmd, "failed-since", "what failed then or later: a time, or how long ago, such as 24h")
	never := cmd.Flags().Bool("never-processed", false, "triggers that were taken in and never came to an end")
	ask := api.ReplayAsk{}
	cmd.Flags().Int64Var(&ask.Cap, "cap", 1000, "do nothing when more match")
	cmd.Flags().IntVar(&ask.PerSecond, "rate", 20, "how many records are looked at per second")
	cmd.Flags().StringVar(&ask.Why, "why", "", "the reason, for the log")
	cmd.Flags().StringVar(&ask.ID, "id", "", "name the replay; after a failure the same id completes it")
	yes := cmd.Flags().BoolP("yes", "y", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f := filter()
		if !failedSince.at.IsZero() {
			if len(f.Outcome) > 0 {
				return usage(errors.New("--failed-since and --outcome exclude each other"))
			}
			f.Outcome, f.AtSince = []string{"failed"}, failedSince.at
		}
		ask.By, ask.SyncIDs, ask.NeverProcessed = whoAsks(), args, *never
		if !reflect.ValueOf(f).IsZero() {
			ask.Filter = &f
		}
		if err := oneOf(len(args) > 0, ask.Filter != nil, *never); err != nil {
			return err
		}
		c, err := newClient(*addr)
		if err != nil {
			return err
		}
		v := replayVerb{cmd: cmd, client: c, json: output.value == "json"}
		return v.run(ask, *yes)
	}
	return cmd
}

// oneOf returns an error unless it is clear what is meant.
func oneOf(syncs, filters, never bool) error {
	n := 0
	for _, given := range []bool{syncs, filters, never} {
		if given {
			n++
		}
	}
	switch n {
	case 0:
		return usage(errors.New("say what to look at again: ids of syncs, filters, --failed-since or --never-processed"))
	case 1:
		return nil
	}
	return usage(errors.New("ids of syncs, filters and --never-processed exclude each other"))
}

// syncFilterFlags adds the filters of syncs to a verb.
func syncFilterFlags(cmd *cobra.Command) func() api.Filter {
	var f api.Filter
	list := cmd.Flags().StringArrayVar
	list(&f.Key, "key", nil, "of these keys, such as zuora:account:2c92… (may be repeated, as the others)")
	list(&f.System, "system", nil, "of keys of zuora, stripe or limio")
	list(&f.Outcome, "outcome", nil, "that ended as applied, in_sync, suppressed, skipped, observed, deferred, rejected or failed")
	list(&f.Reason, "reason", nil, "that ended for this reason")
	list(&f.Cause, "cause", nil, "asked for by login, stripe, zuora_callout, api, sweep or replay")
	list(&f.Origin, "origin", nil, "of changes made by shop, salesforce, …")
	list(&f.Class, "class", nil, "with this class of error, such as forbidden")
	cmd.Flags().StringVar(&f.KeyPrefix, "key-prefix", "", "of keys that begin like this")
	cmd.Flags().StringVar(&f.Delivery, "delivery", "", "of this message of a producer (evt_…)")
	cmd.Flags().StringVar(&f.Run, "run", "", "looked at for this run of a sweep or this replay")
	cmd.Flags().StringVar(&f.Related, "related", "", "that concern this Limio id, account or customer")
	cmd.Flags().StringVar(&f.Field, "field", "", "in which this field differed")
	cmd.Flags().StringVar(&f.Text, "text", "", "with this text in the key, the note, the error or a related id")
	since := momentFlag(cmd, "since", "received then or later: a time, or how long ago, such as 24h")
	until := momentFlag(cmd, "until", "received before then")
	return func() api.Filter {
		f.Since, f.Until = since.at, until.at
		return f
	}
}

// replayVerb asks for a replay.
type replayVerb struct {
	cmd    *cobra.Command
	client *client
	json   bool
}

func (v *replayVerb) run(ask api.ReplayAsk, yes bool) error {
	if !yes {
		if going, err := v.preview(ask); err != nil || !going {
			return err
		}
	}
	var a api.ReplayAnswer
	if err := v.client.post(v.cmd.Context(), "/api/replay", ask, &a); err != nil {
		return err
	}
	w := v.cmd.OutOrStdout()
	if v.json {
		return printJSON(w, a)
	}
	if a.Run == "" {
		fmt.Fprintf(w, "matching: %s, and no record to look at", plural(int(a.Matched), "sync"))
		if a.Reviewed > 0 {
			fmt.Fprintf(w, ": %d applied a reviewed plan, which hotsync sweep NAME --apply RUN does again", a.Reviewed)
		}
		_, err := fmt.Fprintln(w)
		return err
	}
	fmt.Fprintf(w, "%s: %s to be looked at", a.Run, plural(int(a.Scheduled), "record"))
	if a.Merged > 0 {
		fmt.Fprintf(w, ", %d more syncs of the same records", a.Merged)
	}
	if a.Planned > 0 {
		fmt.Fprintf(w, ", %d of them as the plans that they were, without writing", a.Planned)
	}
	if n := a.PassedOver - a.Reviewed; n > 0 {
		fmt.Fprintf(w, ", %d passed over (about no record)", n)
	}
	if a.Reviewed > 0 {
		fmt.Fprintf(w, ", %d passed over (part of applying a reviewed plan: hotsync sweep NAME --apply RUN does that again)", a.Reviewed)
	}
	if left := time.Until(a.Until); left > time.Second {
		fmt.Fprintf(w, "; the last one in %s", left.Round(time.Second))
	}
	_, err := fmt.Fprintln(w)
	return err
}

// preview says what would be done, and asks whether to go on.
func (v *replayVerb) preview(ask api.ReplayAsk) (going bool, err error) {
	var p api.ReplayPreview
	if err := v.client.post(v.cmd.Context(), "/api/replay/preview", ask, &p); err != nil {
		return false, err
	}
	if v.json && !isTerminal(v.cmd.InOrStdin()) {
		if err := printJSON(v.cmd.OutOrStdout(), p); err != nil {
			return false, err
		}
	}
	w := v.cmd.ErrOrStderr()
	fmt.Fprintf(w, "%s\n", v.matches(ask, p.Matches))
	if p.Refused != "" {
		return false, finding(errors.New(plain(p.Refused)))
	}
	if p.Matches == 0 {
		return false, nil
	}
	var rows [][]string
	for _, s := range p.Sample {
		was := s.Was + map[string]string{api.ReplayAsPlan: ", as a plan", api.ReplayPassedOver: ", passed over"}[s.As]
		rows = append(rows, []string{"", s.Key.String(), was, s.SyncID})
	}
	if err := table(w, "", rows); err != nil {
		return false, err
	}
	if more := p.Matches - int64(len(p.Sample)); more > 0 {
		fmt.Fprintf(w, "  … and %d more\n", more)
	}
	return true, agreed(v.cmd, "look at them again?")
}

func (v *replayVerb) matches(ask api.ReplayAsk, n int64) string {
	switch {
	case ask.NeverProcessed:
		return "never came to an end: " + plural(int(n), "trigger")
	case ask.Filter != nil:
		return "matching " + plain(ask.Filter.String()) + ": " + plural(int(n), "sync")
	}
	return "matching: " + plural(int(n), "sync")
}
