package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"hotsync/event"
	"hotsync/internal/callout"
	"hotsync/record"
)

var errCrash = errors.New("crash")

// world is everything around a planner. It outlives planners: what they made
// durable stays.
type world struct {
	mu      sync.Mutex
	values  map[record.Key][]byte
	changed chan struct{}
	emitted []event.Trigger
	events  []event.Event
	reads   []string         // stage or list, and cursor, of every page asked for
	fail    map[string]error // by the same
	since   []time.Time      // that lists were asked for

	accounts  []record.Page
	drift     []record.Page
	touched   [][]Touched
	changes   map[string][][]string
	customers [][]record.Object
	subs      [][]record.Object
	reviewed  [][]Reviewed
	review    Review

	due      map[record.Key]string
	stale    map[string]record.Key // by Limio id: who owns it
	updated  map[string]string     // by Limio id: why it is due
	looked   map[record.Key]time.Time
	working  bool // the triggers are not worked yet
	fenced   error
	noEnds   error
	crashIn  int // steps until the crash; 0: never
	dead     bool
	steps    int
	observed []State
	pageCost time.Duration
	list     func(ctx context.Context, name, cursor string) error // called for every page
}

func newWorld() *world {
	w := &world{
		values: map[record.Key][]byte{}, changed: make(chan struct{}, 1), fail: map[string]error{}, due: map[record.Key]string{},
		stale: map[string]record.Key{}, updated: map[string]string{}, looked: map[record.Key]time.Time{}, changes: map[string][][]string{},
		list: func(context.Context, string, string) error { return nil },
	}
	w.accounts = []record.Page{{}}
	w.drift = []record.Page{{}}
	w.touched, w.customers, w.subs, w.reviewed = make([][]Touched, 1), make([][]record.Object, 1), make([][]record.Object, 1), make([][]Reviewed, 1)
	return w
}

// step is a point at which a process may die.
func (w *world) step() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return errCrash
	}
	w.steps++
	if w.crashIn > 0 {
		if w.crashIn--; w.crashIn == 0 {
			w.dead = true
			return errCrash
		}
	}
	return nil
}

// Get and Put implement ledger.
func (w *world) Get(k record.Key) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.values[k]
}

func (w *world) Put(_ context.Context, k record.Key, v []byte) error {
	if err := w.step(); err != nil {
		return err
	}
	w.put(k, v)
	return w.step()
}

func (w *world) put(k record.Key, v []byte) {
	w.mu.Lock()
	w.values[k] = v
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// operator is the ledger of another instance, which does not die.
type operator struct{ *world }

func (o operator) Put(_ context.Context, k record.Key, v []byte) error {
	o.put(k, v)
	return nil
}

func at[T any](pages []T, cursor string) (page T, next string, err error) {
	n := 0
	if cursor != "" {
		if n, err = strconv.Atoi(strings.TrimPrefix(cursor, "c")); err != nil {
			return page, "", err
		}
	}
	if n+1 < len(pages) {
		next = "c" + strconv.Itoa(n+1)
	}
	return pages[n], next, nil
}

// asked notes that a page was asked for, as one call, and fails if it is to.
func (w *world) asked(ctx context.Context, name, cursor string) error {
	if err := w.step(); err != nil {
		return err
	}
	service, _, _ := strings.Cut(name, " ")
	tr := &callout.Transport{Service: service, Next: answering{}, Route: func(*http.Request) string { return "" }, Now: time.Now}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://vendor.example", nil)
	if err != nil {
		return err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	w.mu.Lock()
	w.reads = append(w.reads, name+" "+cursor)
	err = w.fail[name+" "+cursor]
	cost, list := w.pageCost, w.list
	w.mu.Unlock()
	if cost > 0 {
		<-time.After(cost)
	}
	if err != nil {
		return err
	}
	return list(ctx, name, cursor)
}

type answering struct{}

func (answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(""))}, nil
}

