package sweep

import (
	"crypto/sha256"

	"hotsync/record"
)

// seenAtOnce bounds what seen holds of a run: twice that many keys at most,
// about 4 MiB.
const seenAtOnce = 32_768

// seen remembers the keys that a run handed on lately, so that nine events of
// one renewal make one trigger. It forgets the oldest: a key is then handed on
// again, under the same trigger id.
type seen struct {
	most          int
	recent, older map[[16]byte]bool // whether the key was to be verified
}

func newSeen(most int) *seen { return &seen{most: most, recent: map[[16]byte]bool{}} }

// before reports whether a key was handed on before, to be verified if it is to
// be now, and remembers it.
func (s *seen) before(key record.Key, verify bool) bool {
	sum := sha256.Sum256([]byte(key.String()))
	id := [16]byte(sum[:16])
	verified, known := s.recent[id]
	if !known {
		verified, known = s.older[id]
	}
	if known && (verified || !verify) {
		return true
	}
	if _, there := s.recent[id]; !there && len(s.recent) >= s.most {
		s.recent, s.older = map[[16]byte]bool{}, s.recent
	}
	s.recent[id] = verify
	return false
}
