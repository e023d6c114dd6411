package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"hotsync/daemon/config"
	"hotsync/embedded"
)

func setupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Fetch the embedded ClickHouse engine",
		Long: `Fetch the embedded ClickHouse engine (178 MB, 566 MB unpacked) into
embedded.cache_dir, so that run and demo start at once and without a network. It
is fetched with npm and checked against a pinned sha512. Nothing is done when it
is there already.`,
		Args: cobra.NoArgs,
	}
	file := fileFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		dir, err := cacheDir(*file, cmd.Flags().Changed("config"))
		if err != nil {
			return err
		}
		progress, finish := showProgress(cmd.Context(), cmd.ErrOrStderr())
		path, err := embedded.Fetch(cmd.Context(), embedded.FetchConfig{CacheDir: dir, Progress: progress})
		finish(err == nil)
		if err != nil {
			return environment(err)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), path)
		return err
	}
	return cmd
}

// cacheDir is embedded.cache_dir of the file. Nothing else in it matters here,
// and there may be no file yet.
func cacheDir(file string, asked bool) (string, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !asked {
		return "", nil
	}
	if err != nil {
		return "", environment(fmt.Errorf("read configuration: %w", err))
	}
	cfg, _ := config.Parse(file, data)
	return cfg.Embedded.CacheDir, nil
}

// showProgress returns what Fetch reports to and what to call at its end: a bar
// on a terminal, else a line for every tenth.
func showProgress(ctx context.Context, w io.Writer) (progress func(done, total int64), finish func(ok bool)) {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		next := int64(0)
		return func(done, total int64) {
			if total > 0 && done*10/total >= next {
				next = done*10/total + 1
				fmt.Fprintf(w, "fetching the clickhouse engine: %d of %d MB\n", done/1e6, total/1e6)
			}
		}, func(bool) {}
	}
	bars := mpb.NewWithContext(ctx, mpb.WithOutput(w), mpb.WithWidth(60))
	var bar *mpb.Bar // nothing is shown when nothing is fetched
	return func(done, total int64) {
			if bar == nil {
				bar = bars.AddBar(total,
					mpb.PrependDecorators(decor.Name("clickhouse engine "), decor.CountersKibiByte("% .1f / % .1f")),
					mpb.AppendDecorators(decor.Percentage(), decor.Name(" "), decor.AverageETA(decor.ET_STYLE_GO)),
				)
			}
			bar.SetCurrent(done)
		}, func(ok bool) {
			if bar != nil && !ok {
				bar.Abort(false)
			}
			bars.Wait()
		}
}
