package limio

import (
	"fmt"
	"slices"
	"time"
)

// store holds the objects and the ways to find them. The server's lock guards
// it.
type store struct {
	entries map[string]*entry
	byType  map[string][]*entry // oldest first
	index   map[key][]*entry    // by what an object says of itself; oldest first
	seq     int                 // of the newest object
	log     writeLog
}

// entry is one stored object. It is kept as text, which takes a fraction of the
// memory that maps do: a test may hold hundreds of thousands.
type entry struct {
	seq        int
	id         string
	recordType string
	text       []byte
	keys       []key
}

// json returns a copy of the object.
func (e *entry) json() map[string]any { return unpack(e.text) }

func (e *entry) object() Object { return Object{e.id, e.recordType, e.json()} }

// key is something that objects are found by, such as their customer.
type key struct{ by, value string }

func newStore(keepWrites int, forget bool) store {
	return store{
		entries: map[string]*entry{}, byType: map[string][]*entry{}, index: map[key][]*entry{},
		log: writeLog{keep: keepWrites, forget: forget},
	}
}

// identityKey finds identities by what they say.
func identityKey(service, issuer, typ, value string) key {
	return key{"identity", service + "\x00" + issuer + "\x00" + typ + "\x00" + value}
}

// accountKey finds the account identity of a service (assumption 7).
func accountKey(service, account string) key {
	return identityKey(service, service, "account", account)
}

// externalKey finds login identities by issuer and subject.
func externalKey(iss, sub string) key { return key{"external", iss + "\x00" + sub} }

