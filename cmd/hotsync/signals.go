package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// withSignals returns a context that ends with the first SIGINT, SIGTERM, or
// SIGHUP of a terminal that goes away, unless nohup has that one ignored. The
// second ends the process at once: somebody does not want to wait.
func withSignals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	got := make(chan os.Signal, 2)
	stops := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		stops = append(stops, syscall.SIGHUP)
	}
	signal.Notify(got, stops...)
	go func() {
		select {
		case <-got:
			cancel()
		case <-ctx.Done():
			return
		}
		<-got
		os.Exit(exitKilled)
	}()
	return ctx, func() {
		signal.Stop(got)
		cancel()
	}
}
