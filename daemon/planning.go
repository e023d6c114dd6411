package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"hotsync/connectors/kafka"
	"hotsync/connectors/limio"
	"hotsync/connectors/stripe"
	"hotsync/connectors/zuora"
	"hotsync/daemon/budget"
	"hotsync/daemon/config"
	"hotsync/daemon/sweep"
	"hotsync/event"
	"hotsync/reconcile"
	"hotsync/record"
	"hotsync/sinks/clickhouse"
)

// vendors are the clients whose lists sweeps read. Nil is not followed.
type vendors struct {
	zuora  *zuora.Client
	stripe *stripe.Client
	limio  *limio.Client
}

// planning runs the sweep planner on the instance that owns partition 0 of the
// trigger topics, for as long as it does.
type planning struct {
	planner *sweep.Planner
	client  *kafka.Client
	memory  *memories
	out     *outbox
	topics  topics
	cfg     config.Sweeps
	now     func() time.Time
	log     zerolog.Logger
	metrics *metrics

	plans plans
	scope func() *reconcile.Scope
	mode  string                           // that of memories: "", or reconcile.ModeDelegate
	turn  sync.Mutex                       // one planner at a time
	gen   atomic.Pointer[kafka.Generation] // that allows planning
}

// prepare makes the planner, once every other field is set.
func (p *planning) prepare(v vendors, store plans, opt Options) error {
	p.plans = store
	schedules := map[string]sweep.Schedule{}
	for name, s := range p.cfg.ByName() {
		schedules[name] = sweep.Schedule{Spec: s.Schedule, Zone: p.cfg.TimeZone, Jitter: p.cfg.Jitter, Deep: s.Deep}
	}
	var err error
	p.planner, err = sweep.New(sweep.Config{
		Ledger: p.memory.ledger, Changed: p.memory.ledger.changed, Schedules: schedules,
		Lists: lists(v, store),
		Due:   p.due, Stale: p.stale, Looked: p.looked,
		Emit: p.emit, Record: p.record, Fence: p.fence, Ends: p.ends, Answered: p.answered,
		Observe: p.show, Patience: p.cfg.Patience, Poll: time.Second,
		Instance: opt.Instance, Build: opt.Build, Now: p.now, Log: p.log,
	})
	if err != nil {
		return fmt.Errorf("sweeps: %w", err)
	}
	return nil
}

// lists are what there is to read.
func lists(v vendors, p plans) sweep.Lists {
	out := sweep.Lists{Limio: v.limio.List, Reviewed: func(ctx context.Context, run, cursor string) ([]sweep.Reviewed, string, error) {
		return reviewed(ctx, p, run, cursor)
	}, Review: func(ctx context.Context, run string) (sweep.Review, error) {
		return promptly(ctx, func() (sweep.Review, error) { return review(ctx, p, run) })
	}}
	if v.zuora != nil {
		out.ZuoraAccounts, out.ZuoraGlimpses, out.ZuoraChanged = v.zuora.Accounts, v.zuora.Glimpses, v.zuora.Changed
		out.ZuoraKinds = zuora.ChangeKinds()
	}
	if v.stripe != nil {
		out.StripeSubscriptions = v.stripe.Glimpses
		out.StripeEvents = func(ctx context.Context, since time.Time, cursor string) ([]sweep.Touched, string, error) {
			found, next, err := v.stripe.Events(ctx, since, cursor)
			touched := make([]sweep.Touched, len(found))
			for i, f := range found {
				touched[i] = sweep.Touched(f)
			}
			return touched, next, err
		}
	}
	return out
}

// plans are what runs proposed, and how they ended, as ClickHouse has it.
type plans interface {
	Planned(ctx context.Context, run, afterKey string, limit int, outcomes ...event.Outcome) ([]clickhouse.PlannedRow, error)
	RunSummary(ctx context.Context, run string) (s clickhouse.RunSummary, found bool, err error)
	RunProgress(ctx context.Context, run string) (clickhouse.RunProgress, error)
}

// review is what ClickHouse knows of a run that planned.
func review(ctx context.Context, p plans, run string) (sweep.Review, error) {
	s, found, err := p.RunSummary(ctx, run)
	if err != nil {
		return sweep.Review{}, err
	}
	n, err := p.RunProgress(ctx, run)
	if err != nil {
		return sweep.Review{}, err
	}
	return sweep.Review{
		Known: found, Plan: s.Mode == "observe", Whole: s.Outcome != event.Failed, HandedOn: s.Stats["handed_on"],
		LedTo: n.LedTo, Final: n.Final(), Waiting: n.Waiting(),
	}, nil
}

