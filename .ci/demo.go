//go:build ignore

// Command demo holds what hotsync demo -o json printed against what a demo must
// show, and names everything that is missing:
//
//	go run .ci/demo.go report.json
//
// All outcomes are there, the five numbers of the verdict are, and are 0, and
// there were 5,000 triggers for each minute of traffic. The exit code is 1 when
// something is missing, 3 when there is no report.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// perMinute is the least number of triggers.
const perMinute = 5000

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "demo: name the report")
		os.Exit(3)
	}
	missing, err := check(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(3)
	}
	for _, text := range missing {
		fmt.Fprintln(os.Stderr, "demo:", text)
	}
	if len(missing) > 0 {
		os.Exit(1)
	}
}

func check(name string) (missing []string, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var report map[string]any
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, fmt.Errorf("%s is no JSON object: %w", name, err)
	}
	say := func(format string, args ...any) { missing = append(missing, fmt.Sprintf(format, args...)) }
	number := func(key string) float64 {
		n, ok := report[key].(float64)
		if !ok {
			say("%s is missing", key)
		}
		return n
	}
	for _, key := range []string{"unanswered", "lost", "duplicates", "drift", "loops"} {
		if n := number(key); n != 0 {
			say("%s is %.0f, want 0", key, n)
		}
	}
	outcomes, _ := report["outcomes"].(map[string]any)
	for _, key := range []string{"applied", "in_sync", "suppressed", "skipped", "observed", "deferred", "rejected", "failed"} {
		if n, _ := outcomes[key].(float64); n < 1 {
			say("nothing was %s", key)
		}
	}
	if want, got := perMinute*number("duration_s")/60, number("triggers"); got < want || want == 0 {
		say("%.0f triggers, want %.0f or more", got, want)
	}
	return missing, nil
}
