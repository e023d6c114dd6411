package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
)

// readiness is whether each part that must be up is up, and whether those that
// may be away are. What may be away never makes the process unready: work waits
// for it in Kafka (Invariant 7).
type readiness struct {
	mu       sync.Mutex
	required map[string]string // part -> what it waits for; "" when ready
	degraded map[string]string // part -> what is wrong; absent when fine
	checks   map[string]func() string
}

func newReadiness(required ...string) *readiness {
	r := &readiness{required: map[string]string{}, degraded: map[string]string{}, checks: map[string]func() string{}}
	for _, name := range required {
		r.required[name] = "starting"
	}
	return r
}

func (r *readiness) ready(part string) { r.set(part, "") }

func (r *readiness) set(part, waits string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.required[part] = waits
}

func (r *readiness) degrade(part, wrong string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if wrong == "" {
		delete(r.degraded, part)
		return
	}
	r.degraded[part] = wrong
}

// check asks what is wrong with a part, "" when nothing, at every report.
func (r *readiness) check(part string, wrong func() string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks[part] = wrong
}

// report is the body of /readyz.
type report struct {
	Ready    bool              `json:"ready"`
	Waiting  map[string]string `json:"waiting,omitempty"`
	Degraded map[string]string `json:"degraded,omitempty"`
}

func (r *readiness) report() report {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := report{Ready: true, Waiting: map[string]string{}, Degraded: map[string]string{}}
	for part, waits := range r.required {
		if waits != "" {
			out.Ready, out.Waiting[part] = false, waits
		}
	}
	maps.Copy(out.Degraded, r.degraded)
	for part, check := range r.checks {
		if wrong := check(); wrong != "" && out.Degraded[part] == "" {
			out.Degraded[part] = wrong
		}
	}
	return out
}

// server answers /healthz, /readyz, /metrics and what is mounted beside them.
type server struct {
	listener net.Listener
	handler  *http.ServeMux
	errors   *log.Logger // of net/http itself; nil: its own
}

func newServer(listen string, ready *readiness, reg *prometheus.Registry) (*server, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("http.listen %s: %w", listen, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		rep := ready.report()
		w.Header().Set("Content-Type", "application/json")
		if !rep.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(rep)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	return &server{listener: l, handler: mux}, nil
}

// mount adds the API for operators. What net/http has to say of it goes into
// the daemon's log. It is called before run.
func (s *server) mount(api http.Handler, to zerolog.Logger) {
	s.errors = log.New(to, "", 0)
	for _, path := range []string{"/api/", "/openapi.json", "/openapi.yaml"} {
		s.handler.Handle(path, api)
	}
}

func (s *server) run(ctx context.Context) error {
	srv := &http.Server{Handler: s.handler, ReadHeaderTimeout: 5 * time.Second, ErrorLog: s.errors, BaseContext: func(net.Listener) context.Context { return ctx }}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = srv.Shutdown(bound) // a client that holds on is cut off
	})
	err := srv.Serve(s.listener)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve http: %w", err)
}
