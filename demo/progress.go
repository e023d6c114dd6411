package demo

import (
	"context"
	"time"

	"hotsync/event"
)

// Progress is how a demo goes, for somebody who watches.
type Progress struct {
	Elapsed  time.Duration
	Duration time.Duration // 0: until interrupted
	Outcomes map[event.Outcome]int64
	Triggers int64
	Behind   int64 // records that some part has still to handle
	Calls    map[string]int

	HTTP       string // of health and metrics
	ClickHouse string // of the HTTP interface, for SQL
	Kafka      string
}

// watch tells Progress how it goes until ctx ends.
func (d *demo) watch(ctx context.Context) {
	if d.cfg.Progress == nil {
		return
	}
	judge := Judge{Client: d.client, Store: d.store, World: d.world, Kafka: d.file.Kafka}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p := Progress{
			Elapsed: time.Since(d.began), Duration: d.cfg.Duration, Outcomes: map[event.Outcome]int64{}, Calls: d.world.Calls(),
			HTTP: d.daemon.Addr(), ClickHouse: d.engine.HTTPAddr(), Kafka: d.broker.Addr(),
		}
		counts, err := d.store.OutcomeCounts(ctx)
		if err != nil {
			continue // not migrated yet, or busy: the next tick shows more
		}
		for _, c := range counts {
			p.Outcomes[event.Outcome(c.Outcome)] += c.Triggers
			p.Triggers += c.Triggers
		}
		if p.Behind, _, err = judge.behind(ctx); err != nil {
			continue
		}
		d.cfg.Progress(p)
	}
}
