package hotsync_test

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "hotsync"

// layers says which parts of the module a part may import, besides internal and
// itself. A part is a top-level folder; in connectors and sinks it is one of
// their folders, so that siblings do not know each other.
var layers = map[string][]string{
	".":          {},
	".ci":        {},
	"record":     {},
	"event":      {"record"},
	"reconcile":  {"record", "event"},
	"connectors": {"record", "event"},
	"sinks":      {"record", "event"},
	"api":        {"record", "event"},
	"daemon":     {"record", "event", "reconcile", "connectors", "sinks", "api", "embedded"},
	"demo":       {"record", "event", "reconcile", "connectors", "sinks", "api", "embedded", "daemon", "sandbox"},
	"cmd":        {"record", "event", "reconcile", "connectors", "sinks", "api", "embedded", "daemon", "sandbox", "demo"},
	"bench":      {"record", "event", "reconcile", "connectors", "sinks", "api", "embedded", "daemon", "sandbox", "demo", "cmd"},
	"embedded":   {},
	"internal":   {},
	"sandbox":    {},
}

// support are packages for tests: only tests, benchmarks and each other may
// import them.
var support = []string{"embedded/embeddedtest", "connectors/kafka/kafkatest"}

// confined says which folders may import what stands for a vendor or a
// mechanism; in tests also those behind the bar. What begins with an entry
// matches it.
var confined = map[string]struct{ code, tests []string }{
	"github.com/stripe/stripe-go":                {code: []string{"connectors/stripe"}, tests: []string{"sandbox/stripe"}},
	"github.com/segmentio/kafka-go":              {code: []string{"connectors/kafka", "bench"}, tests: []string{"embedded"}},
	"github.com/ClickHouse/clickhouse-go":        {code: []string{"sinks/clickhouse", "bench"}, tests: []string{"embedded"}},
	"github.com/twmb/franz-go":                   {code: []string{"embedded", "connectors/kafka/kafkatest"}, tests: []string{"connectors/kafka", "daemon", "bench"}},
	"github.com/ebitengine/purego":               {code: []string{"embedded"}},
	"github.com/coreos/go-oidc":                  {code: []string{"connectors/login", "api"}},
	"github.com/cloudevents/sdk-go":              {code: []string{"connectors/login"}},
	"github.com/spf13/cobra":                     {code: []string{"cmd"}},
	"github.com/vbauerster/mpb":                  {code: []string{"cmd"}},
	"github.com/robfig/cron":                     {code: []string{"daemon"}},
	"github.com/prometheus/client_golang":        {code: []string{"daemon", "api"}},
	"github.com/rs/zerolog":                      {code: []string{"daemon", "demo", "cmd", "bench"}},
	"github.com/google/go-cmp":                   {tests: []string{""}},
	"pgregory.net/rapid":                         {tests: []string{""}},
	"go.uber.org/goleak":                         {tests: []string{""}},
	"github.com/rs/zerolog/log":                  {},                         // a global logger: pass one in
	"log":                                        {code: []string{"daemon"}}, // only as what net/http wants
	"log/slog":                                   {},
	"io/ioutil":                                  {},
	"github.com/pkg/errors":                      {},
	"github.com/stretchr/testify":                {},
	"github.com/golang/mock":                     {},
	"go.uber.org/mock":                           {},
	"github.com/confluentinc/confluent-kafka-go": {},
}

// partOf returns the key of layers for a folder, and the unit within which
// imports are free.
func partOf(dir string) (part, unit string) {
	first, rest, _ := strings.Cut(dir, "/")
	second, _, _ := strings.Cut(rest, "/")
	if first == "connectors" || first == "sinks" {
		return first, path.Join(first, second)
	}
	return first, first
}

func under(dir, folder string) bool {
	return folder == "" || dir == folder || strings.HasPrefix(dir, folder+"/")
}

func underAny(dir string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return under(dir, f) })
}

