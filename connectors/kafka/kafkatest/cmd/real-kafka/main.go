// Command real-kafka runs a command beside a real Apache Kafka, whose address it
// finds in HOTSYNC_TEST_KAFKA, and exits with the command's code.
//
//	go run ./connectors/kafka/kafkatest/cmd/real-kafka -- go test ./connectors/kafka/...
//
// Kafka is fetched once with Maven and needs Java 17. It is stopped when the
// command ends or this program is interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"hotsync/connectors/kafka/kafkatest"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitEnvironment = 3
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "real-kafka:", err)
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return exitUsage, errors.New("no command given: real-kafka -- COMMAND [ARG...]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	libs, err := kafkatest.Fetch(ctx)
	if err != nil {
		return exitEnvironment, err
	}
	server, err := kafkatest.Start(ctx, libs)
	if err != nil {
		return exitEnvironment, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	fmt.Fprintf(os.Stderr, "real-kafka: Apache Kafka %s at %s\n", kafkatest.Version, server.Addr)

	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), kafkatest.Env+"="+server.Addr)
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	}
	return exitFailed, fmt.Errorf("run %s: %w", args[0], err)
}
