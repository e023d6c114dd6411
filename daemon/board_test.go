package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hotsync/api"
	"hotsync/daemon/sweep"
	"hotsync/internal/fault"
	"hotsync/record"
)

// notes is a ledger by hand. A planner sees every request at once, if there is
// one.
type notes struct {
	values  map[record.Key][]byte
	planner bool
}

func (n *notes) Get(k record.Key) []byte { return n.values[k] }

func (n *notes) Put(_ context.Context, k record.Key, v []byte) error {
	n.values[k] = v
	if k.Kind != "request" || !n.planner {
		return nil
	}
	var ask sweep.Ask
	if err := json.Unmarshal(v, &ask); err != nil {
		return err
	}
	return n.state(k.ID, func(st *sweep.State) { st.Handled = sweep.Handled{ID: ask.ID, Run: k.ID + "/9", At: ask.At} })
}

func (n *notes) state(name string, change func(*sweep.State)) error {
	st := sweep.State{Name: name}
	if b := n.values[sweep.StateKey(name)]; b != nil {
		if err := json.Unmarshal(b, &st); err != nil {
			return err
		}
	}
	change(&st)
	b, err := json.Marshal(st)
	n.values[sweep.StateKey(name)] = b
	return err
}

// pastRuns is what ClickHouse knows of runs, by hand.
type pastRuns struct {
	outcomes api.Outcomes
	err      error
	asked    int
}

func (p *pastRuns) Outcomes(context.Context, string) (api.Outcomes, error) {
	p.asked++
	return p.outcomes, p.err
}

func (p *pastRuns) Planned(context.Context, string, []string, string, int) (api.PlannedPage, error) {
	return api.PlannedPage{}, p.err
}

func newBoard(t *testing.T) (*board, *notes, *pastRuns) {
	t.Helper()
	n, p := &notes{values: map[record.Key][]byte{}}, &pastRuns{outcomes: api.Outcomes{Answered: 2, Repaired: 1}}
	run := sweep.Run{
		ID: "zuora-full/2", Mode: sweep.Repair, By: "ann", Started: noon.Add(-time.Minute), Status: sweep.Running, Stage: "accounts", Reading: 10 * time.Second,
		Estimate: 500, Stats: sweep.Stats{Listed: 100, Equal: 97, HandedOn: 3},
	}
	ended := run
	ended.ID, ended.Status, ended.Stage, ended.Whole, ended.Ended = "zuora-full/1", sweep.Done, "", noon.Add(-time.Hour), noon.Add(-time.Hour)
	if err := n.state("zuora-full", func(st *sweep.State) {
		st.Schedule, st.Next, st.Missed, st.Overlaps, st.Current, st.Last = "CRON_TZ=UTC 0 2 * * *", noon.Add(time.Hour), 2, 1, &run, []sweep.Run{ended}
	}); err != nil {
		t.Fatal(err)
	}
	if err := n.state("stripe-drift", func(st *sweep.State) {}); err != nil {
		t.Fatal(err)
	}
	if err := n.state("stripe-events", func(st *sweep.State) { st.Off = true }); err != nil {
		t.Fatal(err)
	}
	return &board{ledger: n, runs: p, now: func() time.Time { return noon }}, n, p
}

func TestSweepsAreShown(t *testing.T) {
	b, _, p := newBoard(t)
	all, err := b.Sweeps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]string{}
	for _, s := range all {
		state[s.Name] = s.State
	}
	if diff := cmp.Diff(map[string]string{"zuora-full": "running", "stripe-drift": "idle", "stripe-events": "off", "zuora-changed": "unplanned", "limio-orphans": "unplanned"}, state); diff != "" {
		t.Error(diff)
	}
	one, err := b.Sweeps(t.Context(), "zuora-full")
	if err != nil || len(one) != 1 {
		t.Fatalf("%v, %v", one, err)
	}
	c := one[0].Current
	if c.Done != 100 || c.Total != 500 || !c.Estimated || c.HandedOn != 3 || c.PerSecond != 10 || !c.ETA.Equal(noon.Add(40*time.Second)) || c.Outcomes == nil || c.Outcomes.Repaired != 1 {
		t.Errorf("%+v", c)
	}
	if l := one[0].Last; len(l) != 1 || l[0].State != "done" || l[0].Total != 100 || one[0].Missed != 2 || one[0].Overlaps != 1 {
		t.Errorf("%+v", one[0])
	}
	// ClickHouse away costs the outcomes and nothing else.
	p.err, p.asked = fault.Newf(fault.Unavailable, "away"), 0
	all, err = b.Sweeps(t.Context())
	if err != nil || len(all) != 5 || p.asked != 1 {
		t.Fatalf("%d sweeps, %v, asked %d times", len(all), err, p.asked)
	}
	if _, err := b.Sweeps(t.Context(), "nightly"); fault.Of(err) != fault.NotFound {
		t.Errorf("got %v", err)
	}
}

