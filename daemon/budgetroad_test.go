package daemon_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hotsync/daemon"
	"hotsync/daemon/sweep"
	"hotsync/sandbox/httpsim"
)

// series are the numbers that an instance shows at /metrics, by name and labels.
type series map[string]float64

func scrape(addr string) (series, error) {
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	out := series{}
	for line := range strings.Lines(string(body)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); ok && err == nil && name != "#" {
			out[name] = n
		}
	}
	return out, nil
}

func (s series) of(name, service string) float64 {
	n, ok := s[fmt.Sprintf("hotsync_budget_%s{service=%q}", name, service)]
	if !ok {
		return math.NaN()
	}
	return n
}

// partitions are how many of the triggers' partitions an instance has.
func (s series) partitions(prefix string) (n int) {
	for name := range s {
		if strings.HasPrefix(name, "hotsync_kafka_lag_records{") && strings.Contains(name, fmt.Sprintf("topic=%q", prefix+".triggers.live")) {
			n++
		}
	}
	return n
}

// pauses notes when this process did not run: calls that it had let go then
// arrive in a bunch, whatever their distance was.
type pauses struct {
	mu    sync.Mutex
	times []struct{ from, to time.Time }
}

// watch runs until ctx ends.
func (p *pauses) watch(ctx context.Context) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for last := time.Now(); ctx.Err() == nil; last = time.Now() {
		<-tick.C
		if now := time.Now(); now.Sub(last) > 10*time.Millisecond {
			p.mu.Lock()
			p.times = append(p.times, struct{ from, to time.Time }{last, now})
			p.mu.Unlock()
		}
	}
}

// during returns how long this process did not run between two times.
func (p *pauses) during(from, to time.Time) (sum time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.times {
		if at.to.After(from) && at.from.Before(to) {
			sum += at.to.Sub(at.from)
		}
	}
	return sum
}

// A sweep that looks at every record uses 95 % of its vendor's budget, and the
// vendor, which enforces the very same limit, refuses nothing after the first
// second. What counts is the time in which calls wait for the budget: where this
// machine does not make 100 calls a second, the limit is half of that, and so on.
func TestASweepUsesItsBudget(t *testing.T) {
	for limit := 100; ; limit /= 2 {
		told := false
		t.Run(fmt.Sprint(limit), func(t *testing.T) { told = usesItsBudget(t, limit) })
		if told || t.Failed() {
			return
		}
		if limit < 10 {
			t.Fatalf("the sweep never waited for a budget of %d calls a second: nothing was shown", limit)
		}
		t.Logf("a sweep does not make %d calls a second on this machine", limit)
	}
}

