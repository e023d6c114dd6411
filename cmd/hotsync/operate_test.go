package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/api"
	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// desk is a daemon by hand, behind the real API. Its run goes through reports,
// one at each look; the last one stays.
type desk struct {
	mu      sync.Mutex
	asked   []any
	fail    error
	answer  api.SweepAnswer
	sweep   api.Sweep
	reports []api.RunReport
	records int // of a plan
	matches int64
	letters []api.DeadLetter
	dead    api.DeadAnswer
	away    int // looks at a run that nobody answers
	as      string
	replay  api.ReplayAnswer
}

func (d *desk) keep(asked ...any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, asked...)
	return d.fail
}

func (d *desk) all() []any {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

func (d *desk) Sweeps(context.Context, ...string) ([]api.Sweep, error) {
	return []api.Sweep{d.sweep}, d.fail
}

func (d *desk) Ask(_ context.Context, name string, ask api.SweepAsk) (api.SweepAnswer, error) {
	ask.By = ""
	return d.answer, d.keep(name, ask)
}

func (d *desk) Run(context.Context, string) (api.RunReport, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rep := d.reports[0]
	if len(d.reports) > 1 {
		d.reports = d.reports[1:]
	}
	return rep, nil
}

func (d *desk) Planned(_ context.Context, _ string, _ []string, after string, limit int) (api.PlannedPage, error) {
	first := 0
	if after != "" {
		if _, err := fmt.Sscan(after, &first); err != nil {
			return api.PlannedPage{}, err
		}
	}
	var page api.PlannedPage
	for i := first; i < min(first+limit, d.records); i++ {
		page.Records = append(page.Records, api.Planned{
			Key: record.StripeSubscription(fmt.Sprintf("sub_%06d", i)), Plan: "p", Outcome: event.Observed,
			Changes: []api.Change{{Object: "subscription", ID: "sub-1", Field: "status", Op: "update", Before: "active", After: "cancelled\x1b[31m"}},
		})
	}
	if first+limit < d.records {
		page.Next = fmt.Sprint(first + limit)
	}
	return page, nil
}

func (d *desk) Find(context.Context, api.Filter, string, int) (api.SyncPage, error) {
	return api.SyncPage{}, nil
}
func (d *desk) Count(context.Context, api.Filter) (int64, error) { return 0, nil }

func (d *desk) Preview(_ context.Context, ask api.ReplayAsk) (api.ReplayPreview, error) {
	p := api.ReplayPreview{Matches: d.matches, Cap: ask.Cap, Most: 60000}
	if p.Matches > p.Cap {
		p.Refused = "more than the cap"
	}
	if p.Matches > 0 {
		p.Sample = []api.ReplayTarget{{SyncID: "s1", Key: record.ZuoraAccount("a1"), Was: "failed/forbidden", As: d.as}}
	}
	return p, d.fail
}

func (d *desk) Replay(_ context.Context, ask api.ReplayAsk) (api.ReplayAnswer, error) {
	ask.By = ""
	if d.replay.Matched > 0 {
		return d.replay, d.keep(ask)
	}
	return api.ReplayAnswer{Run: "replay/1", Matched: 5, Scheduled: 3, Merged: 1, PassedOver: 1, Until: time.Now().Add(90 * time.Second)}, d.keep(ask)
}

func (d *desk) Letters(_ context.Context, f api.DeadFilter, _ string, limit int) (api.DeadPage, error) {
	return api.DeadPage{Letters: d.letters[:min(limit, len(d.letters))], Count: int64(len(d.letters))}, d.keep(f)
}

func (d *desk) Letter(_ context.Context, id string) (api.DeadLetter, error) {
	for _, l := range d.letters {
		if l.ID == id {
			return l, nil
		}
	}
	return api.DeadLetter{}, fault.Newf(fault.NotFound, "there is no dead letter %s", id)
}

func (d *desk) ReplayDead(_ context.Context, ask api.DeadAsk) (api.DeadAnswer, error) {
	ask.By = ""
	return d.dead, d.keep("replay", ask)
}

func (d *desk) DiscardDead(_ context.Context, ask api.DeadAsk) (api.DeadAnswer, error) {
	ask.By = ""
	return d.dead, d.keep("discard", ask)
}

// serve runs d and has the verbs find it.
func (d *desk) serve(t *testing.T) *desk {
	t.Helper()
	h := api.New(api.Config{Sweeps: d, Runs: d, Syncs: d, Replays: d, Letters: d, Dead: d})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/runs/") && d.isAway() {
			w.WriteHeader(http.StatusBadGateway) // as of a proxy
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	t.Setenv("HOTSYNC_ADDR", s.URL)
	return d
}

func (d *desk) isAway() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away--
	return d.away >= 0
}

