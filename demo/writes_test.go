package demo_test

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"hotsync/event"
	"hotsync/record"
	"hotsync/sandbox/limio"
)

// checkWrites holds every write that Limio saw from the API, and every
// subscription that its own sync imported, against the log of events.
func (r *rig) checkWrites() {
	r.t.Helper()
	var writes []limio.Write
	for _, w := range r.world.Limio().Writes() {
		if w.By == limio.ByAPI || w.By == limio.BySync && w.Op == "create" && w.RecordType == limio.TypeSubscription {
			writes = append(writes, w)
		}
	}
	events := r.plans()
	missing := unlogged(writes, events)
	for i, w := range missing {
		if i < 5 {
			r.t.Errorf("%s of Limio's %s %s at %s: no plan accounts for it: %+v", w.Op, w.RecordType, w.ObjectID, w.At, w.Changed)
			o, _ := r.world.Limio().Get(w.ObjectID)
			r.history(cmp.Or(o.Text("related"), o.Text("customer"), w.ObjectID))
		}
	}
	if len(writes) == 0 || len(events) == 0 {
		r.t.Error("nothing was written or planned: nothing was proved")
	}
	r.t.Logf("%d writes held against %d plans, %d missing", len(writes), len(events), len(missing))
}

// plans reads the planned events from ClickHouse, as often as each was
// announced.
func (r *rig) plans() (out []event.Event) {
	r.t.Helper()
	rows := r.sql.Exec(r.t, "SELECT phase, related, changes.object AS object, changes.id AS id, changes.ref AS ref, changes.op AS op, changes.field AS field, changes.after AS after FROM "+
		r.sql.Database+".sync_events FINAL WHERE phase = 'planned' FORMAT JSONEachRow")
	for line := range strings.Lines(rows) {
		var row struct {
			Phase                             event.Phase
			Related                           []string
			Object, ID, Ref, Op, Field, After []string
		}
		must(r.t, json.Unmarshal([]byte(line), &row))
		e := event.Event{Phase: row.Phase, Related: row.Related}
		for i := range row.Object {
			e.Changes = append(e.Changes, record.Change{
				Object: record.Type(row.Object[i]), ID: row.ID[i], Ref: row.Ref[i], Op: record.Op(row.Op[i]), Field: row.Field[i], After: record.Value(row.After[i]),
			})
		}
		out = append(out, e)
	}
	return out
}

// unlogged returns the writes for which no plan accounts. Each part of a plan
// that is about one object accounts for one write of just these values at most,
// and what is not announced by a planned event accounts for none: neither what
// was suppressed or observed, nor what was told only afterwards (Invariant 6).
func unlogged(writes []limio.Write, events []event.Event) (missing []limio.Write) {
	byPlace := map[string][]*intent{}
	for _, e := range events {
		if e.Phase != event.Planned {
			continue
		}
		for _, in := range intents(e) {
			for _, place := range in.places() {
				byPlace[place] = append(byPlace[place], in)
			}
		}
	}
	by := map[*intent]int{} // the write that each accounts for
	var account func(i int, asked map[*intent]bool) bool
	account = func(i int, asked map[*intent]bool) bool { // augmenting paths of a bipartite matching
		for _, in := range byPlace[placeOf(writes[i])] {
			if asked[in] || !in.covers(writes[i]) {
				continue
			}
			asked[in] = true
			other, taken := by[in]
			if !taken || account(other, asked) {
				by[in] = i
				return true
			}
		}
		return false
	}
	for i, w := range writes {
		if !account(i, map[*intent]bool{}) {
			missing = append(missing, w)
		}
	}
	return missing
}

// intent is what a planned event set out to do to one object.
type intent struct {
	op      record.Op
	object  string
	id, ref string
	related []string
	fields  map[string]record.Value
}

// intents takes an event apart. A field that comes a second time is of the next
// object, which may have no id yet and the same natural key under another parent.
func intents(e event.Event) (out []*intent) {
	var last *intent
	for _, c := range e.Changes {
		fits := last != nil && last.op == c.Op && last.object == string(c.Object) && last.id == c.ID && last.ref == c.Ref
		if fits {
			_, again := last.fields[c.Field]
			fits = !again
		}
		if !fits {
			last = &intent{op: c.Op, object: string(c.Object), id: c.ID, ref: c.Ref, related: e.Related, fields: map[string]record.Value{}}
			out = append(out, last)
		}
		last.fields[c.Field] = c.After
	}
	return out
}

