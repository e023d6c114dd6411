package daemon_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"hotsync/daemon/sweep"
	"hotsync/event"
	"hotsync/sandbox/limio"
	"hotsync/sandbox/stripe"
)

// visit is one call of an instance to a vendor, seen from the vendor's side.
type visit struct {
	instance, vendor, method, path, body string
	from, to                             time.Time
}

// begins reports whether this is the call that a sync of a Stripe subscription
// begins with.
func (v visit) begins() bool {
	return v.vendor == "stripe" && v.method == http.MethodGet && subscriptionPath.MatchString(v.path)
}

func (v visit) writes() bool { return v.vendor == "limio" && v.method != http.MethodGet }

func (v visit) lists() bool {
	return v.method == http.MethodGet && (v.vendor == "stripe" && v.path == "/v1/subscriptions" || v.vendor == "limio" && v.path == "/api/objects/limio/subscriptions")
}

var (
	subscriptionPath = regexp.MustCompile(`^/v1/subscriptions/(sub_\w+)$`)
	stripeID         = regexp.MustCompile(`\bsub_\w+`)
	limioSub         = regexp.MustCompile(`\bsub-[0-9a-f]+`)
)

// checkSweep looks for one summary, and for one trigger of each subscription.
func (f *fleet) checkSweep(run sweep.Run, triggers map[string]event.Trigger, subs []stripe.Subscription) {
	f.t.Helper()
	if run.Status != sweep.Done {
		f.t.Errorf("the sweep ended %s: %s", run.Status, run.Error)
	}
	f.wait("the sweep's summary is a row", func() bool {
		return f.query("SELECT count() FROM {db}.syncs WHERE key = 'sweep:run:"+run.ID+"'") == "1"
	})
	if n := f.query("SELECT uniqExact(id) FROM {db}.sync_events WHERE key = 'sweep:run:" + run.ID + "'"); n != "1" {
		f.t.Errorf("%s summaries of one run", n)
	}
	handed := map[string]int{}
	for _, tr := range triggers {
		if tr.Delivery == run.ID {
			handed[tr.Key.ID]++
		}
	}
	for _, s := range subs {
		if handed[s.ID] != 1 {
			f.t.Errorf("%s was handed on by %d triggers", s.ID, handed[s.ID])
		}
	}
	f.t.Logf("the sweep: %+v", run.Stats)
}

// checkOnce looks for exactly one outcome of each trigger.
func (f *fleet) checkOnce(triggers map[string]event.Trigger) {
	f.t.Helper()
	answered := f.outcomesByTrigger()
	for id, tr := range triggers {
		if answered[id] != 1 {
			f.t.Errorf("trigger %s of %s has %d outcomes", id, tr.Key, answered[id])
		}
	}
	f.t.Logf("%d triggers", len(triggers))
}

// spell is what one instance did for one key in one go.
type spell struct {
	instance string
	from, to time.Time // of the first call and of the last write
	writes   int
}

// checkOneHand looks, from the vendors' side, for a key that two instances
// handled at once: no other instance writes between the first call of a sync and
// its last write.
func (f *fleet) checkOneHand() {
	f.t.Helper()
	keyOf := map[string]string{} // Stripe ids by Limio id
	slices.SortStableFunc(f.visits, func(a, b visit) int { return a.from.Compare(b.from) })
	spells := map[string][]*spell{}
	open := map[string]*spell{} // by key and instance
	hands := map[string]bool{}
	for _, v := range f.visits {
		key := f.subject(v, keyOf)
		if key == "" {
			continue
		}
		hand := key + " " + v.instance
		if v.begins() {
			open[hand] = &spell{instance: v.instance, from: v.from}
			spells[key] = append(spells[key], open[hand])
		}
		if v.writes() {
			s := open[hand]
			if s == nil {
				f.t.Errorf("%s wrote to %s without having read it", v.instance, key)
				continue
			}
			s.to, s.writes = v.to, s.writes+1
			hands[v.instance] = true
		}
	}
	wrote := 0
	for key, all := range spells {
		all = slices.DeleteFunc(all, func(s *spell) bool { return s.writes == 0 })
		wrote += len(all)
		for i, s := range all {
			for _, other := range all[i+1:] {
				if s.instance != other.instance && s.from.Before(other.to) && other.from.Before(s.to) {
					f.t.Errorf("%s was written by %s and %s at once: %s to %s, %s to %s", key, s.instance, other.instance,
						s.from.Format(time.StampMilli), s.to.Format(time.StampMilli), other.from.Format(time.StampMilli), other.to.Format(time.StampMilli))
				}
			}
		}
	}
	if wrote < 150 || len(hands) < len(f.members) {
		f.t.Errorf("%d syncs wrote, by %v: nothing was proved", wrote, hands)
	}
	f.t.Logf("%d calls of %d keys, %d syncs that wrote, by %v", len(f.visits), len(spells), wrote, hands)
}

// subject is the Stripe subscription that a call is about.
func (f *fleet) subject(v visit, keyOf map[string]string) string {
	if v.vendor == "stripe" {
		return stripeID.FindString(v.path + " " + v.body)
	}
	id := limioSub.FindString(v.path + " " + v.body)
	if id == "" { // an object that belongs to one
		o, _ := f.limio.Get(v.path[strings.LastIndexByte(v.path, '/')+1:])
		id = o.Text("related")
	}
	if key, known := keyOf[id]; known || id == "" {
		return key
	}
	keyOf[id] = f.query("SELECT any(key_id) FROM {db}.syncs WHERE key LIKE 'stripe:subscription:%' AND has(related, '" + id + "')")
	return keyOf[id]
}

// checkPlanners looks whether lists were read by whoever had partition 0 then,
// and whether that was more than one.
func (f *fleet) checkPlanners() {
	f.t.Helper()
	readers := f.readers()
	for _, v := range f.visits {
		if !v.lists() {
			continue
		}
		owner := ""
		for _, p := range f.plans {
			if p.at.Before(v.from) {
				owner = p.instance
			}
		}
		if owner != v.instance {
			f.t.Errorf("%s read a list at %s, when %q had partition 0", v.instance, v.from.Format(time.StampMilli), owner)
		}
	}
	if len(readers) < 2 {
		f.t.Errorf("lists were read by %v: the planner never moved", readers)
	}
	f.t.Logf("lists were read by %v; partition 0 went round %d times", readers, len(f.plans))
}

// checkWrites looks in Limio's own log for a write that was made twice.
func (f *fleet) checkWrites() {
	f.t.Helper()
	seen := map[string]limio.Write{}
	for _, w := range f.limio.Writes() {
		if w.By != limio.ByAPI {
			continue
		}
		if w.Noop {
			f.t.Errorf("an update of %s %s changed nothing", w.RecordType, w.ObjectID)
		}
		what := w.ObjectID
		if w.Op == "create" {
			what = w.RecordType
		}
		for _, c := range w.Changed {
			if w.Op == "create" && (c.Path == "related" || c.Path == "status" || c.Path == "customer" || strings.HasPrefix(c.Path, "data.")) || w.Op != "create" {
				what += " " + c.Path + "=" + c.After
			}
		}
		if first, again := seen[what]; again {
			f.t.Errorf("written twice, at %s and %s: %s %s", first.At.Format(time.StampMilli), w.At.Format(time.StampMilli), w.Op, what)
		}
		seen[what] = w
	}
	f.t.Logf("%d writes in Limio", len(seen))
}
