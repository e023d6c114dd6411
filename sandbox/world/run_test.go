package world

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hotsync/sandbox/limio"
)

// listener hears every message and remembers what the records it names looked
// like at that moment.
type listener struct {
	w       *World
	heard   Produced
	saw     map[string]string // record to state
	sources map[string]int
	types   map[string]int
}

func (l *listener) emit(m Message) error {
	if m.Topic == TopicLogins {
		l.heard.Logins++
	} else {
		l.heard.Stripe++
	}
	if s := m.Headers["source"]; s != "" {
		l.sources[s]++
	}
	for _, id := range l.named(m) {
		l.saw[id] = l.state(id)
	}
	return nil
}

func (l *listener) state(id string) string {
	if a, ok := l.w.zuora.Account(id); ok {
		return fmt.Sprintf("%+v", l.w.wantAccount(a))
	}
	want, _ := l.w.wantStripe(id)
	return fmt.Sprintf("%+v", want)
}

// named returns the records that a message points at; none for poison.
func (l *listener) named(m Message) []string {
	var body struct {
		Token string          `json:"id_token"`
		Data  json.RawMessage `json:"data"`
		Body  string          `json:"body"`
		B64   bool            `json:"isBase64Encoded"`
		Type  string          `json:"type"`
	}
	if json.Unmarshal(m.Value, &body) != nil {
		return nil
	}
	if m.Topic == TopicStripe {
		raw := m.Value
		if body.Body != "" {
			raw = []byte(body.Body)
			if body.B64 {
				raw, _ = base64.StdEncoding.DecodeString(body.Body)
			}
			_ = json.Unmarshal(raw, &body)
		}
		l.types[body.Type]++
		var ids []string
		for _, s := range l.w.subs {
			if strings.Contains(string(raw), `"`+s.ID+`"`) || strings.Contains(string(raw), `"`+s.Customer+`"`) && (strings.HasPrefix(body.Type, "customer.") || strings.HasPrefix(body.Type, "payment_method.")) {
				ids = append(ids, s.ID)
			}
		}
		return ids
	}
	if body.Token == "" && body.Data != nil {
		_ = json.Unmarshal(body.Data, &body)
	}
	parts := strings.Split(body.Token, ".")
	if len(parts) != 3 {
		return nil
	}
	raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var ids []string
	for _, u := range l.w.users {
		if strings.Contains(string(raw), fmt.Sprintf("%q", u.ID)) {
			ids = append(ids, u.Accounts...)
		}
	}
	return ids
}

func listen(w *World) *listener {
	return &listener{w: w, saw: map[string]string{}, sources: map[string]int{}, types: map[string]int{}}
}

// TestEverythingThatChangedIsAnnounced runs a day without anybody who syncs.
func TestEverythingThatChangedIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(Config{Seed: 11, Accounts: 40, Subscriptions: 60, Rate: 50, Duration: 25 * time.Second})
		l := listen(w)
		began := w.clock.Now()
		made, err := w.Run(t.Context(), l.emit)
		if err != nil {
			t.Fatal(err)
		}
		if took := w.clock.Now().Sub(began); took > 45*time.Second {
			t.Errorf("it took %s to come to an end", took)
		}
		if made.Logins != l.heard.Logins || made.Stripe != l.heard.Stripe {
			t.Errorf("made %+v, heard %+v", made, l.heard)
		}
		if made.Orders < 5 || made.Poison < 10 || made.Logins < made.Stripe/2 || made.Messages() < 25*35 {
			t.Errorf("made %+v in 25 s at 50/s", made)
		}
		changed := 0
		for _, a := range w.accounts {
			if a.changed || a.Drifted {
				changed++
				if l.saw[a.ID] != l.state(a.ID) {
					t.Errorf("account %s changed and nobody was told:\nsaw  %s\nhave %s", a.ID, l.saw[a.ID], l.state(a.ID))
				}
			}
		}
		for _, s := range w.subs {
			if s.Limio != "" && (s.changed || s.Drifted) {
				changed++
				if l.saw[s.ID] != l.state(s.ID) {
					t.Errorf("subscription %s changed and nobody was told", s.ID)
				}
			}
		}
		if changed < 40 {
			t.Errorf("only %d records changed", changed)
		}
		for _, d := range w.Drift() {
			if strings.HasPrefix(d.ID, ObservedPrefix) {
				t.Errorf("an observed record is left: %s", d)
			}
			if l.saw[d.ID] == "" {
				t.Errorf("nothing pointed at %s", d)
			}
		}
		for _, typ := range []string{"zebra.crossed", "invoice.paid", "invoice.payment_failed", "customer.updated", "payment_method.attached"} {
			if l.types[typ] == 0 {
				t.Errorf("there was no event of type %s: %v", typ, l.types)
			}
		}
		placed := map[string]int{}
		for _, win := range w.windows {
			placed[win.source]++
		}
		if placed["shop"] == 0 || placed["salesforce"] == 0 || len(l.sources) == 0 {
			t.Errorf("orders %v, of which producers named %v", placed, l.sources)
		}
		for _, loop := range w.Loops() {
			t.Errorf("nobody syncs, and yet: %s", loop)
		}
		for _, win := range w.windows {
			if win.until.IsZero() || win.until.Sub(win.from) > time.Second {
				t.Errorf("an order of %s lasted from %s to %s", win.sub, win.from, win.until)
			}
		}
		healthy(t, w)
	})
}

