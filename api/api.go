// Package api is what operators ask of a running daemon over HTTP: sweeps and
// their runs, syncs and replays of them, dead letters. It promises that every
// answer is JSON, that every refusal is a problem (RFC 9457) which says what is
// wrong, where, and what to do, that nothing but this machine is spoken to
// (there is no authentication yet), and that ClickHouse away costs only what
// only ClickHouse knows (Invariant 7).
//
// It knows nothing of Kafka and ClickHouse: what it asks for stands in Config,
// and who provides that is package daemon's affair.
package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hotsync/internal/fault"
)

// sweepBoard shows sweeps and takes requests for them.
type sweepBoard interface {
	// Sweeps returns how the sweeps of these names stand, all of them without a
	// name.
	Sweeps(ctx context.Context, names ...string) ([]Sweep, error)
	// Ask makes a request durable and waits a moment for what becomes of it.
	Ask(ctx context.Context, name string, ask SweepAsk) (SweepAnswer, error)
}

// runBoard shows runs of sweeps and replays.
type runBoard interface {
	Run(ctx context.Context, id string) (RunReport, error)
	// Planned returns what syncs of a run with these outcomes, observed if none
	// is given, would write, in the order of keys.
	Planned(ctx context.Context, run string, outcomes []string, after string, limit int) (PlannedPage, error)
}

// syncBoard shows syncs.
type syncBoard interface {
	// Find returns syncs, the newest first.
	Find(ctx context.Context, f Filter, after string, limit int) (SyncPage, error)
	Count(ctx context.Context, f Filter) (int64, error)
}

// replayer has syncs looked at again.
type replayer interface {
	// Preview says what Replay would do. It does nothing.
	Preview(ctx context.Context, ask ReplayAsk) (ReplayPreview, error)
	// Replay returns once everything it promises is durable.
	Replay(ctx context.Context, ask ReplayAsk) (ReplayAnswer, error)
}

// deadBoard shows dead letters.
type deadBoard interface {
	// Letters returns dead letters, the newest first, and how many there are.
	Letters(ctx context.Context, f DeadFilter, after string, limit int) (DeadPage, error)
	Letter(ctx context.Context, id string) (DeadLetter, error)
}

// undertaker deals with dead letters.
type undertaker interface {
	// ReplayDead and DiscardDead return once everything they promise is durable.
	ReplayDead(ctx context.Context, ask DeadAsk) (DeadAnswer, error)
	DiscardDead(ctx context.Context, ask DeadAsk) (DeadAnswer, error)
}

// Config is what answers are made of. Everything but Failed is required. Errors
// carry a class of package fault, by which the status of a problem is chosen.
type Config struct {
	Sweeps  sweepBoard
	Runs    runBoard
	Syncs   syncBoard
	Replays replayer
	Letters deadBoard
	Dead    undertaker
	Build   string // stands in the description of the API
	// Failed is told of what ended as status 500, for a log.
	Failed func(method, path string, err error)
}

// New returns a handler for /api/… and for /openapi.json, its description. It
// refuses requests that another site's page could have made.
func New(c Config) http.Handler {
	mux := http.NewServeMux()
	h := huma.DefaultConfig("hotsync", c.Build)
	h.Info.Description = "Sweeps, runs, syncs, replays and dead letters of a running hotsync. For this machine only: there is no authentication yet."
	// What the pages of huma load comes from elsewhere, and the daemon must work
	// without a network; a link to a schema in every answer helps nobody.
	h.DocsPath, h.SchemasPath, h.CreateHooks = "", "", nil
	h.RejectUnknownQueryParameters = true // a misspelled filter would match too much
	a := &api{Config: c, huma: humago.New(mux, h)}
	a.sweeps()
	a.runs()
	a.syncs()
	a.replays()
	a.deadLetters()
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "there is no "+r.Method+" "+r.URL.Path+"; GET /openapi.json lists what there is")
	})
	return guarded(mux)
}

// api registers operations.
type api struct {
	Config
	huma huma.API
}

// get registers a read.
func get[I, O any](a *api, id, path, summary string, handler func(context.Context, *I) (O, error)) {
	register(a, huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary}, handler)
}

// post registers a write.
func post[I, O any](a *api, id, path, summary string, handler func(context.Context, *I) (O, error)) {
	register(a, huma.Operation{OperationID: id, Method: http.MethodPost, Path: path, Summary: summary}, handler)
}

// answer is the body of a success.
type answer[O any] struct{ Body O }

func register[I, O any](a *api, op huma.Operation, handler func(context.Context, *I) (O, error)) {
	op.Errors = []int{http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*answer[O], error) {
		out, err := careful(ctx, in, handler)
		if err != nil {
			p := problemOf(err)
			if p.Status == http.StatusInternalServerError && a.Failed != nil {
				a.Failed(op.Method, op.Path, err)
			}
			return nil, p
		}
		return &answer[O]{out}, nil
	})
}

// careful turns a panic into an error: one request must not cut a connection
// without a word.
func careful[I, O any](ctx context.Context, in *I, handler func(context.Context, *I) (O, error)) (out O, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.Newf(fault.Bug, "panic: %v", p)
		}
	}()
	return handler(ctx, in)
}
