package event

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"hotsync/record"
)

func TestIdsFollowFromWhereAMessageCameFrom(t *testing.T) {
	c := Coordinates{"auth.logins", 3, 17}
	if TriggerID(c, 0) != TriggerID(c, 0) {
		t.Error("the same delivery makes another id")
	}
	seen := map[string]bool{}
	for _, id := range []string{
		TriggerID(c, 0), TriggerID(c, 1), TriggerID(Coordinates{"auth.logins", 3, 18}, 0),
		TriggerID(Coordinates{"auth.logins", 31, 7}, 0), Digest("a", "bc"), Digest("ab", "c"),
	} {
		if seen[id] {
			t.Errorf("id %s twice", id)
		}
		seen[id] = true
	}
}

func TestEventIds(t *testing.T) {
	base := Event{SyncID: "s", Phase: Done, Attempt: 1, Key: record.StripeSubscription("sub_1")}
	id := func(change func(*Event)) string {
		e := base
		change(&e)
		if err := e.Identify(); err != nil {
			t.Fatal(err)
		}
		return e.ID
	}
	same := id(func(*Event) {})
	if id(func(e *Event) { e.Outcome, e.At = InSync, time.Unix(9, 0) }) != same {
		t.Error("a redelivered done event is another row")
	}
	if id(func(e *Event) { e.Attempt = 2 }) == same {
		t.Error("a second attempt is the same row")
	}
	planned := id(func(e *Event) { e.Phase, e.Changes = Planned, []record.Change{{Field: "status"}} })
	if other := id(func(e *Event) { e.Phase, e.Changes = Planned, []record.Change{{Field: "data.name"}} }); other == planned {
		t.Error("a plan made again after a crash replaces the first one")
	}
}

func TestRoundTrip(t *testing.T) {
	at := time.Date(2026, 3, 1, 10, 0, 0, 123e6, time.UTC)
	tr := Trigger{
		ID: "t1", Key: record.ZuoraLookup("Ext__c", "a\"b"), Cause: CauseLogin, Origin: OriginShop, Type: "login", Delivery: "d",
		Source: Coordinates{"auth.logins", 1, 2}, Via: "Ext__c=a\"b", At: at, Received: at, SyncID: "s", Attempt: 2, NotBefore: at,
		FirstFail: at, LastError: "e", Also: []Ref{{ID: "t2", Cause: CauseStripe, At: at, Received: at}},
	}
	b, err := tr.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeTrigger(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tr, got); diff != "" {
		t.Error(diff)
	}

	e := Event{
		SyncID: "s", Phase: Done, At: at, Outcome: Applied, Reason: ReasonDriftRepaired, Key: tr.Key, Cause: CauseLogin,
		Triggers: []Ref{tr.Ref()}, Attempt: 1, Next: at,
		Changes:  []record.Change{{Object: record.SubscriptionType, ID: "sub-1", Field: "status", Op: record.OpUpdate, Before: record.Null, After: record.Text("active")}},
		Callouts: []Callout{{At: at, Service: "limio", Method: "PUT", Route: "/x/{id}", Status: 200, Duration: 3}},
	}
	if err := e.Identify(); err != nil {
		t.Fatal(err)
	}
	if b, err = e.Encode(); err != nil {
		t.Fatal(err)
	}
	back, err := DecodeEvent(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, back); diff != "" {
		t.Error(diff)
	}
}

func TestDecodersRefuseWhatHasNoName(t *testing.T) {
	for _, bad := range []string{``, `[]`, `{}`, `{"id":"x"}`, `{"id":"x","key":"nonsense","cause":"login"}`} {
		if _, err := DecodeTrigger([]byte(bad)); err == nil {
			t.Errorf("trigger %q was accepted", bad)
		}
		if _, err := DecodeEvent([]byte(bad)); err == nil {
			t.Errorf("event %q was accepted", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"t","sync_id":"s","phase":"done","key":"stripe:subscription:sub_1","cause":"stripe","changes":[{"before":null,"after":{"a":1}}]}`))
	f.Add([]byte(`{"id":"t","key":"a:b:c","cause":"x","not_before":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tr, err := DecodeTrigger(b); err == nil {
			if _, err := tr.Encode(); err != nil {
				t.Errorf("a trigger that was read cannot be written: %v", err)
			}
		}
		if e, err := DecodeEvent(b); err == nil {
			if out, err := e.Encode(); err != nil || !json.Valid(out) {
				t.Errorf("an event that was read cannot be written: %v", err)
			}
		}
	})
}

func TestDeadLetterIds(t *testing.T) {
	source := Coordinates{"auth.logins", 3, 17}
	letter := DeadLetter{Source: source, Error: "unexpected end"}
	letter.Identify()
	again := DeadLetter{Source: source, Error: "another time", State: DeadDiscarded, By: "ann"}
	again.Identify()
	if letter.ID == "" || letter.ID != again.ID {
		t.Errorf("ids %q and %q, want one for what is said about one letter", letter.ID, again.ID)
	}
	work := DeadLetter{Source: source, SyncID: "s"}
	work.Identify()
	if work.ID == letter.ID {
		t.Error("given-up work has the id of the message that asked for it")
	}
	given := DeadLetter{ID: "as it was", Source: source}
	given.Identify()
	if given.ID != "as it was" {
		t.Errorf("an id was replaced by %s", given.ID)
	}
}

// A text is cut between runes, whatever it holds.
func TestClip(t *testing.T) {
	for _, s := range []string{"short", strings.Repeat("é", 1500), strings.Repeat("x", 1999) + "é", strings.Repeat("\x80", 3000)} {
		got := Clip(s, 2000)
		if len(got) > 2010 || !strings.HasPrefix(s, strings.TrimSuffix(got, "…")) || utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("%d bytes became %d", len(s), len(got))
		}
	}
}
