package record

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestKeys(t *testing.T) {
	for _, k := range []Key{
		ZuoraAccount("2c92a0f9"), ZuoraLookup("LimioExternalId__c", "auth0|7:7=x"), StripeSubscription("sub_1"),
		StripeCustomer("cus_1"), LimioSubscription("sub-00aa"),
	} {
		got, err := ParseKey(k.String())
		if err != nil || got != k {
			t.Errorf("%s: got %v, %v", k, got, err)
		}
	}
	for _, bad := range []string{"", "zuora", "zuora:account", "zuora:account:", ":account:1", "zuora::1", "Zuora:account:1", "a b:c:1"} {
		if k, err := ParseKey(bad); err == nil {
			t.Errorf("%q was read as %v", bad, k)
		}
	}
}

func TestKeyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := Key{rapid.StringMatching(`[a-z_]+`).Draw(t, "system"), rapid.StringMatching(`[a-z_]+`).Draw(t, "kind"), rapid.StringN(1, 40, -1).Draw(t, "id")}
		if got, err := ParseKey(k.String()); err != nil || got != k {
			t.Fatalf("%v became %v, %v", k, got, err)
		}
	})
}

func TestSame(t *testing.T) {
	cases := map[string]struct {
		kind Kind
		a, b Value
		want bool
	}{
		"equal text":                {Exact, Text("active"), Text("active"), true},
		"other text":                {Exact, Text("active"), Text("Active"), false},
		"absent is null":            {Exact, "", Null, true},
		"absent is blank":           {Exact, "", Text(""), true},
		"absent is not false":       {Exact, "", Bool(false), false},
		"number as text":            {Exact, Int(3), Text("3"), true},
		"date and timestamp":        {Date, Text("2027-01-05"), Text("2027-01-05T00:00:00.000Z"), true},
		"zoneless timestamp":        {Date, Text("2027-01-05"), Text("2027-01-05T00:00:00.000"), true},
		"offset moves the day":      {Date, Text("2027-01-05"), Text("2027-01-05T01:00:00+02:00"), false},
		"other day":                 {Date, Text("2027-01-05"), Text("2027-01-06"), false},
		"no date against a date":    {Date, Null, Text("2027-01-05"), false},
		"not dates":                 {Date, Text("soon"), Text("later"), false},
		"trailing zeros":            {Amount, Text("42.00"), Int(42), true},
		"leading zeros":             {Amount, Text("042"), Int(42), true},
		"negative zero":             {Amount, Text("-0.00"), Int(0), true},
		"sign":                      {Amount, Text("-1"), Int(1), false},
		"cents":                     {Amount, Text("42.10"), Text("42.01"), false},
		"exponents are not rounded": {Amount, Text("4.2e1"), Int(42), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if Same(c.kind, c.a, c.b) != c.want || Same(c.kind, c.b, c.a) != c.want {
				t.Errorf("%s and %s: want same %v", c.a, c.b, c.want)
			}
		})
	}
}

func TestMoney(t *testing.T) {
	for _, c := range []struct {
		got  Money
		want string
	}{
		{Minor(4200, 2, "eur"), "42.00 EUR"},
		{Minor(5, 2, "usd"), "0.05 USD"},
		{Minor(-1050, 2, "usd"), "-10.50 USD"},
		{Minor(980, CurrencyDigits("JPY"), "jpy"), "980 JPY"},
		{Minor(1234, CurrencyDigits("KWD"), "kwd"), "1.234 KWD"},
		{Decimal("42", "EUR"), "42.00 EUR"},
		{Decimal("9.5", "EUR"), "9.50 EUR"},
		{Decimal("980.0", "JPY"), "980 JPY"},
		{Decimal("0.125", "EUR"), "0.125 EUR"},
	} {
		if got := c.got.Amount + " " + c.got.Currency; got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestFingerprintIgnoresOrderAndNothingElse(t *testing.T) {
	objects := []Object{
		{Type: Customer, Ref: "a", Fields: Fields{"data.name": Text("x"), "data.email": Text("y")}},
		{Type: SubscriptionType, Ref: "S1", Fields: Fields{"status": Text("active")}},
		{Type: SubscriptionOffer, Ref: "o", Parent: "S1", Fields: Fields{"data.name": Text("z")}},
	}
	want := FingerprintOf(objects)
	for range 10 {
		rand.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
		if got := FingerprintOf(objects); got != want {
			t.Fatalf("order changed the fingerprint: %s and %s", got, want)
		}
	}
	for i := range objects {
		for path, v := range objects[i].Fields {
			objects[i].Fields[path] = v + " "
			if FingerprintOf(objects) == want {
				t.Errorf("a change of %s does not show", path)
			}
			objects[i].Fields[path] = v
		}
		parent := objects[i].Parent
		objects[i].Parent = "elsewhere"
		if FingerprintOf(objects) == want {
			t.Error("a change of parent does not show")
		}
		objects[i].Parent = parent
	}
}

func TestAuthorityTouchesOnlyItsFields(t *testing.T) {
	a := Authority{{Type: SubscriptionType, Field: "status"}, {Type: SubscriptionType, Field: "data.termEndDate", Kind: Date}}
	want := Object{Type: SubscriptionType, Fields: Fields{"status": Text("active"), "data.termEndDate": Day(time.Date(2027, 1, 5, 0, 0, 0, 0, time.UTC)), "data.name": Text("mine")}}
	have := Object{Type: SubscriptionType, Fields: Fields{"status": Text("cancelled"), "data.termEndDate": Text("2027-01-05T09:00:00Z"), "data.name": Text("theirs")}}
	got := a.Compare(want, have)
	if len(got) != 1 || got[0] != (FieldChange{"status", Text("cancelled"), Text("active")}) {
		t.Errorf("got %+v, want the status only", got)
	}
	delete(want.Fields, "status")
	if got := a.Compare(want, have); len(got) != 0 {
		t.Errorf("a field that is not wanted was compared: %+v", got)
	}
}
