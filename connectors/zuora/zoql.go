package zuora

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
)

var fieldPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,79}$`)

// fieldName reports whether s can be the name of a field, which goes into
// filters and queries as it is.
func fieldName(s string) bool { return fieldPattern.MatchString(s) }

// printable reports whether s is text without control characters.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// zoqlText escapes a string for ZOQL, the backslash first (zuora-stripe.md Z3).
// Control characters do not get here.
var zoqlText = strings.NewReplacer(`\`, `\\`, `'`, `\'`, `"`, `\"`)

// findZOQL is Find for fields that Object Query cannot filter by.
func (c *Client) findZOQL(ctx context.Context, field, value string) (string, error) {
	if err := searchable(field, value); err != nil {
		return "", err
	}
	query := fmt.Sprintf("select Id, %s from Account where %s = '%s'", field, field, zoqlText.Replace(value))
	action, body := "query", map[string]any{"queryString": query}
	var exact []json.RawMessage
	for range maxPages {
		var page struct {
			Records      []json.RawMessage `json:"records"`
			Done         bool              `json:"done"`
			QueryLocator string            `json:"queryLocator"`
		}
		if err := c.post(ctx, action, body, &page); err != nil {
			return "", fmt.Errorf("look up account by %s: %w", field, err)
		}
		for _, row := range page.Records {
			if got, ok := customValue(row, field); ok && got == value {
				exact = append(exact, row)
			}
		}
		if page.Done {
			row, err := one(field, exact)
			if err != nil {
				return "", err
			}
			if id := rowID(row); rest.Segment(id) {
				return id, nil
			}
			return "", fault.Newf(fault.Unavailable, "look up account by %s: zuora answered a record without an id", field)
		}
		if page.QueryLocator == "" {
			break
		}
		action, body = "queryMore", map[string]any{"queryLocator": page.QueryLocator}
	}
	return "", fault.Newf(fault.Unavailable, "look up account by %s: zuora's answer has no end", field)
}

// post makes a call to an Action, which reads although it is a POST.
func (c *Client) post(ctx context.Context, action string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode %s: %w", action, err)
	}
	return c.call(ctx, rest.Request{
		Method: http.MethodPost, Route: "/v1/action/" + action, URL: c.rest.URL(nil, "v1", "action", action), Body: raw,
	}, into)
}
