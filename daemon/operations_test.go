package daemon_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"hotsync/api"
	"hotsync/sandbox/httpsim"
	"hotsync/sandbox/zuora"
)

// ask sends a request to the daemon's API, a write when there is a body, and
// reads the answer into out.
func (r *road) ask(path string, body, out any) {
	r.t.Helper()
	method, sent := http.MethodGet, []byte(nil)
	if body != nil {
		var err error
		sent, err = json.Marshal(body)
		r.must(err)
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.daemon.Addr()+path, bytes.NewReader(sent))
	r.must(err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultTransport.RoundTrip(req)
	r.must(err)
	defer resp.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(resp.Body)
	r.must(err)
	if resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%s %s: %s: %s", method, path, resp.Status, text.String())
	}
	r.must(json.Unmarshal(text.Bytes(), out))
}

// What failed is found, replayed and applied, and the log says who had it done.
func TestReplay(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	a, b := r.zuoraAccount("user-1", 1), r.zuoraAccount("user-2", 1)
	restore := r.zuora.Inject(httpsim.Fault{Code: "forbidden"})
	r.start()
	for _, id := range []string{a.ID, b.ID, a.ID} {
		r.login(map[string]any{"zuora_accounts": id})
	}
	if got := r.outcomes(3); got["failed/forbidden"] == 0 {
		t.Fatalf("outcomes %v", got)
	}
	restore()

	failed := api.Filter{Outcome: []string{"failed"}}
	var page api.SyncPage
	r.ask("/api/syncs?"+failed.Query().Encode(), nil, &page)
	var count struct{ Count int }
	r.ask("/api/syncs/count?"+failed.Query().Encode(), nil, &count)
	if len(page.Syncs) < 2 || count.Count != len(page.Syncs) || page.Syncs[0].Class != "forbidden" {
		t.Fatalf("%d syncs, count %d: %+v", len(page.Syncs), count.Count, page)
	}
	ask := api.ReplayAsk{Asker: api.Asker{By: "ann"}, Why: "the password is right again", Filter: &failed, PerSecond: 1}
	var preview api.ReplayPreview
	r.ask("/api/replay/preview", ask, &preview)
	if preview.Matches != int64(count.Count) || preview.Refused != "" || len(preview.Sample) != count.Count {
		t.Errorf("preview %+v", preview)
	}
	var answer api.ReplayAnswer
	r.ask("/api/replay", ask, &answer)
	if answer.Scheduled != 2 || answer.Matched != int64(count.Count) {
		t.Fatalf("answer %+v", answer)
	}
	var rep api.RunReport
	r.eventually("the replay has come to its end", func() bool {
		if r.query("SELECT count() FROM {db}.sync_events WHERE key_system = 'replay'") != "2" ||
			r.query("SELECT count() FROM {db}.trigger_outcomes WHERE delivery = '"+answer.Run+"' AND type != 'summary' AND outcome NOT IN ('', 'deferred')") == "0" {
			return false // the API knows nothing of the run until a row does
		}
		r.ask("/api/runs/"+answer.Run, nil, &rep)
		return rep.Outcomes != nil && rep.Outcomes.Answered == answer.Matched-answer.PassedOver
	})
	if rep.Outcomes.Repaired != answer.Matched {
		t.Errorf("outcomes %+v", rep.Outcomes)
	}
	var told api.SyncPage
	r.ask("/api/syncs?system=replay", nil, &told)
	if len(told.Syncs) != 1 || told.Syncs[0].Outcome != "skipped" || !strings.HasPrefix(told.Syncs[0].Note, "ann: ") || !strings.HasSuffix(told.Syncs[0].Note, "(the password is right again)") {
		t.Errorf("the log says %+v", told.Syncs)
	}
	var records api.PlannedPage
	r.ask("/api/runs/"+answer.Run+"/records?outcome=applied", nil, &records)
	if len(records.Records) != 2 || len(records.Records[0].Changes) == 0 {
		t.Errorf("records %+v", records)
	}
}

