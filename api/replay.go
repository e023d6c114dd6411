package api

import (
	"context"
	"reflect"
	"time"

	"hotsync/internal/fault"
	"hotsync/record"
)

// ReplayAsk asks for syncs to be looked at again, as things are now: a replay
// reads, and so never writes what is out of date, and it may do no more than what
// it repeats. Exactly one of SyncIDs, Filter and NeverProcessed says which.
type ReplayAsk struct {
	Asker
	Why            string   `json:"why,omitempty" maxLength:"1000" doc:"it is recorded"`
	ID             string   `json:"id,omitempty" pattern:"^[0-9]{8}T[0-9]{6}[.][0-9]{3}Z-[A-Za-z0-9]{4,32}$" doc:"names the replay: when it is asked for, and something of one's own, such as 20270105T100000.000Z-1a2b3c4d. Whoever got no answer asks again with the same id, which completes it: what was scheduled already counts once"`
	SyncIDs        []string `json:"sync_ids,omitempty" maxItems:"1000"`
	Filter         *Filter  `json:"filter,omitempty"`
	NeverProcessed bool     `json:"never_processed,omitempty" doc:"triggers that were taken in and never came to an end"`
	Cap            int64    `json:"cap,omitempty" minimum:"1" default:"1000" doc:"refused when more match"`
	PerSecond      int      `json:"per_second,omitempty" minimum:"1" maximum:"1000" default:"20" doc:"records looked at per second"`
}

// ReplayPreview says what a replay would do.
type ReplayPreview struct {
	Matches int64  `json:"matches" doc:"syncs, or triggers that were never processed"`
	Cap     int64  `json:"cap"`
	Most    int64  `json:"most" doc:"the highest cap there is"`
	Refused string `json:"refused,omitempty" doc:"why it would be refused"`
	// Sample are some of the matches, the newest first.
	Sample []ReplayTarget `json:"sample"`
}

// ReplayTarget is one match.
type ReplayTarget struct {
	SyncID string     `json:"sync_id,omitempty"`
	Key    record.Key `json:"key"`
	Was    string     `json:"was,omitempty" doc:"outcome/reason"`
	As     string     `json:"as,omitempty" enum:"plan,passed_over" doc:"plan: it was asked for as a plan, so nothing will be written; passed_over: it will not be looked at; absent: it is looked at as things are now"`
}

// What becomes of a target that is not simply looked at again.
const (
	ReplayAsPlan     = "plan"
	ReplayPassedOver = "passed_over"
)

// ReplayAnswer says what was scheduled, durably.
type ReplayAnswer struct {
	Run        string    `json:"run,omitempty" doc:"GET /api/runs/{run} follows it; absent when there was nothing to look at"`
	Matched    int64     `json:"matched"`
	Scheduled  int64     `json:"scheduled" doc:"records that will be looked at"`
	Planned    int64     `json:"planned" doc:"of those scheduled: were asked for as a plan, so nothing is written"`
	Merged     int64     `json:"merged" doc:"matches whose record is looked at for another one"`
	PassedOver int64     `json:"passed_over" doc:"matches that are about no record (messages, runs), or could only write a reviewed plan"`
	Reviewed   int64     `json:"reviewed" doc:"of those passed over: part of the application of a reviewed plan; have the plan applied again instead"`
	Until      time.Time `json:"until" doc:"when the last one is due"`
}

func (a *api) replays() {
	type input struct{ Body ReplayAsk }
	post(a, "preview-replay", "/api/replay/preview", "What a replay would do", func(ctx context.Context, in *input) (ReplayPreview, error) {
		if err := in.Body.check(); err != nil {
			return ReplayPreview{}, err
		}
		p, err := a.Replays.Preview(ctx, in.Body)
		p.Sample = orEmpty(p.Sample)
		return p, err
	})
	post(a, "replay", "/api/replay", "Have syncs looked at again", func(ctx context.Context, in *input) (ReplayAnswer, error) {
		if err := in.Body.check(); err != nil {
			return ReplayAnswer{}, err
		}
		return a.Replays.Replay(ctx, in.Body)
	})
}

// check returns an error unless it is clear what is asked for.
func (r ReplayAsk) check() error {
	n := 0
	for _, given := range []bool{len(r.SyncIDs) > 0, r.Filter != nil, r.NeverProcessed} {
		if given {
			n++
		}
	}
	switch {
	case n != 1:
		return fault.Newf(fault.Refused, "body: want exactly one of sync_ids, filter and never_processed, got %d of them", n)
	case r.Filter != nil && reflect.ValueOf(*r.Filter).IsZero():
		return fault.Newf(fault.Refused, "body.filter: it is empty and would match every sync there is; give at least one condition, such as since or outcome")
	}
	return nil
}
