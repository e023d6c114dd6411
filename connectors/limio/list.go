package limio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
	"hotsync/record"
)

// pageSize is how many objects a page is asked to hold, the most that is known
// to work (limio.md 3.1).
const pageSize = 100

// List returns one page of all objects of a type: summaries, which have id,
// status, name, reference, created and updated in their Fields and nothing below
// data (assumption 17). An empty cursor asks for the first page; next is "" on
// the last one. One call.
//
// A list that cannot be whole (a cursor that leads back to the same page, a
// cursor on a page without items, an object of another type) is Unavailable. A
// cursor that Limio does not know any more is Refused: begin anew.
func (c *Client) List(ctx context.Context, typ record.Type, cursor string) (objects []record.Object, next string, err error) {
	what := fmt.Sprintf("list limio's %s", pathType(typ))
	if !followed(typ) {
		return nil, "", fault.Newf(fault.Bug, "%s: hotsync does not follow a %q", what, typ)
	}
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if cursor != "" {
		query.Set("queryMore", cursor)
	}
	path := pathType(typ)
	answer, err := c.do(ctx, rest.Request{
		Method: http.MethodGet, Route: "/api/objects/limio/" + path,
		URL: c.rest.URL(query, "api", "objects", "limio", path),
	})
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", what, err)
	}
	objects, next, err = decodePage(answer.Body, typ)
	switch {
	case err != nil:
		return nil, "", unreadable(what, err)
	case next != "" && len(objects) == 0:
		return nil, "", unreadable(what, errors.New("it says that there is more, but holds nothing"))
	case next != "" && next == cursor:
		return nil, "", unreadable(what, errors.New("its cursor leads back to the same page"))
	}
	return objects, next, nil
}

func decodePage(body []byte, typ record.Type) (objects []record.Object, next string, err error) {
	var page struct {
		Items     []json.RawMessage `json:"items"`
		QueryMore *string           `json:"queryMore"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, "", err
	}
	if page.Items == nil {
		return nil, "", errors.New("it has no items, not even none")
	}
	if page.QueryMore != nil {
		next = *page.QueryMore
	}
	objects = make([]record.Object, 0, len(page.Items))
	for i, raw := range page.Items {
		o, known, err := decodeObject(raw)
		switch {
		case err != nil:
			return nil, "", fmt.Errorf("item %d: %w", i, err)
		case !known || o.Type != typ || o.ID == "":
			return nil, "", fmt.Errorf("item %d is no %s with an id", i, typ)
		}
		objects = append(objects, o)
	}
	return objects, next, nil
}

// maxPages bounds a walk: half a million objects.
const maxPages = 5000

// walk hands every page of a list to fn, until the list ends or fn or a page
// fails: nil means that fn has seen them all.
func (c *Client) walk(ctx context.Context, typ record.Type, fn func([]record.Object) error) error {
	cursor, seen := "", map[string]bool{}
	for range maxPages {
		objects, next, err := c.List(ctx, typ, cursor)
		if err != nil {
			return err
		}
		if err := fn(objects); err != nil {
			return err
		}
		switch {
		case next == "":
			return nil
		case seen[next]:
			return fault.Newf(fault.Unavailable, "list limio's %s: its cursors go in a circle", pathType(typ))
		}
		seen[next], cursor = true, next
	}
	return fault.Newf(fault.Refused, "list limio's %s: more than %d pages", pathType(typ), maxPages)
}
