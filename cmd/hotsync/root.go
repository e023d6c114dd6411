package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"hotsync/connectors/kafka"
	"hotsync/embedded"
)

// The exit codes.
const (
	exitFine        = 0
	exitFailed      = 1   // it went wrong while it ran
	exitFinding     = 2   // something was found to be wrong, or the command was
	exitEnvironment = 3   // a file, port, secret, program or server is missing
	exitKilled      = 130 // a second signal
)

// exit is an error with the code that the process ends with. A nil err means
// that everything has been said.
type exit struct {
	code int
	err  error
}

// Error implements error.
func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap returns the error that has the code.
func (e *exit) Unwrap() error { return e.err }

// usage marks an error of the command line.
func usage(err error) error {
	return &exit{exitFinding, fmt.Errorf("%w; hotsync --help lists what there is", err)}
}

// finding marks what a verb was asked to find.
func finding(err error) error { return &exit{exitFinding, err} }

// environment marks what is missing around the process.
func environment(err error) error { return &exit{exitEnvironment, err} }

// environmentOr tells what could not be found around the process from what went
// wrong inside it.
func environmentOr(err error) error {
	var network net.Error
	var shape *kafka.ShapeError
	for _, missing := range []error{embedded.ErrInUse, embedded.ErrIntegrity, embedded.ErrNoNPM, embedded.ErrUnsupported, fs.ErrPermission, syscall.ENOSPC} {
		if errors.Is(err, missing) {
			return environment(err)
		}
	}
	if errors.As(err, &network) || errors.As(err, &shape) {
		return environment(err)
	}
	return err
}

// execute runs one command line and returns the exit code. What went wrong
// stands on stderr.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	understood := false
	root := &cobra.Command{
		Use:               "hotsync",
		Short:             "Keep Limio in step with Zuora and Stripe",
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRun:  func(*cobra.Command, []string) { understood = true },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.AddCommand(runCommand(), sweepCommand(), replayCommand(), deadCommand(), demoCommand(), setupCommand(), configCommand(), versionCommand())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitFine
	}
	var e *exit
	switch {
	case errors.As(err, &e):
		if e.err != nil {
			fmt.Fprintln(stderr, "hotsync:", e.err)
		}
		return e.code
	case !understood:
		fmt.Fprintln(stderr, "hotsync:", usage(err))
		return exitFinding
	}
	fmt.Fprintln(stderr, "hotsync:", err)
	return exitFailed
}

// outputFlag adds -o to a verb and returns its value. Only the words given are
// taken.
func outputFlag(cmd *cobra.Command, words ...string) *word {
	o := &word{value: words[0], allowed: words}
	cmd.Flags().VarP(o, "output", "o", "how to print the answer: "+words[0]+" or json")
	return o
}

// word is a flag that takes one of some words.
type word struct {
	value   string
	allowed []string
}

// String, Set and Type implement pflag.Value.
func (w *word) String() string { return w.value }

// Set takes a word.
func (w *word) Set(s string) error {
	if slices.Contains(w.allowed, s) {
		w.value = s
		return nil
	}
	return fmt.Errorf("want one of %v", w.allowed)
}

// Type names the kind of value in the help.
func (w *word) Type() string { return "format" }
