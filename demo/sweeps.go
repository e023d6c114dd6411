package demo

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"hotsync/connectors/kafka"
	"hotsync/daemon/config"
	"hotsync/daemon/sweep"
	"hotsync/record"
)

// Conclude brings a road to rest whose traffic is over, and has sweeps find what
// nothing announced: schedules rest, all work under way ends, and each list is
// read once more. What Limio alone holds comes last, since who owns it is known by
// then. The error is that of the first sweep that could not read everything, or
// ctx's.
func Conclude(ctx context.Context, j Judge, o *Operator) error {
	for _, name := range []string{sweep.StripeEvents, sweep.ZuoraChanged} {
		if err := o.Rest(ctx, name); err != nil {
			return err
		}
	}
	if err := j.AwaitEmpty(ctx); err != nil { // a record that settles or is held is left alone by sweeps
		return err
	}
	for _, name := range []string{sweep.StripeDrift, sweep.ZuoraFull, sweep.LimioOrphans} {
		run, err := o.Sweep(ctx, name, sweep.Ask{})
		if err != nil {
			return err
		}
		if run.Status != sweep.Done {
			return fmt.Errorf("sweep %s ended %s: %s", run.ID, run.Status, run.Error)
		}
	}
	return j.AwaitEmpty(ctx)
}

// operator is what the demo calls itself where a daemon notes who asked.
const operator = "demo"

// Operator asks for sweeps and holds them back as any instance of a fleet does:
// through the state topic. It is not safe for concurrent use.
type Operator struct {
	Client *kafka.Client
	Writer *kafka.Writer
	Kafka  config.Kafka
	Now    func() time.Time

	values map[record.Key][]byte
	next   map[int]int64 // offset to read from, by partition
}

// Get implements the ledger of package sweep: the newest value that was read.
func (o *Operator) Get(k record.Key) []byte { return o.values[k] }

// Put implements the ledger of package sweep.
func (o *Operator) Put(ctx context.Context, k record.Key, value []byte) error {
	return o.Writer.Write(ctx, kafka.Record{Topic: o.topic(), Key: []byte(k.String()), Value: value})
}

func (o *Operator) topic() string { return o.Kafka.Prefix + ".state" }

// read takes in what was written to the ledger since the last time.
func (o *Operator) read(ctx context.Context) error {
	if o.values == nil {
		o.values, o.next = map[record.Key][]byte{}, map[int]int64{}
	}
	for partition := range o.Kafka.Partitions {
		err := o.Client.ReadAll(ctx, o.topic(), partition, o.next[partition], -1, func(_ context.Context, r kafka.Record) error {
			o.next[partition] = r.Offset + 1
			if k, err := record.ParseKey(string(r.Key)); err == nil && k.System == "sweep" {
				o.values[k] = bytes.Clone(r.Value)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read the state of sweeps: %w", err)
		}
	}
	return nil
}

// Status is what the ledger says about a sweep now.
func (o *Operator) Status(ctx context.Context, name string) (sweep.Status, error) {
	if err := o.read(ctx); err != nil {
		return sweep.Status{}, err
	}
	return sweep.StatusOf(o, name, o.Now())
}

// look is how often the ledger is read by somebody who waits.
const look = 150 * time.Millisecond

// await waits until a sweep's status is as wanted.
func (o *Operator) await(ctx context.Context, name, what string, ok func(sweep.Status) bool) (sweep.Status, error) {
	for {
		st, err := o.Status(ctx, name)
		if err != nil || ok(st) {
			return st, err
		}
		select {
		case <-ctx.Done():
			return st, fmt.Errorf("wait until sweep %s %s: %w", name, what, ctx.Err())
		case <-time.After(look):
		}
	}
}

// Sweep has a sweep run and returns the run when it has ended. A run that the
// schedule or somebody else started is waited for first.
func (o *Operator) Sweep(ctx context.Context, name string, ask sweep.Ask) (sweep.Run, error) {
	ask.Action, ask.By = sweep.Start, operator
	for {
		_, err := o.await(ctx, name, "is planned and at rest", func(st sweep.Status) bool { return st.Planned && st.Current == nil && st.Pending == nil })
		if err != nil {
			return sweep.Run{}, err
		}
		ask.ID, ask.At = "", o.Now()
		id, err := sweep.Request(ctx, o, name, ask)
		if err != nil {
			return sweep.Run{}, err
		}
		st, err := o.await(ctx, name, "has dealt with the request", func(st sweep.Status) bool { return st.Handled.ID == id })
		if err != nil {
			return sweep.Run{}, err
		}
		if st.Handled.Run != "" {
			return o.ended(ctx, name, st.Handled.Run)
		} // else a scheduled run was quicker
	}
}

// ended waits for the end of a run.
func (o *Operator) ended(ctx context.Context, name, id string) (run sweep.Run, err error) {
	_, err = o.await(ctx, name, "has ended run "+id, func(st sweep.Status) bool {
		i := slices.IndexFunc(st.Last, func(r sweep.Run) bool { return r.ID == id })
		if i >= 0 {
			run = st.Last[i]
		}
		return i >= 0
	})
	return run, err
}

// Rest holds the scheduled runs of a sweep back and returns when none is under
// way. Runs that have begun come to their own end.
func (o *Operator) Rest(ctx context.Context, name string) error {
	for {
		if err := o.hold(ctx, name, true); err != nil {
			return err
		}
		// A run that begins before the planner has seen the pause stops in the
		// middle: it is let go on.
		stopped, err := o.stops(ctx, name)
		if err != nil || !stopped {
			return err
		}
		if err := o.hold(ctx, name, false); err != nil {
			return err
		}
		if _, err := o.await(ctx, name, "has read everything", func(st sweep.Status) bool { return !reading(st) }); err != nil {
			return err
		}
	}
}

// hold pauses a sweep, or lets it go on.
func (o *Operator) hold(ctx context.Context, name string, paused bool) error {
	if _, err := o.await(ctx, name, "is planned", func(st sweep.Status) bool { return st.Planned }); err != nil {
		return err
	}
	if paused {
		return sweep.Pause(ctx, o, name, operator, o.Now())
	}
	return sweep.Resume(ctx, o, name, operator, o.Now())
}

// seen is the time in which a planner has surely seen what the ledger holds.
const seen = time.Second

// stops waits until no run of a paused sweep is under way, or reports that one
// is stopped in the middle.
func (o *Operator) stops(ctx context.Context, name string) (stopped bool, err error) {
	still := o.Now().Add(seen)
	_, err = o.await(ctx, name, "is at rest", func(st sweep.Status) bool {
		if o.Now().Before(still) {
			return false
		}
		stopped = reading(st)
		return stopped || st.Current == nil
	})
	return stopped, err
}

func reading(st sweep.Status) bool {
	return st.Current != nil && st.Current.Run.Status == sweep.Running
}
