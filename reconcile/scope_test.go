package reconcile

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hotsync/event"
	"hotsync/record"
)

// failer is what *testing.T and *rapid.T have in common here.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func scope(t failer, percentage float64, include []string, exclude ...string) *Scope {
	t.Helper()
	s, err := NewScope(ScopeConfig{Include: include, Exclude: exclude, Percentage: percentage})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const hexID = "2c92a0f96bd69165016bdcbf55ad5e62"

func TestScopeMistakes(t *testing.T) {
	for _, tt := range []struct {
		cfg  ScopeConfig
		want string
	}{
		{ScopeConfig{Include: []string{"account:A*", "plan:gold"}}, `include[1] "plan:gold": has no known kind; write key:PATTERN`},
		{ScopeConfig{Exclude: []string{"gold"}}, `exclude[0] "gold": has no known kind`},
		{ScopeConfig{Include: []string{"key:"}}, "has no pattern; write key:PATTERN, such as key:zuora:account:2c92*"},
		{ScopeConfig{Include: []string{"account:"}}, "has no pattern; write account:PATTERN"},
		{ScopeConfig{Include: []string{"metadata:migrated"}}, "names no value; write metadata:NAME=PATTERN, with the pattern * for any value"},
		{ScopeConfig{Include: []string{"metadata:=yes"}}, "names no value"},
		{ScopeConfig{Include: []string{"claim:cohort="}}, "names no value; write claim:NAME=PATTERN"},
		{ScopeConfig{Include: []string{"claim:co*=beta"}}, `has a pattern as the name "co*"; only the value may be one`},
		{ScopeConfig{Include: []string{"account: A-1"}}, "has a space before the pattern; take it away"},
		{ScopeConfig{Include: []string{" account:A-1"}}, "begins or ends with a space"},
		{ScopeConfig{Include: []string{"key:zuora:acount:2c92*"}}, "can match no key; keys begin with zuora:account:, zuora:lookup:"},
		{ScopeConfig{Include: []string{"key:2c92"}}, "can match no key"},
		{ScopeConfig{Include: []string{"key:zuora"}}, "can match no key"},
		{ScopeConfig{Include: []string{"key:zuora:account:"}}, "can match no key"},
		{ScopeConfig{Include: []string{"account:A", "account:A"}}, `include[1] "account:A": stands there twice`},
		{ScopeConfig{Include: []string{"account:A"}, Exclude: []string{"account:A"}}, "exclude wins"},
		{ScopeConfig{Percentage: -1}, "percentage -1: must be from 0"},
		{ScopeConfig{Percentage: 100.5}, "percentage 100.5"},
		{ScopeConfig{Percentage: math.NaN()}, "percentage NaN"},
	} {
		if _, err := NewScope(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %q", tt.cfg, err, tt.want)
		}
	}
	_, err := NewScope(ScopeConfig{Include: []string{"a"}, Exclude: []string{"b"}, Percentage: 101})
	if n := strings.Count(fmt.Sprint(err), "\n"); n != 2 {
		t.Errorf("%v: want all three mistakes at once", err)
	}
}

func TestScopePatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a/b:c", true}, {"?", "", false}, {"?", "ß", true}, {"a?", "a", false},
		{"A-*", "a-1", false}, {"A-*1", "A-1", true}, {"A-*1", "A-121", true}, {"A-*1", "A-12", false}, {"*a*b*", "xxaxxbxx", true},
		{"*a*b*", "xxbxxaxx", false}, {"[a]", "a", false}, {"[a]", "[a]", true}, {`a\*`, `a\b`, true}, {"**", "abc", true},
	} {
		if got := fits(tt.pattern, tt.text); got != tt.want {
			t.Errorf("fits(%q, %q) is %v", tt.pattern, tt.text, got)
		}
	}
}

