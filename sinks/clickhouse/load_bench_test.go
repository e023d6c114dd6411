package clickhouse

import (
	"testing"
	"time"
)

// BenchmarkLoad loads b.N events into the real engine.
func BenchmarkLoad(b *testing.B) {
	st := open(b)
	l, _ := newLoader(b, st, func(c *LoaderConfig) { c.Flush = time.Second })
	p := newFakePartition(messages(b, 0, b.N)...)
	p.portion = 500
	b.ReportAllocs()
	b.ResetTimer()
	stop := start(b, l, p)
	eventually(b, "all is committed", func() bool { next, meta := p.Committed(); return next == int64(b.N) && meta == "" })
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	if err := stop(); err != nil {
		b.Fatal(err)
	}
	b.Logf("%+v", l.Stats())
}
