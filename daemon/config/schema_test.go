package config_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"hotsync/daemon/config"
)

func TestSchema(t *testing.T) {
	text, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/schema.json", string(text))

	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		fileInRoot:                           "",
		"testdata/full.yaml":                 "",
		"testdata/bad/unknown-key.yaml":      "workers.concurency: unknown",
		"testdata/bad/literal-secret.yaml":   "stripe.api_key: pattern",
		"testdata/bad/words.yaml":            "kafka.sasl.mechanism: enum",
		"testdata/bad/number-range.yaml":     "kafka.partitions: minimum",
		"testdata/bad/wrong-type.yaml":       "kafka.brokers: type",
		"testdata/bad/duration.yaml":         "workers.drain_timeout: pattern",
		"testdata/bad/required-by-part.yaml": "",
	} {
		var doc any
		if err := yaml.Unmarshal(read(t, path), &doc); err != nil && want == "" {
			t.Fatal(err)
		} else if err != nil {
			continue // an alias, which this reader does not like either
		}
		got := strings.Join(violations(schema, doc, ""), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: the schema says %q, want %q", path, got, want)
		}
	}
}

// violations checks a value against the few keywords that Schema uses.
func violations(schema map[string]any, v any, path string) (out []string) {
	bad := func(keyword string) { out = append(out, strings.TrimPrefix(path, ".")+": "+keyword) }
	if words, ok := schema["enum"].([]any); ok && !slices.Contains(words, v) {
		bad("enum")
	}
	switch schema["type"] {
	case "object":
		m, ok := v.(map[string]any)
		if !ok {
			bad("type")
			return out
		}
		properties, _ := schema["properties"].(map[string]any)
		for key, value := range m {
			sub, known := properties[key].(map[string]any)
			if more, ok := schema["additionalProperties"].(map[string]any); !known && ok {
				sub, known = more, true
			}
			if !known {
				out = append(out, strings.TrimPrefix(path+"."+key, ".")+": unknown")
				continue
			}
			out = append(out, violations(sub, value, path+"."+key)...)
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			bad("type")
		}
		for i, value := range list {
			out = append(out, violations(schema["items"].(map[string]any), value, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case "string":
		s, ok := v.(string)
		if pattern, has := schema["pattern"].(string); ok && has && !regexp.MustCompile(pattern).MatchString(s) {
			bad("pattern")
		}
	case "integer":
		n, ok := v.(uint64)
		low, _ := schema["minimum"].(float64)
		high, _ := schema["maximum"].(float64)
		switch {
		case !ok:
			bad("type")
		case float64(n) < low:
			bad("minimum")
		case float64(n) > high:
			bad("maximum")
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			bad("type")
		}
	default:
		bad("schema without a type")
	}
	return out
}
