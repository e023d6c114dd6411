package embedded

import (
	"fmt"
	"path/filepath"
)

// engineVersion is the release of the engine library that hotsync is tested
// with. It is ClickHouse 26.7.
const engineVersion = "26.7.3-stable.1"

// libraryName is the library's name in the package and in the cache.
const libraryName = "libchdb.so"

// enginePackage is the npm package with the library for one platform.
type enginePackage struct {
	name string
	// integrity is the package's sha512 as npm states it (dist.integrity).
	// Empty means that it could not be pinned, and then it is not fetched.
	integrity string
	packed    int64 // bytes to download
	unpacked  int64 // bytes of the library
}

// enginePackages are the platforms the library exists for, by GOOS/GOARCH. The
// names are the optional dependencies of the npm package chdb. Only what could
// be checked is pinned.
func enginePackages() map[string]enginePackage {
	return map[string]enginePackage{
		"linux/amd64": {
			name:      "@chdb/lib-linux-x64-gnu",
			integrity: "sha512-XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw==",
			packed:    177_817_999,
			unpacked:  566_330_096,
		},
		"linux/arm64":  {name: "@chdb/lib-linux-arm64-gnu"},
		"darwin/amd64": {name: "@chdb/lib-darwin-x64"},
		"darwin/arm64": {name: "@chdb/lib-darwin-arm64"},
	}
}

// libraryPath is where the library is kept under a cache folder.
func libraryPath(cache string) string { return filepath.Join(cache, engineVersion, libraryName) }

// unsupported explains what can be done on a platform without a pinned package.
func unsupported(platform string, pkg enginePackage, target string) error {
	if pkg.name == "" {
		return fmt.Errorf("%w (%s): %s", ErrUnsupported, platform, insteadOfEngine)
	}
	return fmt.Errorf("%w (%s): no integrity is pinned for %s@%s, so it is not fetched: %s; or put %s from that package at %s yourself",
		ErrUnsupported, platform, pkg.name, engineVersion, insteadOfEngine, libraryName, target)
}
