package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"hotsync/api"
)

func deadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "See and deal with what hotsync gave up on",
		Long: `Dead letters are messages that could not be read and syncs that were given up.
They are never deleted: one that was replayed or discarded says who did it, when
and why.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(deadListCommand(), deadShowCommand(), deadReplayCommand(), deadDiscardCommand())
	return cmd
}

// deadFilterFlags adds the filters of dead letters to a verb.
func deadFilterFlags(cmd *cobra.Command) func() api.DeadFilter {
	var f api.DeadFilter
	list := cmd.Flags().StringArrayVar
	list(&f.Reason, "reason", nil, "given up for this reason, such as bad_token or exhausted (may be repeated, as the others)")
	list(&f.Class, "class", nil, "with this class of error, such as forbidden")
	list(&f.Cause, "cause", nil, "asked for by login, stripe, sweep, …")
	list(&f.Topic, "topic", nil, "from this topic")
	list(&f.Key, "key", nil, "of these keys")
	cmd.Flags().StringVar(&f.Text, "text", "", "with this text in the key or the error")
	since := momentFlag(cmd, "since", "failed last then or later: a time, or how long ago, such as 24h")
	until := momentFlag(cmd, "until", "failed last before then")
	return func() api.DeadFilter {
		f.Since, f.Until = since.at, until.at
		return f
	}
}

func deadListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "List dead letters, open ones unless --state says otherwise", Args: cobra.NoArgs}
	addr, output := addrFlag(cmd), outputFlag(cmd, "table", "json")
	filter := deadFilterFlags(cmd)
	states := cmd.Flags().StringArray("state", nil, "open, replayed, discarded or all")
	limit := cmd.Flags().Int("limit", 100, "how many to list at most")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *limit < 1 {
			return usage(errors.New("--limit: want 1 or more"))
		}
		c, err := newClient(*addr)
		if err != nil {
			return err
		}
		f := filter()
		f.State = *states
		all, err := deadLetters(cmd, c, f, *limit)
		if err != nil {
			return err
		}
		if output.value == "json" {
			return printJSON(cmd.OutOrStdout(), all)
		}
		var rows [][]string
		for _, l := range all.Letters {
			rows = append(rows, []string{l.ID, l.State, clock(l.Last), l.Key, string(l.Reason), strconv.Itoa(l.Attempts), clipped(l.Error, 80)})
		}
		if len(rows) > 0 {
			if err := table(cmd.OutOrStdout(), "ID STATE LAST KEY REASON ATTEMPTS ERROR", rows); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%d of %s\n", len(rows), plural(int(all.Count), "dead letter"))
		return err
	}
	return cmd
}

// deadLetters reads pages of dead letters.
func deadLetters(cmd *cobra.Command, c *client, f api.DeadFilter, limit int) (api.DeadPage, error) {
	out := api.DeadPage{Letters: []api.DeadLetter{}}
	query := f.Query()
	for {
		query.Set("limit", strconv.Itoa(min(1000, limit-len(out.Letters))))
		var page api.DeadPage
		if err := c.get(cmd.Context(), "/api/dead", query, &page); err != nil {
			return out, err
		}
		out.Letters, out.Count, out.Next = append(out.Letters, page.Letters...), page.Count, page.Next
		if page.Next == "" || len(out.Letters) >= limit {
			return out, nil
		}
		query.Set("after", page.Next)
	}
}

func deadShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show a dead letter with everything that was kept of it", Args: cobra.ExactArgs(1)}
	addr, output := addrFlag(cmd), outputFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(*addr)
		if err != nil {
			return err
		}
		var l api.DeadLetter
		if err := c.get(cmd.Context(), "/api/dead/"+url.PathEscape(args[0]), nil, &l); err != nil {
			return err
		}
		if output.value == "json" {
			return printJSON(cmd.OutOrStdout(), l)
		}
		return showLetter(cmd, l)
	}
	return cmd
}

func showLetter(cmd *cobra.Command, l api.DeadLetter) error {
	w := cmd.OutOrStdout()
	rows := [][]string{{"id", l.ID}, {"state", l.State}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("by", l.By)
	add("why", l.Why)
	add("at", clock(l.At))
	add("key", l.Key)
	add("reason", string(l.Reason))
	add("error class", l.Class)
	add("error", l.Error)
	add("attempts", strconv.Itoa(l.Attempts))
	add("first failure", clock(l.First))
	add("last failure", clock(l.Last))
	add("came from", l.Source.String())
	add("sync", l.SyncID)
	add("cause", string(l.Cause))
	if l.Letter != nil {
		add("letter", l.Letter.String())
	}
	add("no replay", l.Refusal)
	add("missing", l.Missing)
	for _, name := range slices.Sorted(maps.Keys(l.Headers)) {
		add("header "+name, l.Headers[name])
	}
	if err := table(w, "", rows); err != nil {
		return err
	}
	if l.Trigger != nil {
		fmt.Fprint(w, "\ntrigger:\n")
		if err := printJSON(w, l.Trigger); err != nil {
			return err
		}
	}
	if len(l.Original) > 0 {
		fmt.Fprintf(w, "\n%s, as they came:\n%s\n", plural(len(l.Original), "byte"), original(l.Original))
	}
	return nil
}

// original is the bytes of a message for a terminal: text, or base64.
func original(b []byte) string {
	if utf8.Valid(b) {
		return plain(string(b))
	}
	return base64.StdEncoding.EncodeToString(b)
}

func deadReplayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay [ID…]",
		Short: "Try dead letters again",
		Long: `Try dead letters again: those named, or the open ones that match the filters.
