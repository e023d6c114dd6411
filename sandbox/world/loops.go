package world

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"hotsync/sandbox/limio"
)

// Loop is a write in Limio that should not have been made.
type Loop struct {
	Rule   string // "noop", "echo", "flapping" or "twice"
	Object string // Limio id
	Detail string
	At     time.Time
}

// String is a loop on one line.
func (l Loop) String() string {
	return fmt.Sprintf("%s %s %s: %s", l.At.Format(time.TimeOnly), l.Rule, l.Object, l.Detail)
}

// Loops reads Limio's write log since the world was made, and returns the
// writes of API clients that a careful program does not make:
//
//   - noop: an update that changed nothing;
//   - echo: a write to a subscription, or to what belongs to it, between a
//     change that the shop or Salesforce made in the billing system and the
//     moment Limio itself brought its record up to date (the settling time at
//     most);
//   - flapping: a field set from A to B and later from B back to A, both by API
//     clients, or the same value set for the third time;
//   - twice: a second object with the same content as one that still counts,
//     under the same parent.
func (w *World) Loops() []Loop {
	w.mu.Lock()
	writes := w.limio.WritesSince(w.seeded)
	windows := slices.Clone(w.windows)
	w.mu.Unlock()

	out := slices.Concat(noops(writes), w.echoes(writes, windows), flapping(writes), twice(writes))
	slices.SortStableFunc(out, func(a, b Loop) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Object, b.Object)) })
	return out
}

func noops(writes []limio.Write) (out []Loop) {
	for _, x := range writes {
		if x.By == limio.ByAPI && x.Op == "update" && x.Noop {
			out = append(out, Loop{Rule: "noop", Object: x.ObjectID, Detail: "an update of this " + x.RecordType + " changed nothing", At: x.At})
		}
	}
	return out
}

// window is the time in which Limio is busy with an order of its own.
type window struct {
	sub    string // Limio id
	source string // shop or salesforce
	from   time.Time
	until  time.Time // zero while it lasts
}

func (w *World) echoes(writes []limio.Write, windows []window) (out []Loop) {
	bySub := map[string][]window{}
	for _, win := range windows {
		// Stripe tells the second in which something happened, no more.
		if latest := win.from.Truncate(time.Second).Add(w.cfg.Settle); win.until.IsZero() || win.until.After(latest) {
			win.until = latest
		}
		bySub[win.sub] = append(bySub[win.sub], win)
	}
	for _, x := range writes {
		if x.By != limio.ByAPI {
			continue
		}
		sub := x.ObjectID
		if x.RecordType != limio.TypeSubscription {
			o, _ := w.limio.Get(x.ObjectID)
			sub = o.Text("related")
		}
		for _, win := range bySub[sub] {
			if !x.At.Before(win.from) && x.At.Before(win.until) {
				out = append(out, Loop{Rule: "echo", Object: x.ObjectID, At: x.At, Detail: fmt.Sprintf(
					"%s of this %s %s after a change made by %s, which Limio itself was about to store", x.Op, x.RecordType, x.At.Sub(win.from).Round(time.Millisecond), win.source)})
			}
		}
	}
	return out
}

// sameValue is how often one value may be set by API clients on one field.
const sameValue = 2

// mayReturn are fields that may rightly come back to an old value: the status of
// a record that was repaired and then cancelled for good, or the
// brand of the next card. They count only as part of a write that is taken back
// as a whole.
func mayReturn(recordType, path string) bool {
	return recordType == limio.TypeAddress || (recordType == limio.TypeSubscription && path == "status") || path == "data.isDefault" || strings.HasPrefix(path, "data.stripe.result.")
}

func flapping(writes []limio.Write) (out []Loop) {
	earlier := map[string][]limio.Write{}
	for _, x := range writes {
		if x.By != limio.ByAPI || x.Op != "update" || x.Noop {
			continue
		}
		if detail := flaps(x, earlier[x.ObjectID]); detail != "" {
			out = append(out, Loop{Rule: "flapping", Object: x.ObjectID, Detail: detail, At: x.At})
		}
		earlier[x.ObjectID] = append(earlier[x.ObjectID], x)
	}
	return out
}

// flaps says how a write undoes, or makes once too often, what earlier ones of
// the same object did.
func flaps(x limio.Write, earlier []limio.Write) string {
	again := 1
	for _, e := range earlier {
		if undone := reversed(x, e); undone != "" {
			return undone + ", where it was before"
		}
		if slices.EqualFunc(x.Changed, e.Changed, func(a, b limio.FieldChange) bool { return a.Path == b.Path && a.After == b.After }) {
			again++
		}
	}
	if again > sameValue {
		return fmt.Sprintf("%s was set to %s for time %d", x.Changed[0].Path, orNothing(x.Changed[0].After), again)
	}
	return ""
}

func reversed(x, e limio.Write) string {
	whole, found := len(x.Changed) == len(e.Changed), ""
	for _, c := range x.Changed {
		i := slices.IndexFunc(e.Changed, func(b limio.FieldChange) bool {
			return b.Path == c.Path && b.After == c.Before && b.Before == c.After
		})
		whole = whole && i >= 0
		if i >= 0 && !mayReturn(x.RecordType, c.Path) {
			found = fmt.Sprintf("%s went from %s to %s", c.Path, orNothing(c.Before), orNothing(c.After))
		}
	}
	if found == "" && whole {
		found = fmt.Sprintf("%s went from %s to %s", x.Changed[0].Path, orNothing(x.Changed[0].Before), orNothing(x.Changed[0].After))
	}
	return found
}

func orNothing(json string) string {
	if json == "" {
		return "nothing"
	}
	return json
}

func twice(writes []limio.Write) (out []Loop) {
	alive := map[string]string{} // content to id, of what API clients made and still counts
	contents := map[string]string{}
	for _, x := range writes {
		switch {
		case x.Op == "create" && x.By == limio.ByAPI:
			content := contentOf(x)
			if first, ok := alive[content]; ok {
				out = append(out, Loop{Rule: "twice", Object: x.ObjectID, Detail: "the same " + x.RecordType + " as " + first, At: x.At})
				continue
			}
			alive[content], contents[x.ObjectID] = x.ObjectID, content
		case x.Op == "delete" || ends(x):
			if content, ok := contents[x.ObjectID]; ok && alive[content] == x.ObjectID {
				delete(alive, content)
			}
		}
	}
	return out
}

// ends reports whether a write took an object out of use.
func ends(x limio.Write) bool {
	return slices.ContainsFunc(x.Changed, func(c limio.FieldChange) bool {
		return c.Path == "status" && (c.After == `"cancelled"` || c.After == `"closed"`)
	})
}

// contentOf is what an API client said of an object: parent and content,
// without what Limio makes up.
func contentOf(x limio.Write) string {
	b := strings.Builder{}
	b.WriteString(x.RecordType)
	for _, c := range x.Changed { // sorted by path
		switch {
		case c.Path == "related", c.Path == "customer", c.Path == "status", c.Path == "relationship_type", strings.HasPrefix(c.Path, "data."):
			b.WriteString("\n" + c.Path + "=" + c.After)
		}
	}
	return b.String()
}
