package controller

import (
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/wire"
)

// ownOrigin signs what the controller says by itself, not in answer to a command.
const ownOrigin = "controller"

// look renews what is to be renewed and reports what changed without a command.
func (c *Controller) look(now time.Time) {
	c.nextLook = now.Add(retryEvery)
	state, err := c.limiter.State()
	if err != nil {
		c.warnings.Warn(now, "the datapath can't be read", "err", err)
		return
	}
	first := !c.known
	c.known = true
	finding := c.lease.Look(now, state)
	switch finding {
	case FloodGoesOn:
		if !c.renew(now) {
			return
		}
	case FoundOn:
		c.adopted = true
		if !(first && c.recall(now, state)) && !c.inheritRetained(now) {
			c.noteClaim(now)
			c.reportState(now, wire.EnableRateLimiting, "rate limiting was found on: its lease is renewed while the flood lasts")
		}
	case FoundOff:
		c.noteClaim(now)
		c.reportState(now, wire.DisableRateLimiting, "rate limiting was switched off, not by a command")
	case LeaseEnded:
		c.noteClaim(now)
		c.reportState(now, wire.DisableRateLimiting, "lease ended")
	case AsBefore:
		if first && !c.lease.On {
			c.before = nil
			c.noteClaim(now)
			// Whoever reads a retained status of yesterday is wrong about today.
			c.reportState(now, wire.DisableRateLimiting, "rate limiting was found off")
		}
	}
	c.nextLook = c.lease.NextLook(now, c.cfg.RenewEvery)
}

func (c *Controller) renew(now time.Time) bool {
	if err := c.limiter.Enable(c.lease.Limit, c.cfg.Lease); err != nil {
		c.warnings.Warn(now, "the lease can't be renewed", "ends", c.lease.End, "err", err)
		return false
	}
	c.lease.Renewed(now, c.cfg.Lease)
	c.noteClaim(now)
	c.stats.Renewals++
	c.log.Debug("lease renewed: the flood goes on", "until", c.lease.End)
	return true
}

func (c *Controller) reportState(now time.Time, command, detail string) {
	c.log.Info(detail, "on", c.lease.On, "owner", c.lease.Owner)
	c.report(now, wire.Status{Command: command, Status: wire.Success, Detail: detail, Origin: ownOrigin})
}

// onStatus takes the status that was retained when this controller started; its own come back here too.
func (c *Controller) onStatus(msg bus.Message) {
	if !msg.Retained || msg.Oversize > 0 || msg.Refused != nil {
		return
	}
	if s, err := wire.DecodeStatus(msg.Payload); err == nil {
		select {
		case c.retained <- s:
		default:
		}
	}
}

// remember keeps the retained status for as long as it may tell whose limit was found on.
func (c *Controller) remember(now time.Time, was wire.Status) {
	if c.known && !c.adopted {
		return
	}
	c.before = &was
	c.inheritRetained(now)
}

// inheritRetained learns from the retained status of the controller before what it can't from its note. A status that speaks of another
// limit is of another time.
func (c *Controller) inheritRetained(now time.Time) bool {
	was := c.before
	if was == nil || !c.adopted || was.Owner == "" || was.State != wire.StateOn ||
		was.Rate != c.lease.Limit.Rate || was.Burst != c.lease.Limit.Burst {
		return false
	}
	c.inherit(now, was.Owner, was.FixedEnd)
	return true
}

// inherit goes on with the limit that was found on.
func (c *Controller) inherit(now time.Time, owner string, fixed bool) {
	c.settle()
	c.lease.Owner, c.lease.Fixed = owner, fixed
	c.noteClaim(now)
	c.reportState(now, wire.EnableRateLimiting, "rate limiting was found on, as commanded before")
}

// settle: from now on this controller knows best.
func (c *Controller) settle() { c.known, c.adopted, c.before = true, false, nil }
