package callout

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"hotsync/internal/fault"
)

func TestResultOf(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	limit := fmt.Errorf("read x: %w", fault.After(fault.RateLimited, 3*time.Second, errors.New("429")))
	for name, c := range map[string]struct {
		over bool // the call's context
		err  error
		want Result
	}{
		"an answer":        {false, nil, Result{}},
		"an honest no":     {false, fault.Newf(fault.NotFound, "x"), Result{}},
		"a limit":          {false, limit, Result{Class: fault.RateLimited, Wait: 3 * time.Second}},
		"away":             {false, fault.Newf(fault.Unavailable, "x"), Result{Class: fault.Unavailable}},
		"a lost write":     {false, fault.Newf(fault.UnknownOutcome, "x"), Result{Class: fault.UnknownOutcome}},
		"our own end":      {true, fault.Newf(fault.Unavailable, "x"), Result{Class: fault.Stopped}},
		"somebody's end":   {false, context.Canceled, Result{Class: fault.Stopped}},
		"a bug of ours":    {false, errors.New("x"), Result{Class: fault.Stopped}},
		"all well, at end": {true, nil, Result{}},
	} {
		ctx := t.Context()
		if c.over {
			ctx = ended
		}
		got := ResultOf(ctx, c.err)
		if got.Class != c.want.Class || got.Wait != c.want.Wait {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestSlots(t *testing.T) {
	gate := Slots(1)
	leave, err := gate.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gate.Enter(ended); fault.Of(err) != fault.Stopped {
		t.Errorf("waiting ends with the context: %v", err)
	}
	ahead, err := gate.Enter(Ahead(ended))
	if err != nil {
		t.Errorf("what goes ahead needs no slot: %v", err)
	}
	ahead(Result{})
	if _, err := gate.Enter(Ending(ended)); fault.Of(err) != fault.Stopped {
		t.Errorf("what ends something needs a slot as any other: %v", err)
	}
	leave(Result{})
	if leave, err = gate.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	leave(Result{})
}
