package reconcile

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"hotsync/event"
	"hotsync/record"
)

// ScopeConfig says which records hotsync takes care of, for a migration in
// stages.
//
// A rule is text, kind:pattern. In a pattern * stands for any text, also none,
// and ? for one character; everything else stands for itself, upper and lower
// case apart. The kinds:
//
//	key:zuora:account:2c92*         the key, as it is written everywhere
//	account:A-0001*                 the id or the number of a Zuora account
//	metadata:migrated=yes           metadata of a Stripe subscription
//	claim:cohort=beta               a claim of the login's ID token
type ScopeConfig struct {
	// Include lets in what meets one of its rules. Empty lets in everything.
	Include []string
	// Exclude keeps out what meets one of its rules, whatever else it meets.
	Exclude []string
	// Percentage is how much of what the rules let in is in, from 0 (nothing)
	// to 100 (all of it). The share is drawn by a SHA-256 of the record's key:
	// the account or the Stripe subscription itself, not what led to it. So it
	// does not depend on who asks, when, or on which instance, and a record
	// that is in stays in when the percentage grows.
	Percentage float64
}

// Scope judges records by a ScopeConfig. It is immutable and holds no state, so
// it may be replaced at any time. A nil Scope lets in everything.
//
// What a rule asks for becomes known in steps: the claims when a login is
// decoded, the key when it is looked at, account number and metadata when the
// billing side was read. Claims, Key and Source judge one step each, and keep a
// record out as soon as nothing that is still to come can let it in.
type Scope struct {
	include, exclude []scopeRule
	threshold        float64 // of share; above 1 for everything
}

// ScopeVerdict says whether a record is kept out, and by which rule.
type ScopeVerdict struct {
	Out  bool
	Note string // one sentence for a person; "" when the record is not kept out
}

// Source is what the billing side says of a record, as far as rules ask for it.
type Source struct {
	Key      record.Key // the record itself: a Zuora account by its id
	Account  string     // number of the Zuora account, "" for other records
	Metadata map[string]string
	// Claim is the rule that a login's claims met, now or at an earlier look.
	Claim string
}

// The kinds of rules.
const (
	scopeKey      = "key"
	scopeAccount  = "account"
	scopeMetadata = "metadata"
	scopeClaim    = "claim"
)

type scopeRule struct {
	text    string // as configured
	kind    string
	name    string // of metadata and claims
	pattern string
}

// NewScope returns a scope, or an error that joins all that is wrong with cfg
// and says of each rule where it stands and what to do.
func NewScope(cfg ScopeConfig) (*Scope, error) {
	var errs []error
	parse := func(list string, texts []string) (out []scopeRule) {
		for i, text := range texts {
			where := fmt.Sprintf("%s[%d] %q", list, i, text)
			rule, err := parseScopeRule(text)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", where, err))
				continue
			}
			if slices.Contains(out, rule) {
				errs = append(errs, fmt.Errorf("%s: stands there twice; take one out", where))
			}
			out = append(out, rule)
		}
		return out
	}
	s := &Scope{include: parse("include", cfg.Include), exclude: parse("exclude", cfg.Exclude)}
	for _, r := range s.include {
		if slices.Contains(s.exclude, r) {
			errs = append(errs, fmt.Errorf("include and exclude both have %q: exclude wins, so it lets nothing in; take one of them out", r.text))
		}
	}
	if p := cfg.Percentage; math.IsNaN(p) || p < 0 || p > 100 {
		errs = append(errs, fmt.Errorf("percentage %v: must be from 0 (nothing is in scope) to 100 (everything that the rules let in)", p))
	}
	s.threshold = cfg.Percentage / 100
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// scopeKinds are the beginnings that the keys of records and of what leads to
// them can have.
func scopeKinds() []string {
	return []string{"zuora:account:", "zuora:lookup:", "stripe:subscription:", "stripe:customer:", "limio:subscription:"}
}

