package zuora

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"hotsync/internal/fault"
	"hotsync/internal/rest"
	"hotsync/record"
)

const routeOrders = "/v1/orders/subscription/{number}"

// Orders returns the orders on a subscription, newest first: one call for each
// 40. Source is the custom field Source__c, else InitiatedSource__c, which Limio
// fills in (limio.md 4.4). Drafts and cancelled orders, which changed nothing,
// are left out. NotFound when there is no such subscription.
func (c *Client) Orders(ctx context.Context, number string) ([]record.Order, error) {
	if !rest.Segment(number) {
		return nil, fault.Newf(fault.NotFound, "no Zuora subscription can have the number %q", rest.Snippet(number, 80))
	}
	first := c.rest.URL(url.Values{"page": {"1"}, "pageSize": {"40"}}, "v1", "orders", "subscription", number)
	var out []record.Order
	err := c.pages(ctx, routeOrders, first, func(raw json.RawMessage) (int, error) {
		var page struct {
			Orders []json.RawMessage `json:"orders"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return 0, err
		}
		for _, row := range page.Orders {
			o, counts, err := decodeOrder(row, c.cfg.Zone)
			if err != nil {
				return 0, err
			}
			if counts {
				out = append(out, o)
			}
		}
		return len(page.Orders), nil
	})
	if err != nil {
		return nil, fmt.Errorf("read orders of subscription %s: %w", number, err)
	}
	slices.SortStableFunc(out, func(a, b record.Order) int { return b.Created.Compare(a.Created) })
	return out, nil
}

// decodeOrder reads one order; false for one that changed nothing.
func decodeOrder(row json.RawMessage, zone *time.Location) (record.Order, bool, error) {
	var o order
	if err := json.Unmarshal(row, &o); err != nil {
		return record.Order{}, false, err
	}
	switch normalised(o.Status) {
	case "draft", "cancelled", "canceled":
		return record.Order{}, false, nil
	}
	created, ok := instant(o.Created, zone)
	if !ok {
		if created, ok = instant(o.Date, zone); !ok {
			return record.Order{}, false, fmt.Errorf("order %s has no time of creation", rest.Snippet(o.Number, 80))
		}
	}
	source := func(name string) string {
		for key, raw := range o.Custom {
			if s := ""; strings.EqualFold(key, name) && json.Unmarshal(raw, &s) == nil {
				return s
			}
		}
		s, _ := customValue(row, name) // older versions have custom fields beside the others
		return s
	}
	return record.Order{ID: o.Number, Source: cmp.Or(source("Source__c"), source("InitiatedSource__c")), Created: created}, true, nil
}

// instant reads a time. Orders have none with a zone, so theirs is the
// tenant's.
func instant(s string, zone *time.Location) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.999-0700", time.DateTime, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
