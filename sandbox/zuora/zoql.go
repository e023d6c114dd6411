package zuora

import (
	"strings"
	"unicode"
)

// statement is a parsed ZOQL query: select … from … [where …], conditions
// joined by "and" and "or", of which "and" binds tighter.
type statement struct {
	fields []string
	object string
	where  [][]condition // alternatives of conjunctions
}

// condition compares a field with a literal.
type condition struct {
	field, op string
	value     literal
}

// literal is a value in a query. quoted tells 'true' from true.
type literal struct {
	text   string
	quoted bool
}

// maxConditions is how many conditions a query may have.
const maxConditions = 200

type tokenKind int

const (
	word tokenKind = iota
	str
	operator
	comma
	end
)

type lexeme struct {
	kind tokenKind
	text string
}

func badZOQL(why string) error {
	return &fail{category: malformed, resource: 500200, message: "MALFORMED_QUERY: You have an error in your ZOQL syntax: " + why + "."}
}

// parseZOQL parses the documented subset: no joins, no "in", no "order by", no
// "*", no parentheses.
func parseZOQL(query string) (statement, error) {
	lexemes, err := scan(query)
	if err != nil {
		return statement{}, err
	}
	p := &zoqlParser{rest: lexemes}
	return p.statement()
}

// scan cuts a query into lexemes and resolves the escapes of strings.
func scan(query string) ([]lexeme, error) {
	var out []lexeme
	rs := []rune(query)
	for i := 0; i < len(rs); {
		switch r := rs[i]; {
		case unicode.IsSpace(r):
			i++
		case r == ',':
			out = append(out, lexeme{comma, ","})
			i++
		case r == '\'':
			text, n, err := scanString(rs[i+1:])
			if err != nil {
				return nil, err
			}
			out = append(out, lexeme{str, text})
			i += 1 + n
		case strings.ContainsRune("=!<>", r):
			op := string(r)
			if i+1 < len(rs) && rs[i+1] == '=' && r != '=' {
				op += "="
			}
			if op == "!" {
				return nil, badZOQL("'!' is no operator")
			}
			out = append(out, lexeme{operator, op})
			i += len(op)
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '+':
			j := i
			for j < len(rs) && (unicode.IsLetter(rs[j]) || unicode.IsDigit(rs[j]) || strings.ContainsRune("_.:+-", rs[j])) {
				j++
			}
			out = append(out, lexeme{word, string(rs[i:j])})
			i = j
		default:
			return nil, badZOQL("unexpected '" + string(r) + "'")
		}
	}
	return append(out, lexeme{end, "end of query"}), nil
}

// scanString reads a string up to its closing quote and returns how many runes
// it took, the quote included.
func scanString(rs []rune) (text string, n int, err error) {
	var b strings.Builder
	for i := 0; i < len(rs); i++ {
		switch rs[i] {
		case '\'':
			return b.String(), i + 1, nil
		case '"':
			return "", 0, badZOQL("an unescaped '\"' in a string")
		case '\\':
			i++
			if i == len(rs) {
				break
			}
			at := strings.IndexRune(`\'"bfnrt`, rs[i])
			if at < 0 {
				return "", 0, badZOQL("unknown escape '\\" + string(rs[i]) + "'")
			}
			b.WriteByte("\\'\"\b\f\n\r\t"[at])
		default:
			b.WriteRune(rs[i])
		}
	}
	return "", 0, badZOQL("a string without its closing quote")
}

type zoqlParser struct{ rest []lexeme }

func (p *zoqlParser) take() lexeme {
	l := p.rest[0]
	if l.kind != end {
		p.rest = p.rest[1:]
	}
	return l
}

// keyword takes the next lexeme when it is that word.
func (p *zoqlParser) keyword(k string) bool {
	if l := p.rest[0]; l.kind == word && strings.EqualFold(l.text, k) {
		p.take()
		return true
	}
	return false
}

func (p *zoqlParser) name() (string, error) {
	l := p.take()
	if l.kind != word {
		return "", badZOQL("a name was expected, not " + l.text)
	}
	return l.text, nil
}

func (p *zoqlParser) statement() (st statement, err error) {
	if !p.keyword("select") {
		return st, badZOQL("'select' was expected, not " + p.rest[0].text)
	}
	for {
		name, err := p.name()
		if err != nil {
			return st, err
		}
		st.fields = append(st.fields, name)
		if p.rest[0].kind != comma {
			break
		}
		p.take()
	}
	if !p.keyword("from") {
		return st, badZOQL("'from' was expected, not " + p.rest[0].text)
	}
	if st.object, err = p.name(); err != nil {
		return st, err
	}
	if p.keyword("where") {
		if st.where, err = p.conditions(); err != nil {
			return st, err
		}
	}
	if l := p.take(); l.kind != end {
		return st, badZOQL("unexpected " + l.text)
	}
	return st, nil
}

func (p *zoqlParser) conditions() ([][]condition, error) {
	out := [][]condition{nil}
	for n := 1; ; n++ {
		if n > maxConditions {
			return nil, badZOQL("more than 200 conditions")
		}
		c, err := p.condition()
		if err != nil {
			return nil, err
		}
		out[len(out)-1] = append(out[len(out)-1], c)
		switch {
		case p.keyword("and"):
		case p.keyword("or"):
			out = append(out, nil)
		default:
			return out, nil
		}
	}
}

func (p *zoqlParser) condition() (c condition, err error) {
	if c.field, err = p.name(); err != nil {
		return c, err
	}
	op := p.take()
	if op.kind != operator {
		return c, badZOQL("an operator was expected, not " + op.text)
	}
	c.op = op.text
	v := p.take()
	if v.kind != word && v.kind != str {
		return c, badZOQL("a value was expected, not " + v.text)
	}
	c.value = literal{v.text, v.kind == str}
	return c, nil
}
