package api

import (
	"context"
	"time"

	"hotsync/event"
	"hotsync/record"
)

// UnderWay stands for the outcome of what has not come to an end.
const UnderWay = "under_way"

// Filter says which syncs are meant. It is the one predicate of lists, counts
// and replays. Conditions on different fields must all hold; of several values
// of one field, one must.
type Filter struct {
	SyncID    []string  `json:"sync_id,omitempty" query:"sync_id,explode" maxItems:"1000"`
	Key       []string  `json:"key,omitempty" query:"key,explode" maxItems:"1000" doc:"as system:kind:id"`
	KeyPrefix string    `json:"key_prefix,omitempty" query:"key_prefix"`
	System    []string  `json:"system,omitempty" query:"system,explode" doc:"of the key: zuora, stripe, limio, login, sweep, replay, dead"`
	Kind      []string  `json:"kind,omitempty" query:"kind,explode" doc:"of the key: account, subscription, message, run, …"`
	Outcome   []string  `json:"outcome,omitempty" query:"outcome,explode" enum:"applied,in_sync,suppressed,skipped,observed,deferred,rejected,failed,under_way"`
	Reason    []string  `json:"reason,omitempty" query:"reason,explode"`
	Cause     []string  `json:"cause,omitempty" query:"cause,explode" enum:"login,stripe,zuora_callout,api,retry,replay,sweep" doc:"of the first trigger"`
	Origin    []string  `json:"origin,omitempty" query:"origin,explode"`
	Class     []string  `json:"error_class,omitempty" query:"error_class,explode"`
	Delivery  string    `json:"delivery,omitempty" query:"delivery" doc:"the producer's id of a message, such as evt_…"`
	Run       string    `json:"run,omitempty" query:"run" doc:"looked at for this run of a sweep or this replay"`
	Related   string    `json:"related,omitempty" query:"related" doc:"a Limio id, an account or a customer that the sync concerns"`
	Field     string    `json:"field,omitempty" query:"field" doc:"a field that differed"`
	Text      string    `json:"text,omitempty" query:"text" maxLength:"500" doc:"is in the key, the note, the error or a related id"`
	Since     time.Time `json:"since,omitzero" query:"since" doc:"the first trigger was received then or later"`
	Until     time.Time `json:"until,omitzero" query:"until" doc:"the first trigger was received before then"`
	AtSince   time.Time `json:"at_since,omitzero" query:"at_since" doc:"the last event is of then or later"`
	AtUntil   time.Time `json:"at_until,omitzero" query:"at_until" doc:"the last event is of before then"`
}

// Sync is one sync in its final state.
type Sync struct {
	ID        string        `json:"sync_id"`
	Key       record.Key    `json:"key"`
	Outcome   event.Outcome `json:"outcome" doc:"empty while it is under way"`
	Reason    event.Reason  `json:"reason,omitempty"`
	Note      string        `json:"note,omitempty"`
	Cause     event.Cause   `json:"cause"`
	Type      string        `json:"type,omitempty" doc:"of its first trigger: invoice.paid, login"`
	Delivery  string        `json:"delivery,omitempty" doc:"likewise: evt_…"`
	Origin    event.Origin  `json:"origin,omitempty"`
	Received  time.Time     `json:"received" doc:"its first trigger"`
	At        time.Time     `json:"at" doc:"its last event"`
	Next      time.Time     `json:"next,omitzero" doc:"the next attempt of one that was put off"`
	Attempts  int           `json:"attempts"`
	Changes   int           `json:"changes"`
	Recovered bool          `json:"recovered,omitempty"`
	Class     string        `json:"error_class,omitempty"`
	Error     string        `json:"error,omitempty"`
	Related   []string      `json:"related,omitempty"`
	Plan      string        `json:"plan,omitempty" doc:"of an observed sync"`
	Mode      string        `json:"mode,omitempty" doc:"write, delegate, or observe: nothing could be written"`
}

// SyncPage is a page of them.
type SyncPage struct {
	Syncs []Sync `json:"syncs"`
	Next  string `json:"next,omitempty" doc:"the next page's after; absent on the last one"`
}

type counted struct {
	Count int64 `json:"count"`
}

func (a *api) syncs() {
	type list struct {
		Filter
		Paging
	}
	get(a, "list-syncs", "/api/syncs", "Syncs, the newest first", func(ctx context.Context, in *list) (SyncPage, error) {
		page, err := a.Syncs.Find(ctx, in.Filter, in.After, in.Limit)
		page.Syncs = orEmpty(page.Syncs)
		return page, err
	})
	get(a, "count-syncs", "/api/syncs/count", "How many syncs there are", func(ctx context.Context, in *struct{ Filter }) (counted, error) {
		n, err := a.Syncs.Count(ctx, in.Filter)
		return counted{n}, err
	})
}
