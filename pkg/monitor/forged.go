package monitor

import (
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// forged counts commands that nobody may believe, and says when to alert on them.
type forged struct {
	count int // since the last alert
	since time.Time
	told  time.Time
	last  time.Time
}

const (
	forgedEvery = 10 * time.Second // between alerts: an attacker may send any number
	forgedCalm  = time.Minute      // without any, until it is over
)

const metricRefused = "refused_commands"

// refused takes one.
func (f *forged) refused(now time.Time, why error) (wire.Alert, bool) {
	state := wire.AlertReminder
	if f.since.IsZero() {
		f.since, state = now, wire.AlertRaised
	}
	f.count++
	f.last = now
	if now.Sub(f.told) < forgedEvery {
		return wire.Alert{}, false
	}
	a := f.alert(now, "Command refused: "+why.Error(), state)
	f.count, f.told = 0, now
	return a, true
}

// tick tells when there have been none for a while.
func (f *forged) tick(now time.Time) (wire.Alert, bool) {
	if f.since.IsZero() || now.Sub(f.last) < forgedCalm {
		return wire.Alert{}, false
	}
	a := f.alert(now, "No more commands are refused", wire.AlertCleared)
	*f = forged{}
	return a, true
}

func (f *forged) alert(now time.Time, text, state string) wire.Alert {
	return wire.Alert{
		Timestamp: wire.Timestamp(now), Alert: text, State: state, Metric: metricRefused, Value: float64(f.count), Cause: "signature",
		Since: wire.Timestamp(f.since),
	}
}
