// Package clickhouse keeps the log of events in ClickHouse and answers
// questions about it. It promises that every event message is one row, however
// often the process dies (Invariant 6), and that what is read through the views
// holds no duplicate: one row per sync, one row per trigger (Invariant 4).
//
// # The parts
//
//	st, err := clickhouse.Open(clickhouse.Config{Addr: []string{"127.0.0.1:9000"}})  // dials nothing
//	defer st.Close()
//	st.Ping(ctx)                         error
//	st.Migrate(ctx)                      error: database, tables and views; run again at will
//	st.SchemaVersion(ctx)                (have, want int, err error)
//
//	l, err := clickhouse.NewLoader(clickhouse.LoaderConfig{
//		Store: st, Into: clickhouse.Events, Group: "hotsync-loader",
//		Reject: func(ctx, event.DeadLetter) error { … },  // durable before it returns nil
//		Reread: func(ctx, event.Coordinates) (event.Message, error) { … },  // saves half of the memory
//	})
//	l.Run(ctx, topic, partition, p)      error: one call per assigned partition, side by side
//	l.Stats()                            LoaderStats
//
//	st.Verify(ctx, topic, ranges)        ([]PartitionCheck, error): every event message is a row
//	st.VerifySource(ctx, topic, ranges)  ([]PartitionCheck, error): every source message has an outcome
//	st.OutcomeCounts(ctx)                ([]OutcomeCount, error)
//	st.UnansweredTriggers(ctx, since)    (int64, error)
//	st.Latency(ctx)                      (Latency, error)
//	st.Report(ctx, checks...)            (Report, error): the numbers of a run as JSON
//
//	st.Find(ctx, Filter{…}, Page{…})     ([]SyncRow, next, error): syncs in their final state, newest first
//	st.Count(ctx, Filter{…})             (int64, error)
//	st.RunProgress(ctx, run)             (RunProgress, error): what became of a sweep's or a replay's triggers
//	st.RunSummary(ctx, run)              (RunSummary, found bool, error): what a sweep said of itself when it ended
//	st.Planned(ctx, run, afterKey, 100)  ([]PlannedRow, error): what a run would write, by key
//	st.NeverFinished(ctx, before, Page{…})  ([]TriggerRow, next, error): work that seems lost
//	st.NeverFinishedCount(ctx, before)   (int64, error)
//	st.Dead(ctx, DeadFilter{…}, Page{…}) ([]DeadRow, next, error): dead letters with their latest state
//	st.DeadCount(ctx, DeadFilter{…})     (int64, error)
//	st.DeadLetter(ctx, id)               (DeadRow, error): and where all of it stands in Kafka
//
// # Reading
//
// A view costs the columns that a query names. A condition on key or sync_id
// goes down to the table and is quick at any size; a list of the latest syncs is
// best made in two steps, as measured with 600,000 events:
//
//	SELECT * FROM syncs WHERE key = …                                              60 ms
//	SELECT * FROM syncs WHERE sync_id IN (SELECT sync_id FROM sync_events
//	  WHERE at > … ORDER BY at DESC LIMIT 50)                                     100 ms
//	SELECT sync_id, outcome FROM syncs ORDER BY at DESC LIMIT 50                  600 ms
//	SELECT * FROM syncs ORDER BY at DESC LIMIT 50                                    18 s
//
// Find goes further: it makes the views read only the hours that a page is in, so
// the latest syncs cost the same however large the log is. BenchmarkRead has the
// numbers. NeverFinished, and the view lost_events, read everything.
//
// The driver's types do not leave this package.
package clickhouse