// path.Match judges patterns of the same two wildcards the same way.
func TestScopePatternsAgainstTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*?é]{0,8}`).Draw(t, "pattern")
		text := rapid.StringMatching(`[abé]{0,10}`).Draw(t, "text")
		want, err := path.Match(pattern, text)
		if got := fits(pattern, text); err != nil || got != want {
			t.Fatalf("fits(%q, %q) is %v, want %v", pattern, text, got, want)
		}
	})
}

func TestScopeSteps(t *testing.T) {
	account, sub := record.ZuoraAccount(hexID), record.StripeSubscription("sub_1")
	none := func(string) []string { return nil }
	claims := func(name string) []string { return map[string][]string{"cohort": {"x", "beta"}}[name] }
	const beta = "claim:cohort=beta"
	for name, tt := range map[string]struct {
		include, exclude []string
		claims           func(string) []string
		key              record.Key
		source           Source
		wantLogin        bool // a login is followed
		wantKey          bool // a key is looked at
		want             bool // a record is in scope
	}{
		"no rules":                 {nil, nil, none, account, Source{Key: account}, true, true, true},
		"key":                      {[]string{"key:zuora:account:2c92*"}, nil, none, account, Source{Key: account}, true, true, true},
		"another key":              {[]string{"key:stripe:*"}, nil, none, account, Source{Key: account}, true, false, false},
		"account by id":            {[]string{"account:2c92*"}, nil, none, account, Source{Key: account, Account: "A-1"}, true, true, true},
		"account by number":        {[]string{"account:A-1"}, nil, none, account, Source{Key: account, Account: "A-1"}, true, true, true},
		"another account":          {[]string{"account:A-2"}, nil, none, account, Source{Key: account, Account: "A-1"}, true, true, false},
		"Stripe has no accounts":   {[]string{"account:*"}, nil, none, sub, Source{Key: sub}, true, false, false},
		"metadata":                 {[]string{"metadata:m=y*"}, nil, none, sub, Source{Key: sub, Metadata: map[string]string{"m": "yes"}}, true, true, true},
		"other metadata":           {[]string{"metadata:m=y*"}, nil, none, sub, Source{Key: sub, Metadata: map[string]string{"m": "no"}}, true, true, false},
		"absent metadata":          {[]string{"metadata:m=*"}, nil, none, sub, Source{Key: sub}, true, true, false},
		"Zuora has no metadata":    {[]string{"metadata:m=*"}, nil, none, account, Source{Key: account}, true, false, false},
		"exclude wins":             {[]string{"account:*"}, []string{"account:A-1"}, none, account, Source{Key: account, Account: "A-1"}, true, true, false},
		"exclude by key":           {nil, []string{"key:zuora:account:2c92*"}, none, account, Source{Key: account}, true, false, false},
		"exclude another":          {nil, []string{"account:A-2"}, none, account, Source{Key: account, Account: "A-1"}, true, true, true},
		"claim":                    {[]string{beta}, nil, claims, account, Source{Key: account, Claim: beta}, true, false, true},
		"another claim":            {[]string{beta}, nil, none, account, Source{Key: account}, false, false, false},
		"claim or account":         {[]string{beta, "account:A-1"}, nil, none, account, Source{Key: account, Account: "A-1"}, true, true, true},
		"a rule that is gone":      {[]string{"claim:cohort=x"}, nil, claims, account, Source{Key: account, Claim: beta}, true, false, false},
		"exclude by claim":         {nil, []string{beta}, claims, account, Source{Key: account}, false, true, true},
		"a lookup leads elsewhere": {[]string{"account:A-1"}, nil, none, record.ZuoraLookup("F__c", "A-1"), Source{Key: account, Account: "A-1"}, true, true, true},
		"a lookup may be excluded": {nil, []string{"key:zuora:lookup:F__c=*"}, none, record.ZuoraLookup("F__c", "A-1"), Source{Key: account}, true, false, true},
		"a customer leads":         {[]string{"key:stripe:subscription:sub_1"}, nil, none, record.StripeCustomer("cus_1"), Source{Key: sub}, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := scope(t, 100, tt.include, tt.exclude...)
			if in, why := s.Claims(tt.claims); in != tt.wantLogin || (!in && why == "") {
				t.Errorf("login: %v %q", in, why)
			}
			if v := s.Key(tt.key, ""); v.Out == tt.wantKey || v.Out != (v.Note != "") {
				t.Errorf("key: %+v", v)
			}
			if v := s.Source(tt.source); v.Out == tt.want || v.Out != (v.Note != "") {
				t.Errorf("source: %+v", v)
			}
		})
	}
}

func TestScopeNames(t *testing.T) {
	s := scope(t, 100, []string{"claim:cohort=beta", "account:A-1"}, "metadata:hold=yes")
	if _, why := s.Claims(func(string) []string { return []string{"beta"} }); why != "claim:cohort=beta" {
		t.Errorf("let in by %q", why)
	}
	v := s.Source(Source{Key: record.StripeSubscription("sub_1"), Metadata: map[string]string{"hold": "yes"}})
	if v.Note != "kept out of scope by the exclude rule metadata:hold=yes" {
		t.Errorf("note %q", v.Note)
	}
	v = s.Source(Source{Key: record.ZuoraAccount(hexID), Account: "A-2"})
	if v.Note != "not in scope: it meets none of the include rules claim:cohort=beta, account:A-1" {
		t.Errorf("note %q", v.Note)
	}
}

// The draw is a promise to records that are in: it never changes.
func TestScopeShareIsFixed(t *testing.T) {
	for key, want := range map[string]string{
		"zuora:account:" + hexID:                  "0.850999412541",
		"stripe:subscription:sub_1MowQVLkdIwHu7i": "0.165879720552",
	} {
		k, err := record.ParseKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%.12f", share(k)); got != want {
			t.Errorf("%s is drawn at %s, want %s", key, got, want)
		}
	}
}

func TestScopePercentage(t *testing.T) {
	keys := make([]record.Key, 5000)
	for i := range keys {
		keys[i] = record.ZuoraAccount(fmt.Sprintf("2c92a0f9%024x", i))
	}
	in := func(p float64, k record.Key) bool { return !scope(t, p, nil).Key(k, "").Out }
	for _, p := range []float64{0, 0.5, 10, 33.3, 50, 99.9, 100} {
		n := 0
		for _, k := range keys {
			if in(p, k) {
				n++
			}
		}
		if want := p / 100 * float64(len(keys)); math.Abs(float64(n)-want) > 4*math.Sqrt(want+1) {
			t.Errorf("%v %%: %d of %d are in", p, n, len(keys))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(keys).Draw(t, "key")
		small, large := rapid.Float64Range(0, 100).Draw(t, "p"), rapid.Float64Range(0, 100).Draw(t, "q")
		if small <= large && in(small, k) && !in(large, k) {
			t.Fatalf("%s was in at %v and is out at %v", k, small, large)
		}
		if v := scope(t, small, nil).Key(k, ""); v.Out {
			var at, from float64
			if _, err := fmt.Sscanf(v.Note, "not in scope: the percentage is %g, and this record is in from %g on", &at, &from); err != nil {
				t.Fatalf("note %q: %v", v.Note, err)
			}
			if !in(min(from, 100), k) || (from-0.02 > 0 && in(from-0.02, k)) {
				t.Fatalf("%s: the note says %v", k, from)
			}
		}
	})
}

// An account may be asked for by its number: it is drawn by its id, whoever
// asks.
func TestScopePercentageOfAnAccountByNumber(t *testing.T) {
	s := scope(t, 0, nil)
	if v := s.Key(record.ZuoraAccount("A-00001"), ""); v.Out {
		t.Errorf("%+v: its id is not known yet", v)
	}
	if v := s.Source(Source{Key: record.ZuoraAccount(hexID), Account: "A-00001"}); !v.Out {
		t.Error("nothing is in scope, but this is")
	}
	if v := s.Key(record.ZuoraLookup("F__c", "v"), ""); v.Out {
		t.Errorf("%+v: it only leads to accounts", v)
	}
}

func (w *world) scoped(s *Scope) { w.cfg.Scope = func() *Scope { return s } }

func TestOutOfScope(t *testing.T) {
	t.Run("by its key, before anything is read", func(t *testing.T) {
		w := newWorld()
		w.scoped(scope(t, 100, nil, "key:zuora:*"))
		v := w.handle(t, w.trigger(accountKey, event.CauseLogin, ""))
		ends(t, v, event.Skipped, event.ReasonOutOfScope)
		if w.zuora.reads != 0 || !strings.Contains(v.Event.Note, "key:zuora:*") {
			t.Errorf("%d reads, note %q", w.zuora.reads, v.Event.Note)
		}
		ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.Applied, event.ReasonDriftRepaired)
	})
	t.Run("by its number", func(t *testing.T) {
		w := newWorld()
		w.scoped(scope(t, 100, []string{"account:A-2"}))
		ends(t, w.handle(t, w.trigger(accountKey, event.CauseLogin, "")), event.Skipped, event.ReasonOutOfScope)
		if len(w.limio.writes) != 0 {
			t.Errorf("written: %v", w.limio.writes)
		}
	})
	t.Run("by its metadata, and in once that changes", func(t *testing.T) {
		w := newWorld()
		w.mark("m1", nil)
		w.scoped(scope(t, 100, []string{"metadata:migrated=yes"}))
		ends(t, w.handle(t, w.trigger(stripeKey, event.CauseAPI, "")), event.Skipped, event.ReasonOutOfScope)
		due := func(s *Scope) bool {
			_, due := Due(record.Glimpse{Key: stripeKey, Mark: "m1"}, w.memory[stripeKey].Within(s), w.now, 7*24*time.Hour)
			return due
		}
		if due(scope(t, 100, []string{"metadata:migrated=yes"})) {
			t.Error("every sweep reads it to find it out of scope")
		}
		if !due(scope(t, 100, []string{"metadata:migrated=yes", "metadata:plan=*"})) || !due(nil) {
			t.Error("a sweep would miss it when the scope grows")
		}
		w.mark("m2", func(s *record.Subscription) { s.Metadata["migrated"] = "yes" })
		ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.Applied, event.ReasonDriftRepaired)
	})
	t.Run("a percentage of nothing", func(t *testing.T) {
		w := newWorld()
		w.scoped(scope(t, 0, nil))
		ends(t, w.handle(t, w.trigger(stripeKey, event.CauseStripe, "")), event.Skipped, event.ReasonOutOfScope)
		ends(t, w.handle(t, w.trigger(accountKey, event.CauseLogin, "")), event.Skipped, event.ReasonOutOfScope)
	})
}

// A record that a login's claims let in stays in for looks that know none, as
// long as the rule is there.
func TestScopeRemembersALogin(t *testing.T) {
	w := newWorld()
	w.scoped(scope(t, 100, []string{"claim:cohort=beta"}))
	ends(t, w.handle(t, w.trigger(accountKey, event.CauseSweep, "")), event.Skipped, event.ReasonOutOfScope)

	lookup := w.trigger(record.ZuoraLookup("Ext__c", "u1"), event.CauseLogin, "")
	lookup.Scope = "claim:cohort=beta"
	v := w.handle(t, w.trigger(lookup.Key, event.CauseLogin, ""), lookup)
	ends(t, v, event.Skipped, event.ReasonFannedOut)
	if i := slices.IndexFunc(v.Now, func(tr event.Trigger) bool { return tr.Scope == "claim:cohort=beta" }); i < 0 {
		t.Fatalf("the rule is not passed on: %+v", v.Now)
	}
	ends(t, w.handle(t, v.Now[0]), event.Applied, event.ReasonCreated)
	ends(t, w.handle(t, w.trigger(accountKey, event.CauseSweep, "")), event.InSync, event.ReasonFingerprint)

	w.scoped(scope(t, 100, []string{"claim:cohort=gamma"}))
	ends(t, w.handle(t, w.trigger(accountKey, event.CauseSweep, "")), event.Skipped, event.ReasonOutOfScope)
}
