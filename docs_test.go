package hotsync_test

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// guides are the documents that describe the tree as it is. Decision records
// are not among them: they are dated and stay as they were.
var guides = []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"}

var (
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	pathLike = regexp.MustCompile(`^\.?[A-Za-z0-9_*-][A-Za-z0-9_.*-]*(/[A-Za-z0-9_.*-]+)*/?$`)
	fence    = regexp.MustCompile("(?ms)^```.*?^```[ \t]*$")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *#*$`)
	makeCall = regexp.MustCompile("(?m)(?:^|`|&& *)make ([a-z][a-z-]*)")
	target   = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	relative = regexp.MustCompile("(?:^|[\\s\"'=`])" + `\./([A-Za-z0-9_][A-Za-z0-9_./-]*)`)
)

func TestDocumentsNamePathsThatExist(t *testing.T) {
	tops := map[string]bool{}
	for _, name := range tracked(t) {
		top, _, _ := strings.Cut(name, "/")
		tops[top] = true
	}
	for _, top := range []string{"api", "bench", "cmd", "deploy", "testdata", "config.yaml"} {
		tops[top] = true // wanted by the design: a document must not run ahead of the tree
	}
	for _, doc := range guides {
		text := string(read(t, doc))
		for _, m := range codeSpan.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			name := m[1]
			top, _, _ := strings.Cut(name, "/")
			if !pathLike.MatchString(name) || !tops[top] || strings.Contains(name, "acme") {
				continue // acme is the example of the recipes
			}
			if !exists(t, strings.TrimSuffix(name, "/")) {
				t.Errorf("%s names %s, which does not exist", doc, name)
			}
		}
		for _, m := range relative.FindAllStringSubmatch(text, -1) {
			name := strings.TrimSuffix(strings.TrimRight(m[1], "."), "/")
			if top, _, _ := strings.Cut(name, "/"); top != "bin" && !exists(t, name) {
				t.Errorf("%s names ./%s, which does not exist", doc, name)
			}
		}
	}
}

// Every folder with code has its place in the architecture.
func TestArchitectureNamesEveryFolder(t *testing.T) {
	text := string(read(t, "ARCHITECTURE.md"))
	var missing []string
	for _, s := range sources(t) {
		part, unit := partOf(s.dir)
		if part == "." || part == ".ci" || slices.Contains(missing, unit) {
			continue
		}
		if !strings.Contains(text, unit) && !strings.Contains(text, path.Base(unit)+"/") {
			missing = append(missing, unit)
			t.Errorf("ARCHITECTURE.md does not say what %s is for", unit)
		}
	}
}

func markdown(t *testing.T) (out []string) {
	for _, name := range tracked(t) {
		if strings.HasSuffix(name, ".md") && !strings.Contains(name, "testdata/") {
			out = append(out, name)
		}
	}
	return out
}

func TestLinksResolve(t *testing.T) {
	for _, doc := range markdown(t) {
		text := fence.ReplaceAllString(string(read(t, doc)), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(to, ":") {
				continue // another site
			}
			file := doc
			if to != "" {
				file = path.Join(path.Dir(doc), to)
			}
			if !exists(t, file) {
				t.Errorf("%s links to %s, which does not exist", doc, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(string(read(t, file))), anchor) {
				t.Errorf("%s links to %s: there is no such heading", doc, m[1])
			}
		}
	}
}

// anchors returns the names of a document's headings, as forges make them.
func anchors(text string) (out []string) {
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		var b strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case r == ' ':
				b.WriteByte('-')
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				b.WriteRune(r)
			}
		}
		out = append(out, b.String())
	}
	return out
}

func TestMakeTargetsExist(t *testing.T) {
	text := string(read(t, "Makefile"))
	var targets []string
	for _, m := range target.FindAllStringSubmatch(text, -1) {
		targets = append(targets, m[1])
	}
	docs := append(markdown(t), ".ci/run", "Dockerfile", "Makefile", "doc.go")
	for _, doc := range docs {
		for _, m := range makeCall.FindAllStringSubmatch(string(read(t, doc)), -1) {
			if !slices.Contains(targets, m[1]) {
				t.Errorf("%s says make %s: the Makefile has no such target", doc, m[1])
			}
		}
	}
	for _, name := range targets {
		if strings.HasPrefix(name, "need-") {
			continue // says what to install, for other targets
		}
		if !regexp.MustCompile(`(?m)^` + name + `:.*## \S`).MatchString(text) {
			t.Errorf("Makefile: %s has no ## text for make help", name)
		}
	}
}

