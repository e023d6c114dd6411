package clickhouse

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"hotsync/event"
	"hotsync/record"
)

// anyEvent draws events with every field in use, texts with every rune.
func anyEvent(t *rapid.T) event.Event {
	text := rapid.String()
	at := rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMilli(rapid.Int64Range(-5e12, 5e12).Draw(t, "ms")).UTC()
	})
	ref := rapid.Custom(func(t *rapid.T) event.Ref {
		return event.Ref{
			ID: text.Draw(t, "id"), Cause: event.Cause(text.Draw(t, "cause")), Type: text.Draw(t, "type"), Delivery: text.Draw(t, "delivery"),
			Source: event.Coordinates{Topic: text.Draw(t, "topic"), Partition: rapid.IntRange(0, 99).Draw(t, "partition"), Offset: rapid.Int64Range(0, 1<<60).Draw(t, "offset")},
			At:     at.Draw(t, "at"), Received: at.Draw(t, "received"),
		}
	})
	value := rapid.Custom(func(t *rapid.T) record.Value {
		return rapid.SampledFrom([]record.Value{"", record.Null, record.Bool(true), record.Int(-7), record.Text(text.Draw(t, "v")), `1.50`}).Draw(t, "value")
	})
	change := rapid.Custom(func(t *rapid.T) record.Change {
		return record.Change{Object: record.Type(text.Draw(t, "o")), ID: text.Draw(t, "id"), Field: text.Draw(t, "f"), Op: record.OpUpdate, Before: value.Draw(t, "b"), After: value.Draw(t, "a")}
	})
	call := rapid.Custom(func(t *rapid.T) event.Callout {
		return event.Callout{At: at.Draw(t, "at"), Service: text.Draw(t, "s"), Method: "GET", Route: text.Draw(t, "r"), Status: rapid.IntRange(0, 599).Draw(t, "st"), Duration: rapid.Int64Range(0, 1e9).Draw(t, "ms"), Error: text.Draw(t, "e")}
	})
	return event.Event{
		Version: 1, ID: "i", SyncID: "s", Phase: event.Done, At: at.Draw(t, "at"), Outcome: event.Outcome(text.Draw(t, "outcome")), Reason: event.Reason(text.Draw(t, "reason")), Note: text.Draw(t, "note"),
		Key:     record.Key{System: "zuora", Kind: "account", ID: rapid.StringN(1, 20, -1).Draw(t, "key")},
		Related: rapid.SliceOfN(text, 0, 3).Draw(t, "related"), Cause: event.CauseLogin, Triggers: rapid.SliceOfN(ref, 0, 3).Draw(t, "triggers"),
		Attempt: rapid.IntRange(0, 99).Draw(t, "attempt"), Next: at.Draw(t, "next"), Changes: rapid.SliceOfN(change, 0, 3).Draw(t, "changes"),
		Callouts: rapid.SliceOfN(call, 0, 3).Draw(t, "callouts"), Plan: text.Draw(t, "plan"), Stats: rapid.MapOfN(text, rapid.Int64(), 0, 4).Draw(t, "stats"), Class: text.Draw(t, "class"), Error: text.Draw(t, "error"), Waited: rapid.Int64().Draw(t, "waited"),
	}
}

// The fast decoder says what the standard one says.
func TestDecodeAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, err := anyEvent(t).Encode()
		if err != nil {
			t.Fatal(err)
		}
		want, err := event.DecodeEvent(b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeEvent(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-standard +fast):\n%s\nof %q", diff, b)
		}
	})
}

// A message that is damaged is decoded alike by both or refused by both, and
// never stops the process (Invariant 5).
func TestDecodeDamaged(t *testing.T) {
	whole := encode(t, sample(1))
	rapid.Check(t, func(t *rapid.T) {
		b := append([]byte(nil), whole...)
		for range rapid.IntRange(1, 3).Draw(t, "wounds") {
			if len(b) == 0 {
				break
			}
			i := rapid.IntRange(0, len(b)-1).Draw(t, "at")
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				b[i] = rapid.Byte().Draw(t, "byte")
			case 1:
				b = append(b[:i:i], b[i+1:]...)
			case 2:
				b = b[:i+1]
			}
		}
		want, wantErr := event.DecodeEvent(b)
		got, gotErr := decodeEvent(b)
		if wantErr == nil && gotErr != nil {
			t.Fatalf("refused %q: %v", b, gotErr)
		}
		if wantErr == nil {
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("(-standard +fast):\n%s\nof %q", diff, b)
			}
		}
		// Whatever was taken can be a row.
		rows := newEventRows()
		if err := rows.add(event.Message{Value: b}); (err == nil) != (gotErr == nil) {
			t.Fatalf("row: %v, decoded: %v", err, gotErr)
		}
	})
}

// Rows are a pure function of messages: built again they have the same hash.
func TestBatchIsReproducible(t *testing.T) {
	all := messages(t, 0, 200)
	build := func(from, to int) pending {
		b := newBatch(Events)
		for _, m := range all[from:to] {
			b.add(m)
		}
		b.close()
		first := b.entry
		b.reset()
		for _, m := range all[from:to] {
			b.add(m)
		}
		b.close()
		if b.entry != first {
			t.Errorf("a batch that is used again has entry %v, was %v", b.entry, first)
		}
		return first
	}
	if a, b := build(0, 150), build(0, 150); a != b {
		t.Errorf("%v and %v", a, b)
	}
	if a, b := build(0, 150), build(0, 151); a.hash == b.hash {
		t.Error("two batches have one hash")
	}
	entry := build(3, 180)
	if parsed, ok := parsePending(entry.String()); !ok || parsed != entry {
		t.Errorf("%q was read as %v, %v", entry, parsed, ok)
	}
	for _, s := range []string{"", "v1", "v2 pending 1-2 3 sha256:00", "v1 pending 5-2 3 sha256:00", "v1 pending 1-2 3 md5:00", "v1 pending a-b 3 sha256:0", "v1 pending 1 2 sha256:00"} {
		if _, ok := parsePending(s); ok {
			t.Errorf("%q was read as an entry", s)
		}
	}
}
