package clickhouse

import (
	"context"
	"time"

	"hotsync/event"
)

// Partition is one partition of a topic as its loader reads it. Next and Commit
// are called from two goroutines at the same time, each of them from one only.
type Partition interface {
	// Next blocks until there is at least one message and returns what is
	// there, in the order of offsets, up to a bound of its own (a few hundred).
	// When ctx ends it returns ctx's error and has consumed nothing. Any other
	// error ends the loader's Run, after what was read has been flushed.
	Next(ctx context.Context) ([]event.Message, error)
	// Commit makes durable that next is the first offset to deliver after a
	// restart, together with metadata (at most 200 bytes). It fails when the
	// partition belongs to somebody else by now.
	Commit(ctx context.Context, next int64, metadata string) error
	// Committed returns what Commit last made durable, as of when the
	// partition was assigned; next is negative when there was nothing.
	Committed() (next int64, metadata string)
}

// Table says what a loader loads.
type Table int

// The tables.
const (
	Events      Table = iota // event.Event into sync_events
	DeadLetters              // event.DeadLetter into dead_letters
)

// LoaderConfig says what is loaded and in which portions. Store and Group are
// required, and Reject for Events.
type LoaderConfig struct {
	Store *Store
	Into  Table
	Group string // consumer group; part of every deduplication token
	// Reject takes what can never be a row: a message that is not an event, or
	// a row that the server refuses. When it returns nil the dead letter is
	// durable (Invariant 5); an error is retried for ever. A DeadLetters loader
	// makes rows of undecodable messages itself and needs it for refused rows
	// only, where it must not produce to the topic that it loads from; nil
	// counts them and goes on.
	Reject func(ctx context.Context, d event.DeadLetter) error

	BatchRows   int              // default 10,000
	BatchBytes  int              // of message values, default 8 MiB
	Flush       time.Duration    // longest wait of a message for its batch, default 1 s
	MemoryBytes int              // of message values held by all partitions together, default 32 MiB
	StopTimeout time.Duration    // for what is in hand when Run's context ends, default 5 s
	MinBackoff  time.Duration    // after a failed insert, default 100 ms
	MaxBackoff  time.Duration    // default 30 s
	Now         func() time.Time // default time.Now
}

// LoaderStats is a snapshot of what a Loader did since it was made.
type LoaderStats struct {
	Rows       int64 // rows inserted
	Bytes      int64 // of the values of their messages
	Batches    int64 // batches inserted and committed
	Inserts    int64 // INSERTs answered: more than Batches when a batch spans months
	Retries    int64 // failed attempts to insert
	Rejected   int64 // messages and rows handed to Reject
	Replayed   int64 // rows of batches that were pending when a partition was assigned
	Skipped    int64 // of those, rows that were there already
	Mismatches int64 // pending batches whose rebuilt rows had another hash
	InsertTime time.Duration
	// LastError is the latest failed insert, "" once one worked since.
	LastError  string
	Partitions []PartitionStats // the partitions being loaded now, by number
}

// PartitionStats is where the loader stands on one partition.
type PartitionStats struct {
	Topic     string
	Partition int
	Next      int64 // first offset that is not committed yet
	Read      int64 // first offset that was not read yet
	// Lag is how long the oldest message that is not a committed row has been
	// waiting, by the time Kafka gave it; 0 when there is none.
	Lag time.Duration
}