// healthy fails when a simulator is still broken.
func healthy(t *testing.T, w *World) {
	t.Helper()
	for name, h := range map[string]http.Handler{"limio": w.LimioHandler(), "zuora": w.ZuoraHandler()} {
		path := map[string]string{"limio": "/oauth2/token", "zuora": "/oauth/token"}[name]
		for range 20 {
			rec := httptest.NewRecorder()
			req := httptest.NewRequest(http.MethodPost, path, strings.NewReader("grant_type=client_credentials"))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			h.ServeHTTP(rec, req)
			if rec.Code >= http.StatusInternalServerError || rec.Code == http.StatusTooManyRequests {
				t.Errorf("%s still answers %d", name, rec.Code)
			}
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(Config{Seed: 12, Accounts: 20, Subscriptions: 20, Rate: 30, NoFaults: true})
		l := listen(w)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		made, err := w.Run(ctx, l.emit)
		if err != nil || made.Messages() == 0 {
			t.Fatalf("made %+v, %v", made, err)
		}
		for _, a := range w.accounts {
			if a.Drifted && l.saw[a.ID] == "" {
				t.Errorf("account %s was never announced", a.ID)
			}
		}
	})
}

func TestRunEndsWithItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(Config{Seed: 13, Accounts: 10, Subscriptions: 10, Rate: 30})
		broken := errors.New("the broker is gone")
		n := 0
		made, err := w.Run(t.Context(), func(Message) error {
			if n++; n > 10 {
				return broken
			}
			return nil
		})
		if !errors.Is(err, broken) || made.Messages() != 10 {
			t.Errorf("made %+v, %v", made, err)
		}
	})
}

// TestFlapUndoesWhatWasSynced plays the daemon by hand.
func TestFlapUndoesWhatWasSynced(t *testing.T) {
	w := small(t)
	s := w.pick(t, roleFlap)
	before, _ := w.limio.Get(s.Limio)
	step := must(t)(w.Flap(s.ID))
	if step = must(t)(step.Next()); step.Messages != nil || step.Next == nil {
		t.Fatalf("nobody has written yet: %+v", step)
	}
	want, _ := w.wantStripe(s.ID)
	if err := w.limio.UpdateAs(limio.ByAPI, s.Limio, func(json map[string]any) { fill(json, want.fields) }); err != nil {
		t.Fatal(err)
	}
	step = must(t)(step.Next()) // it sees the write
	step = must(t)(step.Next()) // and undoes it
	after, _ := w.limio.Get(s.Limio)
	if len(step.Messages) != 2 || step.Messages[1].Headers["source"] != "shop" || after.At("data.termEndDate") != before.At("data.termEndDate") {
		t.Errorf("%d messages, term end %v, was %v", len(step.Messages), after.At("data.termEndDate"), before.At("data.termEndDate"))
	}
	if step = must(t)(step.Next()); len(step.Messages) != 1 || step.Next != nil {
		t.Errorf("the end is %+v", step)
	}
}

func TestFlapGivesUpWithoutADaemon(t *testing.T) {
	w := small(t)
	step := must(t)(w.Flap(w.pick(t, roleFlap).ID))
	w.clock.Advance(flapWait)
	if step = must(t)(step.Next()); step.Next != nil || step.Messages != nil {
		t.Errorf("it goes on: %+v", step)
	}
}

func TestRefusedIsHealed(t *testing.T) {
	w := small(t)
	s := w.pick(t, roleDenied)
	step := must(t)(w.Refused(s.ID))
	if len(step.Messages) < 9 || step.Next == nil {
		t.Fatalf("%d messages", len(step.Messages))
	}
	if step = must(t)(step.Next()); len(step.Messages) != 1 || step.Next != nil {
		t.Errorf("the end is %+v", step)
	}
}

// With Once the end of a run points at what nothing has told of, and at nothing
// else.
func TestOnce(t *testing.T) {
	for _, once := range []bool{false, true} {
		w := small(t)
		w.cfg.Once = once
		l := listen(w)
		var quiet, told *account
		for _, a := range w.accounts {
			if a.Drifted && quiet != nil && a.User != quiet.User {
				told = a
			} else if a.Drifted && quiet == nil {
				quiet = a
			}
		}
		must(t)(w.Login(told.User))
		renewed := w.pick(t, roleFree)
		must(t)(w.RenewSubscription(renewed.ID))
		step, err := (&run{w: w}).announcements()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range step.Messages {
			_ = l.emit(m)
		}
		if l.saw[quiet.ID] == "" {
			t.Errorf("once %v: nothing points at the account that differs", once)
		}
		if (l.saw[told.ID] == "") != once || (l.saw[renewed.ID] == "") != once {
			t.Errorf("once %v: what was told of already is pointed at: account %v, subscription %v", once, l.saw[told.ID] != "", l.saw[renewed.ID] != "")
		}
	}
}
