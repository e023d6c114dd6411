package stripe

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// What the encoder writes is byte for byte what encoding/json writes.
func TestEncodingAgreesWithTheLibrary(t *testing.T) {
	leaf := rapid.OneOf(
		rapid.String().AsAny(), rapid.Int64().AsAny(), rapid.Int().AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil),
		rapid.SampledFrom([]any{json.RawMessage(`{"a":[1.5]}`), "£9 < \"x\" & \u2028\x7f\xff"}))
	value := leaf
	for range 3 {
		value = rapid.OneOf(leaf, rapid.SliceOfN(value, 0, 3).AsAny(), rapid.MapOfN(rapid.String(), value, 0, 3).AsAny())
	}
	rapid.Check(t, func(t *rapid.T) {
		v := value.Draw(t, "value")
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got := new(encoder).append(nil, "", v); string(got) != string(want) {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}