func parseScopeRule(text string) (scopeRule, error) {
	kind, rest, ok := strings.Cut(text, ":")
	r := scopeRule{text: text, kind: kind, pattern: rest}
	switch {
	case strings.TrimSpace(text) != text:
		return r, errors.New("begins or ends with a space; take it away, or put ? or * in its place")
	case !ok || !slices.Contains([]string{scopeKey, scopeAccount, scopeMetadata, scopeClaim}, kind):
		return r, errors.New("has no known kind; write key:PATTERN, account:PATTERN, metadata:NAME=PATTERN or claim:NAME=PATTERN")
	case kind == scopeMetadata || kind == scopeClaim:
		if r.name, r.pattern, ok = strings.Cut(rest, "="); !ok || r.name == "" || r.pattern == "" {
			return r, fmt.Errorf("names no value; write %s:NAME=PATTERN, with the pattern * for any value", kind)
		}
		if strings.ContainsAny(r.name, "*?") {
			return r, fmt.Errorf("has a pattern as the name %q; only the value may be one", r.name)
		}
	case rest == "":
		return r, fmt.Errorf("has no pattern; write %s:PATTERN, such as %s", kind, map[string]string{scopeKey: "key:zuora:account:2c92*", scopeAccount: "account:A-0001*"}[kind])
	}
	if strings.HasPrefix(r.pattern, " ") {
		return r, errors.New("has a space before the pattern; take it away")
	}
	if kind == scopeKey && !canBeKey(r.pattern) {
		return r, fmt.Errorf("can match no key; keys begin with %s", strings.Join(scopeKinds(), ", "))
	}
	return r, nil
}

// canBeKey reports whether a pattern can match a key at all, as far as its text
// before the first wildcard tells.
func canBeKey(pattern string) bool {
	start, wild := pattern, false
	if i := strings.IndexAny(pattern, "*?"); i >= 0 {
		start, wild = pattern[:i], true
	}
	return slices.ContainsFunc(scopeKinds(), func(kind string) bool {
		return (wild && strings.HasPrefix(kind, start)) || (strings.HasPrefix(start, kind) && (wild || len(start) > len(kind)))
	})
}

// Claims judges a login by the claims of its ID token. values returns what a
// claim holds, as text, each element of a list by itself. With in, why is the
// rule that the claims met ("" when no rule asks for one) and belongs on the
// login's triggers (event.Trigger.Scope); else it is the sentence that says why
// not.
func (s *Scope) Claims(values func(name string) []string) (in bool, why string) {
	meets := func(r scopeRule) answer {
		if r.kind != scopeClaim {
			return ruleOpen
		}
		return answerOf(slices.ContainsFunc(values(r.name), r.matches))
	}
	rule, v := s.judge(meets)
	if v.Out {
		return false, v.Note
	}
	return true, rule
}

// Key judges a key before anything is read. What only leads to records (a
// lookup, a Stripe customer, a Limio subscription) is kept out by exclude rules
// only: the records behind it are judged by their own keys. claim is the rule
// that a login's claims met, if any.
func (s *Scope) Key(k record.Key, claim string) ScopeVerdict {
	leads := !isRecord(k)
	_, v := s.judge(func(r scopeRule) answer {
		met := false
		switch r.kind {
		case scopeKey:
			met = fits(r.pattern, k.String())
		case scopeAccount:
			met = k.System == "zuora" && !leads && fits(r.pattern, k.ID)
		case scopeClaim:
			met = r.text == claim
		}
		if !met && (leads || (r.kind == scopeAccount && k.System == "zuora") || (r.kind == scopeMetadata && k.System == "stripe")) {
			return ruleOpen
		}
		return answerOf(met)
	})
	if v.Out || leads || !named(k) {
		return v
	}
	return s.drawn(k)
}

// Source judges a record once the billing side was read: the last step, after
// which it is in or out.
func (s *Scope) Source(src Source) ScopeVerdict {
	_, v := s.judge(func(r scopeRule) answer {
		switch r.kind {
		case scopeKey:
			return answerOf(fits(r.pattern, src.Key.String()))
		case scopeAccount:
			return answerOf(src.Key.System == "zuora" && (fits(r.pattern, src.Key.ID) || (src.Account != "" && fits(r.pattern, src.Account))))
		case scopeMetadata:
			value, there := src.Metadata[r.name]
			return answerOf(there && fits(r.pattern, value))
		}
		return answerOf(r.text == src.Claim)
	})
	if v.Out {
		return v
	}
	return s.drawn(src.Key)
}

// inScope returns a *Nothing for a record that is out of scope: by its key, as
// long as nothing was read, else by what the billing side says of it. The latter
// costs a read, so it is remembered, with the scope that judged: sweeps leave the
// record alone until it or the scope changes.
func (s *sync) inScope(read *Source) error {
	var v ScopeVerdict
	if read == nil {
		s.memory.Scope = cmp.Or(s.job.scope(), s.memory.Scope)
		v = s.scope.Key(s.job.Key, s.memory.Scope)
	} else {
		read.Claim = s.memory.Scope
		v = s.scope.Source(*read)
	}
	if !v.Out {
		return nil
	}
	if read == nil {
		return skip(event.ReasonOutOfScope, v.Note)
	}
	return skipMarked(s.want.Mark, event.ReasonOutOfScope, v.Note)
}

