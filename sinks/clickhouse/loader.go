package clickhouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

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
	// Reread reads a message of the topic again, for the dead letter of a row
	// that the server refuses. Nil keeps all messages of a batch in memory
	// for it, which about doubles what a batch takes.
	Reread func(ctx context.Context, at event.Coordinates) (event.Message, error)

	BatchRows   int              // default 10,000
	BatchBytes  int              // of message values, default 8 MiB and at most half of MemoryBytes
	Flush       time.Duration    // longest wait of a message for its batch, default 1 s
	MemoryBytes int              // of message values held by all partitions together, default 16 MiB; see large
	Inserts     int              // at a time, of all partitions together, default 2
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

// Validate reports everything that is wrong with c, as one joined error.
func (c LoaderConfig) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("clickhouse loader: "+format, args...))
	}
	if c.Store == nil {
		bad("no store is given")
	}
	if c.Group == "" || strings.ContainsAny(c.Group, "/ ") {
		bad("group %q: want a name without slashes and blanks: it is part of deduplication tokens", c.Group)
	}
	if c.Into != Events && c.Into != DeadLetters {
		bad("into is %d: want Events or DeadLetters", c.Into)
	}
	if c.Into == Events && c.Reject == nil {
		bad("no reject function is given: bad messages need somewhere to go")
	}
	if c.BatchRows < 0 || c.BatchRows > 1_000_000 {
		bad("batch_rows is %d: want 1 to 1,000,000: a batch is one block and a larger block is split by the server", c.BatchRows)
	}
	if c.BatchBytes < 0 || c.MemoryBytes < 0 || c.Inserts < 0 {
		bad("batch_bytes, memory_bytes and inserts must not be negative")
	}
	if c.Flush < 0 || c.StopTimeout < 0 || c.MinBackoff < 0 || c.MaxBackoff < 0 {
		bad("flush, stop_timeout and the back-offs must not be negative")
	}
	return errors.Join(errs...)
}

func (c LoaderConfig) withDefaults() LoaderConfig {
	c.BatchRows = cmp.Or(c.BatchRows, 10_000)
	c.BatchBytes = cmp.Or(c.BatchBytes, 8<<20)
	c.Flush = cmp.Or(c.Flush, time.Second)
	c.MemoryBytes = cmp.Or(c.MemoryBytes, 16<<20)
	c.BatchBytes = min(c.BatchBytes, max(1, c.MemoryBytes/2))
	c.Inserts = cmp.Or(c.Inserts, 2)
	c.StopTimeout = cmp.Or(c.StopTimeout, 5*time.Second)
	c.MinBackoff = cmp.Or(c.MinBackoff, 100*time.Millisecond)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 30*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Loader makes the messages of a topic rows of a table, each exactly once.
//
// Before a batch is inserted, which messages it holds and a hash of its rows
// are committed with the unchanged offset; after it, the next offset is. A
// loader that finds such an entry when it starts builds the very same batch
// again, looks which of its rows are in the table, and inserts the rest under
// the very same token. So a batch may be closed by a timer and is still exactly
// once, and neither a short memory for tokens nor a long outage matters.
type Loader struct {
	cfg     LoaderConfig
	places  *semaphore.Weighted // for large batches
	inserts *semaphore.Weighted
	small   sync.Pool // of empty batches
	big     sync.Pool

	mu    sync.Mutex
	stats LoaderStats
	parts map[*run]PartitionStats
	ages  map[*run]time.Time // Kafka's time of the oldest message without a row
}

// NewLoader returns a Loader, or everything that is wrong with cfg. It starts
// nothing.
func NewLoader(cfg LoaderConfig) (*Loader, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	fresh := func() any {
		b := newBatch(cfg.Into)
		b.keep = cfg.Reread == nil
		return b
	}
	return &Loader{
		cfg:     cfg,
		places:  semaphore.NewWeighted(int64(cfg.MemoryBytes / cfg.BatchBytes)),
		inserts: semaphore.NewWeighted(int64(cfg.Inserts)),
		small:   sync.Pool{New: fresh},
		big:     sync.Pool{New: fresh},
		parts:   map[*run]PartitionStats{},
		ages:    map[*run]time.Time{},
	}, nil
}

// Stats returns what the loader did so far.
func (l *Loader) Stats() LoaderStats {
	now := l.cfg.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.stats
	out.Partitions = make([]PartitionStats, 0, len(l.parts))
	for r, p := range l.parts {
		if oldest := l.ages[r]; !oldest.IsZero() && p.Read > p.Next {
			p.Lag = max(0, now.Sub(oldest))
		}
		out.Partitions = append(out.Partitions, p)
	}
	slices.SortFunc(out.Partitions, func(a, b PartitionStats) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return out
}

// large is from how many bytes on a batch needs a place, of which there are as
// many as MemoryBytes has room for. So however many partitions there are, behind
// a backlog a few of them at a time build and insert batches of full size while
// the others wait, and where little comes in nobody waits.
func (c LoaderConfig) large() int { return min(256<<10, c.BatchBytes/8) }

// count changes the counters.
func (l *Loader) count(f func(*LoaderStats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.stats)
}
