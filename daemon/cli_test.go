package daemon_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hotsync/daemon/sweep"
	"hotsync/sandbox/stripe"
)

// program builds hotsync's program and returns its path.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hotsync")
	if out, err := exec.Command("go", "build", "-o", path, "hotsync/cmd/hotsync").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// cli runs the program against the daemon and returns what it printed.
func (r *road) cli(program string, args ...string) (stdout string, code int) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), program, append(args, "--addr", "http://"+r.daemon.Addr())...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	r.t.Log(errs.String())
	return out.String(), cmd.ProcessState.ExitCode()
}

// The plan that an operator sees lists exactly the records that have drifted, and
// nothing is written in Limio.
func TestPlanByTheProgram(t *testing.T) {
	t.Parallel()
	hotsync := program(t)
	r := newRoad(t)
	subs, ids := r.subscriptions(9)
	r.start()
	r.ended(r.sweep(sweep.StripeDrift, sweep.Ask{}))
	r.must(r.stripe.RenewNow(subs[0].ID, true))
	r.must(r.stripe.CancelNow(subs[4].ID, stripe.ByStripe()))
	r.stripe.TakeEvents() // lost
	r.edit(ids[8])
	want := []string{"stripe:subscription:" + subs[0].ID, "stripe:subscription:" + subs[4].ID, "stripe:subscription:" + subs[8].ID}
	slices.Sort(want)
	wrote := len(r.limio.Writes())

	out, code := r.cli(hotsync, "sweep", "stripe-drift", "--plan", "-o", "json")
	var plan struct {
		Run, Mode, State string
		Incomplete       *bool
		Records          []struct {
			Key, Outcome string
			Changes      []any
		}
	}
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	for _, rec := range plan.Records {
		got = append(got, rec.Key)
		if rec.Outcome != "observed" || len(rec.Changes) == 0 {
			t.Errorf("record %+v", rec)
		}
	}
	if code != 0 || plan.State != "done" || plan.Mode != "plan" || plan.Incomplete == nil || *plan.Incomplete || !slices.Equal(got, want) {
		t.Errorf("exit code %d, %s %s lists %v, want %v", code, plan.Mode, plan.State, got, want)
	}
	if n := len(r.limio.Writes()); n != wrote {
		t.Errorf("the plan made %d writes in Limio", n-wrote)
	}
	r.eventually("metrics show what it found", func() bool {
		m := r.get("/metrics")
		return strings.Contains(m, `hotsync_sweep_run{sweep="stripe-drift",what="drifted"} 3`+"\n") &&
			strings.Contains(m, `hotsync_sweep_run{sweep="stripe-drift",what="repaired"} 0`+"\n")
	})
	// What it prints can be applied.
	if out, code := r.cli(hotsync, "sweep", "stripe-drift", "--apply", plan.Run, "-o", "json"); code != 0 || len(r.limio.Writes()) == wrote {
		t.Errorf("exit code %d, %d writes: %s", code, len(r.limio.Writes())-wrote, out)
	}
	if out, code := r.cli(hotsync, "sweep", "stripe-drift", "--apply", plan.Run+"0", "-o", "json"); code == 0 {
		t.Errorf("a run that there is not was applied: %s", out)
	}
}
