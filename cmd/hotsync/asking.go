package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// isTerminal reports whether a person is at the other end.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// agreed asks a person whether to go on. Without one it is a finding that nobody
// has agreed.
func agreed(cmd *cobra.Command, question string) error {
	if !isTerminal(cmd.InOrStdin()) || !isTerminal(cmd.ErrOrStderr()) {
		return finding(fmt.Errorf("nothing was done: there is no terminal to ask at; say --yes to go on"))
	}
	return answered(cmd.InOrStdin(), cmd.ErrOrStderr(), question)
}

func answered(in io.Reader, out io.Writer, question string) error {
	fmt.Fprint(out, question+" [y/N] ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && line == "" {
		fmt.Fprintln(out)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return finding(fmt.Errorf("nothing was done"))
}

// moment is a flag that takes a time: 2027-01-05T10:00:00Z, 2027-01-05, or how
// long ago: 24h.
type moment struct {
	at  time.Time
	now func() time.Time
}

// String, Set and Type implement pflag.Value.
func (m *moment) String() string {
	if m.at.IsZero() {
		return ""
	}
	return m.at.Format(time.RFC3339)
}

// Set takes a time.
func (m *moment) Set(s string) error {
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		m.at = m.now().Add(-ago)
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			m.at = t
			return nil
		}
	}
	return fmt.Errorf("want a time such as 2027-01-05T10:00:00Z or 2027-01-05, or how long ago, such as 24h or 90m")
}

// Type names the kind of value in the help.
func (m *moment) Type() string { return "time" }

// momentFlag adds a time to a verb.
func momentFlag(cmd *cobra.Command, name, help string) *moment {
	m := &moment{now: time.Now}
	cmd.Flags().Var(m, name, help)
	return m
}

// table prints rows in columns, those under a header with a dash where there is
// nothing.
func table(w io.Writer, header string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if header != "" {
		fmt.Fprintln(t, strings.ReplaceAll(header, " ", "\t"))
	}
	for _, row := range rows {
		for i := range row {
			if row[i] = oneLine(row[i]); row[i] == "" && header != "" {
				row[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// printJSON prints one value on a line.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// clock is a time in a table, in UTC.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// clipped bounds a text in a table.
func clipped(s string, most int) string {
	if r := []rune(oneLine(s)); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return oneLine(s)
}
