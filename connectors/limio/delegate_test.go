package limio_test

import (
	"context"
	"testing"

	"hotsync/internal/fault"
	"hotsync/record"
	"hotsync/sandbox/httpsim"
	sim "hotsync/sandbox/limio"
)

const callStripeSync = "POST /api/plugins/stripe/sync/subscription/{id}"

// syncing returns a tenant whose own syncs find every subscription cancelled.
func syncing() sim.Config {
	return sim.Config{
		Zuora: func(_ context.Context, number string) (sim.ZuoraSubscription, error) {
			return sim.ZuoraSubscription{Number: number, Status: "Cancelled", Account: sim.ZuoraAccount{ID: "acc", Name: "Ada"}}, nil
		},
		Stripe: func(context.Context, string, string) (sim.StripeSubscription, error) {
			return sim.StripeSubscription{Status: "canceled"}, nil
		},
	}
}

func TestDelegate(t *testing.T) {
	for via, route := range map[string]string{"zuora": callImport, "stripe": callStripeSync} {
		w := newWorld(t, syncing())
		write := record.Write{
			Op: record.OpDelegate, Type: record.SubscriptionType, ID: w.sub, Ref: "A-S1", Via: via, Fields: change("status", `"pending"`),
		}
		for range 2 { // asked twice is asked once
			id, err := w.c.Apply(t.Context(), write)
			class(t, err, "")
			w.calls(map[string]int{route: 1})
			if id != w.sub {
				t.Errorf("%s: answered for %s", via, id)
			}
			if o, _ := w.sim.Get(w.sub); o.Text("status") != "cancelled" {
				t.Errorf("%s: the status is %s: Limio's own sync decides it", via, o.Text("status"))
			}
		}
		for body, want := range map[string]fault.Class{
			`{"success":false,"message":"no"}`: fault.Refused, `{"id":"sub-1"}`: fault.UnknownOutcome, `<html>`: fault.UnknownOutcome,
			`{"success":true,"id":"` + w.sub + `"}`: "",
			`{"success":true,"id":"order-1"}`:       fault.UnknownOutcome,
		} {
			remove := w.sim.Inject(httpsim.Fault{Route: route, Status: 200, Body: body})
			_, err := w.c.Apply(t.Context(), write)
			class(t, err, want)
			remove()
		}
	}
}

func TestStripeSyncNeedNotNameTheSubscription(t *testing.T) {
	w := newWorld(t, syncing())
	w.sim.Inject(httpsim.Fault{Route: callStripeSync, Status: 200, Body: `{"success":true}`})
	id, err := w.c.Apply(t.Context(), record.Write{Op: record.OpDelegate, Type: record.SubscriptionType, ID: w.sub, Via: "stripe"})
	class(t, err, "")
	if id != w.sub {
		t.Errorf("answered for %q", id)
	}
}

func TestDelegateFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault httpsim.Fault
		want  fault.Class
	}{
		"answer lost": {httpsim.Fault{DropAfter: true}, fault.UnknownOutcome},
		"gateway":     {httpsim.Fault{Status: 504}, fault.UnknownOutcome},
		"502":         {httpsim.Fault{Code: "bad_gateway"}, fault.Unavailable},
		"404":         {httpsim.Fault{Status: 404}, fault.NotFound},
		"403":         {httpsim.Fault{Code: "forbidden"}, fault.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, syncing())
			tt.fault.Route = callStripeSync
			w.sim.Inject(tt.fault)
			_, err := w.c.Apply(t.Context(), record.Write{Op: record.OpDelegate, Type: record.SubscriptionType, ID: w.sub, Via: "stripe"})
			class(t, err, tt.want)
		})
	}
}

func TestDelegationsThatAreNeverSent(t *testing.T) {
	w := newWorld(t, syncing())
	for name, write := range map[string]record.Write{
		"nobody's":  {Type: record.SubscriptionType, ID: w.sub, Ref: "A-S1"},
		"customer":  {Type: record.Customer, ID: w.customer, Via: "zuora"},
		"no number": {Type: record.SubscriptionType, ID: w.sub, Via: "zuora"},
		"no id":     {Type: record.SubscriptionType, Ref: "A-S1", Via: "stripe"},
		"stripe id": {Type: record.SubscriptionType, ID: "sub_1", Via: "stripe"},
	} {
		write.Op = record.OpDelegate
		if _, err := w.c.Apply(t.Context(), write); fault.Of(err) != fault.Bug {
			t.Errorf("%s: %v, want a bug", name, err)
		}
	}
	w.calls(map[string]int{})
}
