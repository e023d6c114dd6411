package kafkatest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFetchSaysWhatIsMissing(t *testing.T) {
	t.Setenv("HOTSYNC_CACHE", t.TempDir())
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	if _, err := Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "needs Java 17") {
		t.Errorf("without java: %v", err)
	}
	java := func(version string) {
		t.Helper()
		script := "#!/bin/sh\necho 'openjdk version \"" + version + "\" 2025-04-15' >&2\n"
		if err := os.WriteFile(filepath.Join(bin, "java"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	java("11.0.2")
	if _, err := Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "java 11 is installed") {
		t.Errorf("with an old java: %v", err)
	}
	java("21.0.1")
	if _, err := Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "install maven") {
		t.Errorf("without maven: %v", err)
	}
}

func TestFetchTakesTheCache(t *testing.T) {
	cache, bin := t.TempDir(), t.TempDir()
	t.Setenv("HOTSYNC_CACHE", cache)
	t.Setenv("PATH", bin)
	if err := os.WriteFile(filepath.Join(bin, "java"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(cache, "kafka-"+Version, "libs")
	if err := os.MkdirAll(want, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Fetch(t.Context()); err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

func TestClusterIDIsNoOption(t *testing.T) {
	for range 1000 {
		if id := clusterID(); len(id) != 22 || id[0] == '-' {
			t.Fatalf("cluster id %q", id)
		}
	}
}
