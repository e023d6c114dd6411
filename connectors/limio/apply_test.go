package limio_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/connectors/limio"
	"hotsync/internal/fault"
	"hotsync/internal/secret"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	sim "hotsync/sandbox/limio"
)

func change(pairs ...string) []record.FieldChange {
	var out []record.FieldChange
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, record.FieldChange{Field: pairs[i], After: record.Value(pairs[i+1])})
	}
	return out
}

func TestUpdate(t *testing.T) {
	w := newWorld(t, sim.Config{})
	id, err := w.c.Apply(t.Context(), record.Write{Op: record.OpUpdate, Type: record.SubscriptionType, ID: w.sub, Fields: change(
		"status", `"cancelled"`, "data.attributes.autoRenew", "false", "data.termEndDate", "null", "data.price.amount", "43.10", "data.name", "",
	)})
	class(t, err, "")
	w.calls(map[string]int{callPut: 1})
	o, _ := w.sim.Get(w.sub)
	got := []any{id, o.At("status"), o.At("data.attributes.autoRenew"), o.At("data.attributes.external"), o.At("data.termEndDate"), o.At("data.price.amount"),
		o.At("data.price.currency"), o.At("data.name")}
	if diff := cmp.Diff([]any{w.sub, "cancelled", false, true, nil, 43.1, "EUR", nil}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUpdateOfEveryType(t *testing.T) {
	w := newWorld(t, sim.Config{})
	for typ, id := range map[record.Type]string{
		record.SubscriptionType: w.sub, record.Customer: w.customer,
		record.Identity:          w.sim.AddIdentity(sim.IdentityParams{Customer: w.customer, Service: "zuora", Value: "acc2"}),
		record.SubscriptionOffer: w.sim.AddOffer(sim.OfferParams{Subscription: w.sub, ExternalID: "p/C"}),
		record.ScheduleType:      w.sim.AddSchedule(sim.ScheduleParams{Subscription: w.sub, Date: noon, Currency: "EUR"}),
		record.PaymentMethodType: w.sim.AddPaymentMethod(sim.PaymentMethodParams{Customer: w.customer, Type: "zuora"}),
		record.AddressType:       w.sim.AddAddress(sim.AddressParams{Customer: w.customer, Relationship: "billing"}),
	} {
		_, err := w.c.Apply(t.Context(), record.Write{Op: record.OpCancel, Type: typ, ID: id, Fields: change("data.touched", "true")})
		class(t, err, "")
		if o, _ := w.sim.Get(id); o.At("data.touched") != true {
			t.Errorf("%s was not written", typ)
		}
	}
}

func TestCreate(t *testing.T) {
	w := newWorld(t, sim.Config{})
	for _, tt := range []struct {
		write       record.Write
		ref, parent string
	}{
		{record.Write{Type: record.ScheduleType, Parent: w.sub, Fields: change("status", `"pending"`, "data.external_id", `"in_1"`)}, "in_1", w.sub},
		{record.Write{Type: record.SubscriptionOffer, Parent: w.sub, Fields: change("data.external_id", `"p/C"`)}, "p/C", w.sub},
		{record.Write{Type: record.PaymentMethodType, Parent: w.customer, Fields: change("data.zuora.result.Id", `"2c92"`)}, "2c92", w.customer},
		{record.Write{Type: record.AddressType, Parent: w.customer, Fields: change("relationship_type", `"delivery"`)}, "delivery", w.customer},
		{record.Write{Type: record.Identity, Parent: w.customer, Fields: change("data.service", `"a"`, "data.issuer", `"b"`, "data.type", `"c"`, "data.value", `"d"`)}, "a/b/c/d", w.customer},
	} {
		tt.write.Op = record.OpCreate
		w.sim.ResetCalls()
		id, err := w.c.Apply(t.Context(), tt.write)
		class(t, err, "")
		w.calls(map[string]int{callPost: 1})
		read := w.c.Customer
		if tt.parent == w.sub {
			read = w.c.Subscription
		}
		objects, err := read(t.Context(), tt.parent)
		class(t, err, "")
		found := false
		for _, o := range objects {
			found = found || o.ID == id && o.Ref == tt.ref && o.Parent == tt.parent && o.Type == tt.write.Type
		}
		if !found {
			t.Errorf("%s %s is not under %s", tt.write.Type, tt.ref, tt.parent)
		}
	}
}

func TestImport(t *testing.T) {
	w := newWorld(t, sim.Config{Zuora: func(_ context.Context, number string) (sim.ZuoraSubscription, error) {
		if number != "A-S7" {
			return sim.ZuoraSubscription{}, sim.ErrUnknown
		}
		return sim.ZuoraSubscription{Number: number, Status: "Active", Account: sim.ZuoraAccount{ID: "acc", Name: "Ada"}}, nil
	}})
	id, err := w.c.Apply(t.Context(), record.Write{Op: record.OpImport, Type: record.SubscriptionType, Ref: "A-S7"})
	class(t, err, "")
	w.calls(map[string]int{callImport: 1})
	if o, ok := w.sim.SubscriptionByNumber("A-S7"); !ok || o.ID != id {
		t.Errorf("imported %s, but Limio has %s", id, o.ID)
	}
	_, err = w.c.Apply(t.Context(), record.Write{Op: record.OpImport, Type: record.SubscriptionType, Ref: "A-S8"})
	class(t, err, fault.Unavailable) // 502: bad input or a passing fault (assumption 16)
	for body, want := range map[string]fault.Class{
		`{"success":false,"message":"no"}`: fault.Refused, `{"id":"sub-1"}`: fault.UnknownOutcome, `{"success":true}`: fault.UnknownOutcome,
		`{"success":true,"id":"order-1"}`: fault.UnknownOutcome, `<html>`: fault.UnknownOutcome,
	} {
		remove := w.sim.Inject(httpsim.Fault{Route: callImport, Status: 200, Body: body})
		_, err = w.c.Apply(t.Context(), record.Write{Op: record.OpImport, Type: record.SubscriptionType, Ref: "A-S7"})
		class(t, err, want)
		remove()
	}
}

func TestWriteFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault httpsim.Fault
		want  fault.Class
	}{
		"answer lost": {httpsim.Fault{DropAfter: true}, fault.UnknownOutcome},
		"dropped":     {httpsim.Fault{Drop: true}, fault.UnknownOutcome},
		"timed out":   {httpsim.Fault{Delay: time.Hour}, fault.UnknownOutcome},
		"cut off":     {httpsim.Fault{Status: 200, Header: map[string]string{"Content-Length": "500"}, Body: `{"id":`}, fault.UnknownOutcome},
		"gateway":     {httpsim.Fault{Status: 504}, fault.UnknownOutcome},
		"502":         {httpsim.Fault{Code: "bad_gateway"}, fault.Unavailable},
		"503":         {httpsim.Fault{Code: "unavailable"}, fault.Unavailable},
		"500":         {httpsim.Fault{Code: "internal"}, fault.Unavailable},
		"429":         {httpsim.Fault{Code: "rate_limit"}, fault.RateLimited},
		"403":         {httpsim.Fault{Code: "forbidden"}, fault.Forbidden},
		"401":         {httpsim.Fault{Code: "unauthorized"}, fault.Forbidden},
		"400":         {httpsim.Fault{Status: 400}, fault.Refused},
		"409":         {httpsim.Fault{Status: 409}, fault.Locked},
	} {
		for route, write := range map[string]record.Write{
			callPut:    {Op: record.OpUpdate, Type: record.SubscriptionType},
			callPost:   {Op: record.OpCreate, Type: record.ScheduleType},
			callImport: {Op: record.OpImport, Type: record.SubscriptionType, Ref: "A-S1"},
		} {
			t.Run(name+"/"+route, func(t *testing.T) {
				w := newWorld(t, sim.Config{}, func(c *limio.Config) {
					if name == "timed out" {
						c.Timeout = 50 * time.Millisecond
					}
				})
				class(t, w.c.Ping(t.Context()), "")
				w.sim.ResetCalls()
				write.ID, write.Parent = w.sub, w.sub
				tt.fault.Route = route
				w.sim.Inject(tt.fault)
				_, err := w.c.Apply(t.Context(), write)
				class(t, err, tt.want)
				want := 1
				if name == "401" {
					want = 2
				}
				if got := w.sim.Calls()[route]; got != want {
					t.Errorf("sent %d times, want %d", got, want)
				}
			})
		}
	}
}