// digest identifies the rules; a nil Scope has none.
func (s *Scope) digest() string {
	if s == nil {
		return ""
	}
	parts := []string{"scope", strconv.FormatFloat(s.threshold, 'g', -1, 64)}
	for _, rules := range [][]scopeRule{s.include, s.exclude} {
		parts = append(parts, "rules")
		for _, r := range rules {
			parts = append(parts, r.text)
		}
	}
	return event.Digest(parts...)
}

// Within returns m as far as it holds in a scope: what another one kept out is
// not known to be out of this one.
func (m Memory) Within(s *Scope) Memory {
	if m.OutOf != "" && m.OutOf != s.digest() {
		m.OutOf, m.Mark, m.Skipped = "", "", time.Time{}
	}
	return m
}

func (c Config) scope() *Scope {
	if c.Scope == nil {
		return nil
	}
	return c.Scope()
}

// answer says whether a rule is met, as far as is known.
type answer int

const (
	ruleOpen answer = iota // not known yet
	ruleUnmet
	ruleMet
)

func answerOf(met bool) answer {
	if met {
		return ruleMet
	}
	return ruleUnmet
}

// judge asks the rules. The rule returned is the include rule that was met.
func (s *Scope) judge(meets func(scopeRule) answer) (rule string, v ScopeVerdict) {
	if s == nil {
		return "", ScopeVerdict{}
	}
	for _, r := range s.exclude {
		if meets(r) == ruleMet {
			return "", ScopeVerdict{Out: true, Note: "kept out of scope by the exclude rule " + r.text}
		}
	}
	open := len(s.include) == 0
	for _, r := range s.include {
		switch meets(r) {
		case ruleMet:
			return r.text, ScopeVerdict{}
		case ruleOpen:
			open = true
		}
	}
	if open {
		return "", ScopeVerdict{}
	}
	return "", ScopeVerdict{Out: true, Note: "not in scope: it meets none of the include rules " + s.listed()}
}

// listed are the include rules for a note, the first five of them.
func (s *Scope) listed() string {
	var texts []string
	for i, r := range s.include {
		if i == 5 {
			texts = append(texts, fmt.Sprintf("and %d more", len(s.include)-i))
			break
		}
		texts = append(texts, r.text)
	}
	return strings.Join(texts, ", ")
}

// drawn judges by the percentage.
func (s *Scope) drawn(k record.Key) ScopeVerdict {
	if s == nil {
		return ScopeVerdict{}
	}
	at := share(k)
	if at < s.threshold {
		return ScopeVerdict{}
	}
	// Rounded up, so that the percentage that is named does let it in.
	from := math.Floor(at*1e4)/100 + 0.01
	return ScopeVerdict{Out: true, Note: fmt.Sprintf("not in scope: the percentage is %s, and this record is in from %.2f on",
		strconv.FormatFloat(s.threshold*100, 'f', -1, 64), from)}
}

// share places a key in [0, 1): the first 53 bits of the SHA-256 of the text
// "hotsync scope " and the written key, over 2 to the 53. It must never change:
// records would fall out of scope that were in.
func share(k record.Key) float64 {
	sum := sha256.Sum256([]byte("hotsync scope " + k.String()))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}

// isRecord reports whether k is a record itself, rather than something that
// leads to records.
func isRecord(k record.Key) bool {
	return k.Kind != "lookup" && k.Kind != "customer" && k.System != "limio"
}

// zuoraID is the length of a Zuora id: 32 hexadecimal digits.
const zuoraID = 32

// named reports whether k names its record by the one name it has everywhere.
// A Zuora account may also be named by its number: then only the account that
// is read tells the name by which the percentage is drawn.
func named(k record.Key) bool {
	return k.System != "zuora" || (len(k.ID) == zuoraID && !strings.ContainsFunc(k.ID, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F')
	}))
}

func (r scopeRule) matches(text string) bool { return fits(r.pattern, text) }

// fits reports whether text has the form of pattern, in which * stands for any
// text and ? for one character.
func fits(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	star, mark := -1, 0 // the last *, and how much of t it stands for
	i, j := 0, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j]):
			i++
			j++
		case star >= 0: // let the * stand for one more
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
