package stripe

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stripe/stripe-go/v76"

	"hotsync/internal/fault"
	"hotsync/record"
)

// EventsKept is how long Stripe's list of events reaches back (zuora-stripe.md
// S3). What happened before that is found by Glimpses only.
const EventsKept = 30 * 24 * time.Hour

// Touched is a key that an event of the list points at.
type Touched struct {
	Key  record.Key // of a subscription, or of a customer for all of its subscriptions
	At   time.Time  // when the event was made, in whole seconds
	Type string     // such as invoice.paid
	ID   string     // of the event
}

// Events reads one page of the events made at since or later, newest first,
// with one call for a hundred of them: what webhooks may have missed. cursor
// is "" for the first page and next for those after it; next is "" on the last
// page. A page may well have found nothing and a next one.
//
// The keys are those that Decoder makes of the same events; what concerns no
// subscription and no customer yields none. All types are asked for and
// filtered here: Stripe takes no more than 20 names and no prefixes, the
// Decoder follows more, and a type that Stripe adds would be missed in silence.
//
// Stripe keeps events for EventsKept. An older since is no error and finds
// those that are left: the caller has to know that there may be a gap. The
// zero since asks for all of them. An event that is made while the pages are
// read is before the first page and not in them.
//
// The classes of its errors are those of Glimpses; an event that cannot be
// read is fault.Refused, since leaving it out would lose what it tells of.
func (c *Client) Events(ctx context.Context, since time.Time, cursor string) (found []Touched, next string, err error) {
	found, next, err = c.events(ctx, since, cursor)
	if err != nil {
		return nil, "", fmt.Errorf("list events%s: %w", after(cursor), err)
	}
	return found, next, nil
}

func (c *Client) events(ctx context.Context, since time.Time, cursor string) ([]Touched, string, error) {
	from, err := startingAfter(cursor)
	if err != nil {
		return nil, "", err
	}
	var list *stripe.EventList
	err = c.call(ctx, func(ctx context.Context) error {
		p := &stripe.EventListParams{}
		p.ListParams = page(ctx, from)
		if since.Unix() > 0 {
			p.CreatedRange = &stripe.RangeQueryParams{GreaterThanOrEqual: since.Unix()}
		}
		it := c.api.Events.List(p)
		list = it.EventList()
		return it.Err()
	})
	if err != nil {
		return nil, "", err
	}
	if list.Data == nil {
		return nil, "", errNoList()
	}
	var found []Touched
	var ids []string
	for _, e := range list.Data {
		w, err := listed(e)
		if err != nil {
			return nil, "", fault.As(fault.Refused, err)
		}
		key, _, err := target(w)
		if err != nil {
			return nil, "", fault.As(fault.Refused, err)
		}
		ids = append(ids, w.ID)
		if !key.IsZero() {
			found = append(found, Touched{Key: key, At: time.Unix(w.Created, 0).UTC(), Type: w.Type, ID: w.ID})
		}
	}
	next, err := following(cursor, ids, list.HasMore)
	if err != nil {
		return nil, "", err
	}
	return found, next, nil
}

// listed returns a listed event as a webhook would bring it, with what Decoder
// reads of it.
func listed(e *stripe.Event) (webhookEvent, error) {
	switch {
	case e == nil || !isID(e.ID):
		return webhookEvent{}, fmt.Errorf("the answer holds an event without an id")
	case !isType(string(e.Type)):
		return webhookEvent{}, fmt.Errorf("the type of event %s is %.40q", e.ID, string(e.Type))
	case e.Data == nil:
		return webhookEvent{}, fmt.Errorf("event %s of type %s has no data", e.ID, e.Type)
	}
	w := webhookEvent{ID: e.ID, Type: string(e.Type), Created: e.Created}
	if err := json.Unmarshal(e.Data.Raw, &w.Data.Object); err != nil || w.Data.Object == nil {
		return webhookEvent{}, fmt.Errorf("event %s of type %s has no data.object", e.ID, e.Type)
	}
	if was, ok := e.Data.PreviousAttributes["customer"].(string); ok {
		w.Data.PreviousAttributes.Customer = ref(was)
	}
	return w, nil
}
