package limio

// merge lays patch over target as a PUT does (assumption 6): nested objects
// key by key, arrays and everything else replaced, an explicit null stored.
func merge(target, patch map[string]any) {
	for k, v := range patch {
		nested, ok := v.(map[string]any)
		if !ok {
			target[k] = clone(v)
			continue
		}
		merge(child(target, k), nested)
	}
}
