package clickhouse

import (
	"testing"
	"time"

	"hotsync/event"
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

// BenchmarkDecode compares the decoders.
func BenchmarkDecode(b *testing.B) {
	raw, err := sample(1).Encode()
	if err != nil {
		b.Fatal(err)
	}
	for name, decode := range map[string]func([]byte) (event.Event, error){"standard": event.DecodeEvent, "fast": decodeEvent} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, err := decode(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
