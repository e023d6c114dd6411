package api

import (
	"encoding/json"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"hotsync/internal/fault"
)

// guarded lets only those requests through that were meant for this daemon.
// There is no authentication: whoever reaches the listener may use it, and the
// listener is on the loopback interface. So what has to be kept out are pages of
// other sites in a browser on this machine: those that send a form or a script's
// request (cross-origin), and those whose name was made to resolve to this
// machine (DNS rebinding), which the Host header gives away.
func guarded(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ownName(r.Host) {
			refuse(w, http.StatusForbidden, "the request is for "+quoted(r.Host)+"; this daemon answers to localhost and loopback addresses only, such as http://127.0.0.1:8484")
			return
		}
		if err := cross.Check(r); err != nil {
			refuse(w, http.StatusForbidden, "the request comes from a page of another site, which may not change anything here")
			return
		}
		if r.Method == http.MethodPost && !isJSON(r.Header.Get("Content-Type")) {
			refuse(w, http.StatusUnsupportedMediaType, "the Content-Type is "+quoted(r.Header.Get("Content-Type"))+"; send application/json")
			return
		}
		// An answer is of the moment, and may hold personal data.
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// ownName reports whether a Host header names this machine as only itself can.
func ownName(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if strings.EqualFold(strings.TrimSuffix(name, "."), "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap().IsLoopback()
}

func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && t == "application/json"
}

// quoted is what a client sent, short enough to be sent back.
func quoted(s string) string {
	const most = 120
	if len(s) > most {
		s = s[:most] + "…"
	}
	b, _ := json.Marshal(s) // a string always marshals
	return string(b)
}

// refuse answers with a problem where huma does not.
func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem(status, detail)) // the client may be gone
}

// Problem is an error as every endpoint answers it (RFC 9457).
type Problem = huma.ErrorModel

func problem(status int, detail string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Detail: detail}
}

// problemOf chooses the status of an error by its class.
func problemOf(err error) *Problem {
	status := http.StatusInternalServerError
	switch fault.Of(err) {
	case fault.NotFound:
		status = http.StatusNotFound
	case fault.Refused:
		status = http.StatusUnprocessableEntity
	case fault.Locked, fault.Ambiguous:
		status = http.StatusConflict
	case fault.RateLimited:
		status = http.StatusTooManyRequests
	case fault.Unavailable, fault.UnknownOutcome, fault.Stopped:
		status = http.StatusServiceUnavailable
	case fault.Forbidden:
		status = http.StatusBadGateway // a server behind us refuses us
	}
	return problem(status, err.Error())
}
