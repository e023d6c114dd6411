package daemon

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/api"
	"hotsync/connectors/kafka"
	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// graveyard is the dead topic and what ClickHouse knows of it, by hand.
type graveyard struct {
	rows  []api.DeadLetter // newest first
	kept  map[event.Coordinates]event.DeadLetter
	err   error // of Kafka
	scans int
}

// bury adds a letter.
func (g *graveyard) bury(l event.DeadLetter) api.DeadLetter {
	l.Identify()
	at := event.Coordinates{Topic: testTopics().dead, Offset: int64(len(g.rows))}
	if g.kept == nil {
		g.kept = map[event.Coordinates]event.DeadLetter{}
	}
	g.kept[at] = l
	row := api.DeadLetter{
		ID: l.ID, State: letterOpen, Work: l.Trigger != nil, Key: l.Key, Reason: l.Reason, Error: l.Error, Attempts: l.Attempts, First: l.First,
		Last: l.Last, SyncID: l.SyncID, Source: l.Source, Size: int64(len(l.Original)), Letter: &at,
	}
	if l.Trigger != nil {
		row.Cause = l.Trigger.Cause
	}
	g.rows = append(g.rows, row)
	return row
}

func (g *graveyard) Letters(_ context.Context, f api.DeadFilter, after string, limit int) (api.DeadPage, error) {
	var all []api.DeadLetter
	for _, r := range g.rows {
		if (len(f.ID) == 0 || slices.Contains(f.ID, r.ID)) && (slices.Contains(f.State, api.AllStates) || slices.Contains(f.State, r.State)) {
			all = append(all, r)
		}
	}
	first := 0
	if after != "" {
		first = 1 + slices.IndexFunc(all, func(l api.DeadLetter) bool { return l.ID == after })
	}
	page := api.DeadPage{Count: int64(len(all)), Letters: all[first:min(len(all), first+limit)]}
	if first+limit < len(all) {
		page.Next = page.Letters[limit-1].ID
	}
	return page, nil
}

func (g *graveyard) Letter(_ context.Context, id string) (api.DeadLetter, error) {
	for _, r := range g.rows {
		if r.ID == id {
			return r, nil
		}
	}
	return api.DeadLetter{}, fault.Newf(fault.NotFound, "there is no dead letter %s", id)
}

func (g *graveyard) scan(_ context.Context, topic string, partition int, from, to int64, fn func(event.Message)) error {
	g.scans++
	for at := from; at < to && g.err == nil; at++ {
		c := event.Coordinates{Topic: topic, Partition: partition, Offset: at}
		if l, ok := g.kept[c]; ok {
			b, err := json.Marshal(l)
			if err != nil {
				return err
			}
			fn(event.Message{Coordinates: c, Value: b})
		}
	}
	return g.err
}

// load makes states that were made durable known to ClickHouse.
func (g *graveyard) load(t *testing.T, d *durable) {
	t.Helper()
	for _, l := range states(t, d) {
		for i := range g.rows {
			if g.rows[i].ID == l.ID {
				g.rows[i].State, g.rows[i].By, g.rows[i].Why, g.rows[i].At = l.State, l.By, l.Why, l.At
			}
		}
	}
}

func states(t *testing.T, d *durable) (out []event.DeadLetter) {
	t.Helper()
	for _, r := range d.records {
		if r.Topic == testTopics().dead {
			out = append(out, decoded(t, r))
		}
	}
	return out
}

func newLetters(d *durable, g *graveyard) *deadLetters {
	return &deadLetters{desk: newDesk(d), book: g, scan: g.scan, most: 10_000}
}

