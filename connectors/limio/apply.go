package limio

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
	"hotsync/record"
)

// Apply makes one write and returns the id of the object it is about: one call,
// never repeated. Updates and cancellations go to the object, a create returns
// the new id, an import has Limio's own Zuora sync make the subscription, a
// delegation has its Zuora or Stripe sync make it true, and an order is sent
// with SendOrder, whose errors it has, and returns the order's id (assumptions
// 4, 5, 6, 18, 20).
//
// UnknownOutcome means that the call went out and may have taken effect: read
// before writing again. Unavailable means that it did not get through, or that
// Limio answered with a passing fault.
func (c *Client) Apply(ctx context.Context, w record.Write) (string, error) {
	id, err := c.apply(ctx, w)
	if err != nil {
		return "", fmt.Errorf("%s %s %s: %w", w.Op, w.Type, rest.Snippet(cmp.Or(w.ID, w.Ref), 80), err)
	}
	return id, nil
}

func (c *Client) apply(ctx context.Context, w record.Write) (string, error) {
	switch w.Op {
	case record.OpUpdate, record.OpCancel:
		return w.ID, c.put(ctx, w)
	case record.OpCreate:
		return c.create(ctx, w)
	case record.OpImport:
		return c.importZuora(ctx, w.Ref)
	case record.OpDelegate:
		return c.delegate(ctx, w)
	case record.OpOrder:
		return c.order(ctx, w)
	}
	return "", fault.Newf(fault.Bug, "there is no operation %q", w.Op)
}

func (c *Client) put(ctx context.Context, w record.Write) error {
	if !followed(w.Type) || !rest.Segment(w.ID) {
		return fault.Newf(fault.Bug, "no object has the type %q and the id %q", w.Type, rest.Snippet(w.ID, 80))
	}
	body, err := encode(w.Fields, nil)
	if err != nil {
		return err
	}
	path := pathType(w.Type)
	_, err = c.do(ctx, rest.Request{
		Method: http.MethodPut, Route: "/api/objects/limio/" + path + "/{id}", Writes: true, Body: body,
		URL: c.rest.URL(nil, "api", "objects", "limio", path, w.ID),
	})
	return err
}

func (c *Client) create(ctx context.Context, w record.Write) (string, error) {
	top, err := above(w)
	if err != nil {
		return "", err
	}
	body, err := encode(w.Fields, top)
	if err != nil {
		return "", err
	}
	send := c.do
	if w.Type == record.SubscriptionType {
		send = c.once // there is no natural key that would keep a second one away
	}
	path := pathType(w.Type)
	answer, err := send(ctx, rest.Request{
		Method: http.MethodPost, Route: "/api/objects/limio/" + path, Writes: true, Body: body,
		URL: c.rest.URL(nil, "api", "objects", "limio", path),
	})
	if err != nil {
		return "", err
	}
	var stored struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer.Body, &stored); err != nil || stored.ID == "" {
		return "", fault.Newf(fault.UnknownOutcome, "limio answered %d, but without the id of what it made", answer.Status)
	}
	return stored.ID, nil
}

// above returns what a new object hangs on, and for a subscription the reference
// that it will be known by. A subscription may have no customer (assumption 18).
func above(w record.Write) (map[string]any, error) {
	if !followed(w.Type) || w.Type == record.Customer || w.Type == record.OrderType {
		return nil, fault.Newf(fault.Bug, "a %q is not made by the objects API", w.Type)
	}
	top := map[string]any{}
	subscription := w.Type == record.SubscriptionType
	switch {
	case strings.HasPrefix(w.Parent, "cus-"):
		top["customer"] = w.Parent
	case subscription && w.Parent == "":
	case strings.HasPrefix(w.Parent, "sub-") && !subscription:
		top["related"] = w.Parent
	default:
		return nil, fault.Newf(fault.Bug, "its parent %q is neither a customer (cus-…) nor a subscription (sub-…)", rest.Snippet(w.Parent, 80))
	}
	if subscription {
		if w.Ref == "" {
			return nil, fault.Newf(fault.Bug, "it has no reference, by which alone it could be found again")
		}
		top["reference"], top["name"] = w.Ref, w.Ref
	}
	return top, nil
}

// encode builds a body from dotted paths. data is always there, since Limio
// demands it (assumption 6); other top-level keys than Limio takes are a fault
// of the caller, found before anything is sent.
func encode(fields []record.FieldChange, top map[string]any) ([]byte, error) {
	data := map[string]any{}
	body := map[string]any{"data": data}
	maps.Copy(body, top)
	for _, f := range fields {
		if err := place(body, f); err != nil {
			return nil, fault.As(fault.Bug, fmt.Errorf("field %s: %w", f.Field, err))
		}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fault.As(fault.Bug, fmt.Errorf("encode the body: %w", err))
	}
	return raw, nil
}

func place(body map[string]any, f record.FieldChange) error {
	value := f.After
	if value == "" {
		value = record.Null // a partial update cannot take a field away
	}
	if !json.Valid([]byte(value)) {
		return errors.New("its value is not JSON")
	}
	switch f.Field {
	case "name", "status", "start", "relationship_type":
		body[f.Field] = json.RawMessage(value)
		return nil
	}
	parts := strings.Split(f.Field, ".")
	if len(parts) < 2 || parts[0] != "data" {
		return errors.New("only name, status, start, relationship_type and what is under data can be written")
	}
	at := body
	for i, part := range parts {
		below, there := at[part]
		switch {
		case part == "":
			return errors.New("its path has an empty part")
		case i == len(parts)-1 && there:
			return errors.New("another field is above or below it, or is the same")
		case i == len(parts)-1:
			at[part] = json.RawMessage(value)
			return nil
		case !there:
			next := map[string]any{}
			at[part], at = next, next
		default:
			next, ok := below.(map[string]any)
			if !ok {
				return errors.New("another field is above it")
			}
			at = next
		}
	}
	return nil
}
