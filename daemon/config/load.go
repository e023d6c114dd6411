package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds a file, since the YAML parser recurses.
const maxFile = 256 << 10

// Load reads a file. Its error is *Invalid when the file has mistakes, and then
// lists them all; warnings alone are no error. Secrets are not read: that
// happens when the parts are built, or in Secrets.
func Load(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	cfg, problems := Parse(path, data)
	if Wrong(problems) {
		return cfg, &Invalid{problems}
	}
	return cfg, nil
}

// Parse reads a file's content over the defaults; name stands in the problems,
// which are all there are, in the order of the file. What is wrong keeps its
// default. An empty file is the defaults.
func Parse(name string, data []byte) (Config, []Problem) {
	f := &file{name: name, at: map[string]position{}}
	cfg := Default()
	body, ok := f.body(data)
	if !ok {
		return cfg, f.sorted() // every required key would seem to be missing
	}
	if body != nil {
		f.decode(body, reflect.ValueOf(&cfg).Elem(), "", "")
	}
	f.read = len(f.problems)
	f.check(cfg)
	return cfg, f.sorted()
}

// body parses the YAML and returns what is in it, nil for nothing. It is not ok
// when this is no YAML.
func (f *file) body(data []byte) (body ast.Node, ok bool) {
	if len(data) > maxFile {
		f.bad("", "the file has %d bytes, more than %d; this cannot be a configuration of hotsync", len(data), maxFile)
		return nil, false
	}
	if !utf8.Valid(data) {
		f.bad("", "the file is not UTF-8; save it in that encoding")
		return nil, false
	}
	tree, err := parseYAML(data)
	var syntax yaml.Error
	switch {
	case errors.As(err, &syntax):
		// The message only: the error itself would quote the lines around it.
		f.report(Error, "", positionOf(syntax.GetToken()), "not YAML: "+quote.ReplaceAllString(syntax.GetMessage(), `"…"`))
		return nil, false
	case err != nil:
		f.bad("", "not YAML: the parser gave up; check the indentation, and that text with special characters is quoted")
		return nil, false
	}
	for _, doc := range tree.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType:
		case body != nil:
			f.report(Error, "", startOf(doc.Body), "a second document begins here; a file holds one, so remove the line ---")
		default:
			body = doc.Body
		}
	}
	if _, isMap := body.(ast.MapNode); body != nil && !isMap {
		f.report(Error, "", startOf(body), "this is "+kind(body)+"; want sections with keys, such as kafka: …")
		return nil, false
	}
	return body, true
}

// quote is where a message of the parser quotes more than a character of the
// file, which may be a secret.
var quote = regexp.MustCompile(`".{4,}"`)

// parseYAML turns a panic of the parser into an error: a file is input.
func parseYAML(data []byte) (tree *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("parser panic")
		}
	}()
	// Repeated keys are reported with all the other mistakes.
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}