// givenUp is work that was given up.
func givenUp(n int) event.DeadLetter {
	key := record.ZuoraAccount(fmt.Sprint("a", n))
	return event.DeadLetter{
		Source: event.Coordinates{Topic: "auth.logins", Offset: int64(n)}, Key: key.String(), Reason: event.ReasonExhausted, Error: "503",
		Attempts: 27, First: noon.Add(-48 * time.Hour), Last: noon.Add(-time.Hour), SyncID: fmt.Sprint("s", n),
		Trigger: &event.Trigger{
			ID: fmt.Sprint("t", n), Key: key, Cause: event.CauseLogin, Origin: event.OriginShop, Type: "login", Delivery: "login-1", Via: "Ext__c=x",
			Source: event.Coordinates{Topic: "auth.logins", Offset: int64(n)}, Scope: "claim:x", At: noon.Add(-48 * time.Hour), Received: noon.Add(-48 * time.Hour),
			SyncID: fmt.Sprint("s", n), Attempt: 27, NotBefore: noon, FirstFail: noon, LastError: "503", Also: []event.Ref{{ID: "u"}},
		},
	}
}

// badMessage is a message that could not be read.
func badMessage(topic string, n int, value string) event.DeadLetter {
	return event.DeadLetter{
		Source: event.Coordinates{Topic: topic, Partition: 1, Offset: int64(n)}, Key: "stripe:message:evt_1", Reason: event.ReasonUndecodable, Error: "no JSON",
		Attempts: 1, First: noon.Add(-time.Hour), Last: noon.Add(-time.Hour), SyncID: fmt.Sprint("m", n), Headers: map[string]string{"b": "2", "a": "1"},
		Original: []byte(value),
	}
}

func TestReplayOfGivenUpWork(t *testing.T) {
	d, g := &durable{left: -1}, &graveyard{}
	row := g.bury(givenUp(1))
	letters := newLetters(d, g)
	got, err := letters.ReplayDead(t.Context(), api.DeadAsk{Asker: by("ann"), Why: "vendor is back", IDs: []string{row.ID}})
	if err != nil || got.Done != 1 || got.Matched != 1 || len(got.Refused) != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	triggers, in := d.triggers(t)
	want := []event.Trigger{{
		ID: event.Digest("replay", got.Run, row.ID), Key: record.ZuoraAccount("a1"), Cause: event.CauseReplay, Type: "login", Delivery: got.Run,
		Source: row.Source, Via: "Ext__c=x", Scope: "claim:x", At: noon, Received: noon,
	}}
	if diff := cmp.Diff(want, triggers); diff != "" || in[0] != testTopics().live {
		t.Error(diff, in)
	}
	state := event.DeadLetter{
		ID: row.ID, Source: row.Source, Key: row.Key, Reason: row.Reason, Error: row.Error, Attempts: 27, First: row.First, Last: row.Last, SyncID: "s1",
		State: event.DeadReplayed, By: "ann", Why: "vendor is back", At: noon,
	}
	if diff := cmp.Diff([]event.DeadLetter{state}, states(t, d)); diff != "" {
		t.Error(diff)
	}
	events := d.told(t)
	if len(events) != 2 || events[1].Key.String() != "dead:replay:"+strings.TrimPrefix(got.Run, "replay/") || events[1].Stats["done"] != 1 ||
		events[1].Note != "ann: replay of 1 dead letter (vendor is back)" || events[1].Reason != event.ReasonFannedOut {
		t.Errorf("%+v", events)
	}

	// Asked again: before ClickHouse knows of it, and after.
	for range 2 {
		n := len(d.records)
		got, err := letters.ReplayDead(t.Context(), api.DeadAsk{Asker: by("bob"), IDs: []string{row.ID}})
		if err != nil || got.Already != 1 || got.Done != 0 || len(d.records) != n {
			t.Errorf("again: %+v, %v, %d records more", got, err, len(d.records)-n)
		}
		g.load(t, d)
	}
	// Given up again it is open again.
	g.rows[0].State, g.rows[0].Last = letterOpen, noon.Add(time.Minute)
	if got, err := letters.ReplayDead(t.Context(), api.DeadAsk{Asker: by("bob"), IDs: []string{row.ID}}); err != nil || got.Done != 1 {
		t.Errorf("given up again: %+v, %v", got, err)
	}
}