func (w *world) lists() Lists {
	pages := func(name string, of *[]record.Page) func(context.Context, string) (record.Page, error) {
		return func(ctx context.Context, cursor string) (record.Page, error) {
			if err := w.asked(ctx, name, cursor); err != nil {
				return record.Page{}, err
			}
			p, next, err := at(*of, cursor)
			return record.Page{Glimpses: p.Glimpses, Next: next}, err
		}
	}
	return Lists{
		ZuoraAccounts: pages("zuora accounts", &w.accounts), StripeSubscriptions: pages("stripe subscriptions", &w.drift),
		ZuoraKinds: []string{"account", "subscription"},
		ZuoraChanged: func(ctx context.Context, kind string, since time.Time, cursor string) ([]string, string, error) {
			if err := w.asked(ctx, "zuora changed "+kind, cursor); err != nil {
				return nil, "", err
			}
			w.since = append(w.since, since)
			if w.changes[kind] == nil {
				return nil, "", nil
			}
			ids, next, err := at(w.changes[kind], cursor)
			return slices.Clone(ids), next, err
		},
		ZuoraGlimpses: func(ctx context.Context, ids []string) ([]record.Glimpse, error) {
			if err := w.asked(ctx, "zuora glimpses", strconv.Itoa(len(ids))); err != nil {
				return nil, err
			}
			var out []record.Glimpse
			for _, id := range ids {
				if !strings.HasPrefix(id, "gone") {
					out = append(out, record.Glimpse{Key: record.ZuoraAccount(id), Mark: "m"})
				}
			}
			return out, nil
		},
		StripeEvents: func(ctx context.Context, since time.Time, cursor string) ([]Touched, string, error) {
			if err := w.asked(ctx, "stripe events", cursor); err != nil {
				return nil, "", err
			}
			w.since = append(w.since, since)
			return at(w.touched, cursor)
		},
		Limio: func(ctx context.Context, t record.Type, cursor string) ([]record.Object, string, error) {
			if err := w.asked(ctx, "limio "+string(t), cursor); err != nil {
				return nil, "", err
			}
			if t == record.Customer {
				return at(w.customers, cursor)
			}
			return at(w.subs, cursor)
		},
		Reviewed: func(ctx context.Context, run, cursor string) ([]Reviewed, string, error) {
			if err := w.asked(ctx, "reviewed "+run, cursor); err != nil {
				return nil, "", err
			}
			return at(w.reviewed, cursor)
		},
		Review: func(context.Context, string) (Review, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.review, nil
		},
	}
}

func (w *world) config() Config {
	return Config{
		Ledger: w, Changed: w.changed, Lists: w.lists(), Now: time.Now, Log: zerolog.Nop(), Instance: "one", Build: "test",
		Due: func(g record.Glimpse) (string, bool) {
			if g.Mark == "" {
				return "no_mark", true
			}
			why := w.due[g.Key]
			return why, why != ""
		},
		Stale: func(id, updated string) (record.Key, string, bool) {
			if updated == "" {
				panic("no updated stamp")
			}
			return w.stale[id], w.updated[id], w.updated[id] != ""
		},
		Looked: func(k record.Key, at time.Time) bool { return w.looked[k].After(at) },
		Emit: func(_ context.Context, ts []event.Trigger) error {
			if err := w.step(); err != nil {
				return err
			}
			w.mu.Lock()
			w.emitted = append(w.emitted, ts...)
			w.mu.Unlock()
			return w.step()
		},
		Record: func(_ context.Context, e event.Event) error {
			if err := w.step(); err != nil {
				return err
			}
			w.mu.Lock()
			w.events = append(w.events, e)
			w.mu.Unlock()
			return w.step()
		},
		Fence: func(context.Context) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.fenced
		},
		Ends: func(context.Context) (map[int]int64, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return map[int]int64{0: int64(len(w.emitted)), 1: 0}, w.noEnds
		},
		Answered: func(_ context.Context, ends map[int]int64) (bool, error) {
			if err := w.step(); err != nil {
				return false, err
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(ends) != 2 {
				return false, fmt.Errorf("asked for ends %v", ends)
			}
			return !w.working, nil
		},
		Observe: func(s State) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.observed = append(w.observed, s)
		},
	}
}

// set changes the world under its lock, since a planner may be reading it.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// pass lets time go by, and waits until everybody waits.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// bubble runs f with a clock that moves when everybody waits, starting at
// 2000-01-01T00:00:00Z.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld()) })
}

// life is a planner that runs.
type life struct {
	t       *testing.T
	planner *Planner
	stop    context.CancelFunc
	ended   chan error
}

func (w *world) start(t *testing.T, cfg Config) *life {
	t.Helper()
	w.mu.Lock()
	w.dead = false
	w.mu.Unlock()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	l := &life{t, p, stop, make(chan error, 1)}
	go func() { l.ended <- p.Run(ctx) }()
	synctest.Wait()
	return l
}

// end stops the planner, which must not be an error.
func (l *life) end() {
	l.t.Helper()
	l.stop()
	if err := <-l.ended; err != nil {
		l.t.Errorf("the planner ended with %v", err)
	}
}

