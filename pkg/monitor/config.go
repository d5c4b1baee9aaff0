package monitor

import (
	"errors"
	"fmt"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Config of the monitor. Start from DefaultConfig.
type Config struct {
	Root   wire.Root
	Origin string // who its commands are from; limits of this origin are its own to switch off

	CPUThreshold         float64 // percent
	RAMThreshold         float64 // percent
	SYNThreshold         float64 // SYNs offered in 5 s
	ConnectionsThreshold float64 // active TCP connections

	ClearRatio   float64 // of the level crossed, below which an alert clears
	RaiseSamples int     // samples over, of the last RaiseWindow, to raise; a SYN count raises at once
	RaiseWindow  int     // and as many in a row below the clear level clear

	SpikeFactor      float64       // times normal is a spike, for SYNs and connections; 0 for none
	SpikeWarmup      int           // samples before normal is known
	NormalHalfLife   time.Duration // of what was learned of normal
	SYNFloor         float64       // normal SYN count is taken as this at least
	ConnectionsFloor float64       // normal connections are taken as this at least

	Interval      time.Duration // between the sensor's regular metrics
	RemindEvery   time.Duration // between reminders of an alert
	Calm          time.Duration // SYNs below the clear level for so long: limiting is switched off
	ScaleEvery    time.Duration // at least, between two requests to scale for the same alert
	ScaleCalm     time.Duration // CPU and RAM below the clear level for so long: a server that it has added is taken away
	StatusTimeout time.Duration // a command without status for so long is sent again
}

// DefaultConfig is what the design says.
//
// The floors are where ten times normal begins to be worth an alert. 20 SYNs in 5 s, 4 new connections a second, is an
// idle server with its health checks and a browser or two: 200 in 5 s is the first that can't be that, and still well
// below the threshold. 20 connections are the same server's idle keep-alives: 200 is half of the threshold. CPU and RAM
// have no spike: a percentage can't reach ten times a normal level of 10 or more, and below that it isn't trouble.
func DefaultConfig() Config {
	return Config{
		Root:   wire.DefaultRoot,
		Origin: "monitor",

		CPUThreshold:         80,
		RAMThreshold:         80,
		SYNThreshold:         700,
		ConnectionsThreshold: 400,

		ClearRatio:   0.8,
		RaiseSamples: 2,
		RaiseWindow:  3,

		SpikeFactor:      10,
		SpikeWarmup:      12,
		NormalHalfLife:   5 * time.Minute,
		SYNFloor:         20,
		ConnectionsFloor: 20,

		Interval:      5 * time.Second,
		RemindEvery:   time.Minute,
		Calm:          time.Minute,
		ScaleEvery:    5 * time.Minute,
		ScaleCalm:     10 * time.Minute,
		StatusTimeout: 5 * time.Second,
	}
}

// silentIntervals without metrics/network are a silence.
const silentIntervals = 3

func (c Config) silence() time.Duration { return silentIntervals * c.Interval }

// detector is the part of the configuration that speaks of one metric.
func (c Config) detector(m metric) DetectorConfig {
	d := DetectorConfig{
		Threshold:   [numMetrics]float64{c.CPUThreshold, c.RAMThreshold, c.SYNThreshold, c.ConnectionsThreshold}[m],
		ClearRatio:  c.ClearRatio,
		Raise:       c.RaiseSamples,
		Window:      c.RaiseWindow,
		Clear:       c.RaiseWindow,
		Warmup:      c.SpikeWarmup,
		HalfLife:    c.NormalHalfLife,
		RemindEvery: c.RemindEvery,
		Interval:    c.Interval,
		Silence:     c.silence(),
	}
	switch m {
	case metricSYN:
		d.Raise, d.Window = 1, 1
		d.Factor, d.Floor = c.SpikeFactor, c.SYNFloor
	case metricConnections:
		d.Factor, d.Floor = c.SpikeFactor, c.ConnectionsFloor
	}
	return d
}

// Validate names every key that is wrong, one line each.
func (c Config) Validate() error {
	errs := []error{c.Root.Validate()}
	if c.Root.Org == publicLevel {
		errs = append(errs, errors.New(`org "public" is where anybody may write: choose another name`))
	}
	if c.Origin == "" || c.Origin == controllerOrigin || len(c.Origin) > maxOriginBytes {
		errs = append(errs, fmt.Errorf("origin %.*q: give a name of 1 to %d bytes other than %q",
			maxOriginBytes, c.Origin, maxOriginBytes, controllerOrigin))
	}
	for m := range numMetrics {
		errs = append(errs, c.detector(m).validate(m.String()))
	}
	for _, k := range []struct {
		name string
		d    time.Duration
	}{{"calm", c.Calm}, {"scale every", c.ScaleEvery}, {"scale calm", c.ScaleCalm}, {"status timeout", c.StatusTimeout}} {
		if k.d <= 0 {
			errs = append(errs, fmt.Errorf("%s: give a time above 0, like 1m", k.name))
		}
	}
	return errors.Join(errs...)
}

const (
	publicLevel    = "public"
	maxOriginBytes = 64

	// controllerOrigin is how the controller signs what it says by itself: a lease that ended, a state it found at its
	// start. That is nobody's wish.
	controllerOrigin = "controller"
)
