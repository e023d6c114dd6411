package sweep

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"hotsync/record"
)

// ledger is where sweeps keep what must outlive a process. Every instance sees
// all of it; Get may lag behind what another instance has just written.
type ledger interface {
	// Get returns the newest value of a key, nil when there is none.
	Get(key record.Key) []byte
	// Put makes a value durable before it returns.
	Put(ctx context.Context, key record.Key, value []byte) error
}

// StateKey is where the planner, and nobody else, keeps the State of a sweep.
func StateKey(name string) record.Key { return record.Key{System: "sweep", Kind: "state", ID: name} }

// HoldKey is where operators keep the Hold of a sweep.
func HoldKey(name string) record.Key { return record.Key{System: "sweep", Kind: "pause", ID: name} }

// AskKey is where operators keep the latest Ask of a sweep.
func AskKey(name string) record.Key { return record.Key{System: "sweep", Kind: "request", ID: name} }

// RunKey is the key of a run's summary event.
func RunKey(id string) record.Key { return record.Key{System: "sweep", Kind: "run", ID: id} }

// State is all that the planner knows about one sweep.
type State struct {
	Name string `json:"name"`
	// Off says that what the sweep reads is not configured.
	Off bool `json:"off,omitempty"`
	// Schedule is the specification, with its time zone, that LastDue and Next
	// belong to; "" when the sweep never runs by itself.
	Schedule string `json:"schedule,omitempty"`
	// LastDue is the newest time of the schedule that was dealt with: run,
	// missed, or skipped.
	LastDue time.Time `json:"last_due,omitzero"`
	// Next is when the next scheduled run starts, jitter included.
	Next time.Time `json:"next,omitzero"`
	// HighWater is the time up to which changes and events are known. It moves
	// only when a run that repairs has read everything.
	HighWater time.Time `json:"high_water,omitzero"`
	Missed    int64     `json:"missed"`   // scheduled runs that nobody was there to start
	Overlaps  int64     `json:"overlaps"` // runs skipped because one was under way
	// SkippedPaused are scheduled runs that a pause kept from starting.
	SkippedPaused int64   `json:"skipped_paused,omitempty"`
	Handled       Handled `json:"handled,omitzero"`
	// Listed is how many records the last complete run listed.
	Listed  int64 `json:"listed,omitempty"`
	Current *Run  `json:"current,omitempty"`
	Last    []Run `json:"last,omitempty"` // newest first
}

// kept is how many ended runs a State holds.
const kept = 10

// Handled says what became of the newest Ask that the planner has seen.
type Handled struct {
	ID     string    `json:"id"`
	Run    string    `json:"run,omitempty"`    // that was started or cancelled
	Answer string    `json:"answer,omitempty"` // why nothing was
	At     time.Time `json:"at"`
}

// Mode says what the triggers of a run may do.
type Mode string

// The modes.
const (
	Repair Mode = "repair" // write what differs
	Plan   Mode = "plan"   // write nothing, record what would be written
	Apply  Mode = "apply"  // write what a reviewed plan says, and nothing else
)

// RunStatus says how far a run has come.
type RunStatus string

// The statuses of a run.
const (
	Running   RunStatus = "running"   // it reads lists
	Settling  RunStatus = "settling"  // everything was read; its triggers are being worked
	Done      RunStatus = "done"      // every trigger was worked once
	Failed    RunStatus = "failed"    // it could not read everything
	Cancelled RunStatus = "cancelled" // a person ended it
)

// Ended reports whether a run with this status goes no further.
func (s RunStatus) Ended() bool { return s == Done || s == Failed || s == Cancelled }

