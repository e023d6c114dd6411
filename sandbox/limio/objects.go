package limio

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultLimit = 50
	maxLimit     = 100
)

// resolve finds the object that a path names: by Limio id, or by foreign id
// (assumption 1).
func (tx *Tx) resolve(r *http.Request) (*entry, error) {
	service, pathType, id := r.PathValue("service"), r.PathValue("path_type"), r.PathValue("id")
	k, err := pathTypeOf(service, pathType)
	if err != nil {
		return nil, err
	}
	st := &tx.s.store
	var found *entry
	switch {
	case service == "limio":
		found = st.entries[id]
	case k.recordType == TypeSubscription && service == "zuora":
		found = st.first(key{"number", id})
	case k.recordType == TypeCustomer:
		if identity := st.first(accountKey(service, id)); identity != nil {
			found = st.entries[str(identity.json(), "customer")]
		}
	case k.recordType == TypeIdentity:
		found = st.first(accountKey(service, id))
	}
	if found == nil || found.recordType != k.recordType {
		return nil, refuse(http.StatusNotFound, "%s %s %s not found", service, pathType, id)
	}
	return found, nil
}

func pathTypeOf(service, pathType string) (kind, error) {
	if !slices.Contains([]string{"limio", "zuora", "salesforce"}, service) {
		return kind{}, refuse(http.StatusBadRequest, "unknown service %q; use limio, zuora or salesforce", service)
	}
	k, ok := pathKind(pathType)
	if !ok {
		return kind{}, refuse(http.StatusBadRequest, "unknown path_type %q", pathType)
	}
	return k, nil
}

// onObject answers with what fn makes of the object that the path names.
func (s *Server) onObject(w http.ResponseWriter, r *http.Request, fn func(*Tx, *entry) (any, error)) {
	if err := onlyQuery(r); err != nil {
		s.answer(w, nil, err)
		return
	}
	var out any
	err := s.change(ByAPI, r.Pattern, func(tx *Tx) error {
		e, err := tx.resolve(r)
		if err != nil {
			return err
		}
		out, err = fn(tx, e)
		return err
	})
	s.answer(w, out, err)
}

func (s *Server) getObject(w http.ResponseWriter, r *http.Request) {
	s.onObject(w, r, func(_ *Tx, e *entry) (any, error) { return e.json(), nil })
}

func (s *Server) deleteObject(w http.ResponseWriter, r *http.Request) {
	s.onObject(w, r, func(tx *Tx, e *entry) (any, error) {
		return map[string]any{"success": true, "id": e.id}, tx.Remove(e.id)
	})
}

// relatedTypes are the record types that /related answers, by the record type
// it is asked of (assumptions 2 and 3). An order answers its events (assumption
// 19), others whatever is related.
var relatedTypes = map[string][]string{
	TypeCustomer:     {TypeSubscription, TypeIdentity, TypePaymentMethod, TypeAddress},
	TypeSubscription: {TypeOffer, TypeSchedule, TypePaymentMethod, TypeAddress, TypeOrder},
}

func (s *Server) relatedObjects(w http.ResponseWriter, r *http.Request) {
	s.onObject(w, r, func(tx *Tx, e *entry) (any, error) {
		by := key{"related", e.id}
		if e.recordType == TypeCustomer {
			by = key{"customer", e.id}
		}
		types, listed := relatedTypes[e.recordType]
		items := []any{}
		found := tx.s.store.find(by)
		if e.recordType == TypeOrder {
			found = tx.s.store.eventsOf(e.id)
		}
		for _, other := range found {
			if !listed || slices.Contains(types, other.recordType) {
				items = append(items, other.json())
			}
		}
		return map[string]any{"items": items}, nil
	})
}

// eventsOf returns the events of an order, each before its process events.
func (st *store) eventsOf(order string) (found []*entry) {
	for _, e := range st.find(key{"order", order}) {
		found = append(append(found, e), st.find(key{"event", e.id})...)
	}
	return found
}

