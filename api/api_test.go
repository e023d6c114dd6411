package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/api"
	"hotsync/event"
	"hotsync/internal/fault"
	"hotsync/record"
)

// daemon is a daemon by hand: it keeps what it was asked for.
type daemon struct {
	sweeps  map[string]api.Sweep
	fail    error
	panics  bool
	asked   []any
	outcome *api.Outcomes
}

func (d *daemon) keep(asked ...any) error {
	if d.panics {
		panic("a bug")
	}
	d.asked = append(d.asked, asked...)
	return d.fail
}

func (d *daemon) Sweeps(_ context.Context, names ...string) ([]api.Sweep, error) {
	if err := d.keep(names); err != nil {
		return nil, err
	}
	var out []api.Sweep
	for _, name := range []string{"zuora-full", "stripe-drift"} {
		if s, ok := d.sweeps[name]; ok && (len(names) == 0 || names[0] == name) {
			out = append(out, s)
		}
	}
	return out, nil
}

func (d *daemon) Ask(_ context.Context, name string, ask api.SweepAsk) (api.SweepAnswer, error) {
	return api.SweepAnswer{Request: "r1", Seen: true, Run: name + "/1"}, d.keep(name, ask)
}

func (d *daemon) Run(_ context.Context, id string) (api.RunReport, error) {
	return api.RunReport{ID: id, Outcomes: d.outcome, Missing: "ClickHouse is away"}, d.keep(id)
}

func (d *daemon) Planned(_ context.Context, run string, outcomes []string, after string, limit int) (api.PlannedPage, error) {
	return api.PlannedPage{Records: []api.Planned{{
		Key: record.StripeSubscription("sub_1"), Plan: "p1",
		Changes: []api.Change{{Object: "subscription", Field: "status", Op: "update", Before: "active", After: nil}},
	}}, Next: "k2"}, d.keep(run, outcomes, after, limit)
}

func (d *daemon) Find(_ context.Context, f api.Filter, after string, limit int) (api.SyncPage, error) {
	return api.SyncPage{}, d.keep(f, after, limit)
}

func (d *daemon) Count(_ context.Context, f api.Filter) (int64, error) { return 7, d.keep(f) }

func (d *daemon) Preview(_ context.Context, ask api.ReplayAsk) (api.ReplayPreview, error) {
	return api.ReplayPreview{Matches: 3}, d.keep(ask)
}

func (d *daemon) Replay(_ context.Context, ask api.ReplayAsk) (api.ReplayAnswer, error) {
	return api.ReplayAnswer{Run: "replay/x"}, d.keep(ask)
}

func (d *daemon) Letters(_ context.Context, f api.DeadFilter, after string, limit int) (api.DeadPage, error) {
	return api.DeadPage{Count: 9}, d.keep(f, after, limit)
}

func (d *daemon) Letter(_ context.Context, id string) (api.DeadLetter, error) {
	return api.DeadLetter{ID: id, Original: []byte("{"), Trigger: &event.Trigger{ID: "t", Key: record.ZuoraAccount("a")}}, d.keep(id)
}

func (d *daemon) ReplayDead(_ context.Context, ask api.DeadAsk) (api.DeadAnswer, error) {
	return api.DeadAnswer{Done: 1}, d.keep(ask)
}

func (d *daemon) DiscardDead(_ context.Context, ask api.DeadAsk) (api.DeadAnswer, error) {
	return api.DeadAnswer{Done: 2}, d.keep(ask)
}

func (d *daemon) handler(failed func(method, path string, err error)) http.Handler {
	return api.New(api.Config{Sweeps: d, Runs: d, Syncs: d, Replays: d, Letters: d, Dead: d, Build: "test", Failed: failed})
}

func newDaemon() *daemon {
	return &daemon{sweeps: map[string]api.Sweep{"zuora-full": {Name: "zuora-full", State: "idle"}, "stripe-drift": {Name: "stripe-drift", State: "off"}}}
}

// ask sends one request, a write when there is a body.
func ask(t *testing.T, h http.Handler, path, body string, change ...func(*http.Request)) (int, map[string]any) {
	t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	r := httptest.NewRequest(method, "http://127.0.0.1:8484"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("%s: status %d, no JSON: %s", path, w.Code, w.Body.String())
	}
	if ct := w.Header().Get("Content-Type"); w.Code >= 400 && ct != "application/problem+json" {
		t.Errorf("%s: status %d is a %s, want a problem", path, w.Code, ct)
	}
	return w.Code, out
}

