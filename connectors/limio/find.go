package limio

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
	"hotsync/record"
)

// Order returns what became of an order: two calls at once, the order and the
// events around it (assumption 19). It has failed when it says so or when its
// latest process event names a critical error, whatever the answer to the order
// was; and it is complete when it says so or when that event was processed
// without one. NotFound when there is no such order.
func (c *Client) Order(ctx context.Context, id string) (record.PlacedOrder, error) {
	var order record.Object
	var around []aroundOrder
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { order, err = c.object(gctx, "limio", record.OrderType, id); return err })
	g.Go(func() (err error) { around, err = c.aroundOrder(gctx, id); return err })
	if err := g.Wait(); err != nil {
		return record.PlacedOrder{}, err
	}
	return placed(order, around), nil
}

// placed puts together what an order and the events around it say.
func placed(o record.Object, around []aroundOrder) record.PlacedOrder {
	out := record.PlacedOrder{
		ID: o.ID, ExternalID: o.Fields["external_id"].String(), State: orderState(first(o.Fields, "orderState", "status")),
		SubscriptionReference: o.Fields["subscriptionReference"].String(),
	}
	out.Created, _ = created(o)
	if id := o.Fields["related"].String(); strings.HasPrefix(id, "sub-") {
		out.Subscription = id
	}
	var last aroundOrder
	for _, a := range around {
		switch {
		case a.RecordType == "process_event" && a.Created >= last.Created:
			last = a
		case a.RecordType == "subscription" && strings.HasPrefix(a.Ref, o.ID+"/"):
			out.Subscription = a.ID
		}
	}
	switch {
	case len(last.Errors) > 0:
		out.State, out.Problem = record.OrderFailed, last.problem()
	case last.Status == "processed" && out.State == record.OrderSubmitted:
		out.State = record.OrderComplete
	}
	return out
}

// aroundOrder is an object that is related to an order.
type aroundOrder struct {
	ID         string            `json:"id"`
	RecordType string            `json:"record_type"`
	Status     string            `json:"status"`
	Ref        string            `json:"ref"`
	Created    string            `json:"created"`
	Errors     []json.RawMessage `json:"criticalPluginErrors"`
}

func (a aroundOrder) problem() string {
	var said []string
	for _, raw := range a.Errors {
		var e struct{ Name, Message string }
		if json.Unmarshal(raw, &e) == nil && e.Name+e.Message != "" {
			said = append(said, strings.TrimPrefix(e.Name+": "+e.Message, ": "))
		}
	}
	return rest.Snippet(strings.Join(said, "; "), maxComplaint)
}

// aroundOrder reads what is related to an order. A Limio that does not answer
// this for orders leaves the order's own state to go by.
func (c *Client) aroundOrder(ctx context.Context, id string) ([]aroundOrder, error) {
	what := "read what is related to order " + rest.Snippet(id, 80)
	if !rest.Segment(id) {
		return nil, fault.Newf(fault.NotFound, "%s: no such id can exist", what)
	}
	answer, err := c.do(ctx, rest.Request{
		Method: http.MethodGet, Route: "/api/objects/limio/orders/{id}/related",
		URL: c.rest.URL(nil, "api", "objects", "limio", "orders", id, "related"),
	})
	if class := fault.Of(err); class == fault.NotFound || class == fault.Refused {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	var list struct {
		Items []aroundOrder `json:"items"`
	}
	if err := json.Unmarshal(answer.Body, &list); err != nil {
		return nil, unreadable(what, err)
	}
	return list.Items, nil
}

const (
	// clockMargin is how far Limio's clock and ours may be apart.
	clockMargin = 15 * time.Minute
	// maxCandidates bounds the orders that are read one by one in a search.
	maxCandidates = 1000
	// readsAtOnce bounds how many of them are read at a time.
	readsAtOnce = 4
)

// OrderByExternalID looks for the order with an external id that was sent at
// since or later; the zero time looks at all. Limio cannot be asked for it
// (limio.md 3.1), so this reads the whole list of orders and then, one by one,
// those of the time in question whose summary does not show its external id:
//
//	⌈all orders/100⌉ calls + one for each order since (less 15 minutes) + 1 for a match
//
// It is for the rare order whose outcome is unknown. At most 5,000 pages and
// 1,000 orders are read; beyond that the search fails as Refused: a search that
// was not whole finds nothing out. Of several orders one that did not fail
// counts; two of those are Ambiguous.
//
// Limio's lists may lag behind, and an order may still be in the making. Not
// found means not there only after a settling time since the order was sent.
func (c *Client) OrderByExternalID(ctx context.Context, externalID string, since time.Time) (order record.PlacedOrder, found bool, err error) {
	what := "look for the order " + rest.Snippet(externalID, 80)
	if externalID == "" {
		return record.PlacedOrder{}, false, fault.Newf(fault.Bug, "%s: it has no external id", what)
	}
	var candidates []string
	err = c.walk(ctx, record.OrderType, func(page []record.Object) error {
		for _, o := range page {
			shown := o.Fields["external_id"].String()
			at, dated := created(o)
			if (shown == "" && (!dated || !at.Before(since.Add(-clockMargin)))) || shown == externalID {
				candidates = append(candidates, o.ID)
			}
		}
		if len(candidates) > maxCandidates {
			return fault.Newf(fault.Refused, "more than %d orders since %s would have to be read", maxCandidates, since.UTC().Format(time.RFC3339))
		}
		return nil
	})
	if err != nil {
		return record.PlacedOrder{}, false, fmt.Errorf("%s: %w", what, err)
	}
	matches, err := c.ordersWith(ctx, externalID, candidates)
	if err == nil && len(matches) > 0 {
		order, err = choose(matches)
	}
	if err != nil {
		return record.PlacedOrder{}, false, fmt.Errorf("%s: %w", what, err)
	}
	return order, len(matches) > 0, nil
}

// ordersWith reads orders and returns those that have an external id. An order
// that was listed and is not there when read is Unavailable: the search would
// not be whole.
func (c *Client) ordersWith(ctx context.Context, externalID string, ids []string) ([]record.PlacedOrder, error) {
	var mu sync.Mutex
	var out []record.PlacedOrder
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readsAtOnce)
	for _, id := range ids {
		g.Go(func() error {
			o, err := c.object(gctx, "limio", record.OrderType, id)
			if fault.Of(err) == fault.NotFound {
				return fault.As(fault.Unavailable, fmt.Errorf("it is on the list: %w", err))
			}
			if err != nil || o.Fields["external_id"].String() != externalID {
				return err
			}
			around, err := c.aroundOrder(gctx, id)
			mu.Lock()
			defer mu.Unlock()
			out = append(out, placed(o, around))
			return err
		})
	}
	err := g.Wait()
	return out, err
}

