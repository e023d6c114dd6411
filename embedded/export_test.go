package embedded

import (
	"context"
	"time"
)

// Housekeep runs the housekeeper on a broker's data folder.
func Housekeep(dir string, now time.Time, above int64) error {
	return housekeeperOf(dir, func() time.Time { return now }, above).run()
}

// CompactOnly does the first half of a compaction, as a kill before the second
// half would leave it.
func CompactOnly(dir string) error {
	h := housekeeperOf(dir, time.Now, 0)
	topics, err := h.topics()
	if err != nil {
		return err
	}
	return h.compact(topics)
}

// Package is a stand-in for the engine's npm package.
type Package struct {
	Name, Integrity  string
	Packed, Unpacked int64
}

// FetchPackage fetches the stand-in for a platform.
func FetchPackage(ctx context.Context, cache, platform string, p Package, progress func(done, total int64)) (string, error) {
	f := fetcher{cache: cache, platform: platform, packages: enginePackages(), progress: progress}
	if p.Name != "" {
		f.packages[platform] = enginePackage{name: p.Name, integrity: p.Integrity, packed: p.Packed, unpacked: p.Unpacked}
	}
	return f.fetch(ctx)
}

// LibraryPath is where the library is in a cache folder.
var LibraryPath = libraryPath

// StartClickHouseOn is StartClickHouse with another idea of what is free.
func StartClickHouseOn(ctx context.Context, cfg EngineConfig, free func(n int) ([]int, error)) (*Engine, error) {
	e, err := prepareEngine(ctx, cfg)
	if err != nil {
		return nil, err
	}
	e.free = free
	if err := e.startOnFreePorts(ctx); err != nil {
		_ = e.lock.Close()
		return nil, err
	}
	return e, nil
}

// FreePorts finds ports that nobody listens on.
var FreePorts = freePorts
