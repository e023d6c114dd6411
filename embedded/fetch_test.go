package embedded_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"hotsync/embedded"
)

const platform = "linux/amd64"

// fakeNPM puts an npm on the PATH that "downloads" an archive with the given
// member, counts its runs, and does extra first. It returns the package that
// the archive makes, and how often npm ran.
func fakeNPM(t *testing.T, member, extra string) (embedded.Package, func() int) {
	t.Helper()
	dir := t.TempDir()
	content := bytes.Repeat([]byte("library "), 1000)
	var archive bytes.Buffer
	gz := gzip.NewWriter(&archive)
	files := tar.NewWriter(gz)
	err := errors.Join(
		files.WriteHeader(&tar.Header{Name: "package/package.json", Size: 2, Mode: 0o644}),
		second(files.Write([]byte("{}"))),
		files.WriteHeader(&tar.Header{Name: member, Size: int64(len(content)), Mode: 0o755}),
		second(files.Write(content)),
		files.Close(), gz.Close(),
		os.WriteFile(filepath.Join(dir, "archive"), archive.Bytes(), 0o600),
	)
	script := fmt.Sprintf(`#!/bin/sh
echo "$@" >> '%[1]s/runs'
%[2]s
while [ "$1" != --pack-destination ]; do shift; done
cat '%[1]s/archive' > "$2/package.tgz"
`, dir, extra)
	if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "npm"), []byte(script), 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	sum := sha512.Sum512(archive.Bytes())
	pkg := embedded.Package{
		Name: "@chdb/fake", Integrity: "sha512-" + base64.StdEncoding.EncodeToString(sum[:]),
		Packed: int64(archive.Len()), Unpacked: int64(len(content)),
	}
	return pkg, func() int {
		runs, _ := os.ReadFile(filepath.Join(dir, "runs"))
		for line := range strings.Lines(string(runs)) {
			if !strings.HasPrefix(line, "pack @chdb/fake@") || !strings.Contains(line, "--ignore-scripts") {
				t.Errorf("npm was run with %s", line)
			}
		}
		return bytes.Count(runs, []byte("\n"))
	}
}

func second(_ int, err error) error { return err }

func TestFetchOnce(t *testing.T) {
	pkg, runs := fakeNPM(t, "package/libchdb.so", "")
	cache := filepath.Join(t.TempDir(), "new", "cache")
	var reported int64
	progress := func(done, total int64) {
		if done > total || total != pkg.Packed {
			t.Errorf("progress %d of %d", done, total)
		}
		reported = done
	}
	path, err := embedded.FetchPackage(t.Context(), cache, platform, pkg, progress)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != pkg.Unpacked || path != embedded.LibraryPath(cache) {
		t.Errorf("%s: %v, %v", path, info, err)
	}
	if reported != pkg.Packed {
		t.Errorf("last progress %d, want %d", reported, pkg.Packed)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "fetch-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := embedded.FetchPackage(t.Context(), cache, platform, pkg, nil); err != nil || runs() != 1 {
		t.Errorf("second fetch: %v, npm ran %d times", err, runs())
	}
	// A file of another size is not the library.
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.FetchPackage(t.Context(), cache, platform, pkg, nil); err != nil || runs() != 2 {
		t.Errorf("fetch over a damaged file: %v, npm ran %d times", err, runs())
	}
}

