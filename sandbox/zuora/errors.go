package zuora

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Error categories: the last two digits of a code (zuora-stripe.md Z1).
const (
	noPermission   = 10
	authentication = 11
	badValue       = 20
	unknownField   = 21
	missingField   = 22
	badQuery       = 27
	businessRule   = 30
	notFound       = 40
	lockContention = 50
	internalError  = 60
	temporary      = 61
	limitReached   = 70
	malformed      = 90
	integration    = 99
)

// The dated versions that change how failures look.
const (
	versionMapped = "2024-05-20" // categories get their own HTTP status
	versionQuery  = "2025-08-12" // Object Query has one error shape
)

// fail is a refusal in Zuora's terms.
type fail struct {
	category int
	resource int    // six digits; zero: 500000
	before   int    // category for versions before versionQuery, when it differs
	message  string // sent to the caller
	status   int    // HTTP status whatever the version; zero: as the version says
	action   string // code in the shape of the Actions; empty: v1 shape with 400
}

func (f *fail) Error() string { return f.message }

func fault(category int, message string) *fail { return &fail{category: category, message: message} }

func unfound(key string) *fail {
	return fault(notFound, "Cannot find entity by key: '"+key+"'.")
}

// badFilter refuses a parameter of Object Query.
func badFilter(before int, message string) *fail {
	return &fail{category: badQuery, before: before, message: message}
}

// atLeast reports whether the call asked for a dated version of at least v.
// Version numbers of the old kind are older than all dates.
func (s *Server) atLeast(r *http.Request, v string) bool {
	asked := cmp.Or(r.Header.Get("Zuora-Version"), s.cfg.DefaultVersion)
	return Date(asked).valid() == nil && asked >= v
}

// statusOf maps a category, as versions from 2024-05-20 do.
func statusOf(category int) int {
	switch category {
	case noPermission:
		return http.StatusForbidden
	case authentication:
		return http.StatusUnauthorized
	case notFound:
		return http.StatusNotFound
	case lockContention:
		return http.StatusConflict
	case internalError, temporary, integration:
		return http.StatusInternalServerError
	case limitReached:
		return http.StatusTooManyRequests
	default:
		return http.StatusBadRequest
	}
}

// refuse writes a failure in the shape and with the status that the asked API
// version has for it.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var f *fail
	if !errors.As(err, &f) {
		f = fault(internalError, err.Error())
	}
	category := f.category
	if f.before != 0 && !s.atLeast(r, versionQuery) {
		category = f.before
	}
	resource := cmp.Or(f.resource, 500000)
	var code any = resource*100 + category
	if s.stringCodes.Load() {
		code = strconv.Itoa(resource*100 + category)
	}
	c := callOf(r)
	reasons := []any{map[string]any{"code": code, "message": f.message}}

	query := strings.HasPrefix(r.URL.Path, "/object-query/")
	status := http.StatusOK // before 2024-05-20 failures look like success
	switch {
	case f.status != 0:
		status = f.status
	case strings.HasPrefix(r.URL.Path, "/v1/action/"):
		// Exempt from the mapping.
		if f.action != "" {
			answer(w, r, http.StatusOK, map[string]any{"Success": false, "Errors": []any{map[string]any{"Code": f.action, "Message": f.message}}})
			return
		}
		status = http.StatusBadRequest
	case s.atLeast(r, versionMapped):
		status = statusOf(category)
	case query && f.before != 0: // bad parameters were always 400 there
		status = http.StatusBadRequest
	}
	if query && s.atLeast(r, versionQuery) {
		answer(w, r, status, map[string]any{"reasons": reasons, "requestId": c.requestID})
		return
	}
	answer(w, r, status, map[string]any{"success": false, "processId": c.processID, "requestId": c.requestID, "reasons": reasons})
}

// renderFault implements httpsim.Sim.Render. See the package comment for the
// codes.
func (s *Server) renderFault(w http.ResponseWriter, r *http.Request, code string) {
	var f *fail
	switch code {
	case "lock":
		f = &fail{category: lockContention, action: "LOCK_COMPETITION", message: "Operation failed due to a lock competition, please retry later."}
	case "internal":
		f = &fail{category: internalError, action: "UNKNOWN_ERROR", message: "An internal error occurred."}
	case "temporary":
		f = &fail{category: temporary, action: "TEMPORARY_ERROR", message: "A temporary error occurred, please retry later."}
	case "rate_limit":
		f = &fail{category: limitReached, action: "REQUEST_EXCEEDED_RATE", message: "The request exceeded a limit of this tenant."}
	case "forbidden":
		f = &fail{category: noPermission, action: "NO_PERMISSION", message: "The user has no permission for this operation."}
	case "session":
		f = &fail{category: authentication, action: "INVALID_SESSION", resource: 900000, message: "Authentication error."}
	case "integration":
		f = &fail{category: integration, action: "EXTERNAL_SYSTEM_ERROR", message: "An integrated system answered with an error."}
	case "unavailable":
		gateway(w, http.StatusServiceUnavailable)
		return
	case "timeout":
		gateway(w, http.StatusGatewayTimeout)
		return
	default:
		http.Error(w, "simulator: no fault is called "+strconv.Quote(code), http.StatusNotImplemented)
		return
	}
	if r.URL.Path == "/oauth/token" || f.category == limitReached && strings.HasPrefix(r.URL.Path, "/v1/action/") {
		f.status = statusOf(f.category) // nothing is versioned in front of the API
	}
	s.refuse(w, r, f)
}

func gateway(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<html><body><h1>"+strconv.Itoa(status)+" "+http.StatusText(status)+"</h1></body></html>")
}