// Run is one pass of a sweep.
type Run struct {
	ID     string `json:"id"` // <name>/<UTC time>-<four hex digits>
	Mode   Mode   `json:"mode"`
	Deep   bool   `json:"deep,omitempty"`    // every listed record is handed on
	PlanOf string `json:"plan_of,omitempty"` // the run whose plan is applied
	By     string `json:"by"`                // schedule, catch-up, or who asked
	// Since is from when on changes and events are read, zero for other sweeps.
	Since   time.Time     `json:"since,omitzero"`
	Started time.Time     `json:"started"`
	Whole   time.Time     `json:"whole,omitzero"` // when the last page had been read
	Ended   time.Time     `json:"ended,omitzero"`
	Updated time.Time     `json:"updated,omitzero"` // when the last page was handed on
	Reading time.Duration `json:"reading_ns"`       // spent on pages, without pauses
	Status  RunStatus     `json:"status"`
	Stage   string        `json:"stage,omitempty"`
	Page    int           `json:"page"`             // pages of the stage that were read
	Cursor  string        `json:"cursor,omitempty"` // of the next page of the stage
	// StageListed is how many records the pages of the stage listed.
	StageListed int64 `json:"stage_listed,omitempty"`
	// Again are the stages that were read from their beginning a second time.
	Again []string `json:"again,omitempty"`
	// TakenOver says that another planner went on with it, so that what is listed
	// twice may be counted twice in Stats.HandedOn.
	TakenOver bool          `json:"taken_over,omitempty"`
	Stats     Stats         `json:"stats"`
	Estimate  int64         `json:"estimate,omitempty"` // records it is expected to list; 0: nobody knows
	Ends      map[int]int64 `json:"ends,omitempty"`     // while settling: offsets of the bulk topic to wait for
	Note      string        `json:"note,omitempty"`     // what a person should know about its reach
	Trouble   string        `json:"trouble,omitempty"`  // why the next page is late
	Error     string        `json:"error,omitempty"`
	Class     string        `json:"error_class,omitempty"`
	Instance  string        `json:"instance,omitempty"` // that started it
}

// Stats are the numbers of a run. Listed is the sum of Equal, HandedOn and
// Repeated.
type Stats struct {
	Pages    int64            `json:"pages"`
	Calls    map[string]int64 `json:"calls,omitempty"` // by service, failed ones too
	Listed   int64            `json:"listed"`
	Equal    int64            `json:"equal"`
	HandedOn int64            `json:"handed_on"`
	Repeated int64            `json:"repeated,omitempty"` // handed on earlier in the run
	Again    int64            `json:"again,omitempty"`    // of Listed: of lists that were then read from their beginning once more
	Why      map[string]int64 `json:"why,omitempty"`      // HandedOn by reason
}

// Records is how many records were listed, those of a list that was read again
// only once.
func (s Stats) Records() int64 { return s.Listed - s.Again }

func (r Run) clone() Run {
	r.Stats.Calls, r.Stats.Why, r.Ends = maps.Clone(r.Stats.Calls), maps.Clone(r.Stats.Why), maps.Clone(r.Ends)
	r.Again = slices.Clone(r.Again)
	return r
}

func (s State) clone() State {
	if s.Current != nil {
		run := s.Current.clone()
		s.Current = &run
	}
	s.Last = slices.Clone(s.Last)
	for i := range s.Last {
		s.Last[i] = s.Last[i].clone()
	}
	return s
}

// Hold says whether a sweep is paused.
type Hold struct {
	Paused bool      `json:"paused"`
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// Action is what an Ask wants.
type Action string

// The actions.
const (
	Start  Action = "run"    // start a run now
	Cancel Action = "cancel" // end the run under way
)

// Ask is what an operator wants of a sweep. The planner acts on the newest one
// and remembers its id.
type Ask struct {
	ID     string    `json:"id"` // made up when empty
	Action Action    `json:"action"`
	Mode   Mode      `json:"mode,omitempty"`    // of a run; empty means Repair
	Deep   bool      `json:"deep,omitempty"`    // look at every record on both sides
	PlanOf string    `json:"plan_of,omitempty"` // with Apply: the id of the run that planned
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// decode reads a value of the ledger. A value that is not there leaves v as it
// is.
func decode(l interface{ Get(record.Key) []byte }, key record.Key, v any) (found bool, err error) {
	b := l.Get(key)
	if len(b) == 0 {
		return false, nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("read %s of the ledger: %w", key, err)
	}
	return true, nil
}

func encode(ctx context.Context, l ledger, key record.Key, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	if err := l.Put(ctx, key, b); err != nil {
		return fmt.Errorf("write %s to the ledger: %w", key, err)
	}
	return nil
}
