package monitor

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// DetectorConfig says when one metric alerts.
type DetectorConfig struct {
	Threshold  float64 // exceeded means over
	ClearRatio float64 // of the level crossed: below it is calm
	Raise      int     // samples over, of the last Window, to raise
	Window     int
	Clear      int // samples in a row below the clear level to clear

	Factor   float64       // times the normal level is a spike; 0 for none
	Floor    float64       // the normal level is taken as this at least: ten times nothing is no attack
	Warmup   int           // samples before normal is known
	HalfLife time.Duration // of what was learned

	RemindEvery time.Duration // between reminders while raised
	Interval    time.Duration // between regular samples
	Silence     time.Duration // longer between samples: the earlier ones don't count any more
}

func (c DetectorConfig) validate(name string) error {
	key := func(k, mend string) error { return fmt.Errorf("%s %s: %s", name, k, mend) }
	var errs []error
	check := func(ok bool, k, mend string) {
		if !ok {
			errs = append(errs, key(k, mend))
		}
	}
	check(finite(c.Threshold) && c.Threshold > 0, "threshold", "give a number above 0")
	check(c.ClearRatio > 0 && c.ClearRatio <= 1, "clear ratio", "give a number above 0, 1 at most")
	check(c.Window >= 1 && c.Window <= maxWindow, "raise window", fmt.Sprintf("give 1 to %d samples", maxWindow))
	check(c.Raise >= 1 && c.Raise <= c.Window, "raise samples", "give 1 at least and no more than the raise window")
	check(c.Clear >= 1 && c.Clear <= maxWindow, "clear samples", fmt.Sprintf("give 1 to %d samples", maxWindow))
	check(c.Factor == 0 || finite(c.Factor) && c.Factor > 1, "spike factor", "give a number above 1, or 0 for no spikes")
	check(finite(c.Floor) && c.Floor >= 0 && (c.Factor == 0 || c.Floor > 0), "spike floor", "give a number above 0")
	check(c.Warmup >= 1, "spike warm-up", "give 1 sample at least")
	check(c.HalfLife > 0, "normal half-life", "give a time above 0, like 5m")
	check(c.RemindEvery > 0, "remind every", "give a time above 0, like 1m")
	check(c.Interval > 0, "interval", "give a time above 0, like 5s")
	check(c.Silence >= c.Interval, "silence", "give an interval at least")
	return errors.Join(errs...)
}

const maxWindow = 1000

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