func keysOf(id, recordType string, json map[string]any) []key {
	var keys []key
	add := func(by, value string) {
		if k := (key{by, value}); value != "" && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	if related := str(json, "related"); related != id { // a payment method may be related to itself
		add("related", related)
	}
	add("customer", str(json, "customer"))
	add("owner", str(json, "owner"))
	data := obj(json, "data")
	switch recordType {
	case TypeSubscription:
		add("number", str(json, "reference"))
		add("number", str(json, "name"))
	case TypeCustomer:
		add("email", str(data, "email"))
	case TypeOrder:
		add("external_id", str(json, "external_id"))
	case TypeEvent:
		add("order", str(obj(data, "event"), "id"))
	case TypeProcessEvent:
		add("event", str(json, "event"))
	case TypeIdentity:
		if token := obj(data, "id_token"); token != nil {
			keys = append(keys, externalKey(str(token, "iss"), str(token, "sub")))
		} else {
			keys = append(keys, identityKey(str(data, "service"), str(data, "issuer"), str(data, "type"), str(data, "value")))
		}
	}
	return keys
}

// find returns the objects under k, oldest first.
func (st *store) find(k key) []*entry { return slices.Clone(st.index[k]) }

// first returns the oldest object under k, or nil.
func (st *store) first(k key) *entry {
	if all := st.index[k]; len(all) > 0 {
		return all[0]
	}
	return nil
}

func (st *store) insert(id, recordType string, json map[string]any) *entry {
	st.seq++
	e := &entry{seq: st.seq, id: id, recordType: recordType}
	st.entries[id] = e
	st.byType[recordType] = append(st.byType[recordType], e)
	st.replace(e, json)
	return e
}

func (st *store) replace(e *entry, json map[string]any) {
	st.unindex(e)
	e.text, e.keys = pack(json), keysOf(e.id, e.recordType, json)
	for _, k := range e.keys {
		at, _ := slices.BinarySearchFunc(st.index[k], e.seq, bySeq)
		st.index[k] = slices.Insert(st.index[k], at, e)
	}
}

func bySeq(e *entry, seq int) int { return e.seq - seq }

func (st *store) remove(e *entry) {
	st.unindex(e)
	delete(st.entries, e.id)
	all := st.byType[e.recordType]
	if at, ok := slices.BinarySearchFunc(all, e.seq, bySeq); ok {
		st.byType[e.recordType] = slices.Delete(all, at, at+1)
	}
}

func (st *store) unindex(e *entry) {
	for _, k := range e.keys {
		at, ok := slices.BinarySearchFunc(st.index[k], e.seq, bySeq)
		switch {
		case !ok:
		case len(st.index[k]) == 1:
			delete(st.index, k)
		default:
			st.index[k] = slices.Delete(st.index[k], at, at+1)
		}
	}
}

// after returns up to limit objects of a type that are newer than seq, and
// whether there are more.
func (st *store) after(recordType string, seq, limit int) (page []*entry, more bool) {
	all := st.byType[recordType]
	from, _ := slices.BinarySearchFunc(all, seq+1, bySeq)
	to := min(from+limit, len(all))
	return all[from:to], to < len(all)
}

// Tx is a change of stored objects in progress. It is only good inside the
// function that it was handed to, which must not call the Server.
type Tx struct {
	s         *Server
	by, route string
	now       time.Time
}

// change runs fn under the lock. What fn wrote before it returned an error
// stays written.
func (s *Server) change(by, route string, fn func(*Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fn(&Tx{s: s, by: by, route: route, now: s.Clock.Now()})
}

// Now returns the time of the change.
func (tx *Tx) Now() time.Time { return tx.now }

// Get returns an object by id.
func (tx *Tx) Get(id string) (Object, bool) {
	e := tx.s.store.entries[id]
	if e == nil {
		return Object{}, false
	}
	return e.object(), true
}

// Related returns the objects whose related is id, oldest first.
func (tx *Tx) Related(id string) []Object { return objects(tx.s.store.find(key{"related", id})) }

// OfCustomer returns the objects whose customer is id, oldest first.
func (tx *Tx) OfCustomer(id string) []Object { return objects(tx.s.store.find(key{"customer", id})) }

// Insert stores a new object and returns it as stored. A missing id,
// reference, status, mode, service or data is filled in.
func (tx *Tx) Insert(o Object) (Object, error) {
	k, ok := kindOf(o.RecordType)
	if !ok {
		return Object{}, fmt.Errorf("insert object: unknown record type %q", o.RecordType)
	}
	id := o.ID
	if id == "" {
		id = k.prefix + hash(tx.s.rnd)
	}
	if tx.s.store.entries[id] != nil {
		return Object{}, fmt.Errorf("insert object: %s is there already", id)
	}
	json := cloneMap(o.JSON)
	fill := func(name string, value func() any) {
		if json[name] == nil {
			json[name] = value()
		}
	}
	json["id"], json["record_type"] = id, o.RecordType
	fill("service", func() any { return "limio" })
	fill("status", func() any { return "active" })
	fill("mode", func() any { return "production" })
	fill("reference", func() any { return reference(tx.s.rnd) })
	fill("created", func() any { return stamp(tx.now) })
	fill("updated", func() any { return json["created"] })
	fill("data", func() any { return map[string]any{} })
	e := tx.s.store.insert(id, o.RecordType, json)
	w := Write{At: tx.now, By: tx.by, Route: tx.route, Op: "create", ObjectID: id, RecordType: o.RecordType}
	if tx.by != BySeed {
		w.Changed = changes(nil, json)
	}
	tx.s.store.log.add(w)
	return e.object(), nil
}

// Update lets fn edit an object. The write is logged, as a Noop when fn
// changed nothing, and sets updated.
func (tx *Tx) Update(id string, fn func(json map[string]any)) (Object, error) {
	e := tx.s.store.entries[id]
	if e == nil {
		return Object{}, fmt.Errorf("update object: no %s", id)
	}
	was, json := e.json(), e.json()
	fn(json)
	json = cloneMap(json)
	json["id"], json["record_type"] = e.id, e.recordType
	json["updated"] = later(tx.now, str(was, "updated"))
	changed := changes(was, json)
	tx.s.store.replace(e, json)
	tx.s.store.log.add(Write{
		At: tx.now, By: tx.by, Route: tx.route, Op: "update", ObjectID: id, RecordType: e.recordType,
		Changed: changed, Noop: len(changed) == 0,
	})
	return e.object(), nil
}

// refresh is an Update that leaves the object, and the log, alone when fn
// changes nothing.
func (tx *Tx) refresh(id string, fn func(json map[string]any)) error {
	e := tx.s.store.entries[id]
	if e == nil {
		return fmt.Errorf("refresh object: no %s", id)
	}
	json := e.json()
	fn(json)
	if len(changes(e.json(), cloneMap(json))) == 0 {
		return nil
	}
	_, err := tx.Update(id, fn)
	return err
}

// noop logs that an object was looked at and found right.
func (tx *Tx) noop(o Object) {
	tx.s.store.log.add(Write{
		At: tx.now, By: tx.by, Route: tx.route, Op: "update", ObjectID: o.ID, RecordType: o.RecordType, Noop: true,
	})
}

// Remove deletes an object. What refers to it stays.
func (tx *Tx) Remove(id string) error {
	e := tx.s.store.entries[id]
	if e == nil {
		return fmt.Errorf("remove object: no %s", id)
	}
	tx.s.store.remove(e)
	tx.s.store.log.add(Write{
		At: tx.now, By: tx.by, Route: tx.route, Op: "delete", ObjectID: id, RecordType: e.recordType,
		Changed: changes(e.json(), nil),
	})
	return nil
}

// later returns the stamp of now, or the one after prev when now is not later.
func later(now time.Time, prev string) string {
	if text := stamp(now); text > prev {
		return text
	}
	t, err := time.Parse(time.RFC3339, prev)
	if err != nil { // an updated that Go code set to something else
		return stamp(now)
	}
	return stamp(t.Add(time.Millisecond))
}

func objects(entries []*entry) []Object {
	out := make([]Object, len(entries))
	for i, e := range entries {
		out[i] = e.object()
	}
	return out
}