func run(t *testing.T, args ...string) answer {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := execute(t.Context(), args, &stdout, &stderr)
	return answer{code, stdout.String(), stderr.String()}
}

// ends are the reports of a run that lists 100 records, of which 3 are looked at.
func ends(state string, change ...func(*api.Run)) []api.RunReport {
	r := api.Run{ID: "zuora-full/1", Mode: "repair", State: "running", Stage: "accounts", Done: 40, Total: 100, HandedOn: 1, PerSecond: 20}
	half := r
	r.State, r.Done, r.Equal, r.HandedOn = "settling", 100, 97, 3
	settling := r
	r.State, r.Stage = state, ""
	for _, c := range change {
		c(&r)
	}
	none := &api.Outcomes{Answered: 1}
	all := &api.Outcomes{Answered: 3, Final: 3, Drifted: 2, Repaired: 2, Failed: 1, ByName: map[string]int64{"applied": 2, "failed": 1}}
	rep := func(r api.Run, o *api.Outcomes) api.RunReport { return api.RunReport{ID: r.ID, Run: &r, Outcomes: o} }
	return []api.RunReport{rep(half, nil), rep(settling, none), rep(r, none), rep(r, all)}
}

func TestSweepWaitsForItsRun(t *testing.T) {
	d := (&desk{answer: api.SweepAnswer{Request: "q", Seen: true, Run: "zuora-full/1"}, reports: ends("done"), away: 1}).serve(t)
	got := run(t, "sweep", "zuora-full", "--deep")
	if got.code != exitFine || !strings.Contains(got.stdout, "zuora-full/1: done in 0s: 100 listed, 97 equal, 3 looked at\napplied 2, failed 1\n") {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(got.stderr, "zuora-full: running accounts, 40/100 listed, 1 to look at, 20/s\n") {
		t.Errorf("no progress: %s", got.stderr)
	}
	if diff := cmp.Diff([]any{"zuora-full", api.SweepAsk{Action: "run", Mode: "repair", Deep: true}}, d.all()); diff != "" {
		t.Error(diff)
	}
}

func TestSweepPlanIsOneObject(t *testing.T) {
	d := (&desk{answer: api.SweepAnswer{Seen: true, Run: "zuora-full/1"}, reports: ends("done"), records: 2500}).serve(t)
	got := run(t, "sweep", "zuora-full", "--plan", "-o", "json")
	var res struct {
		Run, Sweep, State string
		Listed            int64
		Incomplete        bool
		Records           []struct {
			Key, Plan string
			Changes   []map[string]any
		}
	}
	if err := json.Unmarshal([]byte(got.stdout), &res); err != nil {
		t.Fatalf("%v: %.200s", err, got.stdout)
	}
	if got.code != exitFine || res.Incomplete || res.Run != "zuora-full/1" || res.Sweep != "zuora-full" || res.State != "done" || res.Listed != 100 || len(res.Records) != 2500 {
		t.Fatalf("code %d, %d records, %+v", got.code, len(res.Records), got.stderr)
	}
	if r := res.Records[2499]; r.Key != "stripe:subscription:sub_002499" || r.Plan != "p" || r.Changes[0]["after"] != "cancelled\x1b[31m" {
		t.Errorf("last record: %+v", r)
	}
	if ask := d.all()[1].(api.SweepAsk); ask.Mode != "plan" {
		t.Errorf("asked for %+v", ask)
	}
}

// Records that were put off, or that ClickHouse does not have yet, are missing in
// the list, and it says so.
func TestSweepPlanThatIsIncomplete(t *testing.T) {
	plan := func(r *api.Run) { r.Mode = "plan" }
	cases := map[string]struct {
		outcomes *api.Outcomes
		missing  int64
	}{
		"not loaded":              {&api.Outcomes{Answered: 2, Final: 2}, 1},
		"put off":                 {&api.Outcomes{Answered: 3, Final: 2, ByName: map[string]int64{"observed": 2, "deferred": 1}}, 1},
		"what one led to":         {&api.Outcomes{Answered: 3, Final: 3, LedTo: 2}, 2},
		"ClickHouse is not there": {nil, 3},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			reports := ends("done", plan)
			reports[3].Outcomes = c.outcomes
			d := &desk{answer: api.SweepAnswer{Seen: true, Run: "zuora-full/1"}, reports: reports[2:], records: 2}
			d.serve(t)
			got := run(t, "sweep", "zuora-full", "--plan", "-o", "json", "--patience", "1ms")
			var res struct {
				Incomplete bool
				Unanswered int64
				Records    []any
			}
			if err := json.Unmarshal([]byte(got.stdout), &res); err != nil {
				t.Fatalf("%v: %s", err, got.stdout)
			}
			if got.code != exitFailed || !res.Incomplete || res.Unanswered != c.missing || len(res.Records) != 2 {
				t.Errorf("code %d, %+v", got.code, res)
			}
			if name != "put off" {
				return
			}
			person := run(t, "sweep", "zuora-full", "--plan", "--patience", "1ms")
			if person.code != exitFailed || !strings.Contains(person.stderr, "not come to an end within 1ms") || strings.Contains(person.stdout, "to write this") {
				t.Errorf("got %+v", person)
			}
		})
	}
}

