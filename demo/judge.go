package demo

import (
	"context"
	"fmt"
	"time"

	"hotsync/connectors/kafka"
	"hotsync/daemon/config"
	"hotsync/event"
	"hotsync/sandbox/world"
	"hotsync/sinks/clickhouse"
)

// Produced counts what the world made.
type Produced struct {
	Logins int `json:"logins"`
	Stripe int `json:"stripe"`
	Orders int `json:"orders"`
	Poison int `json:"poison"`
	Lost   int `json:"lost"` // webhooks that never arrived
}

// Sweeps counts what sweeps did.
type Sweeps struct {
	Runs     int64 `json:"runs"`      // that ended, in whatever way
	Listed   int64 `json:"listed"`    // records that they saw in lists
	HandedOn int64 `json:"handed_on"` // of those: had looked at
	Repaired int64 `json:"repaired"`  // syncs that changed Limio because a sweep asked first
}

// Report is the verdict on a run. The five numbers from Unanswered to Loops
// must be 0.
type Report struct {
	Duration float64  `json:"duration_s"` // of the traffic
	Produced Produced `json:"produced"`
	Triggers int64    `json:"triggers"`
	// Outcomes are those that triggers ended with; under deferred stands how many
	// were put off at least once before.
	Outcomes map[string]int64 `json:"outcomes"`
	Reasons  map[string]int64 `json:"reasons"`

	// Unanswered triggers stand in a trigger topic and have no final outcome.
	Unanswered int64 `json:"unanswered"`
	// Lost are source messages without an event, and events without a row.
	Lost int64 `json:"lost"`
	// Duplicates are rows beyond the first of an event message, syncs or
	// triggers that a view shows twice.
	Duplicates int64 `json:"duplicates"`
	// Drift is the number of fields in which Limio differs from its billing
	// systems, Loops of writes in Limio that should not have been made.
	Drift int64 `json:"drift"`
	Loops int64 `json:"loops"`

	Sweeps Sweeps `json:"sweeps"`

	Calls   map[string]int     `json:"calls"`
	Latency clickhouse.Latency `json:"latency_ms"`

	// Findings describe what the five numbers count, the first of each.
	Findings []string `json:"findings,omitempty"`
}

// Clean reports whether all five numbers are 0.
func (r Report) Clean() bool {
	return r.Unanswered == 0 && r.Lost == 0 && r.Duplicates == 0 && r.Drift == 0 && r.Loops == 0
}

// Judge compares what went in with what came out.
type Judge struct {
	Client *kafka.Client
	Store  *clickhouse.Store
	World  *world.World
	Kafka  config.Kafka
}

// groups are the consumer groups of the road with the topics they read.
func (j Judge) groups() map[string][]string {
	p := j.Kafka.Prefix
	return map[string][]string{
		p + ".intake":  {j.Kafka.LoginTopic, j.Kafka.StripeTopic},
		p + ".workers": {p + ".triggers.live", p + ".triggers.bulk"},
		p + ".retries": {p + ".retry.5m", p + ".retry.1h"},
		p + ".loader":  {p + ".events"}, p + ".loader.dead": {p + ".dead"},
	}
}

