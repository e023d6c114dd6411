package login

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
)

const redacted = "[redacted]"

// redact returns a message in which no token can be used any more (Invariant
// 8): of a signed token the signature goes, and its claims stay for whoever has
// to find out what was wrong; any other token goes entirely. It returns nil
// when there was nothing to take out. What is not JSON is searched as text.
func redact(b []byte, token string) []byte {
	out, rest := redactJSON(b, token)
	out = append(out, redactText(rest)...)
	if bytes.Equal(out, b) {
		return nil
	}
	return out
}

// redactJSON copies b and replaces the strings that are or hold tokens. It
// stops at what is not JSON and returns that as the rest.
func redactJSON(b []byte, token string) (out, rest []byte) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var stack []place
	done := 0 // how much of b is copied
	for {
		tok, err := dec.Token()
		if err != nil {
			return out, b[done:]
		}
		end := int(dec.InputOffset())
		text := b[done:end]
		done = end
		var top *place
		if n := len(stack); n > 0 {
			top = &stack[n-1]
		}
		switch v := tok.(type) {
		case json.Delim:
			if v == '}' || v == ']' {
				stack = stack[:len(stack)-1]
				break
			}
			inner := place{object: v == '{'}
			if top != nil {
				inner.secret = top.isSecret()
				top.value()
			}
			stack = append(stack, inner)
		case string:
			var clean string
			switch {
			case top == nil:
				clean = redactString("", false, v, token)
			case top.object && !top.inValue:
				clean = string(redactText([]byte(v)))
				top.key, top.inValue = v, true
			default:
				clean = redactString(top.key, top.isSecret(), v, token)
				top.value()
			}
			if clean != v {
				text = requote(text, clean)
			}
		default:
			if top != nil {
				top.value()
			}
		}
		out = append(out, text...)
	}
}

// place is where in a JSON text the scanner stands.
type place struct {
	object  bool
	inValue bool // a value comes next, not a key
	key     string
	secret  bool // it stands under the name of a token
}

// isSecret reports whether the value that comes next is a token by its name.
func (p *place) isSecret() bool {
	return p.secret || strings.Contains(strings.ToLower(p.key), "token")
}

// value notes that a value was read.
func (p *place) value() {
	if p.object {
		p.inValue, p.key = false, ""
	}
}

// requote replaces the string at the end of text, which may begin with spaces
// and a colon or comma.
func requote(text []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		quoted = []byte(`"` + redacted + `"`)
	}
	start := bytes.IndexByte(text, '"')
	return append(bytes.Clone(text[:start]), quoted...)
}

// redactString returns the value of a key without what makes a token usable.
func redactString(key string, secret bool, v, token string) string {
	switch {
	case v == "":
		return v
	case secret, v == token:
		return withoutSignature(v)
	case key == "data_base64": // of a CloudEvent
		b, err := base64.StdEncoding.DecodeString(v)
		if err != nil {
			return redacted
		}
		if clean := redact(b, token); clean != nil {
			return base64.StdEncoding.EncodeToString(clean)
		}
		return v
	}
	return string(redactText([]byte(v)))
}

// withoutSignature keeps the first two parts of a token that has them.
func withoutSignature(token string) string {
	parts := strings.SplitN(token, ".", 3)
	if len(parts) < 3 {
		return redacted
	}
	return parts[0] + "." + parts[1] + "." + redacted
}

var (
	// signedToken is a JWT wherever it stands: its first part is the base64 of
	// something that begins with a brace.
	signedToken = regexp.MustCompile(`(e[w-z0-9_-][A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.)[A-Za-z0-9_.-]+`)
	// namedToken is a value behind a name that ends in token.
	namedToken = regexp.MustCompile(`(?i)(token\\*["']?\s*[:=]\s*\\*["']?)([^"'\\\s,&}]+)`)
	// longRun is anything that could be part of a token.
	longRun = regexp.MustCompile(`[A-Za-z0-9_+/=-]{32,}`)
)

// redactText takes tokens out of text that is not JSON.
func redactText(b []byte) []byte {
	out := signedToken.ReplaceAll(b, []byte("${1}"+redacted))
	out = namedToken.ReplaceAllFunc(out, func(m []byte) []byte {
		parts := namedToken.FindSubmatch(m)
		return append(bytes.Clone(parts[1]), withoutSignature(string(parts[2]))...)
	})
	// An escape could hide a dot from the patterns above.
	if bytes.Contains(out, []byte(`\u`)) {
		out = longRun.ReplaceAll(out, []byte(redacted))
	}
	return out
}
