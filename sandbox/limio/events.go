package limio

// syncEvent is what the event of a sync says.
type syncEvent struct {
	typ, message string
	target       string // as the caller named the subscription
}

// addEvent stores an event and returns the hash of its id.
func (tx *Tx) addEvent(typ, message, sub string, payload map[string]any) string {
	if payload == nil {
		payload = map[string]any{}
	}
	subs := []any{}
	if sub != "" {
		subs = append(subs, map[string]any{"id": sub})
	}
	payload["subscriptions"] = subs
	h := hash(tx.s.rnd)
	o := tx.under(sub, TypeEvent, "submitted", map[string]any{"type": typ, "message": message, "event": payload})
	o.ID = "event-" + h
	tx.must(o)
	return h
}

// addProcessEvent stores the process event that belongs to an event. Failures
// are critical plugin errors (limio.md 2.8).
func (tx *Tx) addProcessEvent(hash, sub, plugin, message string, failure error) {
	status, errs := "processed", []any{}
	if failure != nil {
		status, message = "failed", failure.Error()
		errs = append(errs, map[string]any{"name": plugin, "message": failure.Error()})
	}
	o := tx.under(sub, TypeProcessEvent, status, map[string]any{
		"logs": []any{map[string]any{"timestamp": stamp(tx.now), "message": message}}, "callouts": []any{},
	})
	o.ID = "process_event-" + hash
	o.JSON["criticalPluginErrors"] = errs
	o.JSON["event"] = "event-" + hash
	tx.must(o)
}

// addSyncEvents stores the two objects that every sync leaves behind.
func (tx *Tx) addSyncEvents(ev syncEvent, sub Object, failure error) {
	h := tx.addEvent(ev.typ, ev.message, sub.ID, map[string]any{"target": ev.target})
	tx.addProcessEvent(h, sub.ID, "subscription-sync", "Sync of "+ev.target+" done", failure)
}
