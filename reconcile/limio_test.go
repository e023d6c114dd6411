package reconcile

import (
	"context"
	"maps"
	"testing"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// known is Zuora as far as subscription numbers go.
type known map[string]string

func (k known) AccountOf(_ context.Context, number string) (string, error) {
	if a, ok := k[number]; ok {
		return a, nil
	}
	return "", fault.Newf(fault.NotFound, "no subscription %s", number)
}

func TestLimioRecordLeadsToItsOwner(t *testing.T) {
	for name, tt := range map[string]struct {
		fields record.Fields
		ref    string
		zuora  numbers
		want   record.Key
		reason event.Reason
	}{
		"a Stripe subscription": {record.Fields{"data.stripe.subscription_id": record.Text("sub_9")}, "LIM9", known{}, record.StripeSubscription("sub_9"), event.ReasonFannedOut},
		"a Zuora number":        {nil, "A-S9", known{"A-S9": "2c92zz"}, record.ZuoraAccount("2c92zz"), event.ReasonFannedOut},
		"nothing":               {nil, "A-S9", known{}, record.Key{}, event.ReasonOrphan},
		"nothing, no Zuora":     {nil, "A-S9", nil, record.Key{}, event.ReasonOrphan},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			fields := record.Fields{"updated": record.Text("2026-03-01T10:00:00.000Z"), "status": record.Text("active")}
			maps.Copy(fields, tt.fields)
			w.limio.objects = append(w.limio.objects, record.Object{Type: record.SubscriptionType, ID: "sub-9", Ref: tt.ref, Fields: fields})
			w.cfg.Expanders["limio:subscription"] = NewLimioSubscriptions(w.limio, tt.zuora, true)
			k := record.LimioSubscription("sub-9")
			v := w.handle(t, w.trigger(k, event.CauseSweep, ""))
			ends(t, v, event.Skipped, tt.reason)
			if tt.want.IsZero() != (len(v.Now) == 0) {
				t.Fatalf("led to %v", v.Now)
			}
			if len(v.Now) > 0 && (v.Now[0].Key != tt.want || v.Now[0].Limio != "sub-9") {
				t.Errorf("led to %s by %q", v.Now[0].Key, v.Now[0].Limio)
			}
			if v.Event.Stats["led_to"] != int64(len(v.Now)) {
				t.Errorf("the event says that it led to %v, and it did to %d", v.Event.Stats, len(v.Now))
			}
			// Whatever it is, a sweep does not ask again until somebody touches it.
			g := record.Glimpse{Key: k, Mark: LimioMark("2026-03-01T10:00:00.000Z")}
			if _, due := Due(g, w.memory[k], w.now, time.Hour); due {
				t.Error("still due")
			}
			g.Mark = LimioMark("2026-03-01T10:00:00.001Z")
			if _, due := Due(g, w.memory[k], w.now, time.Hour); !due {
				t.Error("not due although it was touched")
			}
		})
	}
	w := newWorld()
	w.cfg.Expanders["limio:subscription"] = NewLimioSubscriptions(w.limio, nil, true)
	ends(t, w.handle(t, w.trigger(record.LimioSubscription("sub-none"), event.CauseAPI, "")), event.Skipped, event.ReasonUnknownSubscription)
}
