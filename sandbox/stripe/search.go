package stripe

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

// clause is one condition of a search query: status:'active',
// -metadata['k']:null, created>123.
type clause struct {
	negated bool
	field   string
	key     string // of metadata
	op      string // : ~ > >= < <=
	value   string
	null    bool
}

func badSearch(query string) *apiError {
	return invalid("", "query", "We were unable to parse your search query. Try using the format `metadata[\"key\"]:\"value\"` "+
		"to query for metadata or key:\"value\" to query for other fields. (query: %s)", query)
}

// parseSearch reads clauses joined by AND or by OR, not both, as Stripe has it.
func parseSearch(query string) (clauses []clause, or bool, e *apiError) {
	rest, joiner := strings.TrimSpace(query), ""
	for {
		c, after, ok := parseClause(rest)
		if !ok {
			return nil, false, badSearch(query)
		}
		clauses = append(clauses, c)
		rest = strings.TrimSpace(after)
		if rest == "" {
			return clauses, joiner == "OR", nil
		}
		word, after, _ := strings.Cut(rest, " ")
		word = strings.ToUpper(word)
		switch {
		case word != "AND" && word != "OR":
			word, after = "AND", rest // a space alone means AND
		case joiner != "" && joiner != word:
			return nil, false, invalid("", "query", "You cannot combine AND and OR in the same search query.")
		}
		joiner, rest = word, strings.TrimSpace(after)
	}
}

func parseClause(s string) (c clause, rest string, ok bool) {
	if after, neg := strings.CutPrefix(s, "-"); neg {
		c.negated, s = true, after
	}
	end := strings.IndexAny(s, "[:~<> ")
	if end <= 0 {
		return c, "", false
	}
	c.field, s = s[:end], s[end:]
	if after, isKey := strings.CutPrefix(s, "["); isKey {
		if c.key, s, ok = quoted(after); !ok || !strings.HasPrefix(s, "]") {
			return c, "", false
		}
		s = s[1:]
	}
	if (c.field == "metadata") != (c.key != "") {
		return c, "", false
	}
	for _, op := range []string{">=", "<=", ">", "<", ":", "~"} {
		if after, has := strings.CutPrefix(s, op); has {
			c.op, s = op, after
			break
		}
	}
	if c.op == "" {
		return c, "", false
	}
	if v, after, isText := quoted(s); isText {
		c.value = v
		return c, after, true
	}
	if s != "" && (s[0] == '\'' || s[0] == '"') {
		return c, "", false // a quote that does not end
	}
	word, after, _ := strings.Cut(s, " ")
	c.value, c.null = word, word == "null"
	return c, after, word != ""
}

// quoted reads a string in single or double quotes; a backslash escapes.
func quoted(s string) (value, rest string, ok bool) {
	if s == "" || (s[0] != '\'' && s[0] != '"') {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == s[0]:
			return b.String(), s[i+1:], true
		default:
			b.WriteByte(s[i])
		}
	}
	return "", s, false
}

// match says whether a subscription fits a clause. Status and metadata know
// equality (metadata also ~ for a part), created knows order.
func (c clause) match(sub *subscription) (bool, *apiError) {
	var fits bool
	switch c.field {
	case "status":
		if c.op != ":" {
			return false, invalid("", "query", "Field `status` does not support the operator `%s`.", c.op)
		}
		fits = sub.Status == c.value
	case "metadata":
		v, has := sub.Metadata[c.key]
		switch {
		case c.null:
			fits = !has
		case c.op == ":":
			fits = has && strings.EqualFold(v, c.value)
		case c.op == "~" && len(c.value) >= 3:
			fits = strings.Contains(strings.ToLower(v), strings.ToLower(c.value))
		default:
			return false, invalid("", "query", "Field `metadata` does not support the operator `%s` with this value.", c.op)
		}
	case "created":
		n, err := strconv.ParseInt(c.value, 10, 64)
		if err != nil {
			return false, invalid("", "query", "Field `created` needs a number, not `%s`.", c.value)
		}
		at := sub.Created.Unix()
		fits = map[string]bool{":": at == n, ">": at > n, ">=": at >= n, "<": at < n, "<=": at <= n}[c.op]
	default:
		return false, invalid("", "query", "Field `%s` is an unsupported search field for resource `subscriptions`.", c.field)
	}
	return fits != c.negated, nil
}

// searchSubscriptions answers /v1/subscriptions/search.
func (s *Server) searchSubscriptions(c *call) (obj, *apiError) {
	if c.query.text("query") == "" {
		return nil, invalid("parameter_missing", "query", "Missing required param: query.")
	}
	clauses, or, e := parseSearch(c.query.text("query"))
	if e != nil {
		return nil, e
	}
	q := c.query.page()
	if token := c.query.text("page"); token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if q.startingAfter = string(raw); err != nil || s.subs[q.startingAfter] == nil {
			return nil, invalid("", "page", "Invalid page token: %s", token)
		}
	}
	var bad *apiError
	cutoff := s.now().Add(-s.cfg.SearchLag)
	found, more, e := s.subList.page(q, "subscription", func(sub *subscription) bool {
		if s.cfg.SearchLag > 0 && sub.Created.After(cutoff) {
			return false
		}
		matches := func(c clause) bool {
			ok, e := c.match(sub)
			if e != nil {
				bad = e
			}
			return ok
		}
		if or {
			return slices.ContainsFunc(clauses, matches)
		}
		return !slices.ContainsFunc(clauses, func(c clause) bool { return !matches(c) })
	})
	if bad != nil {
		e = bad
	}
	if e != nil {
		return nil, e
	}
	out := listJSON("/v1/subscriptions/search", s.renderAll(found), more)
	out["object"], out["next_page"] = "search_result", nil
	if more {
		out["next_page"] = base64.RawURLEncoding.EncodeToString([]byte(found[len(found)-1].ID))
	}
	return out, nil
}

func (s *Server) renderAll(subs []*subscription) []any {
	out := []any{}
	for _, sub := range subs {
		out = append(out, s.subscriptionJSON(sub))
	}
	return out
}
