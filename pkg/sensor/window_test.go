package sensor

import (
	"math/rand/v2"
	"testing"
	"time"
)

var start = time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)

// feed adds a sample each 100 ms; f is the counter at a time since start.
func feed(w *window, from, to time.Duration, f func(time.Duration) uint64) uint64 {
	var got uint64
	for at := from; at <= to; at += sampleEvery {
		got = w.add(start.Add(at), f(at))
	}
	return got
}

// burst is a counter that was at old before the first sample, and gets n more just after a time.
func burst(old, n uint64, at time.Duration) func(time.Duration) uint64 {
	return func(d time.Duration) uint64 {
		if d > at {
			return old + n
		}
		return old
	}
}

func TestWindow(t *testing.T) {
	const ms = time.Millisecond
	steady := func(d time.Duration) uint64 { return uint64(d / ms) } // 1000 a second
	for _, c := range []struct {
		name string
		to   time.Duration
		f    func(time.Duration) uint64
		want uint64
	}{
		{"the first sample", 0, burst(1e9, 0, 0), 0},
		{"adopted: what was counted before", 3 * time.Second, burst(1e9, 0, 0), 0},
		{"adopted, with a burst", 3 * time.Second, burst(1e9, 700, 0), 700},
		{"younger than the span", 2 * time.Second, steady, 2000},
		{"as old as the span", span, steady, 5000},
		{"older", time.Minute, steady, 5000},
		{"a burst at its last moment", 10*time.Second + span, burst(0, 700, 10*time.Second), 700},
		{"a burst that has just left", 10*time.Second + span + sampleEvery, burst(0, 700, 10*time.Second), 0},
		{"a counter that overflows nothing", time.Minute, burst(1<<63, 1<<62, 59*time.Second), 1 << 62},
	} {
		var w window
		if got := feed(&w, 0, c.to, c.f); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestWindowOfLateSamples(t *testing.T) {
	var w window
	feed(&w, 0, 10*time.Second, func(time.Duration) uint64 { return 0 })
	// Nothing was sampled for 4 s, in which 4000 came; 3 s later the half of them are within the span.
	w.add(start.Add(14*time.Second), 4000)
	if got := w.add(start.Add(17*time.Second), 4000); got != 2000 {
		t.Errorf("%d, want 2000", got)
	}
	if got := w.add(start.Add(time.Hour), 4000); got != 0 {
		t.Errorf("after an hour %d, want 0", got)
	}
	if got := w.add(start.Add(time.Hour+time.Second), 4100); got != 100 {
		t.Errorf("a second later %d, want 100", got)
	}
}

func TestWindowOfAnotherCounter(t *testing.T) {
	var w window
	feed(&w, 0, 10*time.Second, burst(1e6, 0, 0))
	if got := w.add(start.Add(11*time.Second), 5); got != 0 {
		t.Errorf("%d, want 0: it is unknown when those came", got)
	}
	if got := w.add(start.Add(12*time.Second), 8); got != 3 {
		t.Errorf("%d, want 3", got)
	}
}

// Ticks that jitter as a busy machine's do: the window must stay within what the neighbouring samples allow.
func TestWindowOfJitteringSamples(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var w window
	var history []sample
	var counter uint64
	for tick := range 2000 {
		at := start.Add(time.Duration(tick)*sampleEvery + time.Duration(r.Int64N(int64(sampleEvery))))
		counter += r.Uint64N(1000)
		history = append(history, sample{at, counter})
		got := w.add(at, counter)

		since := at.Add(-span)
		low, high := history[0].syns, history[0].syns
		for _, h := range history {
			if !h.at.After(since) {
				low = h.syns
			}
			high = h.syns
			if !h.at.Before(since) {
				break
			}
		}
		if got < counter-high || got > counter-low {
			t.Fatalf("tick %d: %d, want %d to %d", tick, got, counter-high, counter-low)
		}
	}
}
