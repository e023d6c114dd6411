package world

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"hotsync/sandbox/limio"
)

// Run makes traffic until Config.Duration has passed or ctx ends, whichever is
// first, and hands every message to emit, one after the other. Then it heals
// all faults, finishes what is under way, makes observed records equal and
// announces once more every record that changed (unless Config.Unannounced
// leaves that to be found, or Config.Once to the messages there were); that takes some seconds,
// whatever ctx says (about fifteen when Flap is under way, which is told once,
// in runs of twenty seconds and more). It needs a running clock, and may be
// called once. The error is emit's, or a fault
// of the world itself.
func (w *World) Run(ctx context.Context, emit func(Message) error) (Produced, error) {
	r := &run{w: w, emit: emit, stories: stories(), rnd: rand.New(rand.NewPCG(w.cfg.Seed, 0x72756e)), started: w.clock.Now()}
	err := r.traffic(ctx)
	r.heal()
	if err == nil {
		err = r.close()
	}
	if err != nil {
		return r.made, fmt.Errorf("run the world: %w", err)
	}
	return r.made, nil
}

// run is one run under way. It is one goroutine.
type run struct {
	w       *World
	emit    func(Message) error
	rnd     *rand.Rand
	stories []story
	started time.Time
	made    Produced

	agenda []appointment // by time
	faults []func()      // that heal what was injected
}

// appointment is what happens later.
type appointment struct {
	at time.Time
	do func() (Step, error)
}

const (
	beat      = 20 * time.Millisecond // how often the world looks at its clock
	billing   = 250 * time.Millisecond
	flapFrom  = 20 * time.Second // shorter runs have no time for it
	firstFlap = time.Second
)

func (r *run) traffic(ctx context.Context) error {
	if d := r.w.cfg.Duration; d == 0 || d >= flapFrom {
		r.later(firstFlap, func() (Step, error) {
			id, _ := r.subscription(roleFlap, time.Hour)
			return r.w.Flap(id)
		})
	}
	r.later(billing, r.bill)
	r.breakAll(r.w.cfg.Trouble)
	if !r.w.cfg.NoFaults {
		r.later(firstFault, r.lockSubscription) // whatever chance brings, something has to wait for long
		r.later(firstFault, r.trouble)
	}
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	budget, last := 0.0, r.started
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := r.w.clock.Now()
		if r.over(now) {
			return nil
		}
		budget = min(budget+r.w.cfg.Rate*load(now.Sub(r.started))*now.Sub(last).Seconds(), 4*r.w.cfg.Rate)
		last = now
		before := r.made.Messages()
		if err := r.due(now); err != nil {
			return err
		}
		for budget > float64(r.made.Messages()-before) && ctx.Err() == nil {
			if err := r.happen(); err != nil {
				return err
			}
		}
		budget -= float64(r.made.Messages() - before)
	}
}

func (r *run) over(now time.Time) bool {
	return r.w.cfg.Duration > 0 && now.Sub(r.started) >= r.w.cfg.Duration
}

// load is how busy it is: every tenth second four times as much as on average.
func load(since time.Duration) float64 {
	if int(since.Seconds())%10 == 6 {
		return 4
	}
	return 2.0 / 3
}

// happen begins a story; one whose records are all busy or used up is replaced
// by another.
func (r *run) happen() error {
	total := 0.0
	for _, s := range r.stories {
		total += s.weight
	}
	for {
		x := r.rnd.Float64() * total
		i := slices.IndexFunc(r.stories, func(s story) bool { x -= s.weight; return x < 0 })
		s := r.stories[max(i, 0)]
		before := r.made.Messages()
		step, err := s.tell(r)
		if errors.Is(err, ErrUnable) {
			continue
		}
		if err == nil {
			err = r.play(step, !s.poison)
		}
		if s.order && err == nil {
			r.made.Orders++
		}
		if s.poison {
			r.made.Poison += r.made.Messages() - before
		}
		return err
	}
}

// play sends the messages of a step and notes what comes of it. Deliveries
// that are not poison are now and then repeated, at once or some time later,
// and a burst may come in another order.
func (r *run) play(s Step, upset bool) error {
	if upset {
		r.lose(&s)
	}
	if upset && len(s.Messages) > 1 && r.rnd.IntN(5) == 0 {
		r.rnd.Shuffle(len(s.Messages), func(i, j int) { s.Messages[i], s.Messages[j] = s.Messages[j], s.Messages[i] })
	}
	for _, m := range s.Messages {
		if err := r.send(m); err != nil {
			return err
		}
		if !upset || r.rnd.IntN(30) > 0 {
			continue
		}
		again := Step{Messages: []Message{m}}
		r.later(time.Duration(r.rnd.IntN(2000))*time.Millisecond, func() (Step, error) { return again, nil })
	}
	if s.Next != nil {
		r.later(s.After, s.Next)
	}
	return nil
}

