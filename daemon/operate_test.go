package daemon

import (
	"context"
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
	"hotsync/daemon/config"
	"hotsync/daemon/sweep"
	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

var errCrash = errors.New("the process died here")

// durable is Kafka by hand: what was made durable, in its order. It dies after
// so many writes.
type durable struct {
	records []kafka.Record
	left    int // writes until it dies; negative: never
}

func (d *durable) write(_ context.Context, records ...kafka.Record) error {
	if d.left == 0 {
		return errCrash
	}
	d.left--
	d.records = append(d.records, records...)
	return nil
}

func testTopics() topics {
	k := config.Default().Kafka
	return topicsOf(k)
}

var noon = time.Date(2027, 1, 5, 12, 0, 0, 0, time.UTC)

func newDesk(d *durable) *desk {
	return &desk{
		out: &outbox{topics: testTopics(), first: 5 * time.Minute}, write: d.write, now: func() time.Time { return noon },
		instance: "i", build: "b",
	}
}

// told are the events that were made durable.
func (d *durable) told(t *testing.T) (out []event.Event) {
	t.Helper()
	for _, r := range d.records {
		if r.Topic == testTopics().events {
			e, err := event.DecodeEvent(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, e)
		}
	}
	return out
}

// triggers are those that were made durable, with the topic of each.
func (d *durable) triggers(t *testing.T) (out []event.Trigger, in []string) {
	t.Helper()
	tp := testTopics()
	for _, r := range d.records {
		if slices.Contains([]string{tp.live, tp.bulk, tp.retry5m, tp.retry1h}, r.Topic) {
			tr, err := event.DecodeTrigger(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			if string(r.Key) != tr.Key.String() {
				t.Errorf("trigger of %s has the key %s", tr.Key, r.Key)
			}
			out, in = append(out, tr), append(in, r.Topic)
		}
	}
	return out, in
}

// pastSyncs is ClickHouse by hand.
type pastSyncs struct {
	syncs      []api.Sync // newest first
	unfinished []target
	err        error
	asked      []api.Filter
}

func (p *pastSyncs) matching(f api.Filter) (out []api.Sync) {
	for _, s := range p.syncs {
		if (len(f.SyncID) == 0 || slices.Contains(f.SyncID, s.ID)) && (len(f.Outcome) == 0 || slices.Contains(f.Outcome, string(s.Outcome))) &&
			(f.Until.IsZero() || s.Received.Before(f.Until)) {
			out = append(out, s)
		}
	}
	return out
}

func (p *pastSyncs) Find(_ context.Context, f api.Filter, after string, limit int) (api.SyncPage, error) {
	p.asked = append(p.asked, f)
	all := p.matching(f)
	first := 0
	if after != "" {
		first = 1 + slices.IndexFunc(all, func(s api.Sync) bool { return s.ID == after })
	}
	page := api.SyncPage{Syncs: all[first:min(len(all), first+limit)]}
	if first+limit < len(all) {
		page.Next = page.Syncs[limit-1].ID
	}
	return page, p.err
}

func (p *pastSyncs) Count(_ context.Context, f api.Filter) (int64, error) {
	return int64(len(p.matching(f))), p.err
}

func (p *pastSyncs) Unfinished(_ context.Context, _ time.Time, limit int) ([]target, error) {
	return p.unfinished[:min(limit, len(p.unfinished))], p.err
}

func (p *pastSyncs) CountUnfinished(context.Context, time.Time) (int64, error) {
	return int64(len(p.unfinished)), p.err
}

// failedSyncs are n syncs of as many accounts.
func failedSyncs(n int) *pastSyncs {
	p := &pastSyncs{}
	for i := range n {
		p.syncs = append(p.syncs, api.Sync{
			ID: fmt.Sprintf("s%05d", i), Key: record.ZuoraAccount(fmt.Sprintf("a%05d", i)), Outcome: event.Failed, Reason: event.ReasonForbidden,
			Received: noon.Add(-time.Hour - time.Duration(i)*time.Second),
		})
	}
	return p
}

func newReplays(d *durable, p *pastSyncs) *replays {
	return &replays{desk: newDesk(d), history: p, open: p, most: 60000}
}

func by(name string) api.Asker { return api.Asker{By: name} }

func TestReplayOfOneSync(t *testing.T) {
	d := &durable{left: -1}
	p := failedSyncs(3)
	got, err := newReplays(d, p).Replay(t.Context(), api.ReplayAsk{Asker: by("ann"), Why: "password fixed", SyncIDs: []string{"s00001", "s00001"}})
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimPrefix(got.Run, "replay/")
	if want := (api.ReplayAnswer{Run: got.Run, Matched: 1, Scheduled: 1, Until: noon}); cmp.Diff(want, got) != "" {
		t.Error(cmp.Diff(want, got))
	}
	triggers, in := d.triggers(t)
	want := []event.Trigger{{
		ID: event.Digest("replay", got.Run, "s00001"), Key: record.ZuoraAccount("a00001"), Cause: event.CauseReplay, Delivery: got.Run,
		At: noon, Received: noon,
	}}
	if diff := cmp.Diff(want, triggers); diff != "" || in[0] != testTopics().live {
		t.Error(diff, in)
	}
	events := d.told(t)
	if len(events) != 2 || len(d.records) != 3 {
		t.Fatalf("%d events among %d records", len(events), len(d.records))
	}
	for i, phase := range []event.Phase{event.Planned, event.Done} {
		e := events[i]
		if e.Phase != phase || e.Key != (record.Key{System: "replay", Kind: "run", ID: id}) || e.Cause != event.CauseReplay ||
			e.Note != "ann: sync s00001 (password fixed)" || len(e.Triggers) != 1 || e.Triggers[0].Delivery != got.Run || e.Triggers[0].Type != "summary" {
			t.Errorf("%s: %+v", phase, e)
		}
	}
	if e := events[1]; e.SyncID != events[0].SyncID || e.Outcome != event.Skipped || e.Reason != event.ReasonFannedOut || e.Stats["scheduled"] != 1 {
		t.Errorf("done: %+v", e)
	}
}

func TestReplayIsSpread(t *testing.T) {
	d := &durable{left: -1}
	got, err := newReplays(d, failedSyncs(2500)).Replay(t.Context(), api.ReplayAsk{Asker: by("ann"), Filter: &api.Filter{Outcome: []string{"failed"}}, Cap: 5000, PerSecond: 2})
	if err != nil {
		t.Fatal(err)
	}
	triggers, in := d.triggers(t)
	if len(triggers) != 2500 || got.Scheduled != 2500 || !got.Until.Equal(noon.Add(1249*time.Second)) {
		t.Fatalf("%d triggers, %+v", len(triggers), got)
	}
	due := map[int64]int{}
	seen := map[string]bool{}
	for i, tr := range triggers {
		if !tr.Bulk || seen[tr.ID] {
			t.Errorf("trigger %d: %+v", i, tr)
		}
		seen[tr.ID] = true
		wait := time.Duration(0)
		if !tr.NotBefore.IsZero() {
			wait = tr.NotBefore.Sub(noon)
		}
		due[int64(wait/time.Second)]++
		tp := testTopics()
		want := tp.retry5m
		switch {
		case wait == 0:
			want = tp.bulk
		case wait > 10*time.Minute:
			want = tp.retry1h
		}
		if in[i] != want {
			t.Errorf("trigger %d waits %s in %s, want %s", i, wait, in[i], want)
		}
	}
	for second := range int64(1250) {
		if due[second] != 2 {
			t.Errorf("%d triggers are due in second %d", due[second], second)
		}
	}
}

func TestReplayLooksAtARecordOnce(t *testing.T) {
	d := &durable{left: -1}
	p := failedSyncs(3)
	p.syncs[2].Key = p.syncs[0].Key
	p.syncs = append(p.syncs, api.Sync{ID: "m", Key: record.Key{System: "stripe", Kind: "message", ID: "evt_1"}, Outcome: event.Failed, Received: noon.Add(-time.Hour)},
		api.Sync{ID: "r", Key: record.Key{System: "sweep", Kind: "run", ID: "x/1"}, Outcome: event.Failed, Received: noon.Add(-time.Hour)})
	got, err := newReplays(d, p).Replay(t.Context(), api.ReplayAsk{Asker: by("ann"), Filter: &api.Filter{Outcome: []string{"failed"}}})
	if err != nil || got.Matched != 5 || got.Scheduled != 2 || got.Merged != 1 || got.PassedOver != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	triggers, _ := d.triggers(t)
	if len(triggers) != 2 || len(triggers[0].Also) != 1 || triggers[0].Also[0].ID != event.Digest("replay", got.Run, "s00002") || triggers[0].Also[0].Delivery != got.Run {
		t.Errorf("%+v", triggers)
	}
}

// A replay may do no more than what it repeats: neither of syncs nor of what
// never ended.
func TestReplayOfSyncsWidensNothing(t *testing.T) {
	const run = "stripe-drift/20270105T100000Z-ab12"
	all := []struct {
		cause     event.Cause
		why, mode string
		scheduled int64
		plan      bool
		reviewed  int64
	}{
		{event.CauseSweep, "billing_changed", "write", 1, false, 0},
		{event.CauseSweep, "billing_changed", "observe", 1, true, 0},
		{event.CauseReplay, "", "observe", 1, true, 0}, // of a plan, or of a dead letter of one
		{event.CauseSweep, sweep.WhyReviewed, "write", 0, false, 1},
		{event.CauseReplay, sweep.WhyReviewed, "observe", 0, false, 1},
		{event.CauseLogin, "login", "observe", 1, false, 0}, // the configuration forbade it, and no longer does
	}
	for _, tt := range all {
		for name, ask := range map[string]api.ReplayAsk{
			"syncs": {Asker: by("ann"), SyncIDs: []string{"s1"}}, "filter": {Asker: by("ann"), Filter: &api.Filter{Run: run}}, "never": {Asker: by("ann"), NeverProcessed: true},
		} {
			key := record.StripeSubscription("sub_1")
			past := &pastSyncs{
				syncs:      []api.Sync{{ID: "s1", Key: key, Outcome: event.Failed, Cause: tt.cause, Type: tt.why, Mode: tt.mode, Delivery: run, Received: noon.Add(-time.Hour)}},
				unfinished: []target{{id: "t1", key: key, sync: "s1", limits: limitsOf(tt.cause, tt.why, tt.mode)}},
			}
			d := &durable{left: -1}
			r := newReplays(d, past)
			p, err := r.Preview(t.Context(), ask)
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Replay(t.Context(), ask)
			if err != nil {
				t.Fatal(err)
			}
			triggers, _ := d.triggers(t)
			if got.Matched != 1 || got.Scheduled != tt.scheduled || got.Reviewed != tt.reviewed || got.PassedOver != tt.reviewed || int64(len(triggers)) != tt.scheduled {
				t.Errorf("%s, %+v: %+v, %d triggers", name, tt, got, len(triggers))
			}
			as := ""
			if tt.reviewed > 0 {
				as = api.ReplayPassedOver
			}
			if tt.scheduled > 0 && triggers[0].Plan != tt.plan {
				t.Errorf("%s, %+v: %+v", name, tt, triggers[0])
			}
			if tt.plan {
				as = api.ReplayAsPlan
			}
			if (got.Planned == 1) != tt.plan || p.Sample[0].As != as {
				t.Errorf("%s, %+v: %+v, sample %+v", name, tt, got, p.Sample)
			}
		}
	}
	// A record that a sync may write is written, whatever else is asked of it.
	key := record.StripeSubscription("sub_1")
	past := &pastSyncs{syncs: []api.Sync{
		{ID: "s1", Key: key, Cause: event.CauseSweep, Mode: "observe", Received: noon.Add(-time.Hour)},
		{ID: "s2", Key: key, Cause: event.CauseStripe, Mode: "write", Received: noon.Add(-time.Hour)},
	}}
	d := &durable{left: -1}
	got, err := newReplays(d, past).Replay(t.Context(), api.ReplayAsk{Asker: by("ann"), SyncIDs: []string{"s1", "s2"}})
	triggers, _ := d.triggers(t)
	if err != nil || got.Scheduled != 1 || got.Merged != 1 || got.Planned != 0 || triggers[0].Plan {
		t.Errorf("%+v, %v, %+v", got, err, triggers)
	}
}

func TestReplayOfWhatNeverEnded(t *testing.T) {
	d := &durable{left: -1}
	key := record.StripeSubscription("sub_1")
	p := &pastSyncs{}
	for i := range 700 {
		p.unfinished = append(p.unfinished, target{id: fmt.Sprint("t", i), key: key, sync: "s1", ref: event.Ref{ID: fmt.Sprint("t", i), Cause: event.CauseStripe}})
	}
	got, err := newReplays(d, p).Replay(t.Context(), api.ReplayAsk{Asker: by("ann"), NeverProcessed: true})
	if err != nil || got.Matched != 700 || got.Merged != 699 {
		t.Fatalf("%+v, %v", got, err)
	}
	triggers, _ := d.triggers(t)
	answers := map[string]bool{}
	for _, tr := range triggers {
		if tr.SyncID != "s1" || tr.Key != key || len(tr.Also) > perTrigger+1 {
			t.Errorf("%d answers by %+v", len(tr.Also), tr.ID)
		}
		for _, r := range tr.Also {
			answers[r.ID] = true
		}
	}
	for _, x := range p.unfinished {
		if !answers[x.id] {
			t.Errorf("nobody answers for %s", x.id)
		}
	}
}

// However early the process dies, asking again with the same id completes the
// replay: every trigger is there, and however often it is there it is one.
func TestReplayIsCompleted(t *testing.T) {
	ask := api.ReplayAsk{Asker: by("ann"), ID: "20270105T115959.000Z-abcd", Filter: &api.Filter{Outcome: []string{"failed"}}, Cap: 5000}
	whole := &durable{left: -1}
	if _, err := newReplays(whole, failedSyncs(1200)).Replay(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	want := receptions(t, whole)
	if len(want) != 1200 {
		t.Fatalf("%d triggers", len(want))
	}
	for after := range 5 { // planned, 500, 500, 200, done
		d := &durable{left: after}
		r := newReplays(d, failedSyncs(1200))
		if _, err := r.Replay(t.Context(), ask); !errors.Is(err, errCrash) || (after > 0 && after < 4 && !strings.Contains(err.Error(), `ask again with id "20270105T115959.000Z-abcd"`)) {
			t.Errorf("after %d writes: %v", after, err)
		}
		for _, e := range d.told(t) {
			if e.Phase == event.Done {
				t.Errorf("after %d writes the log says that it is done", after)
			}
		}
		if len(d.records) > 0 && len(d.told(t)) == 0 {
			t.Errorf("after %d writes there are triggers and no word of who asked for them", after)
		}
		d.left = -1
		r.now = func() time.Time { return noon.Add(time.Minute) }
		if _, err := r.Replay(t.Context(), ask); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, receptions(t, d)); diff != "" {
			t.Errorf("after %d writes: %s", after, diff)
		}
		events := d.told(t)
		for _, e := range events {
			if e.SyncID != events[0].SyncID || !e.Triggers[0].Received.Equal(events[0].Triggers[0].Received) {
				t.Errorf("after %d writes the replay became two", after)
			}
		}
	}
}

// receptions are the triggers that there are, by when they were received, which decides
// where their rows are.
func receptions(t *testing.T, d *durable) map[string]time.Time {
	t.Helper()
	out := map[string]time.Time{}
	triggers, _ := d.triggers(t)
	for _, tr := range triggers {
		if at, known := out[tr.ID]; known && !at.Equal(tr.Received) {
			t.Errorf("trigger %s was received twice", tr.ID)
		}
		out[tr.ID] = tr.Received
	}
	return out
}

func TestReplayIsRefused(t *testing.T) {
	all := &api.Filter{Outcome: []string{"failed"}}
	away := fault.Newf(fault.Unavailable, "ClickHouse is away")
	tests := []struct {
		name  string
		n     int
		err   error
		ask   api.ReplayAsk
		class fault.Class
		want  string
	}{
		{"too many", 1001, nil, api.ReplayAsk{Filter: all}, fault.Refused, "1001 syncs match, more than the cap of 1000; narrow the filter, or ask again with a cap of 1001 or more (the highest is 60000)"},
		{"too many altogether", 60001, nil, api.ReplayAsk{Filter: all, Cap: 1e9}, fault.Refused, "60001 syncs match, and at most 60000 can be taken at a time"},
		{"unknown syncs", 3, nil, api.ReplayAsk{SyncIDs: []string{"s00001", "x", "y"}}, fault.NotFound, "there is no sync x (2 of those asked for are not there)"},
		{"ClickHouse away", 3, away, api.ReplayAsk{Filter: all}, fault.Unavailable, "ClickHouse is away"},
		{"odd id", 3, nil, api.ReplayAsk{Filter: all, ID: "99999999T999999.000Z-abcd"}, fault.Refused, "want when it was asked for first"},
		{"id of the future", 3, nil, api.ReplayAsk{Filter: all, ID: "20270106T120000.000Z-abcd"}, fault.Refused, "want when it was asked for first"},
		{"id of last week", 3, nil, api.ReplayAsk{Filter: all, ID: "20261229T120000.000Z-abcd"}, fault.Refused, "want when it was asked for first"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &durable{left: -1}
			p := failedSyncs(tt.n)
			p.err = tt.err
			_, err := newReplays(d, p).Replay(t.Context(), tt.ask)
			if err == nil || fault.Of(err) != tt.class || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %s: %v", fault.Of(err), err)
			}
			if len(d.records) > 0 {
				t.Errorf("%d records were written", len(d.records))
			}
		})
	}
	if err := pace(1, 100_000); fault.Of(err) != fault.Refused || !strings.Contains(err.Error(), "27h46m40s") {
		t.Errorf("got %v", err)
	}
}