Work that was given up is looked at again, as a new sync; a message that could not
be read is produced again to the topic that it came from.

Without --yes it says how many match and asks, or does nothing where there is
nobody to ask (exit code 2). Exit code 2 also means that some cannot be replayed.`,
	}
	return deadVerb(cmd, "replay", "replayed", "try them again?")
}

func deadDiscardCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "discard [ID…]",
		Short: "Give dead letters up for good",
		Long: `Mark dead letters as discarded: those named, or the open ones that match the
filters. They are kept, with who discarded them and why.

Without --yes it says how many match and asks, or does nothing where there is
nobody to ask (exit code 2).`,
	}
	return deadVerb(cmd, "discard", "discarded", "discard them?")
}

// deadVerb completes a verb that deals with dead letters.
func deadVerb(cmd *cobra.Command, verb, done, question string) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	addr, output := addrFlag(cmd), outputFlag(cmd, "table", "json")
	filter := deadFilterFlags(cmd)
	all := cmd.Flags().Bool("all", false, "all that are open")
	yes := cmd.Flags().BoolP("yes", "y", false, "do not ask")
	ask := api.DeadAsk{PerSecond: 20}
	cmd.Flags().Int64Var(&ask.Cap, "cap", 1000, "do nothing when more match")
	cmd.Flags().StringVar(&ask.Why, "why", "", "the reason, for the log")
	if verb == "replay" {
		cmd.Flags().IntVar(&ask.PerSecond, "rate", 20, "how many records are looked at per second")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f := filter()
		filters := !reflect.ValueOf(f).IsZero()
		switch {
		case verb == "discard" && ask.Why == "":
			return usage(errors.New("say with --why for what reason they are given up; it is recorded"))
		case len(args) == 0 && !filters && !*all:
			return usage(errors.New("say which: ids of dead letters, filters, or --all"))
		case len(args) > 0 && (filters || *all):
			return usage(errors.New("ids of dead letters and filters exclude each other"))
		}
		ask.By, ask.IDs = whoAsks(), args
		if len(args) == 0 {
			ask.Filter = &f
		}
		c, err := newClient(*addr)
		if err != nil {
			return err
		}
		if !*yes {
			if going, err := deadPreview(cmd, c, ask, question); err != nil || !going {
				return err
			}
		}
		var a api.DeadAnswer
		if err := c.post(cmd.Context(), "/api/dead/"+verb, ask, &a); err != nil {
			return err
		}
		return printDead(cmd, a, done, output.value == "json")
	}
	return cmd
}

// deadPreview says how many letters are meant, and asks whether to go on.
func deadPreview(cmd *cobra.Command, c *client, ask api.DeadAsk, question string) (going bool, err error) {
	w := cmd.ErrOrStderr()
	f := api.DeadFilter{ID: ask.IDs, State: []string{api.AllStates}}
	if ask.Filter != nil {
		f = *ask.Filter
	}
	const sample = 10
	page, err := deadLetters(cmd, c, f, sample)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(w, "matching: %s\n", plural(int(page.Count), "dead letter"))
	if page.Count == 0 {
		if len(ask.IDs) > 0 {
			return false, finding(fmt.Errorf("there is no dead letter %s", ask.IDs[0]))
		}
		return false, nil
	}
	if page.Count > ask.Cap {
		return false, finding(fmt.Errorf("that is more than --cap %d; narrow the filters or raise it", ask.Cap))
	}
	var rows [][]string
	for _, l := range page.Letters {
		rows = append(rows, []string{"", l.ID, l.State, l.Key, string(l.Reason), clipped(l.Error, 60)})
	}
	if err := table(w, "", rows); err != nil {
		return false, err
	}
	if more := page.Count - int64(len(page.Letters)); more > 0 {
		fmt.Fprintf(w, "  … and %d more\n", more)
	}
	return true, agreed(cmd, question)
}

func printDead(cmd *cobra.Command, a api.DeadAnswer, done string, asJSON bool) error {
	w := cmd.OutOrStdout()
	if asJSON {
		if err := printJSON(w, a); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(w, "%s %s", plural(int(a.Done), "dead letter"), done)
		if a.Already > 0 {
			fmt.Fprintf(w, ", %d had been dealt with before", a.Already)
		}
		if a.Run != "" {
			fmt.Fprintf(w, "; %s", a.Run)
		}
		fmt.Fprintln(w)
		for _, r := range a.Refused {
			fmt.Fprintf(w, "%s: %s\n", r.ID, plain(r.Why))
		}
	}
	if n := len(a.Refused); n > 0 {
		return finding(fmt.Errorf("%s cannot be replayed", plural(n, "dead letter")))
	}
	return nil
}
