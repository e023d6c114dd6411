package clickhouse

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hotsync/event"
)

// The crash test runs the loader in a child, which is this test binary again,
// and kills it at random moments. Its partition keeps commits in a file; its
// messages are a function of their offsets.
const (
	childVariable = "HOTSYNC_CRASH_TEST" // addr database file messages
	crashKills    = 14
	crashMessages = 30_000
)

// crashPartition has n messages: syncs of their own, but every tenth an event
// that was produced twice, and every seventh of the month before.
func crashPartition(tb testing.TB, n int) *fakePartition {
	p := newFakePartition()
	p.total = n
	p.make = func(i int) event.Message {
		e := sample(i)
		if i%10 == 9 {
			e = sample(i - 1)
		}
		if i%7 == 0 {
			e.Triggers[0].Received = e.Triggers[0].Received.AddDate(0, -1, 0)
		}
		return message(tb, e, int64(i))
	}
	return p
}

// crashChild is the child's main.
func crashChild(arguments string) error {
	f := strings.Fields(arguments)
	n, err := strconv.Atoi(f[3])
	if err != nil {
		return err
	}
	st, err := Open(Config{Addr: []string{f[0]}, Database: f[1]})
	if err != nil {
		return err
	}
	l, err := NewLoader(LoaderConfig{
		Store: st, Into: Events, Group: "crash", BatchRows: 700, Flush: 30 * time.Millisecond,
		Reject: (&graveyard{}).reject,
	})
	if err != nil {
		return err
	}
	p := crashPartition(failing{}, n)
	p.file, p.portion = f[2], 90
	b, err := os.ReadFile(p.file)
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &p.committed); err != nil {
			return fmt.Errorf("commit file: %w", err)
		}
		p.position = int(max(0, p.committed.Next))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p.onCommit = func(c commitment) error {
		if c.Next == int64(n) {
			cancel()
		}
		return nil
	}
	fmt.Println("ready")
	if p.committed.Next == int64(n) && p.committed.Metadata == "" {
		cancel() // the life before was long enough for all
	}
	if err := l.Run(ctx, "hotsync.events", 0, p); err != nil {
		return err
	}
	s := l.Stats()
	fmt.Println("stats", s.Replayed, s.Skipped, s.Mismatches)
	return nil
}

// failing is a testing.TB for helpers that are used outside of a test.
type failing struct{ testing.TB }

func (failing) Helper()           {}
func (failing) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Invariant 6: kill -9 at any instant loses nothing and doubles nothing.
func TestCrash(t *testing.T) {
	st := open(t)
	through := newProxy(t, st.cfg.Addr[0])
	file := filepath.Join(t.TempDir(), "commits.json")
	start := func() (*exec.Cmd, *bufio.Scanner) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %d", childVariable, through.addr(), st.cfg.Database, file, crashMessages))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() }) // if the test fails half way
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != "ready" {
			t.Fatalf("the child said %q", lines.Text())
		}
		return cmd, lines
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	pendings := 0
	for i := range crashKills {
		cmd, _ := start()
		alive := time.NewTimer(time.Duration(20+rng.IntN(600)) * time.Millisecond)
		<-alive.C
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		b, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(b), "pending") {
			pendings++
		}
		t.Logf("kill %d: %s", i+1, b)
	}
	cmd, out := start()
	for out.Scan() {
		t.Logf("last life: %s", out.Text())
		if f := strings.Fields(out.Text()); len(f) == 4 && f[3] != "0" {
			t.Error("a batch that was built again had another hash")
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if pendings == 0 {
		t.Error("no kill hit a pending batch: the test proves nothing")
	}
	if got := counts(t, st); got != [2]int64{crashMessages, crashMessages} {
		t.Errorf("rows and offsets %v, want %d of each", got, crashMessages)
	}
	checks, err := st.Verify(t.Context(), "hotsync.events", map[int]Range{0: {0, crashMessages}})
	if err != nil {
		t.Fatal(err)
	}
	if c := checks[0]; c.Lost != 0 || c.Duplicates != 0 || c.Found != crashMessages {
		t.Errorf("verify: %+v", c)
	}
	const distinct = crashMessages / 10 * 9
	for _, view := range []string{"syncs", "trigger_outcomes"} {
		if n := count(t, st, "SELECT count() AS x FROM "+view+" WHERE outcome = 'applied'"); n != distinct {
			t.Errorf("%d rows in %s, want %d", n, view, distinct)
		}
	}
}