// choose returns the order that counts.
func choose(orders []record.PlacedOrder) (record.PlacedOrder, error) {
	slices.SortFunc(orders, func(a, b record.PlacedOrder) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	var living []record.PlacedOrder
	var ids []string
	for _, o := range orders {
		if o.State != record.OrderFailed {
			living, ids = append(living, o), append(ids, o.ID)
		}
	}
	switch len(living) {
	case 0:
		return orders[len(orders)-1], nil
	case 1:
		return living[0], nil
	}
	return record.PlacedOrder{}, fault.Newf(fault.Ambiguous, "limio has it more than once: %s", rest.Snippet(strings.Join(ids, ", "), maxComplaint))
}

// SubscriptionOfOrder returns the Limio id (sub-…) of the subscription that an
// order made: the one it names, else the one with the reference that it was
// promised, if that says it was born of this order (limio.md 2.1); none or one
// call. NotFound when there is none, or not yet.
func (c *Client) SubscriptionOfOrder(ctx context.Context, o record.PlacedOrder) (string, error) {
	if o.Subscription != "" {
		return o.Subscription, nil
	}
	none := fault.Newf(fault.NotFound, "order %s has no subscription", rest.Snippet(o.ID, 80))
	if o.ID == "" || o.SubscriptionReference == "" {
		return "", none
	}
	sub, err := c.object(ctx, "zuora", record.SubscriptionType, o.SubscriptionReference)
	if err != nil {
		return "", fmt.Errorf("find the subscription of order %s: %w", rest.Snippet(o.ID, 80), err)
	}
	if !strings.HasPrefix(sub.Fields["ref"].String(), o.ID+"/") {
		return "", none
	}
	return sub.ID, nil
}

// SubscriptionByReference looks for the subscription with a reference, such as
// the Stripe id under which hotsync made it: a walk through the whole list,
// ⌈all subscriptions/100⌉ calls. Ambiguous when there are several.
func (c *Client) SubscriptionByReference(ctx context.Context, reference string) (sub record.Object, found bool, err error) {
	what := "look for the subscription with the reference " + rest.Snippet(reference, 80)
	if reference == "" {
		return record.Object{}, false, fault.Newf(fault.Bug, "%s: it is empty", what)
	}
	var all []record.Object
	err = c.walk(ctx, record.SubscriptionType, func(page []record.Object) error {
		for _, o := range page {
			if o.Ref == reference {
				all = append(all, o)
			}
		}
		return nil
	})
	if err == nil && len(all) > 1 {
		var ids []string
		for _, o := range all {
			ids = append(ids, o.ID)
		}
		err = fault.Newf(fault.Ambiguous, "limio has more than one: %s", rest.Snippet(strings.Join(ids, ", "), maxComplaint))
	}
	if err != nil || len(all) == 0 {
		return record.Object{}, false, wrap(what, err)
	}
	return all[0], true, nil
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// created is when Limio stored an object; false when it does not say.
func created(o record.Object) (time.Time, bool) {
	at, err := time.Parse(time.RFC3339, o.Fields["created"].String())
	if err != nil {
		return time.Time{}, false
	}
	return at.UTC(), true
}
