package api

import (
	"context"
	"time"

	"hotsync/internal/fault"
)

// Sweep is how a sweep stands.
type Sweep struct {
	Name          string        `json:"name"`
	State         string        `json:"state" enum:"running,paused,idle,off,unplanned" doc:"unplanned: no instance has planned it yet; off: what it reads is not configured"`
	Schedule      string        `json:"schedule,omitempty" doc:"five fields of cron with a time zone; absent: only on request"`
	Next          time.Time     `json:"next,omitzero" doc:"start of the next scheduled run"`
	Paused        bool          `json:"paused"`
	HeldBy        string        `json:"held_by,omitempty" doc:"who paused or resumed it last"`
	HeldAt        time.Time     `json:"held_at,omitzero"`
	HighWater     time.Time     `json:"high_water,omitzero" doc:"changes up to here are known"`
	Missed        int64         `json:"missed" doc:"scheduled runs that nobody was there to start"`
	Overlaps      int64         `json:"overlaps" doc:"scheduled runs skipped because one was under way"`
	SkippedPaused int64         `json:"skipped_paused" doc:"scheduled runs that did not start because the sweep was paused"`
	Pending       *SweepPending `json:"pending,omitempty" doc:"a request that the planner has not seen yet"`
	Handled       *SweepHandled `json:"handled,omitempty" doc:"what became of the newest request that it has seen"`
	Current       *Run          `json:"current,omitempty" doc:"the run under way"`
	Last          []Run         `json:"last,omitempty" doc:"ended runs, newest first"`
}

// SweepPending is a request that waits to be seen.
type SweepPending struct {
	Request string    `json:"request"`
	Action  string    `json:"action"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
}

// SweepHandled is a request that was seen.
type SweepHandled struct {
	Request string    `json:"request"`
	Run     string    `json:"run,omitempty" doc:"that was started or cancelled"`
	Answer  string    `json:"answer,omitempty" doc:"why nothing was"`
	At      time.Time `json:"at"`
}

// Run is one pass of a sweep, under way or ended.
type Run struct {
	ID      string    `json:"id"`
	Mode    string    `json:"mode" enum:"repair,plan,apply"`
	Deep    bool      `json:"deep,omitempty"`
	PlanOf  string    `json:"plan_of,omitempty" doc:"the run whose plan is applied"`
	By      string    `json:"by" doc:"schedule, catch-up, or who asked"`
	Since   time.Time `json:"since,omitzero" doc:"from when on changes are read"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	State   string    `json:"state" enum:"running,settling,done,failed,cancelled" doc:"settling: all was read and what was handed on is being worked"`
	Stage   string    `json:"stage,omitempty"`
	Paused  bool      `json:"paused,omitempty"`

	Done      int64            `json:"done" doc:"records listed"`
	Total     int64            `json:"total,omitempty" doc:"records there are; absent: nobody knows"`
	Estimated bool             `json:"estimated,omitempty" doc:"total is what the last complete run listed"`
	Equal     int64            `json:"equal"`
	HandedOn  int64            `json:"handed_on" doc:"records whose lists did not show that they are equal: both sides are compared"`
	Why       map[string]int64 `json:"why,omitempty" doc:"handed on, by reason"`
	Pages     int64            `json:"pages"`
	Calls     map[string]int64 `json:"calls,omitempty" doc:"list calls by service"`
	PerSecond float64          `json:"per_second,omitempty" doc:"records listed per second"`
	ETA       time.Time        `json:"eta,omitzero" doc:"when everything will have been listed; while settling, when all that was handed on will have come to an end"`

	// Outcomes are what became of those handed on, nil while ClickHouse does
	// not say and for ended runs in a list.
	Outcomes *Outcomes `json:"outcomes,omitempty"`

	Note  string `json:"note,omitempty"`
	Late  string `json:"late,omitempty" doc:"why the next page is late"`
	Error string `json:"error,omitempty"`
}

// RunEnded reports whether a run in this state goes no further.
func RunEnded(state string) bool { return state == "done" || state == "failed" || state == "cancelled" }

