// Command loader compares the loader with the plain loop that somebody would
// write instead: read with kafka-go, decode, insert into the same table by the
// same driver, commit, no promise. Both run as processes of their own over the
// same topic, in turns, and what counts is what count() finds in ClickHouse.
//
// It promises a fair race: the same decoder, batch size and table, a reader and
// a batch per partition for both, time from the first message to the last
// commit, and the CPU time and the peak memory that the kernel reports.
//
//	go run ./bench/loader                        embedded broker and engine
//	go run ./bench/loader -brokers 127.0.0.1:9092 -clickhouse 127.0.0.1:9000
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/procfs"

	"hotsync/connectors/kafka"
	"hotsync/embedded"
	"hotsync/sinks/clickhouse"
)

// options are the flags, which the children get too.
type options struct {
	rows, partitions, batch, runs int
	brokers, clickhouse, topic    string
	child, database               string
	engine                        int // process id of the embedded engine, or 0
}

// result is what a child reports.
type result struct {
	Rows    int     `json:"rows"`
	Seconds float64 `json:"seconds"` // from the first message to the last commit
	CPU     float64 `json:"cpu"`     // seconds, of the whole process
	RSS     int64   `json:"rss"`     // peak, bytes
	Server  float64 `json:"-"`       // CPU seconds of the embedded engine meanwhile
}

func main() {
	if embedded.IsEngine(os.Args) {
		exit(embedded.EngineMain(os.Args[2:]))
	}
	var o options
	flag.IntVar(&o.rows, "rows", 300_000, "events to load in each run")
	flag.IntVar(&o.partitions, "partitions", 4, "partitions of the topic")
	flag.IntVar(&o.batch, "batch", 10_000, "rows of a batch")
	flag.IntVar(&o.runs, "runs", 3, "runs of each, in turns")
	flag.StringVar(&o.brokers, "brokers", "", "Kafka, host:port; empty starts the embedded broker")
	flag.StringVar(&o.clickhouse, "clickhouse", "", "ClickHouse, host:port of the native protocol; empty starts the embedded engine")
	flag.StringVar(&o.topic, "topic", "", "a topic that is filled already; empty makes one")
	flag.StringVar(&o.child, "child", "", "")
	flag.StringVar(&o.database, "database", "", "")
	flag.Parse()
	ctx := context.Background()
	switch o.child {
	case "":
		exit(race(ctx, o))
	case "plain":
		exit(report(runPlain(ctx, o)))
	case "hotsync":
		exit(report(runHotsync(ctx, o)))
	default:
		exit(fmt.Errorf("child %q: want plain or hotsync", o.child))
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// race starts what is not there, fills a topic and lets both load it in turns.
func race(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "hotsync-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.brokers == "" {
		b, err := embedded.StartBroker(embedded.BrokerConfig{DataDir: filepath.Join(dir, "broker"), NoSync: true})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		o.brokers = b.Addr()
	}
	if o.clickhouse == "" {
		e, err := embedded.StartClickHouse(ctx, embedded.EngineConfig{DataDir: filepath.Join(dir, "clickhouse"), NoSync: true})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, e.Close(ctx)) }()
		o.clickhouse, o.engine = e.Addr(), e.PID()
	}
	client, err := kafka.New(kafka.Config{Brokers: strings.Split(o.brokers, ",")})
	if err != nil {
		return err
	}
	defer client.Close()
	if o.topic == "" {
		o.topic = fmt.Sprintf("bench.events.%d", os.Getpid())
		if err := fill(ctx, client, o); err != nil {
			return err
		}
	}
	results := map[string][]result{}
	for run := range o.runs {
		order := []string{"plain", "hotsync"}
		if run%2 == 1 {
			slices.Reverse(order) // neither always has the warmer caches
		}
		for _, kind := range order {
			r, err := lap(ctx, o, kind, run)
			if err != nil {
				return fmt.Errorf("run %d of %s: %w", run+1, kind, err)
			}
			results[kind] = append(results[kind], r)
			fmt.Printf("run %d  %-8s %8.0f rows/s  %6.2f s  %6.2f s CPU (server %.2f s)  %4d MiB peak  %d rows in the table\n",
				run+1, kind, float64(r.Rows)/r.Seconds, r.Seconds, r.CPU, r.Server, r.RSS>>20, r.Rows)
		}
	}
	summarize(results)
	return nil
}

