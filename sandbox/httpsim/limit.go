package httpsim

import (
	"net/http"
	"slices"
	"time"
)

// Limit is how many calls a vendor takes. Unlike a fault it strikes only who
// calls too often.
type Limit struct {
	// Route is a route as it was registered; empty means all routes together.
	Route string
	// PerSecond calls are taken in any second of the simulated clock: in a
	// window that slides, so that nobody gets through twice as many around a
	// full second. Calls that are refused do not count.
	PerSecond int
	// Code names the answer to the others, which the vendor renders in its own
	// words. Empty means "rate_limit".
	Code string
	// Header is added to that answer.
	Header map[string]string
}

type enforced struct {
	Limit
	taken []time.Time // of the last second, oldest first
}

// Limit adds a limit and returns the function that lifts it.
func (s *Sim) Limit(l Limit) (lift func()) {
	if l.Code == "" {
		l.Code = "rate_limit"
	}
	e := &enforced{Limit: l}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = append(s.limits, e)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.limits = slices.DeleteFunc(slices.Clone(s.limits), func(other *enforced) bool { return other == e })
	}
}

// Refused returns when calls were refused because of a limit since the last
// ResetCalls, oldest first. The times are those of the calls in Log.
func (s *Sim) Refused() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

// refuse returns the limit that this call is over, nil when it is within all.
// The call must have been counted in the same hold of mu, so that calls are
// judged in the order of their times.
func (s *Sim) refuse(c *Call) *Limit {
	var within []*enforced
	for _, e := range s.limits {
		if e.Route != "" && e.Route != c.Route {
			continue
		}
		old := 0
		for old < len(e.taken) && c.At.Sub(e.taken[old]) >= time.Second {
			old++
		}
		e.taken = e.taken[old:]
		if len(e.taken) >= e.PerSecond {
			s.refused = append(s.refused, c.At)
			return &e.Limit
		}
		within = append(within, e)
	}
	for _, e := range within {
		e.taken = append(e.taken, c.At)
	}
	return nil
}

// render answers a call that is over a limit.
func (l *Limit) render(s *Sim, w http.ResponseWriter, r *http.Request) {
	for k, v := range l.Header {
		w.Header().Set(k, v)
	}
	s.Render(w, r, l.Code)
}
