package sensor

import (
	"math"
	"time"
)

// span is what syn_packet_count looks back on.
const span = 5 * time.Second

// slots hold a span of samples with room to spare: a late tick is followed by one that is too early by as much, so there
// is never more than one a sampleEvery on average.
const slots = 64

// window counts SYNs over the last span, from samples of a counter that only grows. The zero value is ready.
type window struct {
	ring [slots]sample
	next int // where the next sample goes
	n    int
}

type sample struct {
	at   time.Time
	syns uint64 // since whenever
}

// add takes a sample and returns the SYNs in the span before it; while there are no samples that old, those since the
// first sample. What was counted before the first isn't known and left out.
func (w *window) add(now time.Time, syns uint64) uint64 {
	if w.n > 0 && syns < w.at(w.n-1).syns {
		w.n = 0 // another datapath's counter
	}
	w.ring[w.next] = sample{now, syns}
	w.next = (w.next + 1) % slots
	w.n = min(w.n+1, slots)
	return syns - w.before(now.Add(-span))
}

// at is a sample by age, 0 the oldest.
func (w *window) at(i int) *sample { return &w.ring[(w.next-w.n+i+slots)%slots] }

// before is the counter as it was at a time: exactly, if there was a sample then. In between, as it is when a starved
// process samples late, SYNs are taken as spread evenly.
func (w *window) before(t time.Time) uint64 {
	i := 0
	for i < w.n-1 && w.at(i).at.Before(t) {
		i++
	}
	later := w.at(i)
	if i == 0 || later.at.Equal(t) {
		return later.syns
	}
	earlier := w.at(i - 1)
	part := float64(t.Sub(earlier.at)) / float64(later.at.Sub(earlier.at))
	return earlier.syns + uint64(math.Round(part*float64(later.syns-earlier.syns)))
}
