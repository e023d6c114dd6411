package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// instead says what an unknown key may have been meant to be: a key of its
// section that is spelled nearly so, or a section that has it.
func instead(key string, known []string) string {
	if hint := nearest(key, known); hint != "" {
		return hint
	}
	var homes []string
	root := reflect.TypeFor[Config]()
	for i := range root.NumField() {
		section := root.Field(i)
		if slices.Contains(keysOf(section.Type), key) {
			homes = append(homes, section.Tag.Get("yaml")+"."+key)
		}
	}
	if len(homes) > 0 {
		return "; did you mean " + alternatives(homes) + "?"
	}
	return "; want one of " + strings.Join(known, ", ")
}

// nearest returns "; did you mean …?" with the known word that takes the fewest
// edits, or nothing when none is near.
func nearest(word string, known []string) string {
	best, fewest := "", min(3, 1+len(word)/3)
	for _, k := range known {
		if d := edits(strings.ToLower(word), k, fewest); d < fewest {
			best, fewest = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// edits counts the insertions, deletions and replacements between two words,
// up to limit.
func edits(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, diagonal+1, row[j]+1)
		}
	}
	return min(row[len(b)], limit)
}

// alternatives writes a, b or c.
func alternatives(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// brief writes a duration without the zero units that Go appends: 10m, not
// 10m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
