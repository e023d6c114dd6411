package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"hotsync/connectors/stripe"
)

// durationPattern is what time.ParseDuration takes, of what people write.
const durationPattern = `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`

// Schema returns the JSON schema of config.yaml, for editors and pipelines. It
// knows every key, word and bound, but not what must be in order between keys.
func Schema() ([]byte, error) {
	r := &jsonschema.Reflector{
		Anonymous: true, DoNotReference: true, ExpandedStruct: true,
		RequiredFromJSONSchemaTags: true, FieldNameTag: "yaml", Mapper: schemaOf,
	}
	s := r.Reflect(Config{})
	s.Title = "hotsync config.yaml"
	describe(s, reflect.ValueOf(Default()))
	if section, ok := s.Properties.Get("stripe"); ok {
		if statuses, ok := section.Properties.Get("statuses"); ok {
			known := sortedKeys(stripe.DefaultStatusMap())
			statuses.PropertyNames = &jsonschema.Schema{Enum: anys(known)}
			statuses.AdditionalProperties = &jsonschema.Schema{Type: "string", Enum: anys([]string{"active", "cancelled", "leave"})}
		}
	}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("print JSON schema: %w", err)
	}
	return append(out, '\n'), nil
}

// schemaOf returns the schemas of the types that are more than their kind.
func schemaOf(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: durationPattern}
	case reflect.TypeFor[Ref]():
		return &jsonschema.Schema{Type: "string", Pattern: `^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)?$`}
	}
	return nil
}

// describe writes what the tags of a section's fields say, and the defaults,
// into its schema.
func describe(s *jsonschema.Schema, section reflect.Value) {
	t := section.Type()
	for i := range t.NumField() {
		field, value := t.Field(i), section.Field(i)
		p, ok := s.Properties.Get(field.Tag.Get("yaml"))
		if !ok {
			continue
		}
		p.Description = field.Tag.Get("doc")
		if words, ok := field.Tag.Lookup("enum"); ok {
			p.Enum = anys(strings.Split(words, ","))
		}
		switch {
		case field.Type.Kind() == reflect.Struct:
			describe(p, value)
			continue
		case field.Type.Kind() == reflect.Int:
			p.Minimum, p.Maximum = json.Number(field.Tag.Get("min")), json.Number(field.Tag.Get("max"))
		case field.Type == reflect.TypeFor[time.Duration]():
			low, _ := time.ParseDuration(field.Tag.Get("min"))
			high, _ := time.ParseDuration(field.Tag.Get("max"))
			p.Description += fmt.Sprintf(" From %s to %s.", brief(low), brief(high))
		case field.Type.Kind() == reflect.Slice && field.Type.Elem().Kind() == reflect.Struct:
			describe(p.Items, reflect.New(field.Type.Elem()).Elem())
		}
		p.Default = defaultOf(value)
	}
}

// defaultOf returns what stands in a file for a default; nil for none.
func defaultOf(v reflect.Value) any {
	if d, ok := v.Interface().(time.Duration); ok {
		return brief(d)
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		if v.Len() == 0 {
			return nil
		}
	}
	return v.Interface()
}

func anys(words []string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}
