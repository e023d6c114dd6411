package clickhouse

import (
	"fmt"
	"strconv"
	"strings"
)

// pending is the journal entry of a batch that is about to be inserted. It is
// committed as the metadata of the group's offset, together with the offset
// that the batch begins at, so it survives the process, needs no store of its
// own and can be written only by whoever owns the partition (peers.md 3).
type pending struct {
	first, last int64 // offsets, both included
	rows        int
	hash        string
}

// String is the metadata: v1 pending first-last rows sha256:….
func (p pending) String() string {
	return fmt.Sprintf("v1 pending %d-%d %d %s", p.first, p.last, p.rows, p.hash)
}

// parsePending reads what String wrote. It reports false for metadata that is
// not a journal entry of this version.
func parsePending(metadata string) (pending, bool) {
	f := strings.Fields(metadata)
	if len(f) != 5 || f[0] != "v1" || f[1] != "pending" || !strings.HasPrefix(f[4], "sha256:") {
		return pending{}, false
	}
	from, to, ok := strings.Cut(f[2], "-")
	if !ok {
		return pending{}, false
	}
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	rows, err3 := strconv.Atoi(f[3])
	if err1 != nil || err2 != nil || err3 != nil || first < 0 || last < first || rows < 0 {
		return pending{}, false
	}
	return pending{first, last, rows, f[4]}, true
}
