package login

import (
	"slices"
	"testing"

	"hotsync/event"
)

// The scope is asked with what the claims hold, and its answer goes with the
// triggers or ends the login.
func TestDecodeScope(t *testing.T) {
	i := newIssuer(t)
	token := i.token(t, map[string]any{
		"https://example.test/zuora": []string{account, "A-2"}, "cohort": []any{"beta", 7, true, nil, map[string]any{}},
		"app": map[string]any{"tier": "gold"}, "nothing": nil,
	})
	var asked []string
	in := true
	d := decoder(t, Config{Providers: []Provider{i.provider()}, Scope: func(values func(string) []string) (bool, string) {
		asked = nil
		for _, name := range []string{"cohort", "app.tier", "app", "nothing", "absent"} {
			asked = append(asked, name+":")
			asked = append(asked, values(name)...)
		}
		return in, "claim:cohort=beta"
	}})
	got, err := d.Decode(t.Context(), login(t, map[string]any{"id_token": token}))
	if err != nil || len(got.Triggers) != 2 || got.Triggers[0].Scope != "claim:cohort=beta" || got.Triggers[1].Scope != "claim:cohort=beta" {
		t.Fatalf("got %+v, %v, want two triggers that name the rule", got, err)
	}
	want := []string{"cohort:", "beta", "7", "true", "app.tier:", "gold", "app:", "nothing:", "absent:"}
	if !slices.Equal(asked, want) {
		t.Errorf("the claims hold %q, want %q", asked, want)
	}
	in = false
	got, err = d.Decode(t.Context(), login(t, map[string]any{"id_token": token}))
	if err != nil || len(got.Triggers) != 0 || got.Reason != event.ReasonOutOfScope || got.Note != "claim:cohort=beta" || got.Delivery != "login-1" {
		t.Errorf("got %+v, %v, want nothing but out_of_scope", got, err)
	}
}

// A login that names no account has no record that could be in scope.
func TestDecodeScopeIsNotAskedWithoutAnAccount(t *testing.T) {
	i := newIssuer(t)
	d := decoder(t, Config{Providers: []Provider{i.provider()}, Scope: func(func(string) []string) (bool, string) {
		t.Error("the scope was asked")
		return false, ""
	}})
	got, err := d.Decode(t.Context(), login(t, map[string]any{"id_token": i.token(t, nil)}))
	if err != nil || got.Reason != event.ReasonNoClaim {
		t.Errorf("got %+v, %v, want no_claim", got, err)
	}
}
