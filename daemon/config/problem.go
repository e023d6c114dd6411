package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity is how bad a problem is.
type Severity string

// The severities. A file with an Error is not run.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Problem is one mistake in a file. It never quotes a secret.
type Problem struct {
	Severity Severity `json:"severity"`
	File     string   `json:"file"`
	Line     int      `json:"line"` // from 1
	Column   int      `json:"column"`
	Path     string   `json:"path,omitempty"` // of the key, such as login.providers[0].issuer
	Text     string   `json:"text"`           // what is wrong; what to do
}

// String returns file:line:column: path: what is wrong; what to do.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Invalid is the error of a file with mistakes. It holds the warnings too.
type Invalid struct{ Problems []Problem }

// Error returns every problem on a line of its own.
func (e *Invalid) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Wrong reports whether any of the problems is an Error.
func Wrong(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return p.Severity == Error })
}

func (f *file) report(severity Severity, path string, at position, text string) {
	f.problems = append(f.problems, Problem{severity, f.name, at.line, at.column, path, text})
}

// bad reports an error about what stands at path, or would stand there.
func (f *file) bad(path, format string, args ...any) {
	f.report(Error, path, f.where(path), fmt.Sprintf(format, args...))
}

// warn reports something that is allowed but may not do what was meant.
func (f *file) warn(path, format string, args ...any) {
	f.report(Warning, path, f.where(path), fmt.Sprintf(format, args...))
}

// where returns the position of path, or of the nearest key around it that is
// in the file.
func (f *file) where(path string) position {
	for path != "" {
		if at, ok := f.at[path]; ok {
			return at
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return position{1, 1}
}

// broken reports whether something is already known to be wrong at path, or was
// found wrong around it when it was read, so that a check would only repeat it.
func (f *file) broken(path string) bool { return f.brokenBefore(path, len(f.problems)) }

// brokenBefore is broken, with the first n problems known.
func (f *file) brokenBefore(path string, n int) bool {
	for i, p := range f.problems[:n] {
		rest, ok := strings.CutPrefix(path, p.Path)
		around := i < f.read && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "["))
		if ok && p.Severity == Error && p.Path != "" && (rest == "" || around) {
			return true
		}
	}
	return false
}

// sorted returns the problems in the order of the file.
func (f *file) sorted() []Problem {
	slices.SortStableFunc(f.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return f.problems
}
