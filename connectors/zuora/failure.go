package zuora

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
)

// Categories of Zuora's reason codes: the last two digits (zuora-stripe.md Z1).
const (
	categoryPermission = 10
	categoryToken      = 11
	categoryNotFound   = 40
	categoryLock       = 50
	categoryInternal   = 60
	categoryTemporary  = 61
	categoryLimit      = 70
	categoryOutside    = 99
)

// classOf maps a category. Those that are not listed are about the request
// itself: 20 to 23, 27, 30, 45, 90.
func classOf(category int) fault.Class {
	switch category {
	case categoryPermission, categoryToken: // of 11, a new token has been tried
		return fault.Forbidden
	case categoryNotFound:
		return fault.NotFound
	case categoryLock:
		return fault.Locked
	case categoryInternal, categoryTemporary, categoryOutside:
		return fault.Unavailable
	case categoryLimit:
		return fault.RateLimited
	}
	return fault.Refused
}

// actionCode maps the words of the Actions (ZOQL), which have no categories, to
// the category that means the same.
func actionCode(word string) int {
	switch strings.ToUpper(word) {
	case "INVALID_SESSION", "AUTHENTICATION_ERROR":
		return categoryToken
	case "NO_PERMISSION", "API_DISABLED":
		return categoryPermission
	case "LOCK_COMPETITION":
		return categoryLock
	case "REQUEST_EXCEEDED_RATE", "REQUEST_EXCEEDED_LIMIT":
		return categoryLimit
	case "SERVER_UNAVAILABLE", "TEMPORARY_ERROR", "INVALID_QUERY_LOCATOR": // a locator lives 15 minutes
		return categoryTemporary
	case "UNKNOWN_ERROR", "TRANSACTION_FAILED", "TRANSACTION_TERMINATED":
		return categoryInternal
	case "EXTERNAL_SYSTEM_ERROR":
		return categoryOutside
	}
	return 0
}

// refusal is how Zuora says no, in the shapes of v1, Object Query and the
// Actions. Names match whatever their case, which covers Success and success.
type refusal struct {
	Success *bool `json:"success"`
	Reasons []struct {
		Code    word   `json:"code"`
		Message string `json:"message"`
	} `json:"reasons"`
	Errors []struct {
		Code    word   `json:"code"`
		Message string `json:"message"`
	} `json:"errors"`
	Message string `json:"message"`
}

// word is a JSON string or number as text. Zuora sends codes as either.
type word string

// UnmarshalJSON implements json.Unmarshaler.
func (w *word) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*w = word(s)
	} else {
		*w = word(b)
	}
	return nil
}

// category returns the category of a code, 0 when there is none. Codes that
// begin with 9 are about authentication.
func (w word) category() int {
	if len(w) != 8 || strings.Trim(string(w), "0123456789") != "" {
		return actionCode(string(w))
	}
	n := int(w[6]-'0')*10 + int(w[7]-'0')
	if w[0] == '9' && classOf(n) == fault.Refused {
		return categoryToken
	}
	return n
}

// verdict is what an answer says of itself.
type verdict struct {
	failed   bool
	class    fault.Class
	category int
	text     string
}

// judge reads an answer: what the body says counts before the status, which
// older versions leave at 200 (zuora-stripe.md Z1).
func judge(a rest.Answer) verdict {
	var r refusal
	_ = json.Unmarshal(a.Body, &r) // a gateway's page is no JSON: the status speaks
	said := r.Reasons
	if len(said) == 0 {
		said = r.Errors
	}
	v := verdict{failed: a.Status >= 300 || r.Success != nil && !*r.Success || r.Success == nil && len(r.Reasons) > 0}
	if !v.failed {
		return v
	}
	if len(said) > 0 {
		v.category = said[0].Code.category()
		v.text = fmt.Sprintf("code %s: %s", rest.Snippet(string(said[0].Code), 40), rest.Snippet(said[0].Message, 300))
	} else {
		v.text = rest.Snippet(r.Message, 300)
	}
	switch {
	case v.category != 0:
		v.class = classOf(v.category)
	case a.Status >= 300:
		v.class = rest.Class(a.Status, false)
	default:
		v.class = fault.Refused
	}
	return v
}

// unauthorized reports whether a new token may help.
func unauthorized(a rest.Answer) bool {
	return a.Status == 401 || judge(a).category == categoryToken
}

// check turns an answer that says no into an error with a class.
func (c *Client) check(req rest.Request, a rest.Answer) error {
	v := judge(a)
	if !v.failed {
		return nil
	}
	text := fmt.Sprintf("%s: zuora answered %d", req, a.Status)
	if v.text != "" {
		text += ", " + v.text
	}
	return rest.Failure(v.class, a, c.cfg.Now(), text+requestID(a))
}

// requestID is Zuora's name for a call, which its support asks for.
func requestID(a rest.Answer) string {
	if id := a.Header.Get(headerRequestID); id != "" {
		return " (request " + rest.Snippet(id, 80) + ")"
	}
	return ""
}

// unreadable is the error for an answer that is not what its endpoint sends:
// cut off on the way, or from somebody in between.
func unreadable(req rest.Request, a rest.Answer, err error) error {
	// The text of encoding/json can quote a value; its kind and place are enough.
	var typ *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &typ):
		err = fmt.Errorf("%s is no %s", typ.Field, typ.Type)
	case errors.As(err, &syntax):
		err = fmt.Errorf("not JSON from byte %d of %d", syntax.Offset, len(a.Body))
	}
	return fault.As(fault.Unavailable, fmt.Errorf("%s: read zuora's answer: %w%s", req, err, requestID(a)))
}