// places are where a write of this intent may show.
func (in *intent) places() []string {
	switch in.op {
	case record.OpCreate:
		out := make([]string, len(in.related))
		for i, parent := range in.related {
			out[i] = "create " + in.object + " " + parent
		}
		return out
	case record.OpImport:
		return []string{"import " + in.object + " " + in.ref}
	}
	return []string{"update " + in.object + " " + in.id}
}

func placeOf(w limio.Write) string {
	switch {
	case w.By == limio.BySync:
		return "import " + w.RecordType + " " + text(w, "reference")
	case w.Op == "create" && text(w, "related") != "":
		return "create " + w.RecordType + " " + text(w, "related")
	case w.Op == "create":
		return "create " + w.RecordType + " " + text(w, "customer")
	}
	return w.Op + " " + w.RecordType + " " + w.ObjectID // nothing is ever deleted
}

// text is a text that a write set.
func text(w limio.Write, path string) string {
	for _, c := range w.Changed {
		if c.Path == path {
			return record.Value(c.After).String()
		}
	}
	return ""
}

// covers reports whether the intent is a write of just these values.
func (in *intent) covers(w limio.Write) bool {
	if in.op == record.OpImport {
		return true // what it holds is what Limio itself read
	}
	seen := 0
	for _, c := range w.Changed {
		want, planned := in.fields[c.Path]
		switch {
		case planned && sameValue(want, record.Value(c.After)):
			seen++
		case planned, w.Op != "create", strings.HasPrefix(c.Path, "data.") && c.After != "null", c.Path == "relationship_type":
			return false
		} // else Limio's own, on top of a new object
	}
	if w.Op != "create" {
		return true // fields that were right already do not show
	}
	for path, v := range in.fields {
		if isNull(v) && !slices.ContainsFunc(w.Changed, func(c limio.FieldChange) bool { return c.Path == path }) {
			seen++
		}
	}
	return seen == len(in.fields)
}

const mask = "•••"

// sameValue compares a planned value with a stored one. Of personal data a plan
// shows the first letter.
func sameValue(planned, have record.Value) bool {
	if first, masked := strings.CutSuffix(planned.String(), mask); masked {
		return strings.HasPrefix(have.String(), first)
	}
	if isNull(planned) || isNull(have) {
		return isNull(planned) && isNull(have)
	}
	var a, b any
	return json.Unmarshal([]byte(planned), &a) == nil && json.Unmarshal([]byte(have), &b) == nil && a == b
}

func isNull(v record.Value) bool { return v == "" || v == record.Null }

