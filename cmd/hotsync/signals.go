package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// withSignals returns a context that ends with the first SIGINT or SIGTERM. The
// second ends the process at once: somebody does not want to wait.
func withSignals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	got := make(chan os.Signal, 2)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM)
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