func TestPreview(t *testing.T) {
	d := &durable{left: -1}
	p := failedSyncs(1500)
	r := newReplays(d, p)
	got, err := r.Preview(t.Context(), api.ReplayAsk{Filter: &api.Filter{Outcome: []string{"failed"}}})
	if err != nil || got.Matches != 1500 || got.Cap != 1000 || got.Most != 60000 || !strings.Contains(got.Refused, "more than the cap") || len(got.Sample) != 10 {
		t.Fatalf("%+v, %v", got, err)
	}
	if want := (api.ReplayTarget{SyncID: "s00000", Key: record.ZuoraAccount("a00000"), Was: "failed/forbidden"}); got.Sample[0] != want {
		t.Errorf("sample: %+v", got.Sample[0])
	}
	got, err = r.Preview(t.Context(), api.ReplayAsk{Filter: &api.Filter{Outcome: []string{"failed"}}, Cap: 2000})
	if err != nil || got.Refused != "" {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = r.Preview(t.Context(), api.ReplayAsk{Filter: &api.Filter{Outcome: []string{"applied"}}})
	if err != nil || got.Matches != 0 || len(got.Sample) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if len(d.records) > 0 {
		t.Errorf("a preview wrote %d records", len(d.records))
	}
	// What a replay brings about never matches it.
	for _, f := range p.asked {
		if !f.Until.Equal(noon) {
			t.Errorf("the filter is not bounded: %s", f)
		}
	}
}

func TestReplayOfNothing(t *testing.T) {
	d := &durable{left: -1}
	got, err := newReplays(d, failedSyncs(3)).Replay(t.Context(), api.ReplayAsk{Asker: by("ann"), Filter: &api.Filter{Outcome: []string{"applied"}}})
	if err != nil || got.Run != "" || len(d.records) > 0 {
		t.Errorf("%+v, %v, %d records", got, err, len(d.records))
	}
}

// A client that hangs up does not stop what it asked for.
func TestReplayGoesOnAlone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := &durable{left: -1}
	r := newReplays(d, failedSyncs(2))
	r.write = func(ctx context.Context, records ...kafka.Record) error {
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return d.write(ctx, records...)
	}
	if _, err := r.Replay(ctx, api.ReplayAsk{Asker: by("ann"), Filter: &api.Filter{Outcome: []string{"failed"}}}); err != nil {
		t.Fatal(err)
	}
	if events := d.told(t); len(events) != 2 {
		t.Errorf("%d events", len(events))
	}
}

// decoded is a state of a dead letter as it was made durable.
func decoded(t *testing.T, r kafka.Record) event.DeadLetter {
	t.Helper()
	var l event.DeadLetter
	if err := json.Unmarshal(r.Value, &l); err != nil {
		t.Fatal(err)
	}
	return l
}
