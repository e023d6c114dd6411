// Package sweep plans passes over many records: it reads lists page by page and
// hands on, as bulk triggers, whatever deserves a look. It promises never to
// sync anything itself, that every record which was due on a page is handed on
// at least once however often the process dies, always with the same trigger
// ids, and that a run which could not read everything says so.
//
// Each sweep is planned by itself, in this order, over and over:
//
//	requests ─► schedule ─► next page ─► judge ─► emit ─► save the cursor
//
// What a crash repeats is the last page. One instance plans at a time; which one
// is up to the caller, who says so with Config.Fence.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hotsync/event"
	"hotsync/record"
)

// The sweeps.
const (
	ZuoraChanged = "zuora-changed" // Zuora accounts with something updated since the last run
	ZuoraFull    = "zuora-full"    // all Zuora accounts, then the Limio records that belong to them
	StripeEvents = "stripe-events" // what Stripe's list of events names
	StripeDrift  = "stripe-drift"  // all Stripe subscriptions, then the Limio records that belong to them
	LimioOrphans = "limio-orphans" // Limio subscriptions that nobody is known to own
)

// Names lists the sweeps.
func Names() []string {
	return []string{ZuoraChanged, ZuoraFull, StripeEvents, StripeDrift, LimioOrphans}
}

// Config is what a Planner needs. All of it is required unless a field says
// otherwise.
type Config struct {
	Ledger ledger
	// Changed has something to receive after somebody wrote a record of the
	// ledger whose key is one of a sweep. A missed one costs a minute.
	Changed <-chan struct{}
	// Schedules says when each sweep runs, by its name. One that is missing runs
	// only when somebody asks.
	Schedules map[string]Schedule
	Lists     Lists

	// Due says whether a record of a billing system's list must be looked at.
	Due func(record.Glimpse) (why string, due bool)
	// Stale returns the key that a Limio record of a list belongs to, whether it
	// must be looked at or not: its owner in a billing system, or
	// limio:subscription:… for one that nobody is known to own, or the zero Key
	// for a record to leave alone. Only keys of the system that a sweep is about
	// are handed on.
	Stale func(limioID, updated string) (key record.Key, why string, due bool)
	// Looked reports whether a key was looked at since a time.
	Looked func(key record.Key, at time.Time) bool

	// Emit makes bulk triggers durable before it returns.
	Emit func(ctx context.Context, triggers []event.Trigger) error
	// Record makes an event durable before it returns.
	Record func(ctx context.Context, e event.Event) error
	// Fence returns an error when this instance may no longer plan. It is asked
	// right before everything that others can see.
	Fence func(ctx context.Context) error
	// Ends returns the offset after the newest message of each partition of the
	// bulk topic.
	Ends func(ctx context.Context) (map[int]int64, error)
	// Answered reports whether every message before ends has been worked once.
	Answered func(ctx context.Context, ends map[int]int64) (bool, error)
	// Observe is called after every step of a run, for metrics; it must not
	// block, and may keep what it gets. Optional.
	Observe func(State)

	Patience time.Duration // how long a page is tried again; 15 min when zero
	Poll     time.Duration // how often Answered is asked; 5 s when zero

	Instance string // names this process in events; optional
	Build    string // likewise
	Now      func() time.Time
	Log      zerolog.Logger
}

// Lists are the lists that sweeps read, as functions that read one page. A
// system that is not followed has none of its own. All take "" as the cursor of
// the first page and return "" as that of the page after the last. Errors carry
// a class of package fault: passing ones are tried again.
type Lists struct {
	// ZuoraAccounts lists every account.
	ZuoraAccounts func(ctx context.Context, cursor string) (record.Page, error)
	// ZuoraKinds are the kinds of records that ZuoraChanged knows.
	ZuoraKinds []string
	// ZuoraChanged lists the ids of the accounts to which records of a kind
	// belong that were changed at since or later. Ids may repeat.
	ZuoraChanged func(ctx context.Context, kind string, since time.Time, cursor string) (accounts []string, next string, err error)
	// ZuoraGlimpses shows accounts by their ids, at most GlimpsesAtOnce. One
	// that it does not show is looked at.
	ZuoraGlimpses func(ctx context.Context, ids []string) ([]record.Glimpse, error)
	// StripeSubscriptions lists every subscription, ended ones too.
	StripeSubscriptions func(ctx context.Context, cursor string) (record.Page, error)
	// StripeEvents lists what happened at since or later.
	StripeEvents func(ctx context.Context, since time.Time, cursor string) (found []Touched, next string, err error)
	// Limio lists every record of a type, with its ID and the field "updated".
	Limio func(ctx context.Context, t record.Type, cursor string) (found []record.Object, next string, err error)
	// Reviewed lists the plans that a run made and a person may have applied.
	// Optional, as Review: without them mode apply is refused.
	Reviewed func(ctx context.Context, run, cursor string) (found []Reviewed, next string, err error)
	// Review says whether all of them are there to be listed.
	Review func(ctx context.Context, run string) (Review, error)
}

