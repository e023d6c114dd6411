package zuora

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Date is a calendar day as YYYY-MM-DD. The empty Date is Zuora's null.
type Date string

// DateOf returns the day of t in t's own location.
func DateOf(t time.Time) Date { return Date(t.Format(time.DateOnly)) }

// Time returns the start of the day, UTC, and the zero time for an empty or
// malformed Date.
func (d Date) Time() time.Time {
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil {
		return time.Time{}
	}
	return t
}

// AddDays returns the day n days later.
func (d Date) AddDays(n int) Date { return DateOf(d.Time().AddDate(0, 0, n)) }

// AddMonths returns the same day n months later, or that month's last day when
// it has no such day.
func (d Date) AddMonths(n int) Date {
	t := d.Time()
	first := time.Date(t.Year(), t.Month()+time.Month(n), 1, 0, 0, 0, 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return DateOf(first.AddDate(0, 0, min(t.Day(), last)-1))
}

// addPeriod returns d plus n of "Month", "Year", "Day" or "Week".
func (d Date) addPeriod(n int, period string) Date {
	switch period {
	case "Year":
		return d.AddMonths(12 * n)
	case "Week":
		return d.AddDays(7 * n)
	case "Day":
		return d.AddDays(n)
	default:
		return d.AddMonths(n)
	}
}

func (d Date) valid() error {
	if d == "" {
		return nil
	}
	if _, err := time.Parse(time.DateOnly, string(d)); err != nil {
		return fmt.Errorf("date %q is not YYYY-MM-DD", string(d))
	}
	return nil
}

// minorDigits is how many decimals a currency has (ISO 4217).
func minorDigits(currency string) int {
	switch strings.ToUpper(currency) {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3
	default:
		return 2
	}
}

// decimal renders minor units the way Zuora sends money: a JSON number with at
// least one decimal, and none where the currency has none.
func decimal(minor int64, currency string) json.Number {
	digits := minorDigits(currency)
	if digits == 0 {
		return json.Number(strconv.FormatInt(minor, 10))
	}
	sign := ""
	if minor < 0 {
		sign, minor = "-", -minor
	}
	s := fmt.Sprintf("%0*d", digits+1, minor)
	whole, frac := s[:len(s)-digits], strings.TrimRight(s[len(s)-digits:], "0")
	if frac == "" {
		frac = "0"
	}
	return json.Number(sign + whole + "." + frac)
}

// months is the length of a billing period; zero for "Week", the only one that
// is not counted in months.
func months(billingPeriod string) int {
	switch billingPeriod {
	case "", "Month":
		return 1
	case "Quarter":
		return 3
	case "Semi_Annual":
		return 6
	case "Annual":
		return 12
	case "Two_Years":
		return 24
	case "Three_Years":
		return 36
	default:
		return 0
	}
}

func knownBillingPeriod(p string) bool { return p == "Week" || months(p) > 0 }

// amount is what one billing period of the charge costs.
func (c *Charge) amount() int64 {
	q := c.Quantity
	if q == 0 || c.Model == "FlatFee" {
		q = 1
	}
	return int64(math.Round(float64(c.Price) * q))
}

// mrr is the charge's monthly amount; only recurring charges have one.
func (c *Charge) mrr() int64 {
	if c.Type != "Recurring" {
		return 0
	}
	n := float64(months(c.BillingPeriod))
	if n == 0 {
		n = 12 * 7 / 365.25
	}
	return int64(math.Round(float64(c.amount()) / n))
}

// tcv is the charge's amount over its effective period; an open end counts as
// one billing period.
func (c *Charge) tcv() int64 {
	if c.Type != "Recurring" || c.EffectiveEndDate == "" {
		return c.amount()
	}
	var total int64
	for i := 0; c.period(c.EffectiveStartDate, i) < c.EffectiveEndDate; i++ {
		total += prorate(c.amount(), c.period(c.EffectiveStartDate, i), c.period(c.EffectiveStartDate, i+1), c.EffectiveEndDate)
	}
	return total
}

// period returns the start of the i-th billing period counted from start. It
// counts from the anchor each time, so that the 31st does not become the 28th.
func (c *Charge) period(start Date, i int) Date {
	if n := months(c.BillingPeriod); n > 0 {
		return start.AddMonths(n * i)
	}
	return start.AddDays(7 * i)
}

// prorate returns the share of amount for the part of [from, to) before end.
func prorate(amount int64, from, to, end Date) int64 {
	if end == "" || end >= to {
		return amount
	}
	days := func(a, b Date) float64 { return b.Time().Sub(a.Time()).Hours() / 24 }
	return int64(math.Round(float64(amount) * days(from, end) / days(from, to)))
}
