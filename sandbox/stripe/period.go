package stripe

import (
	"fmt"
	"time"
)

// addIntervals returns the k-th billing date after anchor. Months keep the
// anchor's day and clamp it to the month's last one, so that 31 January is
// followed by 28 February and 31 March.
func addIntervals(anchor time.Time, interval string, count, k int) time.Time {
	n := count * k
	switch interval {
	case "day":
		return anchor.AddDate(0, 0, n)
	case "week":
		return anchor.AddDate(0, 0, 7*n)
	case "year":
		n *= 12
	}
	first := time.Date(anchor.Year(), anchor.Month()+time.Month(n), 1,
		anchor.Hour(), anchor.Minute(), anchor.Second(), 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(anchor.Day(), last)-1)
}

// nextBoundary returns the first billing date after t.
func nextBoundary(anchor time.Time, interval string, count int, t time.Time) time.Time {
	if anchor.After(t) {
		return anchor
	}
	// Guess short of the answer, then walk: at most a few steps.
	longest := map[string]time.Duration{
		"day": 24 * time.Hour, "week": 7 * 24 * time.Hour,
		"month": 31 * 24 * time.Hour, "year": 366 * 24 * time.Hour,
	}[interval]
	k := int(t.Sub(anchor) / (longest * time.Duration(count)))
	for {
		if b := addIntervals(anchor, interval, count, k); b.After(t) {
			return b
		}
		k++
	}
}

func checkInterval(interval string, count int) error {
	switch interval {
	case "day", "week", "month", "year":
	default:
		return fmt.Errorf("interval %q: must be day, week, month or year", interval)
	}
	if count < 1 || count > 1095 {
		return fmt.Errorf("interval count %d: must be 1 to 1095", count)
	}
	return nil
}

// money writes an amount the way Stripe does in line descriptions.
func money(amount int64, currency string) string {
	digits := 2
	switch currency {
	case "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf":
		digits = 0
	case "bhd", "jod", "kwd", "omr", "tnd":
		digits = 3
	}
	sign := map[string]string{"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}[currency]
	if sign == "" {
		sign = currency + " "
	}
	if digits == 0 {
		return fmt.Sprintf("%s%d", sign, amount)
	}
	unit := int64(100)
	if digits == 3 {
		unit = 1000
	}
	return fmt.Sprintf("%s%d.%0*d", sign, amount/unit, digits, amount%unit)
}

func every(interval string, count int) string {
	if count == 1 {
		return interval
	}
	return fmt.Sprintf("every %d %ss", count, interval)
}
