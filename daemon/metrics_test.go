package daemon

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"hotsync/daemon/sweep"
	"hotsync/event"
	"hotsync/reconcile"
)

// scraped are the series of a name as Prometheus gets them.
func scraped(t *testing.T, reg *prometheus.Registry, name string) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	out := map[string]string{}
	for line := range strings.Lines(w.Body.String()) {
		if series, value, found := strings.Cut(strings.TrimSpace(line), " "); found && strings.HasPrefix(series, name+"{") {
			out[strings.TrimPrefix(series, name)] = value
		}
	}
	return out
}

func TestMetricsOfASweep(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	run := sweep.Run{ID: "zuora-full/2", Status: sweep.Running, Estimate: 500, Stats: sweep.Stats{
		Pages: 4, Listed: 100, Equal: 97, HandedOn: 3, Calls: map[string]int64{"zuora": 4, "limio": 2},
	}}
	st := sweep.Status{Name: "zuora-full", Missed: 2, Overlaps: 1, SkippedPaused: 5, Current: &sweep.Progress{Run: run, PerSecond: 12.5, ETA: time.Unix(2000000000, 0)}}
	m.sweep(st)
	m.answered("zuora-full", 3, 2)
	want := map[string]string{}
	for what, n := range map[string]string{
		"missed": "2", "overlaps": "1", "skipped_paused": "5", "pages": "4", "listed": "100", "equal": "97", "handed_on": "3", "estimate": "500", "calls": "6",
		"per_second": "12.5", "eta_timestamp_seconds": "2e+09", "drifted": "3", "repaired": "2",
	} {
		want[`{sweep="zuora-full",what="`+what+`"}`] = n
	}
	if diff := cmp.Diff(want, scraped(t, reg, "hotsync_sweep_run")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// It ended: nothing is still to come.
	st.Current, st.Last = nil, []sweep.Run{run}
	m.sweep(st)
	want[`{sweep="zuora-full",what="eta_timestamp_seconds"}`] = "0"
	if diff := cmp.Diff(want, scraped(t, reg, "hotsync_sweep_run")); diff != "" {
		t.Errorf("ended (-want +got):\n%s", diff)
	}
	// Another instance plans.
	m.unplanned()
	if got := scraped(t, reg, "hotsync_sweep_run"); len(got) != 0 {
		t.Errorf("still shown: %v", got)
	}
}

func TestLostEventsAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	ref := func(c event.Cause, why string) event.Ref {
		return event.Ref{Cause: c, Type: why, Delivery: "stripe-drift/20270105T100000Z-ab12"}
	}
	limio, billing := ref(event.CauseSweep, reconcile.WhyLimio), ref(event.CauseSweep, reconcile.WhyBilling)
	for _, e := range []event.Event{
		{Outcome: event.Applied, Triggers: []event.Ref{billing}},
		{Outcome: event.Applied, Triggers: []event.Ref{limio, ref(event.CauseSweep, reconcile.WhyNeverSeen)}},
		{Outcome: event.Applied, Triggers: []event.Ref{ref(event.CauseSweep, sweep.WhyEvent)}},
		// None of these: a plan will be applied later, somebody told, Limio was
		// changed, all are looked at, nothing differed.
		{Outcome: event.Observed, Triggers: []event.Ref{billing}},
		{Outcome: event.Applied, Triggers: []event.Ref{billing, ref(event.CauseStripe, "invoice.paid")}},
		{Outcome: event.Applied, Triggers: []event.Ref{limio}},
		{Outcome: event.Applied, Triggers: []event.Ref{ref(event.CauseSweep, sweep.WhyDeep)}},
		{Outcome: event.InSync, Triggers: []event.Ref{billing}},
	} {
		m.sync(e)
	}
	if diff := cmp.Diff(map[string]string{`{sweep="stripe-drift"}`: "3"}, scraped(t, reg, "hotsync_lost_events_total")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