func TestReplayOfManyLettersIsSpread(t *testing.T) {
	d, g := &durable{left: -1}, &graveyard{}
	for n := range 250 {
		g.bury(givenUp(n))
	}
	got, err := newLetters(d, g).ReplayDead(t.Context(), api.DeadAsk{Asker: by("ann"), Filter: &api.DeadFilter{}, PerSecond: 10})
	if err != nil || got.Done != 250 || !got.Until.Equal(noon.Add(24*time.Second)) {
		t.Fatalf("%+v, %v", got, err)
	}
	triggers, in := d.triggers(t)
	for i, tr := range triggers {
		if !tr.Bulk || (in[i] == testTopics().bulk) != (i < 10) {
			t.Errorf("trigger %d in %s: %+v", i, in[i], tr)
		}
	}
	if len(triggers) != 250 || len(states(t, d)) != 250 || g.scans != 3 {
		t.Errorf("%d triggers, %d states, %d scans", len(triggers), len(states(t, d)), g.scans)
	}
}

func TestReplayOfABadMessage(t *testing.T) {
	d, g := &durable{left: -1}, &graveyard{}
	row := g.bury(badMessage("billing.stripe.events", 7, "{\"id\":1}"))
	got, err := newLetters(d, g).ReplayDead(t.Context(), api.DeadAsk{Asker: by("ann"), IDs: []string{row.ID}})
	if err != nil || got.Done != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	want := kafka.Record{Topic: "billing.stripe.events", Value: []byte("{\"id\":1}"), Headers: []kafka.Header{
		{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}, {Key: replayHeader, Value: []byte(got.Run)},
	}}
	if diff := cmp.Diff(want, d.records[1]); diff != "" {
		t.Error(diff)
	}
	if s := states(t, d); len(s) != 1 || s[0].State != event.DeadReplayed || s[0].Original != nil {
		t.Errorf("%+v", s)
	}
}

// A trigger that can be read by now goes to the partition of its key, and one
// that cannot goes nowhere.
func TestReplayOfOwnMessages(t *testing.T) {
	trigger := event.Trigger{ID: "t", Key: record.ZuoraAccount("a"), Cause: event.CauseLogin, Bulk: true}
	b, err := trigger.Encode()
	if err != nil {
		t.Fatal(err)
	}
	e := event.Event{SyncID: "s", Phase: event.Done, Key: trigger.Key}
	if err := e.Identify(); err != nil {
		t.Fatal(err)
	}
	eb, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	tp := testTopics()
	for _, tt := range []struct {
		topic, value string
		refused      string
	}{
		{tp.live, string(b), ""},
		{tp.retry1h, string(b), ""},
		{tp.events, string(eb), ""},
		{tp.live, "{}", "still cannot be read"},
		{tp.events, "{}", "still cannot be read"},
		{"old.topic", "{}", `topic "old.topic", which is none that this daemon reads`},
	} {
		d, g := &durable{left: -1}, &graveyard{}
		row := g.bury(badMessage(tt.topic, 1, tt.value))
		got, err := newLetters(d, g).ReplayDead(t.Context(), api.DeadAsk{Asker: by("ann"), IDs: []string{row.ID}})
		if err != nil {
			t.Fatal(err)
		}
		if tt.refused != "" {
			if len(got.Refused) != 1 || !strings.Contains(got.Refused[0].Why, tt.refused) || got.Done != 0 || len(states(t, d)) != 0 {
				t.Errorf("%s: %+v", tt.topic, got)
			}
			continue
		}
		if r := d.records[1]; r.Topic != tt.topic || string(r.Key) != "zuora:account:a" {
			t.Errorf("%s: went to %s with key %s", tt.topic, r.Topic, r.Key)
		}
	}
}

