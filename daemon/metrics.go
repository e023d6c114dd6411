package daemon

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hotsync/connectors/kafka"
	"hotsync/daemon/budget"
	"hotsync/daemon/sweep"
	"hotsync/event"
	"hotsync/internal/callout"
	"hotsync/reconcile"
	"hotsync/sinks/clickhouse"
)

// metrics are what Prometheus sees. Labels have few values: never a key.
type metrics struct {
	messages  *prometheus.CounterVec // source messages by topic and what became of them
	triggers  *prometheus.CounterVec
	syncs     *prometheus.CounterVec
	changes   *prometheus.CounterVec
	tries     *prometheus.CounterVec
	worked    *prometheus.HistogramVec
	waited    *prometheus.HistogramVec
	callouts  *prometheus.CounterVec
	calloutS  *prometheus.HistogramVec
	turns     *prometheus.HistogramVec
	swept     *prometheus.GaugeVec
	sweeps    *prometheus.CounterVec
	found     *prometheus.CounterVec
	lost      *prometheus.CounterVec
	notices   *prometheus.CounterVec
	rejected  prometheus.Counter
	inFlight  prometheus.Gauge
	deferred  prometheus.Gauge
	lastEvent prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	seconds := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hotsync_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "hotsync_" + name, Help: help, Buckets: seconds}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "hotsync_" + name, Help: help})
	}
	m := &metrics{
		messages:  counter("source_messages_total", "Messages of the source topics, by what became of them.", "topic", "result"),
		triggers:  counter("triggers_total", "Triggers taken in hand, by cause.", "cause"),
		syncs:     counter("syncs_total", "Syncs that ended, by outcome, reason and cause.", "outcome", "reason", "cause"),
		changes:   counter("changes_total", "Fields written in Limio, by object and field.", "object", "field"),
		tries:     counter("tries_total", "Tries that failed for a passing reason and were made again from memory.", "reason"),
		worked:    histogram("sync_work_seconds", "Time spent on a sync.", "outcome"),
		waited:    histogram("sync_wait_seconds", "Time from a trigger's reception to the start of its sync.", "cause"),
		callouts:  counter("callouts_total", "Calls to vendors.", "service", "method", "route", "status"),
		calloutS:  histogram("callout_seconds", "Duration of calls to vendors.", "service", "route"),
		turns:     histogram("callout_turn_seconds", "Time a call waited for its turn in the vendor's budget.", "service", "lane"),
		swept:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "hotsync_sweep_run", Help: "The current or last run of a sweep, shown by the instance that plans: pages, listed, equal and handed_on (records), estimate (records it is expected to list), calls (for lists), per_second (records listed), eta_timestamp_seconds (when it will have read everything and, after that, when everything will have been worked; 0: nobody knows), drifted and repaired (records that differed, and that were mended). Of the sweep so far: missed, overlaps and skipped_paused (scheduled runs that did not start)."}, []string{"sweep", "what"}),
		sweeps:    counter("sweep_runs_total", "Runs of sweeps that ended, by how: failed ones did not read everything.", "sweep", "outcome"),
		found:     counter("sweep_findings_total", "How looks ended that began with a sweep's trigger, by why it made it. See hotsync_lost_events_total for what of it no event announced.", "why", "outcome"),
		lost:      counter("lost_events_total", "Differences that sweeps mended and no event announced: syncs that only sweeps had asked for, because the billing system had changed, listed an event, or showed a record that was never seen, and that ended applied. The view lost_events is more exact: it also looks for events from an hour before until ten minutes after.", "sweep"),
		notices:   counter("kafka_notices_total", "What the Kafka consumers overcame by themselves.", "group", "kind"),
		rejected:  prometheus.NewCounter(prometheus.CounterOpts{Name: "hotsync_events_rejected_total", Help: "Event messages that could not become a row."}),
		inFlight:  gauge("syncs_in_flight", "Syncs under way."),
		deferred:  gauge("triggers_deferred", "Deferred triggers held until they are due."),
		lastEvent: gauge("last_sync_timestamp_seconds", "When the last sync ended."),
	}
	reg.MustRegister(m.messages, m.triggers, m.syncs, m.changes, m.tries, m.worked, m.waited, m.callouts, m.calloutS, m.turns, m.swept, m.sweeps, m.found,
		m.lost, m.notices, m.rejected, m.inFlight, m.deferred, m.lastEvent)
	return m
}

