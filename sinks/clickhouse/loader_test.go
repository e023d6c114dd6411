package clickhouse

import (
	"testing"
)

func TestLoadEverything(t *testing.T) {
	st := open(t)
	l, g := newLoader(t, st, func(c *LoaderConfig) { c.BatchRows = 1000 })
	p := newFakePartition(messages(t, 0, 3500)...)
	stop := start(t, l, p)
	eventually(t, "all is committed", func() bool { next, meta := p.Committed(); return next == 3500 && meta == "" })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if n := number(t, st, "SELECT count() AS x FROM sync_events"); n != 3500 {
		t.Errorf("%d rows, want 3500", n)
	}
	if n := number(t, st, "SELECT uniqExact(_offset) AS x FROM sync_events"); n != 3500 {
		t.Errorf("%d offsets, want 3500", n)
	}
	if len(g.letters()) != 0 {
		t.Errorf("dead letters: %v", g.letters())
	}
	t.Logf("%+v", l.Stats())
	for _, c := range p.history {
		t.Log(c)
	}
}
