package zuora_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hotsync/connectors/zuora"
	"hotsync/internal/fault"
	"hotsync/internal/secret"
	"hotsync/sandbox/httpsim"
	sim "hotsync/sandbox/zuora"
)

func date(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

func fixed(hours int) *time.Location { return time.FixedZone("tenant", hours*3600) }

const field = "LimioExternalId__c"

// TestLookup runs the 1:1 rule (hot-sync.txt, option B) through both ways to
// look up and both methods.
func TestLookup(t *testing.T) {
	accounts := map[string]string{
		"lower": "abc", "upper": "ABC", "twin1": "twin", "twin2": "twin", "variant": "OnlyUpper", "without": "",
		"odd": `o'brien "x" \ y`, "colon": "auth0|77:1,2[3]", "umlaut": "zoë", "spaces": " padded ",
	}
	for _, lookup := range []string{zuora.LookupObjectQuery, zuora.LookupZOQL} {
		w := newWorld(t, sim.Config{}, func(c *zuora.Config) { c.Lookup = lookup })
		for id, external := range accounts {
			w.account(id, external)
		}
		for value, want := range map[string]string{
			"abc": "lower", "ABC": "upper", `o'brien "x" \ y`: "odd", "auth0|77:1,2[3]": "colon", "zoë": "umlaut", " padded ": "spaces",
		} {
			w.ResetCalls()
			got, err := w.Find(t.Context(), field, value)
			class(t, err, "")
			if got != want {
				t.Errorf("%s: %q found %q, want %q", lookup, value, got, want)
			}
			if lookup == zuora.LookupObjectQuery {
				w.calls(map[string]int{callAccounts: 1})
			} else {
				w.calls(map[string]int{callZOQL: 1})
			}
			acc, err := w.AccountBy(t.Context(), field, value)
			class(t, err, "")
			if acc.ID != want {
				t.Errorf("%s: %q read %q, want %q", lookup, value, acc.ID, want)
			}
			if lookup == zuora.LookupObjectQuery {
				w.calls(map[string]int{callAccounts: 1, callSubs: 1})
			} else {
				w.calls(map[string]int{callZOQL: 1, callAccount: 1, callSubs: 1})
			}
		}
		for value, want := range map[string]fault.Class{
			"onlyupper": fault.NotFound, "nobody": fault.NotFound, "padded": fault.NotFound, "twin": fault.Ambiguous,
		} {
			_, err := w.AccountBy(t.Context(), field, value)
			class(t, err, want)
			_, err = w.Find(t.Context(), field, value)
			class(t, err, want)
			if want == fault.Ambiguous && (!strings.Contains(err.Error(), "twin1") || !strings.Contains(err.Error(), "twin2")) {
				t.Errorf("the accounts are not named in: %v", err)
			}
		}
		w.ResetCalls()
		for _, value := range []string{"", "  ", "null", "NULL", "Null", " null ", "\x02\x03", "a\nb", "a\x00", "\xff", strings.Repeat("x", 256)} {
			_, err := w.AccountBy(t.Context(), field, value)
			class(t, err, fault.NotFound)
			_, err = w.Find(t.Context(), field, value)
			class(t, err, fault.NotFound)
		}
		for _, name := range []string{"", "A.B", "x' or Id != '", "Feld mit Platz"} {
			_, err := w.Find(t.Context(), name, "abc")
			class(t, err, fault.Refused)
		}
		w.calls(map[string]int{})
	}
}

func TestLookupOfAFieldThatIsNotIndexed(t *testing.T) {
	w := newWorld(t, sim.Config{})
	must(t)(w.AddAccount(sim.Account{ID: "acc", CustomFields: map[string]any{"Legacy__c": "x"}}))
	_, err := w.Find(t.Context(), "Legacy__c", "x")
	class(t, err, fault.Refused)
	z := newWorld(t, sim.Config{}, func(c *zuora.Config) { c.Lookup = zuora.LookupZOQL })
	must(t)(z.AddAccount(sim.Account{ID: "acc", CustomFields: map[string]any{"Legacy__c": "x"}}))
	got, err := z.Find(t.Context(), "Legacy__c", "x")
	class(t, err, "")
	if got != "acc" {
		t.Errorf("found %q, want acc", got)
	}
}

// TestLookupReadsOn: 120 case variants do not hide the exact account behind a
// full page.
func TestLookupReadsOn(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.account("exact", "abcdefgh")
	for i := range 120 {
		w.clock.Advance(time.Second)
		variant := []byte("abcdefgh")
		for bit := range 8 {
			if (i+1)>>bit&1 == 1 {
				variant[bit] -= 'a' - 'A'
			}
		}
		w.account(fmt.Sprintf("variant%d", i), string(variant))
	}
	got, err := w.Find(t.Context(), field, "abcdefgh")
	class(t, err, "")
	if got != "exact" {
		t.Errorf("found %q, want exact", got)
	}
	w.calls(map[string]int{callAccounts: 2})
}

func TestLookupWithoutTheField(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.Inject(httpsim.Fault{Route: callAccounts, Status: 200, Body: `{"data":[{"id":"acc"}]}`})
	_, err := w.Find(t.Context(), field, "x")
	class(t, err, fault.Refused)
}

func TestLookupWithoutEnd(t *testing.T) {
	w := newWorld(t, sim.Config{})
	w.Inject(httpsim.Fault{Route: callAccounts, Status: 200, Body: `{"data":[{"id":"acc","limioExternalId__c":"y"}],"nextPage":"abc"}`})
	_, err := w.Find(t.Context(), field, "x")
	class(t, err, fault.Unavailable)
}

func TestZOQLPages(t *testing.T) {
	w := newWorld(t, sim.Config{}, func(c *zuora.Config) { c.Lookup = zuora.LookupZOQL })
	w.Inject(httpsim.Fault{Route: callZOQL, Status: 200, Body: `{"size":2,"done":false,"queryLocator":"L1","records":[{"Id":"one","LimioExternalId__c":"x"}]}`})
	w.Inject(httpsim.Fault{Route: callZOQLMore, Status: 200, Body: `{"size":2,"done":true,"records":[{"Id":"two","LimioExternalId__c":"x"}]}`})
	_, err := w.Find(t.Context(), field, "x")
	class(t, err, fault.Ambiguous)
	w.calls(map[string]int{callZOQL: 1, callZOQLMore: 1})
}

func TestZOQLFaults(t *testing.T) {
	for code, want := range map[string]fault.Class{
		"lock": fault.Locked, "internal": fault.Unavailable, "temporary": fault.Unavailable, "rate_limit": fault.RateLimited,
		"forbidden": fault.Forbidden, "session": fault.Forbidden, "integration": fault.Unavailable, "timeout": fault.Unavailable,
	} {
		w := newWorld(t, sim.Config{}, func(c *zuora.Config) { c.Lookup = zuora.LookupZOQL })
		w.Inject(httpsim.Fault{Route: callZOQL, Code: code})
		_, err := w.Find(t.Context(), field, "x")
		class(t, err, want)
	}
	w := newWorld(t, sim.Config{}, func(c *zuora.Config) { c.Lookup = zuora.LookupZOQL })
	_, err := w.Find(t.Context(), "Nowhere__c", "x")
	class(t, err, fault.Refused)
}

func TestHeaders(t *testing.T) {
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oauth/token" {
			if r.Header.Get("Authorization") != "" {
				t.Error("the token call has an Authorization header")
			}
			_, _ = rw.Write([]byte(`{"access_token":"t","expires_in":"3600"}`))
			return
		}
		got = r.Header.Clone()
		_, _ = rw.Write([]byte(`{"data":[]}`))
	}))
	defer server.Close()
	w := newWorld(t, sim.Config{})
	c := w.client(zuora.Config{BaseURL: server.URL, ClientID: "c", ClientSecret: secret.New("s"), EntityID: "e1", OrgIDs: "o1,o2", Build: "1.2"})
	_, err := c.Find(t.Context(), field, "x")
	class(t, err, fault.NotFound)
	for name, want := range map[string]string{
		"Authorization": "Bearer t", "Zuora-Version": "2025-08-12", "Zuora-Entity-Ids": "e1", "Zuora-Org-Ids": "o1,o2",
		"User-Agent": "hotsync/1.2", "Accept-Encoding": "gzip",
	} {
		if got.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Get(name), want)
		}
	}
	if track := got.Get("Zuora-Track-Id"); len(track) < 20 || len(track) > 64 || strings.ContainsAny(track, `:;"'`) {
		t.Errorf("track id %q", track)
	}
}
