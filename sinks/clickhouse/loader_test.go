package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/event"
	"hotsync/internal/fault"
)

// counts returns the rows of sync_events and how many offsets they are of.
func counts(tb testing.TB, st *Store) [2]int64 {
	return [2]int64{
		count(tb, st, "SELECT count() AS x FROM sync_events"),
		count(tb, st, "SELECT uniqExact(_topic, _partition, _offset) AS x FROM sync_events"),
	}
}

func committed(p *fakePartition, next int64) func() bool {
	return func() bool { n, meta := p.Committed(); return n == next && meta == "" }
}

func TestLoadEverything(t *testing.T) {
	st := open(t)
	l, g := newLoader(t, st, func(c *LoaderConfig) { c.BatchRows = 1000; c.Flush = 5 * time.Second })
	p := newFakePartition(messages(t, 0, 3500)...)
	stop := start(t, l, p)
	eventually(t, "all is committed", committed(p, 3500))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := counts(t, st); got != [2]int64{3500, 3500} {
		t.Errorf("rows and offsets %v, want 3500 of each", got)
	}
	if len(g.letters()) != 0 {
		t.Errorf("dead letters: %v", g.letters())
	}
	s := l.Stats()
	if s.Rows != 3500 || s.Batches != 4 || s.Inserts != 4 || s.Retries != 0 {
		t.Errorf("stats %+v: want 3500 rows in 4 batches", s)
	}
	// Every batch was announced before it was inserted.
	for i, want := range []string{"v1 pending 0-999 1000 ", "v1 pending 1000-1999 1000 ", "v1 pending 2000-2999 1000 ", "v1 pending 3000-3499 500 "} {
		if !slices.ContainsFunc(p.history, func(c commitment) bool {
			return c.Next == int64(1000*i) && strings.HasPrefix(c.Metadata, want)
		}) {
			t.Errorf("no commit of %d with %q in %v", 1000*i, want, p.history)
		}
	}
}

// Invariant 5.
func TestUndecodableMessages(t *testing.T) {
	st := open(t)
	l, g := newLoader(t, st)
	all := messages(t, 0, 20)
	all[3].Value = []byte("{not json")
	all[4].Value = []byte(`{"id":"x","phase":"done"}`)
	all[5].Value = nil
	p := newFakePartition(all...)
	stop := start(t, l, p)
	eventually(t, "all is committed", committed(p, 20))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := counts(t, st); got != [2]int64{17, 17} {
		t.Errorf("rows %v, want 17", got)
	}
	var offsets []int64
	for _, d := range g.letters() {
		offsets = append(offsets, d.Source.Offset)
		if d.Reason != event.ReasonUndecodable || d.Error == "" || d.Attempts != 1 || d.First.IsZero() || string(d.Original) != string(all[d.Source.Offset].Value) || d.Key != string(all[d.Source.Offset].Key) {
			t.Errorf("dead letter %+v", d)
		}
	}
	if diff := cmp.Diff([]int64{3, 4, 5}, offsets); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}

// Invariant 5: rows that the server refuses, for a reason that is known to lie
// in rows and for one that is not, do not hold up the others.
func TestRefusedRows(t *testing.T) {
	known, unknown := "note NOT LIKE 'poison%'", "throwIf(note LIKE 'poison%', 'no poison here') = 0"
	for name, constraint := range map[string]string{"known reason": known, "unknown reason": unknown, "messages read again": known} {
		t.Run(name, func(t *testing.T) {
			again := name == "messages read again"
			st := open(t)
			if err := session(t, st).Exec(t.Context(), "ALTER TABLE sync_events ADD CONSTRAINT poison CHECK "+constraint); err != nil {
				t.Fatal(err)
			}
			all := messages(t, 0, 200)
			l, g := newLoader(t, st, func(c *LoaderConfig) {
				if again {
					c.Reread = func(_ context.Context, at event.Coordinates) (event.Message, error) {
						if at.Offset == 77 {
							return event.Message{}, errors.New("the log was cut")
						}
						return event.Message{Coordinates: at, Key: []byte("again"), Value: []byte("again")}, nil
					}
				}
			})
			for _, i := range []int{0, 77, 78, 199} {
				e := sample(i)
				e.Note = "poison"
				all[i] = message(t, e, int64(i))
			}
			p := newFakePartition(all...)
			stop := start(t, l, p)
			eventually(t, "all is committed", committed(p, 200))
			// A poisoned row that comes alone has no others to show that it is at fault.
			e := sample(200)
			e.Note = "poison"
			p.produce(message(t, e, 200))
			eventually(t, "the last is committed", committed(p, 201))
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if got := counts(t, st); got != [2]int64{196, 196} {
				t.Errorf("rows %v, want 196", got)
			}
			var offsets []int64
			for _, d := range g.letters() {
				offsets = append(offsets, d.Source.Offset)
				if d.Reason != event.ReasonRefused || d.Class != string(fault.Refused) || !strings.Contains(d.Error, "poison") {
					t.Errorf("dead letter %+v", d)
				}
				want := "again"
				switch {
				case !again:
					want = string(p.messages[d.Source.Offset].Value)
				case d.Source.Offset == 77:
					want = ""
				}
				if string(d.Original) != want {
					t.Errorf("original of %d is %q, want %q", d.Source.Offset, d.Original, want)
				}
			}
			if diff := cmp.Diff([]int64{0, 77, 78, 199, 200}, offsets); diff != "" {
				t.Errorf("dead letters (-want +got):\n%s", diff)
			}
		})
	}
}

