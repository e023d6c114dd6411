package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hotsync/daemon/config"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Check and show config.yaml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(configCheckCommand(), configPrintCommand(), configSchemaCommand())
	return cmd
}

func configCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Report everything that is wrong with the configuration",
		Long: `Report everything that is wrong with the configuration, one line each:
file:line:column: key: what is wrong; what to do.

Exit code 2 means that the file has mistakes, 3 that it is right but a secret or
a file that it refers to cannot be had.`,
		Args: cobra.NoArgs,
	}
	file, output := fileFlag(cmd), outputFlag(cmd, "text", "json")
	noSecrets := cmd.Flags().Bool("no-secrets", false, "do not look whether secrets can be had, for checks elsewhere than where it runs")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, problems, err := readFile(*file)
		if err != nil {
			return err
		}
		var missing []string
		if !*noSecrets {
			if err := cfg.Secrets(); err != nil {
				missing = strings.Split(err.Error(), "\n")
			}
		}
		if err := printCheck(cmd, output.value, *file, problems, missing); err != nil {
			return err
		}
		switch {
		case config.Wrong(problems):
			return &exit{code: exitFinding}
		case len(missing) > 0:
			return &exit{code: exitEnvironment}
		}
		return nil
	}
	return cmd
}

func printCheck(cmd *cobra.Command, output, file string, problems []config.Problem, missing []string) error {
	out := cmd.OutOrStdout()
	if output == "json" {
		return json.NewEncoder(out).Encode(struct {
			File     string           `json:"file"`
			Problems []config.Problem `json:"problems"`
			Missing  []string         `json:"missing"` // secrets and files
		}{file, append([]config.Problem{}, problems...), append([]string{}, missing...)})
	}
	for _, p := range problems {
		fmt.Fprintln(out, p)
	}
	for _, m := range missing {
		fmt.Fprintf(out, "%s: %s\n", file, m)
	}
	verdict := "fine"
	if len(problems) > 0 {
		verdict = counted(problems)
	}
	if len(missing) > 0 {
		verdict += fmt.Sprintf(", %d missing around it", len(missing))
	}
	_, err := fmt.Fprintf(out, "%s: %s\n", file, verdict)
	return err
}

func configPrintCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "print", Short: "Print the configuration in effect, with defaults and without secrets", Args: cobra.NoArgs,
	}
	file, output := fileFlag(cmd), outputFlag(cmd, "yaml", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, problems, err := readFile(*file)
		if err != nil {
			return err
		}
		marshal := cfg.YAML
		if output.value == "json" {
			marshal = cfg.JSON
		}
		text, err := marshal()
		if err != nil {
			return err
		}
		if _, err := cmd.OutOrStdout().Write(text); err != nil {
			return err
		}
		return refuse(cmd, *file, problems)
	}
	return cmd
}

// refuse prints the problems on stderr and returns an error if one is an error.
func refuse(cmd *cobra.Command, file string, problems []config.Problem) error {
	for _, p := range problems {
		fmt.Fprintln(cmd.ErrOrStderr(), p)
	}
	if config.Wrong(problems) {
		return finding(fmt.Errorf("%s: %s", file, counted(problems)))
	}
	return nil
}

func configSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON schema of config.yaml, for editors", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}
