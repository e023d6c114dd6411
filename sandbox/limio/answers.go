package limio

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// ErrorStyle is the shape of an error body. Limio documents none (limio.md
// 3.8), so a client has to read them all.
type ErrorStyle int

// The shapes of an error body.
const (
	ErrorMessage ErrorStyle = iota // {"message":"…"}
	ErrorError                     // {"error":"…"}
	ErrorList                      // {"errors":[{"message":"…"}]}
	ErrorText                      // the bare text
	ErrorRotate                    // each of the above in turn
)

// SetErrorStyle changes how error bodies look from here on.
func (s *Server) SetErrorStyle(style ErrorStyle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.style = style
}

// problem is an error that knows its HTTP status.
type problem struct {
	status int
	msg    string
}

func (p *problem) Error() string { return p.msg }

func refuse(status int, format string, args ...any) error {
	return &problem{status, fmt.Sprintf(format, args...)}
}

// answer writes v, or err when there is one.
func (s *Server) answer(w http.ResponseWriter, v any, err error) {
	var p *problem
	switch {
	case errors.As(err, &p):
		s.fail(w, p.status, p.msg)
	case err != nil:
		s.fail(w, http.StatusInternalServerError, err.Error())
	default:
		writeJSON(w, http.StatusOK, v)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// fail writes an error in the selected style.
func (s *Server) fail(w http.ResponseWriter, status int, msg string) {
	s.mu.Lock()
	style := s.style
	if style == ErrorRotate {
		style = ErrorStyle(s.errors % int(ErrorRotate))
		s.errors++
	}
	s.mu.Unlock()
	switch style {
	case ErrorError:
		writeJSON(w, status, map[string]any{"error": msg})
	case ErrorList:
		writeJSON(w, status, map[string]any{"errors": []any{map[string]any{"message": msg}}})
	case ErrorText:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, msg)
	default:
		writeJSON(w, status, map[string]any{"message": msg})
	}
}

// renderFault answers the fault codes "bad_gateway", "rate_limit",
// "unavailable", "forbidden", "unauthorized" and "internal". A Retry-After is
// only there when the fault's Header sets it.
func (s *Server) renderFault(w http.ResponseWriter, _ *http.Request, code string) {
	switch code {
	case "bad_gateway":
		s.fail(w, http.StatusBadGateway, "Bad Gateway")
	case "rate_limit":
		s.fail(w, http.StatusTooManyRequests, "Too Many Requests")
	case "unavailable":
		s.fail(w, http.StatusServiceUnavailable, "Service Unavailable")
	case "forbidden":
		s.fail(w, http.StatusForbidden, "Forbidden")
	case "unauthorized":
		s.fail(w, http.StatusUnauthorized, "Unauthorized")
	case "internal":
		s.fail(w, http.StatusInternalServerError, "Internal server error")
	default:
		s.fail(w, http.StatusInternalServerError, "limio knows no fault "+code)
	}
}

// readBody decodes a JSON object from the request. An empty body is an error.
func readBody(r *http.Request) (map[string]any, error) {
	dec := json.NewDecoder(r.Body)
	var body map[string]any
	if err := dec.Decode(&body); err != nil {
		return nil, refuse(http.StatusBadRequest, "body is not a JSON object: %v", err)
	}
	if body == nil {
		return nil, refuse(http.StatusBadRequest, "body is null; send a JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, refuse(http.StatusBadRequest, "body has something after its JSON object")
	}
	return body, nil
}

// onlyQuery refuses query parameters that are not in allowed: Limio answers
// 400 to a filter that it does not know (limio.md 3.1).
func onlyQuery(r *http.Request, allowed ...string) error {
	for name := range r.URL.Query() {
		if !slices.Contains(allowed, name) {
			return refuse(http.StatusBadRequest, "unknown query parameter %q; allowed: %s", name, orNone(allowed))
		}
	}
	return nil
}

// onlyKeys refuses top-level keys of body that are not in allowed.
func onlyKeys(body map[string]any, allowed ...string) error {
	for name := range body {
		if !slices.Contains(allowed, name) {
			return refuse(http.StatusBadRequest, "unknown property %q; allowed: %s", name, orNone(allowed))
		}
	}
	return nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