func TestImportsPointOneWay(t *testing.T) {
	for _, s := range sources(t) {
		part, unit := partOf(s.dir)
		allowed, known := layers[part]
		if !known {
			t.Errorf("%s: the folder %s is in no layer: give it a line in layers and a place in ARCHITECTURE.md", s.name, part)
			continue
		}
		for _, imp := range s.imports() {
			dir, ours := strings.CutPrefix(imp, module+"/")
			if imp == module {
				t.Errorf("%s imports the root package, which holds nothing", s.name)
			}
			if !ours {
				continue
			}
			forTests := s.test || part == "bench" || underAny(s.dir, support)
			if underAny(dir, support) {
				if !forTests {
					t.Errorf("%s imports %s, which is for tests", s.name, imp)
				}
				continue
			}
			target, targetUnit := partOf(dir)
			switch {
			case unit == targetUnit:
			case target == "internal" && part != "sandbox":
			case slices.Contains(allowed, target):
			case target == "sandbox" && s.test && part != "embedded" && part != "record" && part != "event":
				// connectors, reconcilers and the daemon are tested against the simulated vendors
			default:
				t.Errorf("%s imports %s: %s may import only %v, internal and itself", s.name, imp, unit, allowed)
			}
		}
	}
}

func TestVendorsStayInTheirPlaces(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range s.imports() {
			rule, found := longest(imp)
			if !found || underAny(s.dir, rule.code) {
				continue
			}
			if (s.test || underAny(s.dir, support)) && underAny(s.dir, rule.tests) {
				continue
			}
			t.Errorf("%s imports %s, which belongs in %v (and in tests of %v)", s.name, imp, rule.code, rule.tests)
		}
	}
}

// longest returns the most specific rule for an import.
func longest(imp string) (rule struct{ code, tests []string }, found bool) {
	best := -1
	for prefix, r := range confined {
		if under(imp, prefix) && len(prefix) > best {
			best, rule, found = len(prefix), r, true
		}
	}
	return rule, found
}

func TestPackages(t *testing.T) {
	vague := []string{"util", "utils", "common", "helper", "helpers", "model", "models", "types", "shared", "base", "manager", "misc"}
	docs, names := map[string]string{}, map[string]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		names[s.dir] = s.ast.Name.Name
		if s.ast.Doc != nil {
			docs[s.dir] += s.ast.Doc.Text()
		}
		for _, word := range append(strings.Split(s.dir, "/"), s.ast.Name.Name) {
			if slices.Contains(vague, word) {
				t.Errorf("%s: a package called %q says nothing about what is in it", s.name, word)
			}
		}
	}
	for dir, name := range names {
		if dir == ".ci" {
			continue // programs of one file for the checks
		}
		want := "Package " + name + " "
		if name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		if !strings.HasPrefix(docs[dir], want) {
			t.Errorf("%s: its package comment begins %.40q, want %q and what the package promises", dir, docs[dir], want)
		}
	}
	var internals []string
	for dir := range names {
		if under(dir, "internal") {
			internals = append(internals, dir)
		}
	}
	if len(internals) > 4 {
		t.Errorf("internal has %d packages, at most 4 are wanted: %v", len(internals), internals)
	}
}

const maxLines = 500

func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test && s.lines > maxLines {
			t.Errorf("%s has %d lines, at most %d are wanted", s.name, s.lines, maxLines)
		}
	}
}

// Programs decide about the process; packages return errors.
func TestPackagesDoNotDecideForTheProcess(t *testing.T) {
	forbidden := map[string]string{
		"os.Exit":            "return an error",
		"log.Fatal":          "return an error",
		"http.DefaultClient": "take a client or a transport as an argument",
		"signal.Notify":      "take a context",
	}
	for _, s := range sources(t) {
		for _, decl := range s.ast.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: init() runs unseen; do it where it is wanted", s.at(f))
			}
			// A TestMain is the main of its test binary.
			if s.isMain() || s.test || underAny(s.dir, support) {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok {
					if instead, bad := forbidden[x.Name+"."+sel.Sel.Name]; bad {
						t.Errorf("%s: %s.%s below cmd: %s", s.at(n), x.Name, sel.Sel.Name, instead)
					}
				}
				return true
			})
		}
	}
}

// A context belongs to a call. In a struct it outlives the call unseen.
func TestNoStructHoldsAContext(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			st, ok := n.(*ast.StructType)
			if !ok || s.test {
				return true
			}
			for _, f := range st.Fields.List {
				if sel, ok := f.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Context" {
					if x, ok := sel.X.(*ast.Ident); ok && x.Name == "context" {
						t.Errorf("%s: a struct holds a context", s.at(f))
					}
				}
			}
			return true
		})
	}
}

// A test that skips is a test that nobody knows did not run.
func TestNoTestSkips(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !s.test {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
				if x, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "tb", "f"}, x.Name) {
					t.Errorf("%s: %s.%s", s.at(n), x.Name, sel.Sel.Name)
				}
			}
			return true
		})
	}
}
