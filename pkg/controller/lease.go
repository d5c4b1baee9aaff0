package controller

import (
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
)

// State is what the datapath does now.
type State struct {
	On      bool // asked to enforce; it does only while Lease > 0
	Limit   datapath.Limit
	Lease   time.Duration // left
	Dropped uint64        // packets dropped since the maps were made
}

func (s State) enforcing() bool { return s.On && s.Lease > 0 }

// Finding is what a look at the datapath brought.
type Finding int

// The findings.
const (
	AsBefore    Finding = iota
	FloodGoesOn         // packets are dropped: the lease should be renewed
	FoundOn             // rate limiting is on, and not by a command of this controller
	FoundOff            // it was switched off, and not by a command of this controller
	LeaseEnded
)

// Lease is what the controller knows of the limit in force. It is pure: the time and the datapath's state are
// arguments. The zero value is off.
type Lease struct {
	On    bool
	Limit datapath.Limit
	End   time.Time
	Owner string // origin of the command, empty when not known
	Fixed bool   // the command gave its end: never renewed

	dropped uint64
	counted bool // dropped is known
}

// Enabled notes that a command switched the limit on.
func (l *Lease) Enabled(now time.Time, owner string, limit datapath.Limit, lease time.Duration, fixed bool) {
	*l = Lease{On: true, Limit: limit, End: now.Add(lease), Owner: owner, Fixed: fixed, dropped: l.dropped, counted: l.counted}
}

// Disabled notes that a command switched it off.
func (l *Lease) Disabled() { *l = Lease{dropped: l.dropped, counted: l.counted} }

// Renewed notes that the lease was.
func (l *Lease) Renewed(now time.Time, lease time.Duration) { l.End = now.Add(lease) }

// Look compares with what the datapath does. A limit that was found on is adopted: a controller that was restarted goes
// on renewing. The first look only begins to count what is dropped.
func (l *Lease) Look(now time.Time, s State) Finding {
	moved := l.counted && s.Dropped > l.dropped
	l.dropped, l.counted = s.Dropped, true
	switch {
	case !l.On && !s.enforcing():
		return AsBefore
	case !l.On:
		l.On, l.Limit, l.End = true, s.Limit, now.Add(s.Lease)
		return FoundOn
	case !s.enforcing():
		end := l.End
		l.Disabled()
		if now.Before(end.Add(-endSlack)) {
			return FoundOff
		}
		return LeaseEnded
	}
	l.Limit, l.End = s.Limit, now.Add(s.Lease)
	if moved && !l.Fixed {
		return FloodGoesOn
	}
	return AsBefore
}

// endSlack: the lease is kept by the kernel's clock, the end is by ours, read a moment later.
const endSlack = time.Second

// NextLook is when to look again: every so often, and in time before the lease ends, however short it is.
func (l *Lease) NextLook(now time.Time, every time.Duration) time.Time {
	if !l.On {
		return now.Add(every)
	}
	return now.Add(min(every, max(l.End.Sub(now)/2, shortestLook)))
}

const shortestLook = 200 * time.Millisecond
