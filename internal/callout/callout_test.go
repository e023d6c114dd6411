package callout

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }

func TestCallsAreNoted(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer s.Close()
	now := time.Unix(100, 0)
	var observed int
	tr := &Transport{
		Service: "zuora", Next: http.DefaultTransport, Route: func(*http.Request) string { return "/v1/accounts/{key}" },
		Now: func() time.Time { now = now.Add(time.Second); return now }, Observe: func(Call) { observed++ },
	}
	var l Log
	call := func(ctx context.Context, rt http.RoundTripper) {
		tr.Next = rt
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/v1/accounts/secret-id", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := tr.RoundTrip(r); err == nil {
			_ = resp.Body.Close()
		}
	}
	ctx := Into(t.Context(), &l)
	call(ctx, http.DefaultTransport)
	call(ctx, broken{})
	call(t.Context(), http.DefaultTransport) // nobody listens
	got := l.Calls()
	if len(got) != 2 || observed != 3 {
		t.Fatalf("%d calls noted, %d observed", len(got), observed)
	}
	if c := got[0]; c.Status != http.StatusTeapot || c.Route != "/v1/accounts/{key}" || c.Service != "zuora" || c.Duration != time.Second || c.Err != nil {
		t.Errorf("first call %+v", c)
	}
	if c := got[1]; c.Status != 0 || c.Err == nil {
		t.Errorf("second call %+v", c)
	}
}
