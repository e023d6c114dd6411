package zuora_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hotsync/sandbox/zuora"
)

// receiver is what a callout goes to: it answers with the statuses it is
// given, in turn, then with 200.
type receiver struct {
	mu        sync.Mutex
	challenge bool
	statuses  []int
	requests  []received
}

type received struct {
	notification, request, user string
	body                        map[string]string
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	raw, _ := io.ReadAll(r.Body)
	got := received{notification: r.Header.Get("Zuora-Notification-Id"), request: r.Header.Get("Zuora-Request-Id")}
	_ = json.Unmarshal(raw, &got.body)
	user, password, ok := r.BasicAuth()
	if ok {
		got.user = user + ":" + password
	}
	rc.requests = append(rc.requests, got)
	if rc.challenge && !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="hotsync"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	status := http.StatusOK
	if len(rc.statuses) > 0 {
		status, rc.statuses = rc.statuses[0], rc.statuses[1:]
	}
	if status == http.StatusFound {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(status)
}

func listen(t *testing.T, te *tenant, rc *receiver, target zuora.CalloutTarget) {
	srv := httptest.NewServer(rc)
	t.Cleanup(srv.Close)
	target.URL = srv.URL
	te.SetCallouts(target)
}

func (te *tenant) deliver() int {
	te.t.Helper()
	return must(te.DeliverCallouts(te.t.Context()))
}

func TestCalloutsTellAboutChanges(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	card := must(te.AddPaymentMethod(a.ID, zuora.PaymentMethod{Type: "CreditCard"}))
	other := must(te.AddPaymentMethod(a.ID, zuora.PaymentMethod{Type: "CreditCard"}))
	rc := &receiver{}
	listen(t, te, rc, zuora.CalloutTarget{})

	sub := te.subscribe(a.ID)
	edit := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	edit(te.UpdateAccount(a.ID, func(a *zuora.Account) { a.Name = "New" }))
	edit(te.UpdateAccount(a.ID, func(a *zuora.Account) { a.Name = "New" })) // no change
	edit(te.UpdateAccount(a.ID, func(a *zuora.Account) { a.BillTo.City = "Galway" }))
	edit(te.SetDefaultPaymentMethod(a.ID, card.ID))
	edit(te.UpdatePaymentMethod(card.ID, func(p *zuora.PaymentMethod) { p.ExpYear = 2031 }))
	edit(te.UpdatePaymentMethod(other.ID, func(p *zuora.PaymentMethod) { p.ExpYear = 2031 })) // not the default
	if len(rc.requests) != 0 {
		t.Fatal("something was sent before DeliverCallouts")
	}
	if n := te.deliver(); n != 5 {
		t.Fatalf("%d delivered", n)
	}
	got := map[string]int{}
	for _, r := range rc.requests {
		got[r.body["event"]+" "+r.body["accountId"]+" "+r.body["subscriptionNumber"]]++
	}
	want := map[string]int{
		"OrderProcessed " + a.ID + " " + sub.Number: 1, "AccountEdited " + a.ID + " ": 2, "ContactEdited " + a.ID + " ": 1, "PaymentMethodUpdated " + a.ID + " ": 1,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n := te.deliver(); n != 0 {
		t.Errorf("%d delivered twice", n)
	}
}

func TestCalloutBasicAuthenticationWaitsForTheChallenge(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	rc := &receiver{challenge: true}
	listen(t, te, rc, zuora.CalloutTarget{Username: "zuora", Password: "pw"})
	te.subscribe(a.ID)
	if n := te.deliver(); n != 1 {
		t.Fatalf("%d delivered", n)
	}
	if len(rc.requests) != 2 || rc.requests[0].user != "" || rc.requests[1].user != "zuora:pw" {
		t.Fatalf("%+v", rc.requests)
	}
	if c := te.Callouts()[0]; c.Attempts != 1 {
		t.Errorf("the challenge counted as an attempt: %+v", c)
	}
}

func TestCalloutRetries(t *testing.T) {
	for status, again := range map[int]bool{
		403: true, 408: true, 429: true, 500: true, 503: true,
		201: false, 202: false, 204: false, 302: false, 400: false, 401: false, 404: false, 410: false,
	} {
		te := open(t, zuora.Config{})
		a := te.account(zuora.Account{})
		rc := &receiver{statuses: []int{status}}
		listen(t, te, rc, zuora.CalloutTarget{})
		te.subscribe(a.ID)
		if n := te.deliver(); n != 0 {
			t.Errorf("%d counted as delivered", status)
		}
		te.clock.Advance(29 * time.Minute)
		te.deliver()
		if len(rc.requests) != 1 {
			t.Errorf("%d: retried before its time, or a redirect was followed", status)
		}
		te.clock.Advance(time.Minute)
		te.deliver()
		want := 1
		if again {
			want = 2
		}
		if len(rc.requests) != want {
			t.Fatalf("%d: %d requests, want %d", status, len(rc.requests), want)
		}
		if again && (rc.requests[0].notification != rc.requests[1].notification || rc.requests[0].request == rc.requests[1].request) {
			t.Errorf("%d: ids of the attempts: %+v", status, rc.requests)
		}
		if c := te.Callouts()[0]; !c.Done || c.Delivered != again {
			t.Errorf("%d: %+v", status, c)
		}
	}
}

func TestCalloutsAreGivenUp(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close() // nobody listens
	te.SetCallouts(zuora.CalloutTarget{URL: srv.URL})
	te.subscribe(a.ID)
	for range 5 {
		te.deliver()
		te.clock.Advance(30 * time.Minute)
	}
	if c := te.Callouts()[0]; c.Attempts != 3 || !c.Done || c.Delivered || c.LastStatus != 0 {
		t.Errorf("%+v", c)
	}
}

func TestCalloutsStopWithTheContext(t *testing.T) {
	te := open(t, zuora.Config{})
	a := te.account(zuora.Account{})
	listen(t, te, &receiver{}, zuora.CalloutTarget{})
	te.subscribe(a.ID)
	ctx, cancel := contextOf(t)
	cancel()
	if _, err := te.DeliverCallouts(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if c := te.Callouts()[0]; c.Attempts != 0 || c.Done {
		t.Errorf("%+v", c)
	}
}