// Outcomes are what became of the triggers of a run, as far as ClickHouse knows.
type Outcomes struct {
	Answered int64            `json:"answered" doc:"triggers with an outcome"`
	Final    int64            `json:"final" doc:"of these, not put off"`
	LedTo    int64            `json:"led_to" doc:"further records that those handed on led to, whose triggers are counted here too"`
	Drifted  int64            `json:"drifted" doc:"found different: applied or observed"`
	Repaired int64            `json:"repaired" doc:"applied"`
	Failed   int64            `json:"failed"`
	ByName   map[string]int64 `json:"by_outcome,omitempty"`
	ByReason map[string]int64 `json:"by_reason,omitempty" doc:"outcome/reason"`
}

// SweepAsk is what somebody wants of a sweep.
type SweepAsk struct {
	Action string // run, pause, resume, cancel
	Mode   string // of a run: repair, plan, apply
	Deep   bool
	PlanOf string
	By     string
}

// SweepAnswer says what became of a request.
type SweepAnswer struct {
	Request string `json:"request,omitempty" doc:"its id, which pending and handled of the sweep show"`
	Seen    bool   `json:"seen" doc:"false: the planner has not seen it yet; look at the sweep again"`
	Run     string `json:"run,omitempty" doc:"that was started or cancelled"`
	Answer  string `json:"answer,omitempty" doc:"why nothing was"`
}

// Asker says who asks. There is no authentication: it is taken on trust, and
// recorded.
type Asker struct {
	By string `json:"by" minLength:"1" maxLength:"200" doc:"who asks; it is recorded"`
}

// RunBody is the body of a request for a run of a sweep.
type RunBody struct {
	Asker
	Mode   string `json:"mode,omitempty" enum:"repair,plan,apply" default:"repair" doc:"plan writes nothing and records what would be written; apply writes what a plan says and nothing else"`
	Deep   bool   `json:"deep,omitempty" doc:"look at every record on both sides"`
	PlanOf string `json:"plan_of,omitempty" maxLength:"200" doc:"with apply: the run that planned"`
}

type nothing struct{}

// OfSweep is the input of a read of one sweep.
type OfSweep struct {
	Name string `path:"name" maxLength:"100"`
}

type sweepList struct {
	Sweeps []Sweep `json:"sweeps"`
}

func (a *api) sweeps() {
	get(a, "list-sweeps", "/api/sweeps", "All sweeps and how they stand", func(ctx context.Context, _ *nothing) (sweepList, error) {
		all, err := a.Sweeps.Sweeps(ctx)
		return sweepList{orEmpty(all)}, err
	})
	get(a, "get-sweep", "/api/sweeps/{name}", "How one sweep stands", func(ctx context.Context, in *OfSweep) (Sweep, error) {
		found, err := a.Sweeps.Sweeps(ctx, in.Name)
		if err != nil {
			return Sweep{}, err
		}
		if len(found) != 1 {
			return Sweep{}, fault.Newf(fault.NotFound, "there is no sweep %q; GET /api/sweeps lists what there is", in.Name)
		}
		return found[0], nil
	})
	type runInput struct {
		OfSweep
		Body RunBody
	}
	post(a, "run-sweep", "/api/sweeps/{name}/run", "Start a run now", func(ctx context.Context, in *runInput) (SweepAnswer, error) {
		b := in.Body
		return a.Sweeps.Ask(ctx, in.Name, SweepAsk{Action: "run", Mode: b.Mode, Deep: b.Deep, PlanOf: b.PlanOf, By: b.By})
	})
	type byInput struct {
		OfSweep
		Body Asker
	}
	for action, summary := range map[string]string{
		"pause":  "Start no scheduled run and stop the one under way at its next page",
		"resume": "End a pause; a run that was stopped goes on where it was",
		"cancel": "End the run under way",
	} {
		post(a, action+"-sweep", "/api/sweeps/{name}/"+action, summary, func(ctx context.Context, in *byInput) (SweepAnswer, error) {
			return a.Sweeps.Ask(ctx, in.Name, SweepAsk{Action: action, By: in.Body.By})
		})
	}
}

// orEmpty makes an empty list of none, so that JSON says [] and not null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
