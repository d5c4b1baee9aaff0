package monitor

import (
	"math"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// The causes of an alert.
const (
	CauseThreshold = "threshold"
	CauseSpike     = "spike"
)

// Event is what became of an alert.
type Event struct {
	State  string // wire.AlertRaised, AlertReminder or AlertCleared
	At     time.Time
	Value  float64
	Level  float64 // the level crossed; for a cleared alert the level it stayed below
	Cause  string  // CauseThreshold or CauseSpike
	Since  time.Time
	Normal float64 // learned normal level, 0 while unknown
}

// Detector raises and clears the alert of one metric. It is pure: the time is an argument.
//
// A sample is over when it exceeds the threshold, or reaches Factor times the normal level. N of the last M samples
// over raise; Clear samples in a row below ClearRatio times the lower of both levels clear. The lower of both, since
// an alert cleared below the threshold would else be raised again at once by the spike.
//
// Alerts speak only of fresh samples. While the sensor is silent nothing is raised, reminded or cleared, and samples
// from before a silence neither raise nor clear together with those after it: a dead sensor looks like no recovery.
type Detector struct {
	cfg      DetectorConfig
	normal   baseline
	over     []bool // the last samples, at most cfg.Window
	below    int    // samples in a row below the clear level
	last     time.Time
	raised   bool
	since    time.Time
	nextNote time.Time // when the next reminder is due
	cause    string
}

// NewDetector returns a detector of a validated configuration.
func NewDetector(cfg DetectorConfig) *Detector {
	return &Detector{cfg: cfg, normal: baseline{halfLife: cfg.HalfLife, longest: cfg.Silence}}
}

// Raised tells whether the alert stands.
func (d *Detector) Raised() bool { return d.raised }

// Normal is the learned normal level, 0 until there are enough samples.
func (d *Detector) Normal() float64 {
	if d.normal.samples < d.cfg.Warmup {
		return 0
	}
	return d.normal.mean()
}

// spikeLevel is infinite while spikes are off or normal isn't known.
func (d *Detector) spikeLevel() float64 {
	if d.cfg.Factor == 0 || d.normal.samples < d.cfg.Warmup {
		return math.Inf(1)
	}
	return d.cfg.Factor * max(d.cfg.Floor, d.normal.mean())
}

// ClearLevel is what a sample must stay below to count as calm.
func (d *Detector) ClearLevel() float64 {
	return d.cfg.ClearRatio * min(d.cfg.Threshold, d.spikeLevel())
}

// judge tells whether a value is over, by what cause and which level.
func (d *Detector) judge(value float64) (over bool, cause string, level float64) {
	if value > d.cfg.Threshold {
		return true, CauseThreshold, d.cfg.Threshold
	}
	if spike := d.spikeLevel(); value >= spike {
		return true, CauseSpike, spike
	}
	return false, "", 0
}

// Observe takes one sample. Early samples, sent between the regular ones because something rose, can raise but aren't
// learned from: they'd count the rise twice. Values that aren't finite, or negative, are no samples.
func (d *Detector) Observe(now time.Time, value float64, early bool) (Event, bool) {
	if math.IsNaN(value) || math.IsInf(value, 0) || value < 0 {
		return Event{}, false
	}
	elapsed := d.advance(now)
	over, cause, level := d.judge(value)
	d.vote(over, value)
	if d.raised {
		return d.whileRaised(now, value, over, cause, level)
	}
	if over && d.votes() >= d.cfg.Raise {
		d.raised, d.since, d.cause = true, now, cause
		d.nextNote = now.Add(d.cfg.RemindEvery)
		return d.event(wire.AlertRaised, now, value, level), true
	}
	if !over && !early {
		d.normal.learn(elapsed, value)
	}
	return Event{}, false
}

// advance moves the clock and returns what the sample stands for. The first one stands for a regular interval.
func (d *Detector) advance(now time.Time) time.Duration {
	last := d.last
	d.last = now
	switch {
	case last.IsZero():
		return d.cfg.Interval
	case now.Before(last):
		// The clock was set back: nothing may wait for the old time to come round again.
		d.nextNote = now.Add(min(d.cfg.RemindEvery, max(0, d.nextNote.Sub(last))))
		return 0
	case now.Sub(last) > d.cfg.Silence:
		d.over, d.below = d.over[:0], 0
	}
	return now.Sub(last)
}

func (d *Detector) vote(over bool, value float64) {
	if len(d.over) == d.cfg.Window {
		copy(d.over, d.over[1:])
		d.over = d.over[:len(d.over)-1]
	}
	d.over = append(d.over, over)
	if value < d.ClearLevel() {
		d.below++
	} else {
		d.below = 0
	}
}

func (d *Detector) votes() int {
	n := 0
	for _, over := range d.over {
		if over {
			n++
		}
	}
	return n
}

func (d *Detector) whileRaised(now time.Time, value float64, over bool, cause string, level float64) (Event, bool) {
	if d.below >= d.cfg.Clear {
		e := d.event(wire.AlertCleared, now, value, d.ClearLevel())
		d.raised, d.since, d.over, d.below = false, time.Time{}, d.over[:0], 0
		return e, true
	}
	if now.Before(d.nextNote) {
		return Event{}, false
	}
	// From the time it was due, not from now, so that late samples don't stretch the minute; but never two at once.
	d.nextNote = d.nextNote.Add(d.cfg.RemindEvery)
	if !d.nextNote.After(now) {
		d.nextNote = now.Add(d.cfg.RemindEvery)
	}
	if over {
		d.cause = cause
	} else {
		level = d.ClearLevel() // what keeps it raised now
	}
	return d.event(wire.AlertReminder, now, value, level), true
}

func (d *Detector) event(state string, now time.Time, value, level float64) Event {
	return Event{State: state, At: now, Value: value, Level: level, Cause: d.cause, Since: d.since, Normal: d.Normal()}
}