// sync counts a sync that ended.
func (m *metrics) sync(e event.Event) {
	m.syncs.WithLabelValues(string(e.Outcome), string(e.Reason), string(e.Cause)).Inc()
	m.worked.WithLabelValues(string(e.Outcome)).Observe(float64(e.Worked) / 1000)
	m.waited.WithLabelValues(string(e.Cause)).Observe(float64(e.Waited) / 1000)
	if e.Cause == event.CauseSweep && len(e.Triggers) > 0 {
		m.found.WithLabelValues(e.Triggers[0].Type, string(e.Outcome)).Inc()
	}
	if name, ok := unannounced(e); ok {
		m.lost.WithLabelValues(name).Inc()
	}
	m.lastEvent.Set(float64(e.At.UnixMilli()) / 1000)
	if e.Outcome == event.Applied {
		for _, c := range e.Changes {
			m.changes.WithLabelValues(string(c.Object), c.Field).Inc()
		}
	}
}

// unannounced reports whether a sync mended what no event had announced, and the
// sweep that found it: nobody but sweeps asked for it, one of them because the
// billing system shows something else than it did (as the view lost_events has
// it).
func unannounced(e event.Event) (by string, ok bool) {
	if e.Outcome != event.Applied {
		return "", false
	}
	for _, r := range e.Triggers {
		if r.Cause != event.CauseSweep {
			return "", false
		}
		if by == "" && (r.Type == reconcile.WhyBilling || r.Type == reconcile.WhyNeverSeen || r.Type == sweep.WhyEvent) {
			by, _, ok = strings.Cut(r.Delivery, "/")
		}
	}
	return by, ok
}

// sweep shows how far a sweep is.
func (m *metrics) sweep(st sweep.Status) {
	show := func(what string, n float64) { m.swept.WithLabelValues(st.Name, what).Set(n) }
	show("missed", float64(st.Missed))
	show("overlaps", float64(st.Overlaps))
	show("skipped_paused", float64(st.SkippedPaused))
	var run sweep.Run
	switch {
	case st.Current != nil:
		run = st.Current.Run
		show("per_second", st.Current.PerSecond)
		m.eta(st.Name, st.Current.ETA)
	case len(st.Last) > 0:
		run = st.Last[0]
		m.eta(st.Name, time.Time{})
	default:
		return
	}
	var calls int64
	for _, n := range run.Stats.Calls {
		calls += n
	}
	for what, n := range map[string]int64{
		"listed": run.Stats.Records(), "equal": run.Stats.Equal, "handed_on": run.Stats.HandedOn, "pages": run.Stats.Pages, "estimate": run.Estimate, "calls": calls,
	} {
		show(what, float64(n))
	}
}

// eta shows when a run will be through, zero when nobody knows.
func (m *metrics) eta(name string, at time.Time) {
	seconds := 0.0
	if !at.IsZero() {
		seconds = float64(at.UnixMilli()) / 1000
	}
	m.swept.WithLabelValues(name, "eta_timestamp_seconds").Set(seconds)
}

// answered shows what became of the records that a run handed on.
func (m *metrics) answered(name string, drifted, repaired int64) {
	m.swept.WithLabelValues(name, "drifted").Set(float64(drifted))
	m.swept.WithLabelValues(name, "repaired").Set(float64(repaired))
}

// unplanned shows no sweep any more: another instance does.
func (m *metrics) unplanned() { m.swept.Reset() }

// ran counts a run that ended.
func (m *metrics) ran(e event.Event) {
	name, _, _ := strings.Cut(e.Key.ID, "/")
	m.sweeps.WithLabelValues(name, string(e.Outcome)).Inc()
}

// call counts a call to a vendor.
func (m *metrics) call(c callout.Call) {
	m.callouts.WithLabelValues(c.Service, c.Method, c.Route, strconv.Itoa(c.Status)).Inc()
	m.calloutS.WithLabelValues(c.Service, c.Route).Observe(c.Duration.Seconds())
}

// gauges reads what others count, when it is asked for.
type gauges struct {
	consumers map[string]*kafka.Consumer // by group
	loaders   map[string]*clickhouse.Loader
	memory    *memories
	budgets   map[string]*budget.Budget // by vendor
}

