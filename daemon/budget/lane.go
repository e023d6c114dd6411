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

// queue returns the number of the queue that a call of ctx waits in: one for
// what goes ahead of all lanes, and then one for each lane.
func queue(ctx context.Context) int {
	if callout.IsAhead(ctx) {
		return 0
	}
	return 1 + int(LaneOf(ctx))
}

const (
	queues     = 5
	sweepQueue = 1 + int(Sweep)
)
