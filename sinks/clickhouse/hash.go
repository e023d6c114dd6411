package clickhouse

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"maps"
	"slices"
)

// rowHash hashes rows, so that a batch that is built again can be told from one
// that differs.
type rowHash struct {
	h   hash.Hash
	buf []byte
}

func newRowHash() *rowHash { return &rowHash{h: sha256.New(), buf: make([]byte, 0, 32<<10)} }

// room makes sure that a number fits into the buffer.
func (r *rowHash) room() {
	if len(r.buf) > cap(r.buf)-2*binary.MaxVarintLen64 {
		_, _ = r.h.Write(r.buf) // a hash never fails
		r.buf = r.buf[:0]
	}
}

func (r *rowHash) number(v int64) {
	r.room()
	r.buf = binary.AppendVarint(r.buf, v)
}

func (r *rowHash) text(s string) {
	r.number(int64(len(s)))
	for len(s) > 0 {
		r.room()
		n := min(len(s), cap(r.buf)-len(r.buf))
		r.buf = append(r.buf, s[:n]...)
		s = s[n:]
	}
}

func (r *rowHash) pairs(m map[string]string) {
	r.number(int64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		r.text(k)
		r.text(m[k])
	}
}

func (r *rowHash) tally(m map[string]int64) {
	r.number(int64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		r.text(k)
		r.number(m[k])
	}
}

// String returns the hash so far.
func (r *rowHash) String() string {
	_, _ = r.h.Write(r.buf)
	r.buf = r.buf[:0]
	return fmt.Sprintf("sha256:%x", r.h.Sum(nil)[:16])
}