// lap lets one of them load the whole topic into a database of its own.
func lap(ctx context.Context, o options, kind string, run int) (result, error) {
	database := fmt.Sprintf("bench_%s_%d_%d", kind, os.Getpid(), run)
	st, err := clickhouse.Open(clickhouse.Config{Addr: []string{o.clickhouse}, Database: database})
	if err != nil {
		return result{}, err
	}
	defer func() { _ = st.Close() }()
	if err := st.Migrate(ctx); err != nil {
		return result{}, err
	}
	cmd := exec.CommandContext(ctx, os.Args[0],
		"-child", kind, "-database", database, "-rows", fmt.Sprint(o.rows), "-partitions", fmt.Sprint(o.partitions), "-batch", fmt.Sprint(o.batch),
		"-brokers", o.brokers, "-clickhouse", o.clickhouse, "-topic", o.topic)
	cmd.Stderr = os.Stderr
	before := cpuOf(o.engine)
	out, err := cmd.Output()
	if err != nil {
		return result{}, err
	}
	server := cpuOf(o.engine) - before
	var r result
	if err := json.Unmarshal(out, &r); err != nil {
		return result{}, fmt.Errorf("child said %q: %w", out, err)
	}
	conn, err := ch.Open(&ch.Options{Addr: []string{o.clickhouse}})
	if err != nil {
		return result{}, err
	}
	defer func() { _ = conn.Close() }()
	var rows, offsets uint64
	if err := conn.QueryRow(ctx, "SELECT count(), uniqExact(_partition, _offset) FROM "+database+".sync_events").Scan(&rows, &offsets); err != nil {
		return result{}, err
	}
	if rows != uint64(o.rows) || offsets != uint64(o.rows) {
		return result{}, fmt.Errorf("%d rows of %d messages are in the table, want %d of each", rows, offsets, o.rows)
	}
	r.Rows, r.Server = int(rows), server
	return r, conn.Exec(ctx, "DROP DATABASE "+database+" SYNC")
}

// The goals of the exactly-once loader beside a loop that promises nothing. They
// are told, not enforced: machines are shared.
const (
	wantedRatio = 0.8
	wantedPeak  = 128 // MiB
)

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}

// summarize prints the medians and their ratio.
func summarize(results map[string][]result) {
	middle := func(kind string, of func(result) float64) float64 {
		var v []float64
		for _, r := range results[kind] {
			v = append(v, of(r))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	rate := func(r result) float64 { return float64(r.Rows) / r.Seconds }
	cpu := func(r result) float64 { return r.CPU }
	rss := func(r result) float64 { return float64(r.RSS) / (1 << 20) }
	for _, kind := range []string{"plain", "hotsync"} {
		fmt.Printf("median %-8s %8.0f rows/s  %6.2f s CPU  %4.0f MiB peak\n", kind, middle(kind, rate), middle(kind, cpu), middle(kind, rss))
	}
	ratio, peak := middle("hotsync", rate)/middle("plain", rate), middle("hotsync", rss)
	fmt.Printf("hotsync / plain: %.2f of the throughput (goal: at least %.2f, %s), %.2f of the CPU time, %.2f of the memory (goal: at most %d MiB, %s)\n",
		ratio, wantedRatio, verdict(ratio >= wantedRatio), middle("hotsync", cpu)/middle("plain", cpu), peak/middle("plain", rss),
		wantedPeak, verdict(peak <= wantedPeak))
}

// report prints what a child did.
func report(rows int, took time.Duration, err error) error {
	if err != nil {
		return err
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	rss, err := peakMemory()
	if err != nil {
		return err
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return json.NewEncoder(os.Stdout).Encode(result{Rows: rows, Seconds: took.Seconds(), CPU: seconds(usage.Utime) + seconds(usage.Stime), RSS: rss})
}

// cpuOf is the CPU time of a process so far, 0 when it cannot be read.
func cpuOf(pid int) float64 {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0
	}
	stat, err := p.Stat()
	if err != nil {
		return 0
	}
	return stat.CPUTime()
}

// peakMemory is the most memory that this process has held, in bytes.
func peakMemory() (int64, error) {
	p, err := procfs.Self()
	if err != nil {
		return 0, err
	}
	status, err := p.NewStatus()
	return int64(status.VmHWM), err
}
