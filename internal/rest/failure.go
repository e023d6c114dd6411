package rest

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"hotsync/internal/fault"
)

// Class returns what a status of 300 or more means where the API says no more.
// A gateway that gave up waiting for a write (504) cannot tell how it ended.
func Class(status int, writes bool) fault.Class {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.Forbidden
	case http.StatusNotFound, http.StatusGone:
		return fault.NotFound
	case http.StatusConflict, http.StatusLocked:
		return fault.Locked
	case http.StatusTooManyRequests:
		return fault.RateLimited
	case http.StatusRequestTimeout:
		return fault.Unavailable
	case http.StatusGatewayTimeout:
		if writes {
			return fault.UnknownOutcome
		}
	}
	if status >= 500 {
		return fault.Unavailable
	}
	return fault.Refused
}

// Failure returns an error of a class with the wait that an answer asks for:
// Retry-After, or ratelimit-reset for a rate of which nothing remains. Where
// something does, another limit was reached, such as the number of calls at one
// time (zuora-stripe.md, rate and concurrency limits), whose end nobody tells.
func Failure(class fault.Class, a Answer, now time.Time, text string) error {
	return fault.After(class, wait(class, a, now), errors.New(text))
}

// wait returns how long an answer of a class asks to wait, 0 when it does not.
func wait(class fault.Class, a Answer, now time.Time) time.Duration {
	var d time.Duration
	if class.Passing() {
		d = retryAfter(a.Header.Get("Retry-After"), now)
	}
	if d == 0 && class == fault.RateLimited && !remains(a.Header.Get("ratelimit-remaining")) {
		d = retryAfter(a.Header.Get("ratelimit-reset"), now)
	}
	return d
}

// remains reports whether a count of remaining calls is above 0.
func remains(count string) bool {
	n, err := strconv.ParseFloat(strings.TrimSpace(count), 64)
	return err == nil && n > 0
}

// maxWait bounds what an answer can ask for.
const maxWait = time.Hour

// retryAfter reads seconds or an HTTP date; 0 when it is neither.
func retryAfter(s string, now time.Time) time.Duration {
	s = strings.TrimSpace(s)
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, maxWait.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, min(at.Sub(now), maxWait))
	}
	return 0
}

// Snippet makes foreign text fit for an error: one line of at most limit bytes.
func Snippet(s string, limit int) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// Segment reports whether an id from outside may stand in a path: not empty, no
// separator, no dot segment, nothing that is not printed, 200 bytes at most.
func Segment(id string) bool {
	return id != "" && id != "." && id != ".." && len(id) <= 200 && utf8.ValidString(id) &&
		!strings.ContainsFunc(id, func(r rune) bool { return r == '/' || r == '\\' || !unicode.IsPrint(r) })
}

// ParseBase reads a base URL: https, or http to a host that is near (loopback,
// a private address, a name without dots or below .internal, .local, .localhost
// or .test), since credentials travel to it.
func ParseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(raw, "/"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("not a URL: %w", plain(err)) // raw may hold a password
	case u.User != nil:
		return nil, errors.New("the URL must not hold a user or password")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, fmt.Errorf("%q is not a URL with https:// and a host", raw)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q must end with its path, without ? or #", raw)
	case u.Scheme == "http" && !near(u.Hostname()):
		return nil, fmt.Errorf("%q would send credentials unencrypted to a host far away: use https", raw)
	}
	return u, nil
}

func near(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
	}
	host = strings.ToLower(host)
	last := host[strings.LastIndexByte(host, '.')+1:]
	switch last {
	case host, "internal", "local", "localhost", "test":
		return true
	}
	return false
}

// origin is where an address points: scheme, host and port.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
