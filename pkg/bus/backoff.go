package bus

import (
	"math/rand/v2"
	"time"
)

const (
	firstPause = 250 * time.Millisecond
	maxPause   = 15 * time.Second
	// settled is how long a connection must last for the next pause to be the first again: two clients that
	// throw each other out with one client ID must slow down.
	settled = 5 * time.Second
)

// pause is how long to wait after the nth failure in a row, counted from 1: a doubling time, and a random half of it
// less, so that a site's sensors don't all return in the same moment.
func pause(n int, random func() float64) time.Duration {
	d := maxPause
	if n < 7 {
		d = min(maxPause, firstPause<<(n-1))
	}
	return d - time.Duration(random()*float64(d)/2)
}

func random() float64 { return rand.Float64() }