func TestSweepPlanForAPerson(t *testing.T) {
	plan := func(r *api.Run) { r.Mode = "plan" }
	(&desk{answer: api.SweepAnswer{Seen: true, Run: "zuora-full/1"}, reports: ends("done", plan), records: 201}).serve(t)
	got := run(t, "sweep", "zuora-full", "--plan")
	for _, want := range []string{
		"KEY                             OBJECT              OP      FIELD   BEFORE  AFTER\n",
		"stripe:subscription:sub_000199  subscription sub-1  update  status  active  cancelled\ufffd[31m\n",
		"… and 1 record more; -o json prints all of them\n",
		"to write this: hotsync sweep zuora-full --apply zuora-full/1\n",
	} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("%q is missing in:\n%s", want, got.stdout[max(0, len(got.stdout)-800):])
		}
	}
}

func TestSweepEndsBadly(t *testing.T) {
	broken := func(r *api.Run) { r.Error = "page 3 of accounts: 503" }
	for _, state := range []string{"failed", "cancelled"} {
		(&desk{answer: api.SweepAnswer{Seen: true, Run: "zuora-full/1"}, reports: ends(state, broken)[2:]}).serve(t)
		got := run(t, "sweep", "zuora-full")
		if got.code != exitFailed || !strings.Contains(got.stdout, state) || !strings.Contains(got.stderr, "page 3 of accounts: 503") {
			t.Errorf("%s: got %+v", state, got)
		}
	}
}

func TestSweepWaitsForThePlanner(t *testing.T) {
	seen := api.Sweep{Name: "zuora-full", State: "running", Handled: &api.SweepHandled{Request: "q", Run: "zuora-full/7"}}
	(&desk{answer: api.SweepAnswer{Request: "q"}, sweep: seen}).serve(t)
	if got := run(t, "sweep", "zuora-full", "--no-wait"); got.code != exitFine || got.stdout != "zuora-full/7\n" {
		t.Errorf("got %+v", got)
	}
	seen.Handled = &api.SweepHandled{Request: "q", Answer: "the sweep is paused"}
	(&desk{answer: api.SweepAnswer{Request: "q"}, sweep: seen}).serve(t)
	if got := run(t, "sweep", "zuora-full"); got.code != exitFailed || !strings.Contains(got.stderr, "sweep zuora-full: the sweep is paused") {
		t.Errorf("got %+v", got)
	}
}

func TestSweepInterrupted(t *testing.T) {
	(&desk{answer: api.SweepAnswer{Seen: true, Run: "zuora-full/1"}, reports: ends("done")[:1]}).serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	var stdout, stderr bytes.Buffer
	if code := execute(ctx, []string{"sweep", "zuora-full"}, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "run zuora-full/1 goes on") {
		t.Errorf("code %d: %s", code, stderr.String())
	}
}