// reviewedAtOnce bounds a page of a reviewed plan.
const reviewedAtOnce = 100

// reviewed is a page of what a run proposed, in the order of keys. The last page
// is an empty one: how many rows come is the store's to decide.
func reviewed(ctx context.Context, p plans, run, after string) (found []sweep.Reviewed, next string, err error) {
	rows, err := promptly(ctx, func() ([]clickhouse.PlannedRow, error) {
		return p.Planned(ctx, run, after, reviewedAtOnce)
	})
	if err != nil {
		return nil, "", err
	}
	for _, r := range rows {
		next = r.Key.String()
		if r.Plan != "" {
			found = append(found, sweep.Reviewed{Key: r.Key, Plan: r.Plan})
		}
	}
	return found, next, nil
}

// run plans until the generation ends or ctx does. A planner that failed for
// another reason begins again after a while: a sweep is late, nothing is lost.
func (p *planning) run(ctx context.Context, gen *kafka.Generation) {
	p.turn.Lock() // the planner of the generation before is on its way out
	defer p.turn.Unlock()
	ctx, stop := context.WithCancel(budget.In(ctx, budget.Sweep))
	defer stop()
	go func() {
		select {
		case <-gen.Ending():
			stop()
		case <-ctx.Done():
		}
	}()
	p.gen.Store(gen)
	defer p.gen.Store(nil)
	defer p.metrics.unplanned()
	var shows sync.WaitGroup
	shows.Go(func() { p.follow(ctx) })
	defer func() {
		stop()
		shows.Wait()
	}()
	for ctx.Err() == nil {
		err := p.memory.follower.CaughtUp(ctx) // with what earlier planners wrote
		if err == nil {
			err = p.planner.Run(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		p.log.Error().Err(err).Msg("the planner of sweeps stopped; it starts again")
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
}

// errNotOurs says that another instance plans.
var errNotOurs = errors.New("this instance does not plan sweeps (any more)")

func (p *planning) fence(ctx context.Context) error {
	gen := p.gen.Load()
	if gen == nil {
		return errNotOurs
	}
	return gen.Check(ctx)
}

// remembered is the memory of a key, without what another mode has seen.
func (p *planning) remembered(k record.Key) reconcile.Memory { return p.memory.get(k).In(p.mode) }

func (p *planning) due(g record.Glimpse) (why string, due bool) {
	m := p.remembered(g.Key)
	if p.scope().Key(g.Key, m.Scope).Out {
		return "", false
	}
	return reconcile.Due(g, m.Within(p.scope()), p.now(), p.cfg.Recheck)
}

// stale judges a Limio record of a list: one that a key owns by what is
// remembered of the key, any other by what is remembered of itself.
func (p *planning) stale(limioID, updated string) (key record.Key, why string, due bool) {
	if owner, ok := p.memory.ownerOf(limioID); ok {
		return owner, reconcile.WhyLimio, reconcile.Stale(p.remembered(owner), updated, p.now())
	}
	key = record.LimioSubscription(limioID)
	_, due = reconcile.Due(record.Glimpse{Key: key, Mark: reconcile.LimioMark(updated)}, p.remembered(key), p.now(), p.cfg.Recheck)
	return key, reconcile.WhyUnlinked, due
}

func (p *planning) looked(key record.Key, at time.Time) bool {
	// Stripe's times are whole seconds: what happened within one is not known.
	return p.memory.get(key).Looked.After(at.Add(time.Second))
}

func (p *planning) emit(ctx context.Context, triggers []event.Trigger) error {
	records := make([]kafka.Record, len(triggers))
	for i, t := range triggers {
		var err error
		if records[i], err = p.out.trigger(t); err != nil {
			return err
		}
	}
	return p.out.write(ctx, records...)
}

func (p *planning) record(ctx context.Context, e event.Event) error {
	if err := p.out.Record(ctx, e); err != nil {
		return err
	}
	p.metrics.ran(e)
	return nil
}

func (p *planning) ends(ctx context.Context) (map[int]int64, error) {
	ends, err := p.client.HighWatermarks(ctx, p.topics.bulk)
	if err != nil {
		return nil, fmt.Errorf("read the end of %s: %w", p.topics.bulk, err)
	}
	return ends, nil
}

func (p *planning) answered(ctx context.Context, ends map[int]int64) (bool, error) {
	committed, err := p.client.Committed(ctx, p.topics.workers, p.topics.bulk)
	if err != nil {
		return false, fmt.Errorf("read the commits of %s: %w", p.topics.workers, err)
	}
	for part, end := range ends {
		if max(0, committed[part].Offset) < end {
			return false, nil
		}
	}
	return true, nil
}