func TestDecisionRecords(t *testing.T) {
	index := string(read(t, "docs/adr/README.md"))
	found := 0
	for _, name := range markdown(t) {
		base := path.Base(name)
		if path.Dir(name) != "docs/adr" || base == "README.md" {
			continue
		}
		found++
		if !regexp.MustCompile(`^20\d{6}-[a-z0-9-]+\.md$`).MatchString(base) {
			t.Errorf("%s: want a name such as 20270105-short-title.md", name)
		}
		text := string(read(t, name))
		for _, part := range []string{"# ", "## Context\n", "## Decision\n", "## Consequences\n"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s has no part %q", name, strings.TrimSpace(part))
			}
		}
		if !strings.Contains(index, "("+base+")") {
			t.Errorf("docs/adr/README.md does not list %s", base)
		}
	}
	if found == 0 {
		t.Error("docs/adr holds no decision record")
	}
}

var invariant = regexp.MustCompile(`\bInvariants? (\d+)((?:(?:,| and|, and) \d+)*)`)

// The invariants are numbered in ARCHITECTURE.md and cited where they are
// upheld: in code, not only in tests.
func TestInvariantsAreCited(t *testing.T) {
	const count = 8
	numbers := regexp.MustCompile(`\d+`)
	var cited [count + 1]bool
	for _, s := range sources(t) {
		for _, group := range s.ast.Comments {
			for _, m := range invariant.FindAllString(strings.ReplaceAll(group.Text(), "\n", " "), -1) {
				for _, digits := range numbers.FindAllString(m, -1) {
					n, err := strconv.Atoi(digits)
					if err != nil || n < 1 || n > count {
						t.Errorf("%s: %s: there are invariants 1 to %d", s.name, m, count)
						continue
					}
					cited[n] = cited[n] || !s.test
				}
			}
		}
	}
	text := string(read(t, "ARCHITECTURE.md"))
	_, list, _ := strings.Cut(text, "## Invariants")
	for n := 1; n <= count; n++ {
		if !cited[n] {
			t.Errorf("no code cites Invariant %d", n)
		}
		if !strings.Contains(list, fmt.Sprintf("\n%d. ", n)) {
			t.Errorf("ARCHITECTURE.md does not state invariant %d", n)
		}
	}
	if strings.Contains(list, fmt.Sprintf("\n%d. ", count+1)) {
		t.Errorf("ARCHITECTURE.md states more than %d invariants: raise the count of this test", count)
	}
}

// What is true of one machine or one network only does not belong here:
// packages come by the ordinary clients, wherever those are told to look.
func TestNothingNamesAMachine(t *testing.T) {
	// In parts, since this file is looked at too.
	var hosts [][]byte
	for _, words := range [][]string{
		{"registry", "npmjs", "org"}, {"registry", "yarnpkg", "com"}, {"pypi", "org"}, {"files", "pythonhosted", "org"},
		{"repo", "maven", "apache", "org"}, {"repo1", "maven", "org"}, {"proxy", "golang", "org"}, {"sum", "golang", "org"},
		{"goproxy", "io"}, {"gcr", "io"}, {"ghcr", "io"}, {"quay", "io"}, {"docker", "io"}, {"deb", "debian", "org"},
	} {
		hosts = append(hosts, []byte(strings.Join(words, ".")))
	}
	folder := regexp.MustCompile("(?:^|[\\s\"'=:(`])/(?:work|root|home|Users|mnt)/[A-Za-z0-9._-]")
	for _, name := range tracked(t) {
		text := read(t, name)
		for _, host := range hosts {
			if bytes.Contains(text, host) {
				t.Errorf("%s names the package registry %s", name, host)
			}
		}
		for line := range bytes.Lines(text) {
			if bytes.Contains(line, []byte("/")) && folder.Match(line) {
				t.Errorf("%s names a folder of one machine: %.120s", name, bytes.TrimSpace(line))
			}
		}
	}
}