// GlimpsesAtOnce is how many ids Lists.ZuoraGlimpses gets at most
// (zuora-stripe.md Z3: pages of 99).
const GlimpsesAtOnce = 99

// Touched is a key that something happened to.
type Touched struct {
	Key  record.Key
	At   time.Time
	Type string // the vendor's word: invoice.paid
	ID   string // of the vendor's event
}

// Reviewed is one plan of a run.
type Reviewed struct {
	Key   record.Key
	Plan  string // Event.Plan
	Limio string // the Limio record that is said to belong to the key; may be ""
}

// Planner plans sweeps.
type Planner struct {
	cfg Config

	mu         sync.Mutex
	timetables map[string]timetable
	runners    []*runner // while Run does
}

// New returns a planner. It fails when a schedule cannot be understood, which
// names the sweep and the schedule, or when cfg lacks something.
func New(cfg Config) (*Planner, error) {
	if cfg.Patience == 0 {
		cfg.Patience = 15 * time.Minute
	}
	if cfg.Poll == 0 {
		cfg.Poll = 5 * time.Second
	}
	if cfg.Observe == nil {
		cfg.Observe = func(State) {}
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := &Planner{cfg: cfg}
	return p, p.Reschedule(cfg.Schedules)
}

func (c Config) check() error {
	var missing []error
	need := func(name string, there bool) {
		if !there {
			missing = append(missing, fmt.Errorf("plan sweeps: %s is not set", name))
		}
	}
	need("Ledger", c.Ledger != nil)
	need("Due", c.Due != nil)
	need("Stale", c.Stale != nil)
	need("Looked", c.Looked != nil)
	need("Emit", c.Emit != nil)
	need("Record", c.Record != nil)
	need("Fence", c.Fence != nil)
	need("Ends", c.Ends != nil)
	need("Answered", c.Answered != nil)
	need("Now", c.Now != nil)
	need("Lists.Limio", c.Lists.Limio != nil)
	return errors.Join(missing...)
}

// Reschedule replaces the schedules, also while Run does. Runs under way go on;
// what a sweep missed counts from now on. It changes nothing when it fails, for
// the reasons that New does.
func (p *Planner) Reschedule(schedules map[string]Schedule) error {
	all := map[string]timetable{}
	var bad []error
	for _, name := range Names() {
		t, err := newTimetable(name, schedules[name])
		all[name] = t
		bad = append(bad, err)
	}
	for name := range schedules {
		if _, ok := all[name]; !ok {
			bad = append(bad, fmt.Errorf("schedule of sweep %s: there is no such sweep", name))
		}
	}
	if err := errors.Join(bad...); err != nil {
		return err
	}
	p.mu.Lock()
	p.timetables = all
	p.mu.Unlock()
	p.wake()
	return nil
}

func (p *Planner) timetable(name string) timetable {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.timetables[name]
}

// Run plans until ctx ends, which is no error, or until the fence, the ledger,
// Emit or Record fails, which is. It starts from what the ledger shows, so that
// must have caught up with what earlier planners wrote to it. It may be called
// again after it returned, but not twice at a time.
func (p *Planner) Run(ctx context.Context) error {
	own, stop := context.WithCancel(ctx)
	defer stop()
	var runners []*runner
	for _, name := range Names() {
		runners = append(runners, newRunner(p, name))
	}
	p.mu.Lock()
	p.runners = runners
	p.mu.Unlock()
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	for _, r := range runners {
		wg.Go(func() {
			err := r.guarded(own)
			once.Do(func() { first = err })
			stop()
		})
	}
	p.listen(own)
	wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return first
}

// listen wakes the runners whenever the ledger changed.
func (p *Planner) listen(ctx context.Context) {
	changed := p.cfg.Changed
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-changed:
			if !open {
				changed = nil
			}
			p.wake()
		}
	}
}

func (p *Planner) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.runners {
		select {
		case r.woken <- struct{}{}:
		default:
		}
	}
}

// guarded turns a panic of the planner itself into an error, so that it stops
// planning in the open. A panic while a page is read ends one run only.
func (r *runner) guarded(ctx context.Context) (err error) {
	defer func() {
		if x := recover(); x != nil {
			r.log.Error().Interface("panic", x).Bytes("stack", debug.Stack()).Msg("planner panicked")
			err = fmt.Errorf("plan sweep %s: panic: %v", r.name, x)
		}
	}()
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("plan sweep %s: %w", r.name, err)
	}
	return nil
}