// putObject is the partial update of assumption 6.
func (s *Server) putObject(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	if err == nil {
		err = checkPut(body)
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	s.onObject(w, r, func(tx *Tx, e *entry) (any, error) {
		stored, err := tx.Update(e.id, func(json map[string]any) { merge(json, body) })
		return stored.JSON, err
	})
}

var putTexts = []string{"name", "status", "start", "relationship_type"}

func checkPut(body map[string]any) error {
	if err := onlyKeys(body, append([]string{"data"}, putTexts...)...); err != nil {
		return err
	}
	return checkValues(body, putTexts)
}

func checkValues(body map[string]any, texts []string) error {
	if _, ok := body["data"].(map[string]any); !ok {
		return refuse(http.StatusBadRequest, "data is required and must be an object")
	}
	for _, name := range texts {
		if v, there := body[name]; there {
			if text, ok := v.(string); !ok || text == "" {
				return refuse(http.StatusBadRequest, "%s must be a text that is not empty", name)
			}
		}
	}
	return nil
}

// postObject creates an object (assumption 4).
func (s *Server) postObject(w http.ResponseWriter, r *http.Request) {
	k, err := pathTypeOf(r.PathValue("service"), r.PathValue("path_type"))
	switch {
	case err != nil:
	case r.PathValue("service") != "limio":
		err = refuse(http.StatusBadRequest, "objects are only created for the service limio")
	case !k.creatable:
		err = refuse(http.StatusBadRequest, "a %s cannot be created here; use a sync or an order", k.recordType)
	default:
		err = onlyQuery(r)
	}
	var body map[string]any
	if err == nil {
		body, err = readBody(r)
	}
	if err == nil {
		err = checkPost(body)
	}
	if err == nil && k.recordType == TypeSubscription {
		err = checkSubscription(body)
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	var stored Object
	err = s.change(ByAPI, r.Pattern, func(tx *Tx) (err error) {
		for _, name := range []string{"related", "customer", "owner"} {
			if id := str(body, name); id != "" && tx.s.store.entries[id] == nil {
				return refuse(http.StatusBadRequest, "%s: there is no %s", name, id)
			}
		}
		if k.recordType == TypeSubscription {
			body["owner"] = tx.ownerOf(str(body, "customer"), str(body, "owner"))
			body = compact(body)
		}
		stored, err = tx.Insert(Object{RecordType: k.recordType, JSON: body})
		return err
	})
	s.answer(w, stored.JSON, err)
}

var postTexts = []string{"related", "customer", "owner", "name", "reference", "status", "start", "relationship_type"}

func checkPost(body map[string]any) error {
	if err := onlyKeys(body, append([]string{"data"}, postTexts...)...); err != nil {
		return err
	}
	return checkValues(body, postTexts)
}

// checkSubscription says what a subscription record takes more than others
// (assumption 18). A second one with the same reference is taken, too.
func checkSubscription(body map[string]any) error {
	if str(body, "reference") == "" || str(body, "related") != "" {
		return refuse(http.StatusBadRequest, "a subscription needs a reference, and is related to nothing")
	}
	return nil
}

// listObjects answers a page of summaries.
func (s *Server) listObjects(w http.ResponseWriter, r *http.Request) {
	k, err := pathTypeOf(r.PathValue("service"), r.PathValue("path_type"))
	if err == nil && r.PathValue("service") != "limio" {
		err = refuse(http.StatusBadRequest, "lists are only there for the service limio")
	}
	if err == nil {
		err = onlyQuery(r, "limit", "queryMore")
	}
	limit, after := defaultLimit, 0
	if err == nil {
		limit, after, err = paging(r, k.recordType)
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	s.mu.Lock()
	page, more := s.store.after(k.recordType, after, limit)
	items := make([]any, len(page))
	for i, e := range page {
		items[i] = summary(e)
	}
	out := map[string]any{"items": items}
	if more {
		out["queryMore"] = cursor(k.recordType, page[len(page)-1].seq)
	}
	s.mu.Unlock()
	s.answer(w, out, nil)
}

var summaryFields = []string{
	"id", "record_type", "service", "status", "mode", "name", "reference", "owner", "customer", "related",
	"relationship_type", "start", "created", "updated",
}

// summary is an object without what must be fetched one by one (assumption 17).
func summary(e *entry) map[string]any {
	var all map[string]json.RawMessage
	_ = json.Unmarshal(e.text, &all) // pack wrote it
	out := map[string]any{}
	for _, name := range summaryFields {
		if v, ok := all[name]; ok {
			out[name] = v
		}
	}
	return out
}

func paging(r *http.Request, recordType string) (limit, after int, err error) {
	limit = defaultLimit
	if text := r.URL.Query().Get("limit"); r.URL.Query().Has("limit") {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxLimit {
			return 0, 0, refuse(http.StatusBadRequest, "limit %q is not a number from 1 to %d", text, maxLimit)
		}
	}
	if text := r.URL.Query().Get("queryMore"); r.URL.Query().Has("queryMore") {
		if after, err = parseCursor(text, recordType); err != nil {
			return 0, 0, err
		}
	}
	return limit, after, nil
}

func cursor(recordType string, seq int) string {
	return base64.URLEncoding.EncodeToString([]byte("DnF1ZXJ5VGhlbkZldGNo:" + recordType + ":" + strconv.Itoa(seq)))
}

func parseCursor(text, recordType string) (seq int, err error) {
	raw, err := base64.URLEncoding.DecodeString(text)
	rest, ok := strings.CutPrefix(string(raw), "DnF1ZXJ5VGhlbkZldGNo:"+recordType+":")
	if err == nil && ok {
		seq, err = strconv.Atoi(rest)
	}
	if err != nil || !ok {
		return 0, refuse(http.StatusBadRequest, "queryMore is not a cursor of this list")
	}
	return seq, nil
}

// eventsOfEvent answers nothing, as Limio does (limio.md 3.1).
func (s *Server) eventsOfEvent(w http.ResponseWriter, r *http.Request) {
	s.answer(w, map[string]any{"items": []any{}, "unpackedItems": []any{}}, onlyQuery(r))
}
