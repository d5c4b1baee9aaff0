package monitor

import (
	"math"
	"time"
)

// baseline learns the normal level of a metric: a mean in which a sample's weight halves every halfLife. Samples weigh
// by the time they stand for, so that their spacing doesn't matter:
//
//	num = d*num + (1-d)*x,  den = d*den + (1-d),  d = 2^(-elapsed/halfLife),  mean = num/den
//
// The division by den takes out the bias of the first samples, which would else count as much as all that was before.
type baseline struct {
	halfLife time.Duration
	longest  time.Duration // what one sample may stand for: one after a long silence must not wipe out the rest

	num, den float64
	samples  int
}

func (b *baseline) learn(elapsed time.Duration, x float64) {
	elapsed = min(elapsed, b.longest)
	if elapsed <= 0 {
		return
	}
	d := math.Exp2(-elapsed.Seconds() / b.halfLife.Seconds())
	b.num = d*b.num + (1-d)*x
	b.den = d*b.den + (1 - d)
	b.samples++
}

func (b *baseline) mean() float64 {
	if b.den == 0 {
		return 0
	}
	return b.num / b.den
}
