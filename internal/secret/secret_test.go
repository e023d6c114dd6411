package secret

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASecretDoesNotPrint(t *testing.T) {
	v := New("hunter2")
	b, err := json.Marshal(map[string]any{"v": v, "p": &v, "s": struct{ V Value }{v}})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		string(b), fmt.Sprint(v), fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v), fmt.Sprintf("%+v", struct{ V Value }{v}), fmt.Sprintf("%#v", &v),
	} {
		if strings.Contains(shown, "hunter2") || strings.Contains(shown, "68756e746572") {
			t.Errorf("shown as %s", shown)
		}
	}
	if v.Reveal() != "hunter2" || v.IsZero() || !New("").IsZero() {
		t.Error("it is lost, too")
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return "file:" + path
	}
	t.Setenv("SECRET_TEST", "from env")
	t.Setenv("SECRET_EMPTY", "")
	good := map[string]string{"env:SECRET_TEST": "from env", write("a", "from file\r\n"): "from file", "": ""}
	for ref, want := range good {
		if v, err := Resolve(ref); err != nil || v.Reveal() != want {
			t.Errorf("%q: %q, %v", ref, v.Reveal(), err)
		}
	}
	for _, ref := range []string{"hunter2", "sk_live_hunter2", "env:SECRET_MISSING", "env:SECRET_EMPTY", "file:" + dir + "/none", write("b", "\n"), "vault:hunter2"} {
		v, err := Resolve(ref)
		if err == nil || !v.IsZero() {
			t.Errorf("%q was taken", ref)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the message shows the literal: %v", err)
		}
	}
}
