package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// YAML returns the configuration as a file that Parse reads back to the same
// value. It holds references to secrets, never secrets.
func (c Config) YAML() ([]byte, error) {
	out, err := yaml.MarshalWithOptions(c,
		yaml.Indent(2), yaml.IndentSequence(true),
		yaml.CustomMarshaler(func(d time.Duration) ([]byte, error) { return []byte(brief(d)), nil }),
		yaml.CustomMarshaler(func(s string) ([]byte, error) { return quoted(s) }),
		yaml.CustomMarshaler(func(r Ref) ([]byte, error) { return quoted(string(r)) }),
	)
	if err != nil {
		return nil, fmt.Errorf("print configuration: %w", err)
	}
	return out, nil
}

// plain is text that means itself in YAML.
var plain = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*$`)

// quoted writes text so that it is read back as it is: in JSON's quotes, unless
// it is a plain word.
func quoted(s string) ([]byte, error) {
	if plain.MatchString(s) && !slices.Contains([]string{"true", "false", "null"}, strings.ToLower(s)) {
		return []byte(s), nil
	}
	return json.Marshal(s)
}

// JSON is YAML, as JSON.
func (c Config) JSON() ([]byte, error) {
	text, err := c.YAML()
	if err != nil {
		return nil, err
	}
	out, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("print configuration: %w", err)
	}
	return out, nil
}
