package config

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// file is a file that is being read.
type file struct {
	name     string
	at       map[string]position // of everything that was found, by path
	problems []Problem
	read     int // how many of them were found before the checks
}

type position struct{ line, column int }

func positionOf(t *token.Token) position {
	if t == nil || t.Position == nil || t.Position.Line < 1 {
		return position{1, 1}
	}
	return position{t.Position.Line, max(t.Position.Column, 1)}
}

// decode writes a node into v, whose field has the given tag. What does not fit
// is reported and leaves v alone.
func (f *file) decode(n ast.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if _, secret := v.Interface().(Ref); secret {
		f.decodeScalar(n, v, path, tag) // whatever it is, it is not quoted
		return
	}
	switch n.Type() {
	case ast.AnchorType, ast.AliasType, ast.TagType, ast.MergeKeyType:
		f.bad(path, "anchors, aliases and tags (& * !) are not read here; write the value itself, in quotes if it begins with such a sign")
		return
	case ast.NullType:
		if v.Kind() != reflect.Struct { // a section may have all its keys commented out
			f.bad(path, "there is no value; give one or remove the key")
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		f.decodeStruct(n, v, path)
	case reflect.Slice:
		f.decodeList(n, v, path)
	case reflect.Map:
		f.decodeMap(n, v, path)
	default:
		f.decodeScalar(n, v, path, tag)
	}
}

// pair is one key of a mapping.
type pair struct {
	name, path string
	value      ast.Node
}

// pairs returns the keys of a mapping, each once, and notes where they are.
func (f *file) pairs(n ast.Node, path, want string) []pair {
	m, ok := n.(ast.MapNode)
	if !ok {
		f.bad(path, "this is %s; want %s", kind(n), want)
		return nil
	}
	var out []pair
	first := map[string]position{}
	for it := m.MapRange(); it.Next(); {
		at := positionOf(it.Key().GetToken())
		name, ok := keyName(it.Key())
		if !ok {
			f.report(Error, path, at, "this key is not a plain word; write one of the keys of this section")
			continue
		}
		p := pair{name, join(path, name), it.Value()}
		if before, twice := first[name]; twice {
			f.report(Error, p.path, at, fmt.Sprintf("the key is given twice, first in line %d; keep one", before.line))
			continue
		}
		first[name], f.at[p.path] = at, at
		if it.Value() == nil {
			f.bad(p.path, "there is no value; give one or remove the key")
			continue
		}
		out = append(out, p)
	}
	return out
}

func keyName(k ast.MapKeyNode) (string, bool) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, k.Value != ""
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return k.GetToken().Value, true
	}
	return "", false
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (f *file) decodeStruct(n ast.Node, v reflect.Value, path string) {
	known := keysOf(v.Type())
	for _, p := range f.pairs(n, path, "keys with values, such as "+known[0]+": …") {
		i := slices.Index(known, p.name)
		if i < 0 {
			f.bad(p.path, "unknown key%s", instead(p.name, known))
			continue
		}
		f.decode(p.value, v.Field(i), p.path, v.Type().Field(i).Tag)
	}
}

// keysOf returns the keys of a section, in the order of its fields.
func keysOf(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = t.Field(i).Tag.Get("yaml")
	}
	return keys
}

func (f *file) decodeList(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		f.bad(path, "this is %s; want a list: [a, b], or lines that begin with a dash", kind(n))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, value := range seq.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		if value == nil {
			f.bad(at, "there is no value; give one or remove the line")
			continue
		}
		f.at[at] = startOf(value)
		f.decode(value, list.Index(i), at, "")
	}
	v.SetZero() // an empty list, which is written [], is nil here
	if list.Len() > 0 {
		v.Set(list)
	}
}

// startOf is where a value begins; the token of a mapping is its first colon.
func startOf(n ast.Node) position {
	if m, ok := n.(ast.MapNode); ok {
		if it := m.MapRange(); it.Next() && it.Key().GetToken() != nil {
			return positionOf(it.Key().GetToken())
		}
	}
	return positionOf(n.GetToken())
}

