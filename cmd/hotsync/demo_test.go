package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hotsync/demo"
	"hotsync/event"
)

// reportKeys are what whoever reads the demo's JSON counts on. More keys may
// come.
var reportKeys = map[string][]string{
	"": {
		"duration_s", "produced", "triggers", "outcomes", "reasons", "unanswered", "lost", "duplicates", "drift", "loops", "calls", "latency_ms",
	},
	"produced":   {"logins", "stripe", "orders", "poison"},
	"calls":      {"zuora", "stripe", "limio"},
	"latency_ms": {"p50", "p95", "p99"},
}

// hasReportKeys fails when a printed report lacks a key, or is not one object.
func hasReportKeys(t *testing.T, printed string) {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(printed), &all); err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	for part, want := range reportKeys {
		at := all
		if part != "" {
			at = nil
			if err := json.Unmarshal(all[part], &at); err != nil {
				t.Errorf("%s: %v: %s", part, err, all[part])
			}
		}
		for _, key := range want {
			if _, there := at[key]; !there {
				t.Errorf("%s.%s is missing, there are %v", part, key, slices.Sorted(maps.Keys(at)))
			}
		}
	}
	for _, part := range []string{"outcomes", "reasons"} {
		var counts map[string]int64
		if err := json.Unmarshal(all[part], &counts); err != nil || counts == nil {
			t.Errorf("%s: %v: %s", part, err, all[part])
		}
	}
}

// clean is a report of a run in which nothing went wrong.
func clean() demo.Report {
	r := demo.Report{Outcomes: map[string]int64{}, Reasons: map[string]int64{"equal": 2}, Calls: map[string]int{"zuora": 1, "stripe": 2, "limio": 0}}
	for _, o := range event.Outcomes() {
		r.Outcomes[string(o)] = 0
	}
	return r
}

func TestReportHasItsKeys(t *testing.T) {
	var b bytes.Buffer
	if err := tell(&b, "json", clean()); err != nil {
		t.Fatal(err)
	}
	hasReportKeys(t, b.String()) // a number that is 0 is there, too
	if lines := strings.Count(b.String(), "\n"); lines != 1 || strings.Contains(b.String(), "findings") {
		t.Errorf("%d lines: %s", lines, b.String())
	}
}

func TestDirtyReportIsAFinding(t *testing.T) {
	spoil := map[string]func(*demo.Report){
		"unanswered": func(r *demo.Report) { r.Unanswered = 7 }, "lost": func(r *demo.Report) { r.Lost = 7 },
		"duplicates": func(r *demo.Report) { r.Duplicates = 7 }, "drift": func(r *demo.Report) { r.Drift = 7 }, "loops": func(r *demo.Report) { r.Loops = 7 },
	}
	for name, spoil := range spoil {
		for _, output := range []string{"json", "table"} {
			r := clean()
			spoil(&r)
			r.Findings = []string{"what it is"}
			var b bytes.Buffer
			err := tell(&b, output, r)
			var e *exit
			if !errors.As(err, &e) || e.code != exitFinding || !strings.Contains(err.Error(), name+" 7") {
				t.Errorf("%s: got %v", name, err)
			}
			if !strings.Contains(b.String(), "what it is") || !strings.Contains(b.String(), "7") {
				t.Errorf("%s: it is not shown: %s", name, b.String())
			}
		}
	}
	if err := tell(&bytes.Buffer{}, "table", clean()); err != nil {
		t.Errorf("a clean one: %v", err)
	}
}

// On a terminal the view is drawn over itself, and nothing of it is left.
func TestLiveViewOnATerminal(t *testing.T) {
	var b bytes.Buffer
	l := &live{w: &b, terminal: true}
	p := demo.Progress{
		Elapsed: 61 * time.Second, Outcomes: map[event.Outcome]int64{event.Applied: 12, event.Suppressed: 3}, Triggers: 4711, Behind: 42,
		Calls: map[string]int{"zuora": 5, "stripe": 6, "limio": 7}, HTTP: "127.0.0.1:8080", ClickHouse: "127.0.0.1:8123", Kafka: "127.0.0.1:9092",
	}
	l.show(p)
	first := b.String()
	for _, want := range []string{
		"hotsync demo  1m1s press Ctrl-C", "  applied           12\n", "  suppressed         3\n", "  failed             0\n", "triggers answered 4711, records to handle 42\n",
		"zuora 5, stripe 6, limio 7\n", "http://127.0.0.1:8080/readyz", "http://127.0.0.1:8123/play", "Kafka               127.0.0.1:9092\n",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("%q is missing in\n%s", want, first)
		}
	}
	if strings.Contains(first, "\x1b") {
		t.Errorf("the first view goes back over what was there before: %q", first)
	}

	over := fmt.Sprintf("\x1b[%dA\x1b[J", strings.Count(first, "\n"))
	b.Reset()
	p.Duration, p.Elapsed = time.Minute, 30*time.Second
	l.show(p)
	if got := b.String(); !strings.HasPrefix(got, over+"hotsync demo  30s of 1m0s\n") {
		t.Errorf("the second view: %q", got)
	}
	b.Reset()
	p.Elapsed = 70 * time.Second
	l.show(p)
	if got := b.String(); !strings.HasPrefix(got, over+"hotsync demo  1m10s of 1m0s, finishing what is under way\n") {
		t.Errorf("the last view: %q", got)
	}
	b.Reset()
	l.end()
	l.end()
	if got := b.String(); got != over {
		t.Errorf("the end: %q", got)
	}
}

func TestLiveViewElsewhere(t *testing.T) {
	var b bytes.Buffer
	l := newLive(&b, "table")
	p := demo.Progress{Elapsed: 5 * time.Second, Triggers: 9, Behind: 1}
	l.show(p)
	l.show(p) // within five seconds
	if got := b.String(); got != "   5s  9 triggers answered, 1 records to handle\n" {
		t.Errorf("got %q", got)
	}
	b.Reset()
	newLive(&b, "json").show(p) // there may be somebody who reads both
	if got := b.String(); got != "" {
		t.Errorf("beside JSON: %q", got)
	}
}

// A server that is installed and will not do is named, and the engine serves
// instead: the demo starts, ends, and is found to be clean.
func TestDemoBesideABrokenServer(t *testing.T) {
	t.Parallel() // it mostly waits
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "clickhouse"), []byte("#!/bin/sh\necho 'ClickHouse server version 19.1.1'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := "PATH=" + dir + string(os.PathListSeparator) + os.Getenv("PATH")
	got := hotsync(t, t.TempDir(), []string{path}, "demo", "--duration", "1s", "--rate", "20", "--no-faults", "-o", "json")
	if got.code != exitFine {
		t.Fatalf("got %+v", got)
	}
	hasReportKeys(t, got.stdout)
	if !strings.HasPrefix(got.stderr, "hotsync: "+notUsed+": "+filepath.Join(dir, "clickhouse")+": ") {
		t.Errorf("nothing is said of the old server: %s", got.stderr)
	}
}