func TestSweepList(t *testing.T) {
	at := time.Date(2027, 1, 5, 2, 0, 0, 0, time.UTC)
	(&desk{sweep: api.Sweep{
		Name: "zuora-full", State: "paused", HeldBy: "ann", Schedule: "CRON_TZ=UTC 0 2 * * *", Missed: 2, Overlaps: 1, SkippedPaused: 4,
		Current: &api.Run{ID: "zuora-full/1", State: "running", Started: at, Done: 40, Total: 100, HandedOn: 1},
	}}).serve(t)
	got := run(t, "sweep", "ls")
	want := `SWEEP       STATE          SCHEDULE               NEXT  LAST                 RESULT   LISTED  HANDED_ON  MISSED  OVERLAPS  SKIPPED_PAUSED
zuora-full  paused by ann  CRON_TZ=UTC 0 2 * * *  -     2027-01-05 02:00:00  running  40/100  1          2       1         4
`
	if got.code != exitFine || got.stdout != want {
		t.Errorf("got %+v, want\n%s", got, want)
	}
	if got := run(t, "sweep", "ls", "-o", "json"); !strings.Contains(got.stdout, `"overlaps":1`) {
		t.Errorf("got %+v", got)
	}
}

func TestSweepPauses(t *testing.T) {
	for _, verb := range []string{"pause", "resume", "cancel"} {
		d := (&desk{answer: api.SweepAnswer{Seen: true}}).serve(t)
		if got := run(t, "sweep", verb, "zuora-full"); got.code != exitFine || !strings.HasPrefix(got.stdout, "sweep zuora-full: "+verb) {
			t.Errorf("%s: got %+v", verb, got)
		}
		if diff := cmp.Diff([]any{"zuora-full", api.SweepAsk{Action: verb}}, d.all()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDeadLists(t *testing.T) {
	d := (&desk{letters: []api.DeadLetter{aLetter(), aLetter()}}).serve(t)
	got := run(t, "dead", "ls", "--reason", "bad_token", "--state", "all", "--limit", "1")
	if got.code != exitFine || !strings.Contains(got.stdout, "d1  open   -     login:message:x  bad_token  1         expired\ufffd]0;pwned\ufffd yesterday\n") || got.stderr != "1 of 2 dead letters\n" {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]any{api.DeadFilter{Reason: []string{"bad_token"}, State: []string{"all"}}}, d.all()); diff != "" {
		t.Error(diff)
	}
	got = run(t, "dead", "show", "d1")
	for _, want := range []string{"came from      auth.logins/3/17\n", "header source  shop\n", "no replay      it was too long\n", `"id":"t"`, "8 bytes", "{\"a\":1}\ufffd[2J\n"} {
		if want == "8 bytes" {
			want = fmt.Sprintf("%d bytes, as they came:\n", len(aLetter().Original))
		}
		if !strings.Contains(got.stdout, want) {
			t.Errorf("%q is missing in\n%s", want, got.stdout)
		}
	}
	if got := run(t, "dead", "show", "d1", "-o", "json"); !strings.Contains(got.stdout, `"original":"eyJ`) {
		t.Errorf("got %+v", got)
	}
	if got := run(t, "dead", "show", "d9"); got.code != exitFinding || !strings.Contains(got.stderr, "there is no dead letter d9") {
		t.Errorf("got %+v", got)
	}
}

func TestDeadIsDealtWith(t *testing.T) {
	d := (&desk{letters: []api.DeadLetter{aLetter()}, dead: api.DeadAnswer{Run: "replay/1", Matched: 3, Done: 1, Already: 1, Refused: []api.DeadRefused{{ID: "d2", Why: "too long"}}}}).serve(t)
	got := run(t, "dead", "replay", "d1", "d2", "d3", "--yes")
	if got.code != exitFinding || !strings.Contains(got.stdout, "1 dead letter replayed, 1 had been dealt with before; replay/1\nd2: too long\n") {
		t.Errorf("got %+v", got)
	}
	d.dead = api.DeadAnswer{Matched: 1, Done: 1}
	got = run(t, "dead", "discard", "--class", "refused", "--why", "noise", "--yes")
	if got.code != exitFine || got.stdout != "1 dead letter discarded\n" {
		t.Errorf("got %+v", got)
	}
	run(t, "dead", "replay", "--all", "--yes", "--rate", "3")
	want := []any{
		"replay", api.DeadAsk{IDs: []string{"d1", "d2", "d3"}, Cap: 1000, PerSecond: 20},
		"discard", api.DeadAsk{Filter: &api.DeadFilter{Class: []string{"refused"}}, Why: "noise", Cap: 1000, PerSecond: 20},
		"replay", api.DeadAsk{Filter: &api.DeadFilter{}, Cap: 1000, PerSecond: 3},
	}
	if diff := cmp.Diff(want, d.all()); diff != "" {
		t.Error(diff)
	}
	d.asked = nil
	got = run(t, "dead", "replay", "d1")
	if got.code != exitFinding || !strings.Contains(got.stderr, "matching: 1 dead letter\n  d1  open") || !strings.Contains(got.stderr, "say --yes") {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]any{api.DeadFilter{ID: []string{"d1"}, State: []string{"all"}}}, d.all()); diff != "" {
		t.Errorf("a preview did more than look: %s", diff)
	}
}

func TestOperatorsAreUnderstood(t *testing.T) {
	t.Setenv("HOTSYNC_ADDR", "http://127.0.0.1:1")
	for _, tt := range []struct{ args, want string }{
		{"sweep", "name a sweep"},
		{"sweep a b", "accepts at most 1 arg"},
		{"sweep a --plan --apply b", "exclude each other"},
		{"sweep pause", "accepts 1 arg"},
		{"sweep a --addr ftp://x", "is no address of a daemon"},
		{"replay", "say what to look at again"},
		{"replay s1 --never-processed", "exclude each other"},
		{"replay --since yesterday", "want a time such as"},
		{"replay --failed-since 1h --outcome applied", "exclude each other"},
		{"dead replay", "say which"},
		{"dead replay d1 --all", "exclude each other"},
		{"dead discard d1", "--why"},
		{"dead ls --limit 0", "--limit"},
		{"dead bury", "unknown command"},
	} {
		if got := run(t, strings.Fields(tt.args)...); got.code != exitFinding || !strings.Contains(got.stderr, tt.want) {
			t.Errorf("%s: got %+v, want %q", tt.args, got, tt.want)
		}
	}
}

func TestDaemonCannotBeAsked(t *testing.T) {
	t.Setenv("HOTSYNC_ADDR", "http://127.0.0.1:1")
	for _, args := range []string{"sweep ls", "sweep zuora-full", "replay s1 --yes", "dead ls", "dead show d1", "sweep ls --addr " + freeAddr(t)} {
		got := run(t, strings.Fields(args)...)
		if got.code != exitEnvironment || !strings.Contains(got.stderr, "no daemon answers at http://127.0.0.1:") || !strings.Contains(got.stderr, "hotsync run") {
			t.Errorf("%s: got %+v", args, got)
		}
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	if got := run(t, "dead", "ls", "--addr", other.URL); got.code != exitEnvironment || !strings.Contains(got.stderr, "is no hotsync of this version") {
		t.Errorf("got %+v", got)
	}
}

func TestRefusalsHaveExitCodes(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
	}{
		{fault.Newf(fault.NotFound, "no such sweep"), exitFinding},
		{fault.Newf(fault.Refused, "no sense"), exitFinding},
		{fault.Newf(fault.Locked, "a run is under way"), exitFailed},
		{fault.Newf(fault.Unavailable, "ClickHouse is away"), exitEnvironment},
		{fmt.Errorf("odd"), exitFailed},
	} {
		(&desk{fail: tt.err}).serve(t)
		if got := run(t, "sweep", "pause", "nightly"); got.code != tt.code || got.stderr != "hotsync: "+tt.err.Error()+"\n" {
			t.Errorf("%v: got %+v", tt.err, got)
		}
	}
}

func TestQuestion(t *testing.T) {
	for in, yes := range map[string]bool{"y\n": true, "YES\n": true, "yes": true, "n\n": false, "\n": false, "": false, "yesterday\n": false} {
		var out bytes.Buffer
		if err := answered(strings.NewReader(in), &out, "go on?"); (err == nil) != yes || !strings.HasPrefix(out.String(), "go on? [y/N] ") {
			t.Errorf("%q: %v, %q", in, err, out.String())
		}
	}
}
