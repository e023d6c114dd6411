package zuora_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"hotsync/connectors/zuora"
	"hotsync/internal/callout"
	"hotsync/internal/fault"
	"hotsync/sandbox/httpsim"
	sim "hotsync/sandbox/zuora"
)

// TestVendorFaults has each of Zuora's failures in all shapes that versions
// have: status 200 with success false, mapped statuses, Object Query's own.
func TestVendorFaults(t *testing.T) {
	for _, version := range []string{"186.0", "2024-05-20", "2025-08-12"} {
		for _, stringCodes := range []bool{false, true} {
			for code, want := range map[string]fault.Class{
				"lock": fault.Locked, "internal": fault.Unavailable, "temporary": fault.Unavailable, "rate_limit": fault.RateLimited,
				"forbidden": fault.Forbidden, "session": fault.Forbidden, "integration": fault.Unavailable,
				"unavailable": fault.Unavailable, "timeout": fault.Unavailable,
			} {
				for _, route := range []string{callAccount, callSubs} {
					t.Run(fmt.Sprintf("%s/%v/%s/%s", version, stringCodes, code, route), func(t *testing.T) {
						w := newWorld(t, sim.Config{StringCodes: stringCodes}, func(c *zuora.Config) { c.Version = version })
						w.account("acc", "")
						w.Inject(httpsim.Fault{Route: route, Code: code})
						_, err := w.Client.Account(t.Context(), "acc")
						class(t, err, want)
					})
				}
			}
		}
	}
}

func TestReasonCodes(t *testing.T) {
	for category, want := range map[int]fault.Class{
		10: fault.Forbidden, 11: fault.Forbidden, 20: fault.Refused, 21: fault.Refused, 22: fault.Refused, 23: fault.Refused,
		27: fault.Refused, 30: fault.Refused, 40: fault.NotFound, 45: fault.Refused, 50: fault.Locked, 60: fault.Unavailable,
		61: fault.Unavailable, 70: fault.RateLimited, 90: fault.Refused, 99: fault.Unavailable,
	} {
		for _, form := range []string{`%d`, `"%d"`} {
			w := newWorld(t, sim.Config{})
			w.account("acc", "")
			w.Inject(httpsim.Fault{Route: callSubs, Status: 200, Body: fmt.Sprintf(
				`{"success":false,"processId":"P","reasons":[{"code":`+form+`,"message":"as it is"}]}`, 50000000+category)})
			_, err := w.Client.Account(t.Context(), "acc")
			class(t, err, want)
			if err != nil && !strings.Contains(err.Error(), "as it is") {
				t.Errorf("Zuora's message is not in: %v", err)
			}
		}
	}
}

func TestWeatherFaults(t *testing.T) {
	for name, f := range map[string]httpsim.Fault{
		"dropped":          {Drop: true},
		"cut off":          {Status: 200, Header: map[string]string{"Content-Length": "500"}, Body: `{"success":true,"subscr`},
		"truncated JSON":   {Status: 200, Body: `{"success":true,"subscriptions":[{"subscriptionNumber":"A-S1"`},
		"empty":            {Status: 200},
		"another document": {Status: 200, Body: `<html>please sign in</html>`},
		"no list":          {Status: 200, Body: `{"success":true}`},
		"wrong type":       {Status: 200, Body: `{"success":true,"subscriptions":[{"subscriptionNumber":"A","autoRenew":"maybe"}]}`},
		"bad date":         {Status: 200, Body: `{"success":true,"subscriptions":[{"subscriptionNumber":"A","termEndDate":"soon"}]}`},
		"no number":        {Status: 200, Body: `{"success":true,"subscriptions":[{"id":"x"}]}`},
		"bad gateway":      {Status: 502, Body: `<html>`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sim.Config{})
			w.account("acc", "")
			f.Route = callSubs
			w.Inject(f)
			_, err := w.Client.Account(t.Context(), "acc")
			class(t, err, fault.Unavailable)
		})
	}
}

func TestWaits(t *testing.T) {
	for name, tt := range map[string]struct {
		fault httpsim.Fault
		want  time.Duration
	}{
		"Retry-After":     {httpsim.Fault{Code: "rate_limit", Header: map[string]string{"Retry-After": "3"}}, 3 * time.Second},
		"ratelimit-reset": {httpsim.Fault{Code: "rate_limit", Header: map[string]string{"ratelimit-remaining": "0", "ratelimit-reset": "60"}}, 60 * time.Second},
		"calls to spare":  {httpsim.Fault{Code: "rate_limit", Header: map[string]string{"ratelimit-remaining": "99", "ratelimit-reset": "60"}}, 0},
		"date":            {httpsim.Fault{Code: "unavailable", Header: map[string]string{"Retry-After": "Tue, 10 Mar 2026 12:01:30 GMT"}}, 90 * time.Second},
		"none":            {httpsim.Fault{Code: "temporary"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sim.Config{})
			w.account("acc", "")
			tt.fault.Route = callSubs
			w.Inject(tt.fault)
			_, err := w.Client.Account(t.Context(), "acc")
			if got := fault.Wait(err); got != tt.want {
				t.Errorf("wait %s, want %s: %v", got, tt.want, err)
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	w := newWorld(t, sim.Config{}, func(c *zuora.Config) { c.Timeout = 50 * time.Millisecond })
	w.account("acc", "")
	class(t, w.Ping(t.Context()), "")
	w.Inject(httpsim.Fault{Route: callSubs, Delay: time.Hour})
	_, err := w.Client.Account(t.Context(), "acc")
	class(t, err, fault.Unavailable)
}

func TestStopped(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("acc", "")
	class(t, w.Ping(t.Context()), "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.Client.Account(ctx, "acc")
	class(t, err, fault.Stopped)
}

func TestNobodyListens(t *testing.T) {
	w := newWorld(t, sim.Config{}, func(c *zuora.Config) { c.BaseURL = "http://127.0.0.1:1" })
	_, err := w.Client.Account(t.Context(), "acc")
	class(t, err, fault.Unavailable)
}

func TestErrorsNameTheRequest(t *testing.T) {
	w := newWorld(t, sim.Config{})
	_, err := w.Client.Account(t.Context(), "none")
	class(t, err, fault.NotFound)
	if err == nil || !strings.Contains(err.Error(), "(request ") {
		t.Errorf("Zuora's request id is not in: %v", err)
	}
	_, err = w.Find(t.Context(), "Unknown__c", "ada@example.test")
	class(t, err, fault.Refused)
	if err != nil && strings.Contains(err.Error(), "ada@example.test") {
		t.Errorf("personal data in: %v", err)
	}
}

func TestCallsAreNoted(t *testing.T) {
	var seen []string
	w := newWorld(t, sim.Config{}, func(c *zuora.Config) {
		c.Observe = func(call callout.Call) { seen = append(seen, call.Service+" "+call.Method+" "+call.Route) }
	})
	w.account("acc", "ada@example.test")
	var log callout.Log
	_, err := w.AccountBy(callout.Into(t.Context(), &log), "LimioExternalId__c", "ada@example.test")
	class(t, err, "")
	want := "zuora POST /oauth/token, zuora GET /object-query/accounts, zuora GET /v1/subscriptions/accounts/{id}"
	if got := strings.Join(seen, ", "); got != want {
		t.Errorf("observed %s, want %s", got, want)
	}
	if got := len(log.Calls()); got != 3 {
		t.Errorf("%d calls in the log, want 3", got)
	}
}
