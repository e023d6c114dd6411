package zuora

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"

	"github.com/biter777/countries"

	"hotsync/internal/rest"
)

// decimal writes a JSON number without exponent, leading zeros or zeros at the
// end of its fraction. It never goes through binary floating point. "" for no
// number and for one of absurd size.
func decimal(n json.Number) string {
	s := string(n)
	if len(s) > 60 {
		return ""
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		exp, err := strconv.Atoi(s[i+1:])
		if err != nil || exp < -30 || exp > 30 {
			return ""
		}
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok || strings.ContainsAny(s, "/_xXpPbBoO") {
		return ""
	}
	digits, exact := r.FloatPrec()
	if !exact {
		return ""
	}
	return r.FloatString(digits)
}

// countryCode returns the two-letter code of a country, which Zuora writes as a
// full English name; true for an empty one, which has none.
func countryCode(name string) (string, bool) {
	name = strings.TrimSpace(name)
	if name == "" {
		return "", true
	}
	if code, ok := otherNames()[strings.ToLower(name)]; ok {
		return code, true
	}
	code := countries.ByName(name).Alpha2()
	if len(code) != 2 { // Unknown, None, International
		return "", false
	}
	return code, true
}

// otherNames are names on Zuora's list that the library does not know.
func otherNames() map[string]string {
	return map[string]string{
		"taiwan, province of china":                    "TW",
		"palestine, state of":                          "PS",
		"palestinian territory, occupied":              "PS",
		"venezuela, bolivarian republic of":            "VE",
		"saint helena, ascension and tristan da cunha": "SH",
	}
}

func quote(s string) string { return strconv.Quote(rest.Snippet(s, 60)) }
