//go:build ignore

// Command gotest runs go test, shows what failed and the closing line of every
// package, and ends with the number of tests (subtests included) that passed
// and failed:
//
//	go run .ci/gotest.go -race ./...
//
// A package that fails outside its tests counts as one failure. With
// GOTEST_SUMMARY set to a file, the closing lines are added to that too. The
// exit code is that of go test.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// line is what go test -json prints (go doc test2json).
type line struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
}

// tally is what was seen so far.
type tally struct {
	passed, failed, skipped int
	closing                 []string
	output                  map[string][]string // of tests and packages that have not passed
	failedTests             map[string]int      // by package
}

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 3, err
	}
	if err := cmd.Start(); err != nil {
		return 3, err
	}
	t := tally{output: map[string][]string{}, failedTests: map[string]int{}}
	r := bufio.NewReader(out)
	for {
		text, err := r.ReadBytes('\n')
		if len(text) > 0 {
			t.add(text)
		}
		if err != nil {
			if err != io.EOF {
				return 3, err
			}
			break
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 3, err
	}
	t.report()
	if err := t.save(os.Getenv("GOTEST_SUMMARY")); err != nil {
		return 3, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

func (t *tally) add(text []byte) {
	var l line
	if json.Unmarshal(text, &l) != nil {
		fmt.Print(string(text)) // go test says some things plainly
		return
	}
	id := l.Package + "\x00" + l.Test
	switch {
	case l.Action == "build-output":
		fmt.Print(l.Output)
	case l.Action == "output" && l.Test == "" && isClosing(l.Output):
		fmt.Print(l.Output)
		t.closing = append(t.closing, l.Output)
	case l.Action == "output":
		t.output[id] = append(t.output[id], l.Output)
	case l.Action == "pass" && l.Test != "":
		t.passed++
		delete(t.output, id)
	case l.Action == "skip" && l.Test != "":
		t.skipped++
		t.show(id)
	case l.Action == "fail" && l.Test != "":
		t.failed++
		t.failedTests[l.Package]++
		t.show(id)
	case l.Action == "fail":
		if t.failedTests[l.Package] == 0 {
			t.failed++ // it did not build, it panicked, or it ran out of time
		}
		for other := range t.output { // a test that was cut off has no end
			if strings.HasPrefix(other, l.Package+"\x00") {
				t.show(other)
			}
		}
	case l.Action == "pass":
		delete(t.output, id)
	}
}

// show prints what a test said, once.
func (t *tally) show(id string) {
	for _, s := range t.output[id] {
		if !strings.HasPrefix(s, "=== ") {
			fmt.Print(s)
		}
	}
	delete(t.output, id)
}

// isClosing reports whether a package's output is its last line.
func isClosing(s string) bool {
	for _, prefix := range []string{"ok  \t", "FAIL\t", "?   \t", "---\t"} {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return strings.HasPrefix(s, "\t") && strings.Contains(s, "coverage:")
}

func (t *tally) report() {
	if t.skipped > 0 {
		fmt.Printf("%d skipped\n", t.skipped)
	}
	fmt.Printf("%d passed, %d failed\n", t.passed, t.failed)
}

func (t *tally) save(name string) error {
	if name == "" {
		return nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	text := strings.Join(t.closing, "") + fmt.Sprintf("%d passed, %d failed\n", t.passed, t.failed)
	if _, err := f.WriteString(text); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
