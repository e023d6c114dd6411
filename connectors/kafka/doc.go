// Package kafka moves records in and out of Kafka and promises three things:
// an offset is committed only by the generation that delivered its record and
// never goes back, partition i of every topic of a subscription is always with
// the same member, and a write that returned nil is on all in-sync replicas.
//
// It knows topics, not meanings. It is built on segmentio/kafka-go, whose types
// do not leave this package, and on its ConsumerGroup and Generation, never on
// its Reader with a group id: that one commits through whatever generation is
// current and so rewinds the group (measured: 200 became 1).
//
// # The parts
//
//	cl, err := kafka.New(kafka.Config{Brokers: []string{"127.0.0.1:9092"}})  // dials nothing
//	defer cl.Close()
//	cl.Ping(ctx)                                   error
//	cl.EnsureTopics(ctx, []kafka.Topic{{Name: "t", Partitions: 12}})  error, *ShapeError inside
//	cl.Partitions(ctx, "t")                        (int, error), errors.Is(err, ErrNoTopic)
//	cl.HighWatermarks(ctx, "t")                    (map[int]int64, error): next offset to be written
//	cl.LowWatermarks(ctx, "t")                     (map[int]int64, error): first offset still kept
//	cl.Committed(ctx, "group", "t")                (map[int]Commit, error): absent = never committed
//	cl.ReadAll(ctx, "t", partition, from, to, fn)  error: [from, to), to < 0 = end as of now
//
//	w := kafka.NewWriter(cl, kafka.WriterConfig{})
//	defer w.Close()
//	w.Write(ctx, records...)                       error, errors.Is(err, ErrTooLarge)
//	kafka.PartitionFor(key, n)                     int: where w puts key in a topic of n partitions
//
//	f := kafka.NewFollower(cl, kafka.FollowerConfig{Topic: "state"})
//	f.Run(ctx, func(ctx, rec) error)               error: every partition from its start, for ever
//	f.CaughtUp(ctx)                                error: waits for what existed when it was called
//	f.Reached(ctx, partition, offset)              error: waits until all before offset were handed over
//
//	c, err := kafka.NewConsumer(cl, kafka.ConsumerConfig{Group: "g", Topics: []string{"live", "bulk"}})
//	c.Run(ctx, handler)                            error: nil when ctx ended and all was handed over
//	c.Stats()                                      Stats
//
//	type Handler interface {
//		// Once per assigned partition index and generation, each in its own goroutine.
//		Assigned(ctx context.Context, gen *Generation, part *Assignment) error
//	}
//	gen.ID(), gen.Member(), gen.Indexes(), gen.Total()   who we are, what share is ours
//	gen.Ending() <-chan struct{}                   closed when the hand-over begins: finish the step, return nil
//	gen.Check(ctx) error                           right before a write: still ours? errors.Is(err, ErrGenerationEnded)
//	part.Index() int, part.Topics() []string       partition Index of each of Topics
//	part.Next(ctx) (Record, error)                 ErrGenerationEnded at hand-over, ctx.Err() on the caller's own deadline
//	part.TryNext(topics ...string) (Record, bool)  without waiting; earlier topics of the subscription first
//	part.Ready() <-chan struct{}                   for select: receive, then TryNext until false
//	part.Done(rec)                                 its work is durable: the low-water mark may pass it
//	part.Commit(ctx) error                         now, not within CommitInterval
//	part.CommitWithMetadata(ctx, topic, offset, metadata) error   from then on only these commits for that topic
//	part.Committed(topic) (offset int64, metadata string)         as of the assignment; offset -1 = never
//	part.Pending(topic) int, part.Lag(topic) int64
//
// Two signals end a generation. Ending closes first: take no new record, finish
// the step in hand, return. The ctx of Assigned ends DrainTimeout later: whatever
// is still in flight is cut. Next stops delivering at the first of them.
//
// # Hazards of kafka-go
//
// Found in its issues and measured; each has its test.
//
//	 1 stale commits rewind the group     commit.go: generation and member id in each; TestStaleCommitIsRefused
//	 2 queues survive a rebalance         assignment.go: the queue dies with its generation; TestHandOverWaitsForTheStep
//	 3 no revoke callback, no metadata    term.go, CommitWithMetadata; TestMetadataRoundTrip
//	 4 no heartbeats while draining       DrainTimeout is bounded by configuration; TestDrainIsBounded
//	 5 asynchronous commits               there are none; TestConsumerCommitsWhatIsDone
//	 6 commits out of order               one at a time, monotonic; ErrRewind in TestMetadataRoundTrip
//	 7 a commit keeps the highest offset  tracker.go; TestTrackerModel, TestOpenWorkHoldsTheCommitBack
//	 8 Close hangs                        reader.go, Run; TestRunEndsOnADeadNetwork
//	 9 readers stall                      reader.checkStall; TestStalledReaderIsRebuilt
//	10 UNKNOWN_MEMBER_ID loops            Consumer.loop; TestJoinErrorsAreWaitedOut
//	11 the writer waits a second          send.go; TestManyCallersShareBatches
//	12 memory of partition readers        Assignment.put; TestQueueIsBounded
//	13 new partitions unseen              ConsumerConfig.PartitionWatch; TestNewPartitionsAreSeen
//	14 balancers do not co-assign         balancer.go; TestDivideModel, TestMembersJoinAndLeave
//	15 Client.Heartbeat hides errors      Generation.Check; TestStaleCommitIsRefused
//	16 Conn hands out markers, loops at
//	   batches that compaction emptied    reader.go; TestTransactionMarkersArePassed, TestReadingACompactedTopic
//	17 a batch takes a page of 64 KiB     reader.adapt; TestFetchesHoldFewBatches
package kafka
