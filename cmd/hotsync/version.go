package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// facts are what is known about this build.
type facts struct {
	Build    string `json:"build"` // the version that git tells, or dev
	Commit   string `json:"commit,omitempty"`
	Time     string `json:"time,omitempty"` // of the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() facts {
	v := facts{Build: "dev", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Time = s.Value
		}
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Build = info.Main.Version
	}
	return v
}

// buildVersion names this build in events and logs.
func buildVersion() string { return thisBuild().Build }

func versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Say which build this is", Args: cobra.NoArgs}
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := thisBuild()
		if output.value == "json" {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "hotsync %s (%s, %s)\n", v.Build, v.Go, v.Platform)
		return err
	}
	return cmd
}
