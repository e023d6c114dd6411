package daemon

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hotsync/reconcile"
	"hotsync/record"
)

func TestShorthandIsExact(t *testing.T) {
	s := newShorthand()
	pieces := append(phrases(), "sub_1", "sub_1NabcDEF0123", "0123456789abcdef0123", "abc", "ABC", "é", `\u0001`, `"`, "\x00", "\x01\x02", "\n", "{", "")
	rapid.Check(t, func(t *rapid.T) {
		text := ""
		for _, p := range rapid.SliceOf(rapid.OneOf(rapid.SampledFrom(pieces), rapid.String())).Draw(t, "text") {
			text += p
		}
		id := rapid.SampledFrom(pieces).Draw(t, "id")
		if got := string(s.read(s.write([]byte(text), id), id)); got != text {
			t.Fatalf("%q came back as %q", text, got)
		}
	})
}

// What a sweep over a hundred thousand records keeps of each.
func TestShorthandIsShort(t *testing.T) {
	s := newShorthand()
	at := time.Date(2026, 11, 21, 18, 2, 3, 123456789, time.UTC)
	hash := "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	for key, m := range map[record.Key]reconcile.Memory{
		record.StripeSubscription("sub_1N7fQ2eZvKYlo2C0aXbYcZd"): {
			Seq: 3, Converged: record.Fingerprint(hash), Updated: "2026-11-21T18:02:03.123Z", Mark: record.Mark(hash[:24]), Looked: at,
			Subscriptions: map[string]string{"sub_1N7fQ2eZvKYlo2C0aXbYcZd": "sub-" + hash},
		},
		record.ZuoraAccount("2c92c0f96bd69165016bdcbf55ad5e62"): {
			Seq: 3, Converged: record.Fingerprint(hash), Updated: "2026-11-21T18:02:03.123Z", Mark: record.Mark(hash[:24]), Customer: "cus-" + hash,
			Subscriptions: map[string]string{"A-S00012345": "sub-" + hash},
		},
	} {
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if short := s.write(text, key.ID); len(short) > 128 {
			t.Errorf("%s takes %d bytes of %d: %q", key, len(short), len(text), short)
		}
	}
}

func BenchmarkMemories(b *testing.B) {
	s := newMemories(nil, "state")
	k := record.StripeSubscription("sub_1N7fQ2eZvKYlo2C0aXbYcZd")
	m := reconcile.Memory{Seq: 3, Converged: "0f1e2d3c4b5a69788796a5b4c3d2e1f0", Updated: "2026-11-21T18:02:03.123Z", Mark: "0f1e2d3c4b5a69788796a5b4",
		Subscriptions: map[string]string{k.ID: "sub-0f1e2d3c4b5a69788796a5b4c3d2e1f0"}}
	b.Run("put", func(b *testing.B) {
		for b.Loop() {
			if err := s.put(k, m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			if s.get(k).Seq != 3 {
				b.Fatal("lost")
			}
		}
	})
}