func TestFetchTwiceAtOnce(t *testing.T) {
	pkg, runs := fakeNPM(t, "package/libchdb.so", "")
	cache := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := embedded.FetchPackage(t.Context(), cache, platform, pkg, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if runs() != 1 {
		t.Errorf("npm ran %d times, want 1", runs())
	}
}

func TestFetchErrors(t *testing.T) {
	tests := map[string]struct {
		member, extra string
		change        func(*embedded.Package)
		platform      string
		is            error
		says          []string
	}{
		"changed": {
			change: func(p *embedded.Package) { p.Integrity = "sha512-AAAA" },
			is:     embedded.ErrIntegrity, says: []string{"sha512-AAAA", "clickhouse.addr", "nothing was installed"},
		},
		"npm fails": {
			extra: "echo ENOTFOUND the registry >&2; exit 1",
			says:  []string{"ENOTFOUND", "exit status 1", "clickhouse.addr"},
		},
		"npm does nothing":  {extra: "exit 0", says: []string{"0 archives", "update npm"}},
		"other content":     {member: "package/other.so", says: []string{"archive has no package/libchdb.so"}},
		"no such platform":  {platform: "plan9/mips", change: func(p *embedded.Package) { p.Name = "" }, is: embedded.ErrUnsupported, says: []string{"plan9/mips", "clickhouse.addr"}},
		"nothing is pinned": {platform: "darwin/arm64", change: func(p *embedded.Package) { p.Name = "" }, is: embedded.ErrUnsupported, says: []string{"@chdb/lib-darwin-arm64", "libchdb.so", "PATH"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.member == "" {
				tt.member = "package/libchdb.so"
			}
			if tt.platform == "" {
				tt.platform = platform
			}
			pkg, _ := fakeNPM(t, tt.member, tt.extra)
			if tt.change != nil {
				tt.change(&pkg)
			}
			cache := t.TempDir()
			_, err := embedded.FetchPackage(t.Context(), cache, tt.platform, pkg, nil)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) {
				t.Fatalf("got %v, want %v", err, tt.is)
			}
			for _, word := range tt.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("error does not say %q: %v", word, err)
				}
			}
			if _, err := os.Stat(embedded.LibraryPath(cache)); err == nil {
				t.Error("a library was installed")
			}
		})
	}
}

func TestFetchWithoutNPM(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := embedded.FetchPackage(t.Context(), t.TempDir(), platform, embedded.Package{}, nil)
	if !errors.Is(err, embedded.ErrNoNPM) || !strings.Contains(err.Error(), "install Node.js") {
		t.Errorf("got %v", err)
	}
}

// On a platform for which nothing is pinned a person may bring the library.
func TestFetchTrustsAPerson(t *testing.T) {
	cache := t.TempDir()
	path := embedded.LibraryPath(cache)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if got, err := embedded.FetchPackage(t.Context(), cache, "darwin/arm64", embedded.Package{}, nil); err != nil || got != path {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFetchStopsWithItsContext(t *testing.T) {
	pkg, _ := fakeNPM(t, "package/libchdb.so", "echo started > \"$PWD/../started\"; exec sleep 600")
	cache := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("a person pressed Ctrl-C")
	ended := make(chan error, 1)
	go func() {
		_, err := embedded.FetchPackage(ctx, cache, platform, pkg, nil)
		ended <- err
	}()
	eventually(t, "npm runs", func() bool {
		_, err := os.Stat(filepath.Join(filepath.Dir(embedded.LibraryPath(cache)), "started"))
		return err == nil
	})
	cancel(stopped)
	if err := <-ended; !errors.Is(err, stopped) {
		t.Errorf("got %v", err)
	}
}

func TestDefaultCacheDir(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(embedded.CacheEnv, dir)
	if got, err := embedded.DefaultCacheDir(); got != dir || err != nil {
		t.Errorf("with %s: %q, %v", embedded.CacheEnv, got, err)
	}
	t.Setenv(embedded.CacheEnv, "")
	if got, err := embedded.DefaultCacheDir(); filepath.Base(got) != "hotsync" || err != nil {
		t.Errorf("without %s: %q, %v", embedded.CacheEnv, got, err)
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	if got, err := embedded.DefaultCacheDir(); runtime.GOOS == "linux" && (err == nil || !strings.Contains(err.Error(), embedded.CacheEnv)) {
		t.Errorf("without a home: %q, %v", got, err)
	}
}

// Somebody may take a port between its choice and its use.
func TestEngineChoosesPortsAgain(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	calls := 0
	e, err := embedded.StartClickHouseOn(t.Context(), embedded.EngineConfig{DataDir: t.TempDir()}, func(n int) ([]int, error) {
		ports, err := embedded.FreePorts(n)
		if calls++; calls <= 2 {
			ports[calls-1] = taken.Addr().(*net.TCPAddr).Port
		}
		return ports, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if calls != 3 {
		t.Errorf("chose ports %d times, want 3: native taken, HTTP taken, both free", calls)
	}
}
