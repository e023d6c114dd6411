package api

import (
	"context"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
)

// AllStates is the state of a filter that means letters in any.
const AllStates = "all"

// DeadFilter says which dead letters are meant. Conditions on different fields
// must all hold; of several values of one field, one must.
type DeadFilter struct {
	ID     []string  `json:"id,omitempty" query:"id,explode" maxItems:"1000"`
	State  []string  `json:"state,omitempty" query:"state,explode" enum:"open,replayed,discarded,all" doc:"absent: open"`
	Reason []string  `json:"reason,omitempty" query:"reason,explode"`
	Class  []string  `json:"error_class,omitempty" query:"error_class,explode"`
	Cause  []string  `json:"cause,omitempty" query:"cause,explode" doc:"of given-up work: login, stripe, sweep, …"`
	Topic  []string  `json:"topic,omitempty" query:"topic,explode" doc:"the message came from"`
	Key    []string  `json:"key,omitempty" query:"key,explode"`
	Text   string    `json:"text,omitempty" query:"text" maxLength:"500" doc:"is in the key or the error"`
	Since  time.Time `json:"since,omitzero" query:"since" doc:"failed last then or later"`
	Until  time.Time `json:"until,omitzero" query:"until" doc:"failed last before then"`
}

// DeadLetter is a message or a sync that hotsync gave up on.
type DeadLetter struct {
	ID       string            `json:"id"`
	State    string            `json:"state" enum:"open,replayed,discarded"`
	By       string            `json:"by,omitempty" doc:"who replayed or discarded it"`
	Why      string            `json:"why,omitempty"`
	At       time.Time         `json:"at,omitzero" doc:"when that was"`
	Work     bool              `json:"work" doc:"true: work that was given up; false: a message that could not be read"`
	Key      string            `json:"key"`
	Cause    event.Cause       `json:"cause,omitempty"`
	Reason   event.Reason      `json:"reason"`
	Class    string            `json:"error_class,omitempty"`
	Error    string            `json:"error"`
	Attempts int               `json:"attempts"`
	First    time.Time         `json:"first_failure"`
	Last     time.Time         `json:"last_failure"`
	SyncID   string            `json:"sync_id,omitempty"`
	Source   event.Coordinates `json:"source" doc:"the message that could not be dealt with"`
	Size     int64             `json:"size,omitempty" doc:"bytes of it that were kept"`

	Letter *event.Coordinates `json:"letter,omitempty" doc:"where the dead letter itself stands"`

	// What follows is shown of one letter, not in lists.

	Trigger  *event.Trigger    `json:"trigger,omitempty" doc:"of given-up work"`
	Headers  map[string]string `json:"headers,omitempty" doc:"of a message"`
	Original []byte            `json:"original,omitempty" doc:"its bytes, in base64"`
	Missing  string            `json:"missing,omitempty" doc:"why the bytes are not here"`
	Refusal  string            `json:"refusal,omitempty" doc:"why it cannot be replayed"`
}

// DeadPage is a page of them.
type DeadPage struct {
	Letters []DeadLetter `json:"letters"`
	Count   int64        `json:"count" doc:"how many there are, over all pages"`
	Next    string       `json:"next,omitempty" doc:"the next page's after; absent on the last one"`
}

// DeadAsk asks for dead letters to be replayed or discarded. Exactly one of IDs
// and Filter says which; the empty filter means all open ones.
type DeadAsk struct {
	Asker
	Why       string      `json:"why,omitempty" maxLength:"1000" doc:"it is recorded; required to discard"`
	ID        string      `json:"id,omitempty" pattern:"^[0-9]{8}T[0-9]{6}[.][0-9]{3}Z-[A-Za-z0-9]{4,32}$" doc:"names the request, as that of a replay"`
	IDs       []string    `json:"ids,omitempty" maxItems:"1000"`
	Filter    *DeadFilter `json:"filter,omitempty"`
	Cap       int64       `json:"cap,omitempty" minimum:"1" default:"1000" doc:"refused when more match"`
	PerSecond int         `json:"per_second,omitempty" minimum:"1" maximum:"1000" default:"20" doc:"of a replay of given-up work"`
}

// DeadAnswer says what became of the letters, durably.
type DeadAnswer struct {
	Run     string        `json:"run,omitempty" doc:"of a replay: GET /api/runs/{run} follows it"`
	Matched int64         `json:"matched"`
	Done    int64         `json:"done" doc:"replayed, or discarded"`
	Already int64         `json:"already" doc:"had been replayed or discarded before"`
	Refused []DeadRefused `json:"refused" doc:"what cannot be replayed"`
	Until   time.Time     `json:"until,omitzero" doc:"when the last of a replay is due"`
}

// DeadRefused is a letter that cannot be replayed.
type DeadRefused struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

func (a *api) deadLetters() {
	type list struct {
		DeadFilter
		Paging
	}
	get(a, "list-dead", "/api/dead", "Dead letters, the newest first", func(ctx context.Context, in *list) (DeadPage, error) {
		page, err := a.Letters.Letters(ctx, in.DeadFilter, in.After, in.Limit)
		page.Letters = orEmpty(page.Letters)
		return page, err
	})
	type one struct {
		ID string `path:"id" maxLength:"200"`
	}
	get(a, "get-dead", "/api/dead/{id}", "A dead letter with everything that was kept of it", func(ctx context.Context, in *one) (DeadLetter, error) {
		return a.Letters.Letter(ctx, in.ID)
	})
	type input struct{ Body DeadAsk }
	post(a, "replay-dead", "/api/dead/replay", "Try dead letters again", func(ctx context.Context, in *input) (DeadAnswer, error) {
		if err := in.Body.check(); err != nil {
			return DeadAnswer{}, err
		}
		out, err := a.Dead.ReplayDead(ctx, in.Body)
		out.Refused = orEmpty(out.Refused)
		return out, err
	})
	post(a, "discard-dead", "/api/dead/discard", "Give dead letters up for good", func(ctx context.Context, in *input) (DeadAnswer, error) {
		if err := in.Body.check(); err != nil {
			return DeadAnswer{}, err
		}
		if in.Body.Why == "" {
			return DeadAnswer{}, fault.Newf(fault.Refused, "body.why: say why they are given up; it is recorded")
		}
		out, err := a.Dead.DiscardDead(ctx, in.Body)
		out.Refused = orEmpty(out.Refused)
		return out, err
	})
}

// check returns an error unless it is clear what is asked for.
func (d DeadAsk) check() error {
	if (len(d.IDs) > 0) == (d.Filter != nil) {
		return fault.Newf(fault.Refused, "body: want exactly one of ids and filter; the filter {} means all open ones")
	}
	return nil
}
