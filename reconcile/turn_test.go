package reconcile

import (
	"context"
	"testing"

	"hotsync/event"
	"hotsync/internal/callout"
	"hotsync/record"
)

// turns notes how urgent each write is.
type turns struct {
	*fakeLimio
	ending, ahead int
}

func (l *turns) Apply(ctx context.Context, w record.Write) (string, error) {
	if callout.IsEnding(ctx) {
		l.ending++
	}
	if callout.IsAhead(ctx) {
		l.ahead++
	}
	return l.fakeLimio.Apply(ctx, w)
}

// A write overtakes what is as urgent as it is, and nothing else.
func TestWritesEndWhatReadsBegan(t *testing.T) {
	w := newWorld()
	limio := &turns{fakeLimio: w.limio}
	w.cfg.Limio = limio
	ends(t, w.handle(t, w.trigger(record.StripeSubscription("sub_1"), event.CauseSweep, "")), event.Applied, event.ReasonDriftRepaired)
	if n := len(w.limio.writes); n == 0 || limio.ending != n || limio.ahead != 0 {
		t.Errorf("of %d writes %d end something, and %d go ahead of everybody", n, limio.ending, limio.ahead)
	}
}