func TestWhatIsAskedArrives(t *testing.T) {
	since := time.Date(2027, 1, 5, 10, 0, 0, 0, time.UTC)
	tests := []struct {
		path, body string
		want       []any
	}{
		{"/api/sweeps", "", []any{[]string(nil)}},
		{"/api/sweeps/zuora-full", "", []any{[]string{"zuora-full"}}},
		{"/api/sweeps/zuora-full/run", `{"by":"ann"}`, []any{"zuora-full", api.SweepAsk{Action: "run", Mode: "repair", By: "ann"}}},
		{"/api/sweeps/zuora-full/run", `{"by":"ann","mode":"plan","deep":true}`, []any{"zuora-full", api.SweepAsk{Action: "run", Mode: "plan", Deep: true, By: "ann"}}},
		{"/api/sweeps/zuora-full/run", `{"by":"ann","mode":"apply","plan_of":"zuora-full/1"}`, []any{"zuora-full", api.SweepAsk{Action: "run", Mode: "apply", PlanOf: "zuora-full/1", By: "ann"}}},
		{"/api/sweeps/zuora-full/pause", `{"by":"ann"}`, []any{"zuora-full", api.SweepAsk{Action: "pause", By: "ann"}}},
		{"/api/sweeps/zuora-full/resume", `{"by":"ann"}`, []any{"zuora-full", api.SweepAsk{Action: "resume", By: "ann"}}},
		{"/api/sweeps/zuora-full/cancel", `{"by":"ann"}`, []any{"zuora-full", api.SweepAsk{Action: "cancel", By: "ann"}}},
		{"/api/runs/zuora-full/20270105T100000Z-ab12", "", []any{"zuora-full/20270105T100000Z-ab12"}},
		{"/api/runs/zuora-full/1/records?after=k1&limit=5", "", []any{"zuora-full/1", []string(nil), "k1", 5}},
		{"/api/runs/zuora-full/1/records?outcome=applied&outcome=skipped", "", []any{"zuora-full/1", []string{"applied", "skipped"}, "", 100}},
		{"/api/syncs", "", []any{api.Filter{}, "", 100}},
		{
			"/api/syncs?outcome=failed&outcome=deferred&key=zuora:account:a,b&since=2027-01-05T10:00:00Z&after=x&limit=2", "",
			[]any{api.Filter{Outcome: []string{"failed", "deferred"}, Key: []string{"zuora:account:a,b"}, Since: since}, "x", 2},
		},
		{"/api/syncs/count?reason=forbidden", "", []any{api.Filter{Reason: []string{"forbidden"}}}},
		{
			"/api/replay/preview", `{"by":"ann","filter":{"outcome":["failed"],"since":"2027-01-05T10:00:00Z"}}`,
			[]any{api.ReplayAsk{Asker: api.Asker{By: "ann"}, Filter: &api.Filter{Outcome: []string{"failed"}, Since: since}, Cap: 1000, PerSecond: 20}},
		},
		{
			"/api/replay", `{"by":"ann","why":"fixed","id":"20270105T100000.000Z-1a2b","sync_ids":["s1"],"cap":5,"per_second":3}`,
			[]any{api.ReplayAsk{Asker: api.Asker{By: "ann"}, Why: "fixed", ID: "20270105T100000.000Z-1a2b", SyncIDs: []string{"s1"}, Cap: 5, PerSecond: 3}},
		},
		{"/api/replay", `{"by":"ann","never_processed":true}`, []any{api.ReplayAsk{Asker: api.Asker{By: "ann"}, NeverProcessed: true, Cap: 1000, PerSecond: 20}}},
		{"/api/dead?state=all&reason=bad_token", "", []any{api.DeadFilter{State: []string{"all"}, Reason: []string{"bad_token"}}, "", 100}},
		{"/api/dead/abc", "", []any{"abc"}},
		{"/api/dead/replay", `{"by":"ann","ids":["a"]}`, []any{api.DeadAsk{Asker: api.Asker{By: "ann"}, IDs: []string{"a"}, Cap: 1000, PerSecond: 20}}},
		{"/api/dead/discard", `{"by":"ann","filter":{},"why":"noise"}`, []any{api.DeadAsk{Asker: api.Asker{By: "ann"}, Why: "noise", Filter: &api.DeadFilter{}, Cap: 1000, PerSecond: 20}}},
	}
	for _, tt := range tests {
		t.Run(tt.path+" "+tt.body, func(t *testing.T) {
			d := newDaemon()
			if status, out := ask(t, d.handler(nil), tt.path, tt.body); status != http.StatusOK {
				t.Fatalf("status %d: %v", status, out)
			}
			if diff := cmp.Diff(tt.want, d.asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	d := newDaemon()
	h := d.handler(nil)
	list := func(path, name string) []any {
		t.Helper()
		_, out := ask(t, h, path, "")
		got, ok := out[name].([]any)
		if !ok {
			t.Fatalf("%s: %s is no list: %v", path, name, out)
		}
		return got
	}
	if got := list("/api/sweeps", "sweeps"); len(got) != 2 {
		t.Errorf("sweeps: %v", got)
	}
	if got := list("/api/syncs", "syncs"); len(got) != 0 {
		t.Errorf("syncs: %v", got)
	}
	if got := list("/api/dead", "letters"); len(got) != 0 {
		t.Errorf("letters: %v", got)
	}
	records := list("/api/runs/zuora-full/1/records", "records")
	want := map[string]any{"object": "subscription", "field": "status", "op": "update", "before": "active", "after": nil}
	if got := records[0].(map[string]any); got["key"] != "stripe:subscription:sub_1" || cmp.Diff(want, got["changes"].([]any)[0]) != "" {
		t.Errorf("records: %v", records)
	}
	if _, out := ask(t, h, "/api/runs/zuora-full/1", ""); out["outcomes"] != nil || out["missing"] != "ClickHouse is away" || out["run"] != nil {
		t.Errorf("run: %v", out)
	}
	if _, out := ask(t, h, "/api/dead/abc", ""); out["original"] != "ew==" || out["trigger"].(map[string]any)["key"] != "zuora:account:a" {
		t.Errorf("letter: %v", out)
	}
	if _, out := ask(t, h, "/api/syncs/count", ""); out["count"] != 7.0 {
		t.Errorf("count: %v", out)
	}
}

func TestBadInput(t *testing.T) {
	tests := []struct {
		name, path, body string
		status           int
		want             string // stands in the problem
	}{
		{"no such endpoint", "/api/sweep", "", 404, "GET /openapi.json lists what there is"},
		{"no such method", "/api/sweeps", "{}", 404, "there is no POST /api/sweeps"},
		{"no such sweep", "/api/sweeps/nightly", "", 404, "there is no sweep \\\"nightly\\\""},
		{"misspelled filter", "/api/syncs?outcom=failed", "", 422, "unknown query parameter"},
		{"unknown outcome", "/api/syncs?outcome=broken", "", 422, "query.outcome"},
		{"bad time", "/api/syncs?since=yesterday", "", 422, "query.since"},
		{"page too large", "/api/syncs?limit=100000", "", 422, "query.limit"},
		{"no JSON", "/api/replay", "{", 400, ""},
		{"who asks", "/api/sweeps/zuora-full/pause", "{}", 422, "expected required property by to be present"},
		{"nobody asks", "/api/sweeps/zuora-full/pause", `{"by":""}`, 422, "body.by"},
		{"unknown mode", "/api/sweeps/zuora-full/run", `{"by":"ann","mode":"fix"}`, 422, "body.mode"},
		{"unknown field", "/api/replay", `{"by":"ann","filter":{"outcom":["failed"]}}`, 422, "body.filter.outcom"},
		{"nothing to replay", "/api/replay", `{"by":"ann"}`, 422, "exactly one of sync_ids, filter and never_processed, got 0"},
		{"too much to replay", "/api/replay/preview", `{"by":"ann","sync_ids":["a"],"never_processed":true}`, 422, "got 2"},
		{"everything there is", "/api/replay", `{"by":"ann","filter":{}}`, 422, "body.filter: it is empty"},
		{"cap of nothing", "/api/replay", `{"by":"ann","sync_ids":["a"],"cap":-1}`, 422, "body.cap"},
		{"odd id", "/api/replay", `{"by":"ann","sync_ids":["a"],"id":"../../x"}`, 422, "body.id"},
		{"no letters", "/api/dead/replay", `{"by":"ann"}`, 422, "exactly one of ids and filter"},
		{"no reason to discard", "/api/dead/discard", `{"by":"ann","ids":["a"]}`, 422, "say why"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDaemon()
			status, out := ask(t, d.handler(nil), tt.path, tt.body)
			text, err := json.Marshal(out)
			if err != nil {
				t.Fatal(err)
			}
			if status != tt.status || !strings.Contains(string(text), tt.want) {
				t.Errorf("status %d: %s; want %d and %q", status, text, tt.status, tt.want)
			}
			for _, a := range d.asked {
				if _, read := a.([]string); !read {
					t.Errorf("the daemon was asked for %v", a)
				}
			}
		})
	}
}

func TestErrorsBecomeProblems(t *testing.T) {
	tests := []struct {
		err    error
		status int
	}{
		{fault.Newf(fault.NotFound, "gone"), 404},
		{fault.Newf(fault.Refused, "no sense"), 422},
		{fault.Newf(fault.Locked, "under way"), 409},
		{fault.Newf(fault.Unavailable, "ClickHouse is away"), 503},
		{context.DeadlineExceeded, 503},
		{context.Canceled, 503},
		{fault.Newf(fault.Forbidden, "password"), 502},
		{errors.New("odd"), 500},
	}
	for _, tt := range tests {
		d := newDaemon()
		d.fail = tt.err
		var logged error
		status, out := ask(t, d.handler(func(_, _ string, err error) { logged = err }), "/api/syncs", "")
		if status != tt.status || out["detail"] != tt.err.Error() || out["status"] != float64(tt.status) {
			t.Errorf("%v: status %d, %v", tt.err, status, out)
		}
		if (logged != nil) != (status == 500) {
			t.Errorf("%v: logged %v", tt.err, logged)
		}
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	d := newDaemon()
	d.panics = true
	if status, out := ask(t, d.handler(nil), "/api/syncs", ""); status != 500 || out["detail"] != "panic: a bug" {
		t.Errorf("status %d: %v", status, out)
	}
}

func TestOthersAreKeptOut(t *testing.T) {
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	const body = `{"by":"ann"}`
	tests := []struct {
		name   string
		body   string
		change func(*http.Request)
		status int
	}{
		{"by address", body, host("127.0.0.1:8484"), 200},
		{"by another loopback address", body, host("127.8.8.8"), 200},
		{"by IPv6", body, host("[::1]:8484"), 200},
		{"by IPv6 without a port", body, host("[::1]"), 200},
		{"by mapped IPv4", body, host("[::ffff:127.0.0.1]:1"), 200},
		{"by name", body, host("LocalHost:8484"), 200},
		{"rebound name", body, host("evil.example:8484"), 403},
		{"name that begins well", body, host("127.0.0.1.evil.example"), 403},
		{"other name that ends well", body, host("notlocalhost"), 403},
		{"other address", body, host("192.168.1.2:8484"), 403},
		{"no name", body, host(""), 403},
		{"own page", body, header("Sec-Fetch-Site", "same-origin"), 200},
		{"page of another site", body, header("Sec-Fetch-Site", "cross-site"), 403},
		{"page of another port", body, header("Sec-Fetch-Site", "same-site"), 403},
		{"old browser", body, header("Origin", "https://evil.example"), 403},
		{"own origin in an old browser", body, header("Origin", "http://127.0.0.1:8484"), 200},
		{"form", body, header("Content-Type", "text/plain"), 415},
		{"form with a trick", body, header("Content-Type", "text/plain; application/json"), 415},
		{"no type", body, func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		{"with a charset", body, header("Content-Type", "application/json; charset=utf-8"), 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDaemon()
			status, out := ask(t, d.handler(nil), "/api/sweeps/zuora-full/pause", tt.body, tt.change)
			if status != tt.status {
				t.Errorf("status %d: %v", status, out)
			}
			if status != 200 && len(d.asked) > 0 {
				t.Errorf("the daemon was asked for %v", d.asked)
			}
		})
	}
	t.Run("reads under another name", func(t *testing.T) {
		if status, _ := ask(t, newDaemon().handler(nil), "/openapi.json", "", host("evil.example")); status != 403 {
			t.Errorf("status %d", status)
		}
	})
}

func TestDescription(t *testing.T) {
	status, out := ask(t, newDaemon().handler(nil), "/openapi.json", "")
	paths, ok := out["paths"].(map[string]any)
	if status != 200 || !ok || len(paths) != 16 {
		t.Fatalf("status %d, %d paths", status, len(paths))
	}
	for path, methods := range paths {
		for method, op := range methods.(map[string]any) {
			if op.(map[string]any)["summary"] == "" {
				t.Errorf("%s %s has no summary", method, path)
			}
		}
	}
}

func TestFiltersAreOnePredicate(t *testing.T) {
	at := time.Date(2027, 1, 5, 10, 0, 0, 0, time.UTC)
	f := api.Filter{Outcome: []string{"failed", "deferred"}, Delivery: "evt_1", Since: at, Key: []string{"a", "b", "c", "d", "e", "f"}}
	d := newDaemon()
	if status, out := ask(t, d.handler(nil), "/api/syncs/count?"+f.Query().Encode(), ""); status != 200 {
		t.Fatalf("status %d: %v", status, out)
	}
	if diff := cmp.Diff([]any{f}, d.asked); diff != "" {
		t.Error(diff)
	}
	if got, want := f.String(), "key=a|b|c|d|e|… (1 more) outcome=failed|deferred delivery=evt_1 since=2027-01-05T10:00:00Z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := (api.DeadFilter{}).String(); got != "no condition" {
		t.Errorf("got %s", got)
	}
}
