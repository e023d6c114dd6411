package limio

import (
	"net/http"
	"slices"
	"strings"
)

// postTimeline writes a note onto a subscription (limio.md 3.2). The name of
// the property that holds the fields is not documented, so any is taken.
func (s *Server) postTimeline(w http.ResponseWriter, r *http.Request) {
	err := onlyQuery(r)
	var body map[string]any
	if err == nil {
		body, err = readBody(r)
	}
	var fields []any
	if err == nil {
		fields, err = checkNote(body)
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	var out map[string]any
	err = s.change(ByAPI, r.Pattern, func(tx *Tx) error {
		sub := tx.forSubscription(body)
		if sub == nil {
			return refuse(http.StatusNotFound, "forSubscription: subscription not found")
		}
		o := tx.under(sub.id, TypeEvent, "submitted", map[string]any{
			"type": str(body, "type"), "message": str(body, "name"), "fields": fields,
			"event": map[string]any{"subscriptions": []any{map[string]any{"id": sub.id}}},
		})
		o.JSON["name"], o.JSON["source"] = body["name"], body["source"]
		stored, err := tx.Insert(o)
		out = map[string]any{"id": stored.ID, "reference": stored.JSON["reference"], "status": "submitted"}
		return err
	})
	s.answer(w, out, err)
}

// forSubscription finds the subscription that a body names by id or name.
func (tx *Tx) forSubscription(body map[string]any) *entry {
	target := obj(body, "forSubscription")
	id := orElse(orElse(str(target, "id"), str(body, "subscriptionId")), str(body, "forSubscription"))
	if e := tx.s.store.entries[id]; e != nil && e.recordType == TypeSubscription {
		return e
	}
	if name := str(target, "name"); id == "" && name != "" {
		return tx.s.store.first(key{"number", name})
	}
	return nil
}

// checkNote returns the fields of a note.
func checkNote(body map[string]any) (fields []any, err error) {
	for _, name := range []string{"name", "type", "source"} {
		if str(body, name) == "" {
			return nil, refuse(http.StatusBadRequest, "%s is required", name)
		}
	}
	if target := obj(body, "forSubscription"); str(target, "id") == "" && str(target, "name") == "" {
		return nil, refuse(http.StatusBadRequest, "forSubscription.id or forSubscription.name is required")
	}
	found := ""
	for name := range body {
		if slices.Contains([]string{"name", "type", "source", "forSubscription"}, name) {
			continue
		}
		list, ok := body[name].([]any)
		if !ok || found != "" {
			return nil, refuse(http.StatusBadRequest, "unknown property %q; a note has one array of fields", name)
		}
		found, fields = name, list
	}
	for i, item := range fields {
		field, _ := item.(map[string]any)
		if str(field, "label") == "" || !slices.Contains([]string{"string", "date", "currency", "number", "boolean", "json"}, str(field, "type")) {
			return nil, refuse(http.StatusBadRequest, "%s[%d]: label and a type of string, date, currency, number, boolean or json are required", found, i)
		}
		if _, ok := field["value"]; !ok {
			return nil, refuse(http.StatusBadRequest, "%s[%d]: value is required", found, i)
		}
	}
	return fields, nil
}

// getTimeline answers events, payment methods, addresses, offers and schedules
// of a subscription or a customer, newest first.
func (s *Server) getTimeline(w http.ResponseWriter, r *http.Request) {
	err := onlyQuery(r)
	if k, ok := pathKind(r.PathValue("path_type")); err == nil && (!ok || (k.recordType != TypeSubscription && k.recordType != TypeCustomer)) {
		err = refuse(http.StatusBadRequest, "path_type must be subscriptions or customers")
	}
	if err != nil {
		s.answer(w, nil, err)
		return
	}
	items := []any{}
	err = s.change(ByAPI, r.Pattern, func(tx *Tx) error {
		st := &tx.s.store
		e := st.entries[r.PathValue("id")]
		if e == nil || !strings.HasPrefix(r.PathValue("path_type"), e.recordType) {
			return refuse(http.StatusNotFound, "%s %s not found", r.PathValue("path_type"), r.PathValue("id"))
		}
		by := key{"related", e.id}
		if e.recordType == TypeCustomer {
			by = key{"customer", e.id}
		}
		shown := []string{TypeEvent, TypePaymentMethod, TypeAddress, TypeOffer, TypeSchedule}
		for _, other := range slices.Backward(st.find(by)) {
			if slices.Contains(shown, other.recordType) {
				items = append(items, other.json())
			}
		}
		return nil
	})
	s.answer(w, map[string]any{"items": items}, err)
}
