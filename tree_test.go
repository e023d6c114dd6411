package hotsync_test

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tracked returns the repository's files, by slash-separated path. Without git
// (an unpacked archive) these are all files but hidden folders and what the
// Makefile makes.
func tracked(t *testing.T) []string {
	t.Helper()
	// The test cache knows files that a test opens, not what git answers.
	_, _ = os.Stat(filepath.Join(".git", "index"))
	var names []string
	if out, err := exec.CommandContext(t.Context(), "git", "ls-files", "-z").Output(); err == nil && len(out) > 0 {
		names = strings.Split(strings.Trim(string(out), "\x00"), "\x00")
	} else {
		names = walk(t)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		info, err := os.Lstat(filepath.FromSlash(name))
		return err != nil || !info.Mode().IsRegular() // deleted and not yet committed
	})
	if len(names) < 50 {
		t.Fatalf("only %d files were found: the test does not see the repository", len(names))
	}
	return names
}

func walk(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name != "." && base != ".ci" && (base[0] == '.' || base == "bin" || base == "hotsync-data") {
				return filepath.SkipDir
			}
			return nil
		}
		names = append(names, filepath.ToSlash(name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// read returns a file of the repository.
func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// exists reports whether a path, or at least one path that matches a pattern,
// is in the repository.
func exists(t *testing.T, pattern string) bool {
	t.Helper()
	if !strings.ContainsAny(pattern, "*?[") {
		_, err := os.Stat(filepath.FromSlash(pattern))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return err == nil
	}
	found, err := filepath.Glob(filepath.FromSlash(pattern))
	if err != nil {
		t.Fatal(err)
	}
	return len(found) > 0
}

// source is one Go file.
type source struct {
	name  string // slash-separated, from the root
	dir   string // "." for the root
	test  bool
	lines int
	ast   *ast.File
	fset  *token.FileSet
}

// isMain reports whether the file belongs to a program.
func (s source) isMain() bool { return s.ast.Name.Name == "main" }

// at returns where a node stands, for a message.
func (s source) at(n ast.Node) string { return s.fset.Position(n.Pos()).String() }

// imports returns the import paths of the file.
func (s source) imports() []string {
	var out []string
	for _, spec := range s.ast.Imports {
		out = append(out, strings.Trim(spec.Path.Value, "`\""))
	}
	return out
}

// parsed is every Go file; parsing takes longer than all checks together, and
// no test changes a file.
var parsed []source

// sources parses every Go file, testdata left out.
func sources(t *testing.T) []source {
	t.Helper()
	if parsed == nil {
		parsed = parse(t)
	}
	return parsed
}

func parse(t *testing.T) (out []source) {
	t.Helper()
	for _, name := range tracked(t) {
		if !strings.HasSuffix(name, ".go") || slices.Contains(strings.Split(name, "/"), "testdata") {
			continue
		}
		fset, text := token.NewFileSet(), read(t, name)
		file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("parse: %v", err)
			continue
		}
		out = append(out, source{
			name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
			lines: bytes.Count(text, []byte("\n")), ast: file, fset: fset,
		})
	}
	return out
}
