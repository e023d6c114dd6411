// Command hotsync keeps Limio in step with Zuora and Stripe. It is a thin shell:
// a verb is a file, which reads flags, builds the parts and runs them.
//
// It promises exit codes that scripts can act on: 0 fine, 1 failed, 2 a finding
// or bad usage, 3 something is missing around it, 130 killed by a second signal.
package main

import (
	"context"
	"fmt"
	"os"
	"time"
	_ "time/tzdata" // zuora.time_zone works in an image without time zones

	"github.com/rs/zerolog"

	"hotsync/embedded"
)

func main() {
	zerolog.TimeFieldFormat = time.RFC3339Nano
	if embedded.IsEngine(os.Args) { // the hidden child of run and demo
		if err := embedded.EngineMain(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitFailed)
		}
		return
	}
	ctx, stop := withSignals(context.Background())
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
