package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"hotsync/event"
	"hotsync/internal/callout"
	"hotsync/internal/fault"
	"hotsync/record"
)

// recorder makes an event durable before it returns.
type recorder interface {
	Record(ctx context.Context, e event.Event) error
}

// writer makes one write in Limio and returns the id of its object.
type writer interface {
	Apply(ctx context.Context, w record.Write) (id string, err error)
}

// Config is what an Engine works with.
type Config struct {
	Reconcilers map[string]Reconciler // by system:kind of the key
	Expanders   map[string]Expander   // likewise
	Limio       writer
	Events      recorder
	Memories    rememberer
	Guard       GuardConfig
	// Observe says which keys are planned and recorded but never written, as
	// patterns of path.Match over the written key; ObserveAll means all.
	Observe    []string
	ObserveAll bool
	// Delegate has Limio's own sync make records true instead of writing them.
	Delegate bool
	// Scope says which records are taken care of. It is asked once for every job,
	// since it may be replaced. Nil, or a nil answer: all of them.
	Scope func() *Scope
	// Newcomers says what becomes of Stripe subscriptions that Limio does not
	// know. Nil: nothing.
	Newcomers *Newcomers
	// VerifyFull reads Limio even when the wanted state is the one it was last
	// seen to hold.
	VerifyFull bool
	// SweepImports lets sweeps import customers whom Limio does not know.
	SweepImports bool
	// ShowPersonal keeps names, e-mail addresses and streets readable in events.
	ShowPersonal bool
	Instance     string
	Build        string
	Now          func() time.Time
}

// Engine turns jobs into events. It keeps no state of its own.
type Engine struct{ cfg Config }

// New returns an engine.
func New(cfg Config) *Engine {
	if n := cfg.Newcomers; n != nil && n.cfg.Mode == NewcomersOrder {
		cfg.Guard.Own = event.Origin(n.cfg.Source)
		cfg.Guard.Origins = append(slices.Clip(cfg.Guard.Origins), cfg.Guard.Own)
	}
	return &Engine{cfg: cfg}
}

// Verdict is how a job ended and what must be made durable before its triggers
// are committed.
type Verdict struct {
	Event    event.Event
	Memory   Memory
	Remember bool            // Memory differs from the job's
	Later    []event.Trigger // to be looked at at their NotBefore
	Now      []event.Trigger // to be looked at at once
	Wait     time.Duration   // of a deferred sync: how long the other side asked to wait
	Changes  []record.Change // as in Event, unmasked
}

// Handle does a job. It returns an error only when the job must be left for
// another day or another instance: the context ended, the fence fell, or an
// event could not be made durable. Then nothing may be committed.
func (e *Engine) Handle(ctx context.Context, j Job) (Verdict, error) {
	var calls callout.Log
	before := j.Memory
	j.Memory = before.In(e.cfg.memoryMode())
	s := &sync{Engine: e, job: j, refs: Refs(j.Triggers), scope: e.cfg.scope(), start: e.cfg.Now(), memory: j.Memory, changes: slices.Clone(j.Before)}
	s.memory.Subscriptions = maps.Clone(j.Memory.Subscriptions)
	err := s.run(callout.Into(ctx, &calls))
	if err != nil && (ctx.Err() != nil || fault.Of(err) == fault.Stopped) {
		return Verdict{}, fmt.Errorf("sync %s: %w", j.Key, err)
	}
	s.conclude(err)
	s.verdict.Event = s.event(event.Done, calls.Calls())
	s.verdict.Changes = s.changes
	s.verdict.Memory = s.memory
	s.verdict.Remember = s.verdict.Remember || !s.memory.equal(before)
	if err := s.verdict.Event.Identify(); err != nil {
		return Verdict{}, err
	}
	return s.verdict, nil
}

// sync is one job under way.
type sync struct {
	*Engine
	job     Job
	refs    []event.Ref // all that asked for the job
	scope   *Scope
	start   time.Time
	memory  Memory
	want    Want
	have    Have
	changes []record.Change // set out to be written, each once

	outcome event.Outcome
	reason  event.Reason
	note    string
	plan    string // of an observed sync
	ordered string // the order that this sync sent, or found again
	origin  event.Origin
	err     error
	verdict Verdict
}

// maxRounds bounds reading, writing and reading back: one round for what must
// be imported, one for what can only be written then, and one that must find
// nothing left.
const maxRounds = 3