func (f *file) decodeMap(n ast.Node, v reflect.Value, path string) {
	m := reflect.MakeMap(v.Type())
	for _, p := range f.pairs(n, path, "keys with values, such as past_due: active") {
		value := reflect.New(v.Type().Elem()).Elem()
		f.decode(p.value, value, p.path, "")
		if !f.broken(p.path) {
			m.SetMapIndex(reflect.ValueOf(p.name), value)
		}
	}
	v.SetZero()
	if m.Len() > 0 {
		v.Set(m)
	}
}

func (f *file) decodeScalar(n ast.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if at := positionOf(n.GetToken()); n.GetToken() != nil {
		f.at[path] = at
	}
	switch v.Interface().(type) {
	case Ref:
		f.decodeRef(n, v, path)
		return
	case time.Duration:
		f.decodeDuration(n, v, path, tag)
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			f.bad(path, "this is %s; want true or false", kind(n))
			return
		}
		v.SetBool(b.Value)
	case reflect.Int:
		f.decodeInt(n, v, path, tag)
	case reflect.String:
		s, ok := text(n)
		if !ok {
			f.bad(path, "this is %s; want text: put it in quotes", kind(n))
			return
		}
		if words, ok := tag.Lookup("enum"); ok && !slices.Contains(strings.Split(words, ","), s) {
			known := strings.Split(strings.TrimPrefix(words, ","), ",")
			f.bad(path, "%q is not known; want %s%s", s, alternatives(known), nearest(s, known))
			return
		}
		v.SetString(s)
	}
}

func (f *file) decodeInt(n ast.Node, v reflect.Value, path string, tag reflect.StructTag) {
	number, ok := n.(*ast.IntegerNode)
	if !ok {
		f.bad(path, "this is %s; want a whole number", kind(n))
		return
	}
	i, ok := number.Value.(int64)
	if u, unsigned := number.Value.(uint64); unsigned {
		i, ok = int64(min(u, math.MaxInt64)), true
	}
	low, _ := strconv.ParseInt(tag.Get("min"), 10, 64)
	high, _ := strconv.ParseInt(tag.Get("max"), 10, 64)
	if !ok || i < low || i > high {
		f.bad(path, "%s is out of range; want a number from %d to %d", n.GetToken().Value, low, high)
		return
	}
	v.SetInt(i)
}

func (f *file) decodeDuration(n ast.Node, v reflect.Value, path string, tag reflect.StructTag) {
	s, ok := text(n)
	if !ok {
		f.bad(path, "this is %s; want a duration such as 250ms, 30s or 10m", kind(n))
		return
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		if n.Type() == ast.IntegerType {
			f.bad(path, "%s has no unit; want a duration such as %sms, %ss or %sm", s, s, s, s)
		} else {
			f.bad(path, "%q is not a duration; want one such as 250ms, 30s, 10m or 24h", s)
		}
		return
	}
	low, _ := time.ParseDuration(tag.Get("min"))
	high, _ := time.ParseDuration(tag.Get("max"))
	if d < low || d > high {
		f.bad(path, "%s is out of range; want a duration from %s to %s", s, brief(low), brief(high))
		return
	}
	v.SetInt(int64(d))
}

// environment is the form of a variable's name that every system takes.
var environment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// decodeRef takes a reference to a secret. What is none may be the secret
// itself, so no message of this function quotes it (Invariant 8).
func (f *file) decodeRef(n ast.Node, v reflect.Value, path string) {
	const advice = "give env:NAME or file:PATH, where the secret is kept; if this was the secret itself, consider it known and replace it"
	s, ok := text(n)
	if !ok {
		f.bad(path, "this is not a reference to a secret; "+advice)
		return
	}
	kind, rest, _ := strings.Cut(s, ":")
	switch {
	case s == "", kind == "file" && rest != "", kind == "env" && environment.MatchString(rest):
		v.SetString(s)
	case kind == "env":
		f.bad(path, "what follows env: is not the name of an environment variable; "+advice)
	default:
		f.bad(path, "a secret must not be in this file; "+advice)
	}
}

// text returns a scalar as text. A number is taken as it was written, so that
// version: 186.0 needs no quotes.
func text(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		if n.Value == nil {
			return "", true
		}
		return strings.TrimRight(n.Value.Value, "\n"), true
	case *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// kind names a node's type for a person.
func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "a section with keys"
	}
	return "something else"
}