func TestRunsAreShown(t *testing.T) {
	b, n, p := newBoard(t)
	for _, id := range []string{"zuora-full/1", "zuora-full/2"} {
		if rep, err := b.Run(t.Context(), id); err != nil || rep.Run == nil || rep.Run.ID != id || rep.Outcomes == nil {
			t.Errorf("%s: %+v, %v", id, rep, err)
		}
	}
	for _, id := range []string{"zuora-full/0", "replay/1"} { // of which only the log knows
		if rep, err := b.Run(t.Context(), id); err != nil || rep.Run != nil || rep.Outcomes.Answered != 2 {
			t.Errorf("%s: %+v, %v", id, rep, err)
		}
	}
	// Once all is read, the work that is left has an end too.
	if err := n.state("zuora-full", func(st *sweep.State) {
		st.Current.Status, st.Current.Whole = sweep.Settling, noon.Add(-30*time.Second)
	}); err != nil {
		t.Fatal(err)
	}
	p.outcomes = api.Outcomes{Answered: 2, Final: 2, LedTo: 1} // in a minute, of four
	if rep, err := b.Run(t.Context(), "zuora-full/2"); err != nil || !rep.Run.ETA.Equal(noon.Add(time.Minute)) {
		t.Errorf("settling: %+v, %v", rep.Run, err)
	}
	if all, err := b.Sweeps(t.Context(), "zuora-full"); err != nil || !all[0].Current.ETA.Equal(noon.Add(time.Minute)) {
		t.Errorf("settling: %+v, %v", all, err)
	}
	p.outcomes = api.Outcomes{}
	for _, id := range []string{"zuora-full/0", "replay/1", "nightly/1"} {
		if _, err := b.Run(t.Context(), id); fault.Of(err) != fault.NotFound {
			t.Errorf("%s: %v", id, err)
		}
	}
	p.err = fault.Newf(fault.Unavailable, "ClickHouse is away")
	if rep, err := b.Run(t.Context(), "zuora-full/2"); err != nil || rep.Run == nil || rep.Outcomes != nil || rep.Missing != "ClickHouse is away" {
		t.Errorf("%+v, %v", rep, err)
	}
	if _, err := b.Run(t.Context(), "replay/1"); fault.Of(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestSweepsAreAsked(t *testing.T) {
	b, n, _ := newBoard(t)
	n.planner = true
	got, err := b.Ask(t.Context(), "stripe-drift", api.SweepAsk{Action: "run", Mode: "plan", By: "ann"})
	if err != nil || !got.Seen || got.Run != "stripe-drift/9" || got.Request == "" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := b.Ask(t.Context(), "zuora-full", api.SweepAsk{Action: "run", Mode: "repair", By: "ann"}); fault.Of(err) != fault.Locked {
		t.Errorf("a second run at once: %v", err)
	}
	if _, err := b.Ask(t.Context(), "stripe-events", api.SweepAsk{Action: "run", Mode: "repair", By: "ann"}); fault.Of(err) != fault.NotFound {
		t.Errorf("a sweep that is off: %v", err)
	}
	if _, err := b.Ask(t.Context(), "stripe-drift", api.SweepAsk{Action: "run", Mode: "apply", By: "ann"}); fault.Of(err) != fault.Refused {
		t.Errorf("apply of nothing: %v", err)
	}
	for _, action := range []string{"pause", "resume"} {
		if got, err := b.Ask(t.Context(), "stripe-drift", api.SweepAsk{Action: action, By: "ann"}); err != nil || !got.Seen {
			t.Errorf("%s: %+v, %v", action, got, err)
		}
		all, err := b.Sweeps(t.Context(), "stripe-drift")
		if err != nil || all[0].Paused != (action == "pause") || all[0].HeldBy != "ann" {
			t.Errorf("%s: %+v, %v", action, all, err)
		}
	}
	// Nobody plans: the request stays, and whoever asked may hang up.
	n.planner = false
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err = b.Ask(ctx, "zuora-full", api.SweepAsk{Action: "cancel", By: "ann"})
	if err != nil || got.Seen || got.Request == "" {
		t.Errorf("%+v, %v", got, err)
	}
	if all, err := b.Sweeps(t.Context(), "zuora-full"); err != nil || all[0].Pending == nil || all[0].Pending.Action != "cancel" {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestTheAPIStandsBesideHealth(t *testing.T) {
	s, err := newServer("127.0.0.1:0", newReadiness(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer s.listener.Close()
	b, _, _ := newBoard(t)
	s.mount(api.New(api.Config{Sweeps: b, Runs: b}), zerolog.Nop())
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": `"ready":true`, "/metrics": "", "/openapi.json": `"openapi"`, "/api/sweeps": `"zuora-full"`, "/api/x": "there is no GET /api/x",
	} {
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+path, nil))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: status %d: %s", path, w.Code, w.Body.String())
		}
	}
}
