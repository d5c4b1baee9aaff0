package top

import (
	"math"
	"time"
)

// kept is how many values a history holds: the widest terminal's.
const kept = 512

// history is a row of values, one a step. What is missing is a gap, NaN: a line through it would show what nobody saw.
type history struct {
	step   time.Duration
	values []float64
	last   time.Time
}

func (h *history) add(at time.Time, value float64) {
	if !h.last.IsZero() {
		h.gap(h.missed(at))
	}
	h.values = append(h.values, value)
	h.values = h.values[max(0, len(h.values)-kept):]
	h.last = at
}

func (h *history) gap(n int) {
	for range min(n, kept) {
		h.values = append(h.values, math.NaN())
	}
}

// missed is how many steps have passed without a value. One that is late by less than half a step isn't missing.
func (h *history) missed(at time.Time) int {
	if h.step <= 0 || !at.After(h.last) {
		return 0
	}
	return max(0, int(math.Round(min(float64(at.Sub(h.last))/float64(h.step), kept)))-1)
}

// until returns the last n values, gaps up to now included, oldest first.
func (h *history) until(now time.Time, n int) []float64 {
	if h.last.IsZero() || n <= 0 {
		return nil
	}
	shown := history{values: append([]float64(nil), h.values...)}
	shown.gap(h.missed(now))
	return shown.values[max(0, len(shown.values)-n):]
}
