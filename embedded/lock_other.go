//go:build !unix

package embedded

import (
	"fmt"
	"os"
)

// tryLock refuses: without a lock that dies with its process, a data folder
// cannot be protected.
func tryLock(string) (*os.File, bool, error) {
	return nil, false, fmt.Errorf("%w: the embedded broker and engine run on linux and macOS; set kafka.brokers and clickhouse.addr", ErrUnsupported)
}