func (s *sync) run(ctx context.Context) error {
	if err := s.inScope(nil); err != nil {
		return err
	}
	kind := s.job.Key.System + ":" + s.job.Key.Kind
	if x, ok := s.cfg.Expanders[kind]; ok {
		return s.expand(ctx, x)
	}
	r, ok := s.cfg.Reconcilers[kind]
	if !ok {
		return skip(event.ReasonDisabled, "no reconciler is configured for "+kind)
	}
	if stop := s.cfg.Guard.byTriggers(s.refs, s.memory, s.start); stop != nil {
		s.suppress(stop)
		return nil
	}
	var err error
	if s.want, err = r.Want(ctx, s.request()); err != nil {
		return err
	}
	if err := s.inScope(&s.want.Source); err != nil {
		return err
	}
	if s.want.Newcomer != nil {
		if err := s.enrol(ctx, r); err != nil || s.outcome != "" {
			return err
		}
	}
	if s.want.Fingerprint == s.memory.Converged && s.memory.Converged != "" && !s.mustLook() {
		s.memory.Mark, s.memory.Until = s.want.Mark, s.want.Until
		s.end(event.InSync, event.ReasonFingerprint, "")
		return nil
	}
	return s.converge(ctx, r)
}

// converge reads Limio, writes the difference and reads again, until nothing
// differs.
func (s *sync) converge(ctx context.Context, r Reconciler) error {
	for round := 1; ; round++ {
		var err error
		if s.have, err = r.Have(ctx, s.want, s.memory); err != nil {
			return err
		}
		s.memory.Customer = s.have.Customer
		s.memory.Subscriptions = s.have.Subscriptions
		p := s.planned(r.Diff(s.want, s.have, s.cfg.Now()))
		if len(p.wishes) == 0 {
			s.converged(p.note())
			return nil
		}
		if round == 1 {
			if s.notMigrated(p.wishes) {
				return skip(event.ReasonUnknownAccount, "Limio does not know this customer yet; it is imported when the customer logs in (or by sweeps.import: true)")
			}
			if halt, err := s.guard(ctx, r, p.wishes); halt || err != nil {
				return err
			}
		} else if !s.mayGoOn(round, p.wishes) {
			s.memory.Converged = ""
			s.end(event.Failed, event.ReasonNotConverged, leftover(p.wishes))
			return nil
		}
		if err := s.apply(ctx, p); err != nil {
			return err
		}
		if s.cfg.Delegate || imports(p.asks) {
			// Limio has read the billing system by itself, later than we did: what
			// we read before may be older than what it now holds.
			if s.want, err = r.Want(ctx, s.request()); err != nil {
				return err
			}
		}
	}
}

// mustLook reports whether Limio has to be read although the wanted state is the
// one it was last seen to hold: somebody asks for it, or Limio itself has had a
// hand in it since.
func (s *sync) mustLook() bool {
	return s.cfg.VerifyFull || insist(s.refs) ||
		slices.ContainsFunc(s.job.Triggers, func(t event.Trigger) bool { return t.Verify }) ||
		slices.ContainsFunc(s.refs, func(r event.Ref) bool { return slices.Contains(s.cfg.Guard.Origins, r.Origin) })
}

func (s *sync) request() Request {
	return Request{Key: s.job.Key, Via: s.job.via(), Memory: s.memory, Limio: s.job.limio()}
}

// notMigrated reports whether a sweep came upon a customer whom Limio has never
// heard of. A company moves its customers when it wants to: a sweep keeps records
// true and does not start a migration.
func (s *sync) notMigrated(writes []record.Write) bool {
	return !s.cfg.SweepImports && s.have.Customer == "" && imports(writes) && sweepsOnly(s.refs)
}

func imports(writes []record.Write) bool {
	return slices.ContainsFunc(writes, func(w record.Write) bool { return w.Op == record.OpImport })
}

// mayGoOn reports whether writes that are still needed after a round are a
// consequence of it: an import makes records whose parts can only be compared
// once they exist.
func (s *sync) mayGoOn(round int, writes []record.Write) bool {
	return round < maxRounds && s.created() && !imports(writes)
}

func (s *sync) converged(note string) {
	s.memory.Converged, s.memory.Updated = s.want.Fingerprint, s.have.Updated
	s.memory.Mark, s.memory.Until = s.want.Mark, s.want.Until
	s.memory.Skipped, s.memory.OutOf = time.Time{}, ""
	s.memory.SettleUntil, s.memory.SettleOrigin, s.memory.FollowUp = time.Time{}, "", time.Time{}
	switch {
	case len(s.changes) == 0:
		s.end(event.InSync, event.ReasonEqual, note)
		return
	case s.created():
		s.end(event.Applied, event.ReasonCreated, note)
	default:
		s.end(event.Applied, event.ReasonDriftRepaired, note)
	}
	s.memory = s.cfg.Guard.written(s.memory, s.want.Fingerprint, s.cfg.Now())
}

