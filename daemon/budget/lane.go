package budget

import (
	"context"

	"hotsync/internal/callout"
)

// Lane says what a call is for. Of calls that wait, those in the lower lane by
// number go first, whoever came first.
type Lane uint8

// The lanes, most urgent first.
const (
	Login   Lane = iota // somebody waits at a screen
	Webhook             // a source told of a change
	API                 // a person or a program asked
	Sweep               // routine, and a lot of it
)

// Lanes returns all lanes, most urgent first.
func Lanes() []Lane { return []Lane{Login, Webhook, API, Sweep} }

// String returns the lane's name as it stands in metrics.
func (l Lane) String() string {
	switch l {
	case Login:
		return "login"
	case Webhook:
		return "webhook"
	case API:
		return "api"
	case Sweep:
		return "sweep"
	}
	return "unknown"
}

type laneKey struct{}

// In returns a context whose calls are in a lane.
func In(ctx context.Context, lane Lane) context.Context {
	return context.WithValue(ctx, laneKey{}, min(lane, Sweep))
}

// LaneOf returns the lane of ctx, API when nobody said.
func LaneOf(ctx context.Context) Lane {
	if lane, ok := ctx.Value(laneKey{}).(Lane); ok {
		return lane
	}
	return API
}

// queue is the number of one that calls wait in. The first is for what goes ahead
// of all lanes, which is nobody's in particular. Then each lane has two: for what
// ends something, and for the rest. So a write that was planned overtakes the reads
// of its own lane, and no call of a more urgent one.
type queue int

const (
	ahead  queue = 0
	queues       = 1 + 2*(int(Sweep)+1)
)

// queueOf returns where a call of ctx waits.
func queueOf(ctx context.Context) queue {
	if callout.IsAhead(ctx) {
		return ahead
	}
	q := 2 + 2*queue(LaneOf(ctx))
	if callout.IsEnding(ctx) {
		q--
	}
	return q
}

// lane returns whose calls wait in q; those that go ahead of all count as the
// most urgent.
func (q queue) lane() Lane { return Lane(max(0, q-1) / 2) }