func (w *world) state(t testing.TB, name string) State {
	t.Helper()
	var s State
	if _, err := decode(w, StateKey(name), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// last returns the run of a sweep that ended last.
func (w *world) last(t testing.TB, name string) Run {
	t.Helper()
	s := w.state(t, name)
	if len(s.Last) == 0 {
		b, _ := json.Marshal(s)
		t.Fatalf("no run of %s has ended: %s", name, b)
	}
	return s.Last[0]
}

// remember puts a run that has ended into the ledger, as the newest.
func (w *world) remember(t testing.TB, run Run) {
	t.Helper()
	name, _, _ := strings.Cut(run.ID, "/")
	s := w.state(t, name)
	s.Name, s.Last = name, append([]Run{run}, s.Last...)
	if err := encode(context.Background(), operator{w}, StateKey(name), s); err != nil {
		t.Fatal(err)
	}
}

// request asks for a run and lets it go on until everybody waits.
func (w *world) request(t *testing.T, name string, ask Ask) string {
	t.Helper()
	ask.By, ask.At = "ann", time.Now()
	if ask.Action == "" {
		ask.Action = Start
	}
	id, err := Request(t.Context(), operator{w}, name, ask)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return id
}

func (w *world) keys() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, tr := range w.emitted {
		out = append(out, tr.Key.String()+" "+tr.Type)
	}
	return out
}

func (w *world) ids() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := map[string]bool{}
	for _, tr := range w.emitted {
		ids[tr.ID] = true
	}
	return slices.Sorted(maps.Keys(ids))
}

// glimpses makes a page of Stripe subscriptions, or of Zuora accounts when
// their ids begin with A.
func glimpses(ids ...string) record.Page {
	var p record.Page
	for _, id := range ids {
		p.Glimpses = append(p.Glimpses, record.Glimpse{Key: keyOf(id), Mark: "m"})
	}
	return p
}

func keyOf(id string) record.Key {
	switch {
	case strings.HasPrefix(id, "A"):
		return record.ZuoraAccount(id)
	case strings.HasPrefix(id, "limio"):
		return record.LimioSubscription(id)
	}
	return record.StripeSubscription(id)
}

func objects(ids ...string) []record.Object {
	var out []record.Object
	for _, id := range ids {
		out = append(out, record.Object{ID: id, Fields: record.Fields{"updated": record.Text("2026-01-01T00:00:00.000Z")}})
	}
	return out
}

// populate fills every list with something that is due, something that is not,
// and something that is listed twice.
func (w *world) populate() {
	w.accounts = []record.Page{glimpses("A1", "A2"), glimpses("A3"), glimpses("A4", "A1")}
	w.drift = []record.Page{glimpses("s1", "s2"), {}, glimpses("s3", "s2")}
	now := time.Now()
	w.touched = [][]Touched{
		{{Key: keyOf("s1"), At: now.Add(-time.Hour)}, {Key: keyOf("s1"), At: now.Add(-2 * time.Hour)}, {Key: keyOf("s2"), At: now.Add(-time.Hour)}},
		{{Key: record.StripeCustomer("cus_1"), At: now.Add(-3 * time.Hour)}},
	}
	w.changes = map[string][][]string{"account": {{"A1", "A2"}}, "subscription": {{"A2", "A4", "A2"}, {"A3", "gone1"}}}
	w.customers = [][]record.Object{objects("cus-1", "cus-2")}
	w.subs = [][]record.Object{objects("sub-1", "sub-2"), objects("sub-3", "limio-9", "sub-4")}
	w.stale = map[string]record.Key{
		"cus-1": keyOf("A1"), "cus-2": keyOf("A2"), "sub-1": keyOf("s1"), "sub-2": keyOf("s2"), "sub-3": keyOf("A3"), "limio-9": keyOf("limio-9"),
	}
	w.updated = map[string]string{"cus-2": "limio_changed", "sub-2": "limio_changed", "sub-3": "limio_changed", "limio-9": "unlinked"}
	for _, id := range []string{"A1", "A2", "A4", "s2"} {
		w.due[keyOf(id)] = "billing_changed"
	}
	w.looked[keyOf("s2")] = now
	w.review = Review{Known: true, Plan: true, Whole: true, HandedOn: 2, Final: 2}
	w.reviewed = [][]Reviewed{{{Key: keyOf("s2"), Plan: "p2", Limio: "sub-2"}}, {{Key: keyOf("A1"), Plan: "p1"}}}
}
