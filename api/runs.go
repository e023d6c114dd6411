package api

import (
	"context"

	"hotsync/event"
	"hotsync/record"
)

// RunReport is what is known about a run of a sweep or a replay.
type RunReport struct {
	ID string `json:"id"`
	// Run is what the planner says, nil for a replay and for a run that is older
	// than those it keeps.
	Run *Run `json:"run"`
	// Outcomes is nil when ClickHouse is away; Missing says so then.
	Outcomes *Outcomes `json:"outcomes"`
	Missing  string    `json:"missing,omitempty" doc:"why outcomes is null"`
}

// Planned is what a sync of a run would write, or has written.
type Planned struct {
	Key     record.Key    `json:"key"`
	SyncID  string        `json:"sync_id"`
	Outcome event.Outcome `json:"outcome"`
	Reason  event.Reason  `json:"reason,omitempty"`
	Note    string        `json:"note,omitempty"`
	Plan    string        `json:"plan,omitempty" doc:"identifies the changes, for applying them"`
	Changes []Change      `json:"changes"`
}

// Change is one field that differs. Absent and null are one.
type Change struct {
	Object string `json:"object"`
	ID     string `json:"id,omitempty" doc:"of the object in Limio"`
	Ref    string `json:"ref,omitempty" doc:"its reference in the billing system, while Limio has no id"`
	Field  string `json:"field"`
	Op     string `json:"op"`
	Before any    `json:"before"`
	After  any    `json:"after"`
}

// PlannedPage is a page of them.
type PlannedPage struct {
	Records []Planned `json:"records"`
	Next    string    `json:"next,omitempty" doc:"the next page's after; absent on the last one"`
}

// OfRun is the input of a read of one run. Its id has two parts.
type OfRun struct {
	Name string `path:"name" maxLength:"100" doc:"the sweep, or replay"`
	ID   string `path:"id" maxLength:"100"`
}

func (r OfRun) id() string { return r.Name + "/" + r.ID }

// Paging is the input of a list.
type Paging struct {
	After string `query:"after" maxLength:"2000" doc:"the next of the page before"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

func (a *api) runs() {
	get(a, "get-run", "/api/runs/{name}/{id}", "A run of a sweep, or a replay, and what became of it", func(ctx context.Context, in *OfRun) (RunReport, error) {
		return a.Runs.Run(ctx, in.id())
	})
	type input struct {
		OfRun
		Paging
		Outcome []string `query:"outcome,explode" enum:"applied,in_sync,suppressed,skipped,observed,deferred,rejected,failed" doc:"of the syncs; absent: observed, which is what a plan is made of"`
	}
	get(a, "list-run-records", "/api/runs/{name}/{id}/records", "What a run would write, or has written, by record", func(ctx context.Context, in *input) (PlannedPage, error) {
		page, err := a.Runs.Planned(ctx, in.id(), in.Outcome, in.After, in.Limit)
		page.Records = orEmpty(page.Records)
		return page, err
	})
}
