package embedded

import "errors"

// Reasons why the one-machine default cannot be had here. The errors that
// wrap them say what to install or to set.
var (
	// ErrUnsupported means that no ClickHouse engine library is pinned for
	// this operating system and processor.
	ErrUnsupported = errors.New("no embedded clickhouse engine for this platform")
	// ErrNoNPM means that the npm command, which fetches the engine library,
	// is not on the PATH.
	ErrNoNPM = errors.New("npm is not on the PATH")
	// ErrIntegrity means that what was fetched is not what was pinned.
	ErrIntegrity = errors.New("integrity mismatch")
	// ErrInUse means that another process holds a data folder or a port.
	ErrInUse = errors.New("in use by another process")
)

// insteadOfEngine ends every message about an engine that cannot be had: the
// ways out that need no library.
const insteadOfEngine = "install a clickhouse server binary on the PATH, or set clickhouse.addr to a running ClickHouse"
