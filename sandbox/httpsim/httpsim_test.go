package httpsim

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func serve(t *testing.T) (*Sim, func(path string) (int, string)) {
	t.Helper()
	s := New(FrozenClock(time.Unix(0, 0)), 1)
	s.Render = func(w http.ResponseWriter, _ *http.Request, code string) {
		http.Error(w, code, http.StatusTooManyRequests)
	}
	s.Handle("GET /things/{id}", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.PathValue("id")) })
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, func(path string) (int, string) {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = resp.Body.Close() }()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, strings.TrimSpace(string(b))
	}
}

func TestFaults(t *testing.T) {
	s, get := serve(t)
	cases := map[string]struct {
		fault  Fault
		status int
		body   string
	}{
		"none":       {Fault{Route: "GET /other"}, 200, "a"},
		"code":       {Fault{Code: "rate_limit"}, 429, "rate_limit"},
		"literal":    {Fault{Status: 503, Body: "gone"}, 503, "gone"},
		"other path": {Fault{Path: "/things/b", Code: "x"}, 200, "a"},
		"this path":  {Fault{Path: "/things/a", Code: "x"}, 429, "x"},
		"no query":   {Fault{Query: "cursor", Code: "x"}, 200, "a"},
	}
	for name, c := range cases {
		remove := s.Inject(c.fault)
		if status, body := get("/things/a"); status != c.status || body != c.body {
			t.Errorf("%s: %d %q", name, status, body)
		}
		remove()
		if status, _ := get("/things/a"); status != 200 {
			t.Errorf("%s: it goes on after its end: %d", name, status)
		}
	}
	remove := s.Inject(Fault{Query: "cursor", Code: "x"})
	if status, _ := get("/things/a?limit=1&cursor="); status != 429 {
		t.Errorf("a query that suffers: %d", status)
	}
	remove()
	for _, f := range []Fault{{Drop: true}, {DropAfter: true}} {
		remove := s.Inject(f)
		if status, _ := get("/things/a"); status != 0 {
			t.Errorf("%+v: answered %d", f, status)
		}
		remove()
	}
}

func TestTimesAndRate(t *testing.T) {
	s, get := serve(t)
	s.Inject(Fault{Code: "x", Times: 2})
	var got []int
	for range 4 {
		status, _ := get("/things/a")
		got = append(got, status)
	}
	if got[0] != 429 || got[1] != 429 || got[2] != 200 || got[3] != 200 {
		t.Errorf("a fault of two times: %v", got)
	}
	s.Inject(Fault{Code: "x", Rate: 0.5})
	struck := 0
	for range 200 {
		if status, _ := get("/things/a"); status == 429 {
			struck++
		}
	}
	if struck < 60 || struck > 140 {
		t.Errorf("a fault of rate 0.5 struck %d of 200 calls", struck)
	}
}

func TestCounts(t *testing.T) {
	s, get := serve(t)
	s.Inject(Fault{Code: "x", Times: 1})
	get("/things/a?x=1")
	get("/things/b")
	if n := s.Calls()["GET /things/{id}"]; n != 2 {
		t.Errorf("%d calls, want the faulty one too", n)
	}
	log := s.Log()
	if len(log) != 2 || log[0].Path != "/things/a?x=1" || log[0].Status != 429 || log[1].Status != 200 {
		t.Errorf("log %+v", log)
	}
	s.ResetCalls()
	if len(s.Calls()) != 0 || len(s.Log()) != 0 {
		t.Error("not reset")
	}
}

func TestLimit(t *testing.T) {
	s, get := serve(t)
	lift := s.Limit(Limit{PerSecond: 3})
	s.Limit(Limit{Route: "GET /others", PerSecond: 1})
	var got []int
	for _, step := range []time.Duration{0, 0, 600, 0, 399, 1, 0, 0, 599, 1, 1} { // ms, before each call
		s.Clock.Advance(step * time.Millisecond)
		status, body := get("/things/a")
		got = append(got, status)
		if status != 200 && body != "rate_limit" {
			t.Errorf("refused with %q", body)
		}
	}
	// The first two at 0, the third at 600; full until 1000, and then until 1600.
	want := []int{200, 200, 200, 429, 429, 200, 200, 429, 429, 200, 429}
	if !slices.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
	refused := s.Refused()
	if len(refused) != 5 || refused[1] != time.Unix(0, 999e6).UTC() || s.Calls()["GET /things/{id}"] != len(want) {
		t.Errorf("refused at %v of %v calls", refused, s.Calls())
	}
	lift()
	if status, _ := get("/things/a"); status != 200 {
		t.Errorf("it goes on after its end: %d", status)
	}
	if s.ResetCalls(); len(s.Refused()) != 0 {
		t.Error("not reset")
	}
}

func TestLimitOfARoute(t *testing.T) {
	s, get := serve(t)
	s.Handle("GET /others/{id}", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Reason", "none") })
	s.Limit(Limit{Route: "GET /things/{id}", PerSecond: 1, Code: "slow_down", Header: map[string]string{"Reason": "endpoint"}})
	for _, want := range []struct {
		path   string
		status int
		body   string
	}{{"/things/a", 200, "a"}, {"/others/a", 200, ""}, {"/things/b", 429, "slow_down"}, {"/others/b", 200, ""}} {
		if status, body := get(want.path); status != want.status || body != want.body {
			t.Errorf("%s: %d %q", want.path, status, body)
		}
	}
}

func TestClocks(t *testing.T) {
	c := FrozenClock(time.Unix(1000, 0))
	c.Advance(time.Hour)
	if !c.Now().Equal(time.Unix(4600, 0)) {
		t.Errorf("a frozen clock shows %s", c.Now())
	}
	r := RunningClock()
	before := r.Now()
	r.Advance(time.Hour)
	if d := r.Now().Sub(before); d < time.Hour || d > time.Hour+time.Minute {
		t.Errorf("a running clock moved by %s", d)
	}
}

// A call comes to the choice of a fault unless an earlier one struck it.
func TestTallies(t *testing.T) {
	s, get := serve(t)
	s.Inject(Fault{Code: "rate_limit", Rate: 0.3})
	s.Inject(Fault{Delay: time.Nanosecond, Path: "/things/b"})
	s.Inject(Fault{Status: 503, Times: 1})
	for range 200 {
		get("/things/a")
	}
	get("/things/b")
	got := s.Tallies()
	limited := got["rate_limit"]
	if limited.Met != 201 || limited.Struck < 30 || limited.Struck > 90 {
		t.Errorf("three in ten: %+v", limited)
	}
	if got["503"] != (Tally{1, 1}) || got["delay"].Met > 1 || got["delay"].Met != got["delay"].Struck {
		t.Errorf("got %+v", got)
	}
	s.ResetCalls()
	if got := s.Tallies(); len(got) > 0 {
		t.Errorf("after a reset: %+v", got)
	}
}