// The check sees what is missing: it is what the crash test stands on.
func TestWriteWithoutAPlanIsFound(t *testing.T) {
	change := func(op record.Op, object record.Type, id, ref, field, after string) record.Change {
		return record.Change{Op: op, Object: object, ID: id, Ref: ref, Field: field, After: record.Value(after)}
	}
	plan := func(changes ...record.Change) event.Event {
		return event.Event{Phase: event.Planned, Related: []string{"sub-1", "cus-1"}, Changes: changes}
	}
	write := func(op, object, id string, pathsAndValues ...string) limio.Write {
		w := limio.Write{By: limio.ByAPI, Op: op, RecordType: object, ObjectID: id}
		for i := 0; i < len(pathsAndValues); i += 2 {
			w.Changed = append(w.Changed, limio.FieldChange{Path: pathsAndValues[i], After: pathsAndValues[i+1]})
		}
		return w
	}
	imported := write("create", "subscription", "sub-2", "reference", `"A-S1"`, "data.x", "1")
	imported.By = limio.BySync

	// Each write has the plan at its place that accounts for it, and no other.
	writes := []limio.Write{
		write("update", "subscription", "sub-1", "status", `"cancelled"`, "data.termEndDate", `"2027-01-01"`),
		write("update", "subscription", "sub-1", "data.termEndDate", `"2028-01-01"`),
		write("update", "subscription", "sub-1", "data.termEndDate", `"2027-01-01"`),
		write("update", "customer", "cus-1", "data.name", `"Ada Reader"`),
		write("update", "subscription_offer", "offer-1", "data.price.amount", "12.5", "data.end", "null"),
		write("create", "schedule", "schedule-1", "id", `"schedule-1"`, "related", `"sub-1"`, "status", `"pending-external"`, "data.date", `"2027-02-01"`),
		write("create", "schedule", "schedule-2", "related", `"sub-1"`, "status", `"pending-external"`, "data.date", `"2027-03-01"`),
		write("create", "address", "address-1", "customer", `"cus-1"`, "status", `"active"`, "relationship_type", `"billing"`, "data.city", `"Galway"`),
		write("create", "address", "address-2", "customer", `"cus-1"`, "status", `"active"`, "relationship_type", `"delivery"`, "data.city", `"Galway"`, "data.state", "null"),
		imported,
	}
	events := []event.Event{
		// Those of one object stand in an order in which the first that fits is not
		// the right one for each: the third write's plan would do for the first.
		plan(change(record.OpUpdate, "subscription", "sub-1", "", "status", `"cancelled"`), change(record.OpUpdate, "subscription", "sub-1", "", "data.termEndDate", `"2027-01-01"`)),
		plan(change(record.OpUpdate, "subscription", "sub-1", "", "data.termEndDate", `"2028-01-01"`)),
		plan(change(record.OpUpdate, "subscription", "sub-1", "", "data.termEndDate", `"2027-01-01"`)),
		plan(change(record.OpUpdate, "customer", "cus-1", "", "data.name", `"A•••"`)),
		plan(change(record.OpCancel, "subscription_offer", "offer-1", "", "data.price.amount", "12.50"), change(record.OpCancel, "subscription_offer", "offer-1", "", "data.end", "")),
		plan(change(record.OpCreate, "schedule", "", "upcoming", "status", `"pending-external"`), change(record.OpCreate, "schedule", "", "upcoming", "data.date", `"2027-02-01"`)),
		plan(change(record.OpCreate, "schedule", "", "upcoming", "status", `"pending-external"`), change(record.OpCreate, "schedule", "", "upcoming", "data.date", `"2027-03-01"`)),
		plan(change(record.OpCreate, "address", "", "billing", "relationship_type", `"billing"`), change(record.OpCreate, "address", "", "billing", "data.city", `"Galway"`)),
		plan(change(record.OpCreate, "address", "", "delivery", "relationship_type", `"delivery"`), change(record.OpCreate, "address", "", "delivery", "data.city", `"Galway"`), change(record.OpCreate, "address", "", "delivery", "data.state", "null")),
		plan(change(record.OpImport, "subscription", "", "A-S1", "status", `"active"`)),
	}
	if missing := unlogged(writes, events); len(missing) > 0 {
		t.Fatalf("all are in the log, and yet: %+v", missing)
	}
	reversed := slices.Clone(writes)
	slices.Reverse(reversed)
	if missing := unlogged(reversed, events); len(missing) > 0 {
		t.Fatalf("in another order: %+v", missing)
	}
	for i, w := range writes {
		if i == 2 {
			continue // the same end of the term was planned twice: see below
		}
		if diff := gocmp.Diff([]limio.Write{w}, unlogged(writes, slices.Delete(slices.Clone(events), i, i+1))); diff != "" {
			t.Errorf("without plan %d: %s", i, diff)
		}
	}
	if got := len(unlogged(writes, slices.Delete(slices.Clone(events), 2, 3))); got != 1 {
		t.Errorf("two writes of one value and one plan of it: %d are missing", got)
	}

	for name, w := range map[string]limio.Write{
		"a second time":      writes[1],
		"a second create":    writes[5],
		"another value":      write("update", "subscription", "sub-1", "data.termEndDate", `"2029-01-01"`),
		"another field":      write("update", "subscription", "sub-1", "data.termStartDate", `"2028-01-01"`),
		"one field too many": write("update", "subscription", "sub-1", "data.termEndDate", `"2028-01-01"`, "status", `"active"`),
		"another object":     write("update", "subscription", "sub-9", "data.termEndDate", `"2028-01-01"`),
		"another parent":     write("create", "schedule", "schedule-9", "related", `"sub-9"`, "status", `"pending-external"`, "data.date", `"2027-02-01"`),
		"another name":       write("update", "customer", "cus-1", "data.name", `"Bob Reader"`),
		"a create with less": write("create", "schedule", "schedule-9", "related", `"sub-1"`, "status", `"pending-external"`),
		"a deletion":         write("delete", "subscription", "sub-1"),
	} {
		if got := len(unlogged(append(slices.Clone(writes), w), events)); got != 1 {
			t.Errorf("%s: %d are missing", name, got)
		}
	}
	for _, how := range []event.Outcome{event.Suppressed, event.Observed, event.Deferred, event.Applied} {
		told := slices.Clone(events)
		told[1].Phase, told[1].Outcome = event.Done, how
		if got := len(unlogged(writes, told)); got != 1 {
			t.Errorf("%s, and never planned: %d are missing", how, got)
		}
	}
}