// Dead letters of both kinds are shown, replayed once and discarded.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	a := r.zuoraAccount("user-1", 1)
	restore := r.zuora.Inject(httpsim.Fault{Code: "forbidden"})
	r.start()
	r.login(map[string]any{"zuora_accounts": a.ID})
	r.produce(r.cfg.Kafka.LoginTopic, []byte("not json"))
	r.produce(r.cfg.Kafka.StripeTopic, []byte("{"))
	r.outcomes(3)
	restore()

	letters := func(query string) (page api.DeadPage) {
		t.Helper()
		r.ask("/api/dead?"+query, nil, &page)
		return page
	}
	r.eventually("three dead letters", func() bool { return letters("").Count == 3 })
	var work, login string
	for _, l := range letters("").Letters {
		var one api.DeadLetter
		r.ask("/api/dead/"+url.PathEscape(l.ID), nil, &one)
		switch {
		case one.Work && one.Trigger != nil && one.Refusal == "":
			work = l.ID
		case one.Source.Topic == r.cfg.Kafka.LoginTopic && string(one.Original) == "not json":
			login = l.ID
		case one.Source.Topic != r.cfg.Kafka.StripeTopic || string(one.Original) != "{":
			t.Errorf("letter %+v", one)
		}
	}
	ask := api.DeadAsk{Asker: api.Asker{By: "ann"}, Why: "tried again", IDs: []string{work, login}}
	var answer api.DeadAnswer
	r.ask("/api/dead/replay", ask, &answer)
	if answer.Done != 2 || len(answer.Refused) != 0 {
		t.Fatalf("answer %+v", answer)
	}
	r.ask("/api/dead/replay", ask, &answer)
	if answer.Done != 0 || answer.Already != 2 {
		t.Errorf("asked twice: %+v", answer)
	}
	// The work is done, and the message is as bad as it was.
	r.eventually("the work is done", func() bool {
		return r.query("SELECT count() FROM {db}.syncs WHERE outcome = 'applied' AND cause = 'replay'") == "1"
	})
	r.eventually("a new letter for the old message", func() bool { return letters("").Count == 2 && letters("state=replayed").Count == 2 })
	answer = api.DeadAnswer{}
	r.ask("/api/dead/discard", api.DeadAsk{Asker: api.Asker{By: "ann"}, Why: "noise", Filter: &api.DeadFilter{}}, &answer)
	if answer.Done != 2 {
		t.Errorf("discard: %+v", answer)
	}
	r.eventually("nothing is open", func() bool { return letters("").Count == 0 && letters("state=discarded").Count == 2 })
	var told api.SyncPage
	r.eventually("the log says who", func() bool {
		r.ask("/api/syncs?system=dead&outcome=skipped", nil, &told)
		return len(told.Syncs) == 2
	})
}

// A sweep that is asked for plans, shows what it would write, and applies it.
func TestSweepIsAskedFor(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	a := r.zuoraAccount("user-1", 1)
	r.start()
	r.login(map[string]any{"zuora_accounts": a.ID})
	r.outcomes(1)
	var sweeps struct{ Sweeps []api.Sweep }
	r.eventually("sweeps are planned", func() bool {
		r.ask("/api/sweeps", nil, &sweeps)
		return len(sweeps.Sweeps) == 5 && sweeps.Sweeps[1].State == "idle"
	})
	r.must(r.zuora.UpdateAccount(a.ID, func(a *zuora.Account) { a.BillTo.City = "Cork" }))
	var answer api.SweepAnswer
	r.ask("/api/sweeps/zuora-full/run", api.RunBody{Asker: api.Asker{By: "ann"}, Mode: "plan", Deep: true}, &answer)
	if !answer.Seen || answer.Run == "" {
		t.Fatalf("answer %+v", answer)
	}
	var rep api.RunReport
	r.eventually("the run has ended", func() bool {
		r.ask("/api/runs/"+answer.Run, nil, &rep)
		return rep.Run != nil && rep.Run.State == "done" && rep.Outcomes != nil && rep.Outcomes.Answered == rep.Run.HandedOn
	})
	if rep.Run.HandedOn != 1 || rep.Run.Done == 0 || rep.Outcomes.Drifted != 1 || rep.Outcomes.Repaired != 0 {
		t.Errorf("run %+v", rep)
	}
	var plan api.PlannedPage
	r.ask("/api/runs/"+answer.Run+"/records", nil, &plan)
	if len(plan.Records) != 1 || plan.Records[0].Plan == "" || len(plan.Records[0].Changes) == 0 {
		t.Fatalf("plan %+v", plan)
	}
	r.ask("/api/sweeps/zuora-full/run", api.RunBody{Asker: api.Asker{By: "ann"}, Mode: "apply", PlanOf: answer.Run}, &answer)
	r.eventually("the plan is applied", func() bool {
		r.ask("/api/runs/"+answer.Run, nil, &rep)
		return rep.Outcomes != nil && rep.Outcomes.Repaired == 1
	})
}