// guard decides whether a non-empty plan may be written. It reports true when
// the sync ended here.
func (s *sync) guard(ctx context.Context, r Reconciler, writes []record.Write) (halt bool, err error) {
	plan, err := planID(writes)
	if err != nil {
		return false, err
	}
	if s.observes() {
		s.add(record.Changes(writes))
		s.plan = plan
		s.end(event.Observed, event.ReasonWouldApply, "")
		return true, nil
	}
	if s.baseMoved(plan, writes) {
		return true, nil
	}
	orders := s.foreign(s.have.Orders)
	if o, ok := r.(Originator); ok {
		more, err := o.Orders(ctx, s.have, writes)
		if err != nil {
			return false, err
		}
		orders = append(slices.Clone(orders), more...)
	}
	// What was read while a change was settling is old, however long the calls
	// after it had to wait for their turn.
	stop := s.cfg.Guard.byOrders(orders, s.refs, s.start)
	if stop == nil && !insist(s.refs) {
		stop = s.cfg.Guard.brake(s.memory, s.want.Fingerprint, s.cfg.Now())
	}
	if stop == nil {
		return false, nil
	}
	s.add(record.Changes(writes))
	s.suppress(stop)
	return true, nil
}

// baseMoved ends the sync when a person reviewed another plan than this one.
func (s *sync) baseMoved(plan string, writes []record.Write) bool {
	base, bound := s.job.base()
	if !bound || base == plan || s.ordered != "" {
		return false
	}
	s.add(record.Changes(writes))
	s.end(event.Skipped, event.ReasonBaseMoved, "something changed since the plan was made: what would be written now is not what was reviewed")
	return true
}

// apply makes the plan durable, then writes it. Invariant 2 and 6.
func (s *sync) apply(ctx context.Context, p delegation) error {
	if err := s.announce(ctx, p.wishes); err != nil {
		return err
	}
	for _, w := range p.asks {
		if err := s.fence(ctx, w); err != nil {
			return err
		}
		id, err := s.cfg.Limio.Apply(callout.Ending(ctx), w) // a plan grows old while it waits
		if err != nil {
			return err
		}
		if w.Op == record.OpImport {
			if s.memory.Subscriptions == nil {
				s.memory.Subscriptions = map[string]string{}
			}
			s.memory.Subscriptions[w.Ref] = id
		}
	}
	return nil
}

// announce makes durable what is about to be written.
func (s *sync) announce(ctx context.Context, writes []record.Write) error {
	if s.memory.begin(s.job.SyncID()) { // before the event: a plan that is durable is known to be open
		if err := s.remember(ctx); err != nil {
			return err
		}
	}
	planned := record.Changes(writes)
	s.add(planned)
	ev := s.event(event.Planned, nil)
	ev.Changes = s.mask(planned)
	if err := ev.Identify(); err != nil {
		return err
	}
	if err := s.cfg.Events.Record(ctx, ev); err != nil {
		return fault.As(fault.Stopped, fmt.Errorf("record the plan of %s: %w", s.job.Key, err))
	}
	return nil
}

// fence fails when the key is no longer ours to write.
func (s *sync) fence(ctx context.Context, w record.Write) error {
	if err := s.job.Fence(ctx); err != nil {
		return fault.As(fault.Stopped, fmt.Errorf("before writing %s %s: %w", w.Type, cmp.Or(w.ID, w.Ref), err))
	}
	return nil
}

// add notes changes, each once: a try that is made again plans the same.
func (s *sync) add(changes []record.Change) {
	for _, c := range changes {
		if !slices.Contains(s.changes, c) {
			s.changes = append(s.changes, c)
		}
	}
}

// created reports whether a record was imported, ordered or made on the way.
func (s *sync) created() bool {
	return slices.ContainsFunc(s.changes, func(c record.Change) bool {
		return c.Op == record.OpImport || c.Op == record.OpOrder || (c.Op == record.OpCreate && c.Object == record.SubscriptionType)
	})
}

func (s *sync) expand(ctx context.Context, x Expander) error {
	found, err := x.Expand(ctx, s.job.Key)
	if err != nil {
		return err
	}
	if s.job.Key.Kind == "lookup" && len(found) == 1 {
		s.memory.Account = found[0].Key.ID
	}
	return &Nothing{
		Outcome: event.Skipped, Reason: event.ReasonFannedOut, Forward: found,
		Note: fmt.Sprintf("led to %d other keys", len(found)),
	}
}