// usesItsBudget reports whether the sweep's calls waited for the budget for long
// enough to tell.
func usesItsBudget(t *testing.T, limit int) (told bool) {
	r := newRoad(t)
	// The default of 16 syncs at once, 8 of them a sweep's, would do with a vendor
	// as near as this one. More of them leave no doubt that the budget is what the
	// sweep waits for.
	r.cfg.Workers.Concurrency = 64
	r.cfg.Stripe.PerSecond, r.cfg.Stripe.MaxInFlight = limit, 32
	r.stripe.Limit(httpsim.Limit{PerSecond: limit})
	records := 3 * limit // of three calls each: nine seconds' work
	r.subscriptions(records)
	ctx, cancel := context.WithCancel(t.Context())
	var held pauses
	var watching sync.WaitGroup
	watching.Go(func() { held.watch(ctx) })
	defer func() { cancel(); watching.Wait() }()
	r.start()

	// A plan reads of Stripe what any sweep does, and this machine need not write.
	id := r.request(sweep.StripeDrift, sweep.Ask{Deep: true, Mode: sweep.Plan})
	r.eventually("the sweep is warm", func() bool {
		log := r.stripe.Log()
		return len(log) > 3 && r.clock.Now().Sub(log[0].At) > time.Second
	})
	begun := r.stripe.Log()[0].At
	from, before := time.Now(), r.scrape()
	r.eventually("most of the sweep is done", func() bool { return total(r.stripe.Calls()) > 3*records*85/100 })
	to, after := time.Now(), r.scrape()
	if got := r.ended(r.swept(sweep.StripeDrift, id)); got["observed/would_apply"] != records {
		t.Errorf("%d records ended as %v", records, got)
	}

	seen, refused := 0, 0
	for _, call := range r.stripe.Log() {
		if call.At.After(from) && call.At.Before(to) {
			seen++
		}
	}
	for _, at := range r.stripe.Refused() {
		if at.Sub(begun) < time.Second {
			continue
		}
		refused++
		if held.during(at.Add(-1100*time.Millisecond), at) == 0 {
			t.Errorf("refused %s after the first call", at.Sub(begun))
		}
	}
	// Even who is held up does not run into a limit again and again.
	if most := 3 * records / 20; refused > most {
		t.Errorf("%d calls were refused after the first second; at most %d have an excuse", refused, most)
	}
	gained := func(name string) float64 { return after.of(name, "stripe") - before.of(name, "stripe") }
	used, allowed, missed := gained("used_calls_total"), gained("allowed_calls_total"), gained("missed_calls_total")
	t.Logf("in %s the vendor counted %d calls and refused %d in all; while calls waited for the budget it allowed %.0f, %.0f were made, and %.0f missed by a process that did not run",
		to.Sub(from), seen, refused, allowed, used, missed)
	if !(allowed-missed > float64(limit)) { // of seven times that
		return false
	}
	if missed > 0.1*allowed {
		allowed -= missed // too much to catch up with
	}
	if want := 0.95 * allowed; used < want || float64(seen) < want {
		t.Errorf("%.0f calls were made and the vendor counted %d; want %.0f, 95 %% of what the budget allowed", used, seen, want)
	}
	return true
}

func (r *road) scrape() series {
	r.t.Helper()
	s, err := scrape(r.daemon.Addr())
	r.must(err)
	return s
}

// Two instances on one broker share each budget as they share the partitions of
// the triggers; who is left alone has all of it.
func TestABudgetIsSharedAsPartitionsAre(t *testing.T) {
	r := newRoad(t)
	r.cfg.Zuora.PerSecond, r.cfg.Stripe.PerSecond, r.cfg.Limio.PerSecond = 90, 45, 300
	budgets := map[string]float64{"zuora": 90, "stripe": 45, "limio": 300}
	addrs, stops := map[string]string{}, map[string]func(){}
	for _, name := range []string{"ada", "bo"} {
		addrs[name], stops[name] = r.join(name)
	}
	// shared reports whether the partitions are with so many instances, and each
	// has what they are worth of every budget.
	shared := func(among int) bool {
		owned, limits := 0, map[string]float64{}
		for name, addr := range addrs {
			s, err := scrape(addr)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			own := s.partitions(r.cfg.Kafka.Prefix)
			if own == 0 {
				return false
			}
			owned += own
			for service, whole := range budgets {
				limit := s.of("limit_calls_per_second", service)
				limits[service] += limit
				if want := whole * float64(own) / float64(r.cfg.Kafka.Partitions); math.Abs(limit-want) > 1e-9 {
					return false
				}
			}
		}
		for service, whole := range budgets {
			if math.Abs(limits[service]-whole) > 1e-9 {
				return false
			}
		}
		return owned == r.cfg.Kafka.Partitions && len(addrs) == among
	}
	r.eventually("two share the budgets", func() bool { return shared(2) })
	delete(addrs, "bo")
	stops["bo"]()
	r.eventually("one has all of them", func() bool { return shared(1) })
	addrs["bo"], stops["bo"] = r.join("bo")
	r.eventually("who comes back gets a share", func() bool { return shared(2) })
}

// join starts an instance beside others, and returns its address and how to stop
// it.
func (r *road) join(name string) (addr string, stop func()) {
	r.t.Helper()
	d, err := daemon.New(r.cfg, daemon.Options{
		Log: zerolog.New(zerolog.NewTestWriter(r.t)).Level(zerolog.WarnLevel), Now: r.clock.Now, Instance: name, Build: "test",
	})
	r.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("%s: %v", name, err)
		}
	})
	r.t.Cleanup(stop)
	return d.Addr(), stop
}
