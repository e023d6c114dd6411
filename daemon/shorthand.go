package daemon

import (
	"bytes"
	"encoding/hex"
	"strings"
)

// Shorthand is JSON as it stays in memory, a third of its length: what every
// memory has in it is one byte, hexadecimal digits are half as long, and the
// key's own id, which a memory often repeats, is one byte too. It is exact: any
// bytes come back as they were, so it knows nothing of what they mean.
//
// JSON escapes control characters, so they are free to stand for other things.
// They stand for what no control character is part of, so what is replaced first
// does not matter to the reader.
const (
	asItIs  = '\x00' // first of all: what follows is no shorthand
	hexRun  = '\x01' // then half the number of digits, then their bytes
	ownID   = '\x02'
	phrase0 = '\x03' // the first of phrases
)

// phrases are what json.Marshal writes into nearly every memory. Longer ones
// come before those that they begin with.
func phrases() []string {
	return []string{
		`{"seq":`, `,"converged":"`, `","mode":"`, `","updated":"20`, `","mark":"`, `","looked":"20`, `","skipped":"20`,
		`,"mark":"`, `,"looked":"20`, `,"skipped":"20`, `","customer":"cus-`, `","subscriptions":{"`, `":"sub-`, `","`, `"}}`, `"}`,
	}
}

// shorthand writes and reads shorthand. It is safe for concurrent use.
type shorthand struct {
	phrases []string
	replace *strings.Replacer
}

func newShorthand() *shorthand {
	s := &shorthand{phrases: phrases()}
	var pairs []string
	for i, p := range s.phrases {
		pairs = append(pairs, p, string(rune(phrase0+i)))
	}
	s.replace = strings.NewReplacer(pairs...)
	return s
}

// write returns text in shorthand, for the key with this id.
func (s *shorthand) write(text []byte, id string) string {
	if bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		return "\x00" + string(text)
	}
	short := string(text)
	if len(id) > 3 { // a short one may be a piece of anything
		short = strings.ReplaceAll(short, id, "\x02")
	}
	return packHex(s.replace.Replace(short))
}

// read returns the text that was written for the key with this id.
func (s *shorthand) read(short, id string) []byte {
	out := make([]byte, 0, 3*len(short))
	if len(short) > 0 && short[0] == asItIs {
		return append(out, short[1:]...)
	}
	for i := 0; i < len(short); i++ {
		switch c := short[i]; {
		case c >= ' ':
			out = append(out, c)
		case c == hexRun:
			n := int(short[i+1])
			out = hex.AppendEncode(out, []byte(short[i+2:i+2+n]))
			i += 1 + n
		case c == ownID:
			out = append(out, id...)
		default:
			out = append(out, s.phrases[c-phrase0]...)
		}
	}
	return out
}

// packHex replaces long runs of hexadecimal digits.
func packHex(text string) string {
	const least, most = 6, 2 * 255
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		n := 0
		for i+n < len(text) && n < most && isHex(text[i+n]) {
			n++
		}
		if n &^= 1; n < least {
			n = max(n, 1)
			out = append(out, text[i:i+n]...)
			i += n
			continue
		}
		out = append(out, hexRun, byte(n/2))
		out, _ = hex.AppendDecode(out, []byte(text[i:i+n])) // they are digits
		i += n
	}
	return string(out)
}

// isHex reports whether c is a digit as hex.EncodeToString writes it.
func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }
