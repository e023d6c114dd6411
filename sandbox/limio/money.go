package limio

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

var (
	noDecimals = []string{
		"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF",
	}
	threeDecimals = []string{"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}
)

func decimals(currency string) int {
	currency = strings.ToUpper(currency)
	switch {
	case slices.Contains(noDecimals, currency):
		return 0
	case slices.Contains(threeDecimals, currency):
		return 3
	}
	return 2
}

// FormatAmount writes an amount of minor units as Limio's schedules do: a
// plain number with the currency's decimals ("42.00", and "4200" in yen).
func FormatAmount(minor int64, currency string) string {
	places := decimals(currency)
	if places == 0 {
		return fmt.Sprint(minor)
	}
	sign, abs := "", uint64(minor)
	if minor < 0 {
		sign, abs = "-", -abs
	}
	unit := uint64(math.Pow10(places))
	return fmt.Sprintf("%s%d.%0*d", sign, abs/unit, places, abs%unit)
}

// price is data.price: a number, unlike on schedules (limio.md 2.1).
func price(minor int64, currency string) map[string]any {
	amount := float64(minor) / math.Pow10(decimals(currency))
	return map[string]any{
		"amount": amount, "currency": currency,
		"summary": map[string]any{"headline": currency + " " + FormatAmount(minor, currency)},
	}
}
