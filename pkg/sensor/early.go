package sensor

import "time"

// earlyPause is the least between two early reports.
const earlyPause = time.Second

// early decides when the SYN count deserves a report at once.
type early struct {
	level uint64 // over which; 0 for never
	fired bool   // and not been below the level since
	last  time.Time
}

// due tells whether to report now. It says so once for each crossing of the level.
func (e *early) due(now time.Time, syns uint64) bool {
	if syns < e.level {
		e.fired = false
	}
	if e.level == 0 || syns <= e.level || e.fired || !e.last.IsZero() && now.Sub(e.last) < earlyPause {
		return false
	}
	e.fired, e.last = true, now
	return true
}

// missed makes up for a report that didn't get out.
func (e *early) missed() { e.fired = false }