func (s *sync) suppress(stop *suppression) {
	s.memory = s.memory.suppressed(stop)
	s.origin = stop.origin
	s.end(event.Suppressed, stop.reason, stop.note)
	s.followUp(stop.until)
}

// followUp asks for another look once a suppression ends, so that none is
// without an end.
func (s *sync) followUp(at time.Time) {
	if !s.memory.FollowUp.Before(at) {
		return // already asked for
	}
	s.memory.FollowUp = at
	first := s.job.Triggers[0]
	s.verdict.Later = append(s.verdict.Later, event.Trigger{
		ID:  event.Digest("follow-up", s.job.SyncID(), at.UTC().Format(time.RFC3339Nano)),
		Key: s.job.Key, Cause: event.CauseRetry, Type: "after_suppression", Delivery: first.Delivery, Source: first.Source,
		Via: s.job.via(), At: s.start, Received: at, NotBefore: at,
	})
}

func (s *sync) end(o event.Outcome, r event.Reason, note string) {
	s.outcome, s.reason, s.note = o, r, note
}

// conclude turns the error of a run, if any, into an outcome: the one place
// where classes become outcomes.
func (s *sync) conclude(err error) {
	var n *Nothing
	if (err == nil || errors.As(err, &n)) && s.job.Key.System == "stripe" {
		s.memory.Looked = s.start // Stripe's list of events says when things happened
	}
	if err == nil {
		return
	}
	if n != nil {
		s.end(n.Outcome, n.Reason, n.Note)
		s.forward(n.Forward)
		s.skipped(n)
		return
	}
	s.err = err
	s.memory.Converged = ""
	switch class := fault.Of(err); {
	case class == fault.RateLimited:
		s.end(event.Deferred, event.ReasonRateLimited, "")
	case class == fault.Locked:
		s.end(event.Deferred, event.ReasonLocked, "")
	case class == fault.UnknownOutcome:
		s.end(event.Deferred, event.ReasonUnknownOutcome, "a write was sent and its answer was lost; both sides are read again before anything is written")
	case class.Passing():
		s.end(event.Deferred, event.ReasonUnavailable, "")
	case class == fault.Forbidden:
		s.end(event.Failed, event.ReasonForbidden, "")
	case class == fault.NotFound:
		// Something vanished between two reads; the next look sees why.
		s.end(event.Deferred, event.ReasonUnavailable, "a record vanished while it was looked at")
	case class == fault.Refused, class == fault.Ambiguous:
		s.end(event.Failed, event.ReasonRefused, "")
	default:
		s.end(event.Failed, event.ReasonBug, "")
	}
	s.verdict.Wait = fault.Wait(err)
}

// skipped remembers what was found, so that a sweep asks no more of a record
// that is none of hotsync's business until it changes.
func (s *sync) skipped(n *Nothing) {
	if mark := cmp.Or(n.Mark, s.want.Mark); n.Outcome == event.Skipped && mark != "" {
		s.memory.Mark, s.memory.Skipped, s.memory.Converged = mark, s.start, ""
		s.memory.Until, s.memory.OutOf = s.want.Until, ""
		if n.Reason == event.ReasonOutOfScope {
			s.memory.OutOf = s.scope.digest()
		}
	}
}

func (s *sync) forward(to []Request) {
	for _, r := range to {
		t, lead := s.job.Asked(), lead(s.refs)
		t.ID = event.Digest("forward", s.job.SyncID(), r.Key.String())
		t.Key, t.Via, t.Limio = r.Key, r.Via, r.Limio
		t.Cause, t.Type, t.Delivery, t.Source, t.At, t.Received = lead.Cause, lead.Type, lead.Delivery, lead.Source, lead.At, lead.Received
		t.SyncID, t.Attempt, t.NotBefore, t.FirstFail, t.LastError = "", 0, time.Time{}, time.Time{}, ""
		t.Origin = firstOrigin(s.refs)
		s.verdict.Now = append(s.verdict.Now, t)
	}
}

func (s *sync) observes() bool {
	if s.cfg.ObserveAll || s.job.plansOnly() {
		return true
	}
	return slices.ContainsFunc(s.cfg.Observe, func(pattern string) bool {
		ok, _ := path.Match(pattern, s.job.Key.String())
		return ok
	})
}

func leftover(writes []record.Write) string {
	out := "still different after writing:"
	for i, c := range record.Changes(writes) {
		if i == 5 {
			return out + " …"
		}
		out += fmt.Sprintf(" %s %s %s;", c.Object, cmp.Or(c.ID, c.Ref), c.Field)
	}
	return out
}
