package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// explain reports what a part says about its section. The part knows its own
// field names only, which are those of the keys or nearly so: the line is the
// best guess, the text is right in any case.
func (f *file) explain(section string, value any, err error) {
	known := len(f.problems)
	for _, e := range flatten(err) {
		text := strings.TrimPrefix(e.Error(), section)
		text = strings.TrimLeft(text, ": ")
		path := f.locate(section, reflect.ValueOf(value), text)
		key := path[strings.LastIndexByte(path, '.')+1:]
		if !f.brokenBefore(path, known) { // two texts of one part may have one path
			f.bad(path, "%s", strings.TrimPrefix(text, key+": "))
		}
	}
}

// head is how far into a text the key is looked for that it is about.
const head = 40

// locate returns the path of the key below path that a text begins by naming,
// or path itself.
func (f *file) locate(path string, v reflect.Value, text string) string {
	if v.Kind() == reflect.Slice {
		for i := range v.Len() {
			if s, ok := v.Index(i).Interface().(string); ok && strings.Contains(text, strconv.Quote(s)) {
				return fmt.Sprintf("%s[%d]", path, i)
			}
		}
	}
	if v.Kind() != reflect.Struct {
		return path
	}
	best, first, length := -1, head, 0
	for i, key := range keysOf(v.Type()) {
		names := []string{key, strings.ReplaceAll(key, "_", " "), strings.TrimSuffix(key, "s")}
		if key == "jwks_url" {
			names = append(names, "key set") // as the login decoder calls it
		}
		for _, name := range names {
			at := wordIn(lower(text), name)
			if at >= 0 && (at < first || at == first && len(name) > length) {
				best, first, length = i, at, len(name)
			}
		}
	}
	if best < 0 {
		return path
	}
	return f.locate(join(path, keysOf(v.Type())[best]), v.Field(best), text[first+length:])
}

// lower changes ASCII letters only, so that the length stays.
func lower(text string) string {
	b := []byte(text)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// wordIn returns where a word stands in a text by itself, or -1.
func wordIn(text, word string) int {
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return -1
		}
		begin, end := from+i, from+i+len(word)
		if (begin == 0 || !letter(text[begin-1])) && (end == len(text) || !letter(text[end])) {
			return begin
		}
		from = end
	}
}

func letter(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// flatten takes joined errors apart.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, flatten(e)...)
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