func TestLettersThatCannotBeReplayed(t *testing.T) {
	data := base64.StdEncoding.EncodeToString([]byte(`{"id_token":"eyJhbGciOi.eyJzdWIi.[redacted]"}`))
	plan := givenUp(1)
	plan.Trigger.Cause, plan.Trigger.Plan = event.CauseSweep, true
	tests := []struct {
		name   string
		letter event.DeadLetter
		gone   bool
		err    error
		want   string
	}{
		{"truncated", badMessage("auth.logins", 1, strings.Repeat("x", maxOriginal)), false, nil, "only its first 262144 bytes were kept"},
		{"without its signature", badMessage("auth.logins", 1, `{"id_token":"eyJhbGciOi.eyJzdWIi.[redacted]"}`), false, nil, "a credential was taken out"},
		{"in base64", badMessage("auth.logins", 1, `{"data_base64":"`+data+`"}`), false, nil, "a credential was taken out"},
		{"without bytes", badMessage("auth.logins", 1, ""), false, nil, "kept without its bytes"},
		{"too old", badMessage("auth.logins", 1, "{}"), true, nil, "Kafka does not keep it any more"},
		{"Kafka away", badMessage("auth.logins", 1, "{}"), false, fault.Newf(fault.Unavailable, "Kafka is away"), "Kafka is away"},
		{"work, Kafka away", givenUp(1), false, fault.Newf(fault.Unavailable, "Kafka is away"), "Kafka is away"},
		{"a plan that nobody keeps", plan, true, nil, "Kafka does not keep it any more"},
		{"work on no record", func() event.DeadLetter {
			l := givenUp(1)
			l.Trigger.Key = record.Key{System: "login", Kind: "message", ID: "x"}
			return l
		}(), false, nil, "of nothing that can be looked at"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, g := &durable{left: -1}, &graveyard{err: tt.err}
			row := g.bury(tt.letter)
			if tt.gone {
				clear(g.kept)
			}
			letters := newLetters(d, g)
			shown, err := letters.Letter(t.Context(), row.ID)
			if err != nil || !strings.Contains(shown.Refusal, tt.want) || (shown.Missing != "") != (tt.gone || tt.err != nil) {
				t.Errorf("shown: %+v, %v", shown, err)
			}
			got, err := letters.ReplayDead(t.Context(), api.DeadAsk{Asker: by("ann"), IDs: []string{row.ID}})
			if err != nil || got.Done != 0 || len(got.Refused) != 1 || !strings.Contains(got.Refused[0].Why, tt.want) {
				t.Errorf("%+v, %v", got, err)
			}
			if len(d.records) != 2 || len(states(t, d)) != 0 { // what was asked for is told, and nothing else
				t.Errorf("%d records", len(d.records))
			}
			// Given up for good it can always be.
			if got, err := letters.DiscardDead(t.Context(), api.DeadAsk{Asker: by("ann"), Why: "noise", IDs: []string{row.ID}}); err != nil || got.Done != 1 {
				t.Errorf("discard: %+v, %v", got, err)
			}
		})
	}
}

// Kafka lets go of letters after a month; a login is little more than its key.
func TestReplayOfWorkThatKafkaLetGo(t *testing.T) {
	d, g := &durable{left: -1}, &graveyard{}
	row := g.bury(givenUp(1))
	clear(g.kept)
	got, err := newLetters(d, g).ReplayDead(t.Context(), api.DeadAsk{Asker: by("ann"), IDs: []string{row.ID}})
	if err != nil || got.Done != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if triggers, _ := d.triggers(t); len(triggers) != 1 || triggers[0].Key != record.ZuoraAccount("a1") {
		t.Errorf("%+v", triggers)
	}
}

// A plan stays a plan, and a reviewed plan stays the only one that may be written.
func TestReplayWidensNothing(t *testing.T) {
	d, g := &durable{left: -1}, &graveyard{}
	l := givenUp(1)
	l.Trigger.Plan, l.Trigger.Base, l.Trigger.Limio, l.Trigger.Verify = true, "p1", "sub-1", true
	row := g.bury(l)
	if _, err := newLetters(d, g).ReplayDead(t.Context(), api.DeadAsk{Asker: by("ann"), IDs: []string{row.ID}}); err != nil {
		t.Fatal(err)
	}
	triggers, _ := d.triggers(t)
	if tr := triggers[0]; !tr.Plan || tr.Base != "p1" || tr.Limio != "sub-1" || !tr.Verify {
		t.Errorf("%+v", tr)
	}
}

func TestDiscard(t *testing.T) {
	d, g := &durable{left: -1}, &graveyard{}
	for n := range 1200 {
		g.bury(badMessage("auth.logins", n, "{}"))
	}
	letters := newLetters(d, g)
	ask := api.DeadAsk{Asker: by("ann"), Why: "noise", Filter: &api.DeadFilter{}}
	if _, err := letters.DiscardDead(t.Context(), ask); fault.Of(err) != fault.Refused || !strings.Contains(err.Error(), "1200 dead letters match, more than the cap of 1000") {
		t.Errorf("got %v", err)
	}
	ask.Cap = 1200
	got, err := letters.DiscardDead(t.Context(), ask)
	if err != nil || got.Done != 1200 || got.Run != "" {
		t.Fatalf("%+v, %v", got, err)
	}
	all := states(t, d)
	if len(all) != 1200 || all[1199].State != event.DeadDiscarded || all[1199].By != "ann" || all[1199].Why != "noise" {
		t.Errorf("%d states", len(all))
	}
	events := d.told(t)
	if len(events) != 2 || events[1].Key.System != "dead" || events[1].Key.Kind != "discard" || events[1].Reason != event.ReasonDiscarded || events[1].Stats["done"] != 1200 {
		t.Errorf("%+v", events)
	}
	shown, err := letters.Letter(t.Context(), g.rows[0].ID)
	if err != nil || shown.State != event.DeadDiscarded || shown.Refusal != "it was discarded by ann" {
		t.Errorf("%+v, %v", shown, err)
	}
	if got, err := letters.DiscardDead(t.Context(), ask); err != nil || got.Already != 1200 || got.Done != 0 {
		t.Errorf("again: %+v, %v", got, err)
	}
}

// However early the process dies, no letter says that it was replayed without
// that being so, and asking again does the rest.
func TestReplayOfLettersIsCompleted(t *testing.T) {
	ask := api.DeadAsk{Asker: by("ann"), ID: "20270105T115959.000Z-abcd", Filter: &api.DeadFilter{}}
	for after := range 6 { // planned, work, states, work, states, done
		d, g := &durable{left: after}, &graveyard{}
		for n := range 150 {
			g.bury(givenUp(n))
		}
		if _, err := newLetters(d, g).ReplayDead(t.Context(), ask); !errors.Is(err, errCrash) {
			t.Errorf("after %d writes: %v", after, err)
		}
		sent := receptions(t, d)
		for _, s := range states(t, d) {
			if _, ok := sent[event.Digest("replay", "replay/"+ask.ID, s.ID)]; !ok {
				t.Errorf("after %d writes letter %s is replayed and its work is not there", after, s.ID)
			}
		}
		d.left = -1
		g.load(t, d)
		if _, err := newLetters(d, g).ReplayDead(t.Context(), ask); err != nil { // another process
			t.Fatal(err)
		}
		if n := len(receptions(t, d)); n != 150 {
			t.Errorf("after %d writes there are %d triggers", after, n)
		}
		g.load(t, d)
		if page, err := g.Letters(t.Context(), api.DeadFilter{State: []string{letterOpen}}, "", 1000); err != nil || page.Count != 0 {
			t.Errorf("after %d writes %d letters are open", after, page.Count)
		}
	}
}

func TestLettersAreNamed(t *testing.T) {
	d, g := &durable{left: -1}, &graveyard{}
	letters := newLetters(d, g)
	if _, err := letters.Letter(t.Context(), "x"); fault.Of(err) != fault.NotFound {
		t.Errorf("got %v", err)
	}
	if _, err := letters.DiscardDead(t.Context(), api.DeadAsk{Asker: by("ann"), IDs: []string{"x"}}); fault.Of(err) != fault.NotFound || !strings.Contains(err.Error(), "there is no dead letter x") {
		t.Errorf("got %v", err)
	}
	letters.busy.Lock()
	if _, err := letters.ReplayDead(t.Context(), api.DeadAsk{Asker: by("ann"), Filter: &api.DeadFilter{}}); fault.Of(err) != fault.Locked {
		t.Errorf("got %v", err)
	}
}
