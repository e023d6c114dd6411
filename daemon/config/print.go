package config

import (
	"fmt"
	"time"

	"github.com/goccy/go-yaml"
)

// YAML returns the configuration as a file that Parse reads back to the same
// value. It holds references to secrets, never secrets.
func (c Config) YAML() ([]byte, error) {
	out, err := yaml.MarshalWithOptions(c,
		yaml.Indent(2), yaml.IndentSequence(true),
		yaml.CustomMarshaler(func(d time.Duration) ([]byte, error) { return []byte(brief(d)), nil }),
	)
	if err != nil {
		return nil, fmt.Errorf("print configuration: %w", err)
	}
	return out, nil
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
