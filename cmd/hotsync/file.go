package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"hotsync/daemon/config"
)

const defaultFile = "config.yaml"

// fileFlag adds -c to a verb and returns its value.
func fileFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("config", "c", defaultFile, "the configuration file")
}

// readFile reads a configuration with everything that is wrong with it.
func readFile(path string) (config.Config, []config.Problem, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; name the configuration with -c", err)
	}
	if err != nil {
		return config.Config{}, nil, environment(fmt.Errorf("read configuration: %w", err))
	}
	cfg, problems := config.Parse(path, data)
	return cfg, problems, nil
}

// counted says how many errors and warnings there are.
func counted(problems []config.Problem) string {
	errs := 0
	for _, p := range problems {
		if p.Severity == config.Error {
			errs++
		}
	}
	return fmt.Sprintf("%s, %s", plural(errs, "error"), plural(len(problems)-errs, "warning"))
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