// AwaitEmpty waits until every group has committed everything in its topics,
// twice in a row with nothing new between.
func (j Judge) AwaitEmpty(ctx context.Context) error {
	last := int64(-1)
	for {
		behind, ends, err := j.behind(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil && behind == 0 && ends == last {
			return nil
		}
		last = ends
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d records are still to be handled: %w", behind, ctx.Err())
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// behind sums how far the groups are behind and where the topics end.
func (j Judge) behind(ctx context.Context) (behind, ends int64, err error) {
	for group, topics := range j.groups() {
		for _, topic := range topics {
			high, err := j.Client.HighWatermarks(ctx, topic)
			if err != nil {
				return 0, 0, fmt.Errorf("read the end of %s: %w", topic, err)
			}
			committed, err := j.Client.Committed(ctx, group, topic)
			if err != nil {
				return 0, 0, fmt.Errorf("read the commits of %s: %w", group, err)
			}
			for p, end := range high {
				ends += end
				behind += end - max(0, committed[p].Offset)
			}
		}
	}
	return behind, ends, nil
}

// Report judges. The road must be empty.
func (j Judge) Report(ctx context.Context) (Report, error) {
	r := Report{Outcomes: map[string]int64{}, Reasons: map[string]int64{}, Calls: j.World.Calls()}
	counts, err := j.Store.OutcomeCounts(ctx)
	if err != nil {
		return r, err
	}
	for _, o := range event.Outcomes() {
		r.Outcomes[string(o)] = 0
	}
	for _, c := range counts {
		r.Triggers += c.Triggers
		r.Outcomes[c.Outcome] += c.Triggers
		if c.Reason != "" {
			r.Reasons[c.Reason] += c.Triggers
		}
	}
	// A deferral is never the end of an empty road; it is counted by itself.
	put, why, err := j.Store.Deferred(ctx)
	if err != nil {
		return r, err
	}
	r.Outcomes[string(event.Deferred)] = put
	for reason, n := range why {
		r.Reasons[reason] += n
	}
	if r.Latency, err = j.Store.Latency(ctx); err != nil {
		return r, err
	}
	for _, judge := range []func(context.Context, *Report) error{j.unanswered, j.sweeps, j.verify, j.views} {
		if err := judge(ctx, &r); err != nil {
			return r, err
		}
	}
	drift, loops := j.World.Drift(), j.World.Loops()
	r.Drift, r.Loops = int64(len(drift)), int64(len(loops))
	for i, d := range drift {
		if i < keepFindings {
			r.Findings = append(r.Findings, fmt.Sprintf("drift: %s %s %s: want %s, have %s", d.System, d.ID, d.Field, d.Want, d.Have))
		}
	}
	for i, l := range loops {
		if i < keepFindings {
			r.Findings = append(r.Findings, fmt.Sprintf("loop: %s on %s: %s", l.Rule, l.Object, l.Detail))
		}
	}
	return r, nil
}

const keepFindings = 10

// unanswered reads every trigger from its topic and looks for its outcome.
func (j Judge) unanswered(ctx context.Context, r *Report) error {
	answered := map[string]bool{}
	if err := j.Store.Answered(ctx, func(id string) { answered[id] = true }); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, topic := range j.groups()[j.Kafka.Prefix+".workers"] {
		for partition := range j.Kafka.Partitions {
			err := j.Client.ReadAll(ctx, topic, partition, 0, -1, func(_ context.Context, rec kafka.Record) error {
				t, err := event.DecodeTrigger(rec.Value)
				if err != nil || seen[t.ID] || answered[t.ID] {
					return nil // what is no trigger is a rejected message, which verify counts
				}
				seen[t.ID] = true
				r.Unanswered++
				if r.Unanswered <= keepFindings {
					r.Findings = append(r.Findings, fmt.Sprintf("unanswered: trigger %s of %s", t.ID, t.Key))
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("read triggers: %w", err)
			}
		}
	}
	return nil
}

// sweeps reads from the log of events what sweeps did.
func (j Judge) sweeps(ctx context.Context, r *Report) error {
	summaries, repaired, planned := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for partition := range j.Kafka.Partitions {
		err := j.Client.ReadAll(ctx, j.Kafka.Prefix+".events", partition, 0, -1, func(_ context.Context, rec kafka.Record) error {
			e, err := event.DecodeEvent(rec.Value)
			switch {
			case err != nil || e.Cause != event.CauseSweep: // what is no event has no row, which verify counts
			case e.Key.System == "sweep":
				if id := e.Key.String(); !summaries[id] {
					summaries[id] = true
					r.Sweeps.Runs++
					r.Sweeps.Listed += e.Stats["listed"]
					r.Sweeps.HandedOn += e.Stats["handed_on"]
				}
			case e.Phase == event.Planned:
				planned[e.SyncID] = true
			case e.Outcome == event.Applied, e.Outcome == event.InSync && planned[e.SyncID]:
				repaired[e.SyncID] = true
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
	}
	r.Sweeps.Repaired = int64(len(repaired))
	return nil
}

// verify looks for the event of every source message and for the row of every
// event message.
func (j Judge) verify(ctx context.Context, r *Report) error {
	check := func(topic string, find func(context.Context, string, map[int]clickhouse.Range) ([]clickhouse.PartitionCheck, error)) error {
		high, err := j.Client.HighWatermarks(ctx, topic)
		if err != nil {
			return fmt.Errorf("read the end of %s: %w", topic, err)
		}
		ranges := map[int]clickhouse.Range{}
		for p, end := range high {
			ranges[p] = clickhouse.Range{Next: end}
		}
		found, err := find(ctx, topic, ranges)
		if err != nil {
			return fmt.Errorf("verify %s: %w", topic, err)
		}
		for _, c := range found {
			r.Lost += c.Lost
			r.Duplicates += c.Duplicates
			if c.Lost+c.Duplicates > 0 {
				r.Findings = append(r.Findings, fmt.Sprintf("%s/%d: %d lost, %d duplicates, gaps %v", topic, c.Partition, c.Lost, c.Duplicates, c.Gaps))
			}
		}
		return nil
	}
	if err := check(j.Kafka.Prefix+".events", j.Store.Verify); err != nil {
		return err
	}
	for _, topic := range []string{j.Kafka.LoginTopic, j.Kafka.StripeTopic} {
		if err := check(topic, j.Store.VerifySource); err != nil {
			return err
		}
	}
	return nil
}

// views looks for syncs and triggers that a view shows more than once.
func (j Judge) views(ctx context.Context, r *Report) error {
	twice, err := j.Store.ShownTwice(ctx)
	r.Duplicates += twice
	if twice > 0 {
		r.Findings = append(r.Findings, fmt.Sprintf("%d syncs or triggers are shown more than once by a view", twice))
	}
	return err
}