// What nobody knows and hits every row is not the rows' fault: nothing is
// given up, and it goes on when somebody has repaired it.
func TestTableThatRefusesEverything(t *testing.T) {
	st := open(t)
	if err := session(t, st).Exec(t.Context(), "ALTER TABLE sync_events ADD CONSTRAINT broken CHECK throwIf(note != '', 'broken') = 0"); err != nil {
		t.Fatal(err)
	}
	l, g := newLoader(t, st)
	p := newFakePartition(messages(t, 0, 100)...)
	stop := start(t, l, p)
	eventually(t, "some tries failed", func() bool { return l.Stats().Retries > 10 })
	if s := l.Stats(); !strings.Contains(s.LastError, "broken") || s.Rows != 0 {
		t.Errorf("stats %+v: want the error and no rows", s)
	}
	if err := session(t, st).Exec(t.Context(), "ALTER TABLE sync_events DROP CONSTRAINT broken"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is committed", committed(p, 100))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := counts(t, st); got != [2]int64{100, 100} || len(g.letters()) != 0 {
		t.Errorf("rows %v, %d dead letters, want 100 and none", got, len(g.letters()))
	}
}

func TestBatchOverMonths(t *testing.T) {
	st := open(t)
	l, _ := newLoader(t, st)
	var all []event.Message
	for i := range 90 {
		e := sample(i)
		e.Triggers[0].Received = time.Date(2026, time.Month(11+i%3), 5, 0, 0, i, 0, time.UTC)
		all = append(all, message(t, e, int64(i)))
	}
	p := newFakePartition(all...)
	stop := start(t, l, p)
	eventually(t, "all is committed", committed(p, 90))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := counts(t, st); got != [2]int64{90, 90} {
		t.Errorf("rows %v, want 90", got)
	}
	if s := l.Stats(); s.Batches != 1 || s.Inserts != 3 {
		t.Errorf("stats %+v, want 1 batch by 3 inserts", s)
	}
}

// Invariant 7.
func TestClickHouseAway(t *testing.T) {
	var through *proxy
	st := open(t, func(c *Config) {
		through = newProxy(t, c.Addr[0])
		c.Addr = []string{through.addr()}
		c.DialTimeout = time.Second
	})
	l, _ := newLoader(t, st, func(c *LoaderConfig) { c.BatchRows = 100 })
	p := newFakePartition(messages(t, 0, 150)...)
	stop := start(t, l, p)
	eventually(t, "the first are committed", committed(p, 150))
	through.set("away")
	late := messages(t, 150, 5000)
	for i := range late {
		late[i].Time = time.Now().Add(-time.Minute)
	}
	p.produce(late...)
	eventually(t, "some tries failed", func() bool { return l.Stats().Retries > 5 })
	s := l.Stats()
	if s.LastError == "" || len(s.Partitions) != 1 || s.Partitions[0].Next != 150 || s.Partitions[0].Lag < time.Minute {
		t.Errorf("stats while away: %+v", s)
	}
	if read := s.Partitions[0].Read - s.Partitions[0].Next; read > 200+2*int64(p.portion) {
		t.Errorf("%d messages were read ahead, want no more than two batches", read)
	}
	through.set("")
	eventually(t, "all is committed", committed(p, 5150))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := counts(t, st); got != [2]int64{5150, 5150} {
		t.Errorf("rows %v, want 5150", got)
	}
	if s := l.Stats(); s.LastError != "" {
		t.Errorf("last error %q after it came back", s.LastError)
	}
}

