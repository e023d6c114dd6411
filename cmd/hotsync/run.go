package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"hotsync/daemon"
	"hotsync/daemon/config"
)

func runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: `Run the daemon until SIGINT or SIGTERM; a second signal ends it at once.

Where kafka.brokers or clickhouse.addr is empty it runs a broker or a ClickHouse
engine of its own on this machine, with its data in embedded.data_dir.`,
		Args: cobra.NoArgs,
	}
	file := fileFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, problems, err := readFile(*file)
		if err != nil {
			return err
		}
		if config.Wrong(problems) {
			return refuse(cmd, *file, problems)
		}
		if err := cfg.Secrets(); err != nil {
			return environment(fmt.Errorf("%s: %w", *file, err))
		}
		log := newLog(cmd.ErrOrStderr(), cfg.Log.Level)
		for _, p := range problems {
			log.Warn().Str("config", p.Path).Int("line", p.Line).Msg(p.Text)
		}
		return runDaemon(cmd.Context(), cfg, log)
	}
	return cmd
}

// newLog returns the daemon's log: JSON lines.
func newLog(w io.Writer, level string) zerolog.Logger {
	l, err := zerolog.ParseLevel(level)
	if err != nil {
		l = zerolog.InfoLevel // config.Parse lets no other word through
	}
	return zerolog.New(w).Level(l).With().Timestamp().Logger()
}

// runDaemon starts what the configuration leaves to this machine, runs the
// daemon and stops the engines last. The ctx that ends is no error.
func runDaemon(ctx context.Context, cfg config.Config, log zerolog.Logger) (err error) {
	stop, err := startEngines(ctx, &cfg, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return environment(err)
	}
	defer func() {
		// ctx has ended by now; the engines bound their own stopping.
		err = errors.Join(err, stop(context.WithoutCancel(ctx)))
	}()
	d, err := daemon.New(cfg, daemon.Options{Log: log, Now: time.Now, Instance: instance(), Build: buildVersion()})
	if err != nil {
		return environment(fmt.Errorf("start: %w", err))
	}
	if err := d.Run(ctx); err != nil {
		return environmentOr(fmt.Errorf("run: %w", err))
	}
	return nil
}

// instance names this process among those that share the work.
func instance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "hotsync"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}
