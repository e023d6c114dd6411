package daemon

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"hotsync/event"
	"hotsync/record"
)

func bounded() *outbox { return &outbox{topics: testTopics(), plain: plainHeaders("X-Source")} }

// Whatever an event holds, it fits into a record and answers each of its triggers.
func TestAnEventFits(t *testing.T) {
	long := strings.Repeat("<é", 100_000)
	cases := map[string]struct{ changes, callouts, triggers int }{
		"nothing":       {},
		"many changes":  {changes: 1000},
		"many callouts": {callouts: 10_000},
		"many triggers": {triggers: maxAnswers},
		"many of all":   {changes: 1000, callouts: 10_000, triggers: maxAnswers},
	}
	for name, c := range cases {
		e := event.Event{
			ID: "e", SyncID: "s", Phase: event.Done, Outcome: event.Failed, Key: record.StripeSubscription("sub_1"),
			Error: long, Note: long,
		}
		for i := range c.changes {
			e.Changes = append(e.Changes, record.Change{Object: "subscription", ID: "sub-1", Field: fmt.Sprint("f", i), Op: record.OpUpdate, After: record.Text(long[:1998])})
		}
		for range c.callouts {
			e.Callouts = append(e.Callouts, event.Callout{Service: "limio", Method: "PUT", Route: "/api/objects/{id}", Error: "limio answered status 502"})
		}
		for i := range c.triggers {
			e.Triggers = append(e.Triggers, event.Ref{
				ID: event.Digest(fmt.Sprint(i)), Cause: event.CauseLogin, Type: strings.Repeat("t", 200), Delivery: strings.Repeat("<", 200),
				Source: event.Coordinates{Topic: "auth.logins", Partition: 1, Offset: int64(i)},
			})
		}
		r, err := bounded().event(e)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Value) > maxRecord {
			t.Errorf("%s: %d bytes", name, len(r.Value))
		}
		got, err := event.DecodeEvent(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Triggers) != c.triggers || c.triggers > 0 && got.Triggers[c.triggers-1].ID != e.Triggers[c.triggers-1].ID {
			t.Errorf("%s: %d of %d triggers are answered", name, len(got.Triggers), c.triggers)
		}
		if trimmed := strings.Contains(got.Note, "trimmed"); trimmed != (len(got.Changes) < c.changes || len(got.Callouts) < c.callouts || c.triggers > 0) {
			t.Errorf("%s: %d changes, %d callouts, note %.20q…%q", name, len(got.Changes), len(got.Callouts), got.Note, got.Note[len(got.Note)-40:])
		}
		if len(e.Changes) > 0 && e.Changes[0].After.String() != long[:1998] {
			t.Errorf("%s: the caller's event was changed", name)
		}
	}
}

// Put-off work that answers for many fits into a record, and so does its letter.
func TestATriggerFits(t *testing.T) {
	tr := event.Trigger{ID: "t", Key: record.StripeSubscription("sub_1"), Cause: event.CauseStripe, LastError: strings.Repeat("<", 1_000_000)}
	for i := range maxAnswers {
		tr.Also = append(tr.Also, event.Ref{ID: fmt.Sprint(i), Cause: event.CauseLogin, Origin: event.OriginShop, Delivery: strings.Repeat("<", 200), Type: strings.Repeat("t", 200)})
	}
	r, err := bounded().triggerTo("retry", tr)
	if err != nil {
		t.Fatal(err)
	}
	got, err := event.DecodeTrigger(r.Value)
	if err != nil || len(r.Value) > maxRecord || len(got.Also) != maxAnswers || got.Also[7].Origin != event.OriginShop {
		t.Errorf("%d bytes, %d triggers: %v", len(r.Value), len(got.Also), err)
	}
	letter, err := bounded().dead(event.DeadLetter{SyncID: "s", Key: tr.Key.String(), Trigger: &tr})
	if err != nil || len(letter.Value) > maxRecord {
		t.Errorf("a letter of %d bytes: %v", len(letter.Value), err)
	}
	var kept event.DeadLetter
	if err := json.Unmarshal(letter.Value, &kept); err != nil || len(kept.Trigger.Also) != maxAnswers {
		t.Errorf("%+v: %v", kept.Trigger, err)
	}
}

// A dead letter keeps headers that say what a message is, and no credential.
func TestHeadersOfADeadLetter(t *testing.T) {
	headers := map[string]string{
		"Stripe-Signature": "t=1,v1=abc", "ce_id": "1", "x-source": "shop", "Authorization": "Bearer abc.def.ghi", "Cookie": "session=1",
		"big": strings.Repeat("<", 5<<20),
	}
	for i := range 10_000 {
		headers[fmt.Sprintf("zz-%05d", i)] = "v"
	}
	r, err := bounded().dead(event.DeadLetter{Key: "login:message:1", Headers: headers, Error: strings.Repeat("<", 5<<20), Original: make([]byte, 5<<20)})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Value) > maxRecord {
		t.Errorf("%d bytes", len(r.Value))
	}
	var got event.DeadLetter
	if err := json.Unmarshal(r.Value, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Stripe-Signature": "t=1,v1=abc", "ce_id": "1", "x-source": "shop",
		"Authorization": redactedMark, "Cookie": redactedMark, "big": redactedMark, "zz-00000": redactedMark, "zz-09999": "",
	}
	for name, value := range want {
		if got.Headers[name] != value {
			t.Errorf("%s: %.40q, want %q", name, got.Headers[name], value)
		}
	}
	if !strings.Contains(got.Error, "headers are not kept") {
		t.Error("nothing says that headers are missing")
	}
	if headers["Cookie"] != "session=1" {
		t.Error("the message itself was changed")
	}
}
