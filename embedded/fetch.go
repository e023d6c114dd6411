package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// CacheEnv names the environment variable that overrides the cache folder.
const CacheEnv = "HOTSYNC_CACHE"

// DefaultCacheDir is the folder in HOTSYNC_CACHE, or hotsync in the user's
// cache folder.
func DefaultCacheDir() (string, error) {
	if dir := os.Getenv(CacheEnv); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache folder: %w: set %s to a folder to keep the engine library in", err, CacheEnv)
	}
	return filepath.Join(dir, "hotsync"), nil
}

// FetchConfig says where to and how to report.
type FetchConfig struct {
	// CacheDir is kept between runs; empty means DefaultCacheDir.
	CacheDir string
	// Progress is told bytes downloaded of bytes in all, from one goroutine at
	// a time; nil is not told. It is not called when nothing is downloaded.
	Progress func(done, total int64)
}

// Fetch makes sure that the engine library is in the cache and returns its
// path. The npm command downloads it once (178 MB, 566 MB unpacked); two
// processes at once download it once. It is checked against a pinned sha512
// before it is unpacked, and appears in the cache whole or not at all.
//
// Errors are ErrNoNPM, ErrIntegrity, ErrUnsupported, or what npm said.
func Fetch(ctx context.Context, cfg FetchConfig) (string, error) {
	if cfg.CacheDir == "" {
		dir, err := DefaultCacheDir()
		if err != nil {
			return "", fmt.Errorf("fetch clickhouse engine: %w", err)
		}
		cfg.CacheDir = dir
	}
	f := fetcher{
		cache:    cfg.CacheDir,
		platform: runtime.GOOS + "/" + runtime.GOARCH,
		packages: enginePackages(),
		progress: cfg.Progress,
	}
	path, err := f.fetch(ctx)
	if err != nil {
		return "", fmt.Errorf("fetch clickhouse engine: %w", err)
	}
	return path, nil
}

type fetcher struct {
	cache    string
	platform string
	packages map[string]enginePackage
	progress func(done, total int64)
}

func (f fetcher) fetch(ctx context.Context) (string, error) {
	pkg, target := f.packages[f.platform], libraryPath(f.cache)
	if f.cached(pkg, target) {
		return target, nil
	}
	if pkg.integrity == "" {
		return "", unsupported(f.platform, pkg, target)
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("%w: install Node.js, which brings npm; or %s", ErrNoNPM, insteadOfEngine)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return "", fmt.Errorf("create cache folder: %w: set %s to a folder that can be written", err, CacheEnv)
	}
	lock, err := waitLock(ctx, target+".lock")
	if err != nil {
		return "", fmt.Errorf("wait for another download: %w", err)
	}
	defer lock.Close()
	if f.cached(pkg, target) {
		return target, nil // somebody else did it while we waited
	}
	if err := f.download(ctx, npm, pkg, target); err != nil {
		return "", err
	}
	return target, nil
}

// cached reports whether the library is there, whole. Without a known size the
// file was put there by a person, who is trusted.
func (f fetcher) cached(pkg enginePackage, target string) bool {
	info, err := os.Stat(target)
	return err == nil && info.Mode().IsRegular() && (pkg.unpacked == 0 || info.Size() == pkg.unpacked)
}

func (f fetcher) download(ctx context.Context, npm string, pkg enginePackage, target string) error {
	// Beside the target, since a rename does not cross disks.
	tmp, err := os.MkdirTemp(filepath.Dir(target), "fetch-")
	if err != nil {
		return fmt.Errorf("create download folder: %w", err)
	}
	defer os.RemoveAll(tmp)
	archive, err := f.pack(ctx, npm, pkg, tmp)
	if err != nil {
		return err
	}
	if err := checkIntegrity(archive, pkg.integrity); err != nil {
		return fmt.Errorf("%s@%s: %w: nothing was installed; look for a proxy or a mirror that changes packages, or %s", pkg.name, engineVersion, err, insteadOfEngine)
	}
	unpacked := filepath.Join(tmp, libraryName)
	if err := unpackOne(ctx, archive, "package/"+libraryName, unpacked); err != nil {
		return fmt.Errorf("unpack %s: %w", pkg.name, err)
	}
	if err := os.Rename(unpacked, target); err != nil {
		return fmt.Errorf("put the library in place: %w", err)
	}
	f.report(pkg.packed, pkg.packed)
	return nil
}

// pack has npm download the package into dir and returns the archive's path.
func (f fetcher) pack(ctx context.Context, npm string, pkg enginePackage, dir string) (string, error) {
	// A cache of its own shows the progress and leaves no second copy behind.
	cmd := exec.CommandContext(ctx, npm, "pack", pkg.name+"@"+engineVersion,
		"--ignore-scripts", "--no-update-notifier", "--no-fund", "--no-audit", "--loglevel=error",
		"--cache", filepath.Join(dir, "npm"), "--pack-destination", dir)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.WaitDelay = 2 * time.Second
	watched := f.watch(dir, pkg.packed)
	err := cmd.Run()
	watched()
	if ctx.Err() != nil {
		return "", fmt.Errorf("npm pack %s: %w", pkg.name, context.Cause(ctx))
	}
	if err != nil {
		return "", fmt.Errorf("npm pack %s@%s: %w: %s: check that npm can reach its registry, or %s",
			pkg.name, engineVersion, err, strings.TrimSpace(stderr.String()), insteadOfEngine)
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return "", fmt.Errorf("npm pack %s@%s left %d archives, want 1: update npm to version 7 or later", pkg.name, engineVersion, len(archives))
	}
	return archives[0], nil
}

const progressEvery = 200 * time.Millisecond

// watch reports the size of dir as progress until the returned function is
// called; after that it reports nothing more.
func (f fetcher) watch(dir string, total int64) (stop func()) {
	if f.progress == nil {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			f.report(min(largestFile(dir), total), total)
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(quit); <-done }
}

func (f fetcher) report(done, total int64) {
	if f.progress != nil {
		f.progress(done, total)
	}
}

// largestFile is the size of the largest file under dir: of the download,
// wherever npm puts it before it is complete.
func largestFile(dir string) int64 {
	var largest int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // npm moves files about while we look
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			largest = max(largest, info.Size())
		}
		return nil
	})
	return largest
}

// FindServer looks for a clickhouse binary on the PATH that is new enough to
// serve instead of the library, for EngineConfig.Binary. It returns "" when
// there is none, and an error that names the version when it is too old.
func FindServer(ctx context.Context) (string, error) {
	path, err := exec.LookPath("clickhouse")
	if errors.Is(err, exec.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for clickhouse on the PATH: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "server", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	if err := serverVersionOK(string(out)); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return path, nil
}
