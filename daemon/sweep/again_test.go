package sweep

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"hotsync/internal/fault"
)

// cursorDies has the second page of Limio's subscriptions be away, until gone is
// called: from then on its cursor is refused so many times.
func (w *world) cursorDies(class fault.Class, times int) (gone func()) {
	dead := false
	w.list = func(_ context.Context, name, cursor string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case name != "limio subscription" || cursor != "c1":
			return nil
		case !dead:
			return fault.Newf(fault.Unavailable, "503")
		case times > 0:
			times--
			return fault.Newf(class, "no such cursor")
		}
		return nil
	}
	return func() { w.set(func() { dead = true }) }
}

// A run outlives its cursor, in a pause or while nobody plans: the list is read
// from its beginning again, and what was handed on keeps its ids.
func TestCursorThatExpires(t *testing.T) {
	var want []string
	var whole Stats
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		l := w.start(t, w.config())
		defer l.end()
		w.request(t, StripeDrift, Ask{})
		want, whole = w.ids(), w.last(t, StripeDrift).Stats
	})
	for name, class := range map[string]fault.Class{"refused in a pause": fault.Refused, "not found after a stop": fault.NotFound} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.populate()
				gone := w.cursorDies(class, 1)
				l := w.start(t, w.config())
				defer func() { l.end() }()
				w.request(t, StripeDrift, Ask{})
				if strings.HasSuffix(name, "pause") {
					if err := Pause(t.Context(), operator{w}, StripeDrift, "ann", time.Now()); err != nil {
						t.Fatal(err)
					}
					pass(24 * time.Hour)
					gone()
					if err := Resume(t.Context(), operator{w}, StripeDrift, "ann", time.Now()); err != nil {
						t.Fatal(err)
					}
				} else {
					l.end()
					pass(24 * time.Hour)
					gone()
					l = w.start(t, w.config())
				}
				pass(time.Minute)
				run := w.last(t, StripeDrift)
				if run.Status != Done || !strings.Contains(run.Note, "the limio subscription list was read from its beginning again, since its cursor was refused after page 1") {
					t.Fatalf("ended %s (%s): %s", run.Status, run.Error, run.Note)
				}
				if got := w.ids(); !slices.Equal(got, want) {
					t.Errorf("handed on %v, want %v", got, want)
				}
				s := run.Stats
				if s.Records() != whole.Listed || s.Again != 2 || s.Listed != s.Equal+s.HandedOn+s.Repeated || w.state(t, StripeDrift).Listed != whole.Listed {
					t.Errorf("counted %+v, without it %+v", s, whole)
				}
				if inPause := strings.HasSuffix(name, "pause"); run.TakenOver == inPause || (inPause && s.HandedOn != whole.HandedOn) {
					t.Errorf("taken over %v, handed on %d, without it %d", run.TakenOver, s.HandedOn, whole.HandedOn)
				}
			})
		})
	}
}

// A list whose cursors are never any good ends the run.
func TestListIsReadAgainOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.populate()
		w.cursorDies(fault.Refused, 5)()
		l := w.start(t, w.config())
		defer l.end()
		w.request(t, StripeDrift, Ask{})
		pass(time.Minute)
		run := w.last(t, StripeDrift)
		if run.Status != Failed || !strings.Contains(run.Error, "page 2, after cursor \"c1\": no such cursor") || len(run.Again) != 1 {
			t.Errorf("ended %s (%s), read again %v", run.Status, run.Error, run.Again)
		}
		reads := 0
		for _, r := range w.reads {
			if r == "limio subscription c1" {
				reads++
			}
		}
		if reads != 2 {
			t.Errorf("the page was asked for %d times, want 2", reads)
		}
	})
}
