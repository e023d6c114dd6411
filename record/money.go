package record

import (
	"strconv"
	"strings"

	"golang.org/x/text/currency"
)

// Money is an amount in a currency. Amount is a decimal with as many digits
// after the point as the currency has ("42.00", "980" for yen), Currency an
// upper-case ISO 4217 code.
type Money struct {
	Amount   string
	Currency string
}

// Minor returns minor units (cents; yen have none) as Money. The number of
// digits is the caller's, since Stripe's differs from ISO 4217 for a few
// currencies; CurrencyDigits has the standard.
func Minor(units int64, digits int, code string) Money {
	s := strconv.FormatInt(units, 10)
	sign := ""
	if units < 0 {
		sign, s = "-", s[1:]
	}
	if digits > 0 {
		if len(s) <= digits {
			s = strings.Repeat("0", digits-len(s)+1) + s
		}
		s = s[:len(s)-digits] + "." + s[len(s)-digits:]
	}
	return Money{Amount: sign + s, Currency: strings.ToUpper(code)}
}

// CurrencyDigits returns how many digits a currency has after the point by
// ISO 4217, 2 for an unknown code.
func CurrencyDigits(code string) int {
	unit, err := currency.ParseISO(code)
	if err != nil {
		return 2
	}
	scale, _ := currency.Standard.Rounding(unit)
	return scale
}

// Decimal returns a decimal number as Money, padded to the currency's digits.
// It never rounds: digits beyond the currency's are kept.
func Decimal(amount, code string) Money {
	whole, fraction, _ := strings.Cut(amount, ".")
	fraction = strings.TrimRight(fraction, "0")
	if n := CurrencyDigits(code) - len(fraction); n > 0 {
		fraction += strings.Repeat("0", n)
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return Money{Amount: whole, Currency: strings.ToUpper(code)}
}