var (
	lagDesc      = prometheus.NewDesc("hotsync_kafka_lag_records", "Records not yet read, by group, topic and partition.", []string{"group", "topic", "partition"}, nil)
	sharesDesc   = prometheus.NewDesc("hotsync_kafka_partitions_assigned", "Partition indexes assigned to this instance.", []string{"group"}, nil)
	genDesc      = prometheus.NewDesc("hotsync_kafka_generation", "Generation of the consumer group.", []string{"group"}, nil)
	rowsDesc     = prometheus.NewDesc("hotsync_loader_rows_total", "Rows inserted into ClickHouse.", []string{"table"}, nil)
	retriesDesc  = prometheus.NewDesc("hotsync_loader_retries_total", "Failed attempts to insert.", []string{"table"}, nil)
	loadLagDesc  = prometheus.NewDesc("hotsync_loader_lag_seconds", "How long the oldest event that is not a row has been waiting.", []string{"table"}, nil)
	rateDesc     = prometheus.NewDesc("hotsync_budget_calls_per_second", "Calls per second that this instance may make now, 0 for no limit.", []string{"service"}, nil)
	limitDesc    = prometheus.NewDesc("hotsync_budget_limit_calls_per_second", "Calls per second that this instance may make when nothing is wrong, 0 for no limit.", []string{"service"}, nil)
	flightDesc   = prometheus.NewDesc("hotsync_budget_calls_in_flight", "Calls under way.", []string{"service"}, nil)
	waitingDesc  = prometheus.NewDesc("hotsync_budget_calls_waiting", "Calls that wait for their turn, by lane.", []string{"service", "lane"}, nil)
	awayDesc     = prometheus.NewDesc("hotsync_budget_away", "1 while no call is made because the vendor is away.", []string{"service"}, nil)
	throttleDesc = prometheus.NewDesc("hotsync_budget_throttled_total", "Calls that the vendor refused because of its limit.", []string{"service"}, nil)
	usedDesc     = prometheus.NewDesc("hotsync_budget_used_calls_total", "Calls made while calls waited for nothing but the rate.", []string{"service"}, nil)
	allowedDesc  = prometheus.NewDesc("hotsync_budget_allowed_calls_total", "Calls that the rate allowed in that time: of a budget that is spent well, nearly all are used.", []string{"service"}, nil)
	missedDesc   = prometheus.NewDesc("hotsync_budget_missed_calls_total", "Of those allowed, the calls that fell due while this process did not get to run.", []string{"service"}, nil)
	memoryDesc   = prometheus.NewDesc("hotsync_remembered_keys", "Keys with a memory in the state topic.", nil, nil)
)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{lagDesc, sharesDesc, genDesc, rowsDesc, retriesDesc, loadLagDesc, memoryDesc,
		rateDesc, limitDesc, flightDesc, waitingDesc, awayDesc, throttleDesc, usedDesc, allowedDesc, missedDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	for group, c := range g.consumers {
		s := c.Stats()
		put(sharesDesc, prometheus.GaugeValue, float64(len(s.Indexes)), group)
		put(genDesc, prometheus.GaugeValue, float64(s.Generation), group)
		for _, p := range s.Partitions {
			put(lagDesc, prometheus.GaugeValue, float64(p.Lag), group, p.Topic, strconv.Itoa(p.Partition))
		}
	}
	for table, l := range g.loaders {
		s := l.Stats()
		put(rowsDesc, prometheus.CounterValue, float64(s.Rows), table)
		put(retriesDesc, prometheus.CounterValue, float64(s.Retries), table)
		var lag time.Duration
		for _, p := range s.Partitions {
			lag = max(lag, p.Lag)
		}
		put(loadLagDesc, prometheus.GaugeValue, lag.Seconds(), table)
	}
	for service, b := range g.budgets {
		s := b.Stats()
		put(rateDesc, prometheus.GaugeValue, s.Rate, service)
		put(limitDesc, prometheus.GaugeValue, s.Limit, service)
		put(flightDesc, prometheus.GaugeValue, float64(s.InFlight), service)
		for lane, n := range s.Waiting {
			put(waitingDesc, prometheus.GaugeValue, float64(n), service, lane.String())
		}
		away := 0.0
		if s.Breaker == budget.Open {
			away = 1
		}
		put(awayDesc, prometheus.GaugeValue, away, service)
		put(throttleDesc, prometheus.CounterValue, float64(s.Throttled), service)
		put(usedDesc, prometheus.CounterValue, float64(s.Used), service)
		put(allowedDesc, prometheus.CounterValue, s.Allowed, service)
		put(missedDesc, prometheus.CounterValue, s.Missed, service)
	}
	put(memoryDesc, prometheus.GaugeValue, float64(g.memory.size()))
}
