package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hotsync/daemon/config"
)

var update = flag.Bool("update", false, "write the golden files")

const fileInRoot = "../../config.yaml"

// golden compares got with a file, or writes the file with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", path, diff)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func lines(problems []config.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

// Every kind of mistake has a file; what is said about it stands beside it.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			_, problems := config.Parse(filepath.Base(path), read(t, path))
			if len(problems) == 0 {
				t.Fatal("no problem found")
			}
			got := lines(problems)
			if strings.Contains(got, "hunter2") { // Invariant 8
				t.Errorf("a secret is quoted:\n%s", got)
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".want", got)
		})
	}
}

func TestNothingGivenIsTheDefaults(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "kafka:\nlog:\n", "{}"} {
		got, _ := config.Parse("config.yaml", []byte(text))
		if diff := cmp.Diff(config.Default(), got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// config.yaml promises to show every key with its default.
func TestFileShowsEveryDefault(t *testing.T) {
	data := read(t, fileInRoot)
	got, problems := config.Parse("config.yaml", data)
	if diff := cmp.Diff(config.Default(), got); diff != "" {
		t.Errorf("config.yaml is not Default() (-want +got):\n%s", diff)
	}
	// What is left to do is what it marks as REQUIRED.
	golden(t, "testdata/config.yaml.want", lines(problems))

	printed, err := got.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keysIn(string(printed)), keysIn(string(data))); diff != "" {
		t.Errorf("keys of the struct and of config.yaml differ (-struct +file):\n%s", diff)
	}
}

var keyLine = regexp.MustCompile(`(?m)^( *)([a-z_]+):`)

// keysIn lists the keys of a YAML text with their indentation, in order.
func keysIn(text string) []string {
	var out []string
	for _, m := range keyLine.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1]+m[2])
	}
	return out
}

// The example of a provider, which is a comment, has every key and works.
func TestFilesExampleOfAProvider(t *testing.T) {
	_, rest, _ := strings.Cut(string(read(t, fileInRoot)), "  # providers:\n")
	example, _, ok := strings.Cut(rest, "  providers: []")
	if !ok {
		t.Fatal("no example in config.yaml")
	}
	text := "login:\n  providers:\n" + regexp.MustCompile(`(?m)^  # `).ReplaceAllString(example, "  ")
	cfg, problems := config.Parse("example", []byte(text))
	for _, p := range problems {
		if strings.HasPrefix(p.Path, "login") {
			t.Error(p)
		}
	}
	if len(cfg.Login.Providers) != 1 || len(cfg.Login.Providers[0].Claims) != 2 {
		t.Fatalf("providers: %+v", cfg.Login.Providers)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[config.Provider](), reflect.TypeFor[config.Claim]()} {
		for i := range typ.NumField() {
			if key := typ.Field(i).Tag.Get("yaml"); !strings.Contains(text, " "+key+":") {
				t.Errorf("the example has no %s", key)
			}
		}
	}
}

func TestPrintedIsReadBack(t *testing.T) {
	for _, path := range []string{fileInRoot, "testdata/full.yaml"} {
		want, problems := config.Parse(path, read(t, path))
		if path != fileInRoot && config.Wrong(problems) {
			t.Fatalf("%s", lines(problems))
		}
		text, err := want.YAML()
		if err != nil {
			t.Fatal(err)
		}
		got, _ := config.Parse("printed", text)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", path, diff, text)
		}
		if _, err := want.JSON(); err != nil {
			t.Error(err)
		}
	}
}

// full.yaml sets every key to something that is not its default, so that a key
// which is not read, or not printed, shows.
func TestFullFileChangesEveryKey(t *testing.T) {
	cfg, _ := config.Parse("full.yaml", read(t, "testdata/full.yaml"))
	var same func(path string, a, b reflect.Value)
	same = func(path string, a, b reflect.Value) {
		for i := range a.NumField() {
			key := path + a.Type().Field(i).Tag.Get("yaml")
			switch x, y := a.Field(i), b.Field(i); {
			case x.Kind() == reflect.Struct:
				same(key+".", x, y)
			case key == "zuora.enabled": // of two, one must stay enabled
			case reflect.DeepEqual(x.Interface(), y.Interface()):
				t.Errorf("%s has its default", key)
			}
		}
	}
	same("", reflect.ValueOf(cfg), reflect.ValueOf(config.Default()))
}

func TestLoad(t *testing.T) {
	_, err := config.Load("testdata/bad/required.yaml")
	var invalid *config.Invalid
	if !errors.As(err, &invalid) || !config.Wrong(invalid.Problems) {
		t.Errorf("got %v, want *Invalid", err)
	}
	if _, err := config.Load("testdata/bad/unsigned-webhooks.yaml"); err != nil {
		t.Errorf("a warning is no error: %v", err)
	}
	if _, err := config.Load("testdata/missing.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
}

func FuzzParse(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*/*.yaml")
	for _, path := range append(paths, fileInRoot, "testdata/full.yaml") {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("limio: {client_id: \"a\\tb\\u0000\\u2028\\\\\\\"'\", scope: '#: - true'}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, problems := config.Parse("fuzz", data)
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Text == "" {
				t.Errorf("problem without a place or text: %+v", p)
			}
		}
		if config.Wrong(problems) {
			return
		}
		text, err := cfg.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, _ := config.Parse("again", text)
		if diff := cmp.Diff(cfg, again); diff != "" {
			t.Errorf("printed and read back (-want +got):\n%s\n%s", diff, text)
		}
	})
}
