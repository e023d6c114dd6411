package stripe

import (
	"fmt"
	"net/http"
	"strings"
)

// apiError is an error as Stripe shows it.
type apiError struct {
	status  int
	Type    string `json:"type"`
	Code    string `json:"code,omitempty"`
	DocURL  string `json:"doc_url,omitempty"`
	Message string `json:"message"`
	Param   string `json:"param,omitempty"`
}

func invalid(code, param, format string, args ...any) *apiError {
	e := &apiError{status: http.StatusBadRequest, Type: "invalid_request_error", Code: code, Param: param,
		Message: fmt.Sprintf(format, args...)}
	if code != "" {
		e.DocURL = "https://stripe.com/docs/error-codes/" + strings.ReplaceAll(code, "_", "-")
	}
	return e
}

// missing is the 404 for an id that is not there. Kind is as Stripe spells it:
// "subscription", "customer", "PaymentMethod".
func missing(kind, id, param string) *apiError {
	e := invalid("resource_missing", param, "No such %s: '%s'", kind, id)
	e.status = http.StatusNotFound
	return e
}

// call is one request that passed the key check and whose parameters are
// known and well formed.
type call struct {
	*http.Request
	query   query
	version string
}

// endpoint is a route: the parameters it knows, the kind of its answer (for
// expand), and what answers under the lock.
type endpoint struct {
	route  string
	params params
	kind   func(*call) string
	answer func(*call) (obj, *apiError)
}

func (s *Server) routes() {
	for _, e := range s.endpoints() {
		s.Handle(e.route, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, e) })
	}
	s.Handle("/", func(w http.ResponseWriter, r *http.Request) {
		s.begin(w, r)
		if err := s.authorize(w, r); err != nil {
			s.writeError(w, err)
			return
		}
		s.writeError(w, unrecognized(r))
	})
}

func unrecognized(r *http.Request) *apiError {
	e := invalid("", "", "Unrecognized request URL (%s: %s). Please see https://stripe.com/docs or we can help at "+
		"https://support.stripe.com/.", r.Method, r.URL.Path)
	e.status = http.StatusNotFound
	return e
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, e endpoint) {
	s.begin(w, r)
	out, err := s.handle(w, r, e)
	if err != nil {
		s.writeError(w, err)
		return
	}
	s.writeJSON(w, http.StatusOK, out)
}

func (s *Server) handle(w http.ResponseWriter, r *http.Request, e endpoint) (obj, *apiError) {
	if err := s.authorize(w, r); err != nil {
		return nil, err
	}
	c := &call{Request: r, version: s.cfg.APIVersion}
	if v := r.Header.Get("Stripe-Version"); v != "" {
		if !versionForm.MatchString(v) {
			return nil, invalid("", "", "Invalid Stripe API version: %s", v)
		}
		c.version = v
	}
	q, err := parseQuery(r.URL.RawQuery, e.params)
	if err != nil {
		return nil, err
	}
	c.query = q

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.basil {
		c.version = APIVersionBasil
	}
	w.Header().Set("Stripe-Version", c.version)
	paths, err := parseExpand(q.array("expand"), e.kind(c))
	if err != nil {
		return nil, err
	}
	out, err := e.answer(c)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		s.expand(out, e.kind(c), p)
	}
	if isBasil(c.version) {
		toBasil(out)
	}
	return out, nil
}

// begin sets what every answer has, errors and faults too.
func (s *Server) begin(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Request-Id", randomID(s.requests, "req_", 14))
}

// authorize checks the secret key, given as Bearer token or as the user of
// Basic.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) *apiError {
	key, _, basic := r.BasicAuth()
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		key = token
	} else if !basic {
		key = ""
	}
	if key == s.cfg.SecretKey {
		return nil
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="Stripe"`)
	e := &apiError{status: http.StatusUnauthorized, Type: "invalid_request_error"}
	if key == "" {
		e.Message = "You did not provide an API key. You need to provide your API key in the Authorization header, " +
			"using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
	} else {
		shown := key
		if len(key) > 8 {
			shown = strings.Repeat("*", len(key)-4) + key[len(key)-4:]
		}
		e.Message = "Invalid API Key provided: " + shown
	}
	return e
}

// renderFault answers an injected fault in Stripe's words. Headers that the
// fault sets itself stay.
func (s *Server) renderFault(w http.ResponseWriter, r *http.Request, code string) {
	s.begin(w, r)
	e := &apiError{Type: "invalid_request_error"}
	switch code {
	case "rate_limit":
		if w.Header().Get("Stripe-Rate-Limited-Reason") == "" {
			w.Header().Set("Stripe-Rate-Limited-Reason", "endpoint-rate")
		}
		e.status, e.Code = http.StatusTooManyRequests, "rate_limit"
		e.Message = "Request rate limit exceeded. You can learn more about rate limits here https://stripe.com/docs/rate-limits."
	case "lock_timeout":
		e.status, e.Code = http.StatusTooManyRequests, "lock_timeout"
		e.Message = "This object cannot be accessed right now because another API request or Stripe process is " +
			"currently accessing it. If you see this error intermittently, retry the request."
	case "internal":
		e.status, e.Type = http.StatusInternalServerError, "api_error"
		e.Message = "An unknown error occurred."
	case "unavailable":
		e.status, e.Type = http.StatusServiceUnavailable, "api_error"
		e.Message = "Stripe is temporarily unavailable. Please try again."
	case "forbidden":
		e.status = http.StatusForbidden
		e.Message = "The provided key does not have the required permissions for this endpoint on account 'acct_sandbox'."
	case "missing": // what was asked for has been deleted
		e = missing("object", r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], "id")
	default:
		e.status, e.Type = http.StatusInternalServerError, "api_error"
		e.Message = fmt.Sprintf("The sandbox knows no fault %q: use rate_limit, lock_timeout, internal, unavailable, forbidden or missing.", code)
	}
	s.writeError(w, e)
}

func (s *Server) writeError(w http.ResponseWriter, e *apiError) {
	s.writeJSON(w, e.status, obj{"error": e})
}

func (s *Server) writeJSON(w http.ResponseWriter, status int, v any) {
	buf, _ := s.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	*buf = append(s.encoder.append((*buf)[:0], "", v), '\n')
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(*buf) // a client that has gone away is no concern of ours
	s.buffers.Put(buf)
}