// lose has the webhooks of a step never arrive, now and then.
func (r *run) lose(s *Step) {
	if r.w.cfg.Lose == 0 || r.rnd.Float64() >= r.w.cfg.Lose {
		return
	}
	before := len(s.Messages)
	s.Messages = slices.DeleteFunc(slices.Clone(s.Messages), func(m Message) bool { return m.Topic == TopicStripe })
	r.made.Lost += before - len(s.Messages)
}

func (r *run) send(m Message) error {
	if err := r.emit(m); err != nil {
		return fmt.Errorf("emit a message on %s: %w", m.Topic, err)
	}
	if m.Topic == TopicLogins {
		r.made.Logins++
	} else {
		r.made.Stripe++
	}
	return nil
}

func (r *run) later(after time.Duration, do func() (Step, error)) {
	a := appointment{at: r.w.clock.Now().Add(after), do: do}
	i, _ := slices.BinarySearchFunc(r.agenda, a, func(x, y appointment) int { return cmp.Or(x.at.Compare(y.at), -1) })
	r.agenda = slices.Insert(r.agenda, i, a)
}

// due keeps the appointments of which the time has come.
func (r *run) due(now time.Time) error {
	for len(r.agenda) > 0 && !r.agenda[0].at.After(now) {
		a := r.agenda[0]
		r.agenda = r.agenda[1:]
		step, err := a.do()
		if err == nil {
			err = r.play(step, false)
		}
		if err != nil && !errors.Is(err, ErrUnable) {
			return err
		}
	}
	return nil
}

// bill has Stripe do what fell due by the clock, and now and then tell of
// something a second time, under an id of its own.
func (r *run) bill() (Step, error) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.stripe.Tick()
	if s := one(r.rnd, r.w.subs); s.last != "" && s.role != roleOrder && r.rnd.IntN(2) == 0 {
		if _, err := r.w.stripe.TwinEvent(s.last); err != nil {
			return Step{}, fmt.Errorf("tell of %s once more: %w", s.ID, err)
		}
	}
	step := Step{Messages: r.w.webhooks("")}
	r.lose(&step)
	if !r.closing() {
		step.After, step.Next = billing, r.bill
	}
	return step, nil
}

func (r *run) closing() bool { return r.stories == nil }

// close finishes what is under way and announces everything that changed.
func (r *run) close() error {
	r.stories = nil
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for len(r.agenda) > 0 {
		<-ticker.C
		if err := r.due(r.w.clock.Now()); err != nil {
			return err
		}
	}
	if err := r.equalise(); err != nil {
		return err
	}
	if r.w.cfg.Unannounced {
		return nil
	}
	step, err := r.announcements()
	if err != nil {
		return err
	}
	return r.play(step, false)
}

// equalise makes Limio hold what Stripe says of the observed subscriptions, as
// people in the back office do who read the daemon's proposals.
func (r *run) equalise() error {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	for _, s := range r.w.subs {
		want, ok := r.w.wantStripe(s.ID)
		if !s.Observed || !ok {
			continue
		}
		_, err := r.w.limio.PlaceOrder(limio.OrderParams{
			Subscription: s.Limio, Type: "update_subscription", Source: "backoffice",
			Apply: func(tx *limio.Tx, sub string) error { return followStripe(tx, sub, want) },
		})
		if err != nil {
			return fmt.Errorf("make the observed subscription %s equal: %w", s.ID, err)
		}
	}
	return nil
}

// announcements point once more at every record that changed since the world
// began or differed when it did; with Config.Once only at those of the latter
// that nothing has pointed at so far.
func (r *run) announcements() (Step, error) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	var out Step
	for _, a := range r.w.accounts {
		if !a.changed && !a.Drifted || r.w.cfg.Once && (a.changed || a.loggedIn) {
			continue
		}
		m, err := r.w.loginOf(a.ID)
		if err != nil {
			return Step{}, err
		}
		out.Messages = append(out.Messages, m)
	}
	for _, s := range r.w.subs {
		if s.Limio != "" && (s.changed || s.Drifted) && !(r.w.cfg.Once && s.changed) {
			out.Messages = append(out.Messages, r.w.announce(s))
		}
	}
	return out, nil
}
