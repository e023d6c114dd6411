package sweep

import (
	"context"
	"slices"
	"strings"
	"time"

	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// Request asks the planner, on whichever instance it runs, for a run now or for
// the end of the run under way. It returns the id of the request: Status shows
// what became of it. A request with the id of the newest one is that one again,
// and changes nothing. It fails with fault.NotFound for a sweep that there is not
// or that is not configured and for a plan of a run that there is not, with
// fault.Refused for a request that makes no sense, and with fault.Locked when a
// run is under way, when another request waits, or when the sweep is paused.
func Request(ctx context.Context, l ledger, name string, ask Ask) (id string, err error) {
	st, err := known(l, name)
	if err != nil {
		return "", err
	}
	if ask.Mode == "" && ask.Action == Start {
		ask.Mode = Repair
	}
	if err := ask.check(name); err != nil {
		return "", err
	}
	var waiting Ask
	if _, err := decode(l, AskKey(name), &waiting); err != nil {
		return "", err
	}
	if ask.ID != "" && (ask.ID == waiting.ID || ask.ID == st.Handled.ID) {
		return ask.ID, nil
	}
	if ask.Action == Start {
		if err := free(l, st, waiting); err != nil {
			return "", err
		}
	}
	if ask.Action == Start && ask.Mode == Apply {
		if err := st.proposes(ask.PlanOf); err != nil {
			return "", err
		}
	}
	if ask.ID == "" {
		ask.ID = event.Digest("sweep-request", st.Handled.ID, name, string(ask.Action), string(ask.Mode), ask.By, ask.At.UTC().Format(time.RFC3339Nano))
	}
	return ask.ID, encode(ctx, l, AskKey(name), ask)
}

// Pause keeps scheduled runs of a sweep from starting and stops a running one
// at the next page, until Resume. The class of its error for a sweep that there
// is not is fault.NotFound.
func Pause(ctx context.Context, l ledger, name, by string, at time.Time) error {
	return hold(ctx, l, name, Hold{Paused: true, By: by, At: at})
}

// Resume ends a pause: a run that was stopped goes on where it was. Its error is
// that of Pause.
func Resume(ctx context.Context, l ledger, name, by string, at time.Time) error {
	return hold(ctx, l, name, Hold{By: by, At: at})
}

func hold(ctx context.Context, l ledger, name string, h Hold) error {
	if _, err := known(l, name); err != nil {
		return err
	}
	return encode(ctx, l, HoldKey(name), h)
}

// known returns the state of a sweep that is planned somewhere.
func known(l ledger, name string) (State, error) {
	if !slices.Contains(Names(), name) {
		return State{}, fault.Newf(fault.NotFound, "there is no sweep %q; want one of %s", name, strings.Join(Names(), ", "))
	}
	var st State
	found, err := decode(l, StateKey(name), &st)
	switch {
	case err != nil:
		return State{}, err
	case !found:
		return State{}, fault.Newf(fault.NotFound, "no instance has planned sweep %s yet: is a daemon running, and are all partitions assigned?", name)
	case st.Off:
		return State{}, fault.Newf(fault.NotFound, "sweep %s is off: what it reads is not configured", name)
	}
	return st, nil
}

// free returns an error unless a run can start now.
func free(l ledger, st State, waiting Ask) error {
	var h Hold
	if _, err := decode(l, HoldKey(st.Name), &h); err != nil {
		return err
	}
	switch {
	case st.Current != nil:
		return fault.Newf(fault.Locked, "run %s is under way (%s); cancel it or wait for its end", st.Current.ID, st.Current.Status)
	case h.Paused:
		return fault.Newf(fault.Locked, "sweep %s is paused since %s by %s; resume it first", st.Name, h.At.UTC().Format(time.RFC3339), h.By)
	case waiting.ID != "" && waiting.ID != st.Handled.ID:
		return fault.Newf(fault.Locked, "a request of %s by %s waits to be seen (%s); try again in a moment", waiting.At.UTC().Format(time.RFC3339), waiting.By, waiting.Action)
	}
	return nil
}

// check returns an error unless a makes sense for a sweep.
func (a Ask) check(name string) error {
	switch {
	case a.Action == Cancel:
		return nil
	case a.Action != Start:
		return fault.Newf(fault.Refused, "action %q: want run or cancel", a.Action)
	case a.Mode == Apply && a.PlanOf == "":
		return fault.Newf(fault.Refused, "plan_of is empty: name the run whose plan is to be applied")
	case a.Mode == Apply && !strings.HasPrefix(a.PlanOf, name+"/"):
		return fault.Newf(fault.Refused, "plan_of %q is no run of sweep %s: their ids begin with %s/", a.PlanOf, name, name)
	case a.Mode == Apply && a.Deep:
		return fault.Newf(fault.Refused, "a reviewed plan says what to look at, so deep has no meaning with mode apply")
	case a.Mode != Apply && a.PlanOf != "":
		return fault.Newf(fault.Refused, "plan_of goes with mode apply, not with %s", a.Mode)
	case a.Mode != Repair && a.Mode != Plan && a.Mode != Apply:
		return fault.Newf(fault.Refused, "mode %q: want repair, plan or apply", a.Mode)
	}
	return nil
}

// Status is a sweep as every instance can show it.
type Status struct {
	Name          string    `json:"name"`
	Planned       bool      `json:"planned"` // some instance has planned it
	Off           bool      `json:"off"`     // what it reads is not configured
	Schedule      string    `json:"schedule,omitempty"`
	Next          time.Time `json:"next,omitzero"` // start of the next scheduled run; zero while paused or never
	Hold          Hold      `json:"hold"`
	HighWater     time.Time `json:"high_water,omitzero"`
	Missed        int64     `json:"missed"`
	Overlaps      int64     `json:"overlaps"`
	SkippedPaused int64     `json:"skipped_paused"`
	Pending       *Ask      `json:"pending,omitempty"` // a request that the planner has not seen
	Handled       Handled   `json:"handled,omitzero"`
	Current       *Progress `json:"current,omitempty"`
	Last          []Run     `json:"last,omitempty"` // newest first
}

// Progress is how far a run has come.
type Progress struct {
	Run       Run       `json:"run"`
	Done      int64     `json:"done"`            // records listed
	Total     int64     `json:"total,omitempty"` // records there are; 0: nobody knows
	Estimated bool      `json:"estimated"`       // Total is what the last complete run listed
	HandedOn  int64     `json:"handed_on"`
	PerSecond float64   `json:"per_second"`     // records listed a second, pauses left out
	ETA       time.Time `json:"eta,omitzero"`   // when everything will have been read
	Paused    bool      `json:"paused"`         // it reads no further
	Late      string    `json:"late,omitempty"` // why the next page is late
}

// StatusOf returns what the ledger says about a sweep. It fails only for a name
// that there is not, with fault.NotFound, and for a ledger that holds what
// nobody can read.
func StatusOf(l interface{ Get(record.Key) []byte }, name string, now time.Time) (Status, error) {
	if !slices.Contains(Names(), name) {
		return Status{}, fault.Newf(fault.NotFound, "there is no sweep %q; want one of %s", name, strings.Join(Names(), ", "))
	}
	var st State
	found, err := decode(l, StateKey(name), &st)
	if err != nil {
		return Status{}, err
	}
	out := Status{
		Name: name, Planned: found, Off: st.Off, Schedule: st.Schedule, Next: st.Next, HighWater: st.HighWater,
		Missed: st.Missed, Overlaps: st.Overlaps, SkippedPaused: st.SkippedPaused, Handled: st.Handled, Last: st.Last,
	}
	if _, err := decode(l, HoldKey(name), &out.Hold); err != nil {
		return Status{}, err
	}
	if out.Hold.Paused {
		out.Next = time.Time{}
	}
	var ask Ask
	if found, err = decode(l, AskKey(name), &ask); err != nil {
		return Status{}, err
	}
	if found && ask.ID != st.Handled.ID {
		out.Pending = &ask
	}
	if st.Current != nil {
		out.Current = progress(*st.Current, out.Hold.Paused, now)
	}
	return out, nil
}

func progress(r Run, paused bool, now time.Time) *Progress {
	p := &Progress{
		Run: r, Done: r.Stats.Records(), Total: max(r.Estimate, r.Stats.Records()), Estimated: true,
		HandedOn: r.Stats.HandedOn, Late: r.Trouble, Paused: paused && r.Status == Running,
	}
	switch {
	case !r.Whole.IsZero():
		p.Total, p.Estimated = r.Stats.Records(), false
	case r.Estimate == 0:
		p.Total, p.Estimated = 0, false
	}
	if r.Reading > 0 {
		p.PerSecond = float64(r.Stats.Listed) / r.Reading.Seconds()
	}
	if left := p.Total - p.Done; left > 0 && p.PerSecond > 0 && !p.Paused && r.Status == Running {
		p.ETA = now.Add(time.Duration(float64(left) / p.PerSecond * float64(time.Second)))
	}
	return p
}
