package scaler

import (
	"errors"
	"fmt"
	"time"
)

// Config of a Scaler.
type Config struct {
	Min, Max int           // servers that it leaves, and makes
	CoolDown time.Duration // after a change, before the next one
	Within   time.Duration // for a change, and once more for undoing it
	File     string        // where it notes what it is about to do; "" for nowhere
}

// MaxServers bounds Config.Max.
const MaxServers = 100

// Validate names every key that is wrong, one line each.
func (c Config) Validate() error {
	var errs []error
	if c.Min < 1 {
		errs = append(errs, fmt.Errorf("scaling.min %d: give 1 or more: without a server nobody is served", c.Min))
	}
	if c.Max < c.Min || c.Max > MaxServers {
		errs = append(errs, fmt.Errorf("scaling.max %d: give scaling.min (%d) to %d", c.Max, c.Min, MaxServers))
	}
	if c.CoolDown < 0 || c.CoolDown > 24*time.Hour {
		errs = append(errs, fmt.Errorf("scaling.cool-down %v: give 0s to 24h", c.CoolDown))
	}
	if c.Within < time.Second || c.Within > time.Hour {
		errs = append(errs, fmt.Errorf("scaling.within %v: give 1s to 1h", c.Within))
	}
	return errors.Join(errs...)
}

// decide tells how many servers there are to be, or why not. It is pure: the time is an argument.
func (c Config) decide(now, changed time.Time, running, by int) (to int, err error) {
	to = running + by
	switch wait := c.CoolDown - now.Sub(changed); {
	case by > 0 && running >= c.Max:
		return 0, fmt.Errorf("%s already: scaling.max is %d", servers(running), c.Max)
	case to > c.Max:
		return 0, fmt.Errorf("%d more than %s is too many: scaling.max is %d", by, servers(running), c.Max)
	case by < 0 && running <= c.Min:
		return 0, fmt.Errorf("only %s: scaling.min is %d", servers(running), c.Min)
	case by < 0 && to < c.Min:
		return 0, fmt.Errorf("%d fewer than %s is too few: scaling.min is %d", -by, servers(running), c.Min)
	case !changed.IsZero() && wait > 0 && !changed.After(now):
		// A clock that was set back, by which the change is yet to come, must not lock scaling until then.
		return 0, fmt.Errorf("the last change was a moment ago: wait %v (scaling.cool-down)", wait.Round(time.Second))
	}
	return to, nil
}

// takes bounds how long a command may go unanswered.
func (c Config) takes() time.Duration { return 2*c.Within + slack }

const slack = 10 * time.Second