// TestWriteThatNeverLeft: no connection, no doubt.
func TestWriteThatNeverLeft(t *testing.T) {
	w := newWorld(t, sim.Config{})
	class(t, w.c.Ping(t.Context()), "")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close() // nobody listens there now
	c, err := limio.New(limio.Config{
		BaseURL: w.url, ClientID: "client", ClientSecret: secret.New("s3cret-of-the-client"), Now: w.clock.Now,
		Transport: &elsewhere{to: listener.Addr().String()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Apply(t.Context(), record.Write{Op: record.OpUpdate, Type: record.SubscriptionType, ID: w.sub})
	class(t, err, fault.Unavailable)
}

func TestWriteStopped(t *testing.T) {
	w := newWorld(t, sim.Config{})
	class(t, w.c.Ping(t.Context()), "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.c.Apply(ctx, record.Write{Op: record.OpUpdate, Type: record.SubscriptionType, ID: w.sub})
	class(t, err, fault.Stopped)
}

func TestWritesThatAreNeverSent(t *testing.T) {
	w := newWorld(t, sim.Config{})
	update := func(fields ...string) record.Write {
		return record.Write{Op: record.OpUpdate, Type: record.SubscriptionType, ID: w.sub, Fields: change(fields...)}
	}
	for name, write := range map[string]record.Write{
		"operation":         {Op: "delete", Type: record.SubscriptionType, ID: w.sub},
		"type":              {Op: record.OpUpdate, Type: "event", ID: w.sub},
		"no id":             {Op: record.OpUpdate, Type: record.SubscriptionType},
		"path id":           {Op: record.OpUpdate, Type: record.SubscriptionType, ID: "../customers/x"},
		"top-level field":   update("owner", `"id-1"`),
		"data itself":       update("data", `{}`),
		"empty part":        update("data.", "1"),
		"empty part inside": update("data..x", "1"),
		"above":             update("data.a", "1", "data.a.b", "2"),
		"below":             update("data.a.b", "2", "data.a", "1"),
		"twice":             update("data.a", "1", "data.a", "1"),
		"not JSON":          update("data.a", "{"),
		"orphan":            {Op: record.OpCreate, Type: record.ScheduleType},
		"odd parent":        {Op: record.OpCreate, Type: record.ScheduleType, Parent: "order-1"},
		"subscription":      {Op: record.OpCreate, Type: record.SubscriptionType, Parent: w.customer},
		"no number":         {Op: record.OpImport, Type: record.SubscriptionType},
	} {
		_, err := w.c.Apply(t.Context(), write)
		if fault.Of(err) != fault.Bug {
			t.Errorf("%s: %v, want a bug", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "failed to") {
			t.Errorf("%v", err)
		}
	}
	w.calls(map[string]int{})
}

// elsewhere is a transport that gets a token as usual and finds nobody at home
// for anything else.
type elsewhere struct {
	http.Transport
	to string
}

func (e *elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/oauth2/token" {
		u := *r.URL
		u.Host = e.to
		r = r.Clone(r.Context())
		r.URL = &u
	}
	return e.Transport.RoundTrip(r)
}