// The answer to an insert gets lost: nobody knows whether it worked.
func TestAnswersLost(t *testing.T) {
	var through *proxy
	st := open(t, func(c *Config) {
		through = newProxy(t, c.Addr[0])
		c.Addr = []string{through.addr()}
	})
	l, _ := newLoader(t, st, func(c *LoaderConfig) { c.BatchRows = 50 })
	p := newFakePartition()
	stop := start(t, l, p)
	for i := range 5 {
		through.set("mute")
		p.produce(messages(t, 100*i, 100)...)
		eventually(t, "answers were lost", func() bool { return through.cuts() > 3*(i+1) })
		through.set("")
		eventually(t, "all is committed", committed(p, int64(100*(i+1))))
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := counts(t, st); got != [2]int64{500, 500} {
		t.Errorf("rows %v, want 500", got)
	}
}

// A generation ends: what was read is flushed, and the error comes out.
func TestPartitionEnds(t *testing.T) {
	st := open(t)
	gone := errors.New("the generation ended")
	l, _ := newLoader(t, st, func(c *LoaderConfig) { c.Flush = time.Hour })
	p := newFakePartition(messages(t, 0, 700)...)
	p.failNext = gone
	if err := l.Run(t.Context(), "hotsync.events", 0, p); !errors.Is(err, gone) {
		t.Errorf("Run returned %v, want %v", err, gone)
	}
	if !committed(p, 700)() {
		t.Errorf("committed %v, want 700", p.committed)
	}

	// A commit that is refused ends it too, and nothing is skipped.
	q := newFakePartition(messages(t, 700, 100)...)
	q.committed.Next = 700
	q.onCommit = func(c commitment) error {
		if c.Next > 700 {
			return gone
		}
		return nil
	}
	l, _ = newLoader(t, st)
	if err := l.Run(t.Context(), "hotsync.events", 0, q); !errors.Is(err, gone) {
		t.Errorf("Run returned %v, want %v", err, gone)
	}
	if next, meta := q.Committed(); next != 700 || !strings.HasPrefix(meta, "v1 pending 700-799 100 ") {
		t.Errorf("committed %d %q", next, meta)
	}
	// Who comes next finds the entry and inserts nothing twice.
	r := q.reopen()
	stop := start(t, l, r)
	eventually(t, "all is committed", committed(r, 800))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := counts(t, st); got != [2]int64{800, 800} {
		t.Errorf("rows %v, want 800", got)
	}
	if s := l.Stats(); s.Replayed != 100 || s.Skipped != 100 || s.Mismatches != 0 {
		t.Errorf("stats %+v", s)
	}
}

// Stopping while ClickHouse is away takes no longer than a moment and loses
// nothing; memory that batches held is given back.
func TestStopWhileAway(t *testing.T) {
	var through *proxy
	st := open(t, func(c *Config) {
		through = newProxy(t, c.Addr[0])
		c.Addr = []string{through.addr()}
	})
	through.set("away")
	l, _ := newLoader(t, st, func(c *LoaderConfig) {
		c.BatchRows = 100
		c.StopTimeout = time.Minute
		c.MaxBackoff = time.Hour
		c.MinBackoff = time.Hour
	})
	p := newFakePartition(messages(t, 0, 1000)...)
	stop := start(t, l, p)
	eventually(t, "a try failed", func() bool { return l.Stats().Retries > 0 })
	began := time.Now()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if !l.places.TryAcquire(2) {
		t.Error("a place is still taken after Run returned")
	}
}

// A pending batch is found at start, in every state it can be in.
func TestReplay(t *testing.T) {
	all := messages(t, 0, 300)
	entry := func(from, to int) (*batch, pending) {
		b := newBatch(Events)
		for _, m := range all[from : to+1] {
			b.add(m)
		}
		b.close()
		return b, b.entry
	}
	b, e := entry(100, 219)
	token := "loader/hotsync.events/0/100-219/202701"
	for name, c := range map[string]struct {
		metadata string
		before   func(*Store) error
		stats    LoaderStats
	}{
		"not inserted": {e.String(), func(*Store) error { return nil }, LoaderStats{Replayed: 120}},
		"inserted":     {e.String(), func(st *Store) error { return st.insert(t.Context(), b.rows, spans{{0, 120}}, token) }, LoaderStats{Replayed: 120, Skipped: 120}},
		"inserted and the token forgotten": {e.String(), func(st *Store) error {
			return st.insert(t.Context(), b.rows, spans{{0, 120}}, "another")
		}, LoaderStats{Replayed: 120, Skipped: 120}},
		"some inserted": {e.String(), func(st *Store) error { return st.insert(t.Context(), b.rows, spans{{5, 50}}, token) }, LoaderStats{Replayed: 120, Skipped: 45}},
		"other rows under the token": {pending{100, 219, 120, "sha256:00"}.String(), func(st *Store) error {
			other := newBatch(Events)
			other.add(message(t, sample(5000), 5000))
			return st.insert(t.Context(), other.rows, spans{{0, 1}}, token)
		}, LoaderStats{Replayed: 120, Mismatches: 1}},
		"other hash, inserted": {pending{100, 219, 120, "sha256:00"}.String(), func(st *Store) error {
			return st.insert(t.Context(), b.rows, spans{{0, 120}}, token)
		}, LoaderStats{Replayed: 120, Skipped: 120, Mismatches: 1}},
		"unknown version": {"v2 about to insert 120", func(st *Store) error {
			return st.insert(t.Context(), b.rows, spans{{0, 120}}, token)
		}, LoaderStats{Skipped: 120, Mismatches: 1}},
		"of a log that begins later": {pending{20, 90, 71, "sha256:00"}.String(), func(*Store) error { return nil }, LoaderStats{Mismatches: 1}},
		"of a log that begins again": {pending{9000, 9100, 101, "sha256:00"}.String(), func(*Store) error { return nil }, LoaderStats{Mismatches: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			st := open(t)
			if err := c.before(st); err != nil {
				t.Fatal(err)
			}
			l, _ := newLoader(t, st)
			p := newFakePartition(all[100:]...)
			p.committed = commitment{100, c.metadata}
			stop := start(t, l, p)
			eventually(t, "all is committed", committed(p, 300))
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if n := count(t, st, "SELECT count() AS x FROM sync_events WHERE _offset < 5000"); n != 200 {
				t.Errorf("%d rows, want 200", n)
			}
			if n := count(t, st, "SELECT uniqExact(_offset) AS x FROM sync_events WHERE _offset < 5000"); n != 200 {
				t.Errorf("%d offsets, want 200", n)
			}
			s := l.Stats()
			got := LoaderStats{Replayed: s.Replayed, Skipped: s.Skipped, Mismatches: s.Mismatches}
			if diff := cmp.Diff(c.stats, got); diff != "" {
				t.Errorf("stats (-want +got):\n%s", diff)
			}
		})
	}
}

// Several partitions share little memory: none starves, none deadlocks.
func TestPartitionsShareMemory(t *testing.T) {
	st := open(t)
	l, _ := newLoader(t, st, func(c *LoaderConfig) { c.MemoryBytes = 60_000; c.BatchRows = 40 })
	done := make(chan error, 8)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var parts []*fakePartition
	for i := range 8 {
		p := newFakePartition(messages(t, 0, 300)...)
		for j := range p.messages {
			p.messages[j].Partition = i
		}
		p.portion = 30
		if i%2 == 1 { // begins with a replay that needs all of the memory
			b := newBatch(Events)
			for _, m := range p.messages[:100] {
				b.add(m)
			}
			b.close()
			p.committed = commitment{0, b.entry.String()}
		}
		parts = append(parts, p)
		go func() { done <- l.Run(ctx, "hotsync.events", i, p) }()
	}
	for i, p := range parts {
		eventually(t, fmt.Sprintf("partition %d is committed", i), committed(p, 300))
	}
	cancel()
	for range parts {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := counts(t, st); got != [2]int64{2400, 2400} {
		t.Errorf("rows %v, want 2400", got)
	}
}
