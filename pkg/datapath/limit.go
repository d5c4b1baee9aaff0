package datapath

import (
	"fmt"
	"time"
)

// DefaultLimit is what each source may send: no browser opens more connections, and a branch office behind one address
// rarely does.
var DefaultLimit = Limit{Rate: 100, Burst: 200}

// The bounds of a limit. At the highest rate a SYN is worth 39 ticks, so rounding costs 0.2 %.
const (
	MaxRate  = 100_000
	MaxBurst = 1_000_000

	// maxDrain keeps a theoretical arrival time far below half of the tick clock's 78 hours.
	maxDrain = time.Hour
)

// Validate names what is wrong.
func (l Limit) Validate() error {
	switch {
	case l.Rate < 1 || l.Rate > MaxRate:
		return fmt.Errorf("rate %d: give 1 to %d SYNs per second and source", l.Rate, MaxRate)
	case l.Burst < 1 || l.Burst > MaxBurst:
		return fmt.Errorf("burst %d: give 1 to %d SYNs", l.Burst, MaxBurst)
	case time.Duration(l.Burst/l.Rate)*time.Second >= maxDrain:
		return fmt.Errorf("burst %d at rate %d takes over an hour to refill: give a smaller burst or a higher rate", l.Burst, l.Rate)
	}
	return nil
}

// interval is the time that one SYN is worth, in ticks. Rounding down favours the source.
func (l Limit) interval() uint64 { return ticksPerSecond / l.Rate }

// tolerance is how far a source may be ahead of its rate, in ticks: a burst of one needs none.
func (l Limit) tolerance() uint64 { return (l.Burst - 1) * l.interval() }
